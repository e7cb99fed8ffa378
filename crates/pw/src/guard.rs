//! The wall at every C entry: no panic of ours unwinds into libpipewire.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::LAYER;

/// Marks code that ran into a panic.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs `body`; a panic ends here. Does not log, so that it also serves the data loop.
///
/// What the body shares with later calls may be left half changed; callers stop using it (real-time half) or hold it
/// in `RefCell`s whose borrows unwinding has given back (main-loop half).
pub(crate) fn contain<R>(body: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        // A payload may itself panic when it is dropped: leaking it is the lesser evil.
        std::mem::forget(payload);
        Panicked
    })
}

/// As [`contain`], and writes an error to the host's log. Main loop only.
pub(crate) fn contain_logged<R>(what: &str, body: impl FnOnce() -> R) -> Option<R> {
    contain(body).map_err(|Panicked| LAYER.error(format_args!("caught a panic in {what}"))).ok()
}

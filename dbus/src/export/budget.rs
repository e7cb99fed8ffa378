//! How many signals may tell of objects that come and go: whoever gives the objects their names must not set the pace of a desktop.

use tokio::time::{Duration, Instant};

/// A bucket of signals that fills up at a steady rate.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When the bucket is full again; `None` before anything was taken.
    full: Option<Instant>,
}

impl Budget {
    /// Signals at once, when it was quiet before: all rooms and groups of a large home.
    pub(super) const AT_ONCE: usize = 256;
    /// Signals a second for as long as it takes.
    pub(super) const A_SECOND: usize = 64;

    const EACH: Duration = Duration::from_nanos(1_000_000_000 / Self::A_SECOND as u64);
    const ALL: Duration = Duration::from_nanos(1_000_000_000 / Self::A_SECOND as u64 * Self::AT_ONCE as u64);

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full = self.full.map_or(now, |full| full.max(now)) + Self::EACH;
        let there = full <= now + Self::ALL;
        if there {
            self.full = Some(full);
        }
        there
    }

    /// When there is one, if that is later than `due`.
    pub(super) fn ready(&self, due: Instant) -> Instant {
        let there = self.full.and_then(|full| (full + Self::EACH).checked_sub(Self::ALL));
        there.map_or(due, |there| due.max(there))
    }
}

//! Where the network thread's log goes: nowhere, as a guest is quiet, unless `AUDERA_LOG` asks for it on standard error.

use std::io::Write as _;

use audera_sender::log_lines;
use tracing::{Dispatch, Level};

/// `error`, `warn`, `info` or `debug`.
const VARIABLE: &str = "AUDERA_LOG";

/// What takes the events of the network thread.
pub(crate) fn dispatch() -> Dispatch {
    let level = std::env::var(VARIABLE).ok().and_then(|level| level.parse().ok());
    level.map_or_else(Dispatch::none, |finest| log_lines(finest, to_stderr))
}

fn to_stderr(level: Level, line: &str) {
    // One write for each line, so that lines of other threads stay whole. Who has closed standard error does not want to know.
    let _ = std::io::stderr().write_all(format!("audera: {level} {line}\n").as_bytes());
}

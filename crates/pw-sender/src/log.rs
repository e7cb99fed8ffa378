//! Carries `tracing` events of the network thread to the host's log. Set for that one thread only: a guest has no global logger.

use audera_pw::Topic;
use audera_sender::log_lines;
use tracing::{Dispatch, Level};

/// What takes the events of the network thread. The host filters by its own levels; what is finer than these it has no use for.
pub(crate) fn to_host(topic: &'static Topic) -> Dispatch {
    log_lines(Level::DEBUG, move |level, line| match level {
        Level::ERROR => topic.error(line),
        Level::WARN => topic.warn(line),
        Level::INFO => topic.info(line),
        _ => topic.debug(line),
    })
}

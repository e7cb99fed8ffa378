//! The log of a hub's network thread for owners that are guests in a process, and have no global logger: one line of text for each event.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// What takes the events of a [`Hub`](crate::Hub) and gives each to `write` as a line, on the network thread. Events of Audera's own come if they
/// are as grave as `finest`, those of libraries if they are warnings as well.
pub fn log_lines(finest: Level, write: impl Fn(Level, &str) + Send + Sync + 'static) -> Dispatch {
    Dispatch::new(Lines { finest, write })
}

struct Lines<W> {
    finest: Level,
    write: W,
}

impl<W: Fn(Level, &str) + 'static> Subscriber for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries only speak when it matters.
        let finest = if metadata.target().starts_with("audera") { self.finest } else { self.finest.min(Level::WARN) };
        metadata.is_event() && *metadata.level() <= finest
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { mut message, fields } = line;
        message.push_str(&fields);
        (self.write)(*event.metadata().level(), &message);
    }

    // Spans are not enabled, so that nothing is there to be entered.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn an_event_is_one_line_if_it_is_grave_enough() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = log_lines(Level::INFO, {
            let lines = lines.clone();
            move |level, line| lines.lock().unwrap().push(format!("{level} {line}"))
        });
        tracing::dispatcher::with_default(&log, || {
            tracing::info!(room = "Kitchen", "it plays");
            tracing::debug!("too fine");
            tracing::info!(target: "rustls", "of a library");
            tracing::warn!(target: "rustls", "of a library");
        });
        assert_eq!(*lines.lock().unwrap(), ["INFO it plays room=\"Kitchen\"", "WARN of a library"]);
    }
}

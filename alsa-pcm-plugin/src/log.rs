//! Where the network thread's log goes: nowhere, as a guest is quiet, unless `AUDERA_LOG` asks for it on standard error.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// `error`, `warn`, `info` or `debug`.
const VARIABLE: &str = "AUDERA_LOG";

/// What takes the events of the network thread.
pub(crate) fn dispatch() -> Dispatch {
    let level = std::env::var(VARIABLE).ok().and_then(|level| level.parse().ok());
    level.map_or_else(Dispatch::none, |level| Dispatch::new(ToStderr(level)))
}

struct ToStderr(Level);

impl Subscriber for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries only speak when it matters.
        let finest = if metadata.target().starts_with("audera") { self.0 } else { self.0.min(Level::WARN) };
        metadata.is_event() && *metadata.level() <= finest
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { message, fields } = line;
        // One write for each line, so that lines of other threads stay whole. Who has closed standard error does not want to know.
        let text = format!("audera: {} {message}{fields}\n", event.metadata().level());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
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

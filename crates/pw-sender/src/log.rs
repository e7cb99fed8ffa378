//! Carries `tracing` events of the network thread to the host's log. Set for that one thread only: a guest has no global logger.

use std::fmt::{self, Write as _};

use audera_pw::Topic;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A subscriber that writes to a topic of the host's log.
pub(crate) struct ToHost(pub(crate) &'static Topic);

impl Subscriber for ToHost {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The host filters by its own levels; what is finer than these it has no use for. Libraries only speak when it matters.
        let finest = if metadata.target().starts_with("audera") { Level::DEBUG } else { Level::WARN };
        metadata.is_event() && *metadata.level() <= finest
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format_args!("{}{}", line.message, line.fields).to_string();
        match *event.metadata().level() {
            Level::ERROR => self.0.error(text),
            Level::WARN => self.0.warn(text),
            Level::INFO => self.0.info(text),
            _ => self.0.debug(text),
        }
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

//! Streams as they are announced: id, format, latency and title.

use std::fmt;

use audera_clock::Span;

use crate::format::{FormatError, StreamFormat};
use crate::limits::{MAX_LATENCY, MIN_LATENCY};

/// Id of a stream, chosen by the sender. It is the same on every connection, since all players of a stream get the same
/// bytes; it may be started again on a connection once it is over there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A sender announces a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Id of the stream.
    pub id: StreamId,
    /// Format of all its packets.
    pub format: StreamFormat,
    /// Time from the moment a frame is given to the sender to its presentation, [`MIN_LATENCY`] to [`MAX_LATENCY`], in
    /// whole microseconds, at the start. The stamps include it already: it tells the player how much it will have to hold, and so
    /// whether it can play the stream. It may glide later, within what the player can hold.
    pub latency: Span,
    /// Name of what plays, for people; at most [`MAX_TITLE`](crate::MAX_TITLE) bytes, cut beyond.
    pub title: String,
}

impl Start {
    /// Checks the format and the latency.
    ///
    /// # Errors
    /// The first value that is not accepted, with what would be.
    pub fn validate(&self) -> Result<(), StartInvalid> {
        self.format.validate()?;
        if !(MIN_LATENCY..=MAX_LATENCY).contains(&self.latency) {
            return Err(StartInvalid::Latency { us: self.latency.as_nanos() / 1_000 });
        }
        Ok(())
    }
}

/// A stream that the protocol does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartInvalid {
    /// Its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its latency.
    #[error("latency {us} us is not accepted: use 1000 to 2000000")]
    Latency {
        /// The latency, us.
        us: i64,
    },
}

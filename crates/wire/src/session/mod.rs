//! The state machine of each end of a connection.

mod answers;
mod error;
mod life;
mod orders;
mod player;
mod requests;
mod sender;

pub use error::{SessionError, SetError, StartError};
pub use player::{PlayerEvent, PlayerSession};
pub use sender::{SenderEvent, SenderSession};

/// Harmless oddities that a session has met, for diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Audio packets of streams that are not playing here; they may have been under way when the stream was ended.
    pub ignored_audio: u64,
    /// Messages about a stream, or time replies, that crossed a newer decision; datagrams that were of no use.
    pub stale: u64,
    /// Frames of extension types, which were skipped.
    pub extensions: u64,
}

//! What all ends share that receive a stream, be it to play or to record it: finding sources and dialling them, and the session on
//! a connection. What becomes of the sound is not known here.
//!
//! - [`Source`] says which source is meant, [`announced`] which there are.
//! - [`subscribe`] dials one again and again for a [`Subscriber`], and keeps the ids of those it has met.
//! - [`converse`] drives the session of a [`Conversation`] over a connection, whoever has dialled.
//! - [`SenderClock`] follows the other end's clock, also over to the next connection.

#![forbid(unsafe_code)]

mod announced;
mod conversation;
mod sender_clock;
mod source;
mod subscribe;

pub use announced::{Announced, Place, announced};
pub use conversation::{Conversation, converse, now};
pub use sender_clock::SenderClock;
pub use source::{Source, SourceError};
pub use subscribe::{Dialled, Subscriber, subscribe};

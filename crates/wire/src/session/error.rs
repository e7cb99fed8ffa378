//! What ends a session against the rules, and what a sender cannot start.

use audera_clock::Span;

use crate::close::CloseCode;
use crate::format::{FormatError, Formats, StreamFormat};
use crate::frame::{FrameError, FrameType};
use crate::hello::Role;
use crate::limits::{HELLO_LIMIT, IDLE_LIMIT, MAX_STREAMS};
use crate::message::MessageError;
use crate::room::RoomRefusal;
use crate::stream::{StartInvalid, StreamId};

/// Why a session gave up. It has closed already: what is left is to write its last bytes and to end the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The bytes are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Something came before the hello.
    #[error("peer sent {kind} before its hello")]
    BeforeHello {
        /// What came.
        kind: FrameType,
    },
    /// A second hello.
    #[error("peer sent a second hello")]
    SecondHello,
    /// The peer has the same role.
    #[error("both ends are a {role}: a sender and a player are needed, check the address that was dialled")]
    SameRole {
        /// Role of both.
        role: Role,
    },
    /// A message that only the other role may send.
    #[error("a {role} must not send {kind}")]
    NotForRole {
        /// Role of the peer.
        role: Role,
        /// What it sent.
        kind: FrameType,
    },
    /// A start that is not numbered as the next one.
    #[error("start of stream {id} is number {run} where {expected} is next")]
    StartNumber {
        /// Stream.
        id: StreamId,
        /// Number it had.
        run: u32,
        /// Number that was next.
        expected: u32,
    },
    /// A start of a stream that runs already.
    #[error("stream {id} is started already")]
    StartTwice {
        /// Stream.
        id: StreamId,
    },
    /// Too many streams at once.
    #[error("peer started more than {MAX_STREAMS} streams at once")]
    TooManyStreams,
    /// A message about a start that never was.
    #[error("peer sent {kind} for start {run} of stream {id}, which never was")]
    NeverStarted {
        /// What it sent.
        kind: FrameType,
        /// Stream.
        id: StreamId,
        /// Number of the start.
        run: u32,
    },
    /// A second accept.
    #[error("peer accepted stream {id} twice")]
    AcceptTwice {
        /// Stream.
        id: StreamId,
    },
    /// Audio whose length is impossible in the format of its stream.
    #[error("stream {id}: {error}")]
    AudioLength {
        /// Stream.
        id: StreamId,
        /// What is wrong.
        error: FormatError,
    },
    /// Audio that is to last far longer or shorter than its frames do.
    #[error("stream {id}: a glide of {glide} in one packet is not accepted: at most {most}")]
    AudioGlide {
        /// Stream.
        id: StreamId,
        /// The glide.
        glide: Span,
        /// What would be accepted, either way.
        most: Span,
    },
    /// Audio that repeats or goes back.
    #[error("stream {id}: packet {seq} came after packet {last}")]
    AudioOrder {
        /// Stream.
        id: StreamId,
        /// Number of the packet.
        seq: u32,
        /// Number of the one before.
        last: u32,
    },
    /// A time reply to a request that was never sent, or with another stamp.
    #[error("peer answered time request {number}, which was not asked like that")]
    TimeReply {
        /// Number of the request.
        number: u32,
    },
    /// An answer to a change of the room that was never sent.
    #[error("peer sent {kind} as an answer to change {number}, which was not asked for or is answered already")]
    SetNumber {
        /// What it sent.
        kind: FrameType,
        /// Number of the change.
        number: u32,
    },
    /// Changes of the room that are not numbered one after the other.
    #[error("peer sent change {number} of the room where {expected} is next")]
    SetOrder {
        /// Number it had.
        number: u32,
        /// Number that was next.
        expected: u32,
    },
    /// No hello in time.
    #[error("no hello within {} s of the connection: is the peer an Audera program?", HELLO_LIMIT.as_secs_f64())]
    HelloTimeout,
    /// Nothing in time.
    #[error("nothing heard from the peer for {} s: it has gone or the network is down", IDLE_LIMIT.as_secs_f64())]
    Idle,
}

impl SessionError {
    /// The code that the peer is told.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Message(MessageError::Version { .. }) => CloseCode::Version,
            Self::SameRole { .. } => CloseCode::Role,
            Self::HelloTimeout | Self::Idle => CloseCode::Idle,
            _ => CloseCode::Protocol,
        }
    }
}

/// Why a stream cannot be started on a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The player has not said hello yet: wait for [`SenderEvent::PlayerReady`](crate::SenderEvent::PlayerReady).
    #[error("the player has not said hello yet")]
    NotReady,
    /// The session is over.
    #[error("the session is closed")]
    Closed,
    /// The stream is none that the protocol accepts.
    #[error(transparent)]
    Invalid(#[from] StartInvalid),
    /// The player does not take the format: pick one within its hello.
    #[error("the player does not take {format}, only {formats}")]
    NotTaken {
        /// Format of the stream.
        format: StreamFormat,
        /// What the player takes.
        formats: Formats,
    },
    /// The player cannot hold so much audio: choose a smaller latency.
    #[error("latency {us} us is more than the {max_us} us that the player can hold")]
    Latency {
        /// Latency of the stream, us.
        us: i64,
        /// Largest of the player, us.
        max_us: i64,
    },
    /// A stream of that id is running: stop it first.
    #[error("stream {id} is started already: stop it first")]
    InUse {
        /// Stream.
        id: StreamId,
    },
    /// Too many streams at once: stop one first.
    #[error("{MAX_STREAMS} streams are started already: stop one first")]
    TooMany,
}

/// Why a room cannot be changed on a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The player has not told its room's state yet: wait for [`SenderEvent::Room`](crate::SenderEvent::Room).
    #[error("the player has not told its room's state yet")]
    NotReady,
    /// The session is over.
    #[error("the session is closed")]
    Closed,
    /// The protocol has no room for the change.
    #[error(transparent)]
    Refused(#[from] RoomRefusal),
}

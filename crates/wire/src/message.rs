//! All messages as one type, with their way to bytes and back.

use audera_clock::Span;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::audio::AudioPacket;
use crate::close::Bye;
use crate::format::StreamFormat;
use crate::frame::{Frame, FrameType, write_frame};
use crate::hello::Hello;
use crate::limits::{MAX_NAME, MAX_NESTING, MAX_REASON, MAX_STAMP, MAX_TITLE};
use crate::room::{RoomChange, RoomRefusal, RoomState};
use crate::status::PlayerStatus;
use crate::stream::{Start, StartInvalid, StreamId};
use crate::text;
use crate::time::{TimeReply, TimeRequest};

/// A message of the protocol.
///
/// `run` counts the starts of a connection (0, 1, 2...). Whatever concerns a stream carries the run of its start, so
/// that an answer which crosses a stop and a new start of the same id is known to be meant for the old one.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// First message of either end.
    Hello(Hello),
    /// Last message of either end.
    Bye(Bye),
    /// Sender: a stream begins.
    Start {
        /// Count of starts before this one on the connection.
        run: u32,
        /// The stream.
        start: Start,
    },
    /// Sender: a stream has ended; what was sent of it is played to its end.
    Stop {
        /// Stream.
        id: StreamId,
        /// Its run.
        run: u32,
    },
    /// Player: takes the stream; audio may come.
    Accept {
        /// Stream.
        id: StreamId,
        /// Its run.
        run: u32,
    },
    /// Player: does not take the stream, or cannot play it any longer.
    Refuse {
        /// Stream.
        id: StreamId,
        /// Its run.
        run: u32,
        /// Why, for people; at most [`MAX_REASON`] bytes.
        reason: String,
    },
    /// Player: the newer stream of another sender plays instead.
    Preempt {
        /// Stream.
        id: StreamId,
        /// Its run.
        run: u32,
        /// Name of the other sender; at most [`MAX_NAME`] bytes.
        by: String,
    },
    /// Player: how it fares.
    Status(PlayerStatus),
    /// Sender: wants to be told how the player fares, whoever plays there, or no longer.
    Watch {
        /// Whether it wants to.
        on: bool,
    },
    /// Player: the state of the room.
    Room {
        /// Counts the changes of the state since the player has started.
        revision: u64,
        /// Number of the last `set` of this connection that is done, if any is.
        answers: Option<u32>,
        /// The state.
        state: RoomState,
    },
    /// Sender: changes the state of the room.
    Set {
        /// Count of these messages before this one on the connection (modulo 2^32).
        number: u32,
        /// The change.
        change: RoomChange,
    },
    /// Player: has not made a change.
    SetRefused {
        /// Number of the `set`.
        number: u32,
        /// Why.
        refusal: RoomRefusal,
    },
    /// Sender: the room is to play a short sound, by which people know which one it is.
    Identify,
    /// Sender: audio.
    Audio(AudioPacket<'a>),
    /// Player: asks for the time.
    TimeRequest(TimeRequest),
    /// Sender: tells the time.
    TimeReply(TimeReply),
    /// A message of a newer version that may be skipped.
    Extension {
        /// Type byte, 0x80 or above.
        byte: u8,
        /// Payload.
        payload: &'a [u8],
    },
}

#[derive(Serialize, Deserialize)]
struct StartBody {
    id: StreamId,
    run: u32,
    format: StreamFormat,
    #[serde(rename = "latency_us", with = "text::micros")]
    latency: Span,
    #[serde(default, deserialize_with = "text::text::<_, MAX_TITLE>")]
    title: String,
}

/// Body of stop and accept.
#[derive(Serialize, Deserialize)]
struct RunBody {
    id: StreamId,
    run: u32,
}

#[derive(Serialize, Deserialize)]
struct RefuseBody {
    id: StreamId,
    run: u32,
    #[serde(default, deserialize_with = "text::text::<_, MAX_REASON>")]
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct PreemptBody {
    id: StreamId,
    run: u32,
    #[serde(default, deserialize_with = "text::text::<_, MAX_NAME>")]
    by: String,
}

#[derive(Serialize, Deserialize)]
struct WatchBody {
    on: bool,
}

/// Nothing yet; a map, so that there may be keys.
#[derive(Serialize, Deserialize)]
struct IdentifyBody {}

#[derive(Deserialize)]
struct RoomBody {
    revision: u64,
    #[serde(default)]
    answers: Option<u32>,
    state: RoomState,
}

/// The same, to be written.
#[derive(Serialize)]
struct RoomBodyRef<'a> {
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<u32>,
    state: &'a RoomState,
}

#[derive(Serialize, Deserialize)]
struct SetBody {
    number: u32,
    change: RoomChange,
}

#[derive(Serialize, Deserialize)]
struct SetRefusedBody {
    number: u32,
    refusal: RoomRefusal,
}

impl<'a> Message<'a> {
    /// Type of the frame that carries it.
    #[must_use]
    pub const fn kind(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::Hello,
            Self::Bye(_) => FrameType::Bye,
            Self::Start { .. } => FrameType::Start,
            Self::Stop { .. } => FrameType::Stop,
            Self::Accept { .. } => FrameType::Accept,
            Self::Refuse { .. } => FrameType::Refuse,
            Self::Preempt { .. } => FrameType::Preempt,
            Self::Status(_) => FrameType::Status,
            Self::Watch { .. } => FrameType::Watch,
            Self::Room { .. } => FrameType::Room,
            Self::Set { .. } => FrameType::Set,
            Self::SetRefused { .. } => FrameType::SetRefused,
            Self::Identify => FrameType::Identify,
            Self::Audio(_) => FrameType::Audio,
            Self::TimeRequest(_) => FrameType::TimeRequest,
            Self::TimeReply(_) => FrameType::TimeReply,
            Self::Extension { byte, .. } => FrameType::Extension(*byte),
        }
    }

    /// Appends a control or time message as a frame. Texts beyond their limits are cut and control characters become
    /// spaces, so that no peer has a reason to refuse it.
    ///
    /// An audio packet that cannot be sent is left out; [`AudioPacket::encode`] says why.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = self.kind();
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Bye(bye) => bye.encode(out),
            Self::Start { run, start } => {
                let Start { id, format, latency, .. } = *start;
                let body = StartBody { id, run: *run, format, latency, title: text::clip(&start.title, MAX_TITLE) };
                write_frame(out, kind, |out| write_cbor(out, &body));
            }
            Self::Stop { id, run } | Self::Accept { id, run } => {
                write_frame(out, kind, |out| write_cbor(out, &RunBody { id: *id, run: *run }));
            }
            Self::Refuse { id, run, reason } => {
                let body = RefuseBody { id: *id, run: *run, reason: text::clip(reason, MAX_REASON) };
                write_frame(out, kind, |out| write_cbor(out, &body));
            }
            Self::Preempt { id, run, by } => {
                let body = PreemptBody { id: *id, run: *run, by: text::clip(by, MAX_NAME) };
                write_frame(out, kind, |out| write_cbor(out, &body));
            }
            Self::Status(status) => write_frame(out, kind, |out| write_cbor(out, &status.fit_for_wire())),
            Self::Watch { on } => write_frame(out, kind, |out| write_cbor(out, &WatchBody { on: *on })),
            Self::Room { revision, answers, state } => encode_room(*revision, *answers, state, out),
            Self::Set { number, change } => {
                let body = SetBody { number: *number, change: change.fit_for_wire() };
                write_frame(out, kind, |out| write_cbor(out, &body));
            }
            Self::SetRefused { number, refusal } => {
                let body = SetRefusedBody { number: *number, refusal: refusal.fit_for_wire() };
                write_frame(out, kind, |out| write_cbor(out, &body));
            }
            Self::Identify => write_frame(out, kind, |out| write_cbor(out, &IdentifyBody {})),
            Self::Audio(packet) => {
                // An error leaves `out` as it was, which is what is promised above.
                let _ = packet.encode(out);
            }
            Self::TimeRequest(request) => request.encode(out),
            Self::TimeReply(reply) => reply.encode(out),
            Self::Extension { payload, .. } => write_frame(out, kind, |out| out.extend_from_slice(payload)),
        }
    }

    /// Reads the message of a frame.
    ///
    /// # Errors
    /// The payload is not what its type says, or holds values out of range.
    pub fn decode(frame: Frame<'a>) -> Result<Self, MessageError> {
        let Frame { kind, payload } = frame;
        Ok(match kind {
            FrameType::Hello => Self::Hello(Hello::decode(payload)?),
            FrameType::Bye => Self::Bye(Bye::decode(payload)?),
            FrameType::Start => {
                let StartBody { id, run, format, latency, title } = read_cbor(kind, payload)?;
                let start = Start { id, format, latency, title };
                start.validate()?;
                Self::Start { run, start }
            }
            FrameType::Stop => {
                let RunBody { id, run } = read_cbor(kind, payload)?;
                Self::Stop { id, run }
            }
            FrameType::Accept => {
                let RunBody { id, run } = read_cbor(kind, payload)?;
                Self::Accept { id, run }
            }
            FrameType::Refuse => {
                let RefuseBody { id, run, reason } = read_cbor(kind, payload)?;
                Self::Refuse { id, run, reason }
            }
            FrameType::Preempt => {
                let PreemptBody { id, run, by } = read_cbor(kind, payload)?;
                Self::Preempt { id, run, by }
            }
            FrameType::Status => Self::Status(read_cbor(kind, payload)?),
            FrameType::Watch => {
                let WatchBody { on } = read_cbor(kind, payload)?;
                Self::Watch { on }
            }
            FrameType::Room => {
                let RoomBody { revision, answers, state } = read_cbor(kind, payload)?;
                Self::Room { revision, answers, state }
            }
            FrameType::Set => {
                let SetBody { number, change } = read_cbor(kind, payload)?;
                Self::Set { number, change }
            }
            FrameType::SetRefused => {
                let SetRefusedBody { number, refusal } = read_cbor(kind, payload)?;
                Self::SetRefused { number, refusal }
            }
            FrameType::Identify => {
                let IdentifyBody {} = read_cbor(kind, payload)?;
                Self::Identify
            }
            FrameType::Audio => Self::Audio(AudioPacket::decode(payload)?),
            FrameType::TimeRequest => Self::TimeRequest(TimeRequest::decode(payload)?),
            FrameType::TimeReply => Self::TimeReply(TimeReply::decode(payload)?),
            FrameType::Extension(byte) => Self::Extension { byte, payload },
        })
    }
}

/// Appends a [`Message::Room`] without taking the state, which is the same for all peers.
pub(crate) fn encode_room(revision: u64, answers: Option<u32>, state: &RoomState, out: &mut Vec<u8>) {
    let body = RoomBodyRef { revision, answers, state: &state.fit_for_wire() };
    write_frame(out, FrameType::Room, |out| write_cbor(out, &body));
}

/// A frame whose payload cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The CBOR of a control message.
    #[error("{kind} message cannot be read: {what}")]
    Cbor {
        /// Type of the frame.
        kind: FrameType,
        /// What is wrong.
        what: String,
    },
    /// Bytes after the CBOR map.
    #[error("{kind} message has {count} bytes after its end")]
    Trailing {
        /// Type of the frame.
        kind: FrameType,
        /// How many.
        count: usize,
    },
    /// A fixed binary message ends early.
    #[error("{kind} message is too short")]
    Short {
        /// Type of the frame.
        kind: FrameType,
    },
    /// A time stamp out of range.
    #[error("{kind} message has time stamp {ns} ns, 0 to {MAX_STAMP} is accepted")]
    Stamp {
        /// Type of the frame.
        kind: FrameType,
        /// The stamp, ns.
        ns: i64,
    },
    /// A time reply that left before its request came.
    #[error("time reply left at {replied} ns, before its request was received at {received} ns")]
    ReplyBeforeReceipt {
        /// Receipt of the request, ns.
        received: i64,
        /// Departure of the reply, ns.
        replied: i64,
    },
    /// A stream with values that the protocol does not accept.
    #[error("stream cannot be started: {0}")]
    Start(#[from] StartInvalid),
    /// A hello of neither sender nor player.
    #[error("role {role:?} is unknown: sender and player are accepted")]
    Role {
        /// The role.
        role: String,
    },
    /// No major version in common.
    #[error("versions {offered:?} of the peer are not spoken here, only {:?}: update the older side", crate::VERSIONS)]
    Version {
        /// What the peer offers.
        offered: Vec<u16>,
    },
}

/// Appends `body` as CBOR.
pub(crate) fn write_cbor<T: Serialize>(out: &mut Vec<u8>, body: &T) {
    if ciborium::into_writer(body, out).is_err() {
        unreachable!("structs of numbers, texts and lists always serialise into memory");
    }
}

/// Reads a payload that is exactly one CBOR item.
pub(crate) fn read_cbor<T: DeserializeOwned>(kind: FrameType, payload: &[u8]) -> Result<T, MessageError> {
    let mut rest = payload;
    let body = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_NESTING)
        .map_err(|error| MessageError::Cbor { kind, what: describe(&error) })?;
    if rest.is_empty() { Ok(body) } else { Err(MessageError::Trailing { kind, count: rest.len() }) }
}

fn describe<E>(error: &ciborium::de::Error<E>) -> String {
    use ciborium::de::Error;
    match error {
        Error::Io(_) => "it ends early".to_owned(),
        Error::Syntax(offset) => format!("no CBOR at byte {offset}"),
        Error::Semantic(_, what) => text::clip(what, MAX_REASON),
        Error::RecursionLimitExceeded => format!("it is nested deeper than {MAX_NESTING}"),
    }
}

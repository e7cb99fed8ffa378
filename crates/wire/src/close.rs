//! Why a session ends, and the message that says so.

use std::fmt;

use crate::frame::{FrameType, write_frame};
use crate::limits::MAX_REASON;
use crate::message::{MessageError, read_cbor, write_cbor};
use crate::text;
use serde::{Deserialize, Serialize};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The identity of the peer is not among the trusted ones: pair the two first.
    NotPaired,
    /// No common major version.
    Version,
    /// Two senders or two players met.
    Role,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// The peer has as many connections as it takes.
    TooMany,
    /// Nothing was heard for [`IDLE_LIMIT`](crate::IDLE_LIMIT), or no hello within [`HELLO_LIMIT`](crate::HELLO_LIMIT).
    Idle,
    /// The peer does not read what it is sent.
    Slow,
    /// A newer connection from the same peer took over.
    Replaced,
    /// The program ends, or does not need the session any longer.
    Shutdown,
    /// The program failed.
    Internal,
    /// A code of a newer version; the reason says more.
    Other,
}

impl CloseCode {
    const ALL: [Self; 11] = [
        Self::NotPaired,
        Self::Version,
        Self::Role,
        Self::Protocol,
        Self::TooMany,
        Self::Idle,
        Self::Slow,
        Self::Replaced,
        Self::Shutdown,
        Self::Internal,
        Self::Other,
    ];

    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::Version => "version",
            Self::Role => "role",
            Self::Protocol => "protocol",
            Self::TooMany => "too-many",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
            Self::Other => "other",
        }
    }

    fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.name() == name).unwrap_or(Self::Other)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Last message of either end. It may also be the first and only one, to a peer that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why.
    pub code: CloseCode,
    /// The same for people, at most [`MAX_REASON`] bytes.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(deserialize_with = "text::text::<_, 32>")]
    code: String,
    #[serde(default, deserialize_with = "text::text::<_, MAX_REASON>")]
    reason: String,
}

impl Bye {
    /// Appends the message as a frame; a longer reason is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let body = Body { code: self.code.name().to_owned(), reason: text::clip(&self.reason, MAX_REASON) };
        write_frame(out, FrameType::Bye, |out| write_cbor(out, &body));
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let body: Body = read_cbor(FrameType::Bye, payload)?;
        Ok(Self { code: CloseCode::from_name(&body.code), reason: body.reason })
    }
}

//! Time messages in datagrams beside the connection: one fixed size, so that no answer is larger than what it answers.
//!
//! The datagram around the payload (who sent it, and that nobody has changed it) is the transport's business.

use audera_clock::{PlayerTime, SenderTime, Time};

use crate::limits::MAX_STAMP;
use crate::time::{TimeReply, TimeRequest};

/// Bytes of every payload: type, three zeros, number (u32), t1, t2, t3 (i64 each), big-endian. What a type does not use is zero.
pub const DATAGRAM_LEN: usize = 32;

const REQUEST: u8 = 0x30;
const REPLY: u8 = 0x31;
const HERE: u8 = 0x32;

/// Payload of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A player asks for the sender's time.
    Request(TimeRequest),
    /// A sender answers.
    Reply(TimeReply),
    /// A sender that nobody asks shows where its datagrams come from, and opens the way back through firewalls.
    Here,
}

/// Why bytes are not a payload. They are ignored: datagrams come and go as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Another size.
    #[error("a payload of {len} bytes where there are always {DATAGRAM_LEN}")]
    Length {
        /// Its size, bytes.
        len: usize,
    },
    /// A type of a newer version.
    #[error("unknown type {byte:#04x}")]
    Type {
        /// The type.
        byte: u8,
    },
    /// What the type does not use is not zero.
    #[error("bytes that are reserved are not zero")]
    Reserved,
    /// A stamp out of its range.
    #[error("time stamp {ns} is not within 0 to 2^62 - 1")]
    Stamp {
        /// The stamp, ns.
        ns: i64,
    },
    /// A reply that left before its request came.
    #[error("answered before it was asked")]
    ReplyBeforeReceipt,
}

impl Datagram {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; DATAGRAM_LEN] {
        let mut bytes = [0; DATAGRAM_LEN];
        let (kind, number, stamps) = match *self {
            Self::Request(TimeRequest { number, sent }) => (REQUEST, number, [sent.as_nanos(), 0, 0]),
            Self::Reply(TimeReply { number, sent, received, replied }) => {
                (REPLY, number, [sent.as_nanos(), received.as_nanos(), replied.as_nanos()])
            }
            Self::Here => (HERE, 0, [0; 3]),
        };
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        for (field, stamp) in bytes[8..].chunks_exact_mut(8).zip(stamps) {
            field.copy_from_slice(&stamp.to_be_bytes());
        }
        bytes
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is none of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DatagramError> {
        let fields: &[u8; DATAGRAM_LEN] = bytes.try_into().map_err(|_| DatagramError::Length { len: bytes.len() })?;
        let word = |at: usize| fields[at..].first_chunk().map_or(0, |word| i64::from_be_bytes(*word));
        let number = fields[4..].first_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        let used = match fields[0] {
            REQUEST => 16,
            REPLY => DATAGRAM_LEN,
            HERE => 4,
            byte => return Err(DatagramError::Type { byte }),
        };
        if fields[1..4].iter().chain(&fields[used..]).any(|byte| *byte != 0) {
            return Err(DatagramError::Reserved);
        }
        Ok(match fields[0] {
            REQUEST => Self::Request(TimeRequest { number, sent: stamp(word(8))? }),
            REPLY => {
                let (received, replied): (SenderTime, SenderTime) = (stamp(word(16))?, stamp(word(24))?);
                if replied < received {
                    return Err(DatagramError::ReplyBeforeReceipt);
                }
                let sent: PlayerTime = stamp(word(8))?;
                Self::Reply(TimeReply { number, sent, received, replied })
            }
            _ => Self::Here,
        })
    }
}

fn stamp<S>(ns: i64) -> Result<Time<S>, DatagramError> {
    if (0..=MAX_STAMP).contains(&ns) { Ok(Time::from_nanos(ns)) } else { Err(DatagramError::Stamp { ns }) }
}

//! Time messages: the four-timestamp exchange by which a player learns the sender's clock, fixed binary.

use audera_clock::{PlayerTime, SenderTime, Time};

use crate::frame::{FrameType, write_frame};
use crate::limits::MAX_STAMP;
use crate::message::MessageError;

/// Bytes of a time request: number (u32), sent (i64), big-endian.
pub(crate) const TIME_REQUEST_LEN: usize = 12;

/// Bytes of a time reply: number (u32), sent, received, replied (i64 each), big-endian.
pub(crate) const TIME_REPLY_LEN: usize = 28;

/// A player asks for the sender's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRequest {
    /// Number of the request: 0, 1, 2... on each connection.
    pub number: u32,
    /// When the request left, on the player's monotonic clock.
    pub sent: PlayerTime,
}

/// A sender answers a [`TimeRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeReply {
    /// Number of the request.
    pub number: u32,
    /// Stamp of the request, given back unchanged.
    pub sent: PlayerTime,
    /// When the request arrived, on the sender's monotonic clock.
    pub received: SenderTime,
    /// When the reply left, on the sender's monotonic clock; not before `received`.
    pub replied: SenderTime,
}

impl TimeRequest {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::TimeRequest, |out| {
            out.extend_from_slice(&self.number.to_be_bytes());
            put_stamp(out, self.sent);
        });
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let kind = FrameType::TimeRequest;
        let (number, mut rest) = payload.split_first_chunk::<4>().ok_or(MessageError::Short { kind })?;
        Ok(Self { number: u32::from_be_bytes(*number), sent: take_stamp(&mut rest, kind)? })
    }
}

impl TimeReply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::TimeReply, |out| {
            out.extend_from_slice(&self.number.to_be_bytes());
            put_stamp(out, self.sent);
            put_stamp(out, self.received);
            put_stamp(out, self.replied);
        });
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let kind = FrameType::TimeReply;
        let (number, mut rest) = payload.split_first_chunk::<4>().ok_or(MessageError::Short { kind })?;
        let reply = Self {
            number: u32::from_be_bytes(*number),
            sent: take_stamp(&mut rest, kind)?,
            received: take_stamp(&mut rest, kind)?,
            replied: take_stamp(&mut rest, kind)?,
        };
        if reply.replied < reply.received {
            return Err(MessageError::ReplyBeforeReceipt {
                received: reply.received.as_nanos(),
                replied: reply.replied.as_nanos(),
            });
        }
        Ok(reply)
    }
}

/// Appends a stamp: ns, i64, big-endian.
pub(crate) fn put_stamp<S>(out: &mut Vec<u8>, stamp: Time<S>) {
    out.extend_from_slice(&stamp.as_nanos().to_be_bytes());
}

/// Takes a stamp off the front of `bytes` and checks its range.
pub(crate) fn take_stamp<S>(bytes: &mut &[u8], kind: FrameType) -> Result<Time<S>, MessageError> {
    let (stamp, rest) = bytes.split_first_chunk::<8>().ok_or(MessageError::Short { kind })?;
    *bytes = rest;
    let ns = i64::from_be_bytes(*stamp);
    if (0..=MAX_STAMP).contains(&ns) { Ok(Time::from_nanos(ns)) } else { Err(MessageError::Stamp { kind, ns }) }
}

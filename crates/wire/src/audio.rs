//! Audio packets: fixed binary, encoded once and sent alike to every player of a stream.

use audera_clock::{SenderTime, Span};

use crate::frame::{FrameType, write_frame};
use crate::limits::{MAX_AUDIO, MAX_STAMP};
use crate::message::MessageError;
use crate::stream::StreamId;
use crate::time::{put_stamp, take_stamp};

/// Bytes before the coded audio: stream (u32), sequence (u32), stamp (i64), glide (i32), big-endian.
pub(crate) const AUDIO_HEADER_LEN: usize = 20;

/// One packet of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// Stream that it belongs to.
    pub id: StreamId,
    /// Number of the packet: one more than that of the packet before, modulo 2^32. Numbers are left out where the
    /// sender dropped packets that were too late; they never repeat or go back.
    pub seq: u32,
    /// Presentation time of the first frame that decoding this packet gives: the moment when it leaves the player's
    /// device, on the sender's monotonic clock, ns.
    pub stamp: SenderTime,
    /// Time by which the frames of this packet together last longer than their rate says (negative: shorter), because the stream's
    /// latency grows (shrinks) meanwhile; whole ns. A player accepts up to [`StreamFormat::max_glide`](crate::StreamFormat::max_glide).
    pub glide: Span,
    /// Coded audio.
    pub payload: &'a [u8],
}

impl<'a> AudioPacket<'a> {
    /// Appends the packet as a frame.
    ///
    /// # Errors
    /// The payload is empty or exceeds [`MAX_AUDIO`], the stamp is outside 0 to [`MAX_STAMP`], or the glide does not fit in 32 bits; `out` is
    /// unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), AudioError> {
        if !(1..=MAX_AUDIO).contains(&self.payload.len()) {
            return Err(AudioError::Length { len: self.payload.len() });
        }
        if !(0..=MAX_STAMP).contains(&self.stamp.as_nanos()) {
            return Err(AudioError::Stamp { ns: self.stamp.as_nanos() });
        }
        let ns = self.glide.as_nanos();
        let glide = i32::try_from(ns).map_err(|_| AudioError::Glide { ns })?;
        write_frame(out, FrameType::Audio, |out| {
            out.extend_from_slice(&self.id.0.to_be_bytes());
            out.extend_from_slice(&self.seq.to_be_bytes());
            put_stamp(out, self.stamp);
            out.extend_from_slice(&glide.to_be_bytes());
            out.extend_from_slice(self.payload);
        });
        Ok(())
    }

    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        let short = MessageError::Short { kind: FrameType::Audio };
        let (id, rest) = payload.split_first_chunk::<4>().ok_or(short.clone())?;
        let (seq, mut rest) = rest.split_first_chunk::<4>().ok_or(short.clone())?;
        let stamp = take_stamp(&mut rest, FrameType::Audio)?;
        let (glide, payload) = rest.split_first_chunk::<4>().ok_or(short)?;
        let glide = Span::from_nanos(i64::from(i32::from_be_bytes(*glide)));
        Ok(Self { id: StreamId(u32::from_be_bytes(*id)), seq: u32::from_be_bytes(*seq), stamp, glide, payload })
    }
}

/// Appends one packet of audio as a frame; these bytes serve all players of the stream. See [`AudioPacket`].
///
/// # Errors
/// See [`AudioPacket::encode`].
pub fn encode_audio(
    id: StreamId,
    seq: u32,
    stamp: SenderTime,
    glide: Span,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), AudioError> {
    AudioPacket { id, seq, stamp, glide, payload }.encode(out)
}

/// A packet that the protocol cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// Empty or too long.
    #[error("an audio packet of {len} bytes cannot be sent: 1 to {MAX_AUDIO} are accepted")]
    Length {
        /// Length of the coded audio, bytes.
        len: usize,
    },
    /// A stamp before the clock's zero, or centuries after it.
    #[error("presentation time {ns} ns cannot be sent: 0 to {MAX_STAMP} is accepted")]
    Stamp {
        /// The stamp, ns.
        ns: i64,
    },
    /// A glide of seconds.
    #[error("a glide of {ns} ns cannot be sent: it is at most a twentieth of the packet")]
    Glide {
        /// The glide, ns.
        ns: i64,
    },
}

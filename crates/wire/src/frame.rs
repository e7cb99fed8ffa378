//! Frames: an 8-byte header (payload length, type, reserved) before each payload, and the reader that finds them in a
//! byte stream.

use std::fmt;

use crate::audio::AUDIO_HEADER_LEN;
use crate::limits::{MAX_CONTROL, MAX_PAYLOAD};
use crate::time::{TIME_REPLY_LEN, TIME_REQUEST_LEN};

/// Length of a frame's header, bytes: payload length (u32, big-endian), type (u8), three bytes of zero.
pub const HEADER_LEN: usize = 8;

/// Type of a frame: the fifth byte of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// First frame of either end.
    Hello,
    /// Last frame of either end.
    Bye,
    /// Sender: a stream begins.
    Start,
    /// Sender: a stream has ended.
    Stop,
    /// Player: takes a stream.
    Accept,
    /// Player: does not take a stream, or cannot play it any longer.
    Refuse,
    /// Player: plays another sender's newer stream instead.
    Preempt,
    /// Player: how it fares.
    Status,
    /// Sender: wants to be told how the player fares, or no longer.
    Watch,
    /// Player: the state of the room.
    Room,
    /// Sender: changes the state of the room.
    Set,
    /// Player: does not change it so.
    SetRefused,
    /// Sender: wants the room to be heard.
    Identify,
    /// Sender: one packet of audio.
    Audio,
    /// Player: asks for the sender's time.
    TimeRequest,
    /// Sender: answers with its time.
    TimeReply,
    /// A type of 0x80 or above: skipped by whoever does not know it.
    Extension(u8),
}

impl FrameType {
    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Hello => 0x01,
            Self::Bye => 0x02,
            Self::Start => 0x10,
            Self::Stop => 0x11,
            Self::Accept => 0x12,
            Self::Refuse => 0x13,
            Self::Preempt => 0x14,
            Self::Status => 0x15,
            Self::Watch => 0x16,
            Self::Room => 0x17,
            Self::Set => 0x18,
            Self::SetRefused => 0x19,
            Self::Identify => 0x1a,
            Self::Audio => 0x20,
            Self::TimeRequest => 0x30,
            Self::TimeReply => 0x31,
            Self::Extension(byte) => byte,
        }
    }

    /// The type of a byte on the wire; `None` for a byte below 0x80 without a meaning.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Hello,
            0x02 => Self::Bye,
            0x10 => Self::Start,
            0x11 => Self::Stop,
            0x12 => Self::Accept,
            0x13 => Self::Refuse,
            0x14 => Self::Preempt,
            0x15 => Self::Status,
            0x16 => Self::Watch,
            0x17 => Self::Room,
            0x18 => Self::Set,
            0x19 => Self::SetRefused,
            0x1a => Self::Identify,
            0x20 => Self::Audio,
            0x30 => Self::TimeRequest,
            0x31 => Self::TimeReply,
            0x80.. => Self::Extension(byte),
            _ => return None,
        })
    }

    /// Smallest and largest payload, bytes.
    #[must_use]
    pub const fn payload_bounds(self) -> (usize, usize) {
        match self {
            Self::Audio => (AUDIO_HEADER_LEN + 1, MAX_PAYLOAD),
            Self::TimeRequest => (TIME_REQUEST_LEN, TIME_REQUEST_LEN),
            Self::TimeReply => (TIME_REPLY_LEN, TIME_REPLY_LEN),
            Self::Extension(_) => (0, MAX_CONTROL),
            _ => (1, MAX_CONTROL),
        }
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hello => "hello",
            Self::Bye => "bye",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Preempt => "preempt",
            Self::Status => "status",
            Self::Watch => "watch",
            Self::Room => "room",
            Self::Set => "set",
            Self::SetRefused => "set refused",
            Self::Identify => "identify",
            Self::Audio => "audio",
            Self::TimeRequest => "time request",
            Self::TimeReply => "time reply",
            Self::Extension(byte) => return write!(formatter, "extension 0x{byte:02x}"),
        })
    }
}

/// One frame of the byte stream, its payload still in the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type.
    pub kind: FrameType,
    /// Payload, of a length that the type allows.
    pub payload: &'a [u8],
}

/// Bytes that are no frame of this protocol; the stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A type below 0x80 without a meaning.
    #[error(
        "frame type 0x{byte:02x} is unknown; the peer does not speak this version of the protocol, or not the protocol at all"
    )]
    Type {
        /// The type byte.
        byte: u8,
    },
    /// Reserved header bytes that are not zero.
    #[error("reserved bytes of the frame header are {bytes:02x?} where zeros are expected")]
    Reserved {
        /// The three bytes.
        bytes: [u8; 3],
    },
    /// A payload length that the type does not allow.
    #[error("frame of type {kind} announces {len} bytes, {min} to {max} are accepted")]
    Length {
        /// Type of the frame.
        kind: FrameType,
        /// Announced length, bytes.
        len: u32,
        /// Smallest accepted, bytes.
        min: usize,
        /// Largest accepted, bytes.
        max: usize,
    },
}

/// Finds frames in a byte stream that arrives in pieces of any size.
///
/// A header is checked as soon as its eight bytes are there, before any memory is taken for its payload: the reader
/// never holds more than one frame of the largest allowed size plus the piece pushed last.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// How much of `buffer` has been handed out.
    read: usize,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// A reader at the begin of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream. Call [`next`](Self::next) until it gives `None` before pushing more. After an
    /// error the bytes are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is broken, and stays so: the same error comes again.
    #[expect(clippy::should_implement_trait, reason = "the frame borrows from the reader, which no iterator can give")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some((header, rest)) = self.buffer[self.read..].split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (kind, len) = match parse_header(*header) {
            Ok(header) => header,
            Err(error) => {
                self.failed = Some(error);
                self.buffer = Vec::new();
                self.read = 0;
                return Err(error);
            }
        };
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.read + HEADER_LEN;
        self.read = start + len;
        Ok(Some(Frame { kind, payload: &self.buffer[start..self.read] }))
    }

    /// Bytes held: those pushed and not yet handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.read
    }
}

fn parse_header(header: [u8; HEADER_LEN]) -> Result<(FrameType, usize), FrameError> {
    let [l0, l1, l2, l3, byte, reserved @ ..] = header;
    let kind = FrameType::from_byte(byte).ok_or(FrameError::Type { byte })?;
    if reserved != [0; 3] {
        return Err(FrameError::Reserved { bytes: reserved });
    }
    let len = u32::from_be_bytes([l0, l1, l2, l3]);
    let (min, max) = kind.payload_bounds();
    match usize::try_from(len) {
        Ok(size) if (min..=max).contains(&size) => Ok((kind, size)),
        _ => Err(FrameError::Length { kind, len, min, max }),
    }
}

/// Appends a frame whose payload is written by `payload`; its length is filled in afterwards.
pub(crate) fn write_frame(out: &mut Vec<u8>, kind: FrameType, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind.byte(), 0, 0, 0]);
    payload(out);
    let len = u32::try_from(out.len() - start - HEADER_LEN).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_byte_is_read_back() {
        for byte in 0..=u8::MAX {
            if let Some(kind) = FrameType::from_byte(byte) {
                assert_eq!(kind.byte(), byte);
            } else {
                assert!(byte < 0x80);
            }
        }
    }

    #[test]
    fn a_header_is_judged_before_its_payload_comes() {
        let cases: [(&[u8], &str); 5] = [
            (
                &[0, 0, 0, 1, 0x03, 0, 0, 0],
                "frame type 0x03 is unknown; the peer does not speak this version of the protocol, or not the protocol at all",
            ),
            (
                &[0, 0, 0, 1, 0x01, 0, 7, 0],
                "reserved bytes of the frame header are [00, 07, 00] where zeros are expected",
            ),
            (&[0, 0, 0x10, 1, 0x01, 0, 0, 0], "frame of type hello announces 4097 bytes, 1 to 4096 are accepted"),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0],
                "frame of type audio announces 4294967295 bytes, 21 to 131092 are accepted",
            ),
            (&[0, 0, 0, 11, 0x30, 0, 0, 0], "frame of type time request announces 11 bytes, 12 to 12 are accepted"),
        ];
        for (bytes, message) in cases {
            let mut reader = FrameReader::new();
            reader.push(bytes);
            assert_eq!(reader.next().unwrap_err().to_string(), message);
            assert!(reader.next().is_err(), "an error stays");
            reader.push(&[0; 64]);
            assert_eq!(reader.buffered(), 0, "a broken stream takes no more memory");
        }
    }

    #[test]
    fn a_frame_comes_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, FrameType::Extension(0x99), |out| out.extend_from_slice(b"abc"));
        write_frame(&mut bytes, FrameType::Extension(0x98), |_| {});
        let mut reader = FrameReader::new();
        for byte in &bytes[..10] {
            reader.push(&[*byte]);
            assert_eq!(reader.next(), Ok(None));
        }
        reader.push(&bytes[10..]);
        assert_eq!(reader.next(), Ok(Some(Frame { kind: FrameType::Extension(0x99), payload: b"abc" })));
        assert_eq!(reader.next(), Ok(Some(Frame { kind: FrameType::Extension(0x98), payload: b"" })));
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.buffered(), 0);
    }

    #[test]
    fn what_was_handed_out_is_not_kept() {
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameType::Extension(0x99), |out| out.extend_from_slice(&[0; 56]));
        let mut reader = FrameReader::new();
        reader.push(&frame[..32]);
        for _ in 0..1_000 {
            // Always half a frame ahead, so that the reader never runs empty.
            reader.push(&frame[32..]);
            reader.push(&frame[..32]);
            while reader.next().is_ok_and(|frame| frame.is_some()) {}
            assert!(reader.buffer.len() <= 2 * frame.len());
        }
    }
}

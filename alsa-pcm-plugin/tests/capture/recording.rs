//! What was recorded, and what of it was streamed when.

use std::fmt;
use std::path::Path;

use crate::source::sample;

/// Frames of two channels in 32 bits.
pub struct Recording {
    frames: Vec<(i32, i32)>,
}

/// Frames that were streamed one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it is in the recording.
    pub at: usize,
    /// The number of its first frame.
    pub number: u64,
    pub frames: usize,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames from number {} at {}", self.frames, self.number, self.at)
    }
}

impl Piece {
    /// By how much the frames' numbers are ahead of their places.
    pub fn shift(&self) -> i64 {
        self.number as i64 - self.at as i64
    }

    pub fn end(&self) -> usize {
        self.at + self.frames
    }
}

impl Recording {
    pub fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let sample = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap());
        Recording { frames: bytes.chunks_exact(8).map(|frame| (sample(&frame[..4]), sample(&frame[4..]))).collect() }
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// All that is not silent. Every frame is one that was streamed, in both channels.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, &frame) in self.frames.iter().enumerate().filter(|(_, frame)| **frame != (0, 0)) {
            let number = u64::from((frame.0 >> 8).unsigned_abs());
            assert_eq!(frame, (sample(number, 0) << 8, sample(number, 1) << 8), "frame {at} was not streamed");
            match pieces.last_mut() {
                Some(piece) if piece.end() == at && piece.number + piece.frames as u64 == number => piece.frames += 1,
                _ => pieces.push(Piece { at, number, frames: 1 }),
            }
        }
        pieces
    }
}

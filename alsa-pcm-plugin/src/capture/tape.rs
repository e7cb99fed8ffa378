//! The samples between the network thread, which writes them, and the application, which reads them where they are: neither waits for
//! the other, and what the application does not read is simply written over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Both ends' view. Frames are counted from when the source was opened.
#[derive(Debug)]
struct Shared {
    channels: usize,
    /// Room for whole frames; frame `n` lies in place `n` modulo their number. Bits of `f32`.
    samples: Box<[AtomicU32]>,
    /// What is behind the last frame that was written.
    end: AtomicU64,
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
}

/// Makes both ends, with room for `frames` frames, all silent.
pub(super) fn tape(channels: usize, frames: usize) -> (Writer, Reader) {
    let (channels, frames) = (channels.max(1), frames.max(1));
    let samples = (0..channels * frames).map(|_| AtomicU32::new(0)).collect();
    let shared = Arc::new(Shared { channels, samples, end: AtomicU64::new(0) });
    (Writer { shared: shared.clone() }, Reader { shared })
}

impl Shared {
    fn frames(&self) -> u64 {
        (self.samples.len() / self.channels) as u64
    }

    /// The samples of a frame.
    fn place(&self, frame: u64) -> &[AtomicU32] {
        let first = (frame % self.frames()) as usize * self.channels;
        &self.samples[first..first + self.channels]
    }
}

impl Writer {
    /// What is behind the last frame that was written.
    pub fn end(&self) -> u64 {
        self.shared.end.load(Ordering::Relaxed)
    }

    /// Channels of a frame.
    pub fn channels(&self) -> usize {
        self.shared.channels
    }

    /// Writes whole frames from `at` on, which is not before [`end`](Self::end); what lies in between is silent.
    pub fn write(&mut self, at: u64, samples: &[f32]) {
        let end = self.end();
        // Of a long silence, as much as there is room for: the rest would only be written over.
        let silence = end.max(at.saturating_sub(self.shared.frames()))..at;
        for frame in silence {
            self.shared.place(frame).iter().for_each(|sample| sample.store(0, Ordering::Relaxed));
        }
        let frames = samples.chunks_exact(self.shared.channels);
        let after = at.max(end) + frames.len() as u64;
        for (frame, samples) in (at.max(end)..).zip(frames) {
            for (place, sample) in self.shared.place(frame).iter().zip(samples) {
                place.store(sample.to_bits(), Ordering::Relaxed);
            }
        }
        self.shared.end.store(after, Ordering::Release);
    }
}

impl Reader {
    /// Reads whole frames from `at` on; what was not written, or has been written over, is silent.
    pub fn read(&self, at: u64, samples: &mut [f32]) {
        let end = self.shared.end.load(Ordering::Acquire);
        let kept = end.saturating_sub(self.shared.frames())..end;
        for (frame, samples) in (at..).zip(samples.chunks_exact_mut(self.shared.channels)) {
            if kept.contains(&frame) {
                for (sample, place) in samples.iter_mut().zip(self.shared.place(frame)) {
                    *sample = f32::from_bits(place.load(Ordering::Relaxed));
                }
            } else {
                samples.fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &Reader, at: u64, frames: usize) -> Vec<f32> {
        let mut samples = vec![9.0; frames * reader.shared.channels];
        reader.read(at, &mut samples);
        samples
    }

    #[test]
    fn what_was_not_written_is_silent() {
        let (mut writer, reader) = tape(2, 8);
        assert_eq!(read(&reader, 3, 2), [0.0; 4]);
        writer.write(1, &[0.1, 0.2, 0.3, 0.4]);
        writer.write(5, &[0.5, 0.6]);
        assert_eq!(writer.end(), 6);
        assert_eq!(read(&reader, 0, 7), [0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.5, 0.6, 0.0, 0.0]);
    }

    #[test]
    fn a_tape_goes_round_and_forgets() {
        let (mut writer, reader) = tape(1, 4);
        for n in 0..10u16 {
            writer.write(n.into(), &[f32::from(n) + 1.0]);
        }
        assert_eq!(read(&reader, 4, 8), [0.0, 0.0, 7.0, 8.0, 9.0, 10.0, 0.0, 0.0]);
        // Across a silence longer than the tape.
        writer.write(1_000_000, &[3.0]);
        assert_eq!(read(&reader, 999_996, 6), [0.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
    }
}

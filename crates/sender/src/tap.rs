//! The audio thread's half of a stream: samples and their times go into lock-free rings, and the network thread is rung.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audera_clock::SenderTime;
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

use crate::level::WatchedLevel;
use crate::meter::{Gauge, meter};

/// Blocks that may wait for the network thread, besides the limit in frames.
const MARKS: usize = 512;

/// Where and when a block of audio stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Index of the block's first frame since the stream was opened. A jump between blocks means that frames were discarded.
    pub(crate) position: u64,
    /// When the block's first frame passed the graph, on the sender's monotonic clock.
    pub(crate) at: SenderTime,
    /// Frames in the block.
    pub(crate) frames: usize,
}

/// What the audio thread holds of a stream: real-time safe from end to end.
///
/// [`push`](Tap::push) copies into preallocated rings and writes to a non-blocking eventfd; it never allocates, locks,
/// waits, logs or frees.
#[derive(Debug)]
pub struct Tap {
    channels: usize,
    samples: Producer<f32>,
    marks: Producer<Mark>,
    doorbell: Arc<OwnedFd>,
    position: u64,
    /// The network thread has nothing to do before this position is reached.
    due: Arc<AtomicU64>,
    discarded: Arc<AtomicU64>,
    gauge: Gauge,
    /// Until it is taken.
    level: Option<WatchedLevel>,
}

/// The network thread's end of the rings.
#[derive(Debug)]
pub(crate) struct Outflow {
    pub(crate) channels: usize,
    samples: Consumer<f32>,
    marks: Consumer<Mark>,
    doorbell: Arc<OwnedFd>,
    due: Arc<AtomicU64>,
    discarded: Arc<AtomicU64>,
}

/// Makes both ends, with room for `frames` frames of `channels` channels, `rate` of which come in a second.
pub(crate) fn tap(channels: usize, frames: usize, rate: u32) -> rustix::io::Result<(Tap, Outflow)> {
    let (gauge, meter) = meter(rate, channels);
    let (samples_in, samples_out) = RingBuffer::new(channels * frames);
    let (marks_in, marks_out) = RingBuffer::new(MARKS);
    let doorbell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let due = Arc::new(AtomicU64::new(0));
    let discarded = Arc::new(AtomicU64::new(0));
    Ok((
        Tap {
            channels,
            samples: samples_in,
            marks: marks_in,
            doorbell: doorbell.clone(),
            position: 0,
            due: due.clone(),
            discarded: discarded.clone(),
            gauge,
            level: Some(WatchedLevel::new(meter)),
        },
        Outflow { channels, samples: samples_out, marks: marks_out, doorbell, due, discarded },
    ))
}

impl Tap {
    /// Hands over one block of interleaved samples whose first frame passes the graph at `at`.
    ///
    /// A block that finds no room (the network thread was stalled for longer than the ring) is discarded whole and
    /// counted; the players then hear silence of exactly its length.
    pub fn push(&mut self, at: SenderTime, samples: &[f32]) {
        let frames = samples.len() / self.channels;
        let samples = &samples[..frames * self.channels];
        let mark = Mark { position: self.position, at, frames };
        self.position += frames as u64;
        if frames == 0 {
            return;
        }
        self.gauge.measure(samples);
        let room = !self.marks.is_full();
        match self.samples.write_chunk(samples.len()) {
            Ok(mut chunk) if room => {
                let (first, second) = chunk.as_mut_slices();
                let (head, tail) = samples.split_at(first.len());
                first.copy_from_slice(head);
                second.copy_from_slice(tail);
                chunk.commit_all();
                // There is room: this is the only producer, and it was checked above.
                let _ = self.marks.push(mark);
            }
            _ => {
                self.discarded.fetch_add(frames as u64, Ordering::Relaxed);
            }
        }
        if self.position >= self.due.load(Ordering::Relaxed) {
            // The counter of an eventfd cannot fill up by ones, and a full one has rung already.
            let _ = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes());
        }
    }

    /// Channels of each frame.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How loud the blocks are, for another thread: one, which takes it first.
    pub fn take_level(&mut self) -> Option<WatchedLevel> {
        self.level.take()
    }
}

impl Outflow {
    /// Takes the next block: its mark, with the samples appended to `out`.
    pub(crate) fn next(&mut self, out: &mut Vec<f32>) -> Option<Mark> {
        let mark = self.marks.pop().ok()?;
        // The samples were committed before their mark, so they are there.
        let chunk = self.samples.read_chunk(mark.frames * self.channels).ok()?;
        let (first, second) = chunk.as_slices();
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        chunk.commit_all();
        Some(mark)
    }

    /// The descriptor that becomes readable when blocks wait.
    pub(crate) fn doorbell(&self) -> Arc<OwnedFd> {
        self.doorbell.clone()
    }

    /// Says that nothing is to be done before frames up to `position` are there: until then the doorbell is not rung. What has been put
    /// in before has rung it, so none is ever forgotten.
    pub(crate) fn rest_until(&self, position: u64) {
        self.due.store(position, Ordering::Relaxed);
    }

    /// Frames the audio thread had to discard so far.
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }
}

/// Resets a doorbell that has rung.
pub(crate) fn silence(doorbell: &impl AsFd) {
    let mut count = [0u8; 8];
    // Nothing to read means that somebody was faster: the blocks are looked for anyway.
    let _ = rustix::io::read(doorbell, &mut count);
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::{AllocDisabler, assert_no_alloc};

    use super::*;

    #[global_allocator]
    static GUARD: AllocDisabler = AllocDisabler;

    #[test]
    fn the_audio_thread_neither_allocates_nor_frees() {
        let block = [0.5; 2 * 1024];
        let (mut tap, mut outflow) = tap(2, 4096, 48_000).unwrap();
        let mut level = tap.take_level().unwrap();
        level.watch();
        let mut out = Vec::new();
        // Blocks of every fate: with room, across the end of the ring, without room for samples, without room for marks,
        // empty, and with the network thread gone.
        for round in 0..20 {
            assert_no_alloc(|| tap.push(SenderTime::from_nanos(round), &block[..2 * 1000]));
            outflow.next(&mut out);
        }
        for _ in 0..8 {
            assert_no_alloc(|| tap.push(SenderTime::from_nanos(0), &block));
        }
        assert!(outflow.discarded() > 0);
        while outflow.next(&mut out).is_some() {}
        let before = outflow.discarded();
        for _ in 0..MARKS + 1 {
            assert_no_alloc(|| tap.push(SenderTime::from_nanos(0), &block[..2]));
        }
        assert_eq!(outflow.discarded(), before + 1);
        assert_no_alloc(|| tap.push(SenderTime::from_nanos(0), &[]));
        drop(outflow);
        assert_no_alloc(|| tap.push(SenderTime::from_nanos(0), &block));
        assert!(level.tick() && level.level().peak_dbfs > -6.1, "it was measured all the while");
    }

    #[test]
    fn the_doorbell_is_rung_when_something_is_to_be_done() {
        let (mut tap, outflow) = tap(2, 64, 48_000).unwrap();
        let doorbell = outflow.doorbell();
        let mut rung = || {
            let mut count = [0u8; 8];
            let rung = rustix::io::read(doorbell.as_ref(), &mut count).is_ok();
            tap.push(SenderTime::from_nanos(0), &[0.0; 2 * 4]);
            rung
        };
        assert!(!rung() && rung(), "at first by every block");
        outflow.rest_until(20);
        // The blocks ended at frames 8, 12, 16, 20 and 24 when it was looked.
        assert_eq!([rung(), rung(), rung(), rung(), rung()], [true, false, false, true, true]);
        outflow.rest_until(0);
        assert!(rung() && rung());
    }

    #[test]
    fn blocks_arrive_in_order_with_their_marks() {
        let (mut tap, mut outflow) = tap(2, 8, 48_000).unwrap();
        tap.push(SenderTime::from_nanos(5), &[1.0, 2.0, 3.0, 4.0]);
        tap.push(SenderTime::from_nanos(9), &[5.0, 6.0]);
        let mut out = Vec::new();
        let first = outflow.next(&mut out).unwrap();
        assert_eq!((first.position, first.at.as_nanos(), first.frames), (0, 5, 2));
        let second = outflow.next(&mut out).unwrap();
        assert_eq!((second.position, second.at.as_nanos(), second.frames), (2, 9, 1));
        assert_eq!(out, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(outflow.next(&mut out).is_none());
    }

    #[test]
    fn a_block_without_room_is_discarded_whole_and_leaves_a_jump() {
        let (mut tap, mut outflow) = tap(1, 4, 48_000).unwrap();
        tap.push(SenderTime::from_nanos(0), &[1.0; 3]);
        tap.push(SenderTime::from_nanos(0), &[2.0; 2]);
        let mut out = Vec::new();
        assert_eq!(outflow.next(&mut out).unwrap().frames, 3);
        assert!(outflow.next(&mut out).is_none());
        assert_eq!(outflow.discarded(), 2);
        tap.push(SenderTime::from_nanos(0), &[3.0; 1]);
        assert_eq!(outflow.next(&mut out).unwrap().position, 5);
        assert_eq!(out, [1.0, 1.0, 1.0, 3.0]);
    }
}

//! How far a recording is at which time: a line that the network thread draws anew with each packet, and the application reads.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use audera_clock::{PlayerTime, Span};

/// Where a recording stands and how fast it moves on. Frames are counted from when the source was opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// A time...
    pub at: PlayerTime,
    /// ... the frame whose presentation time that is, with its fraction...
    pub frame: f64,
    /// ... and frames for each nanosecond from there on; above nought.
    pub rate: f64,
}

impl Pace {
    /// Begins with frame nought at `at`, at the nominal rate, in Hz.
    pub fn new(at: PlayerTime, rate: u32) -> Self {
        Self { at, frame: 0.0, rate: nominal(rate) }
    }

    /// The frame whose time it is, with its fraction.
    pub fn frame_at(&self, time: PlayerTime) -> f64 {
        self.frame + (time - self.at).as_nanos() as f64 * self.rate
    }

    /// When the time of a frame comes.
    pub fn time_of(&self, frame: f64) -> PlayerTime {
        self.at + Span::from_nanos(((frame - self.frame) / self.rate).ceil() as i64)
    }
}

/// Frames for each nanosecond at a rate in Hz.
pub(super) fn nominal(rate: u32) -> f64 {
    f64::from(rate) * 1e-9
}

/// The newest pace, written by one thread and read by another without either waiting: a sequence lock over atomics.
#[derive(Debug)]
pub(super) struct PaceCell {
    /// Odd while a pace is being written.
    sequence: AtomicU64,
    at: AtomicI64,
    frame: AtomicU64,
    rate: AtomicU64,
}

impl PaceCell {
    pub fn new(pace: Pace) -> Self {
        Self {
            sequence: AtomicU64::new(0),
            at: AtomicI64::new(pace.at.as_nanos()),
            frame: AtomicU64::new(pace.frame.to_bits()),
            rate: AtomicU64::new(pace.rate.to_bits()),
        }
    }

    /// Puts another in. Only one thread may do so.
    pub fn set(&self, pace: Pace) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.at.store(pace.at.as_nanos(), Ordering::Relaxed);
        self.frame.store(pace.frame.to_bits(), Ordering::Relaxed);
        self.rate.store(pace.rate.to_bits(), Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The pace; `None` while another is being put in, when the one read last is as good.
    pub fn get(&self) -> Option<Pace> {
        let before = self.sequence.load(Ordering::Acquire);
        let at = PlayerTime::from_nanos(self.at.load(Ordering::Relaxed));
        let frame = f64::from_bits(self.frame.load(Ordering::Relaxed));
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = before % 2 == 0 && self.sequence.load(Ordering::Relaxed) == before;
        whole.then_some(Pace { at, frame, rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_frame_is_when_it_has_come() {
        let pace = Pace { at: PlayerTime::from_nanos(5_000_000_000), frame: 480.25, rate: nominal(44_100) };
        for frame in [480.25, 481.0, 500.0, 44_100.0, 400.0] {
            let time = pace.time_of(frame);
            assert!(pace.frame_at(time) >= frame, "{frame}");
            assert!(pace.frame_at(time - Span::from_nanos(2)) < frame, "{frame}");
        }
    }

    #[test]
    fn a_torn_pace_is_never_seen() {
        let of = |n: i64| Pace { at: PlayerTime::from_nanos(n), frame: n as f64, rate: n as f64 * 2.0 };
        let cell = PaceCell::new(of(0));
        let rounds = 100_000;
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=rounds).for_each(|n| cell.set(of(n))));
            let mut last = 0;
            while last < rounds {
                if let Some(pace) = cell.get() {
                    let n = pace.at.as_nanos();
                    assert!(n >= last);
                    assert_eq!(pace, of(n));
                    last = n;
                }
            }
        });
    }
}

//! The delay of a stream as a function of its frames: constant, or gliding to another value along a straight line.
//!
//! Every packet carries the delay that its first frame has reached in its stamp, and what its frames gain or lose of it in its glide. So all
//! players of a stream follow the same function, whatever packets they get.

use std::collections::VecDeque;

use audera_clock::Span;

/// How fast a delay changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slope {
    /// Nobody is to notice: 0.05 % is less than a cent of pitch.
    Gentle,
    /// Little is to spare: 0.5 % are nine cents, which are noticed on held tones only.
    Brisk,
    /// A room is silent meanwhile: 2 % are a third of a semitone.
    Urgent,
}

impl Slope {
    /// Change of the delay for each unit of time.
    pub(crate) fn ratio(self) -> f64 {
        match self {
            Slope::Gentle => 0.000_5,
            Slope::Brisk => 0.005,
            Slope::Urgent => 0.02,
        }
    }
}

/// A frame at which the delay begins to change, or ends to.
#[derive(Debug, Clone, Copy)]
struct Corner {
    frame: i64,
    delay: Span,
}

/// The delay of each frame, piecewise linear.
#[derive(Debug)]
pub(crate) struct Delay {
    rate: u32,
    /// Never empty, in the order of frames. Constant before the first and after the last.
    corners: VecDeque<Corner>,
}

/// Frames before a change that may still be asked for, in seconds: those of an unfinished packet, and an encoder's lookahead.
const MEMORY: i64 = 1;

impl Delay {
    /// The same delay for all frames of a stream at `rate`.
    pub(crate) fn new(rate: u32, delay: Span) -> Self {
        Delay { rate, corners: VecDeque::from([Corner { frame: 0, delay }]) }
    }

    /// The delay of `frame`.
    pub(crate) fn at(&self, frame: i64) -> Span {
        let after = self.corners.partition_point(|corner| corner.frame <= frame);
        let before = after.checked_sub(1).and_then(|before| self.corners.get(before));
        match (before, self.corners.get(after)) {
            (Some(a), Some(b)) => {
                let (part, whole) = (i128::from(frame - a.frame), i128::from(b.frame - a.frame));
                let change = i128::from((b.delay - a.delay).as_nanos());
                a.delay + Span::from_nanos(i64::try_from(change * part / whole.max(1)).unwrap_or(0))
            }
            (Some(only), None) | (None, Some(only)) => only.delay,
            (None, None) => Span::ZERO,
        }
    }

    /// From which frame on it stays as it is, and what it is then.
    pub(crate) fn rest(&self) -> (i64, Span) {
        self.corners.back().map_or((0, Span::ZERO), |last| (last.frame, last.delay))
    }

    /// Glides to `target` from frame `from` on; what was meant to happen after it is forgotten.
    pub(crate) fn glide(&mut self, from: i64, target: Span, slope: Slope) {
        let start = Corner { frame: from, delay: self.at(from) };
        let seconds = (target - start.delay).abs().as_secs_f64() / slope.ratio();
        let frames = (seconds * f64::from(self.rate)).ceil() as i64;
        self.corners.retain(|corner| corner.frame < from);
        self.corners.push_back(start);
        if frames > 0 {
            self.corners.push_back(Corner { frame: from + frames, delay: target });
        }
        let old = from - MEMORY * i64::from(self.rate);
        while self.corners.get(1).is_some_and(|second| second.frame <= old) {
            self.corners.pop_front();
        }
    }

    /// Makes all of it longer by so much: for frames whose time in the graph has become another.
    pub(crate) fn shift(&mut self, by: Span) {
        self.corners.iter_mut().for_each(|corner| corner.delay += by);
    }

    /// The same delay for all frames from now on, and no glide.
    pub(crate) fn set(&mut self, delay: Span) {
        self.corners.clear();
        self.corners.push_back(Corner { frame: 0, delay });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(i64) -> Span = Span::from_millis;

    #[test]
    fn it_glides_at_its_slope_and_stays() {
        let mut delay = Delay::new(48_000, MS(80));
        assert_eq!((delay.at(-500), delay.at(0), delay.at(1_000_000)), (MS(80), MS(80), MS(80)));
        delay.glide(48_000, MS(90), Slope::Brisk);
        assert_eq!((delay.at(47_999), delay.at(48_000)), (MS(80), MS(80)));
        // 10 ms at 0.5 % take 2 s.
        assert_eq!(delay.at(96_000), MS(85));
        assert_eq!((delay.at(144_000), delay.at(1 << 40)), (MS(90), MS(90)));
        delay.glide(96_000, MS(80), Slope::Gentle);
        assert_eq!((delay.at(72_000), delay.at(96_000)), (Span::from_micros(82_500), MS(85)));
        assert_eq!((delay.at(96_000 + 240_000), delay.at(96_000 + 480_000)), (Span::from_micros(82_500), MS(80)));
    }

    #[test]
    fn the_glides_of_packets_add_up_to_the_change() {
        let mut delay = Delay::new(44_100, MS(80));
        delay.glide(1_234, MS(117), Slope::Urgent);
        let mut sum = Span::ZERO;
        for packet in 0..300 {
            let glide = delay.at((packet + 1) * 441) - delay.at(packet * 441);
            assert!((Span::ZERO..=Span::from_micros(201)).contains(&glide), "{glide}");
            sum += glide;
        }
        assert_eq!(sum, MS(37));
    }

    #[test]
    fn a_shift_keeps_the_slope() {
        let mut delay = Delay::new(48_000, MS(80));
        delay.glide(0, MS(90), Slope::Brisk);
        delay.shift(MS(-20));
        assert_eq!((delay.at(48_000), delay.at(1 << 40)), (MS(65), MS(70)));
        delay.set(MS(100));
        assert_eq!((delay.at(0), delay.at(48_000)), (MS(100), MS(100)));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut delay = Delay::new(48_000, MS(80));
        for change in 0..10_000 {
            delay.glide(change * 4_800, MS(80 + change % 7), Slope::Brisk);
        }
        assert!(delay.corners.len() < 30, "{}", delay.corners.len());
    }
}

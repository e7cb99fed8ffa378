//! The gain at the edges of sound, by which nothing ever starts or stops with a click.

use crate::source::Position;

/// Length of a fade in seconds: long enough that its spectrum stays below the bass, short enough to go unnoticed.
const FADE: f64 = 0.003;

/// The stretch of stream that is sounding, and the fades at its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fade {
    /// Where the sound began.
    pub start: Position,
    /// The frame before which it ends, where that is known.
    pub end: Option<i64>,
    /// Length of a fade, in frames.
    length: f64,
}

impl Fade {
    pub fn new(start: Position, rate: u32) -> Self {
        Self { start, end: None, length: f64::from(Self::frames(rate)) }
    }

    /// Length of a fade in frames of `rate`.
    pub fn frames(rate: u32) -> u32 {
        (FADE * f64::from(rate)).ceil() as u32
    }

    /// Applies the gain to interleaved `frames` of `width` samples, of which the first is at `position` and the
    /// others follow by `step`.
    pub fn apply(&self, frames: &mut [f32], width: usize, position: Position, step: f64) {
        let since_start = position.minus(self.start);
        let until_end = self.end.map_or(f64::INFINITY, |end| -position.minus(Position::of(end)));
        let count = (frames.len() / width) as f64;
        if since_start >= self.length && until_end - count * step >= self.length {
            return;
        }
        for (n, frame) in frames.chunks_exact_mut(width).enumerate() {
            let moved = n as f64 * step;
            let edge = (since_start + moved).min(until_end - moved);
            let x = (edge / self.length).clamp(0.0, 1.0) as f32;
            let gain = x * x * (3.0 - 2.0 * x);
            for sample in frame {
                *sample *= gain;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_is_zero_outside_and_one_inside() {
        let mut fade = Fade::new(Position { frame: 100, part: 0.5 }, 48_000);
        fade.end = Some(1_000);
        let mut ones = [1.0; 2 * 1_000];
        fade.apply(&mut ones, 2, Position::of(50), 1.0);
        assert_eq!(ones[2 * 50], 0.0);
        assert!(ones[2 * 51] > 0.0);
        assert_eq!(ones[2 * 300], 1.0);
        assert_eq!(ones[2 * 805], 1.0);
        assert!(ones[2 * 949 + 1] > 0.0 && ones[2 * 949] < 0.001);
        assert_eq!(ones[2 * 950], 0.0);
        for pair in ones.chunks_exact(2).collect::<Vec<_>>().windows(2) {
            assert!((pair[1][0] - pair[0][0]).abs() < 0.011, "no edge");
        }
    }
}

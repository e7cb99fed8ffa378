//! The sound of the house: a pilot that tells which frame of the stream is heard; and chance that can be repeated.

use std::f64::consts::TAU;

pub const RATE: u32 = 48_000;
pub const WIDTH: usize = 2;

/// Frames in one turn of the pilot.
pub const TURN: f64 = 4_800.0;

/// Reproducible pseudo-random numbers (xorshift64*, S. Vigna 2016).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let unit = (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }
}

/// The pilot signal at stream frame `n`: a slow turn of the two channels, whose angle tells `n` within `TURN`.
pub fn pilot(n: f64) -> [f32; WIDTH] {
    let angle = TAU * n / TURN;
    [(0.8 * angle.cos()) as f32, (0.8 * angle.sin()) as f32]
}

/// How far a heard frame is behind the stream frame `expected`, in frames; and how loud the pilot is in it.
pub fn heard(frame: &[f32], expected: f64) -> (f64, f64) {
    let (x, y) = (f64::from(frame[0]), f64::from(frame[1]));
    let turns = expected / TURN - y.atan2(x) / TAU;
    ((turns - turns.round()) * TURN, x.hypot(y) / 0.8)
}

//! A sound between its samples: a windowed sinc from a table, for reading whole recordings at other times.

use super::fit::kernel;

/// Taps on each side.
pub(crate) const REACH: usize = 32;
/// Kernels between one sample and the next; between two of them it is linear, which errs by less than -120 dB.
const PHASES: usize = 1024;

/// Reads sounds at any position.
pub(crate) struct Interpolator {
    /// For each phase its taps from the earliest sample to the latest.
    kernels: Vec<[f32; 2 * REACH]>,
}

impl Interpolator {
    pub fn new() -> Self {
        let taps = |phase: usize| {
            let fraction = phase as f64 / PHASES as f64;
            std::array::from_fn(|tap| kernel(fraction - (tap as f64 + 1.0 - REACH as f64), REACH) as f32)
        };
        Self { kernels: (0..=PHASES).map(taps).collect() }
    }

    /// The sound at a position in samples; nought beyond its ends.
    pub fn at(&self, sound: &[f32], position: f64) -> f32 {
        let whole = position.floor();
        let phase = (position - whole) * PHASES as f64;
        let index = (phase as usize).min(PHASES - 1);
        let between = (phase - index as f64) as f32;
        let first = whole as i64 + 1 - REACH as i64;
        let taps = self.kernels[index].iter().zip(&self.kernels[index + 1]);
        let weights = taps.map(|(&low, &high)| low + (high - low) * between);
        match usize::try_from(first).ok().and_then(|first| sound.get(first..first + 2 * REACH)) {
            Some(samples) => samples.iter().zip(weights).map(|(&sample, weight)| sample * weight).sum(),
            None => weights
                .enumerate()
                .filter_map(|(n, weight)| {
                    let sample = sound.get(usize::try_from(first + n as i64).ok()?)?;
                    Some(sample * weight)
                })
                .sum(),
        }
    }
}

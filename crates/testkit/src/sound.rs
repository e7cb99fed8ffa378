//! Test sounds: noise by seed, which is the same on every machine.
//!
//! Noise, because its correlation with itself has one peak; band-limited, because a resampler or a codec may cut off what is
//! close to half the rate, and is not to be blamed for that.

use realfft::{RealFftPlanner, num_complex::Complex};

use crate::{sim::Random, wav::Sound};

/// The highest frequency in the noise, in hertz, unless half the rate is lower.
pub const NOISE_LIMIT: f64 = 18_000.0;
const LOWEST: f64 = 40.0;

/// White noise between 40 Hz and [`NOISE_LIMIT`], `seconds` long, with a peak of `peak` (1 is full scale), the same in every
/// channel. Equal seeds give equal noise.
#[must_use]
pub fn noise(rate: u32, channels: usize, seconds: f64, peak: f32, seed: u64) -> Sound {
    let frames = (f64::from(rate) * seconds).round() as usize;
    let one = band_limited(rate, frames, peak, seed);
    Sound { rate, channels: vec![one; channels] }
}

/// As [`noise`], with other noise in each channel.
#[must_use]
pub fn decorrelated_noise(rate: u32, channels: usize, seconds: f64, peak: f32, seed: u64) -> Sound {
    let frames = (f64::from(rate) * seconds).round() as usize;
    // Far-apart seeds, so that neighbours of a caller's seed do not share channels.
    let seed_of = |channel: usize| seed ^ (channel as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Sound { rate, channels: (0..channels).map(|channel| band_limited(rate, frames, peak, seed_of(channel))).collect() }
}

fn band_limited(rate: u32, frames: usize, peak: f32, seed: u64) -> Vec<f32> {
    if frames == 0 {
        return Vec::new();
    }
    // Made as a spectrum: flat magnitude, random phase, nothing outside the band. A power of two is fast and exact to make.
    let length = frames.next_power_of_two().max(4096);
    let inverse = RealFftPlanner::<f64>::new().plan_fft_inverse(length);
    let mut spectrum = inverse.make_input_vec();
    let mut random = Random::new(seed);
    let last = spectrum.len() - 1;
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let phase = random.unit() * std::f64::consts::TAU;
        let hertz = bin as f64 * f64::from(rate) / length as f64;
        if (LOWEST..NOISE_LIMIT).contains(&hertz) && bin != last {
            *value = Complex::from_polar(1.0, phase);
        }
    }
    let mut samples = inverse.make_output_vec();
    // Lengths are those the plan asked for, and the ends of the spectrum are nought: there is nothing to refuse.
    if inverse.process(&mut spectrum, &mut samples).is_err() {
        unreachable!("an inverse transform refused vectors it made itself");
    }
    samples.truncate(frames);
    let highest = samples.iter().fold(f64::MIN_POSITIVE, |highest, sample| highest.max(sample.abs()));
    samples.iter().map(|sample| (sample / highest * f64::from(peak)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_for_a_seed_and_another_for_another() {
        let a = noise(48_000, 2, 0.1, 0.5, 7);
        assert_eq!(a, noise(48_000, 2, 0.1, 0.5, 7));
        assert_ne!(a, noise(48_000, 2, 0.1, 0.5, 8));
        assert_eq!(a.channels[0], a.channels[1]);
        assert_eq!(a.frames(), 4800);
        let b = decorrelated_noise(48_000, 2, 0.1, 0.5, 7);
        assert_ne!(b.channels[0], b.channels[1]);
    }

    #[test]
    fn stays_in_its_band_and_reaches_its_peak() {
        // A power of two, so that the whole period is kept and the band's edge is sharp.
        let sound = noise(48_000, 1, 65_536.0 / 48_000.0, 0.5, 1);
        let mut samples: Vec<f64> = sound.channels[0].iter().map(|&s| f64::from(s)).collect();
        let peak = samples.iter().fold(0.0f64, |peak, s| peak.max(s.abs()));
        assert!((peak - 0.5).abs() < 1e-6);
        let forward = RealFftPlanner::<f64>::new().plan_fft_forward(samples.len());
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut samples, &mut spectrum).unwrap();
        let power = |from: f64, to: f64| {
            let bin = |hertz: f64| (hertz / 48_000.0 * 65_536.0) as usize;
            spectrum[bin(from)..bin(to)].iter().map(Complex::norm_sqr).sum::<f64>()
        };
        // What is left above the band is the rounding to f32.
        assert!(power(18_010.0, 24_000.0) < power(100.0, 17_900.0) * 1e-12);
    }
}

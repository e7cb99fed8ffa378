//! How far apart two channels are that play the same, window by window.
//!
//! The whole frames come from the peak of the cross-correlation. The fraction comes from the same peak of the *continuous*
//! correlation, which the cross-spectrum defines between the samples: Newton's method climbs it from there, so that no shape of
//! the peak has to be assumed.

use realfft::num_complex::Complex;

use super::spectrum::{Transform, best_lag};
use crate::sound::NOISE_LIMIT;

/// How far apart the channels are in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    /// The middle of the window, in seconds from the start.
    pub at: f64,
    /// By how many seconds the second channel is later than the first.
    pub seconds: f64,
    /// How alike they are then, 1 at most.
    pub likeness: f64,
}

/// Offsets over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffsetSeries {
    /// One for each window that could be decided.
    pub offsets: Vec<Offset>,
    /// Windows in which both channels had sound but not the same within the searched lag.
    pub undecided: usize,
    /// Windows in which a channel was silent.
    pub silent: usize,
    /// Windows with an offset that was left out, since the instrument itself had failed in them.
    pub disturbed: usize,
}

impl OffsetSeries {
    /// The size of offset, in seconds, which the given share (0 to 1) of windows does not exceed. `None` without windows.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let mut sizes: Vec<f64> = self.offsets.iter().map(|offset| offset.seconds.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let rank = (share.clamp(0.0, 1.0) * sizes.len() as f64).ceil() as usize;
        sizes.get(rank.saturating_sub(1)).copied()
    }

    /// The median of the size of offset.
    #[must_use]
    pub fn p50(&self) -> Option<f64> {
        self.percentile(0.5)
    }

    /// The 99th percentile of the size of offset.
    #[must_use]
    pub fn p99(&self) -> Option<f64> {
        self.percentile(0.99)
    }

    /// When the first window begins from which on, for good, no offset is larger than `limit` seconds; `None` when the last
    /// one is. `window` is the length of the windows.
    #[must_use]
    pub fn settled(&self, limit: f64, window: f64) -> Option<f64> {
        let settled = self.offsets.iter().rev().take_while(|offset| offset.seconds.abs() <= limit);
        settled.last().map(|offset| offset.at - window / 2.0)
    }

    /// The series from `seconds` on, as after settling.
    #[must_use]
    pub fn since(&self, seconds: f64) -> Self {
        let offsets = self.offsets.iter().filter(|offset| offset.at >= seconds).copied().collect();
        Self { offsets, ..*self }
    }
}

/// Least likeness at which an offset is believed.
const LIKE: f64 = 0.5;
/// A channel below this is silent: -80 dBFS.
const SILENT: f64 = 1e-4;

/// Compares two channels in consecutive windows of `window` seconds, searching lags of up to `most` seconds either way.
#[must_use]
pub fn offset_series(first: &[f32], second: &[f32], rate: u32, window: f64, most: f64) -> OffsetSeries {
    let hertz = f64::from(rate);
    let frames = (window * hertz).round() as usize;
    let most = (most * hertz).ceil() as isize;
    let mut series = OffsetSeries::default();
    if frames == 0 {
        return series;
    }
    let fine = Fine::new(frames, hertz);
    let mut start = most as usize;
    while start + frames + most as usize <= first.len().min(second.len()) {
        let part = &first[start..start + frames];
        let at = (start as f64 + frames as f64 / 2.0) / hertz;
        if rms(part) < SILENT || rms(&second[start..start + frames]) < SILENT {
            series.silent += 1;
        } else {
            let found = best_lag(part, second, start as isize, -most, most).and_then(|lag| {
                let from = start.checked_add_signed(lag)?;
                fine.measure(part, second.get(from..from + frames)?)
                    .map(|(rest, likeness)| (lag as f64 + rest, likeness))
            });
            match found {
                Some((lag, likeness)) if likeness >= LIKE => {
                    series.offsets.push(Offset { at, seconds: lag / hertz, likeness });
                }
                _ => series.undecided += 1,
            }
        }
        start += frames;
    }
    series
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// Finds the fraction of a frame between blocks that agree to the whole frame.
struct Fine {
    transform: Transform,
    taper: Vec<f64>,
    /// Bins above this are left out.
    last_bin: usize,
}

impl Fine {
    fn new(frames: usize, hertz: f64) -> Self {
        let transform = Transform::new(frames);
        // Tapered ends, so that what is at the end of one block and not of the other weighs nothing.
        let step = std::f64::consts::TAU / frames as f64;
        let taper = (0..frames).map(|n| 0.5 - 0.5 * (step * (n as f64 + 0.5)).cos()).collect();
        let last_bin = (NOISE_LIMIT / hertz * transform.frames() as f64) as usize;
        Self { transform, taper, last_bin }
    }

    /// By what part of a frame `b` is later than `a`, and their likeness.
    fn measure(&self, a: &[f32], b: &[f32]) -> Option<(f64, f64)> {
        let tapered = |block: &[f32]| {
            let samples = block.iter().zip(&self.taper).map(|(&s, taper)| f64::from(s) * taper);
            let mut spectrum = self.transform.spectrum(samples);
            spectrum.truncate(self.last_bin + 1);
            spectrum
        };
        let (a, b) = (tapered(a), tapered(b));
        let step = std::f64::consts::TAU / self.transform.frames() as f64;
        let cross: Vec<(f64, Complex<f64>)> =
            a.iter().zip(&b).enumerate().skip(1).map(|(bin, (a, b))| (bin as f64 * step, a.conj() * b)).collect();
        // The correlation at lag t is the sum of Re(G e^(iwt)).
        let mut lag = 0.0;
        for _ in 0..20 {
            let (mut slope, mut bend) = (0.0, 0.0);
            for &(w, g) in &cross {
                let turned = g * Complex::cis(w * lag);
                slope -= w * turned.im;
                bend -= w * w * turned.re;
            }
            if bend >= 0.0 {
                // Not on the top of anything.
                return None;
            }
            let climb: f64 = -slope / bend;
            lag += climb.clamp(-0.25, 0.25);
            if climb.abs() < 1e-9 {
                break;
            }
        }
        if lag.abs() > 1.0 {
            return None;
        }
        let top: f64 = cross.iter().map(|&(w, g)| (g * Complex::cis(w * lag)).re).sum();
        let power = |spectrum: &[Complex<f64>]| spectrum.iter().skip(1).map(Complex::norm_sqr).sum::<f64>();
        Some((lag, top / (power(&a) * power(&b)).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::fit::shifted, sim::Random, sound::noise};

    const RATE: u32 = 48_000;

    fn sound(seconds: f64) -> Vec<f32> {
        noise(RATE, 1, seconds, 0.5, 42).channels.remove(0)
    }

    fn later(sound: &[f32], frames: f64) -> Vec<f32> {
        shifted(sound, -frames)
    }

    #[test]
    fn finds_known_shifts_to_a_thousandth_of_a_frame() {
        let first = sound(1.5);
        for shift in [0.0, 0.25, -0.5, 7.0, 13.37, -480.9, 960.01] {
            let series = offset_series(&first, &later(&first, shift), RATE, 0.25, 0.025);
            assert!(series.offsets.len() >= 4, "{shift}: {series:?}");
            assert_eq!(series.undecided + series.silent, 0);
            for offset in &series.offsets {
                let frames = offset.seconds * f64::from(RATE);
                assert!((frames - shift).abs() < 1e-3, "{shift} was found as {frames}");
                assert!(offset.likeness > 0.99);
            }
        }
    }

    #[test]
    fn noise_on_top_is_borne() {
        let first = sound(2.0);
        let mut second = later(&first, 3.3);
        let mut random = Random::new(1);
        // About as loud as the sound itself at this peak.
        second.iter_mut().for_each(|s| *s += 0.15 * (random.unit() as f32 - 0.5));
        let series = offset_series(&first, &second, RATE, 0.25, 0.01);
        assert_eq!(series.undecided, 0);
        let worst = series.offsets.iter().map(|o| (o.seconds * 48_000.0 - 3.3).abs()).fold(0.0, f64::max);
        assert!(worst < 0.02, "off by {worst} frames");
    }

    #[test]
    fn other_sounds_and_silence_are_not_given_an_offset() {
        let first = sound(1.0);
        let other = noise(RATE, 1, 1.0, 0.5, 43).channels.remove(0);
        let series = offset_series(&first, &other, RATE, 0.25, 0.01);
        assert_eq!((series.offsets.len(), series.silent), (0, 0));
        assert!(series.undecided >= 3);
        let series = offset_series(&first, &vec![0.0; first.len()], RATE, 0.25, 0.01);
        assert_eq!((series.offsets.len(), series.undecided), (0, 0));
        assert!(series.silent >= 3);
    }

    #[test]
    fn percentiles_are_of_the_size() {
        let offsets = (1..=100).map(|n| Offset {
            at: f64::from(n),
            seconds: f64::from(if n % 2 == 0 { n } else { -n }),
            likeness: 1.0,
        });
        let series = OffsetSeries { offsets: offsets.collect(), ..OffsetSeries::default() };
        assert_eq!((series.p50(), series.p99(), series.percentile(1.0)), (Some(50.0), Some(99.0), Some(100.0)));
        assert_eq!(series.since(51.0).offsets.len(), 50);
        assert_eq!((series.settled(100.0, 1.0), series.settled(99.5, 1.0)), (Some(0.5), None));
        let back = OffsetSeries { offsets: series.offsets.iter().rev().copied().collect(), ..series };
        assert_eq!(back.settled(49.5, 1.0), Some(48.5));
        assert_eq!(OffsetSeries::default().p50(), None);
    }
}

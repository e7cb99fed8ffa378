//! What of a recording is not its source, after the best-fitting delay, drift and gain are taken out.
//!
//! Block by block, `gain * source(n + delay + drift * n)` is fitted to the recording by least squares (Gauss-Newton; the source
//! between its samples by a windowed sinc). A player that follows another clock stretches what it plays by a few parts in a
//! million; without the drift in the model that alone would leave -30 dB at 18 kHz within a second.

use super::spectrum::best_lag;
use crate::sound::NOISE_LIMIT;

/// How a recording differs from its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// Power of what is left over, against that of the source as recorded, in dB, below 18 kHz.
    pub db: f64,
    /// The same for the worst block.
    pub worst_db: f64,
    /// Where the source's first frame is in the recording, in frames, going by the first block that fits.
    pub delay: f64,
    /// Mean drift of the recording against the source, in parts per million; positive: recorded faster than it was. Of the
    /// blocks that fit.
    pub drift_ppm: f64,
    /// Gain of the recording, 1 for none, over the blocks that fit.
    pub gain: f64,
    /// Every block that was compared, in order.
    pub blocks: Vec<Block>,
    /// Where the source goes on in another place than it should, in order.
    pub breaks: Vec<Break>,
}

/// One block of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its first frame in the recording.
    pub start: usize,
    /// Its length in frames.
    pub frames: usize,
    /// Power of what is left over, against that of the source as recorded, in dB; infinite where nothing of it was recorded.
    pub db: f64,
}

/// A place where a recording leaves its source and takes it up elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Break {
    /// The first frame of the block that fits again.
    pub frame: usize,
    /// By how many frames the source has gone on in between beyond what the recording has; negative when it came later.
    pub jump: f64,
}

/// Taps of the interpolator on each side.
const REACH: usize = 32;
/// A block with more left over than this, in dB, does not fit: it holds something else, or a break.
const FITS_DB: f64 = -20.0;
/// How far around its place the source is looked for after a break, in seconds either way.
const SEARCHED: f64 = 0.5;
/// More than this, in frames, is a break and not a bent rate.
const BROKEN: f64 = 0.5;

/// Compares a recording, which holds the source somewhere, with it, in blocks of `block` seconds. Ends at which the recording
/// or the source is not complete are left out. Where a block does not fit, the source is looked for half a second either way,
/// so that what comes after a gap or a jump is compared with what belongs there.
///
/// `None` when the source is not to be found there or is shorter than a block.
#[must_use]
pub fn residual(recording: &[f32], source: &[f32], rate: u32, block: f64) -> Option<Residual> {
    let length = (block * f64::from(rate)).round() as usize;
    let low_pass = LowPass::new(rate);
    let reach = low_pass.reach();
    let edge = REACH + reach + 1;
    // Where the source begins is found by a good piece out of its loud part, not by its possibly silent start.
    let piece = length.max(rate as usize / 2);
    let probe_at = source.chunks(piece).enumerate().max_by(|a, b| power(a.1).total_cmp(&power(b.1)))?.0 * piece;
    let probe = source.get(probe_at..(probe_at + piece).min(source.len()))?;
    let lag = best_lag(probe, recording, 0, 0, recording.len() as isize)?;
    // Position in the source of the recording's first frame. From the loud part to the beginning the rate may have added up to more than a
    // block's fit would look for.
    let mut shift = (probe_at as isize - lag) as f64;
    let opening = source.get(..piece).filter(|opening| power(opening) > 1e-3 * power(probe));
    if let Some(at) =
        opening.and_then(|opening| search(opening, recording, -shift, (SEARCHED * f64::from(rate)) as isize))
    {
        shift = -at;
    }

    let mut found = Found::default();
    let mut start = ((edge as f64 - shift).max(0.0) as usize).max(reach);
    while start + length + reach <= recording.len() {
        if start as f64 + shift + (length + edge) as f64 >= source.len() as f64 {
            break;
        }
        let part = &recording[start - reach..start + length + reach];
        let expected = (start - reach) as f64 + shift;
        let mut fit = Fitted::near(part, source, expected, &low_pass);
        if !fit.as_ref().is_some_and(Fitted::is_good) {
            let elsewhere = search(part, source, expected, (SEARCHED * f64::from(rate)) as isize);
            let other = elsewhere.and_then(|place| Fitted::near(part, source, place, &low_pass));
            fit = other.filter(Fitted::is_good).or(fit);
        }
        match fit {
            Some(fit) => {
                let good = fit.is_good();
                if good {
                    let jump = fit.position - expected;
                    if jump.abs() > BROKEN && found.delay.is_some() {
                        found.breaks.push(Break { frame: start, jump });
                    }
                    found.delay.get_or_insert((start - reach) as f64 - fit.position);
                    found.drifts.push(fit.drift);
                    shift += jump + fit.drift * length as f64;
                }
                found.add(Block { start, frames: length, db: fit.sums.db() }, &fit.sums, good);
            }
            None => {
                let sums = Sums { frames: length, ..Sums::default() };
                found.add(Block { start, frames: length, db: sums.db() }, &sums, false);
            }
        }
        start += length;
    }
    found.residual()
}

/// What a comparison has found so far.
#[derive(Default)]
struct Found {
    blocks: Vec<Block>,
    breaks: Vec<Break>,
    all: Sums,
    fitting: Sums,
    delay: Option<f64>,
    drifts: Vec<f64>,
}

impl Found {
    fn add(&mut self, block: Block, sums: &Sums, good: bool) {
        self.blocks.push(block);
        self.all.add(sums);
        if good {
            self.fitting.add(sums);
        }
    }

    fn residual(self) -> Option<Residual> {
        Some(Residual {
            db: self.all.db(),
            worst_db: self.blocks.iter().map(|block| block.db).fold(f64::NEG_INFINITY, f64::max),
            delay: self.delay?,
            drift_ppm: self.drifts.iter().sum::<f64>() / self.drifts.len() as f64 * 1e6,
            gain: self.fitting.gain / self.fitting.frames as f64,
            blocks: self.blocks,
            breaks: self.breaks,
        })
    }
}

/// The place within `most` frames of `expected` where the source is most like `part`.
fn search(part: &[f32], source: &[f32], expected: f64, most: isize) -> Option<f64> {
    let expected = expected.round() as isize;
    Some((expected + best_lag(part, source, expected, -most, most)?) as f64)
}

/// A block's fit, judged in the band.
struct Fitted {
    position: f64,
    drift: f64,
    sums: Sums,
}

impl Fitted {
    fn near(part: &[f32], source: &[f32], expected: f64, low_pass: &LowPass) -> Option<Self> {
        let fit = Fit::find(part, source, nearest(part, source, expected))?;
        let (left, played) = (low_pass.apply(&fit.left), low_pass.apply(&fit.model));
        let frames = left.len();
        let sums = Sums { left: power_f64(&left), played: power_f64(&played), gain: fit.gain * frames as f64, frames };
        Some(Self { position: fit.position, drift: fit.drift, sums })
    }

    fn is_good(&self) -> bool {
        self.sums.db() < FITS_DB
    }
}

/// How far a player may have slewed since the block before, in frames.
const SLEWED: isize = 4;

/// The position near `expected` where the source is most like `part`, to a quarter of a frame: near enough for the fit to converge.
fn nearest(part: &[f32], source: &[f32], expected: f64) -> f64 {
    let middle = part.len() / 2;
    let probe = &part[middle.saturating_sub(256)..(middle + 256).min(part.len())];
    let probe_at = expected + middle.saturating_sub(256) as f64;
    let likeness = |shift: f64| -> f64 {
        probe.iter().enumerate().map(|(n, &s)| f64::from(s) * at(source, probe_at + shift + n as f64).0).sum()
    };
    let best = |shifts: &mut dyn Iterator<Item = f64>| {
        shifts.map(|shift| (likeness(shift), shift)).max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, shift)| shift)
    };
    let coarse = best(&mut (-2 * SLEWED..=2 * SLEWED).map(|half| half as f64 / 2.0));
    expected + best(&mut (-1..=1).map(|quarter| coarse + f64::from(quarter) / 4.0))
}

#[derive(Default)]
struct Sums {
    left: f64,
    played: f64,
    gain: f64,
    frames: usize,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.left += other.left;
        self.played += other.played;
        self.gain += other.gain;
        self.frames += other.frames;
    }

    fn db(&self) -> f64 {
        if self.played == 0.0 {
            return f64::INFINITY;
        }
        // Nothing left over at all is below what 64-bit arithmetic can tell.
        10.0 * (self.left.max(self.played * 1e-30) / self.played).log10()
    }
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&s| f64::from(s).powi(2)).sum()
}

fn power_f64(samples: &[f64]) -> f64 {
    samples.iter().map(|s| s * s).sum()
}

/// The best-fitting model of a block of a recording.
struct Fit {
    /// Position in the source of the block's first frame.
    position: f64,
    /// By how much the position gains on the recording, in frames per frame.
    drift: f64,
    gain: f64,
    model: Vec<f64>,
    left: Vec<f64>,
}

impl Fit {
    fn find(part: &[f32], source: &[f32], guess: f64) -> Option<Self> {
        let middle = part.len() as f64 / 2.0;
        let (mut position, mut drift, mut gain) = (guess, 0.0, 0.0);
        let mut best: Option<Self> = None;
        for _ in 0..12 {
            // Unknowns: gain, shift of the middle, drift; their normal equations.
            let mut normal = [[0.0; 4]; 3];
            let mut model = Vec::with_capacity(part.len());
            for (n, &recorded) in part.iter().enumerate() {
                let from_middle = n as f64 - middle;
                let (value, slope) = at(source, position + middle + from_middle * (1.0 + drift));
                model.push(value);
                // The first round finds the gain, which the slopes need.
                let scale = if gain == 0.0 { 1.0 } else { gain };
                let row = [value, scale * slope, scale * slope * from_middle];
                let wanted = f64::from(recorded) - gain * value;
                for (i, equation) in normal.iter_mut().enumerate() {
                    for (j, &other) in row.iter().enumerate() {
                        equation[j] += row[i] * other;
                    }
                    equation[3] += row[i] * wanted;
                }
            }
            let left: Vec<f64> = part.iter().zip(&model).map(|(&r, m)| f64::from(r) - gain * m).collect();
            let better = best.as_ref().is_none_or(|best| power_f64(&left) < power_f64(&best.left) * (1.0 - 1e-6));
            if better || gain == 0.0 {
                model.iter_mut().for_each(|value| *value *= gain);
                best = Some(Self { position: position - drift * middle, drift, gain, model, left });
            } else {
                break;
            }
            let [more_gain, shift, more_drift] = solve(normal)?;
            gain += more_gain;
            position += shift.clamp(-0.5, 0.5);
            drift += more_drift.clamp(-1e-3, 1e-3);
        }
        best
    }
}

/// Solves three linear equations by elimination with pivots; `None` when they do not determine the unknowns.
fn solve(mut m: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|&a, &b| m[a][column].abs().total_cmp(&m[b][column].abs()))?;
        m.swap(column, pivot);
        if m[column][column] == 0.0 {
            return None;
        }
        let own = m[column];
        for (row, equation) in m.iter_mut().enumerate() {
            if row != column {
                let factor = equation[column] / own[column];
                equation.iter_mut().zip(own).for_each(|(value, own)| *value -= factor * own);
            }
        }
    }
    Some([m[0][3] / m[0][0], m[1][3] / m[1][1], m[2][3] / m[2][2]])
}

/// The source and its slope between samples; nought beyond its ends.
fn at(source: &[f32], position: f64) -> (f64, f64) {
    let whole = position.floor();
    let fraction = position - whole;
    let whole = whole as isize;
    // sin(pi x) of all taps is that of the fraction, with alternating signs.
    let (sine, cosine) = (std::f64::consts::PI * fraction).sin_cos();
    let (mut value, mut slope) = (0.0, 0.0);
    let reach = REACH as isize;
    for tap in 1 - reach..=reach {
        let Some(&sample) = usize::try_from(whole + tap).ok().and_then(|n| source.get(n)) else { continue };
        let x = fraction - tap as f64;
        let sign = if tap % 2 == 0 { 1.0 } else { -1.0 };
        let (kernel, kernel_slope) = if x.abs() < 1e-9 {
            (1.0, 0.0)
        } else {
            let px = std::f64::consts::PI * x;
            (sign * sine / px, (sign * cosine - sign * sine / px) / x)
        };
        let (window, window_slope) = window(x / reach as f64);
        let sample = f64::from(sample);
        value += sample * kernel * window;
        slope += sample * (kernel_slope * window + kernel * window_slope / reach as f64);
    }
    (value, slope)
}

/// Blackman-Harris window and its slope over -1..1: side lobes below -92 dB, and the band up to 18 of 24 kHz is free of its
/// transition.
fn window(x: f64) -> (f64, f64) {
    const TERMS: [f64; 4] = [0.358_75, 0.488_29, 0.141_28, 0.011_68];
    if x.abs() >= 1.0 {
        return (0.0, 0.0);
    }
    let (s1, c1) = (std::f64::consts::PI * x).sin_cos();
    // Twice and three times the angle.
    let (s2, c2) = (2.0 * s1 * c1, 2.0 * c1 * c1 - 1.0);
    let (s3, c3) = (s2 * c1 + c2 * s1, c2 * c1 - s2 * s1);
    let value = TERMS[0] + TERMS[1] * c1 + TERMS[2] * c2 + TERMS[3] * c3;
    let slope = -std::f64::consts::PI * (TERMS[1] * s1 + 2.0 * TERMS[2] * s2 + 3.0 * TERMS[3] * s3);
    (value, slope)
}

/// The weight of a sample at a distance of `x` samples, for a kernel of `reach` taps on each side.
pub(super) fn kernel(x: f64, reach: usize) -> f64 {
    let px = std::f64::consts::PI * x;
    let sinc = if px.abs() < 1e-9 { 1.0 } else { px.sin() / px };
    sinc * window(x / reach as f64).0
}

/// The sound between its samples.
#[cfg(test)]
pub(super) fn sinc(sound: &[f32], position: f64) -> f64 {
    at(sound, position).0
}

/// `sound` read `frames` later (earlier, if negative) than it was: shifted by part of a frame too.
#[cfg(test)]
pub(super) fn shifted(sound: &[f32], frames: f64) -> Vec<f32> {
    (0..sound.len()).map(|n| at(sound, n as f64 + frames).0 as f32).collect()
}

/// What a sound has above 18 kHz; as long as the sound, which is continued with silence.
pub(super) fn high_pass(samples: &[f32], rate: u32) -> Vec<f64> {
    // The transition lies above the limit here: only what is no business of the sound's is to be kept.
    let low_pass = LowPass::with_cut(1.08 * NOISE_LIMIT, rate);
    let reach = low_pass.reach();
    let padded: Vec<f64> = std::iter::repeat_n(0.0, reach)
        .chain(samples.iter().map(|&s| f64::from(s)))
        .chain(std::iter::repeat_n(0.0, reach))
        .collect();
    low_pass.apply(&padded).iter().zip(samples).map(|(low, &all)| f64::from(all) - low).collect()
}

/// Takes away what is above 18 kHz, where a resampler may do what it likes.
struct LowPass(Vec<f64>);

impl LowPass {
    fn new(rate: u32) -> Self {
        Self::with_cut(NOISE_LIMIT, rate)
    }

    /// Half the amplitude is left at `hertz`; the transition takes 1.5 kHz on either side at 48 kHz.
    fn with_cut(hertz: f64, rate: u32) -> Self {
        const HALF: isize = 64;
        let cut = (hertz / f64::from(rate)).min(0.5);
        let taps = (-HALF..=HALF).map(|n| {
            let x = std::f64::consts::TAU * cut * n as f64;
            let sinc = if n == 0 { 1.0 } else { x.sin() / x };
            2.0 * cut * sinc * window(n as f64 / (HALF + 1) as f64).0
        });
        Self(taps.collect())
    }

    fn reach(&self) -> usize {
        self.0.len() / 2
    }

    /// Shorter by the reach at both ends.
    fn apply(&self, samples: &[f64]) -> Vec<f64> {
        samples.windows(self.0.len()).map(|w| w.iter().zip(&self.0).map(|(s, t)| s * t).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sim::Random, sound::noise};

    const RATE: u32 = 48_000;

    fn source() -> Vec<f32> {
        noise(RATE, 1, 1.5, 0.5, 9).channels.remove(0)
    }

    /// Silence before and behind.
    fn recorded(sound: &[f32]) -> Vec<f32> {
        [&[0.0; 1000], sound, &[0.0; 500]].concat()
    }

    #[test]
    fn a_copy_leaves_next_to_nothing() {
        let source = source();
        let quieter: Vec<f32> = source.iter().map(|s| s * 0.5).collect();
        let found = residual(&recorded(&quieter), &source, RATE, 0.25).unwrap();
        assert!(found.db < -130.0, "{found:?}");
        assert!((found.delay - 1000.0).abs() < 1e-3 && (found.gain - 0.5).abs() < 1e-6, "{found:?}");
        assert!(found.blocks.len() >= 4 && found.breaks.is_empty());
    }

    #[test]
    fn delay_and_drift_are_taken_out() {
        let source = source();
        let played: Vec<f32> =
            (0..source.len()).map(|n| at(&source, n as f64 * (1.0 + 20e-6) - 0.4).0 as f32).collect();
        let found = residual(&recorded(&played), &source, RATE, 0.25).unwrap();
        assert!(found.db < -85.0 && found.worst_db < -85.0, "{found:?}");
        assert!((found.drift_ppm - 20.0).abs() < 0.5, "{found:?}");
        assert!((found.delay - 1000.4).abs() < 0.1, "{found:?}");
    }

    /// The loudest piece is far behind; by then the drift has added up to 70 frames.
    #[test]
    fn the_beginning_is_found_under_a_drift() {
        let mut source = noise(RATE, 1, 4.0, 0.5, 9).channels.remove(0);
        source[..3 * RATE as usize].iter_mut().for_each(|sample| *sample *= 0.5);
        let played: Vec<f32> = (0..source.len()).map(|n| at(&source, n as f64 * (1.0 - 500e-6)).0 as f32).collect();
        let found = residual(&recorded(&played), &source, RATE, 0.02).unwrap();
        assert!(found.worst_db < -70.0 && found.breaks.is_empty(), "{found:?}");
        assert!((found.drift_ppm + 500.0).abs() < 1.0 && (found.delay - 1000.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn a_known_disturbance_is_found_at_its_size() {
        let source = source();
        let loudness = power(&source) / source.len() as f64;
        let mut random = Random::new(4);
        // White noise of a given power: three quarters of it are below 18 kHz.
        let size = (loudness * 1e-6 * 12.0).sqrt();
        let disturbed: Vec<f32> = source.iter().map(|s| s + (size * (random.unit() - 0.5)) as f32).collect();
        let found = residual(&recorded(&disturbed), &source, RATE, 0.25).unwrap();
        let expected = -60.0 + 10.0 * 0.75f64.log10();
        assert!((found.db - expected).abs() < 0.5, "{found:?} instead of {expected}");
    }

    #[test]
    fn what_is_above_18_khz_does_not_count() {
        let source = source();
        let whistle = |n: usize| 0.01 * (std::f64::consts::TAU * 21_000.0 / 48_000.0 * n as f64).sin();
        let disturbed: Vec<f32> = source.iter().enumerate().map(|(n, s)| s + whistle(n) as f32).collect();
        let found = residual(&recorded(&disturbed), &source, RATE, 0.25).unwrap();
        assert!(found.db < -90.0, "{found:?}");
    }

    #[test]
    fn a_dropped_frame_does_not_pass() {
        let mut played = source();
        let original = played.clone();
        played.remove(30_000);
        let found = residual(&recorded(&played), &original, RATE, 0.25).unwrap();
        assert!(found.worst_db > -20.0, "{found:?}");
        assert_eq!(found.breaks.len(), 1, "{found:?}");
        assert!((found.breaks[0].jump - 1.0).abs() < 0.01, "{found:?}");
    }

    /// Blocks that do not fit.
    fn bad(found: &Residual) -> Vec<Block> {
        found.blocks.iter().filter(|block| block.db > -60.0).copied().collect()
    }

    #[test]
    fn a_jump_is_told_and_what_comes_after_it_is_compared_again() {
        let source = source();
        // A cycle left out, then one of silence put in: the source goes on earlier, then later than it should.
        let played = [&source[..30_000], &source[30_256..50_000], &[0.0; 512], &source[50_000..]].concat();
        let found = residual(&recorded(&played), &source, RATE, 0.02).unwrap();
        let jumps: Vec<f64> = found.breaks.iter().map(|found| found.jump).collect();
        assert_eq!(jumps.len(), 2, "{found:?}");
        assert!((jumps[0] - 256.0).abs() < 0.01 && (jumps[1] + 512.0).abs() < 0.01, "{jumps:?}");
        for (found, place) in found.breaks.iter().zip([31_000, 50_744 + 512]) {
            assert!((0..=2_000).contains(&(found.frame as isize - place)), "{found:?} should be close to {place}");
        }
        let bad = bad(&found);
        assert!(!bad.is_empty() && bad.len() <= 5, "{bad:?}");
        assert!(found.blocks.len() > 70, "up to the end: {}", found.blocks.len());
    }

    #[test]
    fn a_hole_costs_the_blocks_it_touches_and_no_others() {
        let source = source();
        let mut played = source.clone();
        played[30_000..34_096].fill(0.0);
        let found = residual(&recorded(&played), &source, RATE, 0.02).unwrap();
        assert_eq!(found.breaks, []);
        let bad = bad(&found);
        assert!((4..=7).contains(&bad.len()), "{bad:?}");
        assert!(bad.iter().any(|block| block.db == f64::INFINITY || block.db > 0.0), "{bad:?}");
    }
}

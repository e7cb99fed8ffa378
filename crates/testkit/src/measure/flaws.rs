//! Gaps and clicks in a recording of noise.

use super::fit::high_pass;

/// A run of exact zeros inside a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its first frame.
    pub start: usize,
    /// Its length in frames.
    pub frames: usize,
}

/// Runs of at least `shortest` exact zeros between the first and the last sample that is not zero. In noise even two in a row
/// are rare (one sample in some thousands is zero at 16 bits), so 8 is a safe `shortest`.
#[must_use]
pub fn gaps(samples: &[f32], shortest: usize) -> Vec<Gap> {
    let Some(first) = samples.iter().position(|&s| s != 0.0) else { return Vec::new() };
    let mut found = Vec::new();
    let mut zeros = 0;
    for (n, &sample) in samples.iter().enumerate().skip(first) {
        if sample == 0.0 {
            zeros += 1;
        } else {
            if zeros >= shortest.max(1) {
                found.push(Gap { start: n - zeros, frames: zeros });
            }
            zeros = 0;
        }
    }
    found
}

/// A place where the waveform jumps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Click {
    /// The frame where it is strongest.
    pub at: usize,
    /// By how much it stands out of what is usual above the band, in dB.
    pub excess_db: f64,
}

/// How far above the usual a click stands out: 20 dB.
const FACTOR: f64 = 10.0;
/// What counts as usual at the least: half a step of 16 bits.
const FLOOR: f64 = 0.5 / 32_768.0;

/// Finds clicks in sound that has nothing above 18 kHz, by what is there all the same: a jump, a dropped or doubled frame has
/// all frequencies. Beginning and end of the sound count as clicks when they are abrupt.
#[must_use]
pub fn clicks(samples: &[f32], rate: u32) -> Vec<Click> {
    let above = high_pass(samples, rate);
    let mut sizes: Vec<f64> = above.iter().map(|s| s.abs()).filter(|&size| size > 0.0).collect();
    if sizes.is_empty() {
        return Vec::new();
    }
    let middle = sizes.len() / 2;
    let usual = sizes.select_nth_unstable_by(middle, f64::total_cmp).1.max(FLOOR);
    // What is nearer together than 5 ms is one click.
    let apart = rate as usize / 200;
    let mut found: Vec<Click> = Vec::new();
    for (at, size) in above.iter().map(|s| s.abs()).enumerate().filter(|&(_, size)| size > FACTOR * usual) {
        let click = Click { at, excess_db: 20.0 * (size / usual).log10() };
        match found.last_mut() {
            Some(last) if at - last.at < apart => {
                if click.excess_db > last.excess_db {
                    *last = click;
                }
            }
            _ => found.push(click),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::noise;

    fn sound() -> Vec<f32> {
        noise(48_000, 1, 1.0, 0.5, 5).channels.remove(0)
    }

    /// As a 16-bit recording has it.
    fn rounded(sound: &[f32]) -> Vec<f32> {
        sound.iter().map(|s| (s * 32_768.0).round() / 32_768.0).collect()
    }

    #[test]
    fn finds_the_gaps_that_were_cut() {
        let mut sound = rounded(&sound());
        sound[..700].fill(0.0);
        sound[47_000..].fill(0.0);
        assert_eq!(gaps(&sound, 8), []);
        sound[10_000..10_480].fill(0.0);
        sound[20_000..20_008].fill(0.0);
        // Neighbours that happen to be zero would belong to the gap.
        for n in [9_999, 10_480, 19_999, 20_008] {
            sound[n] = 0.1;
        }
        assert_eq!(gaps(&sound, 8), [Gap { start: 10_000, frames: 480 }, Gap { start: 20_000, frames: 8 }]);
        assert_eq!(gaps(&sound, 100).len(), 1);
        assert_eq!(gaps(&[0.0; 100], 1), []);
    }

    #[test]
    fn clean_noise_has_no_click() {
        let sound = sound();
        let inner = |clicks: Vec<Click>| clicks.into_iter().filter(|c| (200..47_800).contains(&c.at)).count();
        assert_eq!(inner(clicks(&sound, 48_000)), 0);
        assert_eq!(inner(clicks(&rounded(&sound), 48_000)), 0);
    }

    #[test]
    fn finds_dropped_and_doubled_frames() {
        let mut sound = rounded(&sound());
        sound.remove(10_000);
        let doubled = sound[30_000];
        sound.insert(30_000, doubled);
        let found: Vec<Click> = clicks(&sound, 48_000).into_iter().filter(|c| (200..47_800).contains(&c.at)).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].at.abs_diff(10_000) < 64 && found[1].at.abs_diff(30_000) < 64, "{found:?}");
    }
}

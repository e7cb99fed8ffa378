//! The short sound by which people find out which room it is: two soft tones, the second a third below, computed in the audio thread.

use std::time::Duration;

/// Where each tone begins, s, and its frequency, Hz (E5, C5).
const TONES: [(f32, f32); 2] = [(0.0, 659.26), (0.32, 523.25)];
/// How long it lasts in all.
pub const LENGTH: Duration = Duration::from_millis(1_200);
/// How long a tone takes to come, s: long enough to be no click.
const ATTACK: f32 = 0.008;
/// In this time, s, a tone falls to a third.
const DECAY: f32 = 0.16;
/// At its end the sound is let go in this time, s.
const RELEASE: f32 = 0.05;
/// Both tones together stay below half of full scale.
const LEVEL: f32 = 0.3;

/// A sound under way.
#[derive(Debug, Clone, Copy)]
pub struct Chime {
    rate: f32,
    gain: f32,
    frame: u32,
}

impl Chime {
    /// At its beginning, for a device with `rate` frames a second; samples are multiplied by `gain`.
    #[must_use]
    pub fn new(rate: u32, gain: f32) -> Self {
        Chime { rate: rate as f32, gain, frame: 0 }
    }

    /// Adds it to interleaved samples; whether there is more of it.
    #[must_use]
    pub fn add_to(&mut self, samples: &mut [f32], channels: usize) -> bool {
        for frame in samples.chunks_exact_mut(channels.max(1)) {
            let at = self.frame as f32 / self.rate;
            if at >= LENGTH.as_secs_f32() {
                return false;
            }
            self.frame += 1;
            let sample = self.gain * sample(at);
            frame.iter_mut().for_each(|channel| *channel += sample);
        }
        true
    }
}

/// The sound at a time from its beginning, s.
fn sample(at: f32) -> f32 {
    let tone = |(begin, frequency): (f32, f32)| {
        let age = at - begin;
        if age < 0.0 {
            return 0.0;
        }
        let envelope = (age / ATTACK).min(1.0) * (-age / DECAY).exp();
        envelope * (std::f32::consts::TAU * frequency * age).sin()
    };
    let release = ((LENGTH.as_secs_f32() - at) / RELEASE).clamp(0.0, 1.0);
    LEVEL * release * TONES.into_iter().map(tone).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;

    use super::*;

    #[test]
    fn it_is_soft_begins_and_ends_without_a_click_and_ends() {
        for rate in [44_100, 192_000] {
            let mut chime = Chime::new(rate, 1.0);
            let mut heard = Vec::new();
            let mut block = [0.0f32; 2 * 256];
            loop {
                block.fill(0.0);
                let more = assert_no_alloc(|| chime.add_to(&mut block, 2));
                heard.extend(block.chunks(2).map(|frame| frame[0]));
                assert!(block.chunks(2).all(|frame| frame[0] == frame[1]), "both channels are alike");
                if !more {
                    break;
                }
            }
            let seconds = heard.len() as f32 / rate as f32;
            assert!((LENGTH.as_secs_f32()..LENGTH.as_secs_f32() + 0.02).contains(&seconds), "{seconds} s");
            let peak = heard.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.1..0.5).contains(&peak), "{peak}");
            // No step is larger than that of a full tone of the higher frequency.
            let steepest = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            let tone = peak * std::f32::consts::TAU * TONES[0].1 / rate as f32;
            assert!(steepest < 1.5 * tone, "a step of {steepest}");
            assert!(heard.last().is_some_and(|sample| sample.abs() < 1e-3));
        }
    }
}

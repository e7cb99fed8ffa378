//! A limit to concealment: what is made up for lost packets fades out, and what comes after it fades in.

use std::num::NonZeroUsize;

/// Frames of concealment at full level: 40 ms, within which it is hard to hear.
const HOLD: u32 = 1_920;

/// Frames from full level to silence after that: 80 ms.
const FALL: f32 = 3_840.0;

/// Frames from silence to full level once packets arrive again: 5 ms, enough not to click.
const RISE: f32 = 240.0;

/// The level of what a decoder gives, at 48 kHz.
///
/// libopus conceals a loss of any length; for steady sounds its concealment ends in a noise that never stops (seen with 1.3.1), and
/// a broken stream must not hum on.
#[derive(Debug)]
pub(crate) struct Fade {
    channels: NonZeroUsize,
    /// Frames concealed since the last packet.
    concealed: u32,
    gain: f32,
}

impl Fade {
    pub(crate) const fn new(channels: NonZeroUsize) -> Self {
        Self { channels, concealed: 0, gain: 1.0 }
    }

    /// Levels a packet that was made up.
    pub(crate) fn concealed(&mut self, samples: &mut [f32]) {
        for frame in samples.chunks_exact_mut(self.channels.get()) {
            self.concealed = self.concealed.saturating_add(1);
            if self.concealed > HOLD {
                self.gain = (self.gain - 1.0 / FALL).max(0.0);
                frame.iter_mut().for_each(|sample| *sample *= self.gain);
            }
        }
    }

    /// Levels a packet that arrived.
    pub(crate) fn received(&mut self, samples: &mut [f32]) {
        self.concealed = 0;
        for frame in samples.chunks_exact_mut(self.channels.get()) {
            if self.gain >= 1.0 {
                return;
            }
            self.gain = (self.gain + 1.0 / RISE).min(1.0);
            frame.iter_mut().for_each(|sample| *sample *= self.gain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fade: &mut Fade, packets: usize, step: impl Fn(&mut Fade, &mut [f32])) -> Vec<f32> {
        let mut all = Vec::new();
        for _ in 0..packets {
            let mut packet = [1.0; 960];
            step(fade, &mut packet);
            assert!(packet.chunks_exact(2).all(|frame| frame[0] == frame[1]), "channels share one level");
            all.extend(packet.iter().step_by(2));
        }
        all
    }

    #[test]
    fn long_losses_fall_silent_and_the_sound_comes_back_without_a_jump() {
        let mut fade = Fade::new(NonZeroUsize::new(2).unwrap());
        let before = run(&mut fade, 10, Fade::received);
        let lost = run(&mut fade, 20, Fade::concealed);
        let after = run(&mut fade, 2, Fade::received);
        assert!(before.iter().all(|&level| level == 1.0), "packets that arrive are left alone");
        assert!(lost[..1_920].iter().all(|&level| level == 1.0), "a short loss is concealed in full");
        assert!(lost[1_920 + 3_850..].iter().all(|&level| level == 0.0), "a long one ends in silence");
        assert!(after[240..].iter().all(|&level| level == 1.0));
        let all = [before, lost, after].concat();
        let steepest = all.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.005, "{steepest} between two frames");
    }
}

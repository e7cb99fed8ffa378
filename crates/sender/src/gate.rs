//! The signal gate of a tapped input: opens at a threshold, keeps what came just before, closes after a hold of silence.

use audera_clock::Span;

/// When a stream that waits for a signal begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateConfig {
    /// Peak level that opens the gate, in dBFS (-90..=0).
    pub threshold_dbfs: f32,
    /// Silence after which the gate closes and the rooms are released.
    pub hold: Span,
    /// Sound kept from before the threshold was reached, and by which the whole stream is played later, so that rooms which
    /// have to wake first still play the beginning (0..=2 s).
    pub preroll: Span,
}

/// What a block did to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Passage {
    /// Silence: the block went into the history.
    Closed,
    /// This block reached the threshold: play the history, which ends with this block.
    Opened,
    /// The gate is open: play the block.
    Open,
    /// The hold is over with this block: the stream ends.
    Closing,
}

/// The gate's state for one stream.
#[derive(Debug)]
pub(crate) struct Gate {
    threshold: f32,
    hold_frames: u64,
    preroll_frames: usize,
    channels: usize,
    /// Interleaved samples of at most `preroll_frames` frames plus the latest block; empty while open.
    history: Vec<f32>,
    open: bool,
    silent_frames: u64,
}

impl Gate {
    pub(crate) fn new(config: GateConfig, rate: u32, channels: usize) -> Self {
        let frames = |span: Span| (span.as_secs_f64().max(0.0) * f64::from(rate)) as u64;
        Gate {
            threshold: 10f32.powf(config.threshold_dbfs / 20.0),
            hold_frames: frames(config.hold),
            preroll_frames: frames(config.preroll) as usize,
            channels,
            history: Vec::new(),
            open: false,
            silent_frames: 0,
        }
    }

    /// Judges one block.
    pub(crate) fn pass(&mut self, block: &[f32]) -> Passage {
        let loud = block.iter().any(|sample| sample.abs() >= self.threshold);
        match (self.open, loud) {
            (false, _) => {
                self.remember(block);
                if !loud {
                    return Passage::Closed;
                }
                self.open = true;
                self.silent_frames = 0;
                Passage::Opened
            }
            (true, true) => {
                self.silent_frames = 0;
                Passage::Open
            }
            (true, false) => {
                self.silent_frames += (block.len() / self.channels) as u64;
                if self.silent_frames < self.hold_frames {
                    return Passage::Open;
                }
                self.open = false;
                Passage::Closing
            }
        }
    }

    /// The sound before and at the opening, to be taken once after [`Passage::Opened`].
    pub(crate) fn take_history(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.history)
    }

    /// Forgets the history, when the positions before and after do not follow each other.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
    }

    fn remember(&mut self, block: &[f32]) {
        let keep = self.preroll_frames * self.channels;
        let surplus = self.history.len().saturating_sub(keep);
        self.history.drain(..surplus);
        self.history.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let config = GateConfig { threshold_dbfs: -40.0, hold: Span::from_millis(20), preroll: Span::from_millis(5) };
        Gate::new(config, 1000, 1)
    }

    #[test]
    fn opens_at_the_threshold_with_the_sound_before_it() {
        let mut gate = gate();
        assert_eq!(gate.pass(&[0.001; 10]), Passage::Closed);
        assert_eq!(gate.pass(&[0.002; 10]), Passage::Closed);
        assert_eq!(gate.pass(&[0.0, 0.02, 0.0]), Passage::Opened);
        let history = gate.take_history();
        assert_eq!(&history[history.len() - 3..], [0.0, 0.02, 0.0]);
        assert!(history.len() >= 5 + 3, "{}", history.len());
        assert!(history[..history.len() - 3].iter().all(|&sample| sample == 0.002));
    }

    #[test]
    fn closes_only_after_the_hold_and_opens_again() {
        let mut gate = gate();
        assert_eq!(gate.pass(&[0.5; 10]), Passage::Opened);
        let _ = gate.take_history();
        assert_eq!(gate.pass(&[0.0; 10]), Passage::Open);
        assert_eq!(gate.pass(&[0.5; 10]), Passage::Open);
        assert_eq!(gate.pass(&[0.0; 10]), Passage::Open);
        assert_eq!(gate.pass(&[0.0; 10]), Passage::Closing);
        assert_eq!(gate.pass(&[0.0; 10]), Passage::Closed);
        assert_eq!(gate.pass(&[-0.5; 10]), Passage::Opened);
    }
}

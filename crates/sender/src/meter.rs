//! How loud a stream's input is: measured on the audio thread in windows, and only while somebody wants to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Windows in a second, blocks permitting: a window is made of whole ones.
const WINDOWS: u32 = 10;

/// How loud something is, in dB of full scale, over all channels. A sine of full scale has a peak of 0 and an RMS of -3.01.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The largest sample.
    pub peak_dbfs: f64,
    /// The root of the mean of all samples' squares.
    pub rms_dbfs: f64,
}

impl Level {
    /// Nothing is told to be quieter, dB of full scale.
    pub const LEAST: f64 = -120.0;
    /// Silence.
    pub const SILENCE: Level = Level { peak_dbfs: Self::LEAST, rms_dbfs: Self::LEAST };

    /// Peak and RMS to the tenth of a dB, as they are shown: what is steady does not flicker.
    #[must_use]
    pub fn shown(self) -> (f64, f64) {
        let tenth = |db: f64| (db * 10.0).round() / 10.0;
        (tenth(self.peak_dbfs), tenth(self.rms_dbfs))
    }

    /// Of linear values, 1 being full scale.
    fn of(peak: f32, rms: f32) -> Self {
        let dbfs = |linear: f32| {
            let db = 20.0 * f64::from(linear).log10();
            // What is no number was made of samples that are none.
            if db.is_finite() { db.max(Self::LEAST) } else { Self::LEAST }
        };
        Level { peak_dbfs: dbfs(peak), rms_dbfs: dbfs(rms) }
    }
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicBool,
    /// The newest window: bits of its peak above those of its RMS, so that they are of one window.
    window: AtomicU64,
    /// Windows so far; written behind the window.
    count: AtomicU32,
}

/// The end that is read.
#[derive(Debug)]
pub(crate) struct Meter {
    shared: Arc<Shared>,
    seen: u32,
}

impl Meter {
    /// Has the audio thread measure, or no longer: then it takes none of its time.
    pub(crate) fn want(&mut self, wanted: bool) {
        self.shared.wanted.store(wanted, Ordering::Relaxed);
        self.seen = self.shared.count.load(Ordering::Acquire);
    }

    /// The level of the newest window, of 100 ms or a block if that is longer; `None` if there is none since the last call.
    pub(crate) fn take(&mut self) -> Option<Level> {
        let count = self.shared.count.load(Ordering::Acquire);
        if std::mem::replace(&mut self.seen, count) == count {
            return None;
        }
        let window = self.shared.window.load(Ordering::Relaxed);
        Some(Level::of(f32::from_bits((window >> 32) as u32), f32::from_bits(window as u32)))
    }
}

/// The audio thread's end: it neither allocates nor waits.
#[derive(Debug)]
pub(crate) struct Gauge {
    shared: Arc<Shared>,
    /// Samples of a window.
    enough: usize,
    samples: usize,
    peak: f32,
    squares: f64,
}

/// Makes both ends, for interleaved samples of so many channels.
pub(crate) fn meter(rate: u32, channels: usize) -> (Gauge, Meter) {
    let shared = Arc::new(Shared::default());
    let enough = (rate / WINDOWS) as usize * channels;
    (Gauge { shared: shared.clone(), enough, samples: 0, peak: 0.0, squares: 0.0 }, Meter { shared, seen: 0 })
}

impl Gauge {
    /// Measures a block, if anybody wants that.
    pub(crate) fn measure(&mut self, block: &[f32]) {
        if !self.shared.wanted.load(Ordering::Relaxed) {
            // What was begun would be old when somebody wants it again.
            self.samples = 0;
            return;
        }
        if self.samples == 0 {
            (self.peak, self.squares) = (0.0, 0.0);
        }
        self.peak = block.iter().fold(self.peak, |peak, sample| peak.max(sample.abs()));
        // Of one block single precision is enough, of many it might not be.
        self.squares += f64::from(block.iter().map(|sample| sample * sample).sum::<f32>());
        self.samples += block.len();
        if self.samples < self.enough {
            return;
        }
        let rms = (self.squares / self.samples as f64).sqrt() as f32;
        let window = u64::from(self.peak.to_bits()) << 32 | u64::from(rms.to_bits());
        self.shared.window.store(window, Ordering::Relaxed);
        // Whoever sees the count sees the window, or a newer one.
        self.shared.count.fetch_add(1, Ordering::Release);
        self.samples = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn sine(peak: f32, frames: usize) -> Vec<f32> {
        let sample = |frame: usize| peak * (std::f32::consts::TAU * 1_000.0 * frame as f32 / RATE as f32).sin();
        // On the left only: the right one is silent.
        (0..frames).flat_map(|frame| [sample(frame), 0.0]).collect()
    }

    #[test]
    fn a_sine_is_as_loud_as_it_is() {
        let (mut gauge, mut meter) = meter(RATE, 2);
        gauge.measure(&sine(0.5, 4_800));
        assert_eq!(meter.take(), None, "nobody wanted it");
        meter.want(true);
        for block in sine(0.5, 4_800).chunks(2 * 256) {
            assert_eq!(meter.take(), None);
            gauge.measure(block);
        }
        let level = meter.take().unwrap();
        assert!((level.peak_dbfs + 6.02).abs() < 0.01, "{level:?}");
        // Half of the power of one channel, as the other has none.
        assert!((level.rms_dbfs + 12.04).abs() < 0.01, "{level:?}");
        assert_eq!(meter.take(), None, "each window once");
        meter.want(false);
        gauge.measure(&sine(0.5, 4_800));
        assert_eq!(meter.take(), None);
    }

    #[test]
    fn a_window_forgets_the_one_before_and_silence_has_an_end() {
        let (mut gauge, mut meter) = meter(RATE, 1);
        meter.want(true);
        gauge.measure(&[1.0; 4_800]);
        gauge.measure(&[0.0; 4_800]);
        assert_eq!(meter.take(), Some(Level::SILENCE));
        gauge.measure(&[f32::NAN; 4_800]);
        assert_eq!(meter.take(), Some(Level::SILENCE));
        gauge.measure(&[1.0; 4_800]);
        let level = meter.take().unwrap();
        assert_eq!((level.peak_dbfs, level.rms_dbfs), (0.0, 0.0));
    }
}

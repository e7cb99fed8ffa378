//! What a card has played, and when each frame was heard in true time.

use std::{fs, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{SampleClock, TrueTime, Wander};
use crate::Error;

/// The recording: raw 32-bit floats, interleaved, little-endian, frame 0 first.
pub const SAMPLES_FILE: &str = "played.f32";
/// The table of times: lines of `frame,true_ns`; between two lines time is linear.
pub const TIMES_FILE: &str = "times.csv";
/// Frames that were not played although sound was due: lines of `frame,frames`.
pub const MISSED_FILE: &str = "missed.csv";
/// Where the device stood still because it was told to: lines as in [`MISSED_FILE`].
pub const XRUNS_FILE: &str = "xruns.csv";
/// The card's [`Report`].
pub const REPORT_FILE: &str = "card.json";

/// What a card tells of itself and of its run, as JSON. Written at the start, twice a second, and once more at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Frames a second, nominally.
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u16,
    /// By how much its crystal is fast, in parts per million.
    pub ppm: f64,
    /// The most it wanders to either side, in parts per million.
    pub wander_ppm: f64,
    /// Slowest period of the wandering, in seconds.
    pub wander_seconds: f64,
    /// Which course it wanders.
    pub seed: u64,
    /// True time of frame 0, in nanoseconds.
    pub started_ns: i64,
    /// How the run went.
    pub counts: Counts,
    /// Whether the run has ended as it should, so that the counts are final.
    pub complete: bool,
}

impl Report {
    /// The crystal it tells of.
    #[must_use]
    pub fn clock(&self) -> SampleClock {
        let clock = SampleClock::new(self.rate, TrueTime::from_nanos(self.started_ns), self.ppm);
        let wander = Wander { ppm: self.wander_ppm, seconds: self.wander_seconds, seed: self.seed };
        if wander.seconds > 0.0 { clock.wandering(wander) } else { clock }
    }
}

/// How a run went: what is to be looked at before its recording is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Cycles begun.
    pub cycles: u64,
    /// Cycles in which no sound came although it had come before and came again; silence is in the recording.
    pub missed_cycles: u64,
    /// Frames of other cycles that came after their time and were not played.
    pub late_frames: u64,
    /// Cycles the card itself began late, by more than a millisecond: the machine did not wake it.
    pub late_wakes: u64,
    /// By how much at most, in nanoseconds.
    pub worst_wake_ns: i64,
    /// Cycles the card did not begin at all, since the machine woke it after their time. They are among those missed.
    pub skipped_cycles: u64,
    /// Cycles of another driver, to which the card was a follower. It plays nothing then.
    pub foreign_cycles: u64,
    /// Frames that could not be recorded, since the disk was too slow: the recording has silence that was not played.
    pub unrecorded_frames: u64,
}

/// Frames that a card did not play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The first one.
    pub frame: u64,
    /// How many.
    pub frames: u64,
}

/// One channel of what a card has played.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// What the card tells of itself.
    pub report: Report,
    /// The samples from frame 0 on, exact zeros where nothing was played.
    pub samples: Vec<f32>,
    /// Where the card played silence because nothing had come in time.
    pub missed: Vec<Missed>,
    /// Where it played silence in an xrun that was asked for.
    pub xruns: Vec<Missed>,
    /// Frames and their true times in nanoseconds, both rising; never empty.
    times: Vec<(f64, f64)>,
    /// True time of frame 0: the times above count from here, so that floating point suffices.
    start: TrueTime,
}

impl Played {
    /// Reads the first channel of what a card has written to `folder`, also while it still runs.
    ///
    /// # Errors
    /// [`Error::File`] when the files are not there or not such files.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        Self::read_channel(folder, 0)
    }

    /// Reads one channel, counted from 0.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when the card has no such channel.
    pub fn read_channel(folder: &Path, channel: usize) -> Result<Self, Error> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|source| Error::File { path, source })
        };
        let wrong = |name: &str, why: &str| Error::File {
            path: folder.join(name),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned()),
        };
        let report: Report =
            serde_json::from_str(&text(REPORT_FILE)?).map_err(|error| wrong(REPORT_FILE, &error.to_string()))?;
        if channel >= usize::from(report.channels) {
            return Err(wrong(REPORT_FILE, &format!("the card has {} channels", report.channels)));
        }
        let start = TrueTime::from_nanos(report.started_ns);
        let relative = |(frame, nanos): (i64, i64)| (frame as f64, TrueTime::from_nanos(nanos).since(start) as f64);
        let times: Vec<(f64, f64)> = pairs(&text(TIMES_FILE)?).map(relative).collect();
        if times.len() < 2 || times.windows(2).any(|pair| pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1) {
            return Err(wrong(TIMES_FILE, "two lines or more of rising frames and times are expected"));
        }
        let span = |(frame, frames): (i64, i64)| {
            Some(Missed { frame: frame.try_into().ok()?, frames: frames.try_into().ok()? })
        };
        let missed = pairs(&text(MISSED_FILE)?).filter_map(span).collect();
        let xruns = pairs(&text(XRUNS_FILE)?).filter_map(span).collect();
        let path = folder.join(SAMPLES_FILE);
        let samples = read_samples(&path, usize::from(report.channels), channel)
            .map_err(|source| Error::File { path, source })?;
        Ok(Self { report, samples, missed, xruns, times, start })
    }

    /// A recording that was made by calculation: for tests of measures.
    #[must_use]
    pub fn by(clock: &SampleClock, samples: Vec<f32>) -> Self {
        let report = Report { rate: clock.rate(), channels: 1, complete: true, ..Report::default() };
        let step = f64::from(clock.rate()) / 10.0;
        let lines = (samples.len() as f64 / step).ceil() as usize + 1;
        let line = |n: usize| {
            let frame = n as f64 * step;
            (frame, clock.time_of(frame).since(clock.start()) as f64)
        };
        Self {
            report,
            samples,
            missed: Vec::new(),
            xruns: Vec::new(),
            times: (0..=lines).map(line).collect(),
            start: clock.start(),
        }
    }

    /// Frames a second, nominally.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.report.rate
    }

    /// When a frame, or a point between two, was heard.
    #[must_use]
    pub fn time_of(&self, frame: f64) -> TrueTime {
        TrueTime::from_nanos(self.start.as_nanos() + self.nanos_of(frame).round() as i64)
    }

    /// Which frame was heard at a true time, with the fraction of it that was over.
    #[must_use]
    pub fn frame_at(&self, time: TrueTime) -> f64 {
        let nanos = time.since(self.start) as f64;
        let (from, to) = self.piece(|line| line.1 <= nanos);
        from.0 + (nanos - from.1) * (to.0 - from.0) / (to.1 - from.1)
    }

    /// The first frame with sound.
    #[must_use]
    pub fn first_sound(&self) -> Option<usize> {
        self.samples.iter().position(|&sample| sample != 0.0)
    }

    fn nanos_of(&self, frame: f64) -> f64 {
        let (from, to) = self.piece(|line| line.0 <= frame);
        from.1 + (frame - from.0) * (to.1 - from.1) / (to.0 - from.0)
    }

    /// The piece of the table to use: the last line that `is_before`, and the next; the outermost pieces go on for ever.
    fn piece(&self, is_before: impl Fn(&(f64, f64)) -> bool) -> ((f64, f64), (f64, f64)) {
        let next = self.times.partition_point(is_before).clamp(1, self.times.len() - 1);
        (self.times[next - 1], self.times[next])
    }
}

/// Lines of two whole numbers; a heading and a line that is not complete are left out.
fn pairs(text: &str) -> impl Iterator<Item = (i64, i64)> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| {
        let (first, second) = line.split_once(',')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    })
}

fn read_samples(path: &Path, channels: usize, channel: usize) -> std::io::Result<Vec<f32>> {
    let mut file = fs::File::open(path)?;
    let stride = channels * 4;
    let mut samples = Vec::with_capacity(file.metadata()?.len() as usize / stride);
    let mut block = vec![0; stride * 16_384];
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match file.read(&mut block[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        for frame in block[..filled].chunks_exact(stride) {
            let at = channel * 4;
            samples.push(f32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]));
        }
        if filled < block.len() {
            return Ok(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_crystal_to_a_nanosecond() {
        let start = TrueTime::from_nanos(5_000_000_000);
        let clock = SampleClock::new(48_000, start, 80.0).wandering(Wander { ppm: 5.0, seconds: 60.0, seed: 1 });
        let played = Played::by(&clock, vec![0.0; 480_000]);
        for frame in [0.0, 0.5, 4_799.0, 4_800.0, 123_456.7, 479_999.0] {
            assert!(played.time_of(frame).since(clock.time_of(frame)).abs() <= 1, "{frame}");
            assert!((played.frame_at(clock.time_of(frame)) - frame).abs() < 1e-4, "{frame}");
        }
    }

    #[test]
    fn files_are_read_while_they_grow() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let report =
            Report { name: "Kitchen".to_owned(), rate: 48_000, channels: 2, started_ns: 1_000, ..Report::default() };
        write(REPORT_FILE, serde_json::to_string(&report).unwrap().as_bytes());
        write(TIMES_FILE, b"frame,true_ns\n0,1000\n4800,100001000\n9600,2000");
        write(MISSED_FILE, b"frame,frames\n512,256\n");
        write(XRUNS_FILE, b"frame,frames\n");
        let samples: Vec<u8> = [0.25f32, -0.25, 0.5, -0.5].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        write(SAMPLES_FILE, &[&samples[..], &[1, 2, 3]].concat());
        let played = Played::read_channel(folder.path(), 1).unwrap();
        assert_eq!(played.samples, [-0.25, -0.5]);
        assert_eq!(played.missed, [Missed { frame: 512, frames: 256 }]);
        assert_eq!(played.time_of(480.0), TrueTime::from_nanos(10_001_000));
        assert!(matches!(Played::read_channel(folder.path(), 2), Err(Error::File { .. })));
    }
}

//! What can be seen while the rooms play: read off the recording as it grows, and off the processes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use audera_testkit::{Process, Usage, measure, record::Recorder};

use crate::{
    failure::Failure,
    stage::{Channel, RECORDED},
};

/// Rate of recordings, in frames per second.
pub(crate) const RATE: u32 = 48_000;
/// Length of a window in which channels are compared, in seconds.
pub(crate) const WINDOW: f64 = 0.25;
/// How far apart rooms are searched for, in seconds.
pub(crate) const APART: f64 = 0.02;
/// How much later than the application a room is searched for, in seconds.
pub(crate) const LATER: f64 = 0.5;

/// Levels kept for the picture, ten a second.
const LEVELS: usize = 62;
const LEVEL: usize = RATE as usize / 10;

/// What the recording tells of the last moments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// By how many seconds each room is later than the application.
    pub latency: [Option<f64>; 2],
    /// By how many seconds the second room is later than the first.
    pub offset: Option<f64>,
}

/// Watches a part.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    levels: [VecDeque<f32>; 2],
    /// Up to where the recording has gone into the levels, in frames.
    drawn: usize,
    usage: BTreeMap<&'static str, VecDeque<(Instant, Usage)>>,
}

/// A process's share of a core, and its resident memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub cpu: f64,
    pub resident: u64,
}

impl Gauge {
    /// Looks at the end of the recording; `reference` is what the rooms are to play.
    pub fn look(&mut self, recorder: &Recorder, reference: Channel, both: bool) -> Result<Now, Failure> {
        let frames = |seconds: f64| (seconds * f64::from(RATE)) as usize;
        let recorded = frames(recorder.seconds());
        if self.drawn == 0 {
            self.drawn = recorded.saturating_sub(RATE as usize);
        }
        let fresh = recorded.saturating_sub(self.drawn).min(LEVELS * LEVEL);
        let last = recorder.last(fresh.max(frames(WINDOW + 2.0 * LATER) + 8))?;
        let channel = |channel: Channel| last.get(channel as usize).map_or(&[][..], Vec::as_slice);
        let mut now = Now::default();
        let rooms = if both { 2 } else { 1 };
        for (at, (_, [left, _])) in RECORDED.iter().take(rooms).enumerate() {
            let room = channel(*left);
            let begin = room.len().saturating_sub(fresh);
            for part in room[begin..].chunks_exact(LEVEL) {
                self.levels[at].push_back(loudness(part));
            }
            let surplus = self.levels[at].len().saturating_sub(LEVELS);
            self.levels[at].drain(..surplus);
            now.latency[at] = lag(channel(reference), room, LATER);
        }
        self.drawn += fresh / LEVEL * LEVEL;
        if both {
            now.offset = lag(channel(Channel::KitchenLeft), channel(Channel::LivingRoomLeft), APART);
        }
        Ok(now)
    }

    /// How loud a room was of late, each from 0 to 1, oldest first.
    pub fn levels(&self, room: usize) -> impl Iterator<Item = f32> {
        self.levels[room].iter().copied()
    }

    /// What a process has used during the last seconds; nothing at the first look.
    pub fn share(&mut self, name: &'static str, process: &Process) -> Option<Share> {
        const LOOKS: usize = 6;
        let looks = self.usage.entry(name).or_default();
        looks.push_back((Instant::now(), process.usage()?));
        while looks.len() > LOOKS {
            looks.pop_front();
        }
        share(looks.front()?, looks.back()?)
    }
}

/// What was used between two looks.
pub(crate) fn share(first: &(Instant, Usage), last: &(Instant, Usage)) -> Option<Share> {
    let passed = last.0.duration_since(first.0).as_secs_f64();
    let used = last.1.cpu.saturating_sub(first.1.cpu).as_secs_f64();
    (passed > 0.0).then(|| Share { cpu: used / passed, resident: last.1.resident })
}

/// By how many seconds the second is later at the end of what was recorded.
fn lag(first: &[f32], second: &[f32], most: f64) -> Option<f64> {
    let needed = ((WINDOW + 2.0 * most) * f64::from(RATE)) as usize + 4;
    let tail = |samples: &[f32]| samples.len().checked_sub(needed);
    let (first, second) = (&first[tail(first)?..], &second[tail(second)?..]);
    let series = measure::offset_series(first, second, RATE, WINDOW, most);
    series.offsets.last().map(|offset| offset.seconds)
}

/// From quiet, at 0, to as loud as music gets, at 1; even steps sound even.
fn loudness(samples: &[f32]) -> f32 {
    const QUIET_DB: f32 = -42.0;
    const LOUD_DB: f32 = -12.0;
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32;
    ((10.0 * power.max(1e-12).log10() - QUIET_DB) / (LOUD_DB - QUIET_DB)).clamp(0.0, 1.0)
}

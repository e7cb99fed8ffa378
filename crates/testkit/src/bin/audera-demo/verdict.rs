//! What the recording says of a part: did both rooms play, in time, without gaps.

use std::ops::Range;

use audera_testkit::{
    measure::{self, Gap, OffsetSeries},
    wav::Sound,
};

use crate::{
    Heard,
    live::{APART, LATER, RATE, WINDOW},
    load::Load,
    part::{Played, SETTLING},
    screen::Screen,
    stage::Channel,
};

/// How far apart the rooms may be (99 % of windows), in seconds.
pub(crate) const ALLOWED: f64 = 0.5e-3;

/// The judgement of one part.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// How far the rooms were apart; nothing where only one was recorded.
    pub offsets: Option<OffsetSeries>,
    pub rooms: Vec<RoomHeard>,
    /// What was not as it should be, in sentences.
    pub failures: Vec<String>,
}

/// What was heard in a room.
#[derive(Debug)]
pub(crate) struct RoomHeard {
    pub room: &'static str,
    /// By how many seconds it was later than the application (median).
    pub latency: Option<f64>,
    /// Gaps that are its own.
    pub gaps: usize,
    /// Places in which a process was not woken within a cycle of the graph.
    pub missed: usize,
}

/// Runs of exact zeros at least this long are gaps, in frames.
const GAP: usize = 16;
/// A reference below this is not expected to be heard: -60 dBFS.
const QUIET: f64 = 1e-3;
/// A room below this is silent: -80 dBFS.
const SILENT: f64 = 1e-4;
/// Cycles of the graph are multiples of this, in frames.
const QUANTUM: usize = 256;
/// As many missed cycles in a part are borne on a machine that wakes programs in time.
const MISSED: usize = 10;
/// The share of windows that may be without sound or without an offset: those at the edges.
const TOLERATED: f64 = 0.1;

impl Verdict {
    pub fn of(heard: &Heard, played: &Played, load: &Load) -> Self {
        let channel = |channel: Channel| part(&heard.recorded, channel, &played.frames);
        let reference = channel(played.part.reference);
        let name = played.part.name;
        let mut failures = Vec::new();
        let mut rooms = Vec::new();
        let mut holes: Vec<Vec<Gap>> = Vec::new();
        for (room, [left, _]) in heard.rooms() {
            let samples = channel(*left);
            match share_heard(settled(reference), settled(samples)) {
                None => failures.push(format!("{name}: what was played is silent; take another file")),
                Some(share) if share < 1.0 - TOLERATED => {
                    failures.push(format!("{name}: {room} was silent {:.0} % of the time", (1.0 - share) * 100.0));
                }
                Some(_) => {}
            }
            let latency = median(&measure::offset_series(settled(reference), settled(samples), RATE, WINDOW, LATER));
            let delay = (latency.unwrap_or(0.0) * f64::from(RATE)) as usize;
            let found = measure::gaps(samples, GAP).into_iter().filter(|gap| is_sounding(reference, gap, delay));
            holes.push(found.collect());
            rooms.push(RoomHeard { room, latency, gaps: 0, missed: 0 });
        }
        for (at, heard_in) in rooms.iter_mut().enumerate() {
            let others = || holes.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, holes)| &holes[..]);
            let (missed, gaps): (Vec<&Gap>, Vec<&Gap>) =
                holes[at].iter().partition(|gap| is_missed_cycle(gap, played.frames.start, others()));
            heard_in.missed = missed.len();
            heard_in.gaps = gaps.len();
            let room = heard_in.room;
            if let Some(longest) = gaps.iter().map(|gap| gap.frames).max() {
                let longest = longest as f64 / f64::from(RATE) * 1e3;
                failures.push(format!("{name}: gaps in {room}: {}, the longest {longest:.1} ms", gaps.len()));
            }
            let silent: usize = missed.iter().map(|gap| gap.frames).sum();
            if silent as f64 > TOLERATED * played.frames.len() as f64 {
                failures.push(format!("{name}: {room} missed {} cycles: the machine is too busy", missed.len()));
            } else if missed.len() > MISSED && !load.is_heavy() {
                failures.push(format!("{name}: {room} missed {} cycles on a machine that is not busy", missed.len()));
            }
        }
        let offsets = heard.both.then(|| {
            let all: Vec<Gap> = holes.concat();
            let series =
                offsets_outside(channel(Channel::KitchenLeft), channel(Channel::LivingRoomLeft), &all).since(SETTLING);
            failures.extend(judge(name, &series));
            series
        });
        Self { offsets, rooms, failures }
    }

    /// The offset in words.
    pub fn offset(&self, screen: &Screen) -> String {
        let Some((p50, p99)) = self.offsets.as_ref().and_then(|series| Some((series.p50()?, series.p99()?))) else {
            return "not measured".to_owned();
        };
        format!("p50 {:.1}, p99 {:.1} {}", p50 * 1e6, p99 * 1e6, screen.micro())
    }
}

/// A channel of the recording, as far as it goes.
pub(crate) fn part<'a>(recorded: &'a Sound, channel: Channel, frames: &Range<usize>) -> &'a [f32] {
    let all = recorded.channels.get(channel as usize).map_or(&[][..], Vec::as_slice);
    let end = frames.end.min(all.len());
    &all[frames.start.min(end)..end]
}

/// What comes after the first seconds.
fn settled(samples: &[f32]) -> &[f32] {
    samples.get((SETTLING * f64::from(RATE)) as usize..).unwrap_or_default()
}

/// Whether a gap is a cycle of the graph, or several, in which a process was not woken in time: the player, whose gap then
/// begins with a cycle, or the sender, whose gap is the same in all rooms. A stream that runs dry stops and resumes anywhere.
fn is_missed_cycle<'a>(gap: &Gap, begin: usize, mut others: impl Iterator<Item = &'a [Gap]>) -> bool {
    /// The sound may happen to be zero beside the gap.
    const CHANCE: usize = 3;
    let near = |frames: usize| {
        let beyond = frames % QUANTUM;
        beyond.min(QUANTUM - beyond) <= CHANCE
    };
    let same = |other: &Gap| {
        other.start.abs_diff(gap.start) <= RATE as usize / 1000 && other.frames.abs_diff(gap.frames) <= CHANCE
    };
    near(gap.frames) && (near(begin + gap.start) || others.all(|gaps| gaps.iter().any(same)))
}

/// The offsets in windows in which neither room has a gap.
fn offsets_outside(first: &[f32], second: &[f32], gaps: &[Gap]) -> OffsetSeries {
    let mut series = measure::offset_series(first, second, RATE, WINDOW, APART);
    let reach = WINDOW / 2.0 + APART;
    series.offsets.retain(|offset| {
        gaps.iter().all(|gap| {
            let begin = gap.start as f64 / f64::from(RATE);
            let end = begin + gap.frames as f64 / f64::from(RATE);
            end < offset.at - reach || begin > offset.at + reach
        })
    });
    series
}

fn judge(name: &str, series: &OffsetSeries) -> Option<String> {
    let windows = series.offsets.len();
    if windows < 4 {
        return Some(format!("{name}: the rooms could be compared in {windows} windows only"));
    }
    if series.undecided as f64 > TOLERATED * windows as f64 {
        return Some(format!("{name}: the rooms did not play the same in {} of {windows} windows", series.undecided));
    }
    let p99 = series.p99().filter(|p99| *p99 > ALLOWED)?;
    Some(format!("{name}: the rooms were {:.2} ms apart (p99); {:.1} ms are allowed", p99 * 1e3, ALLOWED * 1e3))
}

fn median(series: &OffsetSeries) -> Option<f64> {
    let mut all: Vec<f64> = series.offsets.iter().map(|offset| offset.seconds).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// The share of windows in which the room is heard, among those in which the reference is; `None` when it never is.
fn share_heard(reference: &[f32], room: &[f32]) -> Option<f64> {
    let window = (WINDOW * f64::from(RATE)) as usize;
    let sounding = reference.chunks_exact(window).zip(room.chunks_exact(window)).filter(|(r, _)| rms(r) > QUIET);
    let (all, heard) =
        sounding.fold((0, 0), |(all, heard), (_, room)| (all + 1, heard + u32::from(rms(room) > SILENT)));
    (all > 0).then(|| f64::from(heard) / f64::from(all))
}

/// Whether there should have been sound in a room's gap: the application itself may pause, or miss a cycle.
fn is_sounding(reference: &[f32], gap: &Gap, delay: usize) -> bool {
    /// By how much the latency may be off, in frames.
    const EDGE: usize = 48;
    let Some(start) = gap.start.checked_sub(delay + EDGE) else { return false };
    let end = (gap.start + gap.frames + EDGE).saturating_sub(delay).min(reference.len());
    let Some(meant) = reference.get(start..end) else { return false };
    let zeros = meant.iter().filter(|sample| **sample == 0.0).count();
    zeros * 4 < meant.len() && rms(meant) > QUIET
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_testkit::sound::noise;

    const DELAY: usize = 3840;

    fn played() -> Vec<f32> {
        noise(RATE, 1, 4.0, 0.5, 3).channels.remove(0)
    }

    fn delayed(sound: &[f32]) -> Vec<f32> {
        std::iter::repeat_n(0.0, DELAY).chain(sound.iter().copied()).take(sound.len()).collect()
    }

    #[test]
    fn a_hole_in_the_room_is_a_gap_and_one_in_the_music_is_not() {
        let mut music = played();
        music[48_000..49_024].fill(0.0);
        let room = delayed(&music);
        let gap = |start| Gap { start, frames: 1024 };
        assert!(!is_sounding(&music, &gap(48_000 + DELAY), DELAY));
        assert!(is_sounding(&music, &gap(96_000 + DELAY), DELAY));
        assert_eq!(share_heard(&music, &room), Some(1.0));
        assert_eq!(share_heard(&music, &vec![0.0; music.len()]), Some(0.0));
        assert_eq!(share_heard(&vec![0.0; 48_000], &room), None);
    }

    #[test]
    fn a_missed_cycle_is_told_from_a_stream_that_ran_dry() {
        let gap = |start, frames| Gap { start, frames };
        let alone = || std::iter::once(&[][..]);
        assert!(is_missed_cycle(&gap(10_000, 1024), 240, alone()), "from one boundary to another");
        assert!(!is_missed_cycle(&gap(10_000, 1024), 0, alone()), "between boundaries, in one room");
        assert!(!is_missed_cycle(&gap(10_000, 900), 240, alone()), "not whole cycles");
        let there = [gap(10_020, 1025)];
        assert!(is_missed_cycle(&gap(10_000, 1024), 0, std::iter::once(&there[..])), "the same in the other room");
        let elsewhere = [gap(20_000, 1024)];
        assert!(!is_missed_cycle(&gap(10_000, 1024), 0, std::iter::once(&elsewhere[..])));
    }

    #[test]
    fn rooms_apart_or_different_are_told() {
        let first = played();
        let late: Vec<f32> = first[..48].iter().chain(&first).copied().take(first.len()).collect();
        assert_eq!(judge("part", &offsets_outside(&first, &first, &[])), None);
        assert!(judge("part", &offsets_outside(&first, &late, &[])).is_some_and(|told| told.contains("1.00 ms apart")));
        let other = noise(RATE, 1, 4.0, 0.5, 4).channels.remove(0);
        assert!(judge("part", &offsets_outside(&first, &other, &[])).is_some());
    }
}

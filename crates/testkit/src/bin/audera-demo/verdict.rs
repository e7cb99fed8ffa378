//! What the recording says of a part: did both rooms play, in time, without gaps.

use std::ops::Range;

use audera_testkit::{
    lateness::Lateness,
    measure::{self, Holes, OffsetSeries, Reference},
    wav::Sound,
};

use crate::{
    Heard,
    live::{APART, LATER, RATE, WINDOW},
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
    /// The same over the whole part.
    pub apart: Option<OffsetSeries>,
    pub rooms: Vec<RoomHeard>,
    /// What was not as it should be, in sentences.
    pub failures: Vec<String>,
    /// Whether the machine was too busy throughout to tell how well the rooms keep in step.
    pub busy: bool,
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
    /// Gaps that came about while the machine held programs back.
    pub held_back: usize,
}

/// As many missed cycles in a part are borne on a machine that wakes programs in time.
const MISSED: usize = 10;
/// The share of windows that may be without sound or without an offset: those at the edges.
const TOLERATED: f64 = 0.1;
/// The same on a machine that is busy.
const TOLERATED_BUSY: f64 = 0.3;
/// A room that was disturbed may take this long to be in step again, in seconds.
const RECOVERY: f64 = 5.0;
/// Lateness of a processor that disturbs a room even where it makes no gap, in seconds.
const DISTURBING: f64 = 0.02;
/// The least number of windows in which to judge.
const ENOUGH: usize = 4;

impl Verdict {
    /// `late` is when the machine was late, in seconds of the recording.
    pub fn of(heard: &Heard, played: &Played, load: &Lateness, late: &[Range<f64>]) -> Self {
        let channel = |channel: Channel| part(&heard.recorded, channel, &played.frames);
        let whole = |channel: Channel| heard.recorded.channels.get(channel as usize).map_or(&[][..], Vec::as_slice);
        let reference = channel(played.part.reference);
        let name = played.part.name;
        let tolerated = if load.is_heavy() { TOLERATED_BUSY } else { TOLERATED };
        let mut failures = Vec::new();
        let mut rooms = Vec::new();
        let mut holes = Vec::new();
        for (room, [left, _]) in heard.rooms() {
            let samples = channel(*left);
            match measure::share_heard(settled(reference), settled(samples), (WINDOW * f64::from(RATE)) as usize) {
                None => failures.push(format!("{name}: what was played is silent; take another file")),
                Some(share) if share < 1.0 - tolerated => {
                    failures.push(format!("{name}: {room} was silent {:.0} % of the time", (1.0 - share) * 100.0));
                }
                Some(_) => {}
            }
            let latency = median(&measure::offset_series(settled(reference), settled(samples), RATE, WINDOW, LATER));
            let meant = Reference::beside(whole(played.part.reference), (LATER * f64::from(RATE)) as usize);
            holes.push(Holes::find(whole(*left), played.frames.clone(), Some(meant)));
            rooms.push(RoomHeard { room, latency, gaps: 0, missed: 0, held_back: 0 });
        }
        Holes::compare(&mut holes);
        for (heard_in, holes) in rooms.iter_mut().zip(&mut holes) {
            holes.excuse(late, RATE);
            heard_in.missed = holes.missed.len() + holes.passed_on.len();
            heard_in.held_back = holes.held_back.len();
            heard_in.gaps = holes.own.len();
            let room = heard_in.room;
            failures.extend(holes.fault(RATE).map(|fault| format!("{name}: {room}: {fault}")));
            if heard_in.missed > MISSED && !load.is_heavy() {
                failures
                    .push(format!("{name}: {room} missed {} cycles on a machine that is not busy", heard_in.missed));
            }
        }
        let mut busy = false;
        let mut apart = None;
        let offsets = heard.both.then(|| {
            let series = measure::offset_series(
                channel(Channel::KitchenLeft),
                channel(Channel::LivingRoomLeft),
                RATE,
                WINDOW,
                APART,
            );
            let begin = played.frames.start as f64 / f64::from(RATE);
            let at = |frame: usize| frame as f64 / f64::from(RATE) - begin;
            let gaps = || holes.iter().flat_map(Holes::all).map(|gap| at(gap.start)..at(gap.start + gap.frames));
            let late = || late.iter().map(|late| late.start - begin..late.end - begin);
            let disturbing = late().filter(|late| late.end - late.start >= DISTURBING);
            let reach = WINDOW / 2.0 + APART;
            let around = |stretch: Range<f64>, after: f64| stretch.start - reach..stretch.end + reach + after;
            let silent: Vec<Range<f64>> = gaps().map(|gap| around(gap, 0.0)).collect();
            let disturbed: Vec<Range<f64>> =
                gaps().chain(disturbing).map(|stretch| around(stretch, RECOVERY)).collect();
            let whole = series.outside(&silent);
            let all = whole.since(SETTLING);
            apart = Some(whole);
            let judged = judge(name, &all, &all.outside(&disturbed), tolerated);
            failures.extend(judged.failure);
            busy = judged.busy;
            judged.by
        });
        Self { offsets, apart, rooms, failures, busy }
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

/// How the rooms keep in step.
struct Judgement {
    /// The windows that count.
    by: OffsetSeries,
    failure: Option<String>,
    busy: bool,
}

/// The rooms are in step when 99 % of all windows are. Where they are not, those windows decide in which nothing disturbed the
/// machine; without enough of these nothing can be said but that half of all windows must be in step in any case.
fn judge(name: &str, all: &OffsetSeries, calm: &OffsetSeries, tolerated: f64) -> Judgement {
    let windows = all.offsets.len();
    let told = if windows < ENOUGH {
        Some(format!("{name}: the rooms could be compared in {windows} windows only"))
    } else if all.undecided as f64 > tolerated * windows as f64 {
        Some(format!("{name}: the rooms did not play the same in {} of {windows} windows", all.undecided))
    } else {
        None
    };
    let apart = |seconds: Option<f64>, what: &str| {
        let seconds = seconds.filter(|seconds| *seconds > ALLOWED)?;
        let allowed = ALLOWED * 1e3;
        Some(format!("{name}: the rooms were {:.2} ms apart ({what}); {allowed:.1} ms are allowed", seconds * 1e3))
    };
    if told.is_some() || apart(all.p99(), "p99").is_none() {
        return Judgement { by: all.clone(), failure: told, busy: false };
    }
    if calm.offsets.len() >= ENOUGH {
        return Judgement { by: calm.clone(), failure: apart(calm.p99(), "p99"), busy: false };
    }
    let failure = apart(all.p50(), "median");
    Judgement { by: all.clone(), busy: failure.is_none(), failure }
}

fn median(series: &OffsetSeries) -> Option<f64> {
    let mut all: Vec<f64> = series.offsets.iter().map(|offset| offset.seconds).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_testkit::sound::noise;

    fn played(seed: u64) -> Vec<f32> {
        noise(RATE, 1, 4.0, 0.5, seed).channels.remove(0)
    }

    fn told(first: &[f32], second: &[f32], disturbed: &[Range<f64>]) -> (Option<String>, bool) {
        let all = measure::offset_series(first, second, RATE, WINDOW, APART);
        let judged = judge("part", &all, &all.outside(disturbed), TOLERATED);
        (judged.failure, judged.busy)
    }

    #[test]
    fn rooms_apart_or_different_are_told() {
        let first = played(3);
        let late: Vec<f32> = first[..48].iter().chain(&first).copied().take(first.len()).collect();
        assert_eq!(told(&first, &first, &[]), (None, false));
        assert_eq!(told(&first, &first, &[0.0..9.0]), (None, false), "in step however busy");
        let apart = |(told, _): (Option<String>, bool)| told.is_some_and(|told| told.contains("1.00 ms apart"));
        assert!(apart(told(&first, &late, &[])));
        assert!(apart(told(&first, &late, &[0.0..9.0])), "on a busy machine too");
        assert!(told(&first, &played(4), &[]).0.is_some());
    }

    #[test]
    fn rooms_apart_for_a_moment_are_told_unless_the_machine_was_disturbed_then() {
        let first = played(3);
        let mut late = first.clone();
        late[96_048..144_000].copy_from_slice(&first[96_000..143_952]);
        let (failure, busy) = told(&first, &late, &[]);
        assert!(failure.is_some_and(|told| told.contains("p99")) && !busy);
        assert_eq!(told(&first, &late, &[1.8..3.2]), (None, false));
        assert_eq!(told(&first, &late, &[0.0..4.0]), (None, true));
    }
}

//! From recordings to figures: one outcome for each run of a scenario with a system.

use std::{fmt, ops::Range};

use audera_testkit::{
    card::{Played, TrueTime},
    measure,
};

use crate::{
    belief::{Belief, Pair, Told, pairs, ratio_moves},
    flaws::{Flaw, Flaws, Heard, Kind},
    scenario::{Event, Scenario},
    series::{RATE, Series, Sight, Spread, WINDOW, Window, after, coarse_latency, compare},
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Audera,
    Snapcast,
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Audera => "Audera",
            Self::Snapcast => "Snapcast",
        })
    }
}

/// What came of a run, before it is judged.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    pub system: System,
    /// What a card beside the application played, which hears it without any network.
    pub desk: Played,
    /// From the application's cycle to that card's output, in seconds.
    pub desk_delay: f64,
    /// One for each room, in the order of the scenario.
    pub rooms: Vec<Played>,
    /// When the run ended.
    pub end: TrueTime,
    /// When something happened, and when whom it happened to could be back; each a span of one or more.
    pub events: Vec<(TrueTime, TrueTime)>,
    pub processes: Vec<Share>,
    /// Bits per second between hosts and on loopback.
    pub wire_bits_per_second: f64,
    /// How often the rooms say that they jumped, if they say.
    pub resyncs_told: Option<u64>,
    /// What the rooms told meanwhile, in order.
    pub told: Vec<Told>,
    /// Processes that ran or wanted to, averaged over the last minute.
    pub load: f64,
    /// When a processor stood still, which is nobody's doing here.
    pub standstills: Vec<(TrueTime, TrueTime)>,
}

/// What a process used of the machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// Such as `player Kitchen`.
    pub name: String,
    pub role: Role,
    /// Part of one core.
    pub cpu: f64,
    /// Bytes.
    pub resident: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Player,
}

/// The figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub scenario: &'static str,
    pub system: System,
    /// All times are seconds after the first sound of any room, up to this.
    pub seconds: f64,
    pub rooms: Vec<Room>,
    /// When something was going on on purpose.
    pub disturbed: Vec<(f64, f64)>,
    /// Sync between undisturbed rooms after [`SETTLING`], without what an event does to all of them.
    pub spread: Option<Spread>,
    /// The share of windows in which they could be compared.
    pub compared: f64,
    /// Until undisturbed rooms were within [`LIMIT`] for good, or until an event that concerns all.
    pub settled: Option<f64>,
    /// From when it was possible until the disturbed rooms were within [`LIMIT`] for good: the longest, if there were several.
    pub back: Option<f64>,
    /// From the application's cycle to the first room's loudspeaker, in seconds.
    pub latency: Option<f64>,
    pub processes: Vec<Share>,
    pub wire_bits_per_second: f64,
    pub resyncs_told: Option<u64>,
    /// What undisturbed rooms believe, in the windows of `spread`.
    pub belief: Option<Belief>,
    /// By how much the resampling ratio of any of these rooms moves around its mean at most, in ppm.
    pub ratio_moves: Option<f64>,
    /// What is left of the difference between what was sent and what these rooms played, of the worst room: dB below 18 kHz, over
    /// all and of the worst piece.
    pub residual_db: Option<(f64, f64)>,
    /// Cycles which cards began more than a millisecond late: the machine was too busy.
    pub instrument_late: u64,
    pub load: f64,
    /// When a processor stood still.
    pub standstills: Standstills,
}

/// When a processor of the machine ran nothing at all, in seconds after the first sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standstills(pub Vec<(f64, f64)>);

/// What a room played.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub name: &'static str,
    /// By how much it is later than the first room.
    pub sync: Series,
    /// By how much it is later than the card beside the application.
    pub latency: Series,
    /// What it believed, and what was true.
    pub belief: Vec<Pair>,
    pub flaws: Flaws,
}

/// What counts as settled, in seconds.
pub(crate) const LIMIT: f64 = 100e-6;
/// What comes before is no steady state: it is told as the time to settle.
pub(crate) const SETTLING: f64 = 10.0;
/// The share of windows in which rooms have to be comparable for their sync to count.
const MOSTLY: f64 = 0.99;
/// How long before an event and after it can be over what is heard is put down to it, in seconds.
const AROUND: f64 = 0.5;
/// From when on the waveform is held against what was sent: the servo is at its slowest by then. In seconds.
const STEADY: f64 = 20.0;
/// The longest part that is: the noise repeats itself after a little more. In seconds.
const COMPARED: f64 = 20.0;
/// Length of a piece of it, in seconds.
const BLOCK: f64 = 0.25;
/// How far belief and truth may be apart where the clocks are the same, p99 in seconds.
const BELIEVABLE: f64 = 20e-6;
/// How far the ratio may move around its mean, in ppm.
const RATIO_MOVES: f64 = 50.0;
const RECOVERY: f64 = 3.0;
/// What a standstill took from the way of the sound is missing up to a latency later, and a jump is seen a window after that. In seconds.
const AFTERMATH: f64 = 0.5;

impl Standstills {
    /// Whether a flaw of so many seconds, or a window about `at`, may be owed to one: it began with it or after, and did not outlast what comes of it.
    fn explain(&self, at: f64, length: f64) -> bool {
        self.0.iter().any(|&(from, to)| at > from - WINDOW && at + length < to + AFTERMATH)
    }

    /// The windows but for those that show nothing because of them, which says nothing of the rooms; what rooms play does.
    fn without_blanks(&self, sync: &Series) -> Series {
        let tells = |window: &&Window| matches!(window.sight, Sight::Apart(_)) || !self.explain(window.at, 0.0);
        Series(sync.0.iter().filter(tells).copied().collect())
    }

    /// How long they were altogether; of processors that stood still at once, each counts.
    pub fn length(&self) -> f64 {
        self.0.iter().fold(0.0, |all, (from, to)| all + to - from)
    }
}

impl Outcome {
    /// Judges a run; `None` when no room ever played.
    pub fn of(scenario: &Scenario, take: Take) -> Option<Self> {
        let first_sound = |room: &Played| room.first_sound().map(|frame| room.time_of(frame as f64));
        let begin = take.rooms.iter().filter_map(first_sound).min()?;
        let since = |time: TrueTime| time.since(begin) as f64 * 1e-9;
        let seconds = since(take.end);
        let span = 0.0..seconds;
        let disturbed: Vec<(f64, f64)> = take.events.iter().map(|&(from, to)| (since(from), since(to))).collect();
        let for_all: &[(f64, f64)] = if scenario.event.hits_last_room() { &[] } else { &disturbed };
        let rooms: Vec<Room> = take
            .rooms
            .iter()
            .enumerate()
            .map(|(n, played)| {
                let calm = if scenario.undisturbed().contains(&n) { for_all } else { &disturbed };
                Room::of(scenario, n, played, &take, begin, span.clone(), calm)
            })
            .collect();
        let standstills = take.standstills.iter().map(|&(from, to)| (since(from), since(to)));
        let standstills = Standstills(standstills.filter(|(_, to)| *to > 0.0).collect());
        let told_by = |sync: &Series| standstills.without_blanks(sync);
        let undisturbed: Vec<&Room> = rooms[scenario.undisturbed()].iter().skip(1).collect();
        let steady: Vec<Series> =
            undisturbed.iter().map(|room| calm(&told_by(&room.sync), SETTLING, for_all)).collect();
        let steady = Series(steady.into_iter().flat_map(|series| series.0).collect());
        let believed = |room: &Room| -> Vec<Pair> {
            let steady = |pair: &&Pair| pair.at >= SETTLING && is_calm(pair.at, for_all);
            room.belief.iter().filter(steady).copied().collect()
        };
        let beliefs: Vec<Vec<Pair>> = rooms[scenario.undisturbed()].iter().map(believed).collect();
        let residuals = if scenario.target.residual_db.is_some() {
            take.rooms[scenario.undisturbed()].iter().map(|room| residual(&take.desk, room, begin, seconds)).collect()
        } else {
            Vec::new()
        };
        let end = for_all.first().map_or(seconds, |(from, _)| *from);
        let settled = |room: &Room, span: Range<f64>| {
            let begin = span.start;
            told_by(&room.sync).within(span).settled(begin, LIMIT)
        };
        let in_step = longest(undisturbed.iter().map(|room| settled(room, 0.0..end)));
        let hit = if scenario.event.hits_last_room() { &rooms[rooms.len() - 1..] } else { &rooms[1..] };
        let ends = disturbed.iter().skip(1).map(|(from, _)| *from).chain([seconds]);
        let back =
            disturbed.iter().zip(ends).flat_map(|(&(_, can_be), end)| hit.iter().map(move |room| (room, can_be..end)));
        let back = longest(back.map(|(room, span)| settled(room, span)));
        Some(Self {
            scenario: scenario.name,
            system: take.system,
            seconds,
            spread: steady.spread(),
            compared: steady.decided(),
            settled: in_step,
            back: if disturbed.is_empty() { None } else { back },
            latency: rooms.first().and_then(|room| Some(room.latency.median()? + take.desk_delay)),
            instrument_late: take.rooms.iter().map(|room| room.report.counts.late_wakes).sum(),
            rooms,
            disturbed,
            processes: take.processes,
            wire_bits_per_second: take.wire_bits_per_second,
            resyncs_told: take.resyncs_told,
            belief: Belief::of(&beliefs.concat()),
            ratio_moves: beliefs.iter().filter_map(|pairs| ratio_moves(pairs)).reduce(f64::max),
            residual_db: residuals
                .into_iter()
                .reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1))))
                .flatten(),
            load: take.load,
            standstills,
        })
    }

    /// How many flaws of a kind there are in all rooms.
    pub fn count(&self, kind: Kind) -> usize {
        self.flaws().filter(|flaw| flaw.kind == kind).count()
    }

    /// How many of them the machine's standstills do not explain.
    pub fn count_own(&self, kind: Kind) -> usize {
        self.flaws().filter(|flaw| flaw.kind == kind && !self.is_explained(flaw)).count()
    }

    /// Whether a flaw fell within a standstill of the machine, or came of it.
    pub fn is_explained(&self, flaw: &Flaw) -> bool {
        let length = if flaw.kind.is_silence() { flaw.size } else { 0.0 };
        self.standstills.explain(flaw.at, length)
    }

    /// Silence altogether, in seconds.
    pub fn silence(&self) -> f64 {
        let silences = self.flaws().filter(|flaw| flaw.kind.is_silence());
        silences.fold(0.0, |all, flaw| all + flaw.size)
    }

    /// Clicks per minute of a room.
    pub fn clicks_per_minute(&self) -> f64 {
        let seconds: f64 = self.rooms.iter().map(|room| room.flaws.seconds).sum();
        if seconds > 0.0 { self.count(Kind::Click) as f64 / seconds * 60.0 } else { 0.0 }
    }

    fn flaws(&self) -> impl Iterator<Item = &Flaw> {
        self.rooms.iter().flat_map(|room| &room.flaws.list)
    }

    /// The most that a process of this role used: part of a core, and bytes.
    pub fn most(&self, role: Role) -> Option<(f64, u64)> {
        let of_role = self.processes.iter().filter(|process| process.role == role);
        of_role.map(|process| (process.cpu, process.resident)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// What of the scenario's target was missed, in words; empty when it was reached.
    pub fn misses(&self, scenario: &Scenario) -> Vec<String> {
        let target = &scenario.target;
        let mut misses = Vec::new();
        match self.spread {
            None => misses.push("the rooms never played the same".to_owned()),
            Some(spread) if spread.p99 * 1e6 > target.p99_us => {
                misses.push(format!("p99 {:.0} µs instead of {:.0}", spread.p99 * 1e6, target.p99_us));
            }
            Some(_) => {}
        }
        if self.compared < MOSTLY {
            misses.push(format!("only {:.0} % of the time the same was played", self.compared * 100.0));
        }
        let mut within = |what: &str, found: Option<f64>, limit: Option<f64>| match (found, limit) {
            (Some(found), Some(limit)) if found > limit => {
                misses.push(format!("{what} {found:.1} s instead of {limit:.0}"));
            }
            (None, Some(_)) => misses.push(format!("{what} never")),
            _ => {}
        };
        within("within 100 µs after", self.settled, target.settled_s);
        within("back after", self.back, target.back_s);
        let (gaps, jumps) = (self.count_own(Kind::Gap), self.count_own(Kind::Jump));
        if target.no_gap && gaps > 0 {
            misses.push(format!("{gaps} gaps"));
        }
        if jumps > 0 {
            misses.push(format!("{jumps} jumps"));
        }
        if let Some(most) = target.residual_db {
            match self.residual_db {
                // A short run does not get there.
                None if self.seconds < STEADY + 2.0 => {}
                None => misses.push("the waveform could not be compared".to_owned()),
                Some((residual, _)) if residual > most => {
                    misses.push(format!("a residual of {residual:.0} dB instead of {most:.0}"));
                }
                Some(_) => {}
            }
        }
        if scenario.event == Event::None {
            if let Some(resyncs) = self.resyncs_told.filter(|count| *count > 0) {
                misses.push(format!("{resyncs} resyncs told"));
            }
            if let Some(moves) = self.ratio_moves.filter(|moves| *moves > RATIO_MOVES) {
                misses.push(format!("the ratio moved by {moves:.0} ppm"));
            }
        }
        // With other clocks there is what a room cannot know: the error of its idea of the sender's.
        if let Some(belief) = self.belief.filter(|belief| belief.apart.p99 > BELIEVABLE && scenario.hosts.len() == 1) {
            misses.push(format!("belief and truth {:.0} µs apart", belief.apart.p99 * 1e6));
        }
        misses
    }
}

/// The longest of several times, `None` if one of them never came or there are none.
fn longest(times: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    times.reduce(|a, b| Some(a?.max(b?))).flatten()
}

/// What is left of the difference between what the card beside the application played and what a room did, at the end of a run.
fn residual(desk: &Played, room: &Played, begin: TrueTime, seconds: f64) -> Option<(f64, f64)> {
    let from = (seconds - COMPARED).max(STEADY);
    let cut = |played: &Played, from: f64, to: f64| {
        let frame = |at: f64| (played.frame_at(after(begin, at)).max(0.0) as usize).min(played.samples.len());
        let (from, to) = (frame(from), frame(to));
        played.samples[from..to.max(from)].to_vec()
    };
    // So that all of it is in the recording, whatever the latency.
    let later = coarse_latency(desk, room, after(begin, from))?;
    let sent = cut(desk, from - later + 0.1, seconds - later - 0.1);
    let residual = measure::residual(&cut(room, from, seconds), &sent, RATE, BLOCK)?;
    Some((residual.db, residual.worst_db))
}

/// The windows after `from`, without those around events.
fn calm(series: &Series, from: f64, disturbed: &[(f64, f64)]) -> Series {
    Series(series.0.iter().filter(|window| window.at >= from && is_calm(window.at, disturbed)).copied().collect())
}

fn is_calm(at: f64, disturbed: &[(f64, f64)]) -> bool {
    disturbed.iter().all(|&(from, to)| at < from - AROUND || at > to + RECOVERY)
}

impl Room {
    fn of(
        scenario: &Scenario,
        nth: usize,
        played: &Played,
        take: &Take,
        begin: TrueTime,
        span: Range<f64>,
        disturbed: &[(f64, f64)],
    ) -> Self {
        let sync = compare(&take.rooms[0], played, 0.0, begin, span.clone());
        // Where to look for it may be found anywhere, unless the room is silent there.
        let tries = [0.6, 0.9, 0.3].map(|part| after(begin, span.end * part - 2.0));
        let later = tries.into_iter().find_map(|at| coarse_latency(&take.desk, played, at));
        // The card beside the application plays first: its own time is earlier by the latency.
        let latency = later.map_or_else(Series::default, |later| {
            let mut series = compare(&take.desk, played, later, begin, span.start - later..span.end - later);
            // Told by when the room played it, as everything else is.
            series.0.iter_mut().for_each(|window| window.at += later);
            series
        });
        let heard = Heard { played, desk: &take.desk, later, begin, latency: &latency };
        let flaws = heard.flaws(SETTLING..span.end, |at| is_calm(at, disturbed));
        let name = scenario.rooms[nth].name;
        let told = take.told.iter().filter(|told| told.room == name);
        // The latency is a matter of the sender, and so of its clock.
        let pace = 1.0 + scenario.hosts[0].clock_ppm * 1e-6;
        let belief = pairs(told, &behind(&latency, take.desk_delay), pace, |at| at.since(begin) as f64 * 1e-9);
        Self { name, sync, latency, belief, flaws }
    }
}

/// How much later a room plays than it was sent, from how much later it plays than the card beside the application.
fn behind(latency: &Series, desk_delay: f64) -> Series {
    let mut behind = latency.clone();
    for window in &mut behind.0 {
        if let Sight::Apart(later) = &mut window.sight {
            *later += desk_delay;
        }
    }
    behind
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;
    use audera_testkit::{card::SampleClock, sound::noise};

    const START: TrueTime = TrueTime::from_nanos(50_000_000_000);

    fn played(samples: Vec<f32>) -> Played {
        Played::by(&SampleClock::new(RATE, START, 0.0), samples)
    }

    fn silence(seconds: f64) -> Vec<f32> {
        vec![0.0; (seconds * f64::from(RATE)) as usize]
    }

    /// Two rooms 80 ms behind the application, the second 5 us later than the first.
    fn take(spoil: impl FnOnce(&mut Vec<f32>)) -> Take {
        let sound = noise(RATE, 1, 20.0, 0.5, 7).channels.remove(0);
        let first = [silence(0.08), sound.clone()].concat();
        let mut second = first.clone();
        spoil(&mut second);
        let later = Played::by(&SampleClock::new(RATE, TrueTime::from_nanos(START.as_nanos() + 5_000), 0.0), second);
        Take {
            system: System::Audera,
            desk: played(sound),
            desk_delay: 0.005,
            rooms: vec![played(first), later],
            end: after(START, 19.0),
            events: Vec::new(),
            processes: vec![Share { name: "player Kitchen".into(), role: Role::Player, cpu: 0.01, resident: 9 << 20 }],
            wire_bits_per_second: 400e3,
            resyncs_told: Some(0),
            told: Vec::new(),
            load: 0.5,
            standstills: Vec::new(),
        }
    }

    pub(crate) fn outcome() -> Outcome {
        Outcome::of(&SCENARIOS[0], take(|_| {})).unwrap()
    }

    #[test]
    fn a_good_run_is_told_as_such() {
        let outcome = outcome();
        let spread = outcome.spread.unwrap();
        assert!((spread.p50 - 5e-6).abs() < 5e-8 && (spread.max - 5e-6).abs() < 5e-8, "{spread:?}");
        assert!((outcome.latency.unwrap() - 0.085).abs() < 1e-6);
        assert_eq!(outcome.flaws().count(), 0);
        assert_eq!(outcome.settled, Some(0.0));
        assert_eq!(outcome.back, None);
        assert_eq!(outcome.misses(&SCENARIOS[0]), [] as [String; 0]);
    }

    #[test]
    fn flaws_are_found_in_the_room_that_has_them() {
        let spoilt = take(|second| {
            // A gap at 12 s, and half a millisecond and more left out at 15 s.
            second[12 * 48_000..12 * 48_000 + 960].fill(0.0);
            second.drain(15 * 48_000..15 * 48_000 + 40);
        });
        let outcome = Outcome::of(&SCENARIOS[0], spoilt).unwrap();
        let [kitchen, living_room] = &outcome.rooms[..] else { panic!("two rooms") };
        assert_eq!(kitchen.flaws.list, []);
        let found: Vec<(Kind, f64)> = living_room.flaws.list.iter().map(|flaw| (flaw.kind, flaw.at)).collect();
        let [(Kind::Gap, gap), (Kind::Jump, jump), (Kind::Click, click)] = found[..] else { panic!("{found:?}") };
        // Times count from the first sound, 80 ms after the start.
        assert!((gap - 11.92).abs() < 1e-3 && (jump - 14.92).abs() < 0.2 && (click - 14.92).abs() < 1e-2, "{found:?}");
        assert!((living_room.flaws.list[0].size - 0.02).abs() < 1e-3);
        assert_eq!(outcome.settled, None, "it ends 0.8 ms off");
        assert!(!outcome.misses(&SCENARIOS[0]).is_empty());
    }

    #[test]
    fn what_the_machine_made_is_told_but_not_held_against_the_room() {
        let scenario = &SCENARIOS[0];
        let silent_at_12 = |seconds: f64, standstill: f64| {
            let length = (seconds * 48_000.0) as usize;
            let mut take = take(|second| second[12 * 48_000..12 * 48_000 + length].fill(0.0));
            take.standstills = vec![(after(START, standstill), after(START, standstill + 0.05))];
            Outcome::of(scenario, take).unwrap()
        };
        let owed = silent_at_12(0.2, 11.95);
        assert_eq!((owed.count(Kind::Gap), owed.count_own(Kind::Gap), owed.settled), (1, 0, Some(0.0)));
        assert_eq!(owed.misses(scenario), [] as [String; 0]);
        assert!((owed.standstills.length() - 0.05).abs() < 1e-9);
        // Before, after, begun earlier, and outlasting it.
        for (seconds, standstill) in [(0.2, 11.3), (0.2, 12.5), (0.4, 12.2), (0.8, 11.95)] {
            let own = silent_at_12(seconds, standstill);
            assert_eq!((own.count(Kind::Gap), own.count_own(Kind::Gap)), (1, 1), "{seconds} s, {standstill}");
            assert!(own.settled > Some(11.0) && !own.misses(scenario).is_empty(), "{:?}", own.settled);
        }
    }

    #[test]
    fn a_pause_of_the_application_is_no_gap_of_a_room() {
        let mut take = take(|second| second[12 * 48_000 + 3_840..12 * 48_000 + 4_800].fill(0.0));
        take.desk.samples[12 * 48_000..12 * 48_000 + 960].fill(0.0);
        assert_eq!(Outcome::of(&SCENARIOS[0], take).unwrap().count(Kind::Gap), 0);
    }

    #[test]
    fn what_an_event_does_to_its_room_is_told_as_the_time_to_come_back() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "join").unwrap();
        let mut take = take(|_| {});
        let mut third = take.rooms[0].samples.clone();
        third[..12 * 48_000].fill(0.0);
        take.rooms.push(played(third));
        let at = |seconds: f64| after(START, seconds);
        take.events = vec![(at(11.0), at(11.0))];
        let outcome = Outcome::of(scenario, take).unwrap();
        // Windows end on tenths of a second.
        assert!((outcome.back.unwrap() - 1.0).abs() <= 0.1, "{:?}", outcome.back);
        assert_eq!(outcome.settled, Some(0.0), "the others do not wait for it");
        assert_eq!(outcome.count(Kind::Gap), 0);
        assert_eq!(outcome.misses(scenario), [] as [String; 0]);
    }

    #[test]
    fn a_silence_that_outlasts_its_event_counts() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "quantum").unwrap();
        let silent_for = |seconds: f64| {
            let (from, to) = (12 * 48_000, 12 * 48_000 + (seconds * 48_000.0) as usize);
            let mut take = take(|second| second[from..to].fill(0.0));
            take.events = [12.0, 17.5].map(|at| (after(START, at), after(START, at))).to_vec();
            Outcome::of(scenario, take).unwrap()
        };
        assert_eq!(silent_for(1.0).count(Kind::Gap), 0);
        assert_eq!(silent_for(5.0).count(Kind::Gap), 1);
        assert!((silent_for(5.0).silence() - 5.0).abs() < 1e-3);
    }

    #[test]
    fn rooms_that_never_played_have_no_outcome() {
        let mut take = take(|_| {});
        take.rooms.iter_mut().for_each(|room| room.samples.fill(0.0));
        assert!(Outcome::of(&SCENARIOS[0], take).is_none());
    }
}

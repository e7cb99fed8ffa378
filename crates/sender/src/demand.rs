//! What latency the players of a stream need, by what they tell: the controller behind `latency = auto`.
//!
//! A player tells how much of the latency it had to spare at the worst moment since it told last. What it needs is the latency it was given
//! less that. The latency follows the needs up at once, with a margin, and down only when nobody has needed it for minutes: each change is
//! heard, if faintly, and what was needed once is likely to be needed again.
//!
//! A member whose needs cannot be met, or grow without end, is not allowed to carry the others along; nor is what this process itself was
//! late by. Pure: it is told the time.

use std::collections::{BTreeMap, VecDeque};

use audera_clock::{SenderTime, Span};
use audera_wire::MAX_LATENCY;

use crate::glide::Slope;
use crate::types::PlayerKey;

/// What is kept above the needs.
const MARGIN: Span = Span::from_millis(8);
/// The latency is raised when less than this is left of the margin.
const LEAST_MARGIN: Span = Span::from_millis(4);
/// Less than this is not worth a glide down.
const LEAST_DESCENT: Span = Span::from_millis(5);
/// For how long a need is remembered, of the time that is played.
const HOLD: Span = Span::from_secs(180);
/// Needs are kept as the largest of each span of this length.
const BUCKET: Span = Span::from_secs(5);
/// Sound that is late by more than this at once is taken for an outage, which no latency is made for, until it has happened...
const OUTAGE: Span = Span::from_millis(300);
/// ... so many times...
const OUTAGES: u32 = 3;
/// ... each so far from the one before...
const APART: Span = Span::from_secs(1);
/// ... and not further.
const FORGOTTEN: Span = Span::from_secs(30);
/// A member whose need has grown by so much, without ever having come to rest, has a link that is too slow for the stream: what waits there
/// grows for as long as it is waited for.
const HOPELESS: Span = Span::from_millis(600);
/// A need that has not grown for so long has come to rest; and a member that was given up gets another chance when it has not lacked for so
/// long. A link that is too slow by little lacks again every few seconds, whenever what was dropped has filled up again.
const REST: Span = HOLD;
/// A need that is larger by so much at once...
const LEAP: Span = Span::from_millis(100);
/// ... after so long is another need, and did not grow: the way there is another one.
const BEFORE_LEAP: Span = Span::from_secs(10);
/// A pause in what is told, beyond this, is not time that was played.
const PAUSE: Span = Span::from_secs(2);

/// What a member tells of the time since it told last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// The latency it was given.
    pub(crate) given: Span,
    /// How much of it was to spare at the worst moment; negative where it did not suffice.
    pub(crate) spare: Span,
    /// What this process was late by, just once: no fault of the network.
    pub(crate) excused: Span,
    /// The most that the member can hold.
    pub(crate) most: Span,
}

/// What a member has needed.
#[derive(Debug, Default)]
struct History {
    /// Number of the span and the largest need in it, oldest first.
    peaks: VecDeque<(i64, Span)>,
    /// When it last lacked, in played time.
    lacked: Option<Span>,
    /// How its need grows; `None` while it is at rest.
    growth: Option<Growth>,
    /// It is not waited for any more.
    hopeless: bool,
    /// When it lacked by more than [`OUTAGE`], and how often in a row.
    outage: Option<(Span, u32)>,
}

/// A need that grows.
#[derive(Debug, Clone, Copy)]
struct Growth {
    /// The need that it began with, and the largest since.
    first: Span,
    most: Span,
    /// When it was larger than ever before, in played time.
    last: Span,
}

/// The needs of all members, and the latency that meets them.
#[derive(Debug)]
pub(crate) struct Demand {
    /// The latency is never less.
    least: Span,
    target: Span,
    members: BTreeMap<PlayerKey, History>,
    played: Span,
    told: Option<SenderTime>,
}

impl Demand {
    /// Begins with `least`, below which it never goes.
    pub(crate) fn new(least: Span) -> Self {
        Demand { least, target: least, members: BTreeMap::new(), played: Span::ZERO, told: None }
    }

    /// Has another least latency from now on; tells the one that meets the needs so far.
    pub(crate) fn restart(&mut self, least: Span) -> Span {
        self.least = least;
        let needed = self.members.values().flat_map(|history| &history.peaks).map(|(_, need)| *need).max();
        self.target = needed.map_or(least, |needed| needed + MARGIN).clamp(least, MAX_LATENCY.max(least));
        self.target
    }

    /// Takes what `member` told at `now`. Tells the latency to glide to and how fast, if it is to be another.
    pub(crate) fn tell(&mut self, now: SenderTime, member: &PlayerKey, told: Told) -> Option<(Span, Slope)> {
        let since = self.told.replace(now).map_or(Span::ZERO, |told| now - told);
        self.played += since.clamp(Span::ZERO, PAUSE);
        let spare = told.spare + told.excused.max(Span::ZERO);
        let need = told.given - spare;
        let lacks = spare.is_negative();
        let played = self.played;
        let history = self.members.entry(member.clone()).or_default();
        history.settle(played);
        if lacks {
            history.lacked = Some(played);
        }
        if need + LEAST_MARGIN > self.least {
            history.grow(played, need);
        }
        let wants = need + LEAST_MARGIN > self.target;
        if need <= told.most && history.is_honoured(played, need, spare, wants) {
            // What it cannot hold it is not given for a margin either.
            history.note(played.as_nanos() / BUCKET.as_nanos(), need.min(told.most - MARGIN));
        }
        self.members.values_mut().for_each(|history| history.age(played));
        self.members.retain(|_, history| !history.peaks.is_empty() || history.lacked.is_some());
        let needed = self.members.values().flat_map(|history| &history.peaks).map(|(_, need)| *need).max();
        let most = MAX_LATENCY.max(self.least);
        let wanted = |margin| needed.map_or(self.least, |needed| needed + margin).clamp(self.least, most);
        if wanted(LEAST_MARGIN) > self.target {
            self.target = wanted(MARGIN);
            return Some((self.target, if lacks { Slope::Urgent } else { Slope::Brisk }));
        }
        if self.target - wanted(MARGIN) >= LEAST_DESCENT {
            self.target = wanted(MARGIN);
            return Some((self.target, Slope::Gentle));
        }
        // A glide that is under way for somebody who falls silent meanwhile cannot wait.
        (lacks && told.given < self.target && need <= self.target).then_some((self.target, Slope::Urgent))
    }

    /// What the members have needed of late; `None` while nobody has told.
    pub(crate) fn recent(&self) -> Option<Span> {
        let bucket = self.played.as_nanos() / BUCKET.as_nanos();
        let peaks = self.members.values().flat_map(|history| &history.peaks);
        peaks.filter(|(number, _)| *number + 1 >= bucket).map(|(_, need)| *need).max()
    }
}

impl History {
    /// Forgets what is over.
    fn settle(&mut self, played: Span) {
        self.growth = self.growth.filter(|growth| played - growth.last <= REST);
        self.hopeless &= self.lacked.is_some_and(|lacked| played - lacked <= REST);
    }

    fn grow(&mut self, played: Span, need: Span) {
        let growth = self.growth.get_or_insert(Growth { first: need, most: need, last: played });
        if need - growth.most > LEAP && played - growth.last > BEFORE_LEAP {
            growth.first = need;
        }
        if need > growth.most {
            (growth.most, growth.last) = (need, played);
        }
    }

    /// Whether the latency is to meet this need, for which it would have to grow if the member `wants` that.
    fn is_honoured(&mut self, played: Span, need: Span, spare: Span, wants: bool) -> bool {
        if self.hopeless || !self.is_no_outage(played, spare) {
            return false;
        }
        if wants && self.growth.is_some_and(|growth| need - growth.first > HOPELESS) {
            // Only what it tells from now on can show that it has recovered.
            (self.hopeless, self.growth, self.lacked) = (true, None, Some(played));
            self.peaks.clear();
            return false;
        }
        true
    }

    /// Whether this is no outage, or one of several in a row.
    fn is_no_outage(&mut self, played: Span, spare: Span) -> bool {
        if -spare <= OUTAGE {
            return true;
        }
        let (count, counts) = match self.outage {
            Some((last, count)) if played - last <= FORGOTTEN => (count, played - last >= APART),
            _ => (0, true),
        };
        if counts {
            self.outage = Some((played, count + 1));
        }
        self.outage.is_some_and(|(_, count)| count >= OUTAGES)
    }

    fn note(&mut self, bucket: i64, need: Span) {
        match self.peaks.back_mut() {
            Some((number, peak)) if *number == bucket => *peak = need.max(*peak),
            _ => self.peaks.push_back((bucket, need)),
        }
    }

    fn age(&mut self, played: Span) {
        let oldest = (played - HOLD).as_nanos() / BUCKET.as_nanos();
        while self.peaks.front().is_some_and(|(number, _)| *number < oldest) {
            self.peaks.pop_front();
        }
        self.lacked = self.lacked.filter(|lacked| played - *lacked <= HOLD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: f64) -> Span {
        Span::from_nanos((ms * 1e6) as i64)
    }

    /// A stream under simulated time: what each member needs is a function of time, in seconds and ms.
    struct House<'a> {
        demand: Demand,
        members: Vec<Member<'a>>,
        /// The delay now and the glide it is in, ms.
        delay: f64,
        glide: Option<(f64, f64)>,
        now: f64,
        /// When it was steered, and where to.
        steered: Vec<(f64, f64, Slope)>,
    }

    struct Member<'a> {
        key: PlayerKey,
        need: Box<dyn FnMut(f64, f64) -> Option<f64> + 'a>,
        /// The least spare and the delay since it told last.
        spare: Option<f64>,
        given: f64,
        told: f64,
        /// The most that it can hold.
        most: f64,
        /// For how long it lacked, in seconds.
        lacked: f64,
    }

    /// Between two moments that are looked at, in seconds.
    const STEP: f64 = 0.02;

    impl<'a> House<'a> {
        fn new() -> Self {
            let demand = Demand::new(ms(80.0));
            let steered = Vec::new();
            House { demand, members: Vec::new(), delay: 80.0, glide: None, now: 0.0, steered }
        }

        /// A member that needs what `need` tells for a time and a given latency; nothing while nothing comes.
        fn join(&mut self, need: impl FnMut(f64, f64) -> Option<f64> + 'a) -> usize {
            let key = PlayerKey::Discovered(format!("room {}", self.members.len()));
            let (spare, given, told, most, lacked) = (None, self.delay, self.now, 2_000.0, 0.0);
            self.members.push(Member { key, need: Box::new(need), spare, given, told, most, lacked });
            self.members.len() - 1
        }

        fn run(&mut self, seconds: f64) {
            let until = self.now + seconds;
            while self.now < until {
                self.now += STEP;
                if let Some((target, slope)) = self.glide {
                    let step = STEP * slope * 1e3;
                    self.delay += (target - self.delay).clamp(-step, step);
                }
                let at = SenderTime::from_nanos((self.now * 1e9) as i64);
                for member in &mut self.members {
                    let Some(need) = (member.need)(self.now, self.delay) else { continue };
                    let spare = self.delay - need;
                    member.spare = Some(member.spare.map_or(spare, |least| least.min(spare)));
                    member.lacked += if spare < 0.0 { STEP } else { 0.0 };
                    let since = self.now - member.told;
                    let Some(least) = member.spare.filter(|least| since >= 1.0 || (*least < 0.0 && since >= 0.1))
                    else {
                        continue;
                    };
                    let given = member.given.min(self.delay);
                    (member.spare, member.given, member.told) = (None, self.delay, self.now);
                    let (given, spare, most) = (ms(given), ms(least), ms(member.most));
                    let told = Told { given, spare, excused: Span::ZERO, most };
                    if let Some((target, slope)) = self.demand.tell(at, &member.key, told) {
                        let target = target.as_secs_f64() * 1e3;
                        self.glide = Some((target, slope.ratio()));
                        self.steered.push((self.now, target, slope));
                    }
                }
            }
        }

        fn lacked(&mut self, member: usize) -> f64 {
            std::mem::take(&mut self.members[member].lacked)
        }
    }

    /// Reproducible pseudo-random numbers in 0..1 (xorshift64*, S. Vigna 2016).
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed | 1;
        move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[test]
    fn what_suffices_stays() {
        let mut house = House::new();
        house.join(|_, _| Some(50.0));
        house.join(|_, _| Some(75.0));
        house.run(3_600.0);
        assert_eq!(house.steered, []);
        assert!((house.demand.recent(), ms(75.0)) == (Some(ms(75.0)), ms(75.0)));
    }

    #[test]
    fn a_device_with_a_large_buffer_is_waited_for_and_forgotten_minutes_after_it_has_left() {
        let mut house = House::new();
        house.join(|_, _| Some(50.0));
        let big = house.join(|at, _| (10.0..130.0).contains(&at).then_some(200.0));
        house.run(10.0);
        assert_eq!(house.delay, 80.0);
        house.run(7.5);
        // 120 ms at 2 % take 6 s.
        let lacked = house.lacked(big);
        assert!((5.9..6.5).contains(&lacked), "{lacked}");
        house.run(120.0);
        assert!((house.delay - 208.0).abs() < 0.1 && house.lacked(big) == 0.0, "{}", house.delay);
        assert!(
            house.steered.iter().all(|(_, target, slope)| (*target - 208.0).abs() < 0.1 && *slope == Slope::Urgent)
        );
        house.run(130.0 + 170.0 - house.now);
        assert!((house.delay - 208.0).abs() < 0.1, "it may come back");
        house.run(400.0);
        assert_eq!(house.delay, 80.0);
    }

    #[test]
    fn little_to_spare_is_made_up_for_before_anybody_is_silent() {
        let mut house = House::new();
        // Jitter grows by half a millisecond in a second, to 140 ms.
        let member = house.join(|at, _| Some((60.0 + 0.5 * at).min(140.0)));
        house.run(400.0);
        assert_eq!(house.lacked(member), 0.0);
        assert!((144.0..=148.1).contains(&house.delay), "{}", house.delay);
        assert!(house.steered.iter().all(|(_, _, slope)| *slope == Slope::Brisk));
    }

    #[test]
    fn bursts_are_covered_once_and_for_all() {
        for seed in 1..6 {
            let mut house = House::new();
            let mut random = noise(seed);
            let (mut next, mut until) = (1.0, 0.0);
            let member = house.join(move |at, _| {
                if at >= next {
                    until = at + 0.03 + 0.07 * random();
                    next = at + 0.5 + random();
                }
                // What is held back comes when the burst is over.
                Some(45.0 + if (until..until + 2.0 * STEP).contains(&at) { (until - next + 1.6) * 60.0 } else { 0.0 })
            });
            house.run(120.0);
            let early = house.steered.len();
            let _ = house.lacked(member);
            house.run(3_600.0);
            let late = house.steered.len() - early;
            assert!(house.delay < 170.0, "seed {seed}: {}", house.delay);
            assert!(late <= 4, "seed {seed}: no hunting, but {late} changes in an hour");
            assert!(house.lacked(member) < 1.0, "seed {seed}");
        }
    }

    #[test]
    fn an_outage_is_not_what_latency_is_for() {
        let mut house = House::new();
        house.join(|_, _| Some(50.0));
        // The network is gone for 1.5 s once in two minutes; then what was held back comes at once.
        house.join(|at, _| match at % 120.0 {
            t if t < 50.0 => Some(50.0),
            t if t < 51.5 => None,
            t if t < 51.6 => Some(1_500.0),
            _ => Some(50.0),
        });
        house.run(1_000.0);
        assert_eq!(house.steered, []);
    }

    #[test]
    fn a_lasting_need_is_met_however_large() {
        // Be it from the beginning, or since the way there is another one.
        for before in [0.0, 20.0, 250.0, 1_000.0] {
            let mut house = House::new();
            let far = house.join(|at, _| Some(if at > before { 1_200.0 } else { 90.0 }));
            house.run(before + 70.0);
            assert!((house.delay - 1_208.0).abs() < 0.1, "{}", house.delay);
            let _ = house.lacked(far);
            house.run(600.0);
            assert!((house.delay - 1_208.0).abs() < 0.1 && house.lacked(far) == 0.0);
        }
    }

    #[test]
    fn who_cannot_be_helped_does_not_carry_the_others_along() {
        // Beyond all latencies, nothing at all, and a link that is too slow: what comes is always later than it is waited for.
        let hopeless: [fn(f64, f64) -> Option<f64>; 3] =
            [|_, _| Some(5_000.0), |_, _| None, |_, delay| Some(delay + 25.0)];
        for (n, need) in hopeless.into_iter().enumerate() {
            let mut house = House::new();
            house.join(|_, _| Some(50.0));
            house.join(need);
            house.run(300.0);
            let worst = house.steered.iter().fold(80.0_f64, |worst, (_, target, _)| worst.max(*target));
            assert!(worst < 760.0, "{n}: {worst}");
            assert!(n == 2 || worst == 80.0);
            house.run(2_000.0);
            assert_eq!(house.delay, 80.0, "{n}");
        }
    }

    #[test]
    fn who_needs_ever_more_does_not_carry_the_others_along() {
        // A queue that grows by so many ms in a second, before a link that is too slow by that; what is too late there is given up, which
        // empties it by a packet.
        for pace in [0.05, 0.3, 1.0, 3.0] {
            let mut house = House::new();
            let well = house.join(|_, _| Some(50.0));
            let mut queue = 0.0;
            house.join(move |_, delay| {
                queue += pace * STEP;
                if queue > delay - 20.0 {
                    queue -= 20.0;
                }
                Some(45.0 + queue)
            });
            house.run(1_000.0 + 700.0 / pace);
            let worst = house.steered.iter().fold(0.0_f64, |worst, (_, target, _)| worst.max(*target));
            assert!((600.0..760.0).contains(&worst), "{pace} ms/s: {worst}");
            // And then it is not tried again and again.
            house.run(3_000.0);
            assert_eq!(house.delay, 80.0, "{pace} ms/s");
            let again = house.steered.len();
            house.run(10_000.0);
            assert_eq!((house.steered.len(), house.lacked(well)), (again, 0.0), "{pace} ms/s: {:?}", house.steered);
        }
    }

    #[test]
    fn many_that_need_ever_more_together_come_no_further_than_one() {
        let mut house = House::new();
        for _ in 0..5 {
            house.join(|at, _| Some(60.0 + at));
        }
        house.run(3_000.0);
        let worst = house.steered.iter().fold(0.0_f64, |worst, (_, target, _)| worst.max(*target));
        assert!(worst < 760.0, "{worst}");
    }

    #[test]
    fn who_was_given_up_is_waited_for_again_when_it_has_recovered() {
        let mut house = House::new();
        // Ever worse for half an hour, then well, then a need like any other.
        let room = house.join(|at, _| match at {
            at if at < 1_800.0 => Some(60.0 + at),
            at if at < 3_600.0 => Some(50.0),
            _ => Some(150.0),
        });
        house.run(3_600.0);
        assert!(house.lacked(room) > 900.0);
        house.run(10.0);
        let _ = house.lacked(room);
        house.run(600.0);
        assert_eq!((house.lacked(room), house.delay), (0.0, 158.0));
    }

    #[test]
    fn a_player_is_waited_for_up_to_what_it_can_hold() {
        for (need, latency) in [(390.0, 398.0), (395.0, 400.0), (401.0, 80.0)] {
            let mut house = House::new();
            let room = house.join(|_, _| Some(need));
            house.members[room].most = 400.0;
            house.run(600.0);
            assert!((house.delay - latency).abs() < 0.1, "{need}: {}", house.delay);
        }
    }

    #[test]
    fn what_a_player_cannot_hold_is_no_measure_for_the_others() {
        let mut house = House::new();
        house.join(|_, _| Some(390.0));
        let short = house.join(|_, _| Some(50.0));
        house.members[short].most = 100.0;
        house.run(60.0);
        assert!((house.delay - 398.0).abs() < 0.1, "{}", house.delay);
    }

    #[test]
    fn a_pause_is_not_time_in_which_nothing_was_needed() {
        let mut demand = Demand::new(ms(80.0));
        let room = PlayerKey::Discovered("Kitchen".to_owned());
        let mut tell = |seconds: i64, given, spare| {
            let told = Told { given: ms(given), spare: ms(spare), excused: Span::ZERO, most: ms(2e3) };
            demand.tell(SenderTime::from_nanos(seconds * 1_000_000_000), &room, told)
        };
        assert_eq!(tell(0, 80.0, -20.0), Some((ms(108.0), Slope::Urgent)));
        assert_eq!(tell(1, 108.0, 8.0), None);
        for second in 4_000..4_170 {
            assert_eq!(tell(second, 108.0, 50.0), None);
        }
    }
}

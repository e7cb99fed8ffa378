//! The way from one loudness to another when element and samples both have a part in it: what is to be done next, so that nothing is
//! ever louder than it was asked to be. No device, no thread and no clock in here.
//!
//! An element is heard at once, samples a buffer later. So: the element goes down first. It goes up as far as it may with what is in the buffer, so that it follows a
//! hand on a slider; for what is left, the samples go down, which is waited for, before the element goes up. The samples go up last. What is muted fades in the samples before
//! the switch cuts it off.

use audera_wire::{RoomChange, Volume};

use super::scale::Scale;

/// Where an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The value of its loudest channel.
    pub raw: i64,
    /// Whether all channels have that value.
    pub even: bool,
    /// Whether it lets any channel through; `None` if it has no switch.
    pub on: Option<bool>,
    /// Whether it lets all channels through, or none.
    pub alike: bool,
}

/// What a room is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub volume: Volume,
    pub mute: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub(super) enum Step {
    /// Set all channels of the element.
    Volume(i64),
    /// Set its switch: on lets sound through.
    Switch(bool),
    /// Have the samples multiplied by this.
    Software(f64),
    /// Wait until what samples were multiplied by last is heard.
    Await,
    /// Nothing: all is as it should be.
    Rest,
}

/// What somebody has done to the element.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Turn {
    /// Where it was put.
    pub volume: Option<Volume>,
    /// Whether it was switched off.
    pub mute: Option<bool>,
}

impl Turn {
    /// The same as changes of the room, of which one may be allowed and another not.
    pub fn changes(self) -> impl Iterator<Item = RoomChange> {
        let volume = self.volume.map(|volume| RoomChange::volume(volume.percent()));
        [volume, self.mute.map(RoomChange::mute)].into_iter().flatten()
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// This and, where they differ, what came `later`.
    pub(super) fn and(self, later: Self) -> Self {
        Turn { volume: later.volume.or(self.volume), mute: later.mute.or(self.mute) }
    }
}

/// Where element and samples are, and where they are to be.
#[derive(Debug, Clone)]
pub(super) struct Course {
    scale: Scale,
    position: Position,
    /// What samples are multiplied by, as it was said last.
    software: f64,
    /// The most that samples in the buffer may have been multiplied by.
    buffered: f64,
    /// A value that was set last, and the value it is and whether all channels have it since: a card may round.
    volume_said: Option<(i64, i64, bool)>,
    /// What the switch was set to last, and where it is since, and whether all channels are.
    switch_said: Option<(bool, Option<bool>, bool)>,
    target: Target,
    /// A chime is to be heard this loud, whatever the room is.
    lift: Option<Volume>,
}

impl Course {
    /// From where the element was found. Samples are multiplied by nought from now on; those in the buffer may have been by as much as
    /// `buffered`.
    pub fn new(scale: Scale, position: Position, target: Target, buffered: f64) -> Self {
        Course { scale, position, software: 0.0, buffered, volume_said: None, switch_said: None, target, lift: None }
    }

    /// The room is to be like this.
    pub fn aim(&mut self, target: Target) {
        self.target = target;
    }

    /// A sound of this volume is to have room above the music, which stays as loud as it is; or there is none any more.
    pub fn lift(&mut self, lift: Option<Volume>) {
        self.lift = lift;
    }

    /// Whether there is to be room for such a sound.
    pub fn is_lifted(&self) -> bool {
        self.lift.is_some()
    }

    /// What a sound of its own is to be multiplied by to have this volume, as far as the element lets it.
    pub fn gain_of(&self, volume: Volume) -> f64 {
        self.scale.software(self.scale.wanted(volume), self.position.raw)
    }

    /// The element was found there: what somebody has done to it, if anything.
    pub fn found(&mut self, position: Position) -> Turn {
        let before = std::mem::replace(&mut self.position, position);
        Turn {
            volume: (before.raw != position.raw).then(|| self.scale.volume(position.raw)),
            mute: position.on.filter(|on| before.on != Some(*on)).map(|on| !on),
        }
    }

    /// What is to be done next. `settled`: what samples were multiplied by last is heard, and nothing from before it.
    pub fn next(&mut self, settled: bool) -> Step {
        if settled {
            self.buffered = self.software;
        }
        let Target { volume, mute } = self.target;
        let Position { raw, even, on, alike } = self.position;
        let (goal, lets_through) = (self.goal(), self.lets_through());
        // The card has been told, and this is what it makes of it: telling it again would change nothing.
        let was_set = |value: i64| self.volume_said == Some((value, raw, even));
        let ends_at = if was_set(goal) { raw } else { goal };
        let software = if mute { 0.0 } else { self.scale.software(self.scale.wanted(volume), ends_at) };
        let volume_due = (raw != goal || !even) && !was_set(goal);
        let switch_due = (on != lets_through || !alike)
            && lets_through.is_none_or(|lets| self.switch_said != Some((lets, on, alike)));
        if volume_due && self.scale.gain(goal) < self.scale.gain(raw) {
            return Step::Volume(goal);
        }
        let music = if mute { 0.0 } else { self.scale.wanted(volume) };
        let at_once = if self.buffered > 0.0 { self.scale.within(music / self.buffered) } else { goal };
        let at_once = at_once.min(goal);
        if volume_due && !was_set(at_once) && self.scale.gain(at_once) > self.scale.gain(raw) {
            return Step::Volume(at_once);
        }
        if software < self.software {
            Step::Software(software)
        } else if (volume_due || switch_due) && !settled {
            Step::Await
        } else if volume_due {
            Step::Volume(goal)
        } else if let Some(on) = lets_through.filter(|_| switch_due) {
            Step::Switch(on)
        } else if software > self.software {
            Step::Software(software)
        } else {
            Step::Rest
        }
    }

    /// The value that the element is to have.
    fn goal(&self) -> i64 {
        let volume = self.target.volume;
        let louder = self.lift.map_or(volume, |lift| lift.max(volume));
        self.scale.raw(self.scale.wanted(louder), self.position.raw)
    }

    /// Where its switch is to be, if it has one.
    fn lets_through(&self) -> Option<bool> {
        self.position.on.map(|_| !self.target.mute || self.lift.is_some())
    }

    /// The element does not stay where it is put: it is left where it is, until it is moved or is to be somewhere else, and the samples are
    /// brought to that as far as they can be.
    pub fn leave(&mut self) {
        let Position { raw, even, on, alike } = self.position;
        self.volume_said = Some((self.goal(), raw, even));
        self.switch_said = self.lets_through().map(|lets| (lets, on, alike));
    }

    /// A step was taken.
    pub fn taken(&mut self, step: Step) {
        match step {
            Step::Volume(raw) => (self.position.raw, self.position.even) = (raw, true),
            Step::Switch(on) => (self.position.on, self.position.alike) = (Some(on), true),
            Step::Software(software) => (self.software, self.buffered) = (software, self.buffered.max(software)),
            Step::Await | Step::Rest => {}
        }
    }

    /// Where the element is right after a step of ours: what differs from that step is the card's doing and nobody's wish. Whether something else
    /// has changed meanwhile, which is to be [`found`](Self::found).
    #[must_use]
    pub fn read_back(&mut self, step: Step, position: Position) -> bool {
        match step {
            Step::Volume(raw) => {
                (self.position.raw, self.position.even) = (position.raw, position.even);
                self.volume_said = Some((raw, position.raw, position.even));
            }
            Step::Switch(on) => {
                (self.position.on, self.position.alike) = (position.on, position.alike);
                self.switch_said = Some((on, position.on, position.alike));
            }
            Step::Software(_) | Step::Await | Step::Rest => {}
        }
        self.position != position
    }

    /// The most that samples in the buffer may have been multiplied by.
    pub fn buffered(&self) -> f64 {
        self.buffered
    }

    /// What samples are multiplied by, as it was said last.
    pub fn software(&self) -> f64 {
        self.software
    }

    /// How loud it is when what the samples are multiplied by is heard: a factor of what 100 % is.
    #[cfg(test)]
    pub fn hardware(&self) -> f64 {
        if self.position.on == Some(false) { 0.0 } else { self.scale.gain(self.position.raw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half-dB steps, as a good card has, and ones of 6 dB, with which software has much to do; with a switch and without.
    fn scales() -> [Scale; 2] {
        [
            Scale::new(0, 207, |raw| Some(if raw == 0 { -9_999_999 } else { -10_350 + 50 * raw })),
            Scale::new(0, 11, |raw| Some(-6_600 + 600 * raw)),
        ]
    }

    fn at(raw: i64, on: Option<bool>) -> Position {
        Position { raw, even: true, on, alike: true }
    }

    fn target(percent: f64, mute: bool) -> Target {
        Target { volume: Volume::nearest(percent), mute }
    }

    /// Milliseconds that a ramp takes, and a buffer holds.
    const RAMP: usize = 25;
    const BUFFER: usize = 32;

    /// A card and an audio thread, in steps of a millisecond.
    struct World {
        course: Course,
        /// What samples are multiplied by as they are written, since the beginning.
        written: Vec<f64>,
        wanted: f64,
        slope: f64,
        reached: usize,
        /// Since when samples have been on the way to where they are, for each that was written: ramps may follow each other.
        since: Vec<usize>,
    }

    impl World {
        fn new(course: Course) -> Self {
            let since = (0..=BUFFER).collect();
            World { course, written: vec![0.0; BUFFER + 1], wanted: 0.0, slope: 0.0, reached: 0, since }
        }

        /// Does what is to be done, and lets a millisecond go by; what is heard at its end.
        fn pass(&mut self) -> f64 {
            loop {
                let now = self.written.len();
                let settled = self.written[now - 1] == self.wanted && now >= self.reached + BUFFER;
                let step = self.course.next(settled);
                match step {
                    Step::Await | Step::Rest => break,
                    Step::Software(software) => {
                        self.wanted = software;
                        self.slope = (software - self.written[now - 1]) / RAMP as f64;
                    }
                    Step::Volume(_) | Step::Switch(_) => {}
                }
                self.course.taken(step);
            }
            let before = self.written[self.written.len() - 1];
            let next = before + self.slope;
            let arrives = (self.wanted - before).abs() <= self.slope.abs() * 1.000_001;
            if arrives && before != self.wanted {
                self.reached = self.written.len() + 1;
            }
            let now = self.written.len();
            self.since.push(if before == self.wanted { now } else { self.since[now - 1] });
            self.written.push(if arrives { self.wanted } else { next });
            self.course.hardware() * self.written[now - BUFFER]
        }

        /// From when on what was asked for may still be heard.
        fn earliest(&self) -> usize {
            self.since[self.since.len() - 1 - BUFFER].saturating_sub(1)
        }
    }

    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn nothing_is_ever_louder_than_asked_for_and_in_the_end_all_is_exact() {
        for scale in scales() {
            for on in [None, Some(true), Some(false)] {
                let mut seed = 7;
                let loudness = |target: Target| if target.mute { 0.0 } else { scale.wanted(target.volume) };
                let mut now = target(50.0, false);
                // Found at its loudest, as a card is that was plugged in.
                let course = Course::new(scale.clone(), at(scale.raw(1.0, 0), on), now, 0.0);
                let mut world = World::new(course);
                let mut asked = vec![loudness(now); BUFFER + 1];
                let mut hand = 0;
                for turn in 0..400 {
                    now = target(100.0 * random(&mut seed).powi(2), random(&mut seed) < 0.2);
                    if turn % 50 == 49 {
                        now = target([0.0, 100.0][turn / 50 % 2], false);
                    }
                    // Now and then somebody has a hand on it, and a room sounds for who looks for it.
                    if turn % 7 == 3 {
                        let raw = scale.raw(random(&mut seed).powi(3), 0);
                        hand = asked.len();
                        let turned = world.course.found(at(raw, on.map(|_| random(&mut seed) < 0.5)));
                        now.volume = turned.volume.unwrap_or(now.volume);
                        now.mute = turned.mute.unwrap_or(now.mute);
                    }
                    world.course.lift((turn % 11 == 5).then_some(Volume::nearest(60.0)));
                    world.course.aim(now);
                    let pause = 1 + (random(&mut seed) * 160.0) as usize;
                    for wait in 0..pause {
                        asked.push(loudness(now));
                        let heard = world.pass();
                        let most = asked[world.earliest()..].iter().fold(0.0, |most: f64, ask| most.max(*ask));
                        // What a hand has set is heard at once, whatever the samples were.
                        let by_hand = world.earliest() <= hand;
                        assert!(by_hand || heard <= most * 1.0012, "turn {turn}, {wait} ms: {heard} of {most}");
                    }
                }
                world.course.lift(None);
                for percent in [3.0, 40.0, 77.7, 100.0, 0.5, 0.0] {
                    let wanted = target(percent, false);
                    world.course.aim(wanted);
                    let heard = (0..500).map(|_| world.pass()).last().unwrap();
                    assert!((heard - loudness(wanted)).abs() <= loudness(wanted) * 0.0012, "{percent} %: {heard}");
                    assert_eq!(world.course.next(true), Step::Rest);
                }
            }
        }
    }

    #[test]
    fn the_element_goes_down_first_and_up_last() {
        let [scale, _] = scales();
        let mut course = Course::new(scale, at(207, Some(true)), target(46.4, false), 0.0);
        // Plugged in at full volume: down at once; the samples were silence.
        assert_eq!(course.next(false), Step::Volume(167));
        course.taken(Step::Volume(167));
        let Step::Software(software) = course.next(false) else { panic!("{course:?}") };
        assert!(software > 0.99);
        course.taken(Step::Software(software));
        assert_eq!(course.next(false), Step::Rest);
        // Up, as far as it may go with the samples that are there; then less of these, which must be heard.
        course.aim(target(80.0, false));
        assert_eq!(course.next(true), Step::Volume(195));
        course.taken(Step::Volume(195));
        let Step::Software(lower) = course.next(true) else { panic!("{course:?}") };
        assert!(lower < software);
        course.taken(Step::Software(lower));
        assert_eq!((course.next(false), course.next(true)), (Step::Await, Step::Volume(196)));
        course.taken(Step::Volume(196));
        assert_eq!(course.next(true), Step::Rest);
        // Mute fades, then switches off; and the other way round.
        course.aim(target(80.0, true));
        assert_eq!(course.next(true), Step::Software(0.0));
        course.taken(Step::Software(0.0));
        assert_eq!((course.next(false), course.next(true)), (Step::Await, Step::Switch(false)));
        course.taken(Step::Switch(false));
        assert_eq!(course.next(true), Step::Rest);
        course.aim(target(80.0, false));
        assert_eq!(course.next(true), Step::Switch(true));
        course.taken(Step::Switch(true));
        assert_eq!(course.next(true), Step::Software(lower));
    }

    #[test]
    fn hands_on_the_element_are_told_from_our_own() {
        let [scale, _] = scales();
        let mut course = Course::new(scale, at(100, Some(true)), target(100.0, false), 0.0);
        let step = course.next(true);
        assert_eq!(step, Step::Volume(207));
        course.taken(step);
        assert!(course.found(at(207, Some(true))).is_empty());
        let turn = course.found(at(167, Some(false)));
        assert_eq!(turn, Turn { volume: Some(Volume::nearest(46.41)), mute: Some(true) });
        assert!(course.found(at(167, Some(false))).is_empty());
        // Taken over by the room, it stays where it is.
        course.aim(target(46.41, true));
        assert_eq!(course.next(true), Step::Rest);
        // One channel is turned up: all follow. One is switched on: that is not mute any more.
        let turn = course.found(Position { raw: 187, even: false, on: Some(true), alike: false });
        course.aim(Target { volume: turn.volume.unwrap(), mute: turn.mute.unwrap() });
        assert_eq!(course.next(true), Step::Volume(187));
        course.taken(Step::Volume(187));
        assert_eq!(course.next(true), Step::Switch(true));
        assert_eq!(Turn { mute: Some(true), ..turn }.and(Turn { mute: Some(false), volume: None }), turn);
    }

    #[test]
    fn a_chime_is_lifted_above_the_music_which_stays_as_it_is() {
        let [scale, _] = scales();
        let mut course = Course::new(scale, at(0, Some(false)), target(10.0, true), 0.0);
        course.lift(Some(Volume::nearest(60.0)));
        for expected in [Step::Volume(181), Step::Switch(true), Step::Rest] {
            assert_eq!(course.next(true), expected);
            course.taken(expected);
        }
        assert!((course.hardware() * course.gain_of(Volume::nearest(60.0)) - 0.216).abs() < 1e-3);
        course.lift(None);
        assert_eq!(course.next(true), Step::Volume(87));
    }
}

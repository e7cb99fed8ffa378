//! Whose doing a hole in a recording is: the machine's, which lets a process miss a cycle now and then, or the product's.
//!
//! A cycle of the graph that a process was not woken for in time is silence of whole cycles. When it was the room's own player,
//! the silence begins where a cycle of the recording begins. When it was the application or the sender, it is passed on, and the
//! reference has it too. A stream that runs dry stops and resumes anywhere, and has no such excuse.

use std::ops::{Range, RangeInclusive};

use super::{flaws::Gap, spectrum::best_lag};

/// Cycles of the graph are multiples of this, in frames.
pub const CYCLE: usize = 256;
/// The share of a recording that may be missing for reasons of the machine: with more there is nothing to be judged.
pub const MOST_EXCUSED: f64 = 0.15;

/// Runs of exact zeros at least this long are holes, in frames.
const SHORTEST: usize = 16;
/// The sound may happen to be zero beside a hole, by so many frames.
const CHANCE: usize = 3;
/// A reference below this is not expected to be heard: -60 dBFS.
const QUIET: f64 = 1e-3;
/// A room below this is silent: -80 dBFS.
const SILENT: f64 = 1e-4;
/// How far from its place in the reference a hole may begin or end, in frames: a resampler shifts and smears it.
const EDGE: isize = 48;
/// As much sound beside a hole tells where it is in the reference, in frames.
const PROBE: usize = 12_000;
/// Least likeness of that sound and the reference.
const LIKE: f64 = 0.5;
/// Around a known place in another recording, in frames either way: it goes astray when a recorder misses cycles.
const ASTRAY: isize = 48_000;
/// What a machine does to a sound shows in it this long after, in seconds; and this much before, as moments are known roughly.
const AFTER: f64 = 1.0;
const BEFORE: f64 = 0.5;
/// So much lateness together explains a hole, in seconds.
const EXPLAINS: f64 = 0.02;

/// What was to be heard: the same sound, recorded before it took the way under test.
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    samples: &'a [f32],
    /// By how many frames what is heard may come after the same frame here.
    lead: RangeInclusive<isize>,
}

impl<'a> Reference<'a> {
    /// A channel of the same recording; the room is at most `latest` frames behind it.
    #[must_use]
    pub fn beside(samples: &'a [f32], latest: usize) -> Self {
        Self { samples, lead: -EDGE..=latest as isize }
    }

    /// A channel of another recording, begun at any other time.
    #[must_use]
    pub fn elsewhere(samples: &'a [f32]) -> Self {
        Self { samples, lead: -(samples.len() as isize)..=isize::MAX / 4 }
    }

    /// By how many frames this part of a room's recording comes after the same in the reference.
    fn lead_of(&self, room: &[f32], part: Range<usize>) -> Option<isize> {
        let sound = room.get(part.clone()).filter(|sound| rms(sound) > QUIET)?;
        let start = part.start as isize;
        let low = (-self.lead.end()).max(-start);
        let lag = best_lag(sound, self.samples, start, low, -self.lead.start())?;
        let from = part.start.checked_add_signed(lag)?;
        let meant = self.samples.get(from..from + sound.len())?;
        let product: f64 = sound.iter().zip(meant).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let likeness = product / (rms(sound) * rms(meant) * sound.len() as f64);
        (likeness >= LIKE).then_some(-lag)
    }

    /// Whether the reference is silent where this hole is, told by the sound before it or behind it. `Some(true)` where it misses
    /// cycles there, `Some(false)` where the sound itself has a pause, `None` where it sounds.
    fn silence_at(&mut self, room: &[f32], hole: &Gap) -> Option<bool> {
        let end = hole.start + hole.frames;
        let beside = [hole.start.saturating_sub(PROBE)..hole.start, end..(end + PROBE).min(room.len())];
        let mut leads = [None; 2];
        for (part, known) in beside.into_iter().zip(&mut leads) {
            let Some(lead) = self.lead_of(room, part) else { continue };
            *known = Some(lead);
            if self.lead.end() - self.lead.start() > 2 * ASTRAY {
                self.lead = lead - ASTRAY..=lead + ASTRAY;
            }
            let silence = self.silence_within(hole.start as isize - lead, end as isize - lead);
            if silence.is_some() {
                return silence;
            }
        }
        // Where the sender missed cycles, and with it the recorder that hears it, these are missing in the reference altogether.
        let [Some(before), Some(after)] = leads else { return None };
        let is_cut = (after - before).abs_diff(hole.frames as isize) <= CHANCE && is_near_cycle(hole.frames);
        is_cut.then_some(true)
    }

    fn silence_within(&self, start: isize, end: isize) -> Option<bool> {
        let middle = usize::try_from((start + end) / 2).ok()?;
        // What is left of a short hole without its edges is its middle.
        let (first, last) = ((start + EDGE).min(middle as isize), (end - EDGE).max(middle as isize + 1));
        let inner = self.samples.get(usize::try_from(first).ok()?..usize::try_from(last).ok()?)?;
        if inner.chunks(64).any(|piece| rms(piece) > QUIET) {
            return None;
        }
        let zeros = |samples: &mut dyn Iterator<Item = &f32>| samples.take_while(|sample| **sample == 0.0).count();
        let before = zeros(&mut self.samples[..middle].iter().rev());
        let hole = Gap { start: middle - before, frames: before + zeros(&mut self.samples[middle..].iter()) };
        Some(is_missed_cycle(&hole))
    }
}

/// The share of windows of so many frames in which the room is heard, among those in which the reference is; `None` when it
/// never is. Both are of one recording.
#[must_use]
pub fn share_heard(reference: &[f32], room: &[f32], window: usize) -> Option<f64> {
    let windows = reference.chunks_exact(window).zip(room.chunks_exact(window));
    let sounding = windows.filter(|(reference, _)| rms(reference) > QUIET);
    let (all, heard) =
        sounding.fold((0, 0), |(all, heard), (_, room)| (all + 1, heard + u32::from(rms(room) > SILENT)));
    (all > 0).then(|| f64::from(heard) / f64::from(all))
}

/// Whether a hole in a recording, as counted from its beginning, is one or several of its cycles.
#[must_use]
pub fn is_missed_cycle(hole: &Gap) -> bool {
    is_near_cycle(hole.frames) && hole.frames + CHANCE >= CYCLE && is_near_cycle(hole.start)
}

/// Whether what happened at these seconds of a recording came about while the machine held programs back for 20 ms or more altogether.
pub(super) fn is_explained(when: Range<f64>, late: &[Range<f64>]) -> bool {
    let reach = when.start - AFTER..when.end + BEFORE;
    let overlap = |late: &Range<f64>| (late.end.min(reach.end) - late.start.max(reach.start)).max(0.0);
    late.iter().map(overlap).sum::<f64>() >= EXPLAINS
}

fn is_near_cycle(frames: usize) -> bool {
    let beyond = frames % CYCLE;
    beyond.min(CYCLE - beyond) <= CHANCE
}

/// The holes in what was heard in a room, by whose doing they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holes {
    /// Cycles that the room's own graph left out.
    pub missed: Vec<Gap>,
    /// What the application or the sender missed, as the reference or all other rooms have it too.
    pub passed_on: Vec<Gap>,
    /// What came about while the machine held programs back.
    pub held_back: Vec<Gap>,
    /// The rest: faults of the product.
    pub own: Vec<Gap>,
    /// How much was listened to, in frames.
    pub frames: usize,
}

impl Holes {
    /// Finds the holes in a room's recording `within` these frames of it. A recording is to be given from its beginning, as
    /// that is what cycles are counted from. A pause of the reference itself is no hole.
    #[must_use]
    pub fn find(room: &[f32], within: Range<usize>, mut reference: Option<Reference<'_>>) -> Self {
        let end = within.end.min(room.len());
        let begin = within.start.min(end);
        let mut holes = Self { frames: end - begin, ..Self::default() };
        for gap in super::gaps(&room[begin..end], SHORTEST) {
            let gap = Gap { start: begin + gap.start, frames: gap.frames };
            match reference.as_mut().and_then(|reference| reference.silence_at(room, &gap)) {
                Some(true) => holes.passed_on.push(gap),
                Some(false) => {}
                None if is_missed_cycle(&gap) => holes.missed.push(gap),
                None => holes.own.push(gap),
            }
        }
        holes
    }

    /// Recognises what a sender missed: whole cycles of silence, alike in all of several rooms.
    pub fn compare(rooms: &mut [Self]) {
        let same = |a: &Gap, b: &Gap| a.start.abs_diff(b.start) <= CYCLE / 4 && a.frames.abs_diff(b.frames) <= CHANCE;
        let all: Vec<Vec<Gap>> = rooms.iter().map(|room| room.own.clone()).collect();
        for (at, room) in rooms.iter_mut().enumerate() {
            let others: Vec<&Vec<Gap>> = (0..all.len()).filter(|other| *other != at).map(|other| &all[other]).collect();
            let is_alike = |gap: &Gap| {
                let whole = is_near_cycle(gap.frames) && gap.frames + CHANCE >= CYCLE;
                whole && !others.is_empty() && others.iter().all(|gaps| gaps.iter().any(|other| same(gap, other)))
            };
            let (alike, own) = room.own.iter().partition(|gap| is_alike(gap));
            room.own = own;
            room.passed_on.extend(alike);
        }
    }

    /// Excuses what came about while the machine held programs back for 20 ms or more altogether. `late` is when it did, in
    /// seconds from the beginning of the recording.
    pub fn excuse(&mut self, late: &[Range<f64>], rate: u32) {
        let (held_back, own) = self.own.iter().partition(|gap| {
            let seconds = |frame: usize| frame as f64 / f64::from(rate);
            is_explained(seconds(gap.start)..seconds(gap.start + gap.frames), late)
        });
        self.own = own;
        self.held_back.extend::<Vec<Gap>>(held_back);
    }

    /// Everything that is missing for reasons of the machine.
    pub fn excused(&self) -> impl Iterator<Item = &Gap> {
        self.missed.iter().chain(&self.passed_on).chain(&self.held_back)
    }

    /// All holes.
    pub fn all(&self) -> impl Iterator<Item = &Gap> {
        self.excused().chain(&self.own)
    }

    /// The share of the recording that is missing for reasons of the machine.
    #[must_use]
    pub fn excused_share(&self) -> f64 {
        self.excused().map(|gap| gap.frames).sum::<usize>() as f64 / self.frames.max(1) as f64
    }

    /// What is to be said against the product, in words: nothing when all holes are excused, and those are not too many.
    #[must_use]
    pub fn fault(&self, rate: u32) -> Option<String> {
        if let Some(longest) = self.own.iter().max_by_key(|gap| gap.frames) {
            let (at, length) = (longest.start as f64 / f64::from(rate), longest.frames as f64 / f64::from(rate) * 1e3);
            return Some(format!("{} gaps, the longest of {length:.1} ms at {at:.2} s", self.own.len()));
        }
        let share = self.excused_share();
        (share > MOST_EXCUSED).then(|| format!("{:.0} % is missing: the machine is too busy", share * 100.0))
    }
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::noise;

    const RATE: u32 = 48_000;
    const DELAY: usize = 3_840 + 77;

    fn meant() -> Vec<f32> {
        noise(RATE, 1, 4.0, 0.5, 3).channels.remove(0)
    }

    fn delayed(sound: &[f32]) -> Vec<f32> {
        std::iter::repeat_n(0.0, DELAY).chain(sound.iter().copied()).take(sound.len()).collect()
    }

    fn judge(room: &[f32], meant: &[f32]) -> Holes {
        Holes::find(room, 0..room.len(), Some(Reference::beside(meant, RATE as usize / 2)))
    }

    fn cut(sound: &mut [f32], start: usize, frames: usize) -> Gap {
        sound[start..start + frames].fill(0.0);
        Gap { start, frames }
    }

    #[test]
    fn a_cycle_that_the_player_missed_is_excused_and_a_stream_that_ran_dry_is_not() {
        let meant = meant();
        let mut room = delayed(&meant);
        let missed = [cut(&mut room, 187 * CYCLE, CYCLE), cut(&mut room, 300 * CYCLE, 4 * CYCLE)];
        let holes = judge(&room, &meant);
        assert_eq!((&holes.missed[..], holes.fault(RATE)), (&missed[..], None));
        let dry = [cut(&mut room, 400 * CYCLE, 900), cut(&mut room, 500 * CYCLE + 100, 2 * CYCLE)];
        let holes = judge(&room, &meant);
        assert_eq!((&holes.missed[..], &holes.own[..]), (&missed[..], &dry[..]));
        assert!(holes.fault(RATE).is_some_and(|fault| fault.contains("2 gaps")));
        assert_eq!(Holes::find(&room, 0..room.len(), None), holes, "a reference without holes changes nothing");
        assert_eq!(Holes::find(&room, 0..390 * CYCLE, None).own, []);
    }

    #[test]
    fn what_the_application_missed_is_excused_where_it_is_and_as_long_as_it_is() {
        let mut meant = meant();
        cut(&mut meant, 200 * CYCLE, 4 * CYCLE);
        let mut room = delayed(&meant);
        let passed_on = Gap { start: 200 * CYCLE + DELAY, frames: 4 * CYCLE };
        let holes = judge(&room, &meant);
        assert_eq!((&holes.passed_on[..], &holes.own[..]), (&[passed_on][..], &[][..]));
        // As a resampler leaves it.
        room[passed_on.start..passed_on.start + 30].fill(0.01);
        assert_eq!(judge(&room, &meant).own, []);
        // One hole does not excuse a longer one, nor another.
        cut(&mut room, passed_on.start, 4 * CYCLE + 300);
        cut(&mut room, 500 * CYCLE + 50, 100);
        assert_eq!(judge(&room, &meant).own.len(), 2);
    }

    #[test]
    fn another_recording_serves_as_reference() {
        let mut meant = meant();
        cut(&mut meant, 200 * CYCLE, 2 * CYCLE);
        let room = delayed(&meant);
        for shift in [0, 10 * CYCLE] {
            let early = [&vec![0.0; 20 * CYCLE][..], &meant].concat();
            let other = &early[20 * CYCLE - shift..];
            let holes = Holes::find(&room, 0..room.len(), Some(Reference::elsewhere(other)));
            assert_eq!((holes.passed_on.len(), holes.own.len()), (1, 0), "{holes:?}");
        }
        let late = &meant[40 * CYCLE..];
        let holes = Holes::find(&room, 0..room.len(), Some(Reference::elsewhere(late)));
        assert_eq!((holes.passed_on.len(), holes.own.len()), (1, 0), "{holes:?}");
        let deaf = noise(RATE, 1, 4.0, 0.5, 4).channels.remove(0);
        assert_eq!(Holes::find(&room, 0..room.len(), Some(Reference::elsewhere(&deaf))).own.len(), 1);
    }

    #[test]
    fn cycles_that_the_reference_lacks_altogether_are_excused() {
        let meant = meant();
        let mut room = delayed(&meant);
        cut(&mut room, 200 * CYCLE + DELAY, 8 * CYCLE);
        let lacking = [&meant[..200 * CYCLE], &meant[208 * CYCLE..]].concat();
        for reference in [Reference::elsewhere(&lacking), Reference::beside(&lacking, RATE as usize / 2)] {
            let holes = Holes::find(&room, 0..room.len(), Some(reference));
            assert_eq!((holes.passed_on.len(), holes.own.len()), (1, 0), "{holes:?}");
        }
        let elsewhere = [&meant[..500 * CYCLE], &meant[508 * CYCLE..]].concat();
        let lacking_less = [&meant[..200 * CYCLE], &meant[207 * CYCLE..]].concat();
        for reference in [&meant, &elsewhere, &lacking_less] {
            let holes = Holes::find(&room, 0..room.len(), Some(Reference::elsewhere(reference)));
            assert_eq!((holes.passed_on.len(), holes.own.len()), (0, 1), "{holes:?}");
        }
    }

    #[test]
    fn a_pause_of_the_sound_is_no_hole() {
        let mut meant = meant();
        cut(&mut meant, 50_000, 40_001);
        let holes = judge(&delayed(&meant), &meant);
        assert_eq!((holes.all().count(), holes.fault(RATE)), (0, None));
        let room = delayed(&meant);
        assert_eq!(share_heard(&meant, &room, RATE as usize / 4), Some(1.0));
        assert_eq!(share_heard(&meant, &vec![0.0; meant.len()], RATE as usize / 4), Some(0.0));
        assert_eq!(share_heard(&vec![0.0; 48_000], &room, RATE as usize / 4), None);
    }

    #[test]
    fn a_sender_that_missed_a_cycle_is_told_by_all_of_several_rooms() {
        let meant = meant();
        let mut room = delayed(&meant);
        cut(&mut room, 300 * CYCLE + 60, 2 * CYCLE);
        let judged = |rooms: &[&[f32]]| {
            let mut holes: Vec<Holes> = rooms.iter().map(|room| judge(room, &meant)).collect();
            Holes::compare(&mut holes);
            holes.iter().map(|holes| (holes.own.len(), holes.passed_on.len())).collect::<Vec<_>>()
        };
        let whole = delayed(&meant);
        assert_eq!(judged(&[&room, &room]), [(0, 1), (0, 1)]);
        assert_eq!(judged(&[&room, &whole]), [(1, 0), (0, 0)]);
        assert_eq!(judged(&[&room]), [(1, 0)], "one room is no witness of itself");
        cut(&mut room, 300 * CYCLE + 60, 700);
        assert_eq!(judged(&[&room, &room]), [(1, 0), (1, 0)], "not whole cycles");
    }

    #[test]
    fn what_a_machine_explains_has_a_limit() {
        let meant = meant();
        let mut room = delayed(&meant);
        cut(&mut room, 100_000, 5_000);
        let mut holes = judge(&room, &meant);
        holes.excuse(&[0.0..0.5, 2.0..2.01, 3.5..3.9], RATE);
        assert_eq!(holes.own.len(), 1, "neither then nor for long enough");
        holes.excuse(&[1.8..1.9], RATE);
        assert_eq!((holes.own.len(), holes.held_back.len(), holes.fault(RATE)), (0, 1, None));
        cut(&mut room, 50 * CYCLE, 200 * CYCLE);
        let holes = judge(&room, &meant);
        assert_eq!(holes.missed.len(), 1);
        let holes = Holes { own: Vec::new(), ..holes };
        assert!(holes.fault(RATE).is_some_and(|fault| fault.contains("too busy")), "{holes:?}");
    }
}

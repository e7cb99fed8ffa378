//! Several rooms under one fader: what it shows, and what becomes of each room when it is moved. No names and no sinks.
//!
//! A group shows the loudest of its rooms. Moving it moves all in proportion, which on the cubic scale keeps the difference in dB between
//! each two, and no room goes past its own limit. The proportions outlive what would lose them (a limit, silence, rounding) for as long as nobody
//! moves a room by itself. Mute is all or none: a group is mute when all of its rooms are.
//!
//! What a limit or rounding hides of the proportions each fader remembers by itself. Over silence the rooms remember it, each how loud it was: so
//! it is no matter whose fader brings them back, and none is stuck at nought.
//!
//! What a room's player pins takes no part: it could not be moved.

use std::collections::BTreeMap;

use crate::room::{RoomChange, RoomKey, RoomState};
use crate::volume::Volume;

/// Differences below this are those of rounding, on the way through gains and dB, in percentage points.
const ALIKE: f64 = 0.02;

/// What several rooms show as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupState {
    /// The volume of the loudest.
    pub volume: Volume,
    /// Whether all are mute.
    pub mute: bool,
}

impl GroupState {
    /// What these rooms show; `None` when there are none.
    #[must_use]
    pub fn of<'a>(rooms: impl IntoIterator<Item = &'a RoomState>) -> Option<Self> {
        let rooms: Vec<&RoomState> = rooms.into_iter().collect();
        let taking_part = |key: RoomKey| {
            let free: Vec<&RoomState> = rooms.iter().copied().filter(|room| !room.pinned.contains(&key)).collect();
            if free.is_empty() { rooms.clone() } else { free }
        };
        let volume = taking_part(RoomKey::Volume).into_iter().map(|room| room.volume).reduce(Volume::max)?;
        Some(Self { volume, mute: taking_part(RoomKey::Mute).into_iter().all(|room| room.mute) })
    }

    /// Whether a volume is the one shown, but for rounding.
    #[must_use]
    pub fn shows(&self, volume: Volume) -> bool {
        alike(self.volume, volume)
    }
}

/// The fader of a group, which remembers the proportions of its rooms. `K` names a room.
///
/// The level that it is at may be more than 100 %: so far would the loudest room have gone without its limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fader<K> {
    /// Where it is, percent.
    level: f64,
    strips: BTreeMap<K, Strip>,
    /// While a hand is on it.
    hand: Option<Hand>,
}

/// One room as the fader has left it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Strip {
    /// Its volume for each percent of the level, limits aside.
    share: f64,
    /// Where it was put.
    volume: Volume,
    /// Its limit then.
    limit: Volume,
    /// How loud it knows to have been, while it is silent.
    audible: Option<Volume>,
}

impl Strip {
    /// Whether the room is as the fader has left it.
    fn fits(&self, room: &RoomState) -> bool {
        // A player that remembers nothing has forgotten nothing.
        let remembers = || room.audible_volume.is_none_or(|audible| Some(audible) == self.audible);
        let silent = room.volume == Volume::SILENT;
        self.volume == room.volume && self.limit == room.max_volume && (!silent || remembers())
    }

    /// What has to be set at the room.
    fn change_of(&self, room: &RoomState) -> RoomChange {
        let volume = (self.volume != room.volume).then(|| self.volume.percent());
        let silent = self.volume == Volume::SILENT;
        let audible = self.audible.filter(|audible| silent && room.audible_volume != Some(*audible));
        RoomChange { volume, audible_volume: audible.map(Volume::percent), ..RoomChange::default() }
    }
}

/// Where the hand has taken the fader from, and to. Wherever it goes follows from these alone, so going back is going back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hand {
    from: Volume,
    from_level: f64,
    at: Volume,
}

impl<K> Default for Fader<K> {
    fn default() -> Self {
        Self { level: 0.0, strips: BTreeMap::new(), hand: None }
    }
}

impl<K: Ord + Clone> Fader<K> {
    /// What has to be set at each of `rooms` so that the group is at `volume` and is mute or not; what is `None` stays. Rooms that are
    /// as they should be are left out, and nothing changes when the group shows that volume already.
    ///
    /// Each room moves by the same factor. Down, the loudest comes to `volume`. Up, each goes as far as its limit, and none further than
    /// `volume` unless it was; so what the group shows afterwards may be less.
    pub fn set(
        &mut self,
        rooms: &BTreeMap<K, RoomState>,
        volume: Option<Volume>,
        mute: Option<bool>,
    ) -> Vec<(K, RoomChange)> {
        let Some(shown) = GroupState::of(rooms.values()) else { return Vec::new() };
        if !rooms.iter().all(|(key, room)| is_pinned(room) || self.left(key, room)) {
            // Somebody else has had a hand on a room since.
            self.release();
        }
        let at = self.hand.map_or(shown.volume, |hand| hand.at);
        // Silence is no rounding.
        let elsewhere = |volume: &Volume| !alike(*volume, at) || (*volume == Volume::SILENT) != (at == Volume::SILENT);
        let moved = match volume.filter(elsewhere) {
            Some(volume) => self.moved(rooms, shown.volume, volume),
            None => BTreeMap::new(),
        };
        let mute = mute.filter(|mute| shown.mute != *mute);
        let change = |(key, room): (&K, &RoomState)| {
            let mute = mute.filter(|mute| *mute != room.mute && !room.pinned.contains(&RoomKey::Mute));
            let moved = moved.get(key).map(|strip| strip.change_of(room)).unwrap_or_default();
            let change = RoomChange { mute, ..moved };
            (!change.is_empty()).then(|| (key.clone(), change))
        };
        rooms.iter().filter_map(change).collect()
    }

    /// Where the hand has the fader; `None` while it is left alone.
    #[must_use]
    pub fn hand(&self) -> Option<Volume> {
        self.hand.map(|hand| hand.at)
    }

    /// The hand has left the fader, and whoever had it there sees what the rooms show: the next movement starts from that.
    pub fn release(&mut self) {
        self.hand = None;
    }

    /// The rooms that take part as they are when the fader is moved to `wanted`.
    fn moved(&mut self, rooms: &BTreeMap<K, RoomState>, shown: Volume, wanted: Volume) -> BTreeMap<K, Strip> {
        let rooms: BTreeMap<&K, &RoomState> = rooms.iter().filter(|(_, room)| !is_pinned(room)).collect();
        self.look_at(&rooms, shown);
        let wanted = hundredths(wanted.percent());
        let hand = *self.hand.get_or_insert(Hand { from: shown, from_level: self.level, at: shown });
        self.level = self.level_for(&hand, wanted.percent());
        self.hand = Some(Hand { at: wanted, ..hand });
        let level = self.level;
        let moved = |(key, room): (&&K, &&RoomState)| {
            let strip = self.strips.get_mut(*key)?;
            // Rounding is not to be remembered: the share stays what it is.
            strip.volume = hundredths(level * strip.share).min(room.max_volume);
            strip.limit = room.max_volume;
            // Who falls silent was as loud as when the hand came. Who was silent before all others are stays so with them.
            let falls_silent = strip.volume == Volume::SILENT && (strip.share > 0.0 || level <= 0.0);
            if falls_silent && hand.from_level > 0.0 {
                strip.audible = Some(Volume::nearest(hand.from_level * strip.share).min(room.max_volume));
            }
            Some(((*key).clone(), *strip))
        };
        rooms.iter().filter_map(moved).collect()
    }

    /// Notes what others have done since the fader was moved last: a room that is elsewhere, or has another limit, has another share.
    fn look_at(&mut self, rooms: &BTreeMap<&K, &RoomState>, shown: Volume) {
        self.strips.retain(|key, _| rooms.contains_key(key));
        let all_known = rooms.iter().all(|(key, room)| self.left(key, room));
        let silent = shown == Volume::SILENT;
        let anew = match silent {
            // Nothing has a share of it, unless we have brought it there.
            true => !all_known || self.strips.values().all(|strip| strip.share <= 0.0),
            // At nought, a room that is elsewhere has no share of it; and with nothing to be heard before, there are no proportions.
            false => {
                let nothing = self.level <= 0.0 || self.strips.values().all(|strip| strip.volume == Volume::SILENT);
                !all_known && nothing
            }
        };
        if anew {
            self.strips.clear();
            self.level = shown.percent();
        }
        let loudest = rooms.values().filter_map(|room| room.audible_volume).fold(Volume::SILENT, Volume::max);
        for (key, room) in rooms {
            if !self.left(key, room) {
                let share = if self.level > 0.0 { room.volume.percent() / self.level } else { share_of(room, loudest) };
                let audible = room.audible_volume;
                let strip = Strip { share, volume: room.volume, limit: room.max_volume, audible };
                self.strips.insert((*key).clone(), strip);
            }
        }
    }

    /// Whether a room is as the fader has left it.
    fn left(&self, key: &K, room: &RoomState) -> bool {
        self.strips.get(key).is_some_and(|strip| strip.fits(room))
    }

    /// The level for a fader that the hand has moved to `wanted`.
    fn level_for(&self, hand: &Hand, wanted: f64) -> f64 {
        let shares = || self.strips.values().filter(|strip| strip.share > 0.0);
        // The least at which some room is as loud as that.
        let least =
            shares().filter(|strip| strip.limit.percent() >= wanted).map(|strip| wanted / strip.share).reduce(f64::min);
        // From there on all are at their limits.
        let most = || shares().map(|strip| strip.limit.percent() / strip.share).fold(0.0, f64::max);
        let from = hand.from.percent();
        if wanted < from {
            return least.unwrap_or(hand.from_level);
        }
        let in_proportion = match from > 0.0 {
            true => hand.from_level * wanted / from,
            // From silence: as if no room had a limit.
            false => wanted / shares().map(|strip| strip.share).fold(0.0, f64::max).max(f64::MIN_POSITIVE),
        };
        in_proportion.min(least.unwrap_or_else(most))
    }
}

/// The share of a silent room where the loudest of them was at `loudest`. Where nobody knows, all move alike.
fn share_of(room: &RoomState, loudest: Volume) -> f64 {
    match room.audible_volume {
        Some(audible) if loudest > Volume::SILENT => audible.percent() / loudest.percent(),
        _ => 1.0,
    }
}

fn is_pinned(room: &RoomState) -> bool {
    room.pinned.contains(&RoomKey::Volume)
}

/// Volumes are set in hundredths of a percent.
fn hundredths(percent: f64) -> Volume {
    Volume::nearest((percent * 100.0).round() / 100.0)
}

fn alike(one: Volume, other: Volume) -> bool {
    (one.percent() - other.percent()).abs() < ALIKE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A house whose rooms are numbered: volume and limit of each.
    struct House {
        rooms: BTreeMap<usize, RoomState>,
        fader: Fader<usize>,
    }

    impl House {
        fn new(rooms: &[(f64, f64)]) -> Self {
            let room = |(number, &(volume, limit)): (usize, &(f64, f64))| {
                let (volume, max_volume) = (Volume::nearest(volume), Volume::nearest(limit));
                (number, RoomState { volume, max_volume, ..RoomState::new("Room") })
            };
            House { rooms: rooms.iter().enumerate().map(room).collect(), fader: Fader::default() }
        }

        fn set(&mut self, volume: Option<f64>, mute: Option<bool>) -> Vec<f64> {
            for (key, change) in self.fader.set(&self.rooms, volume.map(Volume::nearest), mute) {
                let room = self.rooms.get_mut(&key).unwrap();
                *room = room.changed(&change).unwrap();
            }
            self.volumes()
        }

        /// A movement of its own.
        fn to(&mut self, percent: f64) -> Vec<f64> {
            self.fader.release();
            self.set(Some(percent), None)
        }

        /// One room by itself.
        fn one(&mut self, room: usize, change: &RoomChange) {
            let room = self.rooms.get_mut(&room).unwrap();
            *room = room.changed(change).unwrap();
        }

        fn volumes(&self) -> Vec<f64> {
            self.rooms.values().map(|room| room.volume.percent()).collect()
        }

        fn shown(&self) -> GroupState {
            GroupState::of(self.rooms.values()).unwrap()
        }
    }

    #[test]
    fn a_group_shows_its_loudest_room_and_moves_all_in_proportion() {
        let mut house = House::new(&[(20.0, 100.0), (80.0, 100.0)]);
        assert_eq!(house.shown(), GroupState { volume: Volume::nearest(80.0), mute: false });
        assert_eq!(house.to(40.0), [10.0, 40.0]);
        assert_eq!(house.to(100.0), [25.0, 100.0]);
        assert_eq!(house.to(100.01), [25.0, 100.0], "rounding is no change");
        assert_eq!(GroupState::of([]), None);
    }

    #[test]
    fn no_room_goes_past_its_limit_and_on_the_way_back_all_is_as_it_was() {
        let mut house = House::new(&[(20.0, 22.0), (40.0, 100.0)]);
        assert_eq!(house.to(80.0), [22.0, 80.0]);
        assert_eq!(house.to(40.0), [20.0, 40.0]);
        // All at their limits: nothing to be seen beyond.
        let mut house = House::new(&[(10.0, 30.0), (20.0, 30.0)]);
        assert_eq!(house.to(100.0), [30.0, 30.0]);
        assert_eq!(house.to(20.0), [10.0, 20.0]);
        // The loudest at its limit, which hides how far the other one has gone.
        let mut house = House::new(&[(30.0, 30.0), (15.0, 100.0)]);
        assert_eq!(house.to(100.0), [30.0, 50.0]);
        assert_eq!(house.to(40.0), [30.0, 40.0]);
        assert_eq!(house.to(30.0), [30.0, 15.0]);
        assert_eq!(house.to(15.0), [15.0, 7.5]);
    }

    #[test]
    fn a_movement_under_one_hand_is_undone_by_moving_back() {
        let mut house = House::new(&[(30.0, 30.0), (15.0, 100.0)]);
        for (to, other) in [(31.0, 15.5), (50.0, 25.0), (45.0, 22.5), (90.0, 45.0), (45.0, 22.5), (30.0, 15.0)] {
            assert_eq!(house.set(Some(to), None), [30.0, other], "at {to}");
        }
        // Steps, with a look at what the rooms show before each, do not stand still at the limit.
        let seen: Vec<f64> = (0..3).map(|_| house.to(house.shown().volume.percent() + 6.0)[1]).collect();
        assert_eq!(seen, [18.0, 21.6, 25.92]);
    }

    #[test]
    fn silence_and_rounding_lose_no_proportions() {
        let mut house = House::new(&[(20.0, 100.0), (80.0, 100.0)]);
        assert_eq!(house.to(0.0), [0.0, 0.0]);
        assert_eq!(house.to(40.0), [10.0, 40.0]);
        assert_eq!(house.to(0.02), [0.01, 0.02]);
        assert_eq!(house.to(100.0), [25.0, 100.0]);
        let mut silent = House::new(&[(0.0, 50.0), (0.0, 100.0)]);
        assert_eq!(silent.to(80.0), [50.0, 80.0], "without proportions all move alike");
    }

    #[test]
    fn whoever_silences_the_rooms_the_fader_brings_them_back() {
        // One room, as its own sink has it.
        let mut house = House::new(&[(80.0, 100.0)]);
        house.to(50.0);
        house.one(0, &RoomChange::volume(0.0));
        assert_eq!(house.to(30.0), [30.0]);
        // A group, of which others silence one room after the other, or all at once.
        let mut house = House::new(&[(20.0, 100.0), (80.0, 100.0)]);
        house.to(40.0);
        house.one(0, &RoomChange::volume(0.0));
        assert_eq!(house.to(60.0), [0.0, 60.0], "one that is silenced by itself stays so");
        house.one(1, &RoomChange::volume(0.0));
        assert_eq!(house.to(30.0), [5.0, 30.0], "as loud as each was when it was heard last");
        // Under one hand as well, and with nothing left to go by.
        house.one(0, &RoomChange::volume(0.0));
        house.one(1, &RoomChange::volume(0.0));
        assert_eq!(house.set(Some(60.0), None), [10.0, 60.0]);
        for room in house.rooms.values_mut() {
            (room.volume, room.audible_volume) = (Volume::SILENT, None);
        }
        assert_eq!(house.to(30.0), [30.0, 30.0], "players that do not remember");
        // The one that sounds goes away, and only one that has no share is left.
        let mut house = House::new(&[(20.0, 100.0), (80.0, 100.0)]);
        house.to(40.0);
        house.one(0, &RoomChange::volume(0.0));
        house.to(60.0);
        house.rooms.remove(&1);
        assert_eq!(house.to(25.0), [25.0]);
    }

    #[test]
    fn silence_loses_no_proportions_whose_fader_ever_ends_it() {
        // In one movement, and in many under one hand, of which the last ones are rounded to nothing.
        for way in [&[0.0][..], &[40.0, 1.0, 0.05, 0.01, 0.0]] {
            let mut house = House::new(&[(80.0, 100.0), (10.0, 100.0), (50.0, 30.0)]);
            way.iter().for_each(|to| drop(house.set(Some(*to), None)));
            assert_eq!(house.volumes(), [0.0, 0.0, 0.0]);
            house.fader = Fader::default();
            assert_eq!(house.to(80.0), [80.0, 10.0, 30.0], "after {way:?}");
        }
        // Each step by itself.
        let mut house = House::new(&[(80.0, 100.0), (10.0, 100.0)]);
        [20.0, 1.0, 0.0].into_iter().for_each(|to| drop(house.to(to)));
        house.fader = Fader::default();
        assert_eq!(house.to(80.0), [80.0, 10.0]);
        // What was silent among others that were not stays silent when they are back.
        let mut house = House::new(&[(80.0, 100.0), (10.0, 100.0)]);
        house.one(1, &RoomChange::volume(0.0));
        house.to(0.0);
        house.fader = Fader::default();
        assert_eq!(house.to(80.0), [80.0, 0.0]);
        // What others have done in between counts, though the rooms are where this fader has left them.
        let mut house = House::new(&[(80.0, 100.0), (10.0, 100.0)]);
        house.to(0.0);
        house.one(1, &RoomChange::volume(80.0));
        house.one(1, &RoomChange::volume(0.0));
        assert_eq!(house.to(40.0), [40.0, 40.0]);
        // Up from silence and back under one hand is as before.
        house.to(0.0);
        let before = house.rooms.clone();
        house.fader.release();
        [10.0, 70.0, 0.0].into_iter().for_each(|to| drop(house.set(Some(to), None)));
        assert_eq!(house.rooms, before);
    }

    #[test]
    fn what_is_done_to_one_room_counts() {
        let mut house = House::new(&[(20.0, 22.0), (40.0, 100.0)]);
        house.to(80.0);
        // Somebody turns one down by itself: this is its proportion now, and the other one's is kept.
        house.one(1, &RoomChange::volume(20.0));
        assert_eq!(house.volumes(), [22.0, 20.0]);
        assert_eq!(house.to(11.0), [11.0, 5.5]);
        // A limit that is taken away makes nothing louder by itself, nor with the next touch.
        let mut house = House::new(&[(20.0, 22.0), (40.0, 100.0)]);
        house.to(80.0);
        house.one(0, &RoomChange { max_volume: Some(100.0), ..RoomChange::default() });
        assert_eq!(house.to(84.0), [23.1, 84.0]);
        // Under one hand as well: the same place again is another movement then.
        let mut house = House::new(&[(20.0, 100.0), (40.0, 100.0)]);
        assert_eq!(house.set(Some(80.0), None), [40.0, 80.0]);
        house.one(1, &RoomChange::volume(100.0));
        assert_eq!(house.set(Some(80.0), None), [32.0, 80.0]);
        // One that is turned up out of silence.
        house.to(0.0);
        house.one(0, &RoomChange::volume(30.0));
        assert_eq!(house.to(60.0), [60.0, 0.0]);
    }

    #[test]
    fn rooms_that_come_and_go_disturb_nobody() {
        let mut house = House::new(&[(20.0, 100.0), (40.0, 100.0)]);
        house.to(20.0);
        let bath = house.rooms.remove(&0).unwrap();
        assert_eq!(house.to(40.0), [40.0]);
        house.rooms.insert(0, bath);
        assert_eq!(house.to(20.0), [5.0, 20.0]);
        house.rooms.insert(2, RoomState { volume: Volume::nearest(60.0), ..RoomState::new("Attic") });
        assert_eq!(house.to(30.0), [2.5, 10.0, 30.0]);
    }

    #[test]
    fn mute_mutes_all_and_shows_when_all_are() {
        let mut house = House::new(&[(20.0, 100.0), (80.0, 100.0)]);
        house.set(None, Some(true));
        assert!(house.rooms.values().all(|room| room.mute) && house.shown().mute);
        house.one(0, &RoomChange::mute(false));
        assert!(!house.shown().mute);
        assert_eq!(house.fader.set(&house.rooms, None, Some(true)).len(), 1, "only who is not mute is told");
        assert_eq!(house.volumes(), [20.0, 80.0]);
    }

    #[test]
    fn pinned_rooms_take_no_part() {
        let mut house = House::new(&[(90.0, 100.0), (40.0, 100.0), (20.0, 100.0)]);
        house.rooms.get_mut(&0).unwrap().pinned = vec![RoomKey::Volume, RoomKey::Mute];
        assert_eq!(house.shown().volume, Volume::nearest(40.0));
        assert_eq!(house.to(80.0), [90.0, 80.0, 40.0]);
        house.set(None, Some(true));
        assert!(house.shown().mute && !house.rooms[&0].mute);
        house.rooms.retain(|key, _| *key == 0);
        assert_eq!(house.shown().volume, Volume::nearest(90.0));
        assert_eq!(house.to(50.0), [90.0]);
    }

    /// What others may do between two movements of a fader.
    fn deeds() -> impl Strategy<Value = Vec<(usize, u32, bool)>> {
        let percent = prop_oneof![2 => Just(0u32), 1 => 0u32..=10_000];
        prop::collection::vec((0usize..6, percent, any::<bool>()), 0..16)
    }

    fn rooms() -> impl Strategy<Value = Vec<(f64, f64)>> {
        let room = (0u32..=10_000, 0u32..=10_000).prop_map(|(one, other)| {
            let (volume, limit) = (one.min(other), one.max(other));
            (f64::from(volume) / 100.0, f64::from(limit) / 100.0)
        });
        prop::collection::vec(room, 1..5)
    }

    proptest! {
        #[test]
        fn a_fader_is_never_stuck(rooms in rooms(), deeds in deeds(), to in 1u32..=10_000) {
            let mut house = House::new(&rooms);
            let mut away = BTreeMap::new();
            for (who, percent, release) in deeds {
                if release {
                    house.fader.release();
                }
                let percent = f64::from(percent) / 100.0;
                match who {
                    // The last one's place is the fader's own, and the one before takes rooms away and brings them back.
                    5 => drop(house.set(Some(percent), None)),
                    4 if away.is_empty() && house.rooms.len() > 1 => away.extend(house.rooms.pop_first()),
                    4 => house.rooms.append(&mut away),
                    room if house.rooms.contains_key(&room) => house.one(room, &RoomChange::volume(percent)),
                    _ => {}
                }
            }
            let limit = house.rooms.values().map(|room| room.max_volume).fold(Volume::SILENT, Volume::max);
            let to = f64::from(to) / 100.0;
            let silent = house.shown().volume == Volume::SILENT;
            house.to(to);
            let shown = house.shown().volume.percent();
            // A room that is silent by itself has no part in it, so what is reached may be less than the highest limit.
            prop_assert!(shown > 0.0 || limit == Volume::SILENT, "{:?} at {to}", house.rooms);
            if silent && to > ALIKE {
                prop_assert!(shown <= to);
            }
        }

        #[test]
        fn another_fader_goes_on_where_one_has_left_silence(
            rooms in prop::collection::vec(1u32..=10_000, 1..5),
            way in prop::collection::vec((1u32..=10_000, any::<bool>()), 0..6),
        ) {
            let rooms: Vec<(f64, f64)> = rooms.into_iter().map(|volume| (f64::from(volume) / 100.0, 100.0)).collect();
            let mut house = House::new(&rooms);
            let (before, begin) = (house.volumes(), house.shown().volume.percent());
            for (to, release) in way {
                house.set(Some(f64::from(to) / 100.0), None);
                if release {
                    house.fader.release();
                }
            }
            house.set(Some(0.0), None);
            house.fader = Fader::default();
            house.to(begin);
            prop_assert_eq!(house.volumes(), before);
        }

        #[test]
        fn wherever_the_fader_goes_it_comes_back(
            rooms in rooms(),
            way in prop::collection::vec((0u32..=10_000, any::<bool>()), 0..12),
        ) {
            let mut house = House::new(&rooms);
            let (before, begin) = (house.volumes(), house.shown().volume.percent());
            prop_assume!(begin > 0.02);
            let mut outside = false;
            for (to, release) in way {
                let (to, from) = (f64::from(to) / 100.0, house.shown().volume.percent());
                let was = house.volumes();
                if release {
                    house.fader.release();
                }
                let released = house.fader.hand.is_none();
                let now = house.set(Some(to), None);
                for (index, room) in house.rooms.values().enumerate() {
                    prop_assert!(room.volume.percent() <= room.max_volume.percent());
                    prop_assert!(now[index] <= was[index].max(to), "{} is louder than the fader at {to}", now[index]);
                    if released && to < from {
                        prop_assert!(now[index] <= was[index], "{} of {was:?} is louder on the way down", now[index]);
                    }
                }
                if released && to < from - ALIKE {
                    prop_assert_eq!(house.shown().volume.percent(), to);
                }
                outside |= house.shown().volume.percent() != begin;
            }
            // Past it, so that it is a movement.
            house.to(0.0);
            house.to(begin);
            prop_assert_eq!(house.volumes(), before, "outside: {}", outside);
        }
    }
}

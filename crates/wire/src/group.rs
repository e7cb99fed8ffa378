//! Several rooms under one fader: what it shows, and what becomes of each room when it is moved. No names and no sinks.
//!
//! A group shows the loudest of its rooms. Moving it moves all in proportion, which on the cubic scale keeps the difference in dB between
//! each two, and no room goes past its own limit. The proportions outlive what would lose them (a limit, silence, rounding) for as long as nobody
//! moves a room by itself. Mute is all or none: a group is mute when all of its rooms are.
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
        let moved = match volume.filter(|volume| !alike(*volume, at)) {
            Some(volume) => self.moved(rooms, shown.volume, volume),
            None => BTreeMap::new(),
        };
        let mute = mute.filter(|mute| shown.mute != *mute);
        let change = |(key, room): (&K, &RoomState)| {
            let volume = moved.get(key).filter(|volume| **volume != room.volume).map(|volume| volume.percent());
            let mute = mute.filter(|mute| *mute != room.mute && !room.pinned.contains(&RoomKey::Mute));
            let change = RoomChange { volume, mute, ..RoomChange::default() };
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

    /// The volumes of the rooms that take part when the fader is moved to `wanted`.
    fn moved(&mut self, rooms: &BTreeMap<K, RoomState>, shown: Volume, wanted: Volume) -> BTreeMap<K, Volume> {
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
            Some(((*key).clone(), strip.volume))
        };
        rooms.iter().filter_map(moved).collect()
    }

    /// Notes what others have done since the fader was moved last: a room that is elsewhere, or has another limit, has another share.
    fn look_at(&mut self, rooms: &BTreeMap<&K, &RoomState>, shown: Volume) {
        let all_known = rooms.iter().all(|(key, room)| self.left(key, room));
        // At nought, a room that is elsewhere has no share of it; and with nothing to be heard before, there are no proportions.
        if !all_known && (self.level <= 0.0 || self.strips.values().all(|strip| strip.volume == Volume::SILENT)) {
            self.strips.clear();
            self.level = shown.percent();
        }
        self.strips.retain(|key, _| rooms.contains_key(key));
        for (key, room) in rooms {
            if !self.left(key, room) {
                let share = if self.level > 0.0 { room.volume.percent() / self.level } else { 1.0 };
                let strip = Strip { share, volume: room.volume, limit: room.max_volume };
                self.strips.insert((*key).clone(), strip);
            }
        }
    }

    /// Whether a room is as the fader has left it.
    fn left(&self, key: &K, room: &RoomState) -> bool {
        self.strips.get(key).is_some_and(|strip| strip.volume == room.volume && strip.limit == room.max_volume)
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

    fn rooms() -> impl Strategy<Value = Vec<(f64, f64)>> {
        let room = (0u32..=10_000, 0u32..=10_000).prop_map(|(one, other)| {
            let (volume, limit) = (one.min(other), one.max(other));
            (f64::from(volume) / 100.0, f64::from(limit) / 100.0)
        });
        prop::collection::vec(room, 1..5)
    }

    proptest! {
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

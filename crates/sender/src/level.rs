//! The volume of several rooms together, as one slider and one mute.
//!
//! The loudest room is what a slider shows. Moving it moves all in proportion, which on the cubic scale keeps the difference in dB between
//! each two, and no room goes past its own limit. Mute is all or none: it shows when all are mute.

use std::collections::BTreeMap;

use audera_wire::{RoomChange, RoomState, Volume};

use crate::types::PlayerKey;

/// What a slider and a mute for several rooms show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The volume of the loudest.
    pub volume: Volume,
    /// Whether all are mute.
    pub mute: bool,
}

impl Level {
    /// Differences in volume below this are those of rounding, in percentage points.
    pub const ALIKE: f64 = 0.02;

    /// Of these rooms; `None` for none.
    pub fn of<'a>(rooms: impl IntoIterator<Item = &'a RoomState>) -> Option<Level> {
        rooms.into_iter().fold(None, |level: Option<Level>, room| {
            let level = level.unwrap_or(Level { volume: Volume::SILENT, mute: true });
            Some(Level { volume: level.volume.max(room.volume), mute: level.mute && room.mute })
        })
    }
}

/// Proportions of rooms that were moved down to nought together, and have none any more.
#[derive(Debug, Default)]
pub struct Proportions(BTreeMap<PlayerKey, f64>);

impl Proportions {
    /// The volumes that rooms get when they are moved to `wanted` together.
    fn moved(&mut self, rooms: &BTreeMap<PlayerKey, RoomState>, wanted: Volume) -> BTreeMap<PlayerKey, Volume> {
        let loudest = Level::of(rooms.values()).map_or(Volume::SILENT, |level| level.volume).percent();
        if loudest > 0.0 {
            self.0 = rooms.iter().map(|(key, room)| (key.clone(), room.volume.percent() / loudest)).collect();
        }
        let volume = |(key, room): (&PlayerKey, &RoomState)| {
            let share = self.0.get(key).copied().unwrap_or(1.0);
            let hundredths = (wanted.percent() * share * 100.0).round();
            (key.clone(), Volume::nearest(hundredths / 100.0).min(room.max_volume))
        };
        rooms.iter().map(volume).collect()
    }

    /// What has to be set at each room after somebody has moved the slider, or set the mute, of all of them.
    pub fn changes(
        &mut self,
        rooms: &BTreeMap<PlayerKey, RoomState>,
        volume: Option<Volume>,
        mute: Option<bool>,
    ) -> Vec<(PlayerKey, RoomChange)> {
        let Some(level) = Level::of(rooms.values()) else { return Vec::new() };
        let differs = |volume: &Volume| (level.volume.percent() - volume.percent()).abs() >= Level::ALIKE;
        let moved = match volume.filter(differs) {
            Some(wanted) => self.moved(rooms, wanted),
            None => BTreeMap::new(),
        };
        let mute = mute.filter(|mute| level.mute != *mute);
        let change = |(key, room): (&PlayerKey, &RoomState)| {
            let volume = moved.get(key).filter(|volume| **volume != room.volume).map(|volume| volume.percent());
            let change = RoomChange { volume, mute: mute.filter(|mute| *mute != room.mute), ..RoomChange::default() };
            (!change.is_empty()).then(|| (key.clone(), change))
        };
        rooms.iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(volumes: &[(&str, f64, f64)]) -> BTreeMap<PlayerKey, RoomState> {
        let room = |&(name, volume, limit): &(&str, f64, f64)| {
            let (volume, max_volume) = (Volume::nearest(volume), Volume::nearest(limit));
            (PlayerKey::Discovered(name.to_owned()), RoomState { volume, max_volume, ..RoomState::new(name) })
        };
        volumes.iter().map(room).collect()
    }

    fn move_to(rooms: &mut BTreeMap<PlayerKey, RoomState>, proportions: &mut Proportions, percent: f64) -> Vec<f64> {
        for (key, change) in proportions.changes(rooms, Some(Volume::nearest(percent)), None) {
            let room = rooms.get_mut(&key).unwrap();
            *room = room.changed(&change).unwrap();
        }
        rooms.values().map(|room| room.volume.percent()).collect()
    }

    #[test]
    fn a_group_shows_its_loudest_room_and_moves_all_in_proportion() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        assert_eq!(Level::of(rooms.values()), Some(Level { volume: Volume::nearest(80.0), mute: false }));
        assert_eq!(move_to(&mut rooms, &mut proportions, 40.0), [10.0, 40.0]);
        assert_eq!(move_to(&mut rooms, &mut proportions, 100.0), [25.0, 100.0]);
        assert!(proportions.changes(&rooms, Some(Volume::FULL), Some(false)).is_empty());
    }

    #[test]
    fn no_room_goes_past_its_limit() {
        let mut rooms = rooms(&[("Bath", 20.0, 22.0), ("Kitchen", 40.0, 100.0)]);
        assert_eq!(move_to(&mut rooms, &mut Proportions::default(), 80.0), [22.0, 80.0]);
    }

    #[test]
    fn proportions_survive_silence() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        assert_eq!(move_to(&mut rooms, &mut proportions, 0.0), [0.0, 0.0]);
        assert_eq!(move_to(&mut rooms, &mut proportions, 40.0), [10.0, 40.0]);
    }

    #[test]
    fn mute_mutes_all_and_shows_when_all_are() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        for (key, change) in proportions.changes(&rooms.clone(), None, Some(true)) {
            let room = rooms.get_mut(&key).unwrap();
            *room = room.changed(&change).unwrap();
        }
        assert!(rooms.values().all(|room| room.mute) && Level::of(rooms.values()).unwrap().mute);
        rooms.values_mut().next().unwrap().mute = false;
        assert!(!Level::of(rooms.values()).unwrap().mute);
        assert_eq!(proportions.changes(&rooms, None, Some(true)).len(), 1, "only who is not mute is told");
    }
}

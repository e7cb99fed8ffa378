//! The volume of a sink, which is that of its room, or of its rooms together.
//!
//! A sink of several rooms shows the loudest of them. Moving it moves all in proportion, which on the cubic scale keeps the difference in
//! dB between each two, and no room goes past its own limit. Mute is all or none: the sink shows it when all are mute.

use std::collections::BTreeMap;

use audera_pw::NodeVolume;
use audera_sender::{PlayerKey, RoomChange, RoomState, Volume};

/// Differences below this are those of rounding, in percentage points.
const ALIKE: f64 = 0.02;

/// What a sink shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    pub(crate) volume: Volume,
    pub(crate) mute: bool,
}

/// What the sink of these rooms shows; `None` for none.
pub(crate) fn shown<'a>(rooms: impl IntoIterator<Item = &'a RoomState>) -> Option<Shown> {
    rooms.into_iter().fold(None, |shown: Option<Shown>, room| {
        let shown = shown.unwrap_or(Shown { volume: Volume::SILENT, mute: true });
        Some(Shown { volume: shown.volume.max(room.volume), mute: shown.mute && room.mute })
    })
}

/// Whether a node's volumes say the same as `shown`: on all channels, but for rounding.
pub(crate) fn says(node: &NodeVolume, shown: Shown) -> bool {
    let alike =
        |gain: &f32| (Volume::from_gain(*gain).percent() - shown.volume.percent()).abs() < ALIKE && *gain < 1.01;
    !node.channels.is_empty() && node.channels.iter().all(alike) && node.mute == Some(shown.mute)
}

/// Proportions of rooms that were moved down to nought together, and have none any more.
#[derive(Debug, Default)]
pub(crate) struct Proportions(BTreeMap<PlayerKey, f64>);

impl Proportions {
    /// The volumes that rooms get when their sink is moved to `wanted`.
    pub(crate) fn moved(
        &mut self,
        rooms: &BTreeMap<PlayerKey, RoomState>,
        wanted: Volume,
    ) -> BTreeMap<PlayerKey, Volume> {
        let loudest = shown(rooms.values()).map_or(Volume::SILENT, |shown| shown.volume).percent();
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
}

/// What has to be set at each room after somebody has set the sink's node; the volume of the loudest channel counts.
pub(crate) fn changes(
    proportions: &mut Proportions,
    rooms: &BTreeMap<PlayerKey, RoomState>,
    set: &NodeVolume,
) -> Vec<(PlayerKey, RoomChange)> {
    let loudest = set.channels.iter().copied().reduce(f32::max).map(Volume::from_gain);
    let shown = shown(rooms.values());
    let differs =
        |volume: &Volume| shown.is_some_and(|shown| (shown.volume.percent() - volume.percent()).abs() >= ALIKE);
    let moved = match loudest.filter(differs) {
        Some(wanted) => proportions.moved(rooms, wanted),
        None => BTreeMap::new(),
    };
    let mute = set.mute.filter(|mute| shown.is_some_and(|shown| shown.mute != *mute));
    let change = |(key, room): (&PlayerKey, &RoomState)| {
        let volume = moved.get(key).filter(|volume| **volume != room.volume).map(|volume| volume.percent());
        let change = RoomChange { volume, mute: mute.filter(|mute| *mute != room.mute), ..RoomChange::default() };
        (!change.is_empty()).then(|| (key.clone(), change))
    };
    rooms.iter().filter_map(change).collect()
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

    fn node(percent: &[f64], mute: Option<bool>) -> NodeVolume {
        NodeVolume { channels: percent.iter().map(|percent| Volume::nearest(*percent).gain()).collect(), mute }
    }

    fn apply(rooms: &mut BTreeMap<PlayerKey, RoomState>, proportions: &mut Proportions, set: &NodeVolume) -> Vec<f64> {
        for (key, change) in changes(proportions, rooms, set) {
            let room = rooms.get_mut(&key).unwrap();
            *room = room.changed(&change).unwrap();
        }
        rooms.values().map(|room| room.volume.percent()).collect()
    }

    #[test]
    fn a_group_shows_its_loudest_room_and_moves_all_in_proportion() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        assert_eq!(shown(rooms.values()), Some(Shown { volume: Volume::nearest(80.0), mute: false }));
        assert_eq!(apply(&mut rooms, &mut proportions, &node(&[40.0, 40.0], None)), [10.0, 40.0]);
        assert_eq!(apply(&mut rooms, &mut proportions, &node(&[100.0, 100.0], None)), [25.0, 100.0]);
    }

    #[test]
    fn no_room_goes_past_its_limit() {
        let mut rooms = rooms(&[("Bath", 20.0, 22.0), ("Kitchen", 40.0, 100.0)]);
        assert_eq!(apply(&mut rooms, &mut Proportions::default(), &node(&[80.0, 80.0], None)), [22.0, 80.0]);
    }

    #[test]
    fn proportions_survive_silence() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        assert_eq!(apply(&mut rooms, &mut proportions, &node(&[0.0, 0.0], None)), [0.0, 0.0]);
        assert_eq!(apply(&mut rooms, &mut proportions, &node(&[40.0, 40.0], None)), [10.0, 40.0]);
    }

    #[test]
    fn mute_mutes_all_and_shows_when_all_are() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0), ("Kitchen", 80.0, 100.0)]);
        let mut proportions = Proportions::default();
        apply(&mut rooms, &mut proportions, &node(&[], Some(true)));
        assert!(rooms.values().all(|room| room.mute) && shown(rooms.values()).unwrap().mute);
        rooms.values_mut().next().unwrap().mute = false;
        assert!(!shown(rooms.values()).unwrap().mute);
        assert_eq!(changes(&mut proportions, &rooms, &node(&[], Some(true))).len(), 1, "only who is not mute is told");
    }

    #[test]
    fn the_loudest_channel_counts_and_rounding_is_no_change() {
        let mut rooms = rooms(&[("Bath", 20.0, 100.0)]);
        let mut proportions = Proportions::default();
        assert!(changes(&mut proportions, &rooms, &node(&[20.01, 20.01], Some(false))).is_empty());
        assert_eq!(apply(&mut rooms, &mut proportions, &node(&[10.0, 50.0], None)), [50.0]);
        let shown = shown(rooms.values()).unwrap();
        assert!(!says(&node(&[10.0, 50.0], Some(false)), shown), "a balance is not kept");
        assert!(says(&node(&[50.01, 49.99], Some(false)), shown));
        assert!(!says(&node(&[50.0, 50.0], None), shown) && !says(&NodeVolume::default(), shown));
    }
}

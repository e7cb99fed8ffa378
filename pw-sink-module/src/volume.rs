//! The volume of a sink's node, and the level of its rooms that it is a picture of.

use std::collections::BTreeMap;

use audera_pw::NodeVolume;
use audera_sender::{Level, PlayerKey, Proportions, RoomChange, RoomState, Volume};

/// Whether a node's volumes say the same as `level`: on all channels, but for rounding.
pub(crate) fn says(node: &NodeVolume, level: Level) -> bool {
    let alike =
        |gain: &f32| (Volume::from_gain(*gain).percent() - level.volume.percent()).abs() < Level::ALIKE && *gain < 1.01;
    !node.channels.is_empty() && node.channels.iter().all(alike) && node.mute == Some(level.mute)
}

/// What has to be set at each room after somebody has set the sink's node; the volume of the loudest channel counts.
pub(crate) fn changes(
    proportions: &mut Proportions,
    rooms: &BTreeMap<PlayerKey, RoomState>,
    set: &NodeVolume,
) -> Vec<(PlayerKey, RoomChange)> {
    let loudest = set.channels.iter().copied().reduce(f32::max).map(Volume::from_gain);
    proportions.changes(rooms, loudest, set.mute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(percent: &[f64], mute: Option<bool>) -> NodeVolume {
        NodeVolume { channels: percent.iter().map(|percent| Volume::nearest(*percent).gain()).collect(), mute }
    }

    #[test]
    fn the_loudest_channel_counts_and_rounding_is_no_change() {
        let (key, bath) = (PlayerKey::Discovered("Bath".to_owned()), RoomState::new("Bath"));
        let mut rooms = BTreeMap::from([(key, RoomState { volume: Volume::nearest(20.0), ..bath })]);
        let mut proportions = Proportions::default();
        assert!(changes(&mut proportions, &rooms, &node(&[20.01, 20.01], Some(false))).is_empty());
        for (key, change) in changes(&mut proportions, &rooms, &node(&[10.0, 50.0], None)) {
            let room = rooms.get_mut(&key).unwrap();
            *room = room.changed(&change).unwrap();
        }
        let level = Level::of(rooms.values()).unwrap();
        assert_eq!(level.volume.percent(), 50.0);
        assert!(!says(&node(&[10.0, 50.0], Some(false)), level), "a balance is not kept");
        assert!(says(&node(&[50.01, 49.99], Some(false)), level));
        assert!(!says(&node(&[50.0, 50.0], None), level) && !says(&NodeVolume::default(), level));
    }
}

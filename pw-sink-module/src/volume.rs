//! The volume of a sink's node against that of its rooms: gains of channels on one side, one volume and mute on the other.

use audera_pw::NodeVolume;
use audera_sender::{GroupState, Volume};

/// Whether a node's volumes say the same as `shown`: on all channels, but for rounding.
pub(crate) fn says(node: &NodeVolume, shown: GroupState) -> bool {
    let alike = |gain: &f32| shown.shows(Volume::from_gain(*gain)) && *gain < 1.01;
    !node.channels.is_empty() && node.channels.iter().all(alike) && node.mute == Some(shown.mute)
}

/// The volume that somebody has set at a node: that of its loudest channel, as rooms have no balance.
pub(crate) fn wanted(node: &NodeVolume) -> Option<Volume> {
    node.channels.iter().copied().reduce(f32::max).map(Volume::from_gain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(percent: &[f64], mute: Option<bool>) -> NodeVolume {
        NodeVolume { channels: percent.iter().map(|percent| Volume::nearest(*percent).gain()).collect(), mute }
    }

    #[test]
    fn the_loudest_channel_counts_and_a_balance_is_not_kept() {
        let set = node(&[10.0, 50.0], Some(false));
        assert_eq!(wanted(&set), Some(Volume::nearest(50.0)));
        assert_eq!(wanted(&node(&[], Some(true))), None);
        let shown = GroupState { volume: Volume::nearest(50.0), mute: false };
        assert!(!says(&set, shown));
        assert!(says(&node(&[50.01, 49.99], Some(false)), shown), "rounding is no difference");
        assert!(!says(&node(&[50.0, 50.0], None), shown) && !says(&NodeVolume::default(), shown));
    }
}

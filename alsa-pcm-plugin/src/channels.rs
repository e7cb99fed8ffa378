//! What the channels are: in the order that ALSA's applications expect, and in that of Audera's streams.

use audera_alsa_plugin::{ChannelMap, ChannelMapKind};

/// Positions of alsa-lib (`enum snd_pcm_chmap_position`).
const MONO: u32 = 2;
const FL: u32 = 3;
const FR: u32 = 4;
const RL: u32 = 5;
const RR: u32 = 6;
const FC: u32 = 7;
const LFE: u32 = 8;
const SL: u32 = 9;
const SR: u32 = 10;
const RC: u32 = 11;

/// The order that applications use which do not ask: that of the PCMs `surround40`, `surround51`, ...
const USUAL: [&[u32]; 8] = [
    &[MONO],
    &[FL, FR],
    &[FL, FR, LFE],
    &[FL, FR, RL, RR],
    &[FL, FR, RL, RR, FC],
    &[FL, FR, RL, RR, FC, LFE],
    &[FL, FR, SL, SR, FC, LFE, RC],
    &[FL, FR, RL, RR, FC, LFE, SL, SR],
];

/// The order of the channels in a stream: that of WAV files and of the sinks that PipeWire shows.
const STREAM: [&[u32]; 8] = [
    &[MONO],
    &[FL, FR],
    &[FL, FR, LFE],
    &[FL, FR, RL, RR],
    &[FL, FR, FC, RL, RR],
    &[FL, FR, FC, LFE, RL, RR],
    &[FL, FR, FC, LFE, RC, SL, SR],
    &[FL, FR, FC, LFE, RL, RR, SL, SR],
];

/// In a stream that has no channels at the side, those are the rear ones: 4.0, 5.0 and 5.1 are called either way.
const ALIKE: [(u32, u32); 2] = [(RL, SL), (RR, SR)];

/// What an application's channels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    positions: Vec<u32>,
    /// For each channel of the stream, which of the application's it is; empty if the order is the same.
    order: Vec<usize>,
}

impl Map {
    /// As the application says; `None` unless each channel of a stream with so many `channels` is there.
    pub(crate) fn new(positions: &[u32], channels: usize) -> Option<Map> {
        let stream = of(&STREAM, channels);
        if positions.len() != stream.len() {
            return None;
        }
        let find = |wanted: u32| positions.iter().position(|position| *position == wanted);
        let place = |wanted: &u32| {
            let other = ALIKE.iter().find(|(rear, _)| rear == wanted).map(|(_, side)| *side);
            find(*wanted).or_else(|| other.filter(|side| !stream.contains(side)).and_then(find))
        };
        let order: Vec<usize> = stream.iter().map(place).collect::<Option<_>>()?;
        let same = order.iter().enumerate().all(|(n, place)| n == *place);
        Some(Map { positions: positions.to_vec(), order: if same { Vec::new() } else { order } })
    }

    /// As applications have it that do not say.
    pub(crate) fn usual(channels: usize) -> Map {
        Map::new(of(&USUAL, channels), channels).unwrap_or(Map { positions: vec![0; channels], order: Vec::new() })
    }

    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }

    pub(crate) fn order(&self) -> Channels<'_> {
        Channels { count: self.positions.len(), order: &self.order }
    }
}

/// How many channels there are, and for each of the stream which of the application's it is (empty: the same).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels<'a> {
    pub(crate) count: usize,
    pub(crate) order: &'a [usize],
}

/// The maps of up to so many channels; applications may put them into any order.
pub(crate) fn all(most: usize) -> Vec<ChannelMap> {
    USUAL[..most.min(USUAL.len())]
        .iter()
        .map(|positions| ChannelMap {
            kind: if positions.len() == 1 { ChannelMapKind::Fixed } else { ChannelMapKind::Any },
            positions: positions.to_vec(),
        })
        .collect()
}

fn of(maps: &[&'static [u32]; 8], channels: usize) -> &'static [u32] {
    channels.checked_sub(1).and_then(|at| maps.get(at)).copied().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_of_a_stream_is_one_of_the_application() {
        for channels in 1..=8 {
            let map = Map::usual(channels);
            assert_eq!(map.positions().len(), channels);
            for (n, wanted) in of(&STREAM, channels).iter().enumerate() {
                let place = map.order().order.get(n).copied().unwrap_or(n);
                assert_eq!(map.positions()[place], *wanted, "channel {n} of {channels}");
            }
        }
        assert_eq!(Map::usual(6).order().order, [0, 1, 4, 5, 2, 3]);
    }

    #[test]
    fn an_application_may_order_its_channels_but_not_have_others() {
        assert_eq!(Map::new(&[FR, FL], 2).unwrap().order().order, [1, 0]);
        assert!(Map::new(STREAM[5], 6).unwrap().order().order.is_empty());
        assert_eq!(Map::new(&[FL, FL], 2), None);
        assert_eq!(Map::new(&[FL, FR, FC, LFE, SL, SR], 6).unwrap().order().order, [0; 0]);
        assert_eq!(Map::new(&[FL, FR, SL, SR, FC], 5).unwrap().order().order, [0, 1, 4, 2, 3]);
        assert_eq!(Map::new(&[SR, SL, FR, FL], 4).unwrap().order().order, [3, 2, 1, 0]);
        assert_eq!(Map::new(&[FL, FR, RL, RR, FC, LFE, RC, RC], 8), None);
        assert_eq!(Map::new(&[FL, FR, RL, RR, FC, LFE, RC], 7), None, "these have both");
        assert_eq!(Map::new(&[FL, FR, LFE], 2), None);
        assert_eq!(Map::new(&[], 0).map(|map| map.positions().len()), Some(0));
    }
}

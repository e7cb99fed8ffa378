//! The order of channels: a stream's is that of WAV files (FL FR FC LFE RL RR), a card's often another (FL FR RL RR FC LFE).
//!
//! The device is asked for the stream's order (`snd_pcm_set_chmap`); where it keeps to its own, samples are put into that.

use std::fmt::Write as _;

use alsa::pcm::{Chmap, ChmapPosition, PCM};
use audera_clock::PlayerTime;
use audera_pw::Channel;

use crate::output::Pull;

/// The order of devices that do not tell, as alsa-lib has it in its PCMs `surround40` to `surround71`; for 4 channels and more.
const USUAL: [&str; 5] =
    ["FL FR RL RR", "FL FR RL RR FC", "FL FR RL RR FC LFE", "FL FR SL SR FC LFE RC", "FL FR RL RR FC LFE SL SR"];

/// Channels that stand in for each other: many cards call the one pair that is not in front sides, many files rears.
const ALIKE: [(&str, &str); 2] = [("RL", "SL"), ("RR", "SR")];

/// Whether a channel of a stream may be played by one of a device, by their names.
type Rule<'a> = &'a dyn Fn(&str, &str) -> bool;

/// For each channel of a device, which of the stream it plays; empty where the order is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order(Vec<usize>);

impl Order {
    /// Settles the order with a device that has been set up for so many channels.
    pub fn settle(pcm: &PCM, channels: u16) -> Self {
        let channels = usize::from(channels);
        // One or two are the same everywhere.
        if channels <= 2 {
            return Self::default();
        }
        let stream: Vec<Channel> = Channel::usual(channels);
        let names: Vec<String> = stream.iter().map(ToString::to_string).collect();
        let told = || Some(map_of(pcm)?).filter(|map| map.len() == channels);
        let mut map = told();
        if map.as_ref().is_some_and(|map| *map != names) {
            let positions: Option<Vec<ChmapPosition>> = stream.iter().map(|channel| position(*channel)).collect();
            if positions.is_some_and(|positions| pcm.set_chmap(&Chmap::from(&positions[..])).is_ok()) {
                map = told();
            }
        }
        let map = map.or_else(|| {
            let usual = USUAL.get(channels.checked_sub(4)?)?;
            Some(usual.split(' ').map(str::to_owned).collect())
        });
        let order = map.as_ref().map_or_else(Self::default, |map| Self::between(&names, map));
        tracing::debug!(?map, order = ?order.0, "the device's channels");
        order
    }

    /// From a stream's channels to those of a device, by their names. What has no place of its own gets one that is left.
    fn between(stream: &[String], device: &[String]) -> Self {
        let mut left: Vec<usize> = (0..stream.len()).collect();
        let mut order: Vec<Option<usize>> = vec![None; device.len()];
        let alike = |one: &str, other: &str| ALIKE.iter().any(|pair| *pair == (one, other) || *pair == (other, one));
        let same = |one: &str, other: &str| one == other;
        let rules: [Rule<'_>; 3] = [&same, &alike, &|_, _| true];
        for rule in rules {
            for (place, name) in order.iter_mut().zip(device).filter(|(place, _)| place.is_none()) {
                if let Some(at) = left.iter().position(|channel| rule(&stream[*channel], name)) {
                    *place = Some(left.remove(at));
                }
            }
        }
        let order: Vec<usize> = order.into_iter().flatten().collect();
        if order.iter().enumerate().all(|(at, channel)| at == *channel) { Self::default() } else { Self(order) }
    }

    /// Puts interleaved samples into the device's order; `frame` has room for one frame. Real-time safe.
    fn apply(&self, samples: &mut [f32], frame: &mut [f32]) {
        if self.0.is_empty() {
            return;
        }
        for place in samples.chunks_exact_mut(self.0.len()) {
            frame.copy_from_slice(place);
            for (sample, channel) in place.iter_mut().zip(&self.0) {
                *sample = frame[*channel];
            }
        }
    }
}

/// The names of a device's channels; `None` if it does not tell them.
fn map_of(pcm: &PCM) -> Option<Vec<String>> {
    // As text: `Chmap` itself panics at positions that it does not know.
    let mut text = String::new();
    write!(text, "{}", pcm.get_chmap().ok()?).ok()?;
    let names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    names.iter().all(|name| !["UNKNOWN", "NA"].contains(&name.as_str())).then_some(names)
}

fn position(channel: Channel) -> Option<ChmapPosition> {
    Some(match channel {
        Channel::Mono => ChmapPosition::Mono,
        Channel::FrontLeft => ChmapPosition::FL,
        Channel::FrontRight => ChmapPosition::FR,
        Channel::FrontCenter => ChmapPosition::FC,
        Channel::LowFrequency => ChmapPosition::LFE,
        Channel::SideLeft => ChmapPosition::SL,
        Channel::SideRight => ChmapPosition::SR,
        Channel::RearLeft => ChmapPosition::RL,
        Channel::RearRight => ChmapPosition::RR,
        Channel::RearCenter => ChmapPosition::RC,
        _ => return None,
    })
}

/// A source whose channels come in the device's order.
pub(super) struct Ordered<P> {
    pull: P,
    order: Order,
    frame: Vec<f32>,
}

impl<P: Pull> Ordered<P> {
    pub fn new(pull: P, order: Order) -> Self {
        let frame = vec![0.0; order.0.len()];
        Self { pull, order, frame }
    }
}

impl<P: Pull> Pull for Ordered<P> {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        self.pull.pull(at, out);
        self.order.apply(out, &mut self.frame);
    }

    fn device_reset(&mut self) {
        self.pull.device_reset();
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn stream(channels: usize) -> Vec<String> {
        Channel::usual(channels).iter().map(ToString::to_string).collect()
    }

    /// What each channel of the device plays, by name.
    fn played(channels: usize, device: &str) -> String {
        let (stream, device) = (stream(channels), names(device));
        let order = Order::between(&stream, &device);
        let mut samples: Vec<f32> = (0..2 * channels).map(|n| (n % channels) as f32).collect();
        let mut frame = vec![0.0; order.0.len()];
        assert_no_alloc(|| order.apply(&mut samples, &mut frame));
        assert_eq!(samples[..channels], samples[channels..]);
        samples[..channels].iter().map(|sample| stream[*sample as usize].as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_channel_comes_to_its_own_loudspeaker() {
        for (channels, usual) in (4..).zip(USUAL) {
            assert_eq!(played(channels, usual), usual);
            assert_eq!(played(channels, &stream(channels).join(" ")), stream(channels).join(" "));
        }
        assert_eq!(Order::between(&stream(6), &stream(6)), Order::default());
        // Sides for rears; and nothing is lost where a device has other names.
        assert_eq!(played(6, "FL FR SL SR FC LFE"), "FL FR RL RR FC LFE");
        assert_eq!(played(6, "LFE FC TFL TFR FR FL"), "LFE FC RL RR FR FL");
        assert_eq!(played(8, "FL FR SL SR FC LFE RL RR"), "FL FR SL SR FC LFE RL RR");
    }
}

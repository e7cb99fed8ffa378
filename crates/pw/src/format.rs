//! Audio formats and latencies as the parameters that streams exchange with the graph.

use std::fmt;
use std::time::Duration;

use libspa::pod::serialize::PodSerializer;
use libspa::pod::{Object, Property, Value, ValueArray};
use libspa::utils::Id;
use libspa_sys as spa;

/// The most channels a stream may have.
pub const MAX_CHANNELS: usize = 8;

/// Where a channel belongs in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// The only one.
    Mono,
    /// Front left.
    FrontLeft,
    /// Front right.
    FrontRight,
    /// Front centre.
    FrontCenter,
    /// Low frequency effects.
    LowFrequency,
    /// Side left.
    SideLeft,
    /// Side right.
    SideRight,
    /// Rear left.
    RearLeft,
    /// Rear right.
    RearRight,
    /// Rear centre.
    RearCenter,
    /// Without a place: the n-th of some, from 0 to 63.
    Aux(u8),
}

impl Channel {
    /// The usual layout of 1 to [`MAX_CHANNELS`] channels; plain numbered ones where none is usual.
    pub fn usual(channels: usize) -> Vec<Self> {
        use Channel::{
            FrontCenter, FrontLeft, FrontRight, LowFrequency, Mono, RearCenter, RearLeft, RearRight, SideLeft,
            SideRight,
        };
        match channels {
            1 => vec![Mono],
            2 => vec![FrontLeft, FrontRight],
            3 => vec![FrontLeft, FrontRight, LowFrequency],
            4 => vec![FrontLeft, FrontRight, RearLeft, RearRight],
            5 => vec![FrontLeft, FrontRight, FrontCenter, RearLeft, RearRight],
            6 => vec![FrontLeft, FrontRight, FrontCenter, LowFrequency, RearLeft, RearRight],
            7 => vec![FrontLeft, FrontRight, FrontCenter, LowFrequency, RearCenter, SideLeft, SideRight],
            8 => vec![FrontLeft, FrontRight, FrontCenter, LowFrequency, RearLeft, RearRight, SideLeft, SideRight],
            n => (0..n.min(64)).map(|n| Self::Aux(u8::try_from(n).unwrap_or(63))).collect(),
        }
    }

    fn to_raw(self) -> u32 {
        match self {
            Self::Mono => spa::SPA_AUDIO_CHANNEL_MONO,
            Self::FrontLeft => spa::SPA_AUDIO_CHANNEL_FL,
            Self::FrontRight => spa::SPA_AUDIO_CHANNEL_FR,
            Self::FrontCenter => spa::SPA_AUDIO_CHANNEL_FC,
            Self::LowFrequency => spa::SPA_AUDIO_CHANNEL_LFE,
            Self::SideLeft => spa::SPA_AUDIO_CHANNEL_SL,
            Self::SideRight => spa::SPA_AUDIO_CHANNEL_SR,
            Self::RearLeft => spa::SPA_AUDIO_CHANNEL_RL,
            Self::RearRight => spa::SPA_AUDIO_CHANNEL_RR,
            Self::RearCenter => spa::SPA_AUDIO_CHANNEL_RC,
            Self::Aux(n) => spa::SPA_AUDIO_CHANNEL_AUX0 + u32::from(n.min(63)),
        }
    }
}

/// The name that properties such as `audio.position` use.
impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mono => "MONO",
            Self::FrontLeft => "FL",
            Self::FrontRight => "FR",
            Self::FrontCenter => "FC",
            Self::LowFrequency => "LFE",
            Self::SideLeft => "SL",
            Self::SideRight => "SR",
            Self::RearLeft => "RL",
            Self::RearRight => "RR",
            Self::RearCenter => "RC",
            Self::Aux(n) => return write!(f, "AUX{}", n.min(&63)),
        })
    }
}

/// What a stream offers: interleaved 32-bit floats at native byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Frames a second; `None` leaves it to the graph.
    pub rate: Option<u32>,
    /// The channels in their order, 1 to [`MAX_CHANNELS`].
    pub channels: Vec<Channel>,
}

impl Offer {
    /// Two channels, left and right, at `rate`.
    pub fn stereo(rate: u32) -> Self {
        Self { rate: Some(rate), channels: Channel::usual(2) }
    }
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Frames a second.
    pub rate: u32,
    /// Channels, interleaved in the order of the offer.
    pub channels: u32,
}

impl Format {
    /// Reads a format parameter; `None` for anything but interleaved native floats.
    ///
    /// # Safety
    /// `pod` points to a valid pod.
    pub(crate) unsafe fn parse(pod: *const spa::spa_pod) -> Option<Self> {
        let (mut kind, mut subtype) = (0, 0);
        // SAFETY: the pod is valid by contract, the results are writable.
        let parsed = unsafe { spa::spa_format_parse(pod, &raw mut kind, &raw mut subtype) };
        if parsed < 0 || kind != spa::SPA_MEDIA_TYPE_audio || subtype != spa::SPA_MEDIA_SUBTYPE_raw {
            return None;
        }
        // SAFETY: a C struct of integers, for which zero is valid.
        let mut info: spa::spa_audio_info_raw = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let parsed = unsafe { spa::spa_format_audio_raw_parse(pod, &raw mut info) };
        let usable = parsed >= 0
            && info.format == NATIVE_F32
            && info.rate > 0
            && (1..=MAX_CHANNELS as u32).contains(&info.channels);
        usable.then_some(Self { rate: info.rate, channels: info.channels })
    }
}

const NATIVE_F32: u32 =
    if cfg!(target_endian = "little") { spa::SPA_AUDIO_FORMAT_F32_LE } else { spa::SPA_AUDIO_FORMAT_F32_BE };

/// How long audio takes between this stream and where it is heard or was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
    /// Whole cycles on top of both, whatever the quantum: 1 for a sink that plays a cycle after the one it was written in.
    pub cycles: u16,
}

impl From<Duration> for Latency {
    fn from(both: Duration) -> Self {
        Self { min: both, max: both, cycles: 0 }
    }
}

/// A parameter in the form libpipewire takes: aligned to eight bytes.
#[derive(Debug)]
pub(crate) struct Param(Vec<u64>);

impl Param {
    pub(crate) fn offer(offer: &Offer) -> Option<Self> {
        let positions: Vec<Id> = offer.channels.iter().map(|channel| Id(channel.to_raw())).collect();
        let channels = i32::try_from(positions.len()).ok()?;
        let mut properties = vec![
            property(spa::SPA_FORMAT_mediaType, Value::Id(Id(spa::SPA_MEDIA_TYPE_audio))),
            property(spa::SPA_FORMAT_mediaSubtype, Value::Id(Id(spa::SPA_MEDIA_SUBTYPE_raw))),
            property(spa::SPA_FORMAT_AUDIO_format, Value::Id(Id(NATIVE_F32))),
        ];
        if let Some(rate) = offer.rate {
            properties.push(property(spa::SPA_FORMAT_AUDIO_rate, Value::Int(i32::try_from(rate).ok()?)));
        }
        properties.push(property(spa::SPA_FORMAT_AUDIO_channels, Value::Int(channels)));
        properties.push(property(spa::SPA_FORMAT_AUDIO_position, Value::ValueArray(ValueArray::Id(positions))));
        Self::object(spa::SPA_TYPE_OBJECT_Format, spa::SPA_PARAM_EnumFormat, properties)
    }

    /// `direction` is that of the stream's port.
    pub(crate) fn latency(direction: spa::spa_direction, latency: Latency) -> Option<Self> {
        let nanos = |duration: Duration| Value::Long(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
        Self::object(
            spa::SPA_TYPE_OBJECT_ParamLatency,
            spa::SPA_PARAM_Latency,
            vec![
                property(spa::SPA_PARAM_LATENCY_direction, Value::Id(Id(direction))),
                property(spa::SPA_PARAM_LATENCY_minQuantum, Value::Float(f32::from(latency.cycles))),
                property(spa::SPA_PARAM_LATENCY_maxQuantum, Value::Float(f32::from(latency.cycles))),
                property(spa::SPA_PARAM_LATENCY_minRate, Value::Int(0)),
                property(spa::SPA_PARAM_LATENCY_maxRate, Value::Int(0)),
                property(spa::SPA_PARAM_LATENCY_minNs, nanos(latency.min)),
                property(spa::SPA_PARAM_LATENCY_maxNs, nanos(latency.max)),
            ],
        )
    }

    /// Describes the soft volumes of a node as a property of its stream.
    pub(crate) fn soft_volumes_info() -> Option<Self> {
        let properties = vec![
            property(spa::SPA_PROP_INFO_id, Value::Id(Id(spa::SPA_PROP_softVolumes))),
            property(spa::SPA_PROP_INFO_type, Value::Float(1.0)),
        ];
        Self::object(spa::SPA_TYPE_OBJECT_PropInfo, spa::SPA_PARAM_PropInfo, properties)
    }

    /// The properties of a stream whose samples are left as they are: soft volumes of 1.
    pub(crate) fn soft_volumes(width: usize) -> Option<Self> {
        let ones = Value::ValueArray(ValueArray::Float(vec![1.0; width]));
        let properties = vec![property(spa::SPA_PROP_softVolumes, ones)];
        Self::object(spa::SPA_TYPE_OBJECT_Props, spa::SPA_PARAM_Props, properties)
    }

    fn object(type_: u32, id: u32, properties: Vec<Property>) -> Option<Self> {
        let object = Value::Object(Object { type_, id, properties });
        let (cursor, _length) = PodSerializer::serialize(std::io::Cursor::new(Vec::new()), &object).ok()?;
        let bytes = cursor.into_inner();
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        Some(Self(words.collect()))
    }

    pub(crate) fn as_ptr(&self) -> *const spa::spa_pod {
        self.0.as_ptr().cast()
    }
}

fn property(key: u32, value: Value) -> Property {
    Property::new(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_reads_back_through_the_c_parser() {
        for channels in 1..=MAX_CHANNELS {
            let offer = Offer { rate: Some(96_000), channels: Channel::usual(channels) };
            let param = Param::offer(&offer).expect("serialises");
            // SAFETY: a pod of ours, whole and aligned.
            let format = unsafe { Format::parse(param.as_ptr()) };
            assert_eq!(format, Some(Format { rate: 96_000, channels: channels as u32 }));
        }
    }

    #[test]
    fn a_latency_reads_back_through_the_c_parser() {
        let latency = Latency { min: Duration::from_millis(80), max: Duration::from_micros(90_500), cycles: 2 };
        let param = Param::latency(spa::SPA_DIRECTION_INPUT, latency).expect("serialises");
        // SAFETY: zero is valid for a struct of numbers.
        let mut info: spa::spa_latency_info = unsafe { std::mem::zeroed() };
        // SAFETY: a pod of ours, and a writable result.
        assert!(unsafe { spa::spa_latency_parse(param.as_ptr(), &raw mut info) } >= 0);
        assert_eq!((info.direction, info.min_ns, info.max_ns), (spa::SPA_DIRECTION_INPUT, 80_000_000, 90_500_000));
        assert_eq!((info.min_rate, info.min_quantum, info.max_quantum), (0, 2.0, 2.0));
    }

    #[test]
    fn a_latency_is_no_format() {
        let param = Param::latency(spa::SPA_DIRECTION_INPUT, Latency::default()).expect("serialises");
        // SAFETY: a pod of ours, whole and aligned.
        assert_eq!(unsafe { Format::parse(param.as_ptr()) }, None);
    }
}

//! `org.audera.Source1`: a source of this machine.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use audera_wire::CHOSEN_LATENCIES;
use serde::Serialize;
use zbus::zvariant::{OwnedValue, Value};

use crate::definition::{Definition, method, read, set};
use crate::error::Error;
use crate::export::Request;
use crate::sink::rooms;
use crate::values::{Values, figures};

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Source1",
    methods: &[method("Start", &[], &[]), method("Stop", &[], &[]), method("WatchLevel", &[], &[])],
    properties: &[
        read("Name", "s"),
        read("Inputs", "aa{sv}"),
        set("Input", "s"),
        set("Target", "as"),
        read("State", "s"),
        read("Reason", "s"),
        set("Codec", "s"),
        read("Latency", "d"),
        set("FixedLatency", "d"),
        read("Level", "(dd)"),
        read("Statistics", "a{sv}"),
        read("Rooms", "aa{sv}"),
    ],
};

/// What is shown of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<R> {
    /// `Name`.
    pub name: String,
    /// `Inputs`.
    pub inputs: Vec<Input>,
    /// `Input`.
    pub input: String,
    /// `Target`.
    pub target: Vec<String>,
    /// Whether it streams.
    pub playing: bool,
    /// Whether it was stopped.
    pub stopped: bool,
    /// Why it is refused, if it is.
    pub refused: Option<String>,
    /// `Codec`.
    pub codec: Codec,
    /// `Latency`, ms.
    pub latency_ms: f64,
    /// `FixedLatency`, ms; `None` if it is what the rooms need.
    pub fixed_latency_ms: Option<f64>,
    /// `Level`: peak and RMS, dB of full scale.
    pub level: (f64, f64),
    /// `Statistics`.
    pub statistics: Statistics,
    /// Reports of its rooms: flat structs with the keys of docs/status.md.
    pub rooms: Vec<R>,
}

/// Something that a machine can capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The `node.name`.
    pub name: String,
    /// What people call it.
    pub description: String,
    /// What it is: see the introspection XML.
    pub kind: &'static str,
    /// The profile of its sound card, as people call it; empty where there is none.
    pub profile: String,
    /// Whether it is captured where nothing else is asked for.
    pub default: bool,
}

impl Input {
    fn values(&self) -> HashMap<String, Value<'static>> {
        let values = [
            ("name", Value::from(self.name.clone())),
            ("description", Value::from(self.description.clone())),
            ("kind", Value::from(self.kind)),
            ("profile", Value::from(self.profile.clone())),
            ("default", Value::from(self.default)),
        ];
        values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// How a source's stream fares, in all its rooms together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Where the latency glides to, ms.
    pub latency_target_ms: f64,
    /// Frames that were discarded because this machine was held up.
    pub discarded_frames: u64,
    /// Rooms that the stream is for.
    pub rooms: u64,
    /// Those of them in which it plays.
    pub playing_rooms: u64,
    /// Packets that were too late before they could be sent.
    pub dropped_packets: u64,
    /// Packets that came too late, in part at least.
    pub late_packets: u64,
    /// Packets that never came.
    pub lost_packets: u64,
    /// Times that a room ran dry.
    pub underruns: u64,
    /// Times that a room had to jump.
    pub resyncs: u64,
    /// The largest sync error of 99 % of the last minute among the rooms, us; `None` while nothing sounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_p99_us: Option<f64>,
}

impl<R: Serialize> Source<R> {
    /// All properties.
    #[must_use]
    pub fn values(&self) -> Values {
        let state = match (&self.refused, self.stopped, self.playing) {
            (Some(_), ..) => "refused",
            (None, true, _) => "stopped",
            (None, false, true) => "playing",
            (None, false, false) => "idle",
        };
        Values::from([
            ("Name", Value::from(self.name.clone())),
            ("Inputs", Value::from(self.inputs.iter().map(Input::values).collect::<Vec<_>>())),
            ("Input", Value::from(self.input.clone())),
            ("Target", Value::from(self.target.clone())),
            ("State", Value::from(state)),
            ("Reason", Value::from(self.refused.clone().unwrap_or_default())),
            ("Codec", Value::from(self.codec.name())),
            ("Latency", Value::from(self.latency_ms)),
            ("FixedLatency", Value::from(self.fixed_latency_ms.unwrap_or(0.0))),
            ("Level", Value::from(self.level)),
            ("Statistics", Value::from(figures(&self.statistics))),
            ("Rooms", rooms(&self.rooms)),
        ])
    }
}

/// What a source is told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// To stream.
    Start,
    /// Not to stream.
    Stop,
    /// To tell its level for ten seconds.
    WatchLevel,
    /// To capture this; `None` is what it captures if nobody has asked for anything else.
    Input(Option<String>),
    /// To stream to these.
    Target(Vec<String>),
    /// To encode so.
    Codec(Codec),
    /// To have this latency, ms; `None` is what the rooms need.
    FixedLatency(Option<f64>),
}

/// What sound is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Opus where the stream and the room allow it, PCM elsewhere.
    Auto,
    /// As it is.
    Pcm,
    /// Opus; nothing where that is not possible.
    Opus,
}

impl Codec {
    /// All that can be chosen.
    pub const ALL: [Codec; 3] = [Self::Auto, Self::Pcm, Self::Opus];

    /// The value of `Codec`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pcm => "pcm",
            Self::Opus => "opus",
        }
    }
}

/// The most names in a target.
const MOST: usize = 128;
/// The longest of them, bytes: a host's name with its port.
const LONGEST: usize = 263;
/// The longest `node.name`, bytes.
const LONGEST_NODE: usize = 1024;
/// Latencies that can be chosen, ms.
const LATENCIES: RangeInclusive<f64> = *CHOSEN_LATENCIES.start() as f64..=*CHOSEN_LATENCIES.end() as f64;

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// A value that no source accepts.
    pub fn read(request: &Request) -> Result<Self, Error> {
        match request {
            Request::Call { method: "Start", .. } => Ok(Self::Start),
            Request::Call { method: "Stop", .. } => Ok(Self::Stop),
            Request::Call { method: "WatchLevel", .. } => Ok(Self::WatchLevel),
            Request::Set { property: "Input", value } => {
                let name = String::try_from(value.try_clone()?)?;
                if name.len() > LONGEST_NODE || name.chars().any(char::is_control) {
                    let accepted =
                        format!("accepted: the name of one of Inputs, of at most {LONGEST_NODE} bytes, or nothing");
                    return Err(Error::InvalidValue(format!("Input cannot be that; {accepted}")));
                }
                Ok(Self::Input((!name.is_empty()).then_some(name)))
            }
            Request::Set { property: "Codec", value } => {
                let wanted = String::try_from(value.try_clone()?)?;
                let codec = Codec::ALL.into_iter().find(|codec| codec.name() == wanted);
                codec.map(Self::Codec).ok_or_else(|| {
                    let accepted = Codec::ALL.map(Codec::name).join(", ");
                    Error::InvalidValue(format!("Codec cannot be that; accepted: {accepted}"))
                })
            }
            Request::Set { property: "FixedLatency", value } => {
                let ms = f64::try_from(value.try_clone()?)?;
                if ms != 0.0 && !LATENCIES.contains(&ms) {
                    let accepted = format!(
                        "accepted: {} to {} ms, or 0 for what the rooms need",
                        LATENCIES.start(),
                        LATENCIES.end()
                    );
                    return Err(Error::InvalidValue(format!("FixedLatency cannot be {ms}; {accepted}")));
                }
                Ok(Self::FixedLatency((ms != 0.0).then_some(ms)))
            }
            Request::Set { property: "Target", value } => {
                let names = Vec::<String>::try_from(value.try_clone()?)?;
                let fits = |name: &String| (1..=LONGEST).contains(&name.len()) && !name.chars().any(char::is_control);
                if names.len() > MOST || !names.iter().all(fits) {
                    let accepted = format!(
                        "accepted: at most {MOST} names of rooms and groups, and addresses, of 1 to {LONGEST} bytes"
                    );
                    return Err(Error::InvalidValue(format!("Target cannot be that; {accepted}")));
                }
                Ok(Self::Target(names))
            }
            other => Err(Error::NotSupported(format!("{} is not known here", other.member()))),
        }
    }
}

/// A source, for those who ask.
#[zbus::proxy(interface = "org.audera.Source1", assume_defaults = false, gen_blocking = false)]
pub trait Source1 {
    /// Streams until `stop`; one that waits for a signal goes on to do so.
    fn start(&self) -> Result<(), Error>;
    /// Does not stream until `start`.
    fn stop(&self) -> Result<(), Error>;
    /// Has its level told for ten seconds.
    fn watch_level(&self) -> Result<(), Error>;

    /// Its name.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// What can be captured.
    #[zbus(property)]
    fn inputs(&self) -> zbus::Result<Vec<HashMap<String, OwnedValue>>>;
    /// What is captured.
    #[zbus(property)]
    fn input(&self) -> zbus::Result<String>;
    /// Captures another one; nothing is what it captures by itself.
    #[zbus(property)]
    fn set_input(&self, name: &str) -> Result<(), Error>;
    /// Where it streams to.
    #[zbus(property)]
    fn target(&self) -> zbus::Result<Vec<String>>;
    /// Streams to others.
    #[zbus(property)]
    fn set_target(&self, names: &[&str]) -> Result<(), Error>;
    /// Whether it streams.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    /// Why it is refused.
    #[zbus(property)]
    fn reason(&self) -> zbus::Result<String>;
    /// What it is encoded as.
    #[zbus(property)]
    fn codec(&self) -> zbus::Result<String>;
    /// Encodes as another one.
    #[zbus(property)]
    fn set_codec(&self, codec: &str) -> Result<(), Error>;
    /// From the input to the loudspeakers, ms.
    #[zbus(property)]
    fn latency(&self) -> zbus::Result<f64>;
    /// The latency that was asked for, ms; 0 is what the rooms need.
    #[zbus(property)]
    fn fixed_latency(&self) -> zbus::Result<f64>;
    /// Asks for one.
    #[zbus(property)]
    fn set_fixed_latency(&self, ms: f64) -> Result<(), Error>;
    /// Peak and RMS of what is captured, dB of full scale.
    #[zbus(property)]
    fn level(&self) -> zbus::Result<(f64, f64)>;
    /// How the stream fares.
    #[zbus(property)]
    fn statistics(&self) -> zbus::Result<HashMap<String, OwnedValue>>;
    /// How each room fares.
    #[zbus(property)]
    fn rooms(&self) -> zbus::Result<Vec<HashMap<String, OwnedValue>>>;
}

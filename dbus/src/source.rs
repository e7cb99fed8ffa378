//! `org.audera.Source1`: a source of this machine.

use std::collections::HashMap;

use serde::Serialize;
use zbus::zvariant::{OwnedValue, Value};

use crate::definition::{Definition, method, read, set};
use crate::error::Error;
use crate::export::Request;
use crate::sink::rooms;
use crate::values::Values;

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Source1",
    methods: &[method("Start", &[], &[]), method("Stop", &[], &[])],
    properties: &[
        read("Name", "s"),
        read("Input", "s"),
        set("Target", "as"),
        read("State", "s"),
        read("Reason", "s"),
        read("Codec", "s"),
        read("Latency", "d"),
        read("Rooms", "aa{sv}"),
    ],
};

/// What is shown of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<R> {
    /// `Name`.
    pub name: String,
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
    pub codec: &'static str,
    /// `Latency`, ms.
    pub latency_ms: f64,
    /// Reports of its rooms: flat structs with the keys of docs/status.md.
    pub rooms: Vec<R>,
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
            ("Input", Value::from(self.input.clone())),
            ("Target", Value::from(self.target.clone())),
            ("State", Value::from(state)),
            ("Reason", Value::from(self.refused.clone().unwrap_or_default())),
            ("Codec", Value::from(self.codec)),
            ("Latency", Value::from(self.latency_ms)),
            ("Rooms", rooms(&self.rooms)),
        ])
    }
}

/// What a source is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To stream.
    Start,
    /// Not to stream.
    Stop,
    /// To stream to these.
    Target(Vec<String>),
}

/// The most names in a target.
const MOST: usize = 128;
/// The longest of them, bytes: a host's name with its port.
const LONGEST: usize = 263;

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// A value that no source accepts.
    pub fn read(request: &Request) -> Result<Self, Error> {
        match request {
            Request::Call { method: "Start", .. } => Ok(Self::Start),
            Request::Call { method: "Stop", .. } => Ok(Self::Stop),
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

    /// Its name.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// What is captured.
    #[zbus(property)]
    fn input(&self) -> zbus::Result<String>;
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
    /// From the input to the loudspeakers, ms.
    #[zbus(property)]
    fn latency(&self) -> zbus::Result<f64>;
    /// How each room fares.
    #[zbus(property)]
    fn rooms(&self) -> zbus::Result<Vec<HashMap<String, OwnedValue>>>;
}

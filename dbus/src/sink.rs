//! `org.audera.Sink1`: a sink of this machine.

use std::collections::HashMap;

use serde::Serialize;
use zbus::zvariant::{OwnedValue, Value};

use crate::definition::{Definition, method, read};
use crate::error::Error;
use crate::export::Request;
use crate::values::{Values, figures};

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Sink1",
    methods: &[method("WatchLevel", &[], &[])],
    properties: &[
        read("Name", "s"),
        read("Node", "s"),
        read("Target", "s"),
        read("State", "s"),
        read("Applications", "as"),
        read("Latency", "d"),
        read("Level", "(dd)"),
        read("Rooms", "aa{sv}"),
    ],
};

/// What is shown of a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink<R> {
    /// `Name`.
    pub name: String,
    /// `Node`.
    pub node: String,
    /// `Target`.
    pub target: String,
    /// Whether something plays to it.
    pub playing: bool,
    /// `Applications`: what plays to it.
    pub applications: Vec<String>,
    /// `Latency`, ms.
    pub latency_ms: f64,
    /// `Level`: peak and RMS, dB of full scale.
    pub level: (f64, f64),
    /// Reports of its rooms: flat structs with the keys of docs/status.md.
    pub rooms: Vec<R>,
}

impl<R: Serialize> Sink<R> {
    /// All properties.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::from([
            ("Name", Value::from(self.name.clone())),
            ("Node", Value::from(self.node.clone())),
            ("Target", Value::from(self.target.clone())),
            ("State", Value::from(if self.playing { "playing" } else { "idle" })),
            ("Applications", Value::from(self.applications.clone())),
            ("Latency", Value::from(self.latency_ms)),
            ("Level", Value::from(self.level)),
            ("Rooms", rooms(&self.rooms)),
        ])
    }
}

/// What a sink is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To tell its level for ten seconds.
    WatchLevel,
}

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// Something that no sink does.
    pub fn read(request: &Request) -> Result<Self, Error> {
        match request {
            Request::Call { method: "WatchLevel", .. } => Ok(Self::WatchLevel),
            other => Err(Error::NotSupported(format!("{} is not known here", other.member()))),
        }
    }
}

/// Reports of rooms.
pub(crate) fn rooms(reports: &[impl Serialize]) -> Value<'static> {
    let rooms: Vec<HashMap<String, Value<'static>>> = reports.iter().map(figures).collect();
    Value::from(rooms)
}

/// A sink, for those who ask.
#[zbus::proxy(interface = "org.audera.Sink1", assume_defaults = false, gen_blocking = false)]
pub trait Sink1 {
    /// Has its level told for ten seconds.
    fn watch_level(&self) -> Result<(), Error>;

    /// What applications show.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// The `node.name` in the graph.
    #[zbus(property)]
    fn node(&self) -> zbus::Result<String>;
    /// Room, group or "Everywhere".
    #[zbus(property)]
    fn target(&self) -> zbus::Result<String>;
    /// Whether something plays to it.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    /// What plays to it, as it calls itself.
    #[zbus(property)]
    fn applications(&self) -> zbus::Result<Vec<String>>;
    /// From the sink to the loudspeakers, ms.
    #[zbus(property)]
    fn latency(&self) -> zbus::Result<f64>;
    /// Peak and RMS of what is played to it, dB of full scale.
    #[zbus(property)]
    fn level(&self) -> zbus::Result<(f64, f64)>;
    /// How each room fares.
    #[zbus(property)]
    fn rooms(&self) -> zbus::Result<Vec<HashMap<String, OwnedValue>>>;
}

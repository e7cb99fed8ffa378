//! `org.audera.Sink1`: a sink of this machine.

use std::collections::HashMap;

use serde::Serialize;
use zbus::zvariant::{OwnedValue, Value};

use crate::definition::{Definition, read};
use crate::values::{Values, figures};

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Sink1",
    methods: &[],
    properties: &[
        read("Name", "s"),
        read("Node", "s"),
        read("Target", "s"),
        read("State", "s"),
        read("Latency", "d"),
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
    /// `Latency`, ms.
    pub latency_ms: f64,
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
            ("Latency", Value::from(self.latency_ms)),
            ("Rooms", rooms(&self.rooms)),
        ])
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
    /// From the sink to the loudspeakers, ms.
    #[zbus(property)]
    fn latency(&self) -> zbus::Result<f64>;
    /// How each room fares.
    #[zbus(property)]
    fn rooms(&self) -> zbus::Result<Vec<HashMap<String, OwnedValue>>>;
}

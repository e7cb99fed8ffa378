//! `org.audera.Group1`: a group of rooms.

use audera_wire::MAX_STEP_DB;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, Value};

use crate::definition::{Definition, arg, method, read, set};
use crate::error::Error;
use crate::export::Request;
use crate::values::{Values, finite};

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Group1",
    methods: &[
        method("Add", &[arg("player", "o")], &[]),
        method("Remove", &[arg("player", "o")], &[]),
        method("StepVolume", &[arg("points", "d")], &[arg("volume", "d")]),
        method("StepVolumeDecibels", &[arg("decibels", "d")], &[arg("volume", "d")]),
    ],
    properties: &[read("Name", "s"), read("Members", "ao"), set("Volume", "d"), set("Muted", "b")],
};

/// What is shown of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// `Name`.
    pub name: String,
    /// `Members`.
    pub members: Vec<OwnedObjectPath>,
    /// `Volume`.
    pub volume: f64,
    /// `Muted`.
    pub muted: bool,
}

impl Group {
    /// All properties.
    #[must_use]
    pub fn values(&self) -> Values {
        let members: Vec<ObjectPath<'static>> = self.members.iter().map(|path| path.clone().into_inner()).collect();
        Values::from([
            ("Name", Value::from(self.name.clone())),
            ("Members", Value::from(members)),
            ("Volume", Value::from(self.volume)),
            ("Muted", Value::from(self.muted)),
        ])
    }
}

/// What a group is told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// To take a room in.
    Add(OwnedObjectPath),
    /// To let a room go.
    Remove(OwnedObjectPath),
    /// To change its volume to so many percent.
    Volume(f64),
    /// To change its volume by so many percentage points; answered with the volume.
    Step(f64),
    /// To change its volume by so many dB; answered with the volume.
    StepDecibels(f64),
    /// To mute all its rooms, or none.
    Mute(bool),
}

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// A value that no group accepts.
    pub fn read(request: &Request) -> Result<Self, Error> {
        let percent = |volume: f64| match (0.0..=100.0).contains(&volume) {
            true => Ok(volume),
            false => Err(Error::InvalidValue(format!("volume cannot be {volume}; accepted: 0 to 100 (percent)"))),
        };
        match request {
            Request::Set { property: "Volume", value } => Ok(Self::Volume(percent(value.downcast_ref()?)?)),
            Request::Set { property: "Muted", value } => Ok(Self::Mute(value.downcast_ref()?)),
            Request::Call { method: "Add", arguments } => Ok(Self::Add(arguments.read()?)),
            Request::Call { method: "Remove", arguments } => Ok(Self::Remove(arguments.read()?)),
            Request::Call { method: "StepVolume", arguments } => {
                let points = finite("points", arguments.read()?)?;
                if !(-100.0..=100.0).contains(&points) {
                    return Err(Error::InvalidValue(format!("a step cannot be {points}; accepted: -100 to 100")));
                }
                Ok(Self::Step(points))
            }
            Request::Call { method: "StepVolumeDecibels", arguments } => {
                let decibels = finite("decibels", arguments.read()?)?;
                if !(-MAX_STEP_DB..=MAX_STEP_DB).contains(&decibels) {
                    return Err(Error::InvalidValue(format!(
                        "a step cannot be {decibels} dB; accepted: -{MAX_STEP_DB} to {MAX_STEP_DB}"
                    )));
                }
                Ok(Self::StepDecibels(decibels))
            }
            other => Err(Error::NotSupported(format!("{} is not known here", other.member()))),
        }
    }
}

/// A group, for those who ask.
#[zbus::proxy(interface = "org.audera.Group1", default_service = "org.audera.Audera1", gen_blocking = false)]
pub trait Group1 {
    /// Puts a room into the group.
    fn add(&self, player: &ObjectPath<'_>) -> Result<(), Error>;
    /// Takes a room out of the group.
    fn remove(&self, player: &ObjectPath<'_>) -> Result<(), Error>;
    /// Adds percentage points to the volume and gives what came of it.
    fn step_volume(&self, points: f64) -> Result<f64, Error>;
    /// Adds dB to the volume and gives what came of it.
    fn step_volume_decibels(&self, decibels: f64) -> Result<f64, Error>;

    /// Its name.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// Its rooms.
    #[zbus(property)]
    fn members(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
    /// Percent: that of the loudest room.
    #[zbus(property)]
    fn volume(&self) -> zbus::Result<f64>;
    /// Moves all rooms in proportion.
    #[zbus(property)]
    fn set_volume(&self, volume: f64) -> Result<(), Error>;
    /// Whether all rooms are mute.
    #[zbus(property)]
    fn muted(&self) -> zbus::Result<bool>;
    /// Mutes all rooms, or none.
    #[zbus(property)]
    fn set_muted(&self, muted: bool) -> Result<(), Error>;
}

//! `org.audera.Player1`: a room.

use std::collections::HashMap;

use audera_wire::{PlayerState, PlayerStatus, RoomChange, RoomKey, RoomState};
use zbus::zvariant::{OwnedValue, Value};

use crate::definition::{Definition, arg, method, read, set};
use crate::error::Error;
use crate::export::Request;
use crate::values::{Dict, Values, figures, finite};

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Player1",
    methods: &[
        method("Set", &[arg("properties", "a{sv}")], &[]),
        method("StepVolume", &[arg("points", "d")], &[arg("volume", "d")]),
        method("StepVolumeDecibels", &[arg("decibels", "d")], &[arg("volume", "d")]),
        method("Identify", &[], &[]),
        method("Forget", &[], &[]),
    ],
    properties: &[
        set("Name", "s"),
        read("Id", "s"),
        read("Address", "s"),
        read("Software", "s"),
        read("State", "s"),
        read("Reason", "s"),
        read("Paired", "b"),
        set("Volume", "d"),
        set("Muted", "b"),
        set("ChannelMode", "s"),
        set("OutputDelay", "d"),
        set("Groups", "as"),
        set("MaximumVolume", "d"),
        set("StartupVolume", "d"),
        read("Pinned", "as"),
        read("Output", "s"),
        read("Stream", "a{sv}"),
        read("Statistics", "a{sv}"),
    ],
};

/// A start-up volume that is as it was left.
const AS_LEFT: f64 = -1.0;

/// What is shown of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Player {
    /// What is known of its state; its name at least.
    pub room: RoomState,
    /// How it fares, once that was told.
    pub status: Option<PlayerStatus>,
    /// `Id`.
    pub id: String,
    /// `Address`.
    pub address: String,
    /// `Software`.
    pub software: String,
    /// Whether it can be played to.
    pub presence: Presence,
    /// `Paired`.
    pub paired: bool,
}

/// Whether a room is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Not reached yet.
    Searching,
    /// It does not answer, and why.
    Away(String),
    /// It does not take us, or is not who it was, and what to do.
    Refused(String),
    /// Connected.
    There,
}

impl Player {
    /// All properties.
    #[must_use]
    pub fn values(&self) -> Values {
        let Self { room, status, .. } = self;
        let (state, reason) = match &self.presence {
            Presence::Searching => ("searching", ""),
            Presence::Away(reason) => ("away", reason.as_str()),
            Presence::Refused(reason) => ("refused", reason.as_str()),
            Presence::There => (status.as_ref().map_or(PlayerState::Idle, |status| status.state).name(), ""),
        };
        let startup = room.startup_volume.map_or(AS_LEFT, |volume| volume.percent());
        let pinned: Vec<String> = room.pinned.iter().map(|key| property_of(*key).to_owned()).collect();
        Values::from([
            ("Name", Value::from(room.name.clone())),
            ("Id", Value::from(self.id.clone())),
            ("Address", Value::from(self.address.clone())),
            ("Software", Value::from(self.software.clone())),
            ("State", Value::from(state)),
            ("Reason", Value::from(reason.to_owned())),
            ("Paired", Value::from(self.paired)),
            ("Volume", Value::from(room.volume.percent())),
            ("Muted", Value::from(room.mute)),
            ("ChannelMode", Value::from(room.channel_mode.name())),
            ("OutputDelay", Value::from(room.output_delay_ms)),
            ("Groups", Value::from(room.groups.clone())),
            ("MaximumVolume", Value::from(room.max_volume.percent())),
            ("StartupVolume", Value::from(startup)),
            ("Pinned", Value::from(pinned)),
            ("Output", Value::from(status.as_ref().map(|status| status.output.clone()).unwrap_or_default())),
            ("Stream", Value::from(status.as_ref().map(stream).unwrap_or_default())),
            ("Statistics", Value::from(status.as_ref().map(statistics).unwrap_or_default())),
        ])
    }
}

/// What plays.
fn stream(status: &PlayerStatus) -> HashMap<String, Value<'static>> {
    let codec = status.codec.map(|codec| codec.name().to_owned());
    let parts = [("sender", status.sender.clone()), ("title", status.title.clone()), ("codec", codec)];
    parts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Value::from(text?)))).collect()
}

/// The figures of a status that have no property of their own.
fn statistics(status: &PlayerStatus) -> HashMap<String, Value<'static>> {
    let mut statistics = figures(status);
    for elsewhere in ["state", "room", "output", "stream", "sender", "title", "codec"] {
        statistics.remove(elsewhere);
    }
    statistics
}

fn property_of(key: RoomKey) -> &'static str {
    match key {
        RoomKey::Name => "Name",
        RoomKey::Volume => "Volume",
        RoomKey::Mute => "Muted",
        RoomKey::ChannelMode => "ChannelMode",
        RoomKey::OutputDelay => "OutputDelay",
        RoomKey::Groups => "Groups",
        RoomKey::MaxVolume => "MaximumVolume",
        RoomKey::StartupVolume => "StartupVolume",
    }
}

/// What a room is told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// To change, by a property or `Set`.
    Change(RoomChange),
    /// `StepVolume` or `StepVolumeDecibels`, which are answered with the volume.
    Step(RoomChange),
    /// `Identify`.
    Identify,
    /// `Forget`.
    Forget,
}

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// A value that no room accepts.
    pub fn read(request: &Request) -> Result<Self, Error> {
        match request {
            Request::Set { property, value } => {
                let mut change = RoomChange::default();
                add(&mut change, property, value)?;
                Ok(Self::Change(change))
            }
            Request::Call { method: "Set", arguments } => {
                let properties: Dict = arguments.read()?;
                let mut change = RoomChange::default();
                for (property, value) in &properties {
                    add(&mut change, property, value)?;
                }
                Ok(Self::Change(change))
            }
            Request::Call { method: "StepVolume", arguments } => {
                let points = finite("points", arguments.read()?)?;
                Ok(Self::Step(RoomChange { volume_step: Some(points), ..RoomChange::default() }))
            }
            Request::Call { method: "StepVolumeDecibels", arguments } => {
                let decibels = finite("decibels", arguments.read()?)?;
                Ok(Self::Step(RoomChange { volume_step_db: Some(decibels), ..RoomChange::default() }))
            }
            Request::Call { method: "Identify", .. } => Ok(Self::Identify),
            Request::Call { method: "Forget", .. } => Ok(Self::Forget),
            Request::Call { method, .. } => Err(Error::NotSupported(format!("{method} is not known here"))),
        }
    }
}

/// Puts the new value of a property into a change.
fn add(change: &mut RoomChange, property: &str, value: &Value<'_>) -> Result<(), Error> {
    let wrong = |accepted: &str| Error::InvalidValue(format!("{property} takes {accepted}"));
    let text = || value.downcast_ref::<String>().map_err(|_| wrong("a text (s)"));
    let number =
        || value.downcast_ref::<f64>().map_err(|_| wrong("a number (d)")).and_then(|number| finite(property, number));
    match property {
        "Name" => change.name = Some(text()?),
        "Volume" => change.volume = Some(number()?),
        "Muted" => change.mute = Some(value.downcast_ref::<bool>().map_err(|_| wrong("a truth value (b)"))?),
        "ChannelMode" => change.channel_mode = Some(text()?),
        "OutputDelay" => change.output_delay_ms = Some(number()?),
        "Groups" => {
            let groups = value.try_clone().ok().and_then(|value| Vec::<String>::try_from(value).ok());
            change.groups = Some(groups.ok_or_else(|| wrong("a list of texts (as)"))?);
        }
        "MaximumVolume" => change.max_volume = Some(number()?),
        "StartupVolume" => {
            let volume = number()?;
            change.startup_volume = Some((volume != AS_LEFT).then_some(volume));
        }
        _ => {
            let known = DEFINITION.properties.iter().any(|known| known.name == property);
            let what = if known { "cannot be set" } else { "is no property of a room" };
            return Err(Error::InvalidValue(format!("{property} {what}")));
        }
    }
    Ok(())
}

/// A room, for those who ask.
#[zbus::proxy(interface = "org.audera.Player1", default_service = "org.audera.Audera1", gen_blocking = false)]
pub trait Player1 {
    /// Sets several properties at once, all or nothing.
    fn set(&self, properties: HashMap<&str, Value<'_>>) -> Result<(), Error>;
    /// Adds percentage points to the volume and gives what came of it.
    fn step_volume(&self, points: f64) -> Result<f64, Error>;
    /// Adds dB to the volume and gives what came of it.
    fn step_volume_decibels(&self, decibels: f64) -> Result<f64, Error>;
    /// Plays a short sound in the room.
    fn identify(&self) -> Result<(), Error>;
    /// Forgets the room's id.
    fn forget(&self) -> Result<(), Error>;

    /// The room's name.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// Gives the room another name.
    #[zbus(property)]
    fn set_name(&self, name: &str) -> Result<(), Error>;
    /// The identity of its player.
    #[zbus(property)]
    fn id(&self) -> zbus::Result<String>;
    /// Where it is connected.
    #[zbus(property)]
    fn address(&self) -> zbus::Result<String>;
    /// Program and version.
    #[zbus(property)]
    fn software(&self) -> zbus::Result<String>;
    /// What it is doing.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    /// Why it is away or refused.
    #[zbus(property)]
    fn reason(&self) -> zbus::Result<String>;
    /// Whether it takes us.
    #[zbus(property)]
    fn paired(&self) -> zbus::Result<bool>;
    /// Percent.
    #[zbus(property)]
    fn volume(&self) -> zbus::Result<f64>;
    /// Sets the volume, percent.
    #[zbus(property)]
    fn set_volume(&self, volume: f64) -> Result<(), Error>;
    /// Whether it is mute.
    #[zbus(property)]
    fn muted(&self) -> zbus::Result<bool>;
    /// Mutes it, or no longer.
    #[zbus(property)]
    fn set_muted(&self, muted: bool) -> Result<(), Error>;
    /// Which channel is heard where.
    #[zbus(property)]
    fn channel_mode(&self) -> zbus::Result<String>;
    /// Chooses which channel is heard where.
    #[zbus(property)]
    fn set_channel_mode(&self, mode: &str) -> Result<(), Error>;
    /// ms.
    #[zbus(property)]
    fn output_delay(&self) -> zbus::Result<f64>;
    /// Sets the output delay, ms.
    #[zbus(property)]
    fn set_output_delay(&self, delay: f64) -> Result<(), Error>;
    /// Its groups.
    #[zbus(property)]
    fn groups(&self) -> zbus::Result<Vec<String>>;
    /// Sets all its groups.
    #[zbus(property)]
    fn set_groups(&self, groups: &[&str]) -> Result<(), Error>;
    /// Percent.
    #[zbus(property)]
    fn maximum_volume(&self) -> zbus::Result<f64>;
    /// Sets the largest volume, percent.
    #[zbus(property)]
    fn set_maximum_volume(&self, volume: f64) -> Result<(), Error>;
    /// Percent, or -1: as it was left.
    #[zbus(property)]
    fn startup_volume(&self) -> zbus::Result<f64>;
    /// Sets the volume when the player starts, percent; -1: as it was left.
    #[zbus(property)]
    fn set_startup_volume(&self, volume: f64) -> Result<(), Error>;
    /// Properties that the player's configuration holds fast.
    #[zbus(property)]
    fn pinned(&self) -> zbus::Result<Vec<String>>;
    /// What the player plays to.
    #[zbus(property)]
    fn output(&self) -> zbus::Result<String>;
    /// What plays.
    #[zbus(property)]
    fn stream(&self) -> zbus::Result<HashMap<String, OwnedValue>>;
    /// How it plays.
    #[zbus(property)]
    fn statistics(&self) -> zbus::Result<HashMap<String, OwnedValue>>;
}

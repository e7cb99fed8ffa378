//! Rooms, groups, sinks and sources as they are shown, and how people name them.

use audera_dbus::{group, player, sink, source};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::Failure;
use crate::figures::Figures;
use crate::objects::{Objects, Properties};

/// A room. Its JSON is documented in docs/cli.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(serialize = "snake_case", deserialize = "PascalCase"))]
pub struct Room {
    #[serde(skip)]
    pub path: String,
    pub name: String,
    pub id: String,
    pub address: String,
    pub software: String,
    pub state: String,
    pub reason: String,
    pub paired: bool,
    pub volume: f64,
    pub muted: bool,
    pub channel_mode: String,
    #[serde(rename(serialize = "output_delay_ms"))]
    pub output_delay: f64,
    pub groups: Vec<String>,
    pub maximum_volume: f64,
    #[serde(serialize_with = "unless_as_left")]
    pub startup_volume: f64,
    pub pinned: Vec<String>,
    pub output: String,
    pub stream: Figures,
    pub statistics: Figures,
}

/// A start-up volume; null if it is as it was left, for which D-Bus has -1.
fn unless_as_left<S: serde::Serializer>(volume: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if *volume < 0.0 { serializer.serialize_none() } else { serializer.serialize_some(volume) }
}

impl Room {
    /// Whether it is connected, so that what is shown of it is so.
    pub fn is_there(&self) -> bool {
        matches!(self.state.as_str(), "idle" | "waiting" | "playing" | "draining")
    }

    /// Whether it is not known yet whether it is there, and how it is.
    pub fn is_searched(&self) -> bool {
        self.state == "searching"
    }

    /// Whether its volume and so on are known, from now or from when it was there. One that refuses us tells its id and nothing else.
    pub fn is_known(&self) -> bool {
        self.is_there() || (!self.id.is_empty() && self.state != "refused")
    }

    /// Refuses one that is not connected.
    ///
    /// # Errors
    /// It is not there; why.
    pub fn require_there(&self) -> Result<(), Failure> {
        if self.is_there() { Ok(()) } else { Err(self.missing("is not there")) }
    }

    /// It is not there, so `what`.
    pub fn missing(&self, what: &str) -> Failure {
        let why = if self.reason.is_empty() { &self.state } else { &self.reason };
        let text = format!("{} {what}: {why}", self.name);
        if self.state == "refused" { Failure::NotPaired(text) } else { Failure::Unreachable(text) }
    }
}

/// A group. Its JSON is documented in docs/cli.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(serialize = "snake_case", deserialize = "PascalCase"))]
pub struct Group {
    #[serde(skip)]
    pub path: String,
    pub name: String,
    /// Paths, until [`House::new`] has made names of them.
    pub members: Vec<String>,
    pub volume: f64,
    pub muted: bool,
}

/// How loud something is, dB of full scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, f64)")]
pub struct Level {
    pub peak_dbfs: f64,
    pub rms_dbfs: f64,
}

impl From<(f64, f64)> for Level {
    fn from((peak_dbfs, rms_dbfs): (f64, f64)) -> Self {
        Level { peak_dbfs, rms_dbfs }
    }
}

impl Level {
    /// Whether nothing at all is heard: D-Bus knows nothing quieter.
    pub fn is_silent(&self) -> bool {
        self.peak_dbfs <= -120.0
    }
}

/// Something that can be captured. Its JSON is documented in docs/cli.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    pub name: String,
    pub description: String,
    pub kind: String,
    pub profile: String,
    pub default: bool,
}

/// A sink of this machine. Its JSON is documented in docs/cli.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(serialize = "snake_case", deserialize = "PascalCase"))]
pub struct Sink {
    /// Its name on the bus.
    #[serde(skip)]
    pub service: String,
    #[serde(skip)]
    pub path: String,
    pub name: String,
    pub node: String,
    pub target: String,
    pub state: String,
    /// What plays to it.
    pub applications: Vec<String>,
    #[serde(rename(serialize = "latency_ms"))]
    pub latency: f64,
    /// While somebody watches it.
    pub level: Option<Level>,
    pub rooms: Vec<Map<String, Json>>,
}

/// A source of this machine. Its JSON is documented in docs/cli.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(serialize = "snake_case", deserialize = "PascalCase"))]
pub struct Source {
    /// Its name on the bus.
    #[serde(skip)]
    pub service: String,
    #[serde(skip)]
    pub path: String,
    pub name: String,
    pub inputs: Vec<Input>,
    pub input: String,
    pub target: Vec<String>,
    pub state: String,
    pub reason: String,
    pub codec: String,
    #[serde(rename(serialize = "latency_ms"))]
    pub latency: f64,
    #[serde(rename(serialize = "fixed_latency_ms"), serialize_with = "unless_as_needed")]
    pub fixed_latency: f64,
    /// While somebody watches it.
    pub level: Option<Level>,
    pub statistics: Figures,
    pub rooms: Vec<Map<String, Json>>,
}

/// A latency that was asked for; null if it is what the rooms need, for which D-Bus has 0.
fn unless_as_needed<S: serde::Serializer>(latency: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if *latency > 0.0 { serializer.serialize_some(latency) } else { serializer.serialize_none() }
}

impl Source {
    /// What people call that which is captured.
    pub fn input_description(&self) -> &str {
        let input = self.inputs.iter().find(|input| input.name == self.input);
        input.map_or(&self.input, |input| &input.description)
    }

    /// The `node.name` of the input that somebody calls so: by that name, or by its description.
    ///
    /// # Errors
    /// Several are described so.
    pub fn input_named<'a>(&'a self, name: &'a str) -> Result<&'a str, Failure> {
        // The source knows best what is an input by its name.
        if self.inputs.iter().any(|input| input.name == name) {
            return Ok(name);
        }
        match &named(&self.inputs, name, |input| &input.description)[..] {
            [] => Ok(name),
            [input] => Ok(&input.name),
            many => {
                let names = list(many.iter().map(|input| input.name.as_str()));
                Err(Failure::Usage(format!("several inputs are called \"{name}\": say which of {names}")))
            }
        }
    }
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct House {
    pub rooms: Vec<Room>,
    pub groups: Vec<Group>,
    pub sinks: Vec<Sink>,
    pub sources: Vec<Source>,
}

/// What has a level: its name on the bus, its path and its interface.
pub type Meter = (String, String, &'static str);

/// A room or a group.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    Room(&'a Room),
    Group(&'a Group),
}

impl House {
    /// Makes rooms and groups of what `auderad` has, and sinks and sources of what others have, by their names on the bus.
    pub fn new<'a>(objects: impl Iterator<Item = (&'a str, &'a Objects)>) -> Self {
        let mut house = House::default();
        for (service, objects) in objects {
            // A player that exports itself is one of the rooms of `auderad`.
            if service == audera_dbus::names::AUDERA {
                house.rooms = read(objects, player::DEFINITION.name, |room: &mut Room, path| room.path = path);
                house.groups = read(objects, group::DEFINITION.name, |group: &mut Group, path| group.path = path);
            }
            let of_service = |sink: &mut Sink, path| {
                sink.path = path;
                service.clone_into(&mut sink.service);
            };
            house.sinks.extend(read(objects, sink::DEFINITION.name, of_service));
            let of_service = |source: &mut Source, path| {
                source.path = path;
                service.clone_into(&mut source.service);
            };
            house.sources.extend(read(objects, source::DEFINITION.name, of_service));
        }
        let House { rooms, groups, sinks, sources } = &mut house;
        rooms.sort_by_key(|room| (room.name.to_lowercase(), room.path.clone()));
        groups.sort_by_key(|group| group.name.to_lowercase());
        sinks.sort_by_key(|sink| sink.name.to_lowercase());
        sources.sort_by_key(|source| source.name.to_lowercase());
        for group in groups {
            let name = |path: &String| rooms.iter().find(|room| room.path == *path).map(|room| room.name.clone());
            group.members = group.members.iter().filter_map(name).collect();
            group.members.sort_by_key(|name| name.to_lowercase());
        }
        house
    }

    /// The same without levels, which change all the time while somebody else watches them.
    pub fn without_levels(mut self) -> Self {
        self.sinks.iter_mut().for_each(|sink| sink.level = None);
        self.sources.iter_mut().for_each(|source| source.level = None);
        self
    }

    /// The sinks and sources whose levels are of interest: where they are, and their interface.
    pub fn levels(&self) -> Vec<Meter> {
        let sinks = self.sinks.iter().filter(|sink| sink.state == "playing");
        let sinks = sinks.map(|sink| (sink.service.clone(), sink.path.clone(), sink::DEFINITION.name));
        let sources = self.sources.iter().map(|source| (source.service.clone(), source.path.clone()));
        sinks.chain(sources.map(|(service, path)| (service, path, source::DEFINITION.name))).collect()
    }

    /// The room of this name.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn room(&self, name: &str) -> Result<&Room, Failure> {
        match &named(&self.rooms, name, |room| &room.name)[..] {
            [room] => Ok(room),
            [] => Err(self.no_room(name)),
            many => Err(several(name, many)),
        }
    }

    /// The group of this name.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn group(&self, name: &str) -> Result<&Group, Failure> {
        match &named(&self.groups, name, |group| &group.name)[..] {
            [group] => Ok(group),
            [] => Err(none("group", name, self.groups.iter().map(|group| group.name.as_str()))),
            many => {
                let names = list(many.iter().map(|group| group.name.as_str()));
                Err(Failure::Failed(format!("several groups are called \"{name}\": write it as one of {names}")))
            }
        }
    }

    /// Whether it is not known yet of a room of this group whether it is there, and how it is.
    pub fn is_searched(&self, group: &Group) -> bool {
        self.rooms.iter().any(|room| room.is_searched() && group.members.contains(&room.name))
    }

    /// The room or group of this name: a room, if it is both.
    ///
    /// # Errors
    /// There is neither, or there are several.
    pub fn target(&self, name: &str) -> Result<Target<'_>, Failure> {
        match self.room(name) {
            Ok(room) => Ok(Target::Room(room)),
            Err(no_room) => match self.group(name) {
                Ok(group) => Ok(Target::Group(group)),
                Err(Failure::NotFound(_)) => Err(no_room),
                Err(several) => Err(several),
            },
        }
    }

    /// The source of this name, or the only one.
    ///
    /// # Errors
    /// There is none, or there are several and no name.
    pub fn source(&self, name: Option<&str>) -> Result<&Source, Failure> {
        if self.sources.is_empty() {
            let how = "audera.conf has to load libpipewire-module-audera-source (docs/source.md)";
            return Err(Failure::NotFound(format!("no source runs on this machine: {how}")));
        }
        let names = || self.sources.iter().map(|source| source.name.as_str());
        let found: Vec<&Source> = match name {
            None => self.sources.iter().collect(),
            Some(name) => named(&self.sources, name, |source| &source.name),
        };
        match (&found[..], name) {
            ([source], _) => Ok(source),
            (_, None) => Err(Failure::Usage(format!("say which source: {}", list(names())))),
            ([], Some(name)) => Err(none("source", name, names())),
            (_, Some(name)) => Err(Failure::Failed(format!("several sources are called \"{name}\": stop one of them"))),
        }
    }

    fn no_room(&self, name: &str) -> Failure {
        let groups = self.groups.iter().map(|group| group.name.as_str());
        none("room", name, self.rooms.iter().map(|room| room.name.as_str()).chain(groups))
    }
}

/// All objects with an interface.
fn read<T: DeserializeOwned>(objects: &Objects, interface: &str, mut place: impl FnMut(&mut T, String)) -> Vec<T> {
    let one = |(path, properties): (&str, &Properties)| {
        // Whoever answers something else than the interface says is not shown.
        let mut one: T = serde_json::from_value(Json::Object(properties.clone())).ok()?;
        place(&mut one, path.to_owned());
        Some(one)
    };
    objects.with(interface).filter_map(one).collect()
}

/// Those of this name; if there is none, those whose name differs in capitals only.
fn named<'a, T>(all: &'a [T], name: &str, of: impl Fn(&'a T) -> &'a str) -> Vec<&'a T> {
    let exact: Vec<&T> = all.iter().filter(|one| of(one) == name).collect();
    if !exact.is_empty() {
        return exact;
    }
    let lower = name.to_lowercase();
    all.iter().filter(|one| of(one).to_lowercase() == lower).collect()
}

fn several(name: &str, rooms: &[&Room]) -> Failure {
    let addresses: Vec<&str> = rooms.iter().map(|room| room.address.as_str()).collect();
    Failure::Failed(format!(
        "several rooms are called \"{name}\" ({}): give one of them another name, with audera-player set ADDRESS name=NAME",
        addresses.join(", ")
    ))
}

fn none<'a>(what: &str, name: &str, there: impl Iterator<Item = &'a str>) -> Failure {
    let there = list(there);
    let there = match there.as_str() {
        "" => "none is to be seen at all".to_owned(),
        there => format!("there is {there}"),
    };
    Failure::NotFound(format!("there is no {what} \"{name}\": {there}"))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

//! One sink: its node in the graph and its stream to the rooms behind it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use audera_clock::Span;
use audera_dbus::Values;
use audera_dbus::sink::Sink as Object;
use audera_pw::{
    Channel, Connect, Core, Direction, Error, NodeVolume, Offer, Properties, State, Stream as Node, StreamEvent,
};
use audera_pw_sender::{LATENCY_PROPERTY, ROOMS_PROPERTY, RoomReport, latency_text, rooms_json, to_tap};
use audera_sender::{GroupState, Hub, Level, Stream, StreamConfig, StreamKey, StreamStatus, Target, WatchedLevel};

use crate::arguments::Arguments;
use crate::volume::says;

/// A node and its stream. Dropping it takes both away.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) description: String,
    channels: usize,
    node: Node,
    stream: Rc<Stream>,
    playing: Rc<Cell<bool>>,
    /// How loud what is played to it is.
    level: RefCell<Option<WatchedLevel>>,
    /// Its stream, as told last.
    status: RefCell<Option<StreamStatus>>,
    /// What plays to it.
    applications: RefCell<Vec<String>>,
    /// The latency that the graph knows.
    reported: Cell<Span>,
    /// What its volume is to say; `None` before anything is known of the rooms.
    shown: Cell<Option<GroupState>>,
    /// The node has its controls.
    ready: Rc<Cell<bool>>,
    /// Its names: of the node, and of the room or group.
    names: (String, String),
}

/// The graph is told of a latency that glides whenever it has come so far: each time applications move their pictures.
const NOTABLE: Span = Span::from_millis(10);
/// It is told where the glide ends if that is so far from what it knows.
const NOTABLE_AT_REST: Span = Span::from_millis(1);

impl Sink {
    /// Makes the sink for `target`. Its names: the stable `node.name`, the room or group, and what people see.
    pub(crate) fn new(
        core: &Core,
        hub: &Hub,
        arguments: &Arguments,
        (name, room, description): (&str, &str, &str),
        target: Target,
        volume_set: impl Fn(&NodeVolume) + 'static,
    ) -> Result<Self, Error> {
        let description = description.to_owned();
        let (mut tap, stream) = hub
            .open_stream(StreamConfig {
                title: description.clone(),
                rate: arguments.sender.rate,
                channels: arguments.sender.channels,
                latency: arguments.sender.latency,
                encoding: arguments.sender.encoding,
                target,
                gate: None,
            })
            .map_err(Error::module)?;
        let level = RefCell::new(tap.take_level());
        let channels = Channel::usual(usize::from(arguments.sender.channels));
        let width = channels.len();
        let stream = Rc::new(stream);
        let playing = Rc::new(Cell::new(false));
        let ready = Rc::new(Cell::new(false));
        let node = Node::new(
            core,
            &description,
            Direction::Input,
            &properties(arguments, name, &description, room, &channels),
            to_tap(tap),
            follow(stream.clone(), playing.clone(), ready.clone(), volume_set),
        )?;
        let latency = arguments.sender.latency.initial();
        let offer = Offer { rate: Some(arguments.sender.rate), channels };
        node.connect(&Connect { latency: Some(latency.to_duration().into()), unscaled: true, ..Connect::new(offer) })?;
        let reported = Cell::new(latency);
        Ok(Sink {
            description,
            channels: width,
            node,
            stream,
            playing,
            level,
            status: RefCell::default(),
            applications: RefCell::default(),
            reported,
            shown: Cell::new(None),
            ready,
            names: (name.to_owned(), room.to_owned()),
        })
    }

    /// What is shown of it on D-Bus.
    pub(crate) fn on_bus(&self) -> Values {
        let (node, target) = self.names.clone();
        let status = self.status.borrow();
        let status = status.as_ref();
        let latency = status.map_or(self.reported.get(), |status| status.latency);
        let rooms: Vec<RoomReport> =
            status.iter().flat_map(|status| status.members.iter().map(RoomReport::from)).collect();
        let playing = status.is_some_and(|status| status.active);
        let latency_ms = latency.as_secs_f64() * 1e3;
        let level = self.level.borrow().as_ref().map_or(Level::SILENCE, WatchedLevel::level).shown();
        let (name, applications) = (self.description.clone(), self.applications.borrow().clone());
        Object { name, node, target, playing, applications, latency_ms, level, rooms }.values()
    }

    /// Its id in the graph, once it has one.
    pub(crate) fn node_id(&self) -> Option<u32> {
        self.node.node_id()
    }

    /// Takes what plays to it; whether that is something else than before.
    pub(crate) fn is_played_to_by(&self, applications: Vec<String>) -> bool {
        self.applications.replace(applications.clone()) != applications
    }

    /// Somebody watches its level, which is to be [told](Self::tick_level) from now on.
    pub(crate) fn watch_level(&self) {
        self.level.borrow_mut().iter_mut().for_each(WatchedLevel::watch);
    }

    /// To be called once in a [`WatchedLevel::PERIOD`] while it is watched: whether its level has changed, and whether it is watched further.
    pub(crate) fn tick_level(&self) -> (bool, bool) {
        let mut level = self.level.borrow_mut();
        level.as_mut().map_or((false, false), |level| (level.tick(), level.is_watched()))
    }

    /// Calls it otherwise, as its room or group is called now; `set` is what the user has set of its properties. The name of its node stays.
    pub(crate) fn call(&mut self, room: &str, description: &str, set: &Properties) -> Result<(), Error> {
        room.clone_into(&mut self.names.1);
        description.clone_into(&mut self.description);
        self.stream.retitle(self.description.clone());
        let called = called(description, room);
        let mut properties = Properties::new();
        for (key, value) in called.iter().filter(|(key, _)| set.get(key).is_none()) {
            properties.set(key, value);
        }
        self.node.update_properties(&properties)
    }

    /// What names the sink's stream in the hub's events.
    pub(crate) fn key(&self) -> StreamKey {
        self.stream.key()
    }

    /// Has it play to another player from now on.
    pub(crate) fn retarget(&self, target: Target) {
        self.stream.retarget(target);
    }

    /// Whether an application plays to it.
    pub(crate) fn is_playing(&self) -> bool {
        self.playing.get()
    }

    /// Shows the volume of the rooms as that of the node, on all its channels.
    ///
    /// Nothing is sent where the node says the same already. A node that has just been made takes it in a moment: it is shown again then.
    pub(crate) fn show_volume(&self, shown: GroupState) -> Result<(), Error> {
        self.shown.set(Some(shown));
        if !self.ready.get() || says(&self.node.volume(), shown) {
            return Ok(());
        }
        self.node.set_volume(&NodeVolume { channels: vec![shown.volume.gain(); self.channels], mute: Some(shown.mute) })
    }

    /// What it shows; `None` before anything is known of its rooms.
    pub(crate) fn shown(&self) -> Option<GroupState> {
        self.shown.get()
    }

    /// Shows how the rooms fare as properties of the node, and lets the latency that applications see follow the one that is played with.
    pub(crate) fn show(&self, status: &StreamStatus) -> Result<(), Error> {
        self.status.replace(Some(status.clone()));
        let off = (status.latency - self.reported.get()).abs();
        if off >= NOTABLE || (off >= NOTABLE_AT_REST && status.latency == status.latency_target) {
            self.node.set_latency(status.latency.to_duration().into())?;
            self.reported.set(status.latency);
        }
        let properties =
            Properties::new().with(ROOMS_PROPERTY, rooms_json(status)).with(LATENCY_PROPERTY, latency_text(status));
        self.node.update_properties(&properties)
    }
}

/// Begins and ends the stream with the node's cycles.
fn follow(
    stream: Rc<Stream>,
    playing: Rc<Cell<bool>>,
    ready: Rc<Cell<bool>>,
    volume_set: impl Fn(&NodeVolume),
) -> impl FnMut(StreamEvent) {
    move |event| match event {
        StreamEvent::Volume(set) => volume_set(&set),
        // Nobody has set anything; it is for showing what is known.
        StreamEvent::State { new: State::Paused, .. } if !ready.replace(true) => volume_set(&NodeVolume::default()),
        StreamEvent::State { new: State::Streaming, .. } => {
            playing.set(true);
            stream.begin();
        }
        StreamEvent::State { .. } | StreamEvent::ProcessPanicked | StreamEvent::Destroyed if playing.replace(false) => {
            stream.end();
        }
        _ => {}
    }
}

fn properties(arguments: &Arguments, name: &str, description: &str, room: &str, channels: &[Channel]) -> Properties {
    let positions: Vec<String> = channels.iter().map(Channel::to_string).collect();
    let mut properties = called(description, room)
        .with("media.class", "Audio/Sink")
        .with("node.name", name)
        .with("device.icon-name", "audio-speakers")
        .with("device.form-factor", "speaker")
        // Desktops hide virtual sinks.
        .with("node.virtual", "false")
        .with("node.network", "true")
        // Below any hardware: a room becomes the default only by somebody's choice.
        .with("priority.session", "100")
        // Without them the mixer knows no channels before the first cycle, and desktops show the volume as nought.
        .with("audio.position", positions.join(","))
        // The room keeps its volume itself. WirePlumber keeps none for nodes of a device with routes, as it takes this one for.
        .with("device.routes", "1")
        .with("state.restore-props", "false")
        .with(ROOMS_PROPERTY, "[]");
    properties.merge(&arguments.sender.properties);
    properties
}

/// What people read of it.
fn called(description: &str, room: &str) -> Properties {
    Properties::new()
        .with("node.description", description)
        .with("node.nick", room)
        .with("media.name", description)
        .with("device.description", description)
        .with("audera.room", room)
}

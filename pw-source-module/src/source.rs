//! The source: its capture in the graph, its stream to the rooms, and the eye on feedback. What it is told to do is in `orders`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use audera_clock::Span;
use audera_dbus::names;
use audera_dbus::source::{Codec, DEFINITION, Input, Source as Object, Statistics};
use audera_pw::{
    Channel, Connect, Destination, Direction, Error, ModuleHost, Node as Other, Offer, Properties, Registry,
    RegistryEvent, State, Stream as Node, StreamEvent, Topic,
};
use audera_pw_sender::{
    Hosted, LATENCY_PROPERTY, Objects, ROOMS_PROPERTY, RoomReport, SOFTWARE, Ticker, latency_text, rooms_json, to_tap,
};
use audera_sender::{
    CodecChoice, EVERYWHERE, Encoding, HubConfig, HubEvent, Latency, Level, MemberState, PlayerInfo, PlayerKey, Stream,
    StreamConfig, StreamStatus, Target, WatchedLevel,
};
use zbus::zvariant::OwnedObjectPath;

use crate::arguments::Arguments;
use crate::choice::Choice;
use crate::feedback::{Graph, Judge, Targets, Verdict, input};
use crate::inputs::{find, inputs, kind};
use crate::orders::{BEAT, Wish};

/// Why a source does not play that was told to stop.
pub(crate) const STOPPED: &str = "it was stopped on D-Bus: Start lets it play again";

/// A running source. Dropping it takes the capture away and joins the network thread.
pub(crate) struct Source {
    _inner: Rc<RefCell<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) log: &'static Topic,
    pub(crate) name: String,
    pub(crate) target: Target,
    players: BTreeMap<PlayerKey, PlayerInfo>,
    judge: Judge,
    active: bool,
    /// What could be captured, and the node that is.
    pub(crate) inputs: Vec<Input>,
    pub(crate) captured: Option<Other>,
    /// Whether it is the monitor of a sink that is captured where nothing is asked for.
    captures_sinks: bool,
    pub(crate) choice: Option<Choice>,
    /// Somebody waits for the capture to be moved.
    pub(crate) wish: Option<Wish>,
    /// How the capture is to be connected, once it is known whether what was chosen is there.
    waits: Option<Connect>,
    /// Why it must not play, and whether somebody has stopped it.
    pub(crate) refused: Option<String>,
    pub(crate) stopped: bool,
    /// Whether it begins with a signal, by itself; and what is played from before that.
    pub(crate) gated: bool,
    pub(crate) preroll: Span,
    /// Its stream, as told last.
    status: Option<StreamStatus>,
    pub(crate) encoding: Encoding,
    /// Whether packets have a length of their own, whatever the latency is.
    pub(crate) packets_given: bool,
    pub(crate) latency: Latency,
    pub(crate) level: Option<WatchedLevel>,
    /// Runs while the level is watched or somebody waits.
    pub(crate) pulse: Option<Ticker>,
    objects: Option<Objects>,
    pub(crate) registry: Option<Registry>,
    pub(crate) node: Option<Node>,
    pub(crate) stream: Option<Stream>,
    /// After the stream that it serves.
    pub(crate) hosted: Option<Hosted>,
}

impl Source {
    pub(crate) fn new(host: &ModuleHost, arguments: &Arguments) -> Result<Self, Error> {
        let core = host.core(|_| {})?;
        let inner = Rc::new(RefCell::new(Inner {
            log: host.log(),
            name: arguments.name.clone(),
            target: arguments.target.clone(),
            players: BTreeMap::new(),
            judge: Judge::default(),
            active: false,
            inputs: Vec::new(),
            captured: None,
            captures_sinks: arguments.sender.properties.get("stream.capture.sink") == Some("true"),
            choice: None,
            wish: None,
            waits: None,
            refused: None,
            stopped: false,
            gated: arguments.gate.is_some(),
            preroll: arguments.gate.map_or(Span::ZERO, |gate| gate.preroll),
            status: None,
            encoding: arguments.sender.encoding,
            packets_given: arguments.sender.packets_given,
            latency: arguments.sender.latency,
            level: None,
            pulse: None,
            objects: None,
            registry: None,
            node: None,
            stream: None,
            hosted: None,
        }));
        let config = HubConfig {
            name: arguments.name.clone(),
            software: SOFTWARE.to_owned(),
            state_dir: arguments.sender.state_dir.clone(),
            discover: false,
            players: arguments.sender.players.clone(),
            listen: Some(arguments.listen.clone()),
        };
        let weak = Rc::downgrade(&inner);
        let hosted = Hosted::start(host, config, move |event| on(&weak, |inner| inner.heard(event)))?;
        // Who waits for callers only needs nobody found.
        if arguments.discover {
            hosted.hub.follow(|_| {});
            hosted.hub.discover();
        }
        let sender = &arguments.sender;
        let (mut tap, stream) = hosted
            .hub
            .open_stream(StreamConfig {
                title: arguments.name.clone(),
                rate: sender.rate,
                channels: sender.channels,
                latency: sender.latency,
                encoding: sender.encoding,
                target: arguments.target.clone(),
                gate: arguments.gate,
            })
            .map_err(Error::module)?;
        if arguments.gate.is_none() {
            stream.begin();
        }
        let level = tap.take_level();
        let (choice, trouble) =
            Choice::new(&hosted.hub, &sender.state_dir, &arguments.name, configured_input(&sender.properties));
        if let Some(trouble) = trouble {
            host.log()
                .warn(format_args!("the input that was chosen for \"{}\" is not known: {trouble}", arguments.name));
        }
        let weak = Rc::downgrade(&inner);
        let follow = move |event| on(&weak, |inner| inner.captures(&event));
        let title = format!("Audera {}", arguments.name);
        let node = Node::new(&core, &title, Direction::Input, &properties(arguments), to_tap(tap), follow)?;
        let channels = Channel::usual(usize::from(sender.channels));
        let connect = Connect::new(Offer { rate: Some(sender.rate), channels });
        // Nothing else is to be captured meanwhile: it is connected when the graph is known.
        let waits = choice.chosen().map(|_| connect.clone());
        if waits.is_none() {
            node.connect(&connect)?;
        }
        let weak = Rc::downgrade(&inner);
        let pulse = Ticker::new(host.main_loop(), BEAT, move || on(&weak, Inner::beat))?;
        let weak = Rc::downgrade(&inner);
        let objects =
            Objects::start(host, &hosted.hub, names::SOURCE, move |call| on(&weak, |inner| inner.called(call)))?;
        let weak = Rc::downgrade(&inner);
        let registry = Registry::new(&core, move |event| on(&weak, |inner| inner.graph_changed(&event)))?;
        {
            let mut inner = inner.borrow_mut();
            (inner.level, inner.choice, inner.waits, inner.pulse) = (level, Some(choice), waits, Some(pulse));
            inner.registry = Some(registry);
            inner.node = Some(node);
            inner.stream = Some(stream);
            inner.hosted = Some(hosted);
            inner.objects = Some(objects);
            inner.show();
        }
        Ok(Source { _inner: inner })
    }
}

fn on(inner: &Weak<RefCell<Inner>>, act: impl FnOnce(&mut Inner)) {
    if let Some(inner) = inner.upgrade() {
        act(&mut inner.borrow_mut());
    }
}

impl Inner {
    fn heard(&mut self, event: HubEvent) {
        match event {
            HubEvent::Player(player) => {
                self.players.insert(player.key.clone(), player);
                self.look_for_feedback();
            }
            HubEvent::Forgotten(key) => {
                self.players.remove(&key);
                self.look_for_feedback();
            }
            // What is played has a volume of its own; the room's is set elsewhere.
            // A source sets no rooms.
            // A new name comes as another player, and the old one is forgotten.
            HubEvent::Room { .. } | HubEvent::NotSet { .. } | HubEvent::Renamed { .. } => {}
            HubEvent::Stream(status) => {
                if self.active != status.active {
                    let name = &self.name;
                    self.log.info(format_args!("\"{name}\" {}", if status.active { "plays" } else { "is silent" }));
                    self.active = status.active;
                }
                let shown = Properties::new()
                    .with(ROOMS_PROPERTY, rooms_json(&status))
                    .with(LATENCY_PROPERTY, latency_text(&status));
                self.status = Some(status);
                self.show();
                if let Some(Err(error)) = self.node.as_ref().map(|node| node.update_properties(&shown)) {
                    self.log.debug(format_args!("the state of \"{}\" cannot be shown: {error}", self.name));
                }
            }
            // Somebody wants it so.
            HubEvent::Trouble(trouble) if trouble == STOPPED => self.log.debug(trouble),
            HubEvent::Trouble(trouble) => self.log.error(trouble),
        }
    }

    fn captures(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::State { error: Some(error), .. } => {
                self.log.error(format_args!("\"{}\" cannot capture: {error}", self.name));
            }
            // Its node is there.
            StreamEvent::State { old: State::Connecting, .. } => self.insist(),
            StreamEvent::ProcessPanicked => self.log.error(format_args!("\"{}\": the capture panicked", self.name)),
            _ => {}
        }
    }

    fn graph_changed(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::Synced => self.connect_as_chosen(),
            RegistryEvent::Manager => self.insist(),
            // It was unplugged, and is back.
            RegistryEvent::NodeAdded(node) if node.name().is_some() && node.name() == self.chosen() => self.insist(),
            RegistryEvent::Moved(stream) if Some(*stream) == self.node.as_ref().and_then(Node::node_id) => {
                self.moved(*stream);
            }
            _ => {}
        }
        self.look_for_feedback();
        self.refresh_inputs();
    }

    /// The input that was chosen.
    fn chosen(&self) -> Option<&str> {
        self.choice.as_ref()?.chosen()
    }

    /// Connects a capture that has waited for the graph: to what was chosen, if that is there.
    fn connect_as_chosen(&mut self) {
        let (Some(connect), Some(node), Some(registry)) = (self.waits.take(), &self.node, &self.registry) else {
            return;
        };
        let nodes = registry.nodes();
        let chosen = self.chosen().and_then(|name| find(&nodes, name));
        let serial = chosen.and_then(|chosen| chosen.properties.get("object.serial"));
        let target = serial.map(|serial| Properties::new().with("target.object", serial));
        let connected =
            target.map_or(Ok(()), |target| node.update_properties(&target)).and_then(|()| node.connect(&connect));
        if let Err(error) = connected {
            self.log.error(format_args!("\"{}\" cannot capture: {error}", self.name));
        }
    }

    /// Has the session manager link the capture to what was chosen: what it finds out by itself, it may forget.
    fn insist(&self) {
        let (Some(registry), Some(capture), Some(chosen)) =
            (&self.registry, self.node.as_ref().and_then(Node::node_id), self.chosen())
        else {
            return;
        };
        let nodes = registry.nodes();
        let Some(node) = find(&nodes, chosen) else { return };
        let destination = Destination::Node(node.clone());
        if registry.destination(capture).as_ref() == Some(&destination) {
            return;
        }
        if let Err(error) = registry.move_stream(capture, &destination) {
            // It is told when it comes.
            self.log.debug(format_args!("the capture of \"{}\" is not moved to {chosen}: {error}", self.name));
        }
    }

    /// Somebody has moved the capture, here or in a mixer: that is a choice.
    fn moved(&mut self, capture: u32) {
        let Some(destination) = self.registry.as_ref().and_then(|registry| registry.destination(capture)) else {
            return;
        };
        let Some(choice) = &mut self.choice else { return };
        match &destination {
            Destination::Node(node) if kind(node).is_some() => choice.choose(node.name()),
            Destination::Default => choice.choose(None),
            Destination::Node(_) | Destination::Named(_) => {}
        }
    }

    /// What is captured where nothing is chosen.
    pub(crate) fn usual(&self) -> Option<Destination> {
        let registry = self.registry.as_ref()?;
        if let Some(configured) = self.choice.as_ref().and_then(|choice| choice.configured.clone()) {
            return Some(registry.find(&configured).map_or(Destination::Named(configured), Destination::Node));
        }
        let default = if self.captures_sinks { registry.default_sink() } else { registry.default_source() };
        registry.find(&default?).map(Destination::Node)
    }

    fn refresh_inputs(&mut self) {
        let Some(registry) = &self.registry else { return };
        let usual = match self.usual() {
            Some(Destination::Node(node)) => node.name().map(str::to_owned),
            _ => None,
        };
        let inputs = inputs(&registry.nodes(), usual.as_deref());
        if inputs != self.inputs {
            self.inputs = inputs;
            self.show();
        }
    }

    /// Refuses to play what its own rooms play.
    pub(crate) fn look_for_feedback(&mut self) {
        let (Some(registry), Some(node), Some(stream)) = (&self.registry, &self.node, &self.stream) else { return };
        let Some(capture) = node.node_id() else { return };
        let (nodes, links) = (registry.nodes(), registry.links());
        let graph = Graph { nodes: &nodes, links: &links, capture };
        let includes = |room: &str| is_target(&self.target, &self.players, room);
        let targets = Targets { any: self.has_targets(), includes: &includes };
        let captured = input(&graph).cloned();
        let name = |node: &Option<Other>| node.as_ref().and_then(Other::name).map(str::to_owned);
        let moved = name(&captured) != name(&self.captured);
        self.captured = captured;
        let verdict = self.judge.judge(&graph, &targets);
        let news = moved || verdict != Verdict::Unchanged;
        match verdict {
            Verdict::Unchanged => {}
            Verdict::Refuse(refusal) => {
                self.refused = Some(refusal.clone());
                self.log.error(format_args!("\"{}\" {refusal}", self.name));
                stream.forbid(Some(refusal));
            }
            Verdict::Allow => {
                self.refused = None;
                stream.forbid(self.stopped.then(|| STOPPED.to_owned()));
                self.log.info(format_args!("\"{}\" does not capture its own rooms now and may play again", self.name));
            }
        }
        if news {
            self.show();
        }
        self.answer_wish();
    }

    /// Why the source must not capture this node, if so.
    pub(crate) fn refusal_of(&self, node: &Other) -> Option<String> {
        let (registry, capture) = (self.registry.as_ref()?, self.node.as_ref()?.node_id()?);
        let (nodes, links) = (registry.nodes(), registry.links());
        let includes = |room: &str| is_target(&self.target, &self.players, room);
        let targets = Targets { any: self.has_targets(), includes: &includes };
        crate::feedback::refusal_of(node.id, &Graph { nodes: &nodes, links: &links, capture }, &targets)
    }

    /// Shows the source on D-Bus as it is now.
    pub(crate) fn show(&self) {
        let Some(objects) = &self.objects else { return };
        let Ok(path) = OwnedObjectPath::try_from(names::OWN_SOURCE) else { return };
        let members = self.status.iter().flat_map(|status| &status.members);
        let initial = self.latency.initial() + self.preroll;
        let latency = self.status.as_ref().map_or(initial, |status| status.latency);
        let object = Object {
            name: self.name.clone(),
            inputs: self.inputs.clone(),
            input: self.captured.as_ref().and_then(Other::name).unwrap_or_default().to_owned(),
            target: match &self.target {
                Target::Named(names) => names.clone(),
                Target::Everywhere | Target::Player(_) | Target::Group(_) => Vec::new(),
            },
            playing: self.active,
            stopped: self.stopped,
            refused: self.refused.clone(),
            codec: match self.encoding.codec {
                CodecChoice::Auto => Codec::Auto,
                CodecChoice::Pcm => Codec::Pcm,
                CodecChoice::Opus => Codec::Opus,
            },
            latency_ms: latency.as_secs_f64() * 1e3,
            fixed_latency_ms: match self.latency {
                Latency::Auto => None,
                Latency::Fixed(latency) => Some(latency.as_secs_f64() * 1e3),
            },
            level: self.level.as_ref().map_or(Level::SILENCE, WatchedLevel::level).shown(),
            statistics: self.status.as_ref().map(statistics).unwrap_or_default(),
            rooms: members.map(RoomReport::from).collect::<Vec<_>>(),
        };
        objects.show(path, &DEFINITION, object.values());
    }

    /// Whether the source plays to any room, be it one that is not there yet.
    fn has_targets(&self) -> bool {
        let by_name = matches!(&self.target, Target::Named(names) if !names.is_empty());
        by_name || self.players.values().any(|player| self.target.includes(player))
    }
}

/// How a stream fares, in all its rooms together.
fn statistics(status: &StreamStatus) -> Statistics {
    let mut sum = Statistics {
        latency_target_ms: status.latency_target.as_secs_f64() * 1e3,
        discarded_frames: status.discarded_frames,
        ..Statistics::default()
    };
    for member in &status.members {
        sum.rooms += 1;
        sum.playing_rooms += u64::from(member.state == MemberState::Playing);
        sum.dropped_packets += member.dropped_packets;
        let Some(told) = &member.status else { continue };
        sum.late_packets += told.late_packets;
        sum.lost_packets += told.lost_packets;
        sum.underruns += told.underruns;
        sum.resyncs += told.resyncs;
        sum.sync_p99_us = told.sync_p99_us.into_iter().chain(sum.sync_p99_us).reduce(f64::max);
    }
    sum
}

/// The input that the configuration names.
fn configured_input(properties: &Properties) -> Option<String> {
    let named = properties.get("target.object").or(properties.get("node.target"));
    named.filter(|name| *name != "-1").map(str::to_owned)
}

/// Whether a source with this target plays to the room of this name, or to a room in the group of this name.
fn is_target(target: &Target, players: &BTreeMap<PlayerKey, PlayerInfo>, room: &str) -> bool {
    let by_name = matches!(target, Target::Named(names) if names.iter().any(|name| name == room || name == EVERYWHERE));
    let has_name = |player: &PlayerInfo| player.room == room || player.groups.iter().any(|group| group == room);
    by_name || players.values().any(|player| has_name(player) && target.includes(player))
}

fn properties(arguments: &Arguments) -> Properties {
    let mut properties = Properties::new()
        .with("media.type", "Audio")
        .with("media.category", "Capture")
        .with("application.name", "Audera")
        // By which session managers remember what becomes of it: no two sources are to be one to them.
        .with("application.id", format!("org.audera.source.{}", arguments.name))
        // Which input was chosen is kept here.
        .with("state.restore-target", "false")
        .with("node.name", format!("audera-source.{}", arguments.name))
        .with("node.description", format!("Audera {}", arguments.name))
        .with("audera.source", arguments.name.as_str())
        .with(ROOMS_PROPERTY, "[]");
    properties.merge(&arguments.sender.properties);
    properties
}

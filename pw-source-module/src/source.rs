//! The source: its capture in the graph, its stream to the rooms, and the eye on feedback.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use audera_clock::{SenderTime, Span};
use audera_dbus::source::{DEFINITION, Order, Source as Object};
use audera_dbus::{Call, names};
use audera_pw::{
    Channel, Connect, Cycle, Direction, Error, ModuleHost, Offer, Properties, Registry, RegistryEvent, Stream as Node,
    StreamEvent, Topic,
};
use audera_pw_sender::{
    Hosted, LATENCY_PROPERTY, Objects, ROOMS_PROPERTY, RoomReport, SOFTWARE, latency_text, rooms_json,
};
use audera_sender::{
    CodecChoice, EVERYWHERE, HubConfig, HubEvent, PlayerInfo, PlayerKey, Stream, StreamConfig, StreamStatus, Tap,
    Target,
};
use zbus::zvariant::OwnedObjectPath;

use crate::arguments::Arguments;
use crate::feedback::{Graph, Judge, Targets, Verdict, input_name};

/// Why a source does not play that was told to stop.
const STOPPED: &str = "it was stopped on D-Bus: Start lets it play again";

/// A running source. Dropping it takes the capture away and joins the network thread.
pub(crate) struct Source {
    _inner: Rc<RefCell<Inner>>,
}

struct Inner {
    log: &'static Topic,
    name: String,
    target: Target,
    players: BTreeMap<PlayerKey, PlayerInfo>,
    judge: Judge,
    active: bool,
    /// What is captured.
    input: String,
    /// Why it must not play, and whether somebody has stopped it.
    refused: Option<String>,
    stopped: bool,
    /// Whether it begins with a signal, by itself.
    gated: bool,
    /// Its stream, as told last.
    status: Option<StreamStatus>,
    codec: CodecChoice,
    latency: Span,
    objects: Option<Objects>,
    registry: Option<Registry>,
    node: Option<Node>,
    stream: Option<Stream>,
    /// After the stream that it serves.
    hosted: Option<Hosted>,
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
            input: String::new(),
            refused: None,
            stopped: false,
            gated: arguments.gate.is_some(),
            status: None,
            codec: arguments.sender.encoding.codec,
            latency: arguments.sender.latency.initial(),
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
        let (tap, stream) = hosted
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
        let weak = Rc::downgrade(&inner);
        let follow = move |event| on(&weak, |inner| inner.captures(&event));
        let title = format!("Audera {}", arguments.name);
        let node = Node::new(&core, &title, Direction::Input, &properties(arguments), to_tap(tap), follow)?;
        let channels = Channel::usual(usize::from(sender.channels));
        node.connect(&Connect::new(Offer { rate: Some(sender.rate), channels }))?;
        let weak = Rc::downgrade(&inner);
        let objects =
            Objects::start(host, &hosted.hub, names::SOURCE, move |call| on(&weak, |inner| inner.called(call)))?;
        let weak = Rc::downgrade(&inner);
        let registry = Registry::new(&core, move |event| on(&weak, |inner| inner.graph_changed(&event)))?;
        {
            let mut inner = inner.borrow_mut();
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

/// The data loop's part: the graph's samples and their time go into the tap.
fn to_tap(mut tap: Tap) -> impl FnMut(Cycle<'_>) + Send {
    move |cycle| {
        let at = cycle.timing().input_time();
        tap.push(SenderTime::from_nanos(at.as_nanos()), cycle.input());
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
            HubEvent::Room { .. } | HubEvent::NotSet { .. } => {}
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
            StreamEvent::ProcessPanicked => self.log.error(format_args!("\"{}\": the capture panicked", self.name)),
            _ => {}
        }
    }

    fn graph_changed(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::DefaultSink(_) | RegistryEvent::DefaultSource(_) => {}
            _ => self.look_for_feedback(),
        }
    }

    /// Refuses to play what its own rooms play.
    fn look_for_feedback(&mut self) {
        let (Some(registry), Some(node), Some(stream)) = (&self.registry, &self.node, &self.stream) else { return };
        let Some(capture) = node.node_id() else { return };
        let (nodes, links) = (registry.nodes(), registry.links());
        let graph = Graph { nodes: &nodes, links: &links, capture };
        let includes = |room: &str| is_target(&self.target, &self.players, room);
        let targets = Targets { any: self.has_targets(), includes: &includes };
        let input = input_name(&graph).unwrap_or_default();
        let moved = input != self.input;
        self.input = input;
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
    }

    /// Somebody on D-Bus wants something.
    fn called(&mut self, call: Call) {
        let Call { request, reply, .. } = call;
        let (order, Some(stream), Some(hosted)) = (Order::read(&request), &self.stream, &self.hosted) else { return };
        let done = order.map(|order| match order {
            // One that waits for a signal goes on to do so.
            Order::Start => {
                self.stopped = false;
                if self.refused.is_none() {
                    stream.forbid(None);
                }
                if !self.gated {
                    stream.begin();
                }
            }
            Order::Stop => {
                self.stopped = true;
                if self.gated && self.refused.is_none() {
                    stream.forbid(Some(STOPPED.to_owned()));
                } else if !self.gated {
                    stream.end();
                }
            }
            Order::Target(names) => {
                if !names.is_empty() {
                    // Rooms can only be found by name if they are looked for.
                    hosted.hub.discover();
                }
                self.target = Target::Named(names);
                stream.retarget(self.target.clone());
            }
        });
        self.look_for_feedback();
        self.show();
        reply.answer(done);
    }

    /// Shows the source on D-Bus as it is now.
    fn show(&self) {
        let Some(objects) = &self.objects else { return };
        let Ok(path) = OwnedObjectPath::try_from(names::OWN_SOURCE) else { return };
        let members = self.status.iter().flat_map(|status| &status.members);
        let latency = self.status.as_ref().map_or(self.latency, |status| status.latency);
        let object = Object {
            name: self.name.clone(),
            input: self.input.clone(),
            target: match &self.target {
                Target::Named(names) => names.clone(),
                Target::Everywhere | Target::Player(_) | Target::Peer(_) | Target::Group(_) => Vec::new(),
            },
            playing: self.active,
            stopped: self.stopped,
            refused: self.refused.clone(),
            codec: match self.codec {
                CodecChoice::Auto => "auto",
                CodecChoice::Pcm => "pcm",
                CodecChoice::Opus => "opus",
            },
            latency_ms: latency.as_secs_f64() * 1e3,
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
        .with("media.role", "Music")
        .with("application.name", "Audera")
        .with("node.name", format!("audera-source.{}", arguments.name))
        .with("node.description", format!("Audera {}", arguments.name))
        .with("audera.source", arguments.name.as_str())
        .with(ROOMS_PROPERTY, "[]");
    properties.merge(&arguments.sender.properties);
    properties
}

//! The source: its capture in the graph, its stream to the rooms, and the eye on feedback.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use audera_clock::SenderTime;
use audera_pw::{
    Channel, Connect, Cycle, Direction, Error, ModuleHost, Offer, Properties, Registry, RegistryEvent, Stream as Node,
    StreamEvent, Topic,
};
use audera_pw_sender::{Hosted, LATENCY_PROPERTY, ROOMS_PROPERTY, SOFTWARE, latency_text, rooms_json};
use audera_sender::{EVERYWHERE, HubConfig, HubEvent, PlayerInfo, PlayerKey, Stream, StreamConfig, Tap, Target};

use crate::arguments::Arguments;
use crate::feedback::{Graph, Judge, Targets, Verdict};

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
    registry: Option<Registry>,
    node: Option<Node>,
    stream: Option<Stream>,
    /// After the stream that it serves.
    _hosted: Option<Hosted>,
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
            registry: None,
            node: None,
            stream: None,
            _hosted: None,
        }));
        let config = HubConfig {
            name: arguments.name.clone(),
            software: SOFTWARE.to_owned(),
            state_dir: arguments.sender.state_dir.clone(),
            discover: arguments.discover,
            players: arguments.sender.players.clone(),
            listen: Some(arguments.listen.clone()),
        };
        let weak = Rc::downgrade(&inner);
        let hosted = Hosted::start(host, config, move |event| on(&weak, |inner| inner.heard(event)))?;
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
        let registry = Registry::new(&core, move |event| on(&weak, |inner| inner.graph_changed(&event)))?;
        {
            let mut inner = inner.borrow_mut();
            inner.registry = Some(registry);
            inner.node = Some(node);
            inner.stream = Some(stream);
            inner._hosted = Some(hosted);
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
                if let Some(Err(error)) = self.node.as_ref().map(|node| node.update_properties(&shown)) {
                    self.log.debug(format_args!("the state of \"{}\" cannot be shown: {error}", self.name));
                }
            }
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
        match self.judge.judge(&graph, &targets) {
            Verdict::Unchanged => {}
            Verdict::Refuse(refusal) => {
                self.log.error(format_args!("\"{}\" {refusal}", self.name));
                stream.forbid(Some(refusal));
            }
            Verdict::Allow => {
                stream.forbid(None);
                self.log.info(format_args!("\"{}\" does not capture its own rooms now and may play again", self.name));
            }
        }
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

//! Plays into PipeWire's graph: to the node that was asked for, or to the default output, but never onto an Audera room.
//!
//! The stream always names its target itself. Were that left to the session manager, an Audera sink made the default would get
//! the sound of its own room, and play it again, and so on. So this follows the default by itself: when it changes, the stream
//! is connected anew; when the default is a room, the best output that is none is taken instead.
//!
//! The stream's own volume stays at 1, whatever a desktop remembers for it or sets: the room's volume has been applied before, and a
//! second one, which only this machine's mixer would show, would make every figure that is told of the room wrong.
//!
//! Loops: `Graph` lives on the thread `audera-pw`; the closure in `feed` runs on PipeWire's data loop.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use audera_clock::{PlayerTime, Span};
use audera_pw::{
    Channel, Connect, Context, Core, CoreEvent, Cycle, Direction, Error, Node, NodeVolume, Offer, Properties, Registry,
    RegistryEvent, State, Stream, StreamEvent, Thread,
};
use audera_wire::MAX_LATENCY;

use super::health::{Health, Playing};
use super::{DeviceFormat, OpenDevice, Output, OutputError, Pull};

/// The property by which Audera's sinks are known.
const ROOM_PROPERTY: &str = "audera.room";
/// The longest quantum asked for, in frames at the stream's rate: long enough for a small board.
const QUANTUM: u32 = 512;
/// The shortest.
const LEAST_QUANTUM: u32 = 64;
/// Quanta that the latency of a stream is to hold. A cycle's sound is asked for two quanta before its end is heard; the rest is for packets,
/// the coder's lookahead and the network.
const QUANTA: f64 = 7.4;
/// The largest quantum PipeWire runs with.
const MAX_PULL: usize = 8192;
/// The graph answers in milliseconds or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// PipeWire, as the player is told to use it.
#[derive(Debug)]
pub struct PipeWireOutput {
    target: Option<String>,
    room: String,
    latency: Span,
}

impl PipeWireOutput {
    /// Plays to the node called `target` (`node.name` or `object.serial`) or to the default; `room` is how the stream is shown.
    pub fn new(target: Option<String>, room: String) -> Self {
        Self { target, room, latency: MAX_LATENCY }
    }
}

impl Output for PipeWireOutput {
    fn name(&self) -> String {
        match &self.target {
            Some(target) => format!("pipewire:{target}"),
            None => "pipewire".to_owned(),
        }
    }

    fn set_latency(&mut self, latency: Span) {
        self.latency = latency;
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        let (target, room) = (self.target.clone(), self.room.clone());
        Ok(Box::new(Opened { name: self.name(), target, room, rate, channels, quantum: quantum(self.latency, rate) }))
    }
}

struct Opened {
    name: String,
    target: Option<String>,
    room: String,
    rate: u32,
    channels: u16,
    /// Asked for, in frames.
    quantum: u32,
}

/// The quantum to ask for, for a stream of this latency; the graph takes the power of two below.
fn quantum(latency: Span, rate: u32) -> u32 {
    ((latency.as_frames(rate) / QUANTA) as u32).clamp(LEAST_QUANTUM, QUANTUM)
}

impl OpenDevice for Opened {
    fn format(&self) -> DeviceFormat {
        let latency = Span::from_frames(i64::from(self.quantum), self.rate);
        DeviceFormat { rate: self.rate, channels: self.channels, max_pull: MAX_PULL, latency }
    }

    fn start(self: Box<Self>, source: Box<dyn Pull>) -> Result<Playing, OutputError> {
        let format = self.format();
        let health = Arc::new(Health::default());
        let (answer, connected) = sync_channel(1);
        let name = self.name.clone();
        let device = |detail: String| OutputError::Device { output: name.clone(), action: "connecting", detail };
        let properties = Properties::new()
            .with("application.name", "Audera Player")
            // Gives the data loop real-time priority; later versions take it for client.conf, which does so by itself.
            .with("config.name", "client-rt.conf");
        let thread = Thread::spawn("audera-pw", properties, {
            let health = health.clone();
            move |context| Graph::new(context, *self, source, health, answer)
        })
        .map_err(|error| device(error.to_string()))?;
        match connected.recv_timeout(ANSWER_LIMIT) {
            Ok(Ok(())) => Ok(Playing::new(format, health, thread)),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(device(format!("PipeWire did not answer within {} s", ANSWER_LIMIT.as_secs()))),
        }
    }
}

/// The stream and what it needs to know of the graph. Lives on the thread `audera-pw`.
struct Graph {
    device: Opened,
    health: Arc<Health>,
    stream: OnceCell<Stream>,
    registry: OnceCell<Registry>,
    synced: Cell<bool>,
    /// The `node.name` of the node played to.
    playing_to: RefCell<Option<String>>,
    /// Links of the stream onto rooms that have been acted on and are not gone yet.
    onto_rooms: RefCell<BTreeSet<u32>>,
    /// How often somebody has moved the stream onto a room.
    moved: Cell<u32>,
    /// Waits for the first connection.
    answer: RefCell<Option<SyncSender<Result<(), OutputError>>>>,
}

impl Graph {
    fn new(
        context: &Context,
        device: Opened,
        source: Box<dyn Pull>,
        health: Arc<Health>,
        answer: SyncSender<Result<(), OutputError>>,
    ) -> Result<Rc<Graph>, Error> {
        let core = context.connect(&Properties::new(), {
            let health = health.clone();
            move |event| {
                if event == CoreEvent::Lost {
                    health.fail("PipeWire has ended".to_owned());
                }
            }
        })?;
        let graph = Rc::new(Graph {
            device,
            health,
            stream: OnceCell::new(),
            registry: OnceCell::new(),
            synced: Cell::new(false),
            playing_to: RefCell::default(),
            onto_rooms: RefCell::default(),
            moved: Cell::new(0),
            answer: RefCell::new(Some(answer)),
        });
        // Set once, just below each.
        let _ = graph.stream.set(graph.make_stream(&core, source)?);
        let registry = Registry::new(&core, {
            let graph = Rc::downgrade(&graph);
            move |event| with(&graph, |graph| graph.graph_changed(&event))
        })?;
        let _ = graph.registry.set(registry);
        Ok(graph)
    }

    fn make_stream(self: &Rc<Self>, core: &Core, source: Box<dyn Pull>) -> Result<Stream, Error> {
        let Opened { room, rate, quantum, .. } = &self.device;
        let properties = Properties::new()
            .with("media.type", "Audio")
            .with("media.category", "Playback")
            .with("node.name", format!("audera-player.{room}"))
            .with("node.description", format!("{room} (Audera room)"))
            .with("node.latency", format!("{quantum}/{rate}"))
            // A target that the session manager remembers may be a room by now.
            .with("state.restore-target", "false")
            .with("node.dont-fallback", "true")
            .with("audera.player", room.as_str());
        let graph = Rc::downgrade(self);
        Stream::new(
            core,
            &format!("Audera {room}"),
            Direction::Output,
            &properties,
            feed(source, self.health.clone()),
            move |event| with(&graph, |graph| graph.stream_changed(event)),
        )
    }

    fn stream_changed(&self, event: StreamEvent) {
        match event {
            StreamEvent::State { new: State::Streaming, .. } => self.reply(Ok(())),
            StreamEvent::State { new: State::Error, error, .. } => {
                self.give_up(error.unwrap_or_else(|| "the stream failed".to_owned()));
            }
            StreamEvent::Volume(_) => self.stay_unscaled(),
            StreamEvent::ProcessPanicked => self.give_up("the playout panicked; please report this".to_owned()),
            StreamEvent::Destroyed => self.give_up("PipeWire has ended the stream".to_owned()),
            _ => {}
        }
    }

    /// Puts the volume of the stream back to 1.
    fn stay_unscaled(&self) {
        let Some(stream) = self.stream.get() else { return };
        let unity = NodeVolume { channels: vec![1.0; usize::from(self.device.channels)], mute: Some(false) };
        if stream.volume() != unity {
            if let Err(error) = stream.set_volume(&unity) {
                tracing::warn!("the volume of the player's stream cannot be put back to 100 %: {error}");
            }
        }
    }

    fn graph_changed(&self, event: &RegistryEvent) {
        match event {
            RegistryEvent::Synced => self.synced.set(true),
            // A link may be told before the node it leads to is known.
            RegistryEvent::LinkAdded(_) | RegistryEvent::NodeAdded(_) | RegistryEvent::NodeChanged(_) => {
                self.look_for_rooms();
            }
            RegistryEvent::LinkRemoved(link) => {
                self.onto_rooms.borrow_mut().remove(&link.id);
            }
            _ => {}
        }
        if self.synced.get() {
            self.follow();
        }
    }

    /// Finds links of the stream onto a room, and acts once on each.
    fn look_for_rooms(&self) {
        let (Some(stream), Some(registry)) = (self.stream.get().and_then(Stream::node_id), self.registry.get()) else {
            return;
        };
        let ours = registry.links().into_iter().filter(|link| link.output_node == stream);
        let onto_rooms = ours.filter(|link| registry.node(link.input_node).as_ref().is_some_and(is_room));
        let mut new = false;
        for link in onto_rooms {
            new |= self.onto_rooms.borrow_mut().insert(link.id);
        }
        if new {
            self.was_moved_onto_room();
        }
    }

    fn was_moved_onto_room(&self) {
        self.moved.set(self.moved.get() + 1);
        if self.moved.get() > 3 {
            return self.give_up("it was moved onto an Audera room, where the room would hear itself".to_owned());
        }
        tracing::warn!("the player was moved onto an Audera room, where the room would hear itself: moved back");
        self.playing_to.replace(None);
    }

    /// Plays to the right node, if it does not already.
    fn follow(&self) {
        let (Some(stream), Some(registry)) = (self.stream.get(), self.registry.get()) else { return };
        let target = match self.choose(registry) {
            Ok(target) => target,
            Err(refusal) if self.answer.borrow().is_some() => return self.reply(Err(refusal)),
            Err(refusal) => return self.give_up(refusal.to_string()),
        };
        if self.playing_to.borrow().as_ref() == Some(&target) {
            return;
        }
        let connected = match stream.state() {
            State::Unconnected => Ok(()),
            _ => stream.disconnect(),
        };
        let connected = connected
            .and_then(|()| stream.update_properties(&Properties::new().with("target.object", target.as_str())))
            .and_then(|()| {
                let channels = Channel::usual(usize::from(self.device.channels));
                let offer = Offer { rate: Some(self.device.rate), channels };
                stream.connect(&Connect { dont_reconnect: true, unscaled: true, ..Connect::new(offer) })
            });
        match connected {
            Ok(()) => {
                tracing::debug!(%target, "plays through PipeWire");
                self.playing_to.replace(Some(target));
            }
            Err(error) => self.give_up(error.to_string()),
        }
    }

    /// The `node.name` to play to.
    fn choose(&self, registry: &Registry) -> Result<String, OutputError> {
        let name = |node: Node| node.name().map(str::to_owned);
        if let Some(wanted) = &self.device.target {
            let missing = |detail: &str| OutputError::NotFound {
                output: self.device.name.clone(),
                detail: detail.to_owned(),
                hint: "`pactl list short sinks` shows the names",
            };
            let node = registry.find(wanted).ok_or_else(|| missing("PipeWire has no node of that name or serial"))?;
            if is_room(&node) {
                return Err(missing("it is an Audera room, which would hear itself"));
            }
            return name(node).ok_or_else(|| missing("the node has no name"));
        }
        let default = registry.default_sink().and_then(|name| registry.find(&name)).filter(|node| !is_room(node));
        let best = || {
            let sinks = registry.nodes().into_iter().filter(|node| is_sink(node) && !is_room(node));
            sinks.max_by_key(|node| {
                node.properties.get("priority.session").and_then(|text| text.parse().ok()).unwrap_or(0)
            })
        };
        default.or_else(best).and_then(name).ok_or_else(|| OutputError::NotFound {
            output: self.device.name.clone(),
            detail: "PipeWire has no output but Audera rooms".to_owned(),
            hint: "connect a sound card, or give --output a target",
        })
    }

    fn reply(&self, reply: Result<(), OutputError>) {
        if let Some(answer) = self.answer.take() {
            // Nobody waits any more: the limit is over, and the output is being dropped.
            let _ = answer.send(reply);
        }
    }

    fn give_up(&self, why: String) {
        if self.answer.borrow().is_some() {
            let refusal = OutputError::Device { output: self.device.name.clone(), action: "connecting", detail: why };
            return self.reply(Err(refusal));
        }
        self.health.fail(why);
    }
}

fn with(graph: &Weak<Graph>, act: impl FnOnce(&Graph)) {
    if let Some(graph) = graph.upgrade() {
        act(&graph);
    }
}

fn is_room(node: &Node) -> bool {
    node.properties.get(ROOM_PROPERTY).is_some()
}

fn is_sink(node: &Node) -> bool {
    matches!(node.media_class(), Some("Audio/Sink" | "Audio/Duplex"))
}

/// The data loop's part: fills each cycle with what is to be heard when it leaves the device.
fn feed(mut source: Box<dyn Pull>, health: Arc<Health>) -> impl FnMut(Cycle<'_>) + Send {
    move |mut cycle| {
        let timing = *cycle.timing();
        if timing.discontinuous {
            source.device_reset();
        }
        let at = timing.output_time().as_nanos();
        health.set_latency(Span::from_nanos(at - timing.now.as_nanos()));
        source.pull(PlayerTime::from_nanos(at), cycle.output());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantum_fits_in_the_latency() {
        for (ms, rate, frames) in [
            (20, 48_000, 129),
            (40, 48_000, 259),
            (40, 44_100, 238),
            (80, 48_000, 512),
            (250, 48_000, 512),
            (1, 48_000, 64),
        ] {
            assert_eq!(quantum(Span::from_millis(ms), rate), frames, "{ms} ms");
        }
    }
}

//! The owner's handle: starts and joins the one network thread, opens streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use audera_clock::Span;
use audera_link::{Endpoint, PeerId, Whereabouts};
use audera_wire::{CHOSEN_LATENCIES, PlayerStatus, RoomChange, RoomState};
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::change::{Answer, ChangeError};
use crate::core;
use crate::paced::{Paced, paced};
use crate::pump::{Inflow, Pump};
use crate::tap::{Tap, tap};
use crate::types::{Encoding, HubConfig, HubEvent, Latency, PlayerKey, StreamConfig, StreamKey, Target};

/// Audio that fits into the rings before the network thread must have taken it.
const RING: Span = Span::from_millis(1000);

/// Why a hub or a stream could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The identity could not be read or made.
    #[error(transparent)]
    Identity(#[from] audera_link::IdentityError),
    /// The list of trusted peers could not be read.
    #[error(transparent)]
    Trust(#[from] audera_link::TrustError),
    /// TLS could not be set up from the identity.
    #[error(transparent)]
    Tls(#[from] audera_link::EndpointError),
    /// The system refused a thread, an event descriptor or a runtime.
    #[error("the system refused what the network thread needs: {0}")]
    System(#[from] std::io::Error),
    /// A value is out of range.
    #[error("{key} is {value}: accepted is {accepted}")]
    Invalid {
        /// What was wrong.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        accepted: &'static str,
    },
    /// The network thread has ended.
    #[error("the network thread has ended")]
    Ended,
}

/// Is told how players fare.
pub(crate) type Watcher = Box<dyn FnMut(&PlayerKey, PlayerStatus) + Send>;

/// Is told what the user has said of where rooms are.
pub(crate) type Follower = Box<dyn FnMut(&Whereabouts) + Send>;

/// Begins a task of the owner's on the network thread.
pub(crate) type Errand = Box<dyn FnOnce(Endpoint) -> LocalBoxFuture<'static, ()> + Send>;

/// Orders to the network thread.
pub(crate) enum Order {
    Open(StreamKey, Box<(Pump, StreamConfig)>),
    Begin(StreamKey),
    End(StreamKey),
    Retarget(StreamKey, Target),
    Encode(StreamKey, Encoding),
    Delay(StreamKey, Latency),
    Retitle(StreamKey, String),
    Forbid(StreamKey, Option<String>),
    Close(StreamKey),
    Discover,
    Follow(Follower),
    LookAgain,
    AddPlayer(String),
    RemovePlayer(String),
    Forget(PlayerKey),
    Set(PlayerKey, Box<RoomChange>, Option<Answer>),
    Watch(Watcher),
    ForgetId(PlayerKey),
    Identify(PlayerKey),
    Run(Errand),
    Shutdown,
}

/// One network thread with the connections to all players this process plays to.
///
/// Everything it learns is told through the event function given to [`Hub::start`]. Dropping the hub says farewell to the players,
/// which takes a second at most, and joins the thread.
#[derive(Debug)]
pub struct Hub {
    orders: UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
    next_key: AtomicU64,
    id: PeerId,
}

impl Hub {
    /// How long dropping a hub takes at most, on a machine that is not held up.
    pub const FAREWELL: Duration = core::FAREWELL;

    /// Starts the network thread. `log` takes the thread's `tracing` events; `events` is called on that thread and must not block.
    ///
    /// # Errors
    /// The state directory cannot be used (see [`audera_link::IdentityError`]), or the system refused a resource.
    pub fn start(
        config: HubConfig,
        log: tracing::Dispatch,
        events: impl FnMut(HubEvent) + Send + 'static,
    ) -> Result<Hub, HubError> {
        let prepared = core::Prepared::new(config)?;
        let id = prepared.id();
        let (orders, inbox) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("audera-net".to_owned())
            .spawn(move || tracing::dispatcher::with_default(&log, || core::run(prepared, inbox, Box::new(events))))?;
        Ok(Hub { orders, thread: Some(thread), next_key: AtomicU64::new(1), id })
    }

    /// Opens a stream: its real-time half for the audio thread and its control half.
    ///
    /// # Errors
    /// [`HubError::Invalid`] names a value out of range.
    pub fn open_stream(&self, config: StreamConfig) -> Result<(Tap, Stream), HubError> {
        check(&config)?;
        let frames = (RING.as_secs_f64() * f64::from(config.rate)) as usize;
        let (tap, outflow) = tap(usize::from(config.channels), frames, config.rate).map_err(std::io::Error::from)?;
        Ok((tap, self.open(Inflow::Tap(outflow), config)?))
    }

    /// Opens a stream that takes what an application has written when it is due. It begins when the application starts, and ends some time
    /// after it has paused or stopped. `buffer` frames can wait to be due.
    ///
    /// # Errors
    /// [`HubError::Invalid`] names a value out of range.
    pub fn open_paced(&self, config: StreamConfig, buffer: usize) -> Result<(Paced, Stream), HubError> {
        let config = StreamConfig { gate: None, ..config };
        check(&config)?;
        // The packet that is under way, and one for what an encoder has kept back.
        let filling = Span::from_millis(i64::from(2 * config.encoding.packet_msec));
        let parts = paced(usize::from(config.channels), config.rate, buffer, config.latency.initial(), filling);
        let (paced, release) = parts.map_err(std::io::Error::from)?;
        Ok((paced, self.open(Inflow::Paced(release), config)?))
    }

    fn open(&self, inflow: Inflow, config: StreamConfig) -> Result<Stream, HubError> {
        let pump = Pump::new(inflow, config.rate, config.latency.initial(), config.gate);
        let key = StreamKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        self.orders.send(Order::Open(key, Box::new((pump, config)))).map_err(|_| HubError::Ended)?;
        Ok(Stream { key, orders: self.orders.clone() })
    }

    /// Follows what the user has said of where rooms are, in the file of the state folder that all senders share ([`Whereabouts`]): keeps track of the
    /// addresses in it, and looks for players only while it lets that. `told` is called with what it says, now and when it has changed, on the
    /// network thread, and must not block. A file that cannot be read is told as [`HubEvent::Trouble`]: players are not looked for until it has been
    /// read once, and what was read last counts from then on. Followed before [`discover`](Self::discover) is called, it keeps that from
    /// beginning at all. Only the first call for a hub counts; the `told` of a later one is dropped without being called.
    pub fn follow(&self, told: impl FnMut(&Whereabouts) + Send + 'static) {
        self.order(Order::Follow(Box::new(told)));
    }

    /// Reads at once what is followed, as where the system does not tell of changes.
    pub fn look_again(&self) {
        self.order(Order::LookAgain);
    }

    /// Begins to look for players with Avahi, as if [`HubConfig::discover`] had been set.
    pub fn discover(&self) {
        self.order(Order::Discover);
    }

    /// Begins to keep track of a player at a fixed address, `host` or `host:port`, as if it had been in [`HubConfig::players`]. It may be added several
    /// times, and in several spellings.
    pub fn add_player(&self, address: &str) {
        self.order(Order::AddPlayer(address.to_owned()));
    }

    /// Stops keeping track of a player that is neither announced nor connected; one that is, stays.
    pub fn forget(&self, key: PlayerKey) {
        self.order(Order::Forget(key));
    }

    /// Changes the state of a player's room. What comes of it is told as [`HubEvent::Room`], or [`HubEvent::NotSet`]; changes that follow each
    /// other quickly become one. Nothing is set while the player is not connected: the room's own state is in force when it is back.
    pub fn set(&self, key: PlayerKey, change: RoomChange) {
        self.order(Order::Set(key, Box::new(change), None));
    }

    /// The same, with an answer: the state of the room with the change in it, or why it was not made. `answer` is called once, on the network
    /// thread, unless that ends before, and must not block. A room that does not answer is given up after
    /// [`SET_LIMIT`](audera_wire::SET_LIMIT).
    pub fn change(
        &self,
        key: PlayerKey,
        change: RoomChange,
        answer: impl FnOnce(Result<RoomState, ChangeError>) + Send + 'static,
    ) {
        self.order(Order::Set(key, Box::new(change), Some(Box::new(answer))));
    }

    /// Has `watcher` told how every player fares, whoever plays there: once a second, and when a player's state changes. It is called on the
    /// network thread and must not block. It takes the place of a former one.
    pub fn watch(&self, watcher: impl FnMut(&PlayerKey, PlayerStatus) + Send + 'static) {
        self.order(Order::Watch(Box::new(watcher)));
    }

    /// Takes back one [`add_player`](Self::add_player) of this address. With the last of them, and where neither the configuration nor the user has it, the
    /// player is given up, unless it is announced.
    pub fn remove_player(&self, address: &str) {
        self.order(Order::RemovePlayer(address.to_owned()));
    }

    /// Has a room play a short sound, by which people know which one it is. Nothing happens while the player is not connected.
    pub fn identify(&self, key: PlayerKey) {
        self.order(Order::Identify(key));
    }

    /// Forgets what a player was met as: whoever has its name is met as if for the first time.
    pub fn forget_id(&self, key: PlayerKey) {
        self.order(Order::ForgetId(key));
    }

    /// The own identity.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Runs a task of the owner's on the network thread, which gives it its identity, within a `LocalSet`. It must not block. When the hub ends
    /// it has as long as farewells may take: the owner lets it know before.
    pub fn run<T: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Endpoint) -> T + Send + 'static) {
        self.order(Order::Run(Box::new(move |endpoint| Box::pin(task(endpoint)))));
    }

    /// Whether the network thread has ended, which it does by itself only after a defect, or where the system refuses what it needs.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    fn order(&self, order: Order) {
        // A network thread that has ended has nothing left to change.
        let _ = self.orders.send(order);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.order(Order::Shutdown);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the network thread panicked");
        }
    }
}

/// The control half of a stream. Dropping it ends and closes the stream.
#[derive(Debug)]
pub struct Stream {
    key: StreamKey,
    orders: UnboundedSender<Order>,
}

impl Stream {
    /// What names the stream in events.
    #[must_use]
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// Begins to play. Players are asked now, and as they come; no effect while it plays or on a stream with a gate.
    pub fn begin(&self) {
        self.order(Order::Begin(self.key));
    }

    /// Ends playing; the players play out what they have.
    pub fn end(&self) {
        self.order(Order::End(self.key));
    }

    /// Changes the players; a playing stream ends at those left out and begins at the new ones.
    pub fn retarget(&self, target: Target) {
        self.order(Order::Retarget(self.key, target));
    }

    /// Encodes otherwise from now on. A playing stream begins anew at the rooms that get another format by that: they are silent for about as
    /// long as the latency is, and the others hear nothing of it. Another bit rate of Opus alone counts from the next packets on, without a
    /// gap.
    ///
    /// # Errors
    /// [`HubError::Invalid`] names a value out of range; all stays as it is.
    pub fn encode(&self, encoding: Encoding) -> Result<(), HubError> {
        check_encoding(&encoding)?;
        self.order(Order::Encode(self.key, encoding));
        Ok(())
    }

    /// Has another latency from now on, to which the rooms of a playing stream glide. [`Latency::Auto`] begins with what they have needed so far.
    ///
    /// # Errors
    /// [`HubError::Invalid`] if it is out of range; all stays as it is. A stream with a gate has [`GateConfig::preroll`](crate::GateConfig::preroll) on
    /// top, and both together are to fit into two seconds.
    pub fn set_latency(&self, latency: Latency) -> Result<(), HubError> {
        check_latency(latency)?;
        self.order(Order::Delay(self.key, latency));
        Ok(())
    }

    /// Changes what the players are told is playing, from the next time on that it is begun there.
    pub fn retitle(&self, title: String) {
        self.order(Order::Retitle(self.key, title));
    }

    /// Keeps the stream from playing for the given reason, or lets it play again.
    pub fn forbid(&self, reason: Option<String>) {
        self.order(Order::Forbid(self.key, reason));
    }

    fn order(&self, order: Order) {
        // See `Hub::order`.
        let _ = self.orders.send(order);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.order(Order::Close(self.key));
    }
}

fn invalid(key: &'static str, value: String, accepted: &'static str) -> Result<(), HubError> {
    Err(HubError::Invalid { key, value, accepted })
}

fn check_latency(latency: Latency) -> Result<(), HubError> {
    let latency = latency.initial();
    let [least, most] = [CHOSEN_LATENCIES.start(), CHOSEN_LATENCIES.end()].map(|ms| Span::from_millis(*ms));
    if !(least..=most).contains(&latency) {
        return invalid("latency", latency.to_string(), "20 to 2000 ms");
    }
    Ok(())
}

fn check_encoding(encoding: &Encoding) -> Result<(), HubError> {
    if !(64..=320).contains(&encoding.opus_kbps) {
        return invalid("opus bit rate", encoding.opus_kbps.to_string(), "64 to 320 kb/s");
    }
    if ![5, 10, 20].contains(&encoding.packet_msec) {
        return invalid("packet length", encoding.packet_msec.to_string(), "5, 10 or 20 ms");
    }
    Ok(())
}

fn check(config: &StreamConfig) -> Result<(), HubError> {
    if !(44_100..=192_000).contains(&config.rate) {
        return invalid("rate", config.rate.to_string(), "44100 to 192000 Hz");
    }
    if !(1..=8).contains(&config.channels) {
        return invalid("channels", config.channels.to_string(), "1 to 8");
    }
    check_latency(config.latency)?;
    check_encoding(&config.encoding)?;
    let latency = config.latency.initial();
    if let Some(gate) = config.gate {
        if !(-90.0..=0.0).contains(&gate.threshold_dbfs) {
            return invalid("threshold", gate.threshold_dbfs.to_string(), "-90 to 0 dBFS");
        }
        if gate.preroll < Span::ZERO || latency + gate.preroll > audera_wire::MAX_LATENCY {
            return invalid("preroll", gate.preroll.to_string(), "0 to 2000 ms less the latency");
        }
        if gate.hold < Span::ZERO {
            return invalid("hold", gate.hold.to_string(), "0 ms and more");
        }
    }
    Ok(())
}

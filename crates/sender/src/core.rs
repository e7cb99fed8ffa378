//! The network thread: its owner's orders, and its streams. Everything that the thread knows lives on it alone. Which players there are is in `roster`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use audera_clock::SenderTime;
use audera_link::{Endpoint, Identity, PeerId, Strangers, TrustStore, new_line};
use audera_wire::Sound;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, interval, timeout_at};

use crate::discovery::Discovery;
use crate::hub::{HubError, Order, Watcher};
use crate::player::Player;
use crate::playing::pump_blocks;
use crate::pump::Pump;
use crate::stream::Stream;
use crate::types::{HubConfig, HubEvent, Member, PlayerKey, Reach, StreamConfig, StreamKey};
use crate::watch::watched;
use crate::whereabouts::Followed;
use crate::{connect, inbound, signals};

/// What answers and farewells may take when the hub is dropped.
pub(crate) const FAREWELL: Duration = Duration::from_millis(800);
const STATUS_PERIOD: Duration = Duration::from_secs(1);
/// Threads beside the network thread, at most.
const HELPERS: usize = 2;
/// So long they stay without anything to do.
const HELPERS_STAY: Duration = Duration::from_millis(100);
/// A player that has refused a stream is asked again after so many status periods.
const ASK_AGAIN: u64 = 5;

type Events = Box<dyn FnMut(HubEvent) + Send>;

/// What can fail before the thread starts.
pub(crate) struct Prepared {
    config: HubConfig,
    endpoint: Endpoint,
    trust: TrustStore,
    met: TrustStore,
}

impl Prepared {
    pub(crate) fn new(config: HubConfig) -> Result<Prepared, HubError> {
        let identity = Identity::load_or_create(&config.state_dir)?;
        let endpoint = Endpoint::new(&identity, audera_wire::ALPN)?;
        let trust = TrustStore::open(config.state_dir.join(audera_link::TRUSTED_FILE))?;
        let met = TrustStore::open(config.state_dir.join(audera_link::MET_FILE))?;
        Ok(Prepared { config, endpoint, trust, met })
    }

    /// The own identity.
    pub(crate) fn id(&self) -> PeerId {
        self.endpoint.id()
    }
}

/// Runs the network thread until the owner shuts it down or is gone.
pub(crate) fn run(prepared: Prepared, orders: UnboundedReceiver<Order>, mut events: Events) {
    signals::block_all();
    match runtime() {
        Ok(runtime) => {
            LocalSet::new().block_on(&runtime, Core::new(prepared, events).serve(orders));
            // A name look-up may hang for minutes; nobody waits for it any more.
            runtime.shutdown_background();
        }
        Err(error) => events(HubEvent::Trouble(format!("the network thread cannot start: {error}"))),
    }
}

/// Of one thread, and of helpers that are gone as soon as there is nothing for them to do: files are written and names are looked up beside the
/// network thread, since neither can be done without waiting. A name that nobody answers for is not to be waited for by all the others.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("audera-helper")
        .max_blocking_threads(HELPERS)
        .thread_keep_alive(HELPERS_STAY)
        .build()
}

/// The sender's monotonic clock, the one that PipeWire and ALSA stamp with.
pub(crate) fn now() -> SenderTime {
    let now = clock_gettime(ClockId::Monotonic);
    SenderTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// All that the network thread knows.
pub(crate) struct Core {
    pub(crate) config: HubConfig,
    pub(crate) endpoint: Endpoint,
    /// Who may dial in.
    pub(crate) trust: RefCell<TrustStore>,
    /// The ids of the players that were met, by name.
    pub(crate) met: RefCell<TrustStore>,
    pub(crate) players: RefCell<BTreeMap<PlayerKey, Rc<Player>>>,
    /// How players come to be known.
    pub(crate) discovery: Discovery,
    /// Rung when what the user has said of where rooms are is to be read again.
    pub(crate) look_again: Notify,
    streams: RefCell<BTreeMap<StreamKey, (Rc<Stream>, AbortHandle)>>,
    events: RefCell<Events>,
    pub(crate) watcher: RefCell<Option<Watcher>>,
    pub(crate) next_id: Cell<u32>,
    /// Number of the line of all who dial in.
    pub(crate) line: Option<u64>,
    /// Rung when a connection has ended.
    pub(crate) departed: Notify,
    /// Rung when there is news of a room to tell.
    pub(crate) room_news: Notify,
    /// Rung when a player has answered a change of its room.
    pub(crate) answered: Notify,
    pub(crate) strangers: RefCell<Strangers>,
    /// Nobody is dialled any more.
    pub(crate) closing: Cell<bool>,
}

impl Core {
    pub(crate) fn new(prepared: Prepared, events: Events) -> Rc<Core> {
        Rc::new(Core {
            config: prepared.config,
            endpoint: prepared.endpoint,
            trust: RefCell::new(prepared.trust),
            met: RefCell::new(prepared.met),
            players: RefCell::default(),
            discovery: Discovery::default(),
            look_again: Notify::new(),
            streams: RefCell::default(),
            events: RefCell::new(events),
            watcher: RefCell::default(),
            next_id: Cell::new(1),
            line: new_line(),
            departed: Notify::new(),
            room_news: Notify::new(),
            answered: Notify::new(),
            strangers: RefCell::default(),
            closing: Cell::new(false),
        })
    }

    async fn serve(self: Rc<Self>, mut orders: UnboundedReceiver<Order>) {
        // What is left of it is aborted when this scope ends.
        let mut services = JoinSet::new();
        // Those who dialled in are spoken with until they have been told farewell.
        let callers = Rc::new(RefCell::new(JoinSet::new()));
        for address in &self.config.players {
            self.add_address(address);
        }
        let mut errands = JoinSet::new();
        let mut follows = false;
        self.want_discovery(self.config.discover);
        if let Some(listen) = self.config.listen.clone() {
            let listener = inbound::run(self.clone(), listen, callers.clone());
            services.spawn_local(self.watched("the listener for players that dial in", listener));
        }
        services.spawn_local(self.watched("the report of the rooms' states", self.clone().report()));
        services.spawn_local(self.watched("the news of the rooms", self.clone().tell_rooms()));
        while let Some(order) = orders.recv().await {
            match order {
                Order::Shutdown => break,
                Order::Discover => self.want_discovery(true),
                Order::Follow(told) if !std::mem::replace(&mut follows, true) => {
                    // It is read beside the orders: the helpers that do so may be held up, and nobody waits for them.
                    let follow = Followed::begin(&self, told).go_on(self.clone());
                    services.spawn_local(self.watched("the watch over added addresses", follow));
                }
                Order::Follow(_) => {}
                Order::LookAgain => self.look_again.notify_one(),
                Order::Run(errand) => {
                    // Those that have ended meanwhile.
                    while errands.try_join_next().is_some() {}
                    errands.spawn_local(self.watched("a task", errand(self.endpoint.clone())));
                }
                order => self.obey(order),
            }
        }
        services.abort_all();
        self.end_search();
        self.closing.set(true);
        let errands_end = async { while errands.join_next().await.is_some() {} };
        let _ = tokio::join!(self.say_farewell(), timeout_at(Instant::now() + FAREWELL, errands_end));
        callers.borrow_mut().abort_all();
    }

    pub(crate) fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Open(key, parts) => {
                let (pump, config) = *parts;
                self.open(key, config, pump);
            }
            Order::Begin(key) => self.with_stream(key, |stream| {
                stream.wanted.set(true);
                self.begin_anew(stream);
            }),
            Order::End(key) => self.with_stream(key, |stream| {
                stream.wanted.set(false);
                self.end(stream);
            }),
            Order::Retarget(key, target) => self.with_stream(key, |stream| {
                stream.config.borrow_mut().target = target;
                self.rematch(stream);
            }),
            Order::Encode(key, encoding) => self.with_stream(key, |stream| {
                stream.config.borrow_mut().encoding = encoding;
                self.recode(stream);
            }),
            Order::Delay(key, latency) => self.with_stream(key, |stream| {
                let left = stream.set_latency(latency);
                self.dismiss(stream, &left);
                self.tell_stream(stream);
            }),
            Order::Retitle(key, title) => self.with_stream(key, |stream| stream.config.borrow_mut().title = title),
            Order::Forbid(key, reason) => self.with_stream(key, |stream| {
                let lifted = reason.is_none();
                stream.forbidden.replace(reason);
                if !lifted {
                    self.end(stream);
                } else if stream.wanted.get() {
                    self.begin_anew(stream);
                }
            }),
            Order::Close(key) => {
                self.with_stream(key, |stream| self.end(stream));
                if let Some((_, task)) = self.streams.borrow_mut().remove(&key) {
                    task.abort();
                }
            }
            Order::AddPlayer(address) => self.add_address(&address),
            Order::RemovePlayer(address) => self.remove_address(&address),
            Order::Forget(key) => self.forget(&key),
            Order::Set(key, change, answer) => self.change_room(key, *change, answer),
            Order::Watch(watcher) => {
                self.watcher.replace(Some(watcher));
                for player in self.all_players() {
                    // One that has not said hello is asked when it has.
                    player.with_session(|session| session.watch(true));
                }
            }
            Order::Identify(key) => {
                if let Some(player) = self.player(&key) {
                    player.with_session(|session| session.identify());
                }
            }
            Order::ForgetId(key) => {
                if let Some(player) = self.player(&key) {
                    connect::forget(self, player);
                }
            }
            Order::Discover | Order::Follow(_) | Order::LookAgain | Order::Run(_) | Order::Shutdown => {}
        }
    }

    /// Begins to serve a stream.
    pub(crate) fn open(self: &Rc<Self>, key: StreamKey, config: StreamConfig, pump: Pump) -> Rc<Stream> {
        let stream = Rc::new(Stream::new(key, config, pump));
        let pump = self.watched("a stream", pump_blocks(self.clone(), stream.clone()));
        let core = self.clone();
        let served = async move {
            pump.await;
            core.lose(key);
        };
        let task = spawn_local(served).abort_handle();
        self.streams.borrow_mut().insert(key, (stream.clone(), task));
        stream
    }

    /// Closes a stream that is not served any more, so that its owner can see that.
    fn lose(&self, key: StreamKey) {
        self.with_stream(key, |stream| self.end_here(stream));
        self.streams.borrow_mut().remove(&key);
    }

    fn with_stream(&self, key: StreamKey, act: impl FnOnce(&Rc<Stream>)) {
        let stream = self.streams.borrow().get(&key).map(|(stream, _)| stream.clone());
        if let Some(stream) = stream {
            act(&stream);
        }
    }

    pub(crate) fn all_streams(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().map(|(stream, _)| stream.clone()).collect()
    }

    /// What all streams there are have in common, for those who want to know before one begins.
    pub(crate) fn sound(&self) -> Option<Sound> {
        let mut sounds = self.all_streams().into_iter().map(|stream| {
            let config = stream.config.borrow();
            Sound { rate: config.rate, channels: config.channels }
        });
        let first = sounds.next()?;
        sounds.all(|sound| sound == first).then_some(first)
    }

    pub(crate) fn all_players(&self) -> Vec<Rc<Player>> {
        self.players.borrow().values().cloned().collect()
    }

    pub(crate) fn player(&self, key: &PlayerKey) -> Option<Rc<Player>> {
        self.players.borrow().get(key).cloned()
    }

    /// A task of this thread whose panic is told.
    pub(crate) fn watched<T: Future<Output = ()>>(
        self: &Rc<Self>,
        what: &str,
        task: T,
    ) -> impl Future<Output = ()> + use<T> {
        let core = self.clone();
        watched(what.to_owned(), move |trouble| core.tell(HubEvent::Trouble(trouble)), task)
    }

    pub(crate) fn tell(&self, event: HubEvent) {
        (self.events.borrow_mut())(event);
    }

    /// Tells the state of a stream. Players it is for but that are not to be played to at all are shown with the reason.
    pub(crate) fn tell_stream(&self, stream: &Stream) {
        let mut status = stream.status();
        if status.active {
            for player in self.all_players() {
                let info = player.info.borrow();
                let Reach::Refused(reason) = &info.reach else { continue };
                let known = status.members.iter().any(|member| member.key == info.key);
                if !known && stream.config.borrow().target.includes(&info) {
                    status.members.push(Member::refused(&info, reason));
                }
            }
        }
        self.tell(HubEvent::Stream(status));
    }

    /// Tells the state of playing streams once a second.
    async fn report(self: Rc<Self>) {
        let mut period = interval(STATUS_PERIOD);
        for second in 1u64.. {
            period.tick().await;
            for stream in self.all_streams() {
                if second % ASK_AGAIN == 0 {
                    self.ask_again(&stream);
                }
                if let Some(run) = stream.run.borrow_mut().as_mut() {
                    for (key, member) in &mut run.members {
                        member.dropped = self.player(key).map_or(member.dropped, |player| player.dropped());
                    }
                } else {
                    continue;
                }
                self.tell_stream(&stream);
            }
        }
    }

    /// Ends all streams and sessions in good order, as far as the players take part.
    async fn say_farewell(&self) {
        for stream in self.all_streams() {
            self.end(&stream);
        }
        let until = Instant::now() + FAREWELL;
        let players = self.all_players();
        // A change of a room is sent when the one before it is answered: what waits would be lost.
        let all_is_answered = async {
            while players.iter().any(|player| !player.changes.borrow().is_settled()) {
                tokio::select! {
                    () = self.answered.notified() => {}
                    () = self.departed.notified() => {}
                }
            }
        };
        // Those who do not answer in time leave enough of it for a farewell.
        let _ = timeout_at(until - FAREWELL / 4, all_is_answered).await;
        players.iter().for_each(|player| player.enqueue_farewell());
        let connections_end = async {
            while players.iter().any(|player| player.session.borrow().is_some()) {
                self.departed.notified().await;
            }
        };
        // Those who do not read in time see the connection closed.
        let _ = timeout_at(until, connections_end).await;
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

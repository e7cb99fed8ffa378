//! The network thread: which players there are, and which streams. Everything here lives on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use audera_clock::SenderTime;
use audera_link::{Endpoint, Identity, PeerId, Strangers, TrustStore, new_line};
use audera_wire::{CloseCode, SenderEvent, Sound, StreamId};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, interval, timeout_at};

use crate::change::ChangeError;
use crate::discovery::Announcement;
use crate::hub::{HubError, Order, Watcher};
use crate::player::{Player, Route};
use crate::playing::pump_blocks;
use crate::stream::{Membership, Run, Stream};
use crate::types::{HubConfig, HubEvent, Member, MemberState, PlayerKey, Reach, StreamKey};
use crate::watch::watched;
use crate::whereabouts::Followed;
use crate::{connect, discovery, inbound, signals, ways};

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
    /// Fixed addresses, and how many want each.
    pub(crate) fixed: RefCell<BTreeMap<String, usize>>,
    /// What is announced of players that are known by their addresses, by name.
    pub(crate) hidden: RefCell<BTreeMap<String, Announcement>>,
    /// Names that players have given up for others, and how they were announced by them, until that has ended.
    pub(crate) given_up: RefCell<BTreeMap<String, Route>>,
    /// Whether more are announced than are kept track of.
    pub(crate) crowded: Cell<bool>,
    /// Whether the owner wants rooms looked for, whether the user lets it, and the search if both is so.
    pub(crate) wants_discovery: Cell<bool>,
    pub(crate) may_discover: Cell<bool>,
    pub(crate) search: RefCell<Option<AbortHandle>>,
    /// Rung when what the user has said of where rooms are is to be read again.
    pub(crate) look_again: Notify,
    streams: RefCell<BTreeMap<StreamKey, (Rc<Stream>, AbortHandle)>>,
    events: RefCell<Events>,
    pub(crate) watcher: RefCell<Option<Watcher>>,
    pub(crate) next_id: Cell<u32>,
    /// Number of the line of all who dial in.
    line: Option<u64>,
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
            fixed: RefCell::default(),
            hidden: RefCell::default(),
            given_up: RefCell::default(),
            crowded: Cell::new(false),
            wants_discovery: Cell::new(false),
            may_discover: Cell::new(true),
            search: RefCell::default(),
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
        self.wants_discovery.set(self.config.discover);
        self.match_discovery();
        if let Some(listen) = self.config.listen.clone() {
            let listener = inbound::run(self.clone(), listen, callers.clone());
            services.spawn_local(self.watched("the listener for players that dial in", listener));
        }
        services.spawn_local(self.watched("the report of the rooms' states", self.clone().report()));
        services.spawn_local(self.watched("the news of the rooms", self.clone().tell_rooms()));
        while let Some(order) = orders.recv().await {
            match order {
                Order::Shutdown => break,
                Order::Discover => {
                    self.wants_discovery.set(true);
                    self.match_discovery();
                }
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
        self.search.take().inspect(AbortHandle::abort);
        self.closing.set(true);
        let errands_end = async { while errands.join_next().await.is_some() {} };
        let _ = tokio::join!(self.say_farewell(), timeout_at(Instant::now() + FAREWELL, errands_end));
        callers.borrow_mut().abort_all();
    }

    /// Begins or ends to look for rooms, as the owner wants it and the user lets it.
    pub(crate) fn match_discovery(self: &Rc<Self>) {
        let wanted = self.wants_discovery.get() && self.may_discover.get();
        if wanted == self.search.borrow().is_some() {
            return;
        }
        if wanted {
            let search = self.watched("the search for rooms", discovery::run(self.clone()));
            self.search.replace(Some(spawn_local(search).abort_handle()));
            return;
        }
        self.search.take().inspect(AbortHandle::abort);
        self.hidden.borrow_mut().clear();
        self.given_up.borrow_mut().clear();
        for player in self.all_players() {
            if player.is_announced() {
                self.remove_player(&player);
            }
        }
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Open(key, parts) => {
                let (pump, config) = *parts;
                let stream = Rc::new(Stream::new(key, config, pump));
                let pump = self.watched("a stream", pump_blocks(self.clone(), stream.clone()));
                let core = self.clone();
                let served = async move {
                    pump.await;
                    core.lose(key);
                };
                let task = spawn_local(served).abort_handle();
                self.streams.borrow_mut().insert(key, (stream, task));
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
    fn watched<T: Future<Output = ()>>(self: &Rc<Self>, what: &str, task: T) -> impl Future<Output = ()> + use<T> {
        let core = self.clone();
        watched(what.to_owned(), move |trouble| core.tell(HubEvent::Trouble(trouble)), task)
    }

    pub(crate) fn tell(&self, event: HubEvent) {
        (self.events.borrow_mut())(event);
    }

    // Players

    /// Begins to keep track of a player and, unless it is the one who dials, to connect to it.
    pub(crate) fn add_player(self: &Rc<Self>, key: PlayerKey, room: String, route: Route) -> Rc<Player> {
        // Who dials us has a line of its own; ours then only says that it is the same clock.
        let line = if matches!(route, Route::Inbound) { self.line } else { new_line() };
        let player = Player::new(key.clone(), room, route, line);
        self.players.borrow_mut().insert(key, player.clone());
        self.tell(HubEvent::Player(player.info.borrow().clone()));
        if !matches!(*player.route.borrow(), Route::Inbound) {
            let keep = connect::keep(self.clone(), player.clone());
            let task = spawn_local(self.watched(&format!("the connection to \"{}\"", player.room()), keep));
            player.task.replace(Some(task.abort_handle()));
        }
        player
    }

    /// Changes what is known of a player, and tells if it did change.
    pub(crate) fn update(&self, player: &Player, change: impl FnOnce(&mut crate::types::PlayerInfo)) {
        let before = player.info.borrow().clone();
        change(&mut player.info.borrow_mut());
        let after = player.info.borrow().clone();
        // One that is not kept track of any more may still be about to end.
        let is_kept = self.players.borrow().get(&after.key).is_some_and(|kept| std::ptr::eq(&**kept, player));
        if before == after || !is_kept {
            return;
        }
        let told = matches!(before.reach, Reach::Refused(_)) || matches!(after.reach, Reach::Refused(_));
        self.tell(HubEvent::Player(after));
        if told {
            self.all_streams()
                .iter()
                .filter(|stream| stream.run.borrow().is_some())
                .for_each(|stream| self.tell_stream(stream));
        }
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

    /// A player is known by another name from now on. Its connection stays, and what plays there goes on.
    pub(crate) fn rename(self: &Rc<Self>, player: &Rc<Player>, room: String) {
        let (was, now) = (player.key(), PlayerKey::Discovered(room.clone()));
        tracing::info!(room = %was, "is now called {now}");
        {
            let mut players = self.players.borrow_mut();
            players.remove(&was);
            players.insert(now.clone(), player.clone());
        }
        {
            let mut info = player.info.borrow_mut();
            info.key = now.clone();
            info.room = room.clone();
        }
        let streams = self.all_streams();
        for stream in &streams {
            stream.config.borrow_mut().target.rename(&was, &now);
            if let Some(run) = stream.run.borrow_mut().as_mut() {
                if let Some(member) = run.members.remove(&was) {
                    run.members.insert(now.clone(), Membership { room: room.clone(), ..member });
                }
            }
        }
        self.tell_renamed(was, now);
        self.tell(HubEvent::Player(player.info.borrow().clone()));
        // The state is told anew, under the new name.
        player.told.take();
        if player.state.borrow().is_some() {
            self.tell_room(player);
        }
        streams.iter().filter(|stream| stream.run.borrow().is_some()).for_each(|stream| self.tell_stream(stream));
        connect::remember(self, player);
    }

    /// A player that was known by another name is one that is kept track of under its new name already: that takes its place.
    pub(crate) fn supersede(self: &Rc<Self>, former: &Player, player: &Player) {
        let (was, now) = (former.key(), player.key());
        tracing::info!(room = %was, "is now called {now}");
        let streams = self.all_streams();
        streams.iter().for_each(|stream| stream.config.borrow_mut().target.rename(&was, &now));
        let addresses = std::mem::take(&mut former.info.borrow_mut().addresses);
        self.update(player, |info| info.addresses.extend(addresses));
        self.tell(HubEvent::Renamed { was, now });
        self.remove_player(former);
        streams.iter().for_each(|stream| self.attach(stream, player));
    }

    fn tell_renamed(&self, was: PlayerKey, now: PlayerKey) {
        self.tell(HubEvent::Renamed { was: was.clone(), now });
        self.tell(HubEvent::Forgotten(was));
    }

    /// Stops keeping track of a player, unless it is there.
    fn forget(self: &Rc<Self>, key: &PlayerKey) {
        let Some(player) = self.player(key) else {
            return;
        };
        if !player.info.borrow().is_present() {
            self.remove_player(&player);
        }
    }

    /// Keeps track of a player no more; other ways that led to it are tried anew.
    pub(crate) fn remove_player(self: &Rc<Self>, player: &Player) {
        self.left(player, false);
        let key = player.key();
        self.players.borrow_mut().remove(&key);
        for stream in self.all_streams() {
            if let Some(run) = stream.run.borrow_mut().as_mut() {
                run.members.remove(&key);
            }
        }
        if let Some(task) = player.task.take() {
            task.abort();
        }
        self.tell(HubEvent::Forgotten(key));
        self.go_other_ways(player);
    }

    /// The player's connection is gone, `replaced` by another one or not: it plays nothing until it is back.
    pub(crate) fn left(&self, player: &Player, replaced: bool) {
        player.disconnect();
        self.changes_after(player, replaced);
        let key = player.key();
        for stream in self.all_streams() {
            let was_there = stream.run.borrow_mut().as_mut().is_some_and(|run| {
                let Some(member) = run.members.get_mut(&key) else { return false };
                // Who was preempted stays so: the player has chosen another stream, a lost connection does not undo it. One that
                // has refused may have been put right since.
                match member.state {
                    MemberState::Preempted(_) => !replaced && !std::mem::replace(&mut member.away, true),
                    _ => run.members.remove(&key).is_some(),
                }
            });
            if was_there {
                stream.heed_listeners(now());
                self.tell_stream(&stream);
            }
        }
    }

    /// Acts on what a player's session tells.
    pub(crate) fn heard(self: &Rc<Self>, player: &Rc<Player>, event: SenderEvent) {
        match event {
            SenderEvent::PlayerReady(hello) => {
                player.hello.replace(Some(hello.clone()));
                player.called.replace(Some(hello.name.clone()));
                connect::remember(self, player);
                if ways::unite(self, player) {
                    return;
                }
                inbound::replace_former(self, player);
                self.update(player, |info| {
                    info.take_name(&hello.name);
                    info.groups = hello.groups;
                    info.software = Some(hello.software);
                    info.takes = Some(hello.formats);
                    info.reach = Reach::Ready;
                });
                if self.watcher.borrow().is_some() {
                    player.with_session(|session| session.watch(true));
                }
                for stream in self.all_streams() {
                    self.attach(&stream, player);
                }
                self.ask_what_plays(player);
            }
            SenderEvent::Accepted(id) => self.member(player, id, |member| member.state = MemberState::Playing),
            SenderEvent::Refused { id, reason } => {
                player.purge(id);
                self.member(player, id, |member| member.state = MemberState::Refused(reason));
                self.resume(player);
            }
            SenderEvent::Preempted { id, by } => {
                player.purge(id);
                let key = player.key();
                let listens = |run: &Run| run.id != id && run.members.get(&key).is_some_and(Membership::listens);
                let by_own = self.all_streams().iter().any(|stream| stream.run.borrow().as_ref().is_some_and(listens));
                self.member(player, id, |member| {
                    member.state = MemberState::Preempted(by);
                    member.by_own = by_own;
                });
            }
            SenderEvent::Status(status) => {
                self.told_what_plays(player, status.state);
                if let Some(watcher) = &mut *self.watcher.borrow_mut() {
                    watcher(&player.key(), status.clone());
                }
                if let Some(id) = status.stream {
                    // Ids are those of runs: one stream has it.
                    if let Some(stream) = self.all_streams().into_iter().find(|stream| stream.runs(id)) {
                        let left = stream.told(now(), id, &player.key(), status);
                        self.dismiss(&stream, &left);
                        if !left.is_empty() {
                            self.tell_stream(&stream);
                        }
                    }
                }
            }
            SenderEvent::Room { state, settled, .. } => self.room_heard(player, state, settled),
            SenderEvent::SetRefused(refusal) => self.not_changed(player, refusal.into()),
            SenderEvent::SetUnanswered(_) => self.not_changed(player, ChangeError::Unanswered),
            SenderEvent::Closed { code, reason } => {
                let reach = match code {
                    CloseCode::NotPaired => Reach::Refused(reason),
                    _ => Reach::Away(reason),
                };
                self.update(player, |info| info.reach = reach);
            }
        }
    }

    fn member(&self, player: &Player, id: StreamId, change: impl FnOnce(&mut Membership)) {
        if let Some(stream) = self.all_streams().into_iter().find(|stream| stream.runs(id)) {
            stream.member(id, &player.key(), change);
            stream.heed_listeners(now());
            self.tell_stream(&stream);
        }
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

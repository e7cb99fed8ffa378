//! The player's connections: senders who dial in, sources this player dials, and the session on each.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use audera_clock::Span;
use audera_link::{
    Absence, Connection as Transport, Endpoint, Listener, MET_FILE, PAYLOAD_LEN, Pause, PinError, Pinned, Protocol,
    Strangers, Target, TrustStore, dial, drive, new_line, successor,
};
use audera_wire::{CloseCode, PlayerEvent, PlayerSession, RoomChange, RoomRefusal, SessionError, TimePath};
use avahi_zbus::{Browser, Event, ServiceType};
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::{spawn_blocking, spawn_local};

use crate::clocks::KnownClocks;
use crate::config::{Access, Subscription};
use crate::connection::Connection;
use crate::monotonic::now;
use crate::room::{Arrived, Room};

const DIAL_LIMIT: Duration = Duration::from_secs(4);
/// Between looks whether a stream on an outdated connection has ended.
const PART_POLL: Duration = Duration::from_millis(250);

/// What all connections share. Lives on the network thread.
pub struct Network {
    room: Rc<Room>,
    endpoint: Endpoint,
    trust: RefCell<TrustStore>,
    connections: RefCell<Vec<Rc<Connection>>>,
    /// Rung when a connection has ended.
    departed: Notify,
    /// The player is on its way out: who comes now is sent away.
    closing: Cell<bool>,
    /// Rung when connections tell what is no longer so.
    outdated: Notify,
    /// Refused senders that have had their line in the log; they try again and again.
    strangers: RefCell<Strangers>,
    /// What was known of the clocks of peers that are gone.
    clocks: RefCell<KnownClocks>,
}

/// Where a source is.
#[derive(Clone)]
struct Place {
    target: Target,
    /// It was announced and has been withdrawn: it will be announced again when it is back.
    withdrawn: bool,
}

impl Network {
    /// Connections on behalf of `room`.
    pub fn new(room: Rc<Room>, endpoint: Endpoint, trust: TrustStore) -> Rc<Self> {
        Rc::new(Network {
            room,
            endpoint,
            trust: RefCell::new(trust),
            connections: RefCell::default(),
            departed: Notify::new(),
            closing: Cell::new(false),
            outdated: Notify::new(),
            strangers: RefCell::default(),
            clocks: RefCell::default(),
        })
    }

    /// Reads the list of trusted senders again; [`Network::judge_again`] puts it in force.
    ///
    /// # Errors
    /// The list cannot be read; the one before stays in force.
    pub fn reload_trust(&self) -> Result<(), audera_link::TrustError> {
        self.trust.borrow_mut().reload()?;
        self.strangers.borrow_mut().clear();
        Ok(())
    }

    /// Sends those away who may no longer play here, by the list and the configuration in force. Sources that this player has dialled
    /// stay: they play because it is subscribed to them.
    pub fn judge_again(&self) {
        for connection in self.connections.borrow().iter().filter(|connection| !connection.dialled) {
            if !self.is_welcome(connection) {
                connection.speak(|session| session.close(CloseCode::NotPaired, "no longer trusted"));
            }
        }
    }

    /// The room's name has changed: who is connected must hear it, and hellos are said only once.
    pub fn hello_changed(&self) {
        for connection in self.connections.borrow().iter() {
            connection.outdated.set(true);
        }
        self.outdated.notify_one();
    }

    /// Parts from outdated connections, from each when nothing plays from it, for as long as the player runs. The peers dial again.
    pub async fn part_from_outdated(self: Rc<Self>) {
        loop {
            self.outdated.notified().await;
            while self.send_outdated_away() {
                tokio::time::sleep(PART_POLL).await;
            }
        }
    }

    /// Whether there are outdated connections that stay for now.
    fn send_outdated_away(&self) -> bool {
        let connections = self.connections.borrow();
        let mut stay = false;
        for connection in connections.iter().filter(|connection| connection.outdated.get()) {
            if self.room.plays_from(connection) {
                stay = true;
            } else {
                connection.speak(|session| session.close(CloseCode::Other, "the room's name has changed"));
            }
        }
        stay
    }

    /// Accepts senders, for as long as the player runs.
    pub async fn listen(self: Rc<Self>, mut listener: Listener) {
        loop {
            match listener.accept().await {
                Ok(transport) => {
                    spawn_local(self.clone().receive(transport));
                }
                Err(failure) if failure.said_nothing() => tracing::debug!("gone: {failure}"),
                Err(failure) => tracing::info!("turned away: {failure}"),
            }
        }
    }

    /// Whether a peer may dial in and play here, and whether any peer may change the state of the room. Who has this player's own identity is
    /// this very user.
    fn is_welcome(&self, connection: &Connection) -> bool {
        self.room.config().access == Access::Open
            || connection.peer == self.endpoint.id()
            || self.trust.borrow().contains(&connection.peer)
    }

    /// The player's side of a connection that was made just now.
    /// `line` is that of a peer which this end has dialled.
    fn connection(&self, transport: &Transport, line: Option<Option<u64>>) -> Rc<Connection> {
        let mut hello = self.room.hello();
        hello.datagrams = transport.has_datagrams();
        hello.line = line.flatten();
        Connection::new(transport.peer(), PlayerSession::new(hello, now()), line.is_some())
    }

    /// A peer has told its line: the connection takes the place of an earlier one, and what is known of the clock goes on.
    fn continues(&self, connection: &Rc<Connection>, line: Option<u64>) {
        connection.line.set(line);
        let Some(line) = line else { return };
        let former = |other: &&Rc<Connection>| {
            !Rc::ptr_eq(other, connection) && other.peer == connection.peer && other.line.get() == Some(line)
        };
        // Without the list at hand, for its members may leave it when they are spoken to.
        let former: Vec<Rc<Connection>> = self.connections.borrow().iter().filter(former).cloned().collect();
        for former in former {
            // Each subscription to a source is a connection of its own. Those that this end has dialled end by its own doing.
            if !former.dialled && !connection.dialled {
                self.keep_clock(&former);
                former.speak(|session| session.close(CloseCode::Replaced, "connected anew"));
                self.room.gone(&former);
            }
        }
        let known = self.clocks.borrow_mut().take((connection.peer, line), Instant::now());
        connection.former_clock.replace(known);
    }

    /// Remembers what is known of the clock of a peer whose connection ends.
    fn keep_clock(&self, connection: &Connection) {
        let Some(line) = connection.line.get() else { return };
        // Nothing is left to be compared on it. A former clock that no exchange has confirmed is not worth keeping.
        let clock = connection.clock.take();
        self.clocks.borrow_mut().keep((connection.peer, line), clock, Instant::now());
    }

    async fn receive(self: Rc<Self>, transport: Transport) {
        let address = transport.addr();
        let connection = self.connection(&transport, None);
        if !self.is_welcome(&connection) {
            self.tell_of_stranger(&connection, address);
            let reason = format!("this room is paired and does not know the id {}", connection.peer);
            connection.speak(|session| session.close(CloseCode::NotPaired, &reason));
        }
        // Who dials us finds out by itself that it should not dial again.
        let _ = self.converse(transport, connection).await;
    }

    /// One line for each stranger, with what to do; at its further attempts only who wants to know more is told.
    fn tell_of_stranger(&self, connection: &Connection, address: SocketAddr) {
        let id = connection.peer;
        if !self.strangers.borrow_mut().is_new(&id) {
            return tracing::debug!(%address, %id, "refused again");
        }
        let file = self.trust.borrow().path().display().to_string();
        tracing::warn!(
            %address, %id,
            "refused a sender that is not paired; to trust it, add its id to {file} and reload, or set access = \"open\""
        );
    }

    /// Speaks with a peer until the connection ends. Tells whether the two came to terms, or why the peer has sent us away.
    async fn converse(self: Rc<Self>, transport: Transport, connection: Rc<Connection>) -> Result<bool, String> {
        let address = transport.addr();
        if self.closing.get() {
            connection.speak(|session| session.close(CloseCode::Shutdown, FAREWELL));
        }
        let _entry = Entry::new(&self, &connection);
        let socket = Socket { network: self.clone(), room: self.room.clone(), connection: connection.clone() };
        let ended = drive(transport, &socket, &connection.wake).await;
        // Whatever came with the last bytes, a farewell among it.
        socket.deliver();
        let name = connection.name.borrow();
        match ended {
            Ok(()) => tracing::debug!(%address, sender = %name, "disconnected"),
            Err(error) => tracing::info!(%address, sender = %name, "connection lost: {error}"),
        }
        match connection.refusal.take() {
            Some(refusal) => Err(refusal),
            None => Ok(connection.session.borrow().sender().is_some()),
        }
    }

    /// Dials a source again and again and plays what it streams.
    pub async fn subscribe(self: Rc<Self>, subscription: Subscription) {
        let mut places = self.find(&subscription);
        let line = new_line();
        let mut pause = Pause::new();
        let mut trouble = String::new();
        loop {
            let place = places.borrow_and_update().clone();
            let outcome = match place {
                Some(place) => self.dial_source(&subscription, &place.target, line).await,
                None => Err("not found on the network yet".to_owned()),
            };
            match outcome {
                Ok(true) => {
                    pause = Pause::new();
                    trouble.clear();
                }
                Ok(false) => {}
                Err(why) => {
                    if why != trouble {
                        tracing::info!(source = %subscription, "not reachable: {why}");
                    }
                    trouble = why;
                }
            }
            // It may have been withdrawn meanwhile.
            let absence = match places.borrow().as_ref().is_none_or(|place| place.withdrawn) {
                true => Absence::Announced,
                false => Absence::Unexplained,
            };
            tokio::select! {
                () = pause.wait(absence) => {}
                Ok(()) = places.changed() => pause = Pause::new(),
            }
        }
    }

    /// Keeps a conversation with a source until it ends, over another connection when nothing comes through.
    async fn dial_source(
        self: &Rc<Self>,
        subscription: &Subscription,
        target: &Target,
        line: Option<u64>,
    ) -> Result<bool, String> {
        let mut transport = self.reach(subscription, target).await?;
        loop {
            let connection = self.connection(&transport, Some(line));
            let pulse = transport.pulse();
            // A task of its own, so that it can take leave when dialling has been given up.
            let mut conversation = spawn_local(self.clone().converse(transport, connection.clone()));
            let missed_in = || {
                let at = connection.session.borrow().missed_at()?;
                Some((at - now()).to_duration())
            };
            let next =
                successor(missed_in, &connection.heard, pulse, async || self.reach(subscription, target).await.ok());
            tokio::select! {
                ended = &mut conversation => return ended.map_err(|error| error.to_string())?,
                next = next => {
                    tracing::info!(source = %subscription, "nothing came through: connected anew");
                    conversation.abort();
                    transport = next;
                }
            }
        }
    }

    async fn reach(&self, subscription: &Subscription, target: &Target) -> Result<Transport, String> {
        let transport = dial(&self.endpoint, target, DIAL_LIMIT).await.map_err(|error| error.to_string())?;
        let peer = transport.peer();
        let name = format!("source {subscription}");
        let met = self.room.config().state_dir.join(MET_FILE);
        let pin = move || TrustStore::open(met).map_err(PinError::from).and_then(|mut met| met.pin(&name, &peer));
        let pinned =
            spawn_blocking(pin).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        // Whether it takes us is not known yet: one that refuses again and again is not worth a line each time.
        match pinned {
            Pinned::New => tracing::info!(source = %subscription, id = %peer, "reached; {pinned}"),
            Pinned::Known => tracing::debug!(source = %subscription, id = %peer, "reached; {pinned}"),
        }
        Ok(transport)
    }

    /// Where a source is now, for as long as the receiver is held.
    fn find(&self, subscription: &Subscription) -> watch::Receiver<Option<Place>> {
        let name = match subscription {
            Subscription::Address { host, port } => {
                let target = Target::Name { host: host.clone(), port: *port };
                return watch::channel(Some(Place { target, withdrawn: false })).1;
            }
            Subscription::Named(name) => name.clone(),
        };
        let (found, places) = watch::channel(None);
        if !self.room.config().discovery {
            tracing::warn!(
                "the source \"{name}\" cannot be found by name without discovery: subscribe to host:port instead"
            );
            return places;
        }
        spawn_local(async move {
            // The name of the type is a constant and valid, as a test of the constants shows.
            let Ok(service_type) = ServiceType::new(audera_wire::SERVICE_SOURCE) else { return };
            let mut browser = Browser::new(service_type);
            while let Some(event) = browser.next().await {
                match event {
                    Event::Added(service) | Event::Changed(service) if service.name == name => {
                        found.send_replace(Some(Place { target: service.addresses.into(), withdrawn: false }));
                    }
                    Event::Removed(key) if key.name == name => {
                        let withdraw = |place: &mut Option<Place>| {
                            place.iter_mut().for_each(|place| place.withdrawn = true);
                            // No reason to dial.
                            false
                        };
                        found.send_if_modified(withdraw);
                    }
                    _ => {}
                }
                if found.is_closed() {
                    return;
                }
            }
        });
        places
    }

    /// Says farewell to everybody, also to those who come while it does.
    pub async fn close(&self) {
        self.closing.set(true);
        for connection in self.connections.borrow().iter() {
            connection.speak(|session| session.close(CloseCode::Shutdown, FAREWELL));
        }
        while !self.connections.borrow().is_empty() {
            self.departed.notified().await;
        }
    }
}

const FAREWELL: &str = "the player shuts down";

/// A connection's place among the others, given up when it ends, however that comes about.
struct Entry {
    network: Rc<Network>,
    connection: Rc<Connection>,
}

impl Entry {
    fn new(network: &Rc<Network>, connection: &Rc<Connection>) -> Self {
        network.connections.borrow_mut().push(connection.clone());
        network.room.joined(connection);
        Entry { network: network.clone(), connection: connection.clone() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.network.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.connection));
        self.network.departed.notify_one();
        self.network.keep_clock(&self.connection);
        self.network.room.gone(&self.connection);
    }
}

/// A session as the transport drives it.
struct Socket {
    network: Rc<Network>,
    room: Rc<Room>,
    connection: Rc<Connection>,
}

impl Protocol for Socket {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.connection.session.borrow_mut().receive(now(), bytes);
        self.connection.heard.notify_one();
        self.deliver();
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.connection.session.borrow_mut().poll_transmit(now(), out);
    }

    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        // In this order: what comes between the two readings makes the arrival later, which is but delay, and never earlier.
        let age = Span::from(arrived.elapsed());
        let arrived = now() - age;
        self.connection.session.borrow_mut().receive_datagram(arrived, payload);
        self.deliver();
    }

    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        self.connection.session.borrow_mut().poll_datagram(now())
    }

    fn next_timeout(&self) -> Option<Duration> {
        let at = self.connection.session.borrow().next_timeout()?;
        Some((at - now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        let handled = self.connection.session.borrow_mut().handle_timeout(now());
        self.deliver();
        handled
    }

    fn is_closed(&self) -> bool {
        self.connection.session.borrow().is_closed()
    }
}

impl Socket {
    fn deliver(&self) {
        // One at a time: acting on an event speaks to the session again.
        while let Some(event) = self.next_event() {
            match event {
                PlayerEvent::SenderReady(hello) => {
                    tracing::info!(sender = %hello.name, software = %hello.software, "connected");
                    self.connection.name.replace(hello.name);
                    self.network.continues(&self.connection, hello.line);
                }
                PlayerEvent::Start(start) => self.room.start(&self.connection, start),
                PlayerEvent::Audio { id, seq, stamp, glide, payload } => {
                    self.room.audio(&self.connection, id, Arrived { seq, stamp, glide, payload: &payload });
                }
                PlayerEvent::Stop(id) => self.room.stop(&self.connection, id),
                PlayerEvent::Set { number, change } => self.set(number, &change),
                PlayerEvent::Watch(on) => self.room.watch(&self.connection, on),
                PlayerEvent::Identify if self.network.is_welcome(&self.connection) => {
                    self.room.identify(&self.connection.name.borrow());
                }
                // See `set`.
                PlayerEvent::Identify => {}
                PlayerEvent::Exchange(exchange) => self.room.exchange(&self.connection, exchange),
                PlayerEvent::TimePath(path) => self.tell_of_path(path),
                PlayerEvent::Closed { code, reason } => {
                    tracing::debug!(sender = %self.connection.name.borrow(), %code, "the session is over: {reason}");
                    if code == CloseCode::NotPaired {
                        self.connection.refusal.replace(Some(reason));
                    }
                }
            }
        }
    }

    /// To be subscribed to is to be heard here, not to have a say.
    fn set(&self, number: u32, change: &RoomChange) {
        if self.network.is_welcome(&self.connection) {
            return self.room.set(&self.connection, number, change);
        }
        let why =
            format!("nothing from a source that is not trusted: add its id {} to trusted.toml", self.connection.peer);
        self.connection.speak(|session| session.not_changed(number, RoomRefusal::of_all(change, why)));
    }

    fn tell_of_path(&self, path: TimePath) {
        let sender = self.connection.name.borrow();
        match path {
            TimePath::Udp => tracing::debug!(%sender, "its clock is followed over UDP"),
            // One line for each connection, however often a bad network opens and shuts.
            TimePath::InBand if self.connection.udp_missed.replace(true) => {
                tracing::debug!(%sender, "its clock is followed in-band");
            }
            TimePath::InBand => tracing::info!(
                %sender,
                "UDP does not pass (a firewall?): its clock is followed in-band, which is less precise beside other traffic"
            ),
        }
    }

    fn next_event(&self) -> Option<PlayerEvent> {
        self.connection.session.borrow_mut().poll_event()
    }
}

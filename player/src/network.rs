//! The player's connections: senders who dial in, sources this player dials, and the session on each.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use audera_link::{Connection as Transport, Endpoint, Listener, MET_FILE, Strangers, TrustStore};
use audera_receiver::{Conversation, Dialled, Source, Subscriber, announced, converse, subscribe};
use audera_wire::{CloseCode, PlayerEvent, PlayerSession, RoomChange, RoomRefusal, TimePath};
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::clocks::KnownClocks;
use crate::config::{Access, Subscription};
use crate::connection::Connection;
use crate::monotonic::now;
use crate::room::{Arrived, Room};

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
        connection.clock.borrow_mut().continues(known);
    }

    /// Remembers what is known of the clock of a peer whose connection ends.
    fn keep_clock(&self, connection: &Connection) {
        let Some(line) = connection.line.get() else { return };
        // Nothing is left to be compared on it.
        let Some(clock) = connection.clock.borrow_mut().take() else { return };
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
        let socket = Socket { network: self.clone(), connection: connection.clone() };
        let ended = converse(transport, &socket).await;
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
        let Subscription(source) = subscription;
        let (discovery, met) = {
            let config = self.room.config();
            (config.discovery, config.state_dir.join(MET_FILE))
        };
        let places = match &source {
            Source::Named(_) if discovery => Some(announced()),
            Source::Named(name) => {
                tracing::warn!(
                    "the source \"{name}\" cannot be found by name without discovery: subscribe to host:port instead"
                );
                None
            }
            Source::Address { .. } => None,
        };
        let dialler = Dialler { network: self.clone(), source: &source };
        subscribe(&dialler, &source, &self.endpoint, &met, places).await;
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

/// Dials on behalf of the player.
struct Dialler<'a> {
    network: Rc<Network>,
    source: &'a Source,
}

impl Subscriber for Dialler<'_> {
    type Conversation = Socket;

    fn begin(&self, transport: Transport, line: Option<u64>) -> Dialled<Socket> {
        let connection = self.network.connection(&transport, Some(line));
        let ended = spawn_local(self.network.clone().converse(transport, connection.clone()));
        Dialled { conversation: Rc::new(Socket { network: self.network.clone(), connection }), ended }
    }

    fn trouble(&self, why: &str) {
        tracing::info!(source = %self.source, "not reachable: {why}");
    }
}

/// The player's part in what is said over a connection.
struct Socket {
    network: Rc<Network>,
    connection: Rc<Connection>,
}

impl Conversation for Socket {
    fn session(&self) -> &RefCell<PlayerSession> {
        &self.connection.session
    }

    fn wake(&self) -> &Notify {
        &self.connection.wake
    }

    fn heard(&self) -> &Notify {
        &self.connection.heard
    }

    fn take(&self, event: PlayerEvent) {
        match event {
            PlayerEvent::SenderReady(hello) => {
                tracing::info!(sender = %hello.name, software = %hello.software, "connected");
                self.connection.name.replace(hello.name);
                self.network.continues(&self.connection, hello.line);
            }
            PlayerEvent::Start(start) => self.network.room.start(&self.connection, start),
            PlayerEvent::Audio { id, seq, stamp, glide, payload } => {
                self.network.room.audio(&self.connection, id, Arrived { seq, stamp, glide, payload: &payload });
            }
            PlayerEvent::Stop(id) => self.network.room.stop(&self.connection, id),
            PlayerEvent::Set { number, change } => self.set(number, &change),
            PlayerEvent::Watch(on) if !on || self.network.is_welcome(&self.connection) => {
                self.network.room.watch(&self.connection, on);
            }
            // Nor who else plays here; and see `set`.
            PlayerEvent::Watch(_) => {}
            PlayerEvent::Identify if self.network.is_welcome(&self.connection) => {
                self.network.room.identify(&self.connection.name.borrow());
            }
            // See `set`.
            PlayerEvent::Identify => {}
            PlayerEvent::Exchange(exchange) => self.network.room.exchange(&self.connection, exchange),
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

impl Socket {
    /// To be subscribed to is to be heard here, not to have a say.
    fn set(&self, number: u32, change: &RoomChange) {
        if self.network.is_welcome(&self.connection) {
            return self.network.room.set(&self.connection, number, change);
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
}

#[cfg(test)]
mod tests;

//! One player as the network thread holds it: what is known of it, its session while connected, and its own bounded queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use audera_clock::SenderTime;
use audera_link::PeerId;
use audera_wire::{CloseCode, PlayerHello, RoomState, SenderSession, StreamId};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::change::Changes;
use crate::pump::Packet;
use crate::types::{PlayerInfo, PlayerKey};

/// Packets that may wait for one player. Its connection takes nothing then, and the oldest are given up.
const QUEUE: usize = 256;
/// Audio handed to the connection at once; more would only wait in its buffers.
const BATCH: usize = 8 * 1024;

/// What waits to be sent, in order.
#[derive(Debug)]
enum Queued {
    Packet(StreamId, Rc<Packet>),
    /// The stream ends behind the packets before.
    End(StreamId),
    /// So does the session.
    Farewell,
}

/// How a player is reached.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// Addresses from discovery and the identity announced with them; fixed addresses as well, if there are such.
    Announced(Vec<SocketAddr>, Option<PeerId>),
    /// Its fixed addresses alone, see [`PlayerInfo::addresses`].
    Configured,
    /// It dials us.
    Inbound,
}

/// One player.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) info: RefCell<PlayerInfo>,
    pub(crate) route: RefCell<Route>,
    pub(crate) session: RefCell<Option<SenderSession>>,
    pub(crate) hello: RefCell<Option<PlayerHello>>,
    /// It was asked on this connection what it plays, and has not told yet.
    pub(crate) asked: Cell<bool>,
    /// The state of the room, as told last on this connection.
    pub(crate) state: RefCell<Option<RoomState>>,
    /// What the player calls its room, by its own word.
    pub(crate) called: RefCell<Option<String>>,
    /// The hub's owner is to be told of it.
    pub(crate) untold: Cell<bool>,
    /// What the owner knows of it, and whether it was settled; `None`: it is told whatever it is.
    pub(crate) told: RefCell<Option<(RoomState, bool)>>,
    /// What is asked of the room.
    pub(crate) changes: RefCell<Changes>,
    /// The address of the connection.
    pub(crate) peer: Cell<Option<SocketAddr>>,
    /// Rings the connection's writer.
    pub(crate) wake: Notify,
    /// Rung when the player is heard.
    pub(crate) heard: Notify,
    /// Number of the line: the same in all connections to it.
    pub(crate) line: Option<u64>,
    /// Ends the pause before the next attempt to connect.
    pub(crate) retry: Notify,
    pub(crate) task: RefCell<Option<AbortHandle>>,
    /// What was logged last about its absence.
    pub(crate) trouble: RefCell<String>,
    queue: RefCell<VecDeque<Queued>>,
    dropped: Cell<u64>,
}

impl Player {
    pub(crate) fn new(key: PlayerKey, room: String, route: Route, line: Option<u64>) -> Rc<Player> {
        let announced = !matches!(route, Route::Inbound);
        Rc::new(Player {
            info: RefCell::new(PlayerInfo::new(key, room, announced)),
            route: RefCell::new(route),
            session: RefCell::default(),
            hello: RefCell::default(),
            asked: Cell::new(false),
            state: RefCell::default(),
            called: RefCell::default(),
            untold: Cell::new(false),
            told: RefCell::default(),
            changes: RefCell::default(),
            peer: Cell::new(None),
            wake: Notify::new(),
            heard: Notify::new(),
            line,
            retry: Notify::new(),
            task: RefCell::default(),
            trouble: RefCell::default(),
            queue: RefCell::default(),
            dropped: Cell::new(0),
        })
    }

    pub(crate) fn key(&self) -> PlayerKey {
        self.info.borrow().key.clone()
    }

    /// Whether it was found by its announcement.
    pub(crate) fn is_announced(&self) -> bool {
        matches!(*self.route.borrow(), Route::Announced(..))
    }

    /// The name that it gives itself, while it is connected.
    pub(crate) fn calls_itself(&self) -> Option<String> {
        let told = self.state.borrow().as_ref().map(|state| state.name.clone());
        told.or_else(|| self.hello.borrow().as_ref().map(|hello| hello.name.clone()))
    }

    pub(crate) fn room(&self) -> String {
        self.info.borrow().room.clone()
    }

    /// Packets that came too late to be sent, or found the queue full, since the process began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Speaks to the session, if there is one, and wakes the writer.
    pub(crate) fn with_session<R>(&self, act: impl FnOnce(&mut SenderSession) -> R) -> Option<R> {
        let answer = self.session.borrow_mut().as_mut().map(act);
        self.wake.notify_one();
        answer
    }

    /// Queues a packet. A full queue gives up its oldest packet: it is the one most likely to be too late.
    pub(crate) fn enqueue(&self, stream: StreamId, packet: Rc<Packet>) {
        let mut queue = self.queue.borrow_mut();
        let oldest = queue.iter().position(|queued| matches!(queued, Queued::Packet(..)));
        if let Some(oldest) = oldest.filter(|_| queue.len() >= QUEUE) {
            queue.remove(oldest);
            self.dropped.set(self.dropped.get() + 1);
        }
        queue.push_back(Queued::Packet(stream, packet));
        self.wake.notify_one();
    }

    /// Ends a stream behind what is queued.
    pub(crate) fn enqueue_end(&self, stream: StreamId) {
        self.queue.borrow_mut().push_back(Queued::End(stream));
        self.wake.notify_one();
    }

    /// Ends the session behind what is queued. What waits to be accepted is given up.
    pub(crate) fn enqueue_farewell(&self) {
        let streams = |id| self.session.borrow().as_ref().is_some_and(|session| session.is_streaming(id));
        let mut queue = self.queue.borrow_mut();
        queue.retain(|queued| !matches!(queued, Queued::Packet(id, _) if !streams(*id)));
        queue.push_back(Queued::Farewell);
        self.wake.notify_one();
    }

    /// Drops what is queued of a stream, for one that does not play here any more.
    pub(crate) fn purge(&self, stream: StreamId) {
        self.queue.borrow_mut().retain(|queued| !matches!(queued, Queued::Packet(id, _) if *id == stream));
    }

    /// Forgets the connection and all that waited for it.
    pub(crate) fn disconnect(&self) {
        self.session.replace(None);
        self.hello.replace(None);
        self.asked.set(false);
        self.state.replace(None);
        self.queue.borrow_mut().clear();
    }

    /// Appends what is to be sent now: the session's own messages first, then audio that is still of use.
    pub(crate) fn transmit(&self, now: SenderTime, out: &mut Vec<u8>) {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            return;
        };
        session.poll_transmit(now, out);
        let mut queue = self.queue.borrow_mut();
        while out.len() < BATCH {
            let Some(queued) = queue.front() else { return };
            match queued {
                Queued::Packet(_, packet) if packet.useless_after < now => self.dropped.set(self.dropped.get() + 1),
                Queued::Packet(id, packet) if session.is_streaming(*id) => out.extend_from_slice(&packet.bytes),
                // Not accepted yet. A stream that never will be is purged from the queue when the player says so.
                Queued::Packet(..) => return,
                Queued::End(id) => {
                    session.stop(*id);
                    session.poll_transmit(now, out);
                }
                Queued::Farewell => {
                    session.close(CloseCode::Shutdown, "the sender shuts down");
                    session.poll_transmit(now, out);
                }
            }
            queue.pop_front();
        }
    }
}

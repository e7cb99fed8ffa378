//! What the player keeps of a connected sender: its session, its clock, and how it is called.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use audera_link::PeerId;
use audera_receiver::SenderClock;
use audera_wire::{PlayerSession, StreamId};
use tokio::sync::Notify;

/// One connected sender.
#[derive(Debug)]
pub struct Connection {
    /// Its identity.
    pub peer: PeerId,
    /// What it calls itself; the short id until it has said.
    pub name: RefCell<String>,
    /// The protocol's state.
    pub session: RefCell<PlayerSession>,
    /// Rings the connection's writer.
    pub wake: Notify,
    /// Why the peer has sent us away, if it has.
    pub refusal: RefCell<Option<String>>,
    /// Whether the hello that the peer has read tells an old name or old groups.
    pub outdated: Cell<bool>,
    /// The stream that was refused last. Its sender asks again, and then gets a room that is free but none that plays.
    pub refused: Cell<Option<StreamId>>,
    /// Its clock as seen from here.
    pub clock: RefCell<SenderClock>,
    /// Number of the line, as the peer has told it.
    pub line: Cell<Option<u64>>,
    /// Whether this end has dialled.
    pub dialled: bool,
    /// Rung when the peer is heard.
    pub heard: Notify,
    /// Whether it has been told that UDP does not pass.
    pub udp_missed: Cell<bool>,
}

impl Connection {
    /// A connection to `peer`, at its beginning.
    pub fn new(peer: PeerId, session: PlayerSession, dialled: bool) -> Rc<Self> {
        Rc::new(Connection {
            peer,
            name: RefCell::new(peer.short()),
            session: RefCell::new(session),
            wake: Notify::new(),
            refusal: RefCell::default(),
            outdated: Cell::new(false),
            refused: Cell::new(None),
            clock: RefCell::default(),
            line: Cell::new(None),
            dialled,
            heard: Notify::new(),
            udp_missed: Cell::new(false),
        })
    }

    /// Does not take a stream, or cannot play it any longer.
    pub fn refuse(&self, id: StreamId, reason: &str) {
        self.refused.set(Some(id));
        self.speak(|session| session.refuse(id, reason));
    }

    /// Speaks to the session and wakes the writer.
    pub fn speak<R>(&self, say: impl FnOnce(&mut PlayerSession) -> R) -> R {
        let answer = say(&mut self.session.borrow_mut());
        self.wake.notify_one();
        answer
    }
}

//! What the player keeps of a connected sender: its session, its clock, and how it is called.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use audera_clock::ClockFilter;
use audera_link::PeerId;
use audera_wire::PlayerSession;
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
    /// Its clock as seen from here.
    pub clock: RefCell<ClockFilter>,
}

impl Connection {
    /// A connection to `peer`, at its beginning.
    pub fn new(peer: PeerId, session: PlayerSession) -> Rc<Self> {
        Rc::new(Connection {
            peer,
            name: RefCell::new(peer.short()),
            session: RefCell::new(session),
            wake: Notify::new(),
            refusal: RefCell::default(),
            outdated: Cell::new(false),
            clock: RefCell::new(ClockFilter::new()),
        })
    }

    /// Speaks to the session and wakes the writer.
    pub fn speak<R>(&self, say: impl FnOnce(&mut PlayerSession) -> R) -> R {
        let answer = say(&mut self.session.borrow_mut());
        self.wake.notify_one();
        answer
    }
}

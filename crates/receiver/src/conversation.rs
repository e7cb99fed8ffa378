//! The player's session as the transport drives it, and the clock that it is told.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use audera_clock::{PlayerTime, Span};
use audera_link::{Connection, DriveError, PAYLOAD_LEN, Protocol, drive};
use audera_wire::{PlayerEvent, PlayerSession, SessionError};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// The time now, by this host's `CLOCK_MONOTONIC`. Neither locks nor allocates.
#[must_use]
pub fn now() -> PlayerTime {
    let now = clock_gettime(ClockId::Monotonic);
    PlayerTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// One end's part in what is said over a connection.
pub trait Conversation {
    /// The protocol's state.
    fn session(&self) -> &RefCell<PlayerSession>;

    /// Rings the connection's writer: to be rung whenever something was said to the session.
    fn wake(&self) -> &Notify;

    /// Rung when the peer is heard.
    fn heard(&self) -> &Notify;

    /// Takes what the session tells. The session is not borrowed meanwhile.
    fn take(&self, event: PlayerEvent);

    /// Speaks to the session and wakes the writer.
    fn speak<R>(&self, say: impl FnOnce(&mut PlayerSession) -> R) -> R
    where
        Self: Sized,
    {
        let answer = say(&mut self.session().borrow_mut());
        self.wake().notify_one();
        answer
    }
}

/// Speaks with a peer until the connection ends; all that came has been [taken](Conversation::take) by then, a farewell among it.
///
/// # Errors
/// See [`DriveError`].
pub async fn converse<C: Conversation>(
    connection: Connection,
    conversation: &C,
) -> Result<(), DriveError<SessionError>> {
    let socket = Socket(conversation);
    let ended = drive(connection, &socket, conversation.wake()).await;
    socket.deliver();
    ended
}

struct Socket<'a, C>(&'a C);

impl<C: Conversation> Protocol for Socket<'_, C> {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.0.session().borrow_mut().receive(now(), bytes);
        self.0.heard().notify_one();
        self.deliver();
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.0.session().borrow_mut().poll_transmit(now(), out);
    }

    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        // In this order: what comes between the two readings makes the arrival later, which is but delay, and never earlier.
        let age = Span::from(arrived.elapsed());
        let arrived = now() - age;
        self.0.session().borrow_mut().receive_datagram(arrived, payload);
        self.deliver();
    }

    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        self.0.session().borrow_mut().poll_datagram(now())
    }

    fn next_timeout(&self) -> Option<Duration> {
        let at = self.0.session().borrow().next_timeout()?;
        Some((at - now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        let handled = self.0.session().borrow_mut().handle_timeout(now());
        self.deliver();
        handled
    }

    fn is_closed(&self) -> bool {
        self.0.session().borrow().is_closed()
    }
}

impl<C: Conversation> Socket<'_, C> {
    fn deliver(&self) {
        // One at a time: acting on an event speaks to the session again.
        while let Some(event) = self.next_event() {
            self.0.take(event);
        }
    }

    fn next_event(&self) -> Option<PlayerEvent> {
        self.0.session().borrow_mut().poll_event()
    }
}

//! What the player keeps of a connected sender: its session, its clock, and how it is called.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use audera_clock::{ClockFilter, Exchange, Verdict};
use audera_link::PeerId;
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
    pub clock: RefCell<ClockFilter>,
    /// What was known of the same clock on an earlier connection. It counts once an exchange has confirmed it: since then the peer's
    /// host, or this one, may have been asleep.
    pub former_clock: RefCell<Option<ClockFilter>>,
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
            clock: RefCell::new(ClockFilter::new()),
            former_clock: RefCell::default(),
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

    /// The clocks were compared.
    pub fn compare(&self, exchange: Exchange) {
        if let Some(mut former) = self.former_clock.take() {
            if former.update(exchange) == Verdict::Accepted {
                self.clock.replace(former);
                return;
            }
        }
        // The verdict only matters to whoever watches the filter.
        let _ = self.clock.borrow_mut().update(exchange);
    }

    /// Speaks to the session and wakes the writer.
    pub fn speak<R>(&self, say: impl FnOnce(&mut PlayerSession) -> R) -> R {
        let answer = say(&mut self.session.borrow_mut());
        self.wake.notify_one();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_clock::{PlayerTime, SenderTime, Span};
    use audera_wire::PlayerHello;

    /// Exchange `n`, ten milliseconds after the one before, of a sender whose clock is so far ahead.
    fn exchange(n: i64, ahead: Span) -> Exchange {
        let sent = PlayerTime::from_nanos(n * 10_000_000);
        let received = SenderTime::from_nanos(sent.as_nanos()) + ahead + Span::from_micros(100);
        Exchange { sent, received, replied: received, returned: sent + Span::from_micros(200) }
    }

    #[test]
    fn a_clock_goes_on_over_another_connection_unless_it_has_jumped() {
        let ahead = Span::from_secs(5_000);
        let mut known = ClockFilter::new();
        (0..1_000).for_each(|n| assert_eq!(known.update(exchange(n, ahead)), Verdict::Accepted));
        for (jump, skew_deviation_ppm) in [(Span::ZERO, 0.0..10.0), (Span::from_secs(1), 30.0..f64::INFINITY)] {
            let session = PlayerSession::new(PlayerHello::new("Kitchen", "test"), PlayerTime::from_nanos(0));
            let connection = Connection::new(PeerId::from([7; 32]), session, false);
            connection.former_clock.replace(Some(known.clone()));
            assert_eq!(connection.clock.borrow().estimate(), None, "nothing is believed before it is confirmed");
            let now = exchange(1_500, ahead + jump);
            connection.compare(now);
            let estimate = connection.clock.borrow().estimate().unwrap();
            let off = estimate.map.to_sender(now.returned) - SenderTime::from_nanos(now.returned.as_nanos()) - ahead;
            assert!((off - jump).abs() <= Span::from_micros(100), "{off}");
            assert!(skew_deviation_ppm.contains(&estimate.skew_deviation_ppm), "{}", estimate.skew_deviation_ppm);
        }
    }
}

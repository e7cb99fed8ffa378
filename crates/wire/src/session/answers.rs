//! What a sender says in datagrams: answers to time requests, and where it is while nobody asks.

use std::collections::VecDeque;

use audera_clock::{SenderTime, Span};

use crate::datagram::Datagram;
use crate::limits::{DATAGRAM_ALLOWANCE, DATAGRAM_RATE, MAX_TIME_PENDING};
use crate::time::{TimeReply, TimeRequest};

/// Between the first signs of a sender that is not asked; each further pause is twice as long...
const FIRST_PAUSE: Span = Span::from_millis(50);
/// ... up to this.
const LONGEST_PAUSE: Span = Span::from_millis(5_000);
/// A player asks more often than this as long as its datagrams come through.
const UNASKED: Span = Span::from_millis(6_000);

/// One answer more is allowed after each of these.
const REFILL: Span = Span::from_nanos(1_000_000_000 / DATAGRAM_RATE);

/// Requests that wait for their answer, and when the next sign is due.
#[derive(Debug)]
pub(crate) struct Answers {
    asked: VecDeque<(TimeRequest, SenderTime)>,
    /// Answers that may still be given, and since when they count.
    allowance: u8,
    counted: SenderTime,
    sign_at: SenderTime,
    sign_due: bool,
    pause: Span,
}

impl Answers {
    pub(crate) fn new(now: SenderTime) -> Self {
        Self {
            asked: VecDeque::new(),
            allowance: DATAGRAM_ALLOWANCE,
            counted: now,
            sign_at: now,
            sign_due: false,
            pause: FIRST_PAUSE,
        }
    }

    /// Takes a payload; false when it is of no use.
    #[must_use]
    pub(crate) fn receive(&mut self, arrived: SenderTime, payload: &[u8]) -> bool {
        let Ok(Datagram::Request(request)) = Datagram::decode(payload) else { return false };
        self.pause = FIRST_PAUSE;
        self.sign_at = self.sign_at.max(arrived + UNASKED);
        self.sign_due = false;
        if !self.allow(arrived) {
            return false;
        }
        // The oldest reply would be the worst one by now.
        if self.asked.len() == MAX_TIME_PENDING {
            self.asked.pop_front();
        }
        self.asked.push_back((request, arrived));
        true
    }

    /// The datagram to be sent now, if any.
    pub(crate) fn take(&mut self, now: SenderTime) -> Option<Datagram> {
        if let Some((TimeRequest { number, sent }, received)) = self.asked.pop_front() {
            return Some(Datagram::Reply(TimeReply { number, sent, received, replied: now.max(received) }));
        }
        self.handle_timeout(now);
        if !std::mem::take(&mut self.sign_due) {
            return None;
        }
        self.sign_at = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(Datagram::Here)
    }

    pub(crate) fn timeout(&self) -> Option<SenderTime> {
        (!self.sign_due).then_some(self.sign_at)
    }

    pub(crate) fn handle_timeout(&mut self, now: SenderTime) {
        self.sign_due |= now >= self.sign_at;
    }

    /// A bucket that fills steadily: an honest player stays far below it.
    fn allow(&mut self, now: SenderTime) -> bool {
        while self.allowance < DATAGRAM_ALLOWANCE && now - self.counted >= REFILL {
            self.allowance += 1;
            self.counted += REFILL;
        }
        if self.allowance == DATAGRAM_ALLOWANCE {
            self.counted = self.counted.max(now);
        }
        let allowed = self.allowance > 0;
        self.allowance -= u8::from(allowed);
        allowed
    }
}

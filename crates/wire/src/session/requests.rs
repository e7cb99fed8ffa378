//! When a player asks for the sender's time, and which reply belongs to which request.

use std::collections::VecDeque;

use audera_clock::{Exchange, PlayerTime, Span};

use crate::limits::MAX_TIME_PENDING;
use crate::session::error::SessionError;
use crate::time::{TimeReply, TimeRequest};

/// Requests at the start of a session, by which the clock is known within a fifth of a second, and of each stream, since what is
/// known from idle times may be old.
const BURST: u8 = 8;
/// Between requests of the burst.
const BURST_INTERVAL: Span = Span::from_millis(20);
/// Between requests while a stream is accepted.
const STREAMING_INTERVAL: Span = Span::from_millis(125);
/// Between requests otherwise; keeps both ends within their idle limit, and the estimate warm.
const IDLE_INTERVAL: Span = Span::from_millis(2_000);

/// Schedule and memory of time requests.
#[derive(Debug)]
pub(crate) struct Requests {
    begin: PlayerTime,
    burst_left: u8,
    last: Option<PlayerTime>,
    /// A request is due and waits for the transport; it is stamped when it leaves.
    due: bool,
    next_number: u32,
    outstanding: VecDeque<(u32, PlayerTime)>,
}

impl Requests {
    pub(crate) fn new(begin: PlayerTime) -> Self {
        Self { begin, burst_left: BURST, last: None, due: false, next_number: 0, outstanding: VecDeque::new() }
    }

    /// Asks in quick succession again.
    pub(crate) fn burst(&mut self) {
        self.burst_left = BURST;
    }

    fn scheduled(&self, streaming: bool) -> PlayerTime {
        let interval = match (self.burst_left, streaming) {
            (1.., _) => BURST_INTERVAL,
            (0, true) => STREAMING_INTERVAL,
            (0, false) => IDLE_INTERVAL,
        };
        self.last.map_or(self.begin, |last| last + interval)
    }

    /// When the next request becomes due; `None` while one waits for the transport.
    pub(crate) fn timeout(&self, streaming: bool) -> Option<PlayerTime> {
        (!self.due).then(|| self.scheduled(streaming))
    }

    pub(crate) fn handle_timeout(&mut self, now: PlayerTime, streaming: bool) {
        self.due |= now >= self.scheduled(streaming);
    }

    /// The request to send now, if one is due.
    pub(crate) fn take(&mut self, now: PlayerTime, streaming: bool) -> Option<TimeRequest> {
        self.handle_timeout(now, streaming);
        if !self.due {
            return None;
        }
        let request = TimeRequest { number: self.next_number, sent: now };
        self.due = false;
        self.last = Some(now);
        self.burst_left = self.burst_left.saturating_sub(1);
        self.next_number = self.next_number.wrapping_add(1);
        if self.outstanding.len() == MAX_TIME_PENDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((request.number, request.sent));
        Some(request)
    }

    /// The exchange that a reply completes; `None` when its request is answered or forgotten already.
    pub(crate) fn complete(&mut self, reply: &TimeReply, now: PlayerTime) -> Result<Option<Exchange>, SessionError> {
        let unasked = SessionError::TimeReply { number: reply.number };
        if reply.number >= self.next_number {
            return Err(unasked);
        }
        let Some(index) = self.outstanding.iter().position(|(number, _)| *number == reply.number) else {
            return Ok(None);
        };
        if self.outstanding[index].1 != reply.sent {
            return Err(unasked);
        }
        self.outstanding.remove(index);
        Ok(Some(Exchange { sent: reply.sent, received: reply.received, replied: reply.replied, returned: now }))
    }
}

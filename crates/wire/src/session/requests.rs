//! When a player asks for the sender's time, on which path, and which reply belongs to which request.

use std::collections::VecDeque;

use audera_clock::{Exchange, PlayerTime, Span};

use crate::limits::{MAX_DATAGRAMS_PENDING, MAX_TIME_PENDING};
use crate::session::error::SessionError;
use crate::status::TimePath;
use crate::time::{TimeReply, TimeRequest};

/// Requests at the start of a session, by which the clock is known within a fifth of a second, and of each stream, since what is
/// known from idle times may be old.
const BURST: u8 = 8;
/// Between requests of the burst.
const BURST_INTERVAL: Span = Span::from_millis(20);
/// The same in datagrams, which hold up no audio; some may be lost.
const DATAGRAM_BURST: u8 = 12;
/// Between datagrams of the burst.
const DATAGRAM_BURST_INTERVAL: Span = Span::from_millis(5);
/// Between requests while a stream is accepted; in datagrams until the clock filter says how much it needs.
const STREAMING_INTERVAL: Span = Span::from_millis(125);
/// Datagrams are not sent more often than this while a stream is accepted, ...
const LEAST_PACE: Span = Span::from_millis(10);
/// ... nor more seldom.
const MOST_PACE: Span = Span::from_millis(1_000);
/// Datagrams at this pace or slower are spread about it.
const SPREAD_FROM: Span = Span::from_millis(250);
/// Between requests otherwise; in-band it keeps both ends within their idle limit, whatever datagrams do.
const IDLE_INTERVAL: Span = Span::from_millis(2_000);

/// A datagram that has no answer by then may be lost, and the next ones follow sooner.
const OVERDUE: Span = Span::from_millis(300);
/// Between datagrams while one is overdue.
const OVERDUE_INTERVAL: Span = Span::from_millis(250);
/// So many datagrams without an answer, over [`SILENCE`] at least, and the path counts as blocked.
const MOST_UNANSWERED: u32 = 3;
/// See [`MOST_UNANSWERED`].
const SILENCE: Span = Span::from_millis(2_000);

/// After so long without a failure, a path is steady: the next failure is taken for one of its kind, and the path taken again with the
/// first answer.
const STEADY: Span = Span::from_millis(60_000);
/// A path that fails sooner rests for so long before it is taken again, ...
const FIRST_REST: Span = Span::from_millis(4_000);
/// ... each time twice as long as before, up to this.
const LONGEST_REST: Span = Span::from_millis(64_000);

/// A datagram that the transport does not take for so long is not under way.
const STUCK: Span = Span::from_millis(2_000);

/// Schedule and memory of time requests on both paths.
#[derive(Debug)]
pub(crate) struct Requests {
    begin: PlayerTime,
    in_band: Lane,
    datagrams: Option<DatagramLane>,
    /// Between datagrams while a stream is accepted.
    pace: Span,
}

/// Requests on one path.
#[derive(Debug)]
struct Lane {
    burst_left: u8,
    last: Option<PlayerTime>,
    /// Since when a request is due and waits for the transport; it is stamped when it leaves.
    due: Option<PlayerTime>,
    next_number: u32,
    outstanding: VecDeque<(u32, PlayerTime)>,
    /// So many are remembered; the oldest are forgotten.
    most_outstanding: usize,
}

/// Requests in datagrams, and whether they are answered.
#[derive(Debug)]
struct DatagramLane {
    lane: Lane,
    open: bool,
    /// When it was opened last, and shut last.
    opened: PlayerTime,
    shut: PlayerTime,
    /// It is not opened again before this has passed since it was shut.
    rest: Span,
    /// What was told of the path last.
    told: Option<TimePath>,
    /// Requests since the last answer, and when the first of them left.
    unanswered: u32,
    since: Option<PlayerTime>,
    /// There were too many of them for too long.
    silent: bool,
    /// Nobody takes the request that is due: there is no way to the peer, or none yet.
    stuck: bool,
}

impl Requests {
    /// Begins with a burst. `datagrams` says whether the transport of both ends takes them.
    pub(crate) fn new(begin: PlayerTime, datagrams: bool) -> Self {
        let datagrams = datagrams.then(|| DatagramLane {
            lane: Lane::new(DATAGRAM_BURST, MAX_DATAGRAMS_PENDING),
            open: false,
            opened: begin,
            shut: begin,
            rest: Span::ZERO,
            told: None,
            unanswered: 0,
            since: None,
            silent: false,
            stuck: false,
        });
        Self { begin, in_band: Lane::new(BURST, MAX_TIME_PENDING), datagrams, pace: STREAMING_INTERVAL }
    }

    /// Asks in quick succession again.
    pub(crate) fn burst(&mut self) {
        match &mut self.datagrams {
            Some(datagrams) if datagrams.open => datagrams.lane.burst_left = DATAGRAM_BURST,
            _ => self.in_band.burst_left = BURST,
        }
    }

    /// The path on which the clock is followed.
    pub(crate) fn path(&self) -> TimePath {
        match &self.datagrams {
            Some(datagrams) if datagrams.open => TimePath::Udp,
            _ => TimePath::InBand,
        }
    }

    /// The path, if that is news.
    pub(crate) fn news(&mut self) -> Option<TimePath> {
        let path = self.path();
        let datagrams = self.datagrams.as_mut()?;
        // In-band is no news before datagrams had their chance.
        let decided = datagrams.open || datagrams.told.is_some() || datagrams.silent || datagrams.stuck;
        (decided && datagrams.told.replace(path) != Some(path)).then_some(path)
    }

    /// Learns how often exchanges are wanted while a stream plays.
    pub(crate) fn set_pace(&mut self, pace: Span) {
        self.pace = pace.clamp(LEAST_PACE, MOST_PACE);
    }

    /// When the next request becomes due; `None` while all that are scheduled wait for the transport.
    pub(crate) fn timeout(&self, streaming: bool) -> Option<PlayerTime> {
        let in_band = self.in_band.due.is_none().then(|| self.in_band_scheduled(streaming));
        let datagram = self.datagrams.as_ref().filter(|datagrams| datagrams.lane.due.is_none());
        let datagram = datagram.map(|datagrams| datagrams.scheduled(self.begin, streaming, self.pace));
        in_band.into_iter().chain(datagram).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: PlayerTime, streaming: bool) {
        if now >= self.in_band_scheduled(streaming) {
            self.in_band.due.get_or_insert(now);
        }
        if let Some(datagrams) = &mut self.datagrams {
            let scheduled = datagrams.scheduled(self.begin, streaming, self.pace);
            if now >= scheduled {
                let due = *datagrams.lane.due.get_or_insert(now);
                datagrams.stuck |= now - due >= STUCK;
            }
            let lasting = datagrams.since.is_some_and(|since| now - since >= SILENCE);
            datagrams.silent |= lasting && datagrams.unanswered >= MOST_UNANSWERED;
            if datagrams.open && (datagrams.silent || datagrams.stuck) {
                datagrams.shut(now);
            }
        }
    }

    /// The request to send in-band now, if one is due.
    pub(crate) fn take(&mut self, now: PlayerTime, streaming: bool) -> Option<TimeRequest> {
        self.handle_timeout(now, streaming);
        self.in_band.take(now)
    }

    /// The request to send in a datagram now, if one is due.
    pub(crate) fn take_datagram(&mut self, now: PlayerTime, streaming: bool) -> Option<TimeRequest> {
        self.handle_timeout(now, streaming);
        let datagrams = self.datagrams.as_mut()?;
        let request = datagrams.lane.take(now)?;
        datagrams.unanswered = datagrams.unanswered.saturating_add(1);
        datagrams.since.get_or_insert(now);
        datagrams.stuck = false;
        Some(request)
    }

    /// What a reply in-band brings. While datagrams are answered it is a sign of life only: they tell more.
    pub(crate) fn complete(&mut self, reply: &TimeReply, now: PlayerTime) -> Result<Completed, SessionError> {
        let unasked = SessionError::TimeReply { number: reply.number };
        if reply.number >= self.in_band.next_number {
            return Err(unasked);
        }
        match self.in_band.settle(reply) {
            Settled::Unknown => Ok(Completed::Stale),
            Settled::Mismatch => Err(unasked),
            Settled::Yes if self.path() == TimePath::Udp && !self.is_overdue(now) => Ok(Completed::Heartbeat),
            Settled::Yes => Ok(Completed::Exchange(exchange(reply, now))),
        }
    }

    /// The same for a reply in a datagram, which arrived at `arrived` by the clock of whoever stamps arrivals.
    pub(crate) fn complete_datagram(&mut self, reply: &TimeReply, arrived: PlayerTime) -> Completed {
        let Some(datagrams) = &mut self.datagrams else { return Completed::Stale };
        if !matches!(datagrams.lane.settle(reply), Settled::Yes) {
            return Completed::Stale;
        }
        datagrams.unanswered = 0;
        datagrams.since = None;
        datagrams.silent = false;
        if !datagrams.open && arrived - datagrams.shut >= datagrams.rest {
            datagrams.open = true;
            datagrams.opened = arrived;
            datagrams.lane.burst_left = DATAGRAM_BURST;
            self.in_band.burst_left = 0;
        }
        // An arrival before the departure is a clock that was set meanwhile: the path is open, the times are of no use.
        if arrived < reply.sent { Completed::Stale } else { Completed::Exchange(exchange(reply, arrived)) }
    }

    /// Whether a datagram should have been answered by now: what comes in-band is welcome then.
    fn is_overdue(&self, now: PlayerTime) -> bool {
        let since = self.datagrams.as_ref().and_then(|datagrams| datagrams.since);
        since.is_some_and(|since| now - since >= OVERDUE)
    }

    fn in_band_scheduled(&self, streaming: bool) -> PlayerTime {
        let interval = match (self.path(), self.in_band.burst_left, streaming) {
            (TimePath::Udp, ..) => IDLE_INTERVAL,
            (TimePath::InBand, 1.., _) => BURST_INTERVAL,
            (TimePath::InBand, 0, true) => STREAMING_INTERVAL,
            (TimePath::InBand, 0, false) => IDLE_INTERVAL,
        };
        self.in_band.after(self.begin, interval)
    }
}

/// What a reply has brought.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) enum Completed {
    /// An exchange for the clock filter.
    Exchange(Exchange),
    /// A sign of life.
    Heartbeat,
    /// Nothing any more.
    Stale,
}

enum Settled {
    Yes,
    Mismatch,
    Unknown,
}

impl Lane {
    fn new(burst_left: u8, most_outstanding: usize) -> Self {
        Self { burst_left, last: None, due: None, next_number: 0, outstanding: VecDeque::new(), most_outstanding }
    }

    fn after(&self, begin: PlayerTime, interval: Span) -> PlayerTime {
        self.last.map_or(begin, |last| last + interval)
    }

    fn take(&mut self, now: PlayerTime) -> Option<TimeRequest> {
        self.due.take()?;
        let request = TimeRequest { number: self.next_number, sent: now };
        self.last = Some(now);
        self.burst_left = self.burst_left.saturating_sub(1);
        self.next_number = self.next_number.wrapping_add(1);
        if self.outstanding.len() == self.most_outstanding {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((request.number, request.sent));
        Some(request)
    }

    /// Strikes off the request of a reply.
    fn settle(&mut self, reply: &TimeReply) -> Settled {
        let Some(index) = self.outstanding.iter().position(|(number, _)| *number == reply.number) else {
            return Settled::Unknown;
        };
        if self.outstanding[index].1 != reply.sent {
            return Settled::Mismatch;
        }
        self.outstanding.remove(index);
        Settled::Yes
    }
}

impl DatagramLane {
    fn shut(&mut self, now: PlayerTime) {
        self.open = false;
        self.shut = now;
        let steady = now - self.opened >= STEADY;
        self.rest = if steady { Span::ZERO } else { (self.rest * 2).max(FIRST_REST).min(LONGEST_REST) };
    }

    fn scheduled(&self, begin: PlayerTime, streaming: bool, pace: Span) -> PlayerTime {
        if self.lane.burst_left > 0 {
            return self.lane.after(begin, DATAGRAM_BURST_INTERVAL);
        }
        let regular = match (self.open, streaming) {
            (true, true) if pace < SPREAD_FROM => pace,
            (true, true) => self.spread(pace),
            _ => self.spread(IDLE_INTERVAL),
        };
        let regular = self.lane.after(begin, regular);
        match (self.since, self.silent) {
            // Once it is clear that nothing comes back, there is no hurry.
            (_, true) | (None, _) => regular,
            (Some(since), false) => regular.min(self.lane.after(begin, OVERDUE_INTERVAL).max(since + OVERDUE)),
        }
    }

    /// An interval between 3/4 and 5/4 of `mean`, so that requests do not fall in step with something periodic in the network.
    /// Multiples of the golden ratio are spread evenly over it, however many there are.
    fn spread(&self, mean: Span) -> Span {
        let turn = self.lane.next_number.wrapping_mul(0x9e37_79b9) >> 16;
        mean * 3 / 4 + mean * i64::from(turn) / (2 << 16)
    }
}

fn exchange(reply: &TimeReply, returned: PlayerTime) -> Exchange {
    Exchange { sent: reply.sent, received: reply.received, replied: reply.replied, returned }
}

//! The estimator of offset and skew between two hosts' clocks, from four-timestamp exchanges.
//!
//! Network delay has a floor and a tail, and only the floor tells the offset. Each way is looked at by itself: the
//! request's apparent delay is never below `offset + floor`, the reply's gives the mirrored limit, so over a window of
//! exchanges the offset is a straight line between two envelopes. For a given slope (the skew) the envelopes are
//! where the nearest exchange on each side puts them; how likely a slope is follows from exponentially distributed
//! delays above them and a normal prior for the skew of two crystals. The estimate is the mean of that posterior, and its
//! spread is what chance leaves open. Compared with choosing exchanges of small round trip, this needs one lucky
//! message on each way but not both in one exchange, so its error falls with the number of exchanges rather than with
//! its root, and it stays centred when the two ways jitter unequally.
//!
//! Sources: the envelope view is that of S. Moon, P. Skelly and D. Towsley, "Estimation and removal of clock skew
//! from network delay measurements" (1999); that minima are the best estimators under exponential delay is shown by
//! D. Jeske, "On maximum-likelihood estimation of clock offset" (2005).

mod line;

use crate::{ClockMap, Exchange, PlayerTime, SenderTime, Span};
use line::{Line, Way};

/// What is known about the sender's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The map between the clocks.
    pub map: ClockMap,
    /// The offset is wrong by no more than this: half of the floor of the round trip, because nothing measured at
    /// the ends can tell how it divides between the ways, and what chance leaves open.
    pub bound: Span,
    /// Standard deviation of the offset by chance alone: what more exchanges, or luckier ones, would still mend.
    pub deviation: Span,
    /// How much faster the sender's clock runs than the player's, in ppm.
    pub skew_ppm: f64,
    /// Standard deviation of the skew, in ppm.
    pub skew_deviation_ppm: f64,
    /// The smallest round trip in the window.
    pub round_trip: Span,
}

/// What became of an exchange given to [`ClockFilter::update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was filtered in.
    Accepted,
    /// It contradicts the estimate. The next one decides whether it was a freak or the clocks have jumped.
    Suspect,
    /// A second one in a row contradicts the estimate: a clock has jumped (a host was suspended), and all that was
    /// learned before is forgotten. Playback times change by as much at once.
    Restarted,
    /// Its timestamps cannot be true: one clock went backwards, or the round trip is negative or longer than [`ClockFilter::MAX_ROUND_TRIP`].
    Impossible,
}

/// Estimates the map between the two hosts' clocks.
///
/// Keeps the exchanges of the last [`MEMORY`](Self::MEMORY), at most [`CAPACITY`](Self::CAPACITY) of them.
#[derive(Clone, Debug)]
pub struct ClockFilter {
    window: Vec<Limits>,
    outward: Way,
    homeward: Way,
    suspect: Option<Limits>,
    /// The skew estimated last, in ns/s.
    skew: f64,
    estimate: Option<Estimate>,
}

/// What one exchange says about the offset (sender's clock minus player's).
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// At `sent` the offset was at most `upper`.
    sent: PlayerTime,
    upper: Span,
    /// At `returned` it was at least `lower`.
    returned: PlayerTime,
    lower: Span,
    round_trip: Span,
}

/// Standard deviation of the difference of two hosts' clocks before anything is known, in ns/s.
const PRIOR_SKEW: f64 = 60_000.0;

/// Envelopes that cross by more than this, in ns, are no straight line.
const CROSSING: f64 = 10_000.0;

/// An exchange may contradict the estimate by this beyond its bound.
const CONTRADICTION: Span = Span::from_micros(500);

impl ClockFilter {
    /// Most exchanges that are kept.
    pub const CAPACITY: usize = 2_048;

    /// Longest time an exchange is kept. Old ones count for less, as crystals wander.
    pub const MEMORY: Span = Span::from_secs(240);

    /// Exchanges in the opening burst.
    pub const BURST: usize = 12;

    /// A round trip longer than this says nothing.
    pub const MAX_ROUND_TRIP: Span = Span::from_secs(5);

    /// A filter that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            window: Vec::with_capacity(Self::CAPACITY),
            outward: Way::with_capacity(Self::CAPACITY),
            homeward: Way::with_capacity(Self::CAPACITY),
            suspect: None,
            skew: 0.0,
            estimate: None,
        }
    }

    /// Takes one exchange. Costs some microseconds per hundred exchanges in the window.
    pub fn update(&mut self, exchange: Exchange) -> Verdict {
        let limits = Limits::of(&exchange);
        let backwards = exchange.returned < exchange.sent || exchange.replied < exchange.received;
        if backwards || limits.round_trip.is_negative() || limits.round_trip > Self::MAX_ROUND_TRIP {
            return Verdict::Impossible;
        }
        let mut verdict = Verdict::Accepted;
        if self.estimate.is_some_and(|estimate| limits.contradicts(&estimate)) {
            let Some(before) = self.suspect.replace(limits) else {
                return Verdict::Suspect;
            };
            self.reset();
            self.window.push(before);
            verdict = Verdict::Restarted;
        }
        self.suspect = None;
        self.admit(limits);
        self.solve();
        verdict
    }

    /// The present estimate; `None` before the first exchange.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    /// How long to wait before the next exchange, when `age` has passed since the first: the sooner the less is known, and seldom
    /// when there is nothing left to be learned but the wandering of crystals.
    ///
    /// On a wired network that is a burst of 60 ms, some hundred exchanges in the first seconds and then four or fewer in a second: the error of
    /// the clock is what dominates the distance between rooms in the first half-minute. Where delays scatter by 20 ms, it takes some
    /// hundred exchanges until chance leaves less than 100 us open, and those are worth having within seconds.
    #[must_use]
    pub fn pace(&self, age: Span) -> Span {
        let Some(estimate) = self.estimate.filter(|_| self.window.len() >= Self::BURST) else {
            // A clock that is set again and again does not become known by asking more.
            return Span::from_millis(if age < Span::from_secs(3) { 5 } else { 50 });
        };
        // Chance a second from now: a skew that is not known yet counts as well.
        let chance_us = (estimate.deviation.as_nanos() as f64 * 1e-3).hypot(estimate.skew_deviation_ppm);
        let needed = match chance_us as u64 {
            5.. => 10,
            3.. => 20,
            2.. => 50,
            1.. => 100,
            _ => 500,
        };
        // What has not helped for so long is not worth its cost.
        let least = match age.as_millis() {
            ..3_000 => 10,
            3_000..10_000 => 20,
            10_000..30_000 => 50,
            _ => 250,
        };
        Span::from_millis(needed.max(least))
    }

    /// Forgets everything, as for another sender.
    pub fn reset(&mut self) {
        self.window.clear();
        self.suspect = None;
        self.skew = 0.0;
        self.estimate = None;
    }

    fn admit(&mut self, limits: Limits) {
        let newest = limits.returned;
        self.window.retain(|old| old.returned <= newest && newest - old.sent <= Self::MEMORY);
        if self.window.len() == Self::CAPACITY {
            self.window.remove(0);
        }
        self.window.push(limits);
    }

    fn solve(&mut self) {
        while let Some(newest) = self.window.last().copied() {
            let round_trip = self.window.iter().map(|limits| limits.round_trip).min().unwrap_or(Span::ZERO);
            let nanos = round_trip.as_nanos() as f64;
            self.outward.renew(self.window.iter().map(|limits| limits.outward_of(&newest)), self.skew, nanos);
            self.homeward.renew(self.window.iter().map(|limits| limits.homeward_of(&newest)), -self.skew, nanos);
            // What a delay is worth depends on the skew, and the skew on what delays are worth.
            let line = Line::between(&self.outward, &self.homeward, PRIOR_SKEW);
            self.outward.weigh(line.slope, nanos);
            self.homeward.weigh(-line.slope, nanos);
            let line = Line::between(&self.outward, &self.homeward, PRIOR_SKEW);
            if !line.is_finite() {
                self.reset();
                return;
            }
            self.skew = line.slope;
            if line.gap < -CROSSING && self.window.len() > 1 {
                // A clock was slewed or a route changed: what is older describes another line.
                let keep_from = self.window.len().div_ceil(2);
                self.window.drain(..keep_from);
                continue;
            }
            self.estimate = Some(Self::conclude(&newest, &line, round_trip));
            return;
        }
    }

    fn conclude(newest: &Limits, line: &Line, round_trip: Span) -> Estimate {
        let offset = newest.base() + Span::from_nanos(line.offset.round() as i64);
        let sender_ref = SenderTime::from_nanos(newest.returned.as_nanos()) + offset;
        // Three standard deviations of what chance leaves open, on top of what no measurement can tell.
        let bound = 0.5 * line.gap.max(0.0) + 3.0 * line.offset_deviation;
        Estimate {
            map: ClockMap::new(sender_ref, newest.returned, line.slope * 1e-9),
            bound: Span::from_nanos(bound.ceil() as i64),
            deviation: Span::from_nanos(line.offset_deviation.ceil() as i64),
            skew_ppm: line.slope * 1e-3,
            skew_deviation_ppm: line.slope_deviation * 1e-3,
            round_trip,
        }
    }
}

impl Default for ClockFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    fn of(exchange: &Exchange) -> Self {
        Self {
            sent: exchange.sent,
            upper: exchange.outward(),
            returned: exchange.returned,
            lower: -exchange.homeward(),
            round_trip: exchange.round_trip(),
        }
    }

    /// The offset all others are computed relative to, so that they fit a float to the nanosecond.
    fn base(&self) -> Span {
        self.lower
    }

    /// Time and apparent delay of the request, relative to `newest`: seconds, and ns less its base.
    fn outward_of(&self, newest: &Self) -> (f64, f64) {
        ((self.sent - newest.returned).as_secs_f64(), (self.upper - newest.base()).as_nanos() as f64)
    }

    /// Time and apparent delay of the reply, relative to `newest`: seconds, and ns plus its base.
    fn homeward_of(&self, newest: &Self) -> (f64, f64) {
        ((self.returned - newest.returned).as_secs_f64(), (newest.base() - self.lower).as_nanos() as f64)
    }

    /// Whether no offset near the estimated one could have produced these timestamps.
    fn contradicts(&self, estimate: &Estimate) -> bool {
        let tolerance = estimate.bound + CONTRADICTION;
        let offset =
            |at: PlayerTime| Span::from_nanos(estimate.map.to_sender(at).as_nanos().saturating_sub(at.as_nanos()));
        offset(self.sent) - self.upper > tolerance || self.lower - offset(self.returned) > tolerance
    }
}

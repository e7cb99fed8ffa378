//! The estimator of offset and skew between two hosts' clocks, from four-timestamp exchanges.
//!
//! Network delay has a floor and a tail, and only the floor tells the offset. Each way is looked at by itself: the
//! request's apparent delay is never below `offset + floor`, the reply's gives the mirrored limit, so over a window of
//! exchanges the offset is a straight line between two envelopes. For a given slope (the skew) the envelopes are
//! where the nearest exchange on each side puts them; the slope is the one that makes exponentially distributed delays
//! above them most likely, under a normal prior for the skew of two crystals. Compared with choosing exchanges of small
//! round trip, this needs one lucky message on each way but not both in one exchange, so its error falls with the
//! number of exchanges rather than with its root, and it stays centred when the two ways jitter unequally.
//!
//! Sources: the envelope view is that of S. Moon, P. Skelly and D. Towsley, "Estimation and removal of clock skew
//! from network delay measurements" (1999); that minima are the best estimators under exponential delay is shown by
//! D. Jeske, "On maximum-likelihood estimation of clock offset" (2005).

use crate::{ClockMap, Exchange, PlayerTime, SenderTime, Span};

/// What is known about the sender's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The map between the clocks.
    pub map: ClockMap,
    /// The offset is wrong by no more than this: half of the floor of the round trip, because nothing measured at
    /// the ends can tell how it divides between the ways, and what the statistics leave open.
    pub bound: Span,
    /// How much faster the sender's clock runs than the player's, in ppm.
    pub skew_ppm: f64,
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
    scratch: Vec<f64>,
    suspect: Option<Limits>,
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

/// The two envelopes of a window for some skew: offsets in ns relative to the newest exchange, at its time.
#[derive(Clone, Copy, Debug)]
struct Envelopes {
    upper: f64,
    lower: f64,
}

/// Mean delay above the floor, in ns, on each way.
#[derive(Clone, Copy, Debug)]
struct Excess {
    outward: f64,
    homeward: f64,
}

/// Standard deviation of the difference of two hosts' clocks before anything is known, relative.
const PRIOR_SKEW: f64 = 60e-6;

/// The search for the skew does not look beyond this, relative: NTP may slew a clock by 500 ppm.
const MAX_SKEW: f64 = 1_000e-6;

/// Delay is never taken to be steadier than this, in ns: time stamps themselves are not.
const LEAST_EXCESS: f64 = 2_000.0;

/// Envelopes that cross by more than this, in ns, are no straight line.
const CROSSING: f64 = 10_000.0;

/// An exchange may contradict the estimate by this beyond its bound.
const CONTRADICTION: Span = Span::from_micros(500);

impl ClockFilter {
    /// Most exchanges that are kept.
    pub const CAPACITY: usize = 512;

    /// Longest time an exchange is kept. A crystal in a room holds its rate to some 0.05 ppm for as long.
    pub const MEMORY: Span = Span::from_secs(240);

    /// A round trip longer than this says nothing.
    pub const MAX_ROUND_TRIP: Span = Span::from_secs(5);

    /// A filter that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            window: Vec::with_capacity(Self::CAPACITY),
            scratch: Vec::with_capacity(Self::CAPACITY),
            suspect: None,
            skew: 0.0,
            estimate: None,
        }
    }

    /// Takes one exchange. Costs some ten microseconds per hundred exchanges in the window.
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
        loop {
            let Some(newest) = self.window.last().copied() else {
                return;
            };
            let excess = self.excess(&newest, self.skew);
            self.skew = self.likeliest_skew(&newest, excess);
            let envelopes = self.envelopes(&newest, self.skew);
            if envelopes.upper - envelopes.lower < -CROSSING && self.window.len() > 1 {
                // A clock was slewed or a route changed: what is older describes another line.
                let keep_from = self.window.len().div_ceil(2);
                self.window.drain(..keep_from);
                continue;
            }
            let excess = self.excess(&newest, self.skew);
            self.estimate = Some(self.conclude(&newest, envelopes, excess));
            return;
        }
    }

    fn conclude(&self, newest: &Limits, envelopes: Envelopes, excess: Excess) -> Estimate {
        let count = self.window.len() as f64;
        // The nearest of `count` exponential delays still lies a `count`th of their mean above the floor.
        let (outward, homeward) = match self.window.len() {
            0..4 => (0.0, 0.0),
            _ => (excess.outward / count, excess.homeward / count),
        };
        let offset = 0.5 * ((envelopes.upper - outward) + (envelopes.lower + homeward));
        let offset = newest.base() + Span::from_nanos(offset.round() as i64);
        let sender_ref = SenderTime::from_nanos(newest.returned.as_nanos()) + offset;

        let age = self.window.first().map_or(0.0, |oldest| (newest.returned - oldest.sent).as_secs_f64());
        let seen = count * age / (4.0 * (excess.outward + excess.homeward) * 1e-9);
        let skew_deviation = (1.0 / (PRIOR_SKEW * PRIOR_SKEW) + seen * seen).sqrt().recip();
        let gap = (envelopes.upper - envelopes.lower).max(0.0);
        // Two standard deviations of what chance leaves open, on top of what no measurement can tell.
        let chance = (excess.outward + excess.homeward) / count + skew_deviation * age * 1e9;
        let bound = 0.5 * gap + 2.0 * chance;
        Estimate {
            map: ClockMap::new(sender_ref, newest.returned, self.skew),
            bound: Span::from_nanos(bound.ceil() as i64),
            skew_ppm: self.skew * 1e6,
            round_trip: self.window.iter().map(|limits| limits.round_trip).min().unwrap_or(Span::ZERO),
        }
    }

    fn envelopes(&self, newest: &Limits, skew: f64) -> Envelopes {
        let mut envelopes = Envelopes { upper: f64::INFINITY, lower: f64::NEG_INFINITY };
        for limits in &self.window {
            envelopes.upper = envelopes.upper.min(limits.upper_at(newest, skew));
            envelopes.lower = envelopes.lower.max(limits.lower_at(newest, skew));
        }
        envelopes
    }

    /// The mean of delays above the floor, from their lower quartile so that a long tail does not count.
    fn excess(&mut self, newest: &Limits, skew: f64) -> Excess {
        let envelopes = self.envelopes(newest, skew);
        let mut mean_above = |above: &dyn Fn(&Limits) -> f64| {
            self.scratch.clear();
            self.scratch.extend(self.window.iter().map(above));
            let quarter = self.scratch.len() / 4;
            let (_, quartile, _) = self.scratch.select_nth_unstable_by(quarter, f64::total_cmp);
            // The quartile of an exponential distribution is at ln(4/3) of its mean.
            (*quartile / 0.2877).max(LEAST_EXCESS)
        };
        Excess {
            outward: mean_above(&|limits| limits.upper_at(newest, skew) - envelopes.upper),
            homeward: mean_above(&|limits| envelopes.lower - limits.lower_at(newest, skew)),
        }
    }

    /// Maximises the posterior of the skew, which is concave, by golden-section search.
    fn likeliest_skew(&self, newest: &Limits, excess: Excess) -> f64 {
        let count = self.window.len() as f64;
        let mean = |at: fn(&Limits) -> PlayerTime| {
            self.window.iter().map(|limits| (at(limits) - newest.returned).as_nanos() as f64).sum::<f64>() / count
        };
        let (mean_sent, mean_returned) = (mean(|limits| limits.sent), mean(|limits| limits.returned));
        let posterior = |skew: f64| {
            let envelopes = self.envelopes(newest, skew);
            let outward = (envelopes.upper + skew * mean_sent) / excess.outward;
            let homeward = (envelopes.lower + skew * mean_returned) / excess.homeward;
            count * (outward - homeward) - 0.5 * (skew / PRIOR_SKEW) * (skew / PRIOR_SKEW)
        };
        let shrink = 0.5 * (5.0_f64.sqrt() - 1.0);
        let (mut low, mut high) = (-MAX_SKEW, MAX_SKEW);
        let (mut left, mut right) = (high - shrink * (high - low), low + shrink * (high - low));
        let (mut at_left, mut at_right) = (posterior(left), posterior(right));
        for _ in 0..36 {
            if at_left < at_right {
                low = left;
                (left, at_left) = (right, at_right);
                right = low + shrink * (high - low);
                at_right = posterior(right);
            } else {
                high = right;
                (right, at_right) = (left, at_left);
                left = high - shrink * (high - low);
                at_left = posterior(left);
            }
        }
        0.5 * (low + high)
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

    /// The upper limit carried to the time of `newest` along `skew`; ns relative to its base.
    fn upper_at(&self, newest: &Self, skew: f64) -> f64 {
        (self.upper - newest.base()).as_nanos() as f64 - skew * (self.sent - newest.returned).as_nanos() as f64
    }

    /// The lower limit carried to the time of `newest` along `skew`; ns relative to its base.
    fn lower_at(&self, newest: &Self, skew: f64) -> f64 {
        (self.lower - newest.base()).as_nanos() as f64 - skew * (self.returned - newest.returned).as_nanos() as f64
    }

    /// Whether no offset near the estimated one could have produced these timestamps.
    fn contradicts(&self, estimate: &Estimate) -> bool {
        let tolerance = estimate.bound + CONTRADICTION;
        let offset =
            |at: PlayerTime| Span::from_nanos(estimate.map.to_sender(at).as_nanos().saturating_sub(at.as_nanos()));
        offset(self.sent) - self.upper > tolerance || self.lower - offset(self.returned) > tolerance
    }
}

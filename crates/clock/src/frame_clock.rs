//! The map of a device's frame index to monotonic time, filtered from noisy observations.
//!
//! A two-state Kalman filter (time of a frame, length of a frame) fed by one observation per cycle. With constant
//! noise terms it is a delay-locked loop whose bandwidth starts wide and narrows by itself, whatever the quantum:
//! the first observation is taken as it is, after a second the noise of some fifty observations is averaged, in
//! steady state that of about five seconds.

use crate::{Span, Time};

/// What an observation did to a [`FrameClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The observation was filtered in; times stay smooth.
    Steady,
    /// The map was young and had begun on a wake-up that came late: it was set anew on this observation. The device has not jumped.
    Corrected,
    /// The map was set anew on this observation: the device jumped.
    Reanchored {
        /// By how much later this observation came than the map had predicted. Zero where there was no prediction,
        /// because the frame index went backwards.
        jump: Span,
    },
}

/// A filtered map of frame index to time on the clock `S`.
///
/// The first observation may be a late wake-up; the map is to be relied on when it [is sure](Self::is_sure), and is corrected within
/// its first observations only. Later, one wake-up that comes a few milliseconds late does not disturb it; a lasting shift does, and one of
/// more than [`JUMP`](Self::JUMP) is reported as a discontinuity. From `JUMP` to [`LATE_WAKE_UP`](Self::LATE_WAKE_UP) it
/// takes observations that agree, two if they are early and three if they are late, to tell a jump from a late wake-up.
#[derive(Clone, Debug)]
pub struct FrameClock<S> {
    nominal_ns: f64,
    anchor: Option<Anchor<S>>,
    /// What is known of the crystal while there is no anchor.
    crystal: Crystal,
    suspect: Option<Suspect>,
    /// Consecutive observations beyond the gate on one side: positive late, negative early.
    streak: i32,
    /// Observations that agreed with the map since it was anchored or corrected, up to [`YOUNG`].
    agreed: u32,
    /// Observations since it was anchored, up to [`YOUTH`].
    seen: u32,
}

/// Observations in a row that would be a jump if they were true, by how much, and how many of them agree.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    off: Span,
    count: u32,
}

/// Length of a frame relative to the nominal one, minus one; and the variance of that.
#[derive(Clone, Copy, Debug)]
struct Crystal {
    stretch: f64,
    variance: f64,
}

/// State of the filter at the frame observed last.
#[derive(Debug)]
struct Anchor<S> {
    position: u64,
    at: Time<S>,
    /// Correction of `at` below a nanosecond, in ns.
    fine_ns: f64,
    /// Length of a frame relative to the nominal one, minus one.
    stretch: f64,
    /// Covariance: time in ns^2, time and stretch in ns, stretch.
    var_time: f64,
    covar: f64,
    var_stretch: f64,
}

impl<S> Clone for Anchor<S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// Assumed standard deviation of one observation, in ns. Wake-ups of an ordinary kernel scatter by some 30 us; the
/// time stamps of a driver are better, and then the filter is merely more patient than it need be.
const NOISE_NS: f64 = 40_000.0;

/// How far off a crystal is thought to be before anything is known, relative (standard deviation).
const PRIOR_STRETCH: f64 = 150e-6;

/// Random walk of a crystal's rate, relative per square root of a second. Sets the steady-state memory of about
/// (noise^2 * cycle / walk^2)^(1/4), some six seconds at a cycle of 10 ms.
const WALK: f64 = 0.1e-6;

/// Observations further off than so many standard deviations are pulled in to it.
const GATE: f64 = 3.5;

/// Observations further off than so many standard deviations tell of the scheduler, not of the device, and are left out.
const SENSELESS: f64 = 8.0;

/// After so many observations beyond the gate on one side it is the map that is wrong.
const STREAK: i32 = 8;

/// Observations of a device that has jumped are off by the same; those of a thread that comes late are not.
const AGREEMENT: Span = Span::from_micros(500);

/// A map on so few observations is young: it may rest on a late wake-up itself.
const YOUNG: u32 = 8;

/// However little agrees: a device that tells its time coarsely never does, and a map that is not young bears it.
const YOUTH: u32 = 16;

/// A young map is wrong after so many observations beyond the gate on one side.
const YOUNG_STREAK: i32 = 3;

/// No device runs further off its nominal rate than this, relative.
const MAX_STRETCH: f64 = 2e-3;

impl<S> FrameClock<S> {
    /// An observation further off than this, when it lasts, is a jump of the device and not noise.
    pub const JUMP: Span = Span::from_millis(5);

    /// An observation further off than this is a jump at once: no wake-up is that late.
    pub const LATE_WAKE_UP: Span = Span::from_millis(100);

    /// A clock for a device of nominally `rate` frames per second (8 to 768000; clamped).
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let nominal_ns = 1e9 / f64::from(rate.clamp(8, 768_000));
        let crystal = Crystal { stretch: 0.0, variance: PRIOR_STRETCH * PRIOR_STRETCH };
        Self { nominal_ns, anchor: None, crystal, suspect: None, streak: 0, agreed: 0, seen: 0 }
    }

    /// Takes the observation that frame `position` is due at `at`. Positions rise from call to call.
    pub fn observe(&mut self, position: u64, at: Time<S>) -> Observed {
        let Some(anchor) = &mut self.anchor else {
            self.anchor = Some(Anchor::new(position, at, self.crystal));
            return Observed::Steady;
        };
        if position < anchor.position {
            self.reanchor(position, at);
            return Observed::Reanchored { jump: Span::ZERO };
        }
        let mut predicted = anchor.clone();
        predicted.advance(position, self.nominal_ns);
        let off = at - predicted.at;
        let gate = predicted.gate();
        self.seen = (self.seen + 1).min(YOUTH);
        let young = self.agreed < YOUNG && self.seen < YOUTH;
        if off.abs() > Self::JUMP && !(young && off.is_negative()) {
            let count = match self.suspect {
                Some(before) if (off - before.off).abs() <= AGREEMENT => before.count + 1,
                _ => 1,
            };
            // Wake-ups come late in a row when something holds a processor, but never early.
            let confirmed = count >= if off.is_negative() { 2 } else { 3 };
            if confirmed || off.abs() > Self::LATE_WAKE_UP {
                self.reanchor(position, at);
                self.agreed = u32::from(confirmed);
                return Observed::Reanchored { jump: off };
            }
            // The map runs on without this observation; the state stays where it was, to be advanced next time.
            self.suspect = Some(Suspect { off, count });
            return Observed::Steady;
        }
        self.suspect = None;
        let innovation = off.as_nanos() as f64 - predicted.fine_ns;
        self.streak = match innovation {
            late if late > gate => self.streak.max(0) + 1,
            early if early < -gate => self.streak.min(0) - 1,
            _ => 0,
        };
        if self.streak == 0 {
            self.agreed = (self.agreed + 1).min(YOUNG);
        }
        // No wake-up is early: when one seems to be, those before it were late.
        if young && (innovation < -gate || self.streak >= YOUNG_STREAK) {
            self.streak = 0;
            self.agreed = 0;
            let crystal = Crystal { stretch: predicted.stretch, variance: predicted.var_stretch };
            self.anchor = Some(Anchor::new(position, at, crystal));
            return Observed::Corrected;
        }
        if self.streak.abs() >= STREAK {
            predicted.open(innovation);
            self.streak = 0;
        }
        *anchor = predicted;
        anchor.correct(innovation);
        Observed::Steady
    }

    /// Whether observations have agreed on the map since it was anchored. Until then it may be wrong by as much as a
    /// wake-up can be late.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.agreed > 0 || self.seen >= YOUTH
    }

    /// When frame `position` is due, by the filtered map; earlier and later frames than those observed alike.
    /// `None` before the first observation.
    #[must_use]
    pub fn time_of(&self, position: u64) -> Option<Time<S>> {
        let anchor = self.anchor.as_ref()?;
        let frames = i128::from(position) - i128::from(anchor.position);
        let ns = frames as f64 * self.nominal_ns * (1.0 + anchor.stretch) + anchor.fine_ns;
        Some(anchor.at + Span::from_nanos(ns.round() as i64))
    }

    /// How much faster than its nominal rate the device runs, in ppm of the clock `S`; zero before anything is known.
    #[must_use]
    pub fn rate_ppm(&self) -> f64 {
        self.anchor.as_ref().map_or(0.0, |anchor| (1.0 / (1.0 + anchor.stretch) - 1.0) * 1e6)
    }

    /// Standard deviation of the time of the frame observed last; the longest span before anything is known.
    #[must_use]
    pub fn deviation(&self) -> Span {
        self.anchor.as_ref().map_or(Span::MAX, |anchor| Span::from_nanos(anchor.var_time.max(0.0).sqrt().ceil() as i64))
    }

    /// Standard deviation of [`rate_ppm`](Self::rate_ppm).
    #[must_use]
    pub fn rate_deviation_ppm(&self) -> f64 {
        let variance = self.anchor.as_ref().map_or(self.crystal.variance, |anchor| anchor.var_stretch);
        variance.max(0.0).sqrt() * 1e6
    }

    /// Forgets the device's position and keeps its rate: the next observation is taken as it is. For a device that
    /// was re-opened or had an xrun.
    pub fn reset(&mut self) {
        if let Some(anchor) = self.anchor.take() {
            // The rate is most likely still that of the same crystal, but another device may have taken over.
            let prior = PRIOR_STRETCH * PRIOR_STRETCH;
            self.crystal = Crystal { stretch: anchor.stretch, variance: (anchor.var_stretch + prior / 4.0).min(prior) };
        }
        self.suspect = None;
        self.streak = 0;
        self.agreed = 0;
        self.seen = 0;
    }

    fn reanchor(&mut self, position: u64, at: Time<S>) {
        self.reset();
        self.anchor = Some(Anchor::new(position, at, self.crystal));
    }
}

impl<S> Anchor<S> {
    fn new(position: u64, at: Time<S>, crystal: Crystal) -> Self {
        let Crystal { stretch, variance: var_stretch } = crystal;
        Self { position, at, fine_ns: 0.0, stretch, var_time: NOISE_NS * NOISE_NS, covar: 0.0, var_stretch }
    }

    /// Predicts the state at `position`, which is not before the present one.
    fn advance(&mut self, position: u64, nominal_ns: f64) {
        let span_ns = position.saturating_sub(self.position) as f64 * nominal_ns;
        let ahead = span_ns * (1.0 + self.stretch) + self.fine_ns;
        let whole = ahead.round();
        self.at += Span::from_nanos(whole as i64);
        self.fine_ns = ahead - whole;
        self.position = position;

        let walk = WALK * WALK * span_ns * 1e-9;
        self.var_time += span_ns * (2.0 * self.covar + span_ns * (self.var_stretch + walk / 3.0));
        self.covar += span_ns * (self.var_stretch + walk / 2.0);
        self.var_stretch += walk;
    }

    /// Distance from the prediction, in ns, beyond which an observation is hardly noise.
    fn gate(&self) -> f64 {
        GATE * (self.var_time + NOISE_NS * NOISE_NS).sqrt()
    }

    /// Opens the time, not the rate, to an `innovation` (ns): a lasting shift says nothing about the crystal.
    fn open(&mut self, innovation: f64) {
        self.var_time += innovation * innovation;
        self.covar = 0.0;
    }

    /// Filters `innovation` (ns) in.
    fn correct(&mut self, innovation: f64) {
        let gate = self.gate();
        if innovation.abs() > gate * (SENSELESS / GATE) {
            return;
        }
        let pulled = innovation.clamp(-gate, gate);
        let total = self.var_time + NOISE_NS * NOISE_NS;
        let (gain_time, gain_stretch) = (self.var_time / total, self.covar / total);
        self.fine_ns += gain_time * pulled;
        self.stretch = (self.stretch + gain_stretch * pulled).clamp(-MAX_STRETCH, MAX_STRETCH);
        self.var_stretch -= gain_stretch * self.covar;
        self.covar *= 1.0 - gain_time;
        self.var_time *= 1.0 - gain_time;
    }
}

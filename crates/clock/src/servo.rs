//! The playback servo: a proportional-integral controller whose bandwidth follows from what its error is known to be worth.
//!
//! The plant is an integrator: a stream played at rate `1 + u` makes up for `u` seconds of error in every second. A PI
//! controller makes that a second-order loop (a delay-locked loop in the manner of F. Adriaensen, "Using a DLL to
//! filter time", 2005) with natural frequency `w` and damping `z`: `u = 2 z w e + w^2 * integral(e)`. The integral
//! is the learned difference of the clocks' rates; it survives while the bandwidth changes.
//!
//! Every change of rate is paid for in fidelity, so the loop is as slow as it may be. The clocks come with standard
//! deviations. As long as the error to be expected a second from now could be chance, the rate hardly moves; the
//! further it lies beyond that, the faster the loop becomes. So a card whose rate is learned in the first second, or an
//! estimate of the sender's clock that was mended, is followed at once, and noise is not.
//!
//! The proportional part goes through a low-pass, so that a step of the error bends the rate instead of breaking it.

use crate::Span;
use std::f64::consts::TAU;

/// How a [`Servo`] behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServoConfig {
    /// Natural frequency for an error that is certain and large, in Hz; 0.05 to 2.
    pub wide_hz: f64,
    /// Natural frequency for errors that mean nothing, in Hz; at most `wide_hz`.
    pub narrow_hz: f64,
    /// An error below this means nothing, however well the clocks are known.
    pub tolerance: Span,
    /// How fast the rate may change for an error that means nothing, in ppm per second. The less is known, the larger such errors
    /// are, and the narrower the loop becomes below `narrow_hz`.
    pub bend_ppm: f64,
    /// Largest rate correction of all, in ppm; what is learned and what slews an error together stay within it.
    pub limit_ppm: f64,
    /// Largest rate correction around the learned rate for a small error once the rates are known, in ppm.
    pub settled_limit_ppm: f64,
    /// So large may a small error be.
    pub small: Span,
    /// What a larger one is beyond that is made up for in about this time.
    pub slew: Span,
}

impl Default for ServoConfig {
    /// Settles a card 100 ppm off within two seconds, then averages over some ten seconds. 1000 ppm are less than two
    /// cents of pitch, 40 ppm less than a tenth of one: neither is heard, even on a held tone. Where delays scatter by 20 ms, a luckier
    /// exchange mends what is known of the sender's clock by a tenth of a millisecond; that is no reason to hurry.
    fn default() -> Self {
        Self {
            wide_hz: 0.6,
            narrow_hz: 0.03,
            tolerance: Span::from_micros(12),
            bend_ppm: 0.15,
            limit_ppm: 1_000.0,
            settled_limit_ppm: 40.0,
            small: Span::from_micros(250),
            slew: Span::from_secs(2),
        }
    }
}

/// What a [`Servo`] is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// How late playback is; negative when it is early.
    pub error: Span,
    /// Standard deviation of the error.
    pub uncertainty: Span,
    /// By how much the error is expected to grow in a second at the present rate, in ppm.
    pub drift_ppm: f64,
    /// Standard deviation of the drift.
    pub drift_uncertainty_ppm: f64,
}

/// Turns the error of a playback position into a rate correction.
#[derive(Clone, Debug)]
pub struct Servo {
    config: ServoConfig,
    /// The learned rate difference, relative.
    learned: f64,
    /// The rate, relative, by which the present error is being made up for.
    slew: f64,
    /// The rate given last, relative.
    rate: f64,
    error: Span,
}

/// Damping of the loop: somewhat more than critical needs no overshoot, less settles faster.
const DAMPING: f64 = 0.9;

/// Time constant of the low-pass, in units of the loop's: adds a pole at five times the natural frequency, which costs some 20 degrees of
/// phase.
const SMOOTHING: f64 = 0.2;

/// The loop is sampled: beyond this many radians per update it would no longer behave like its continuous model.
const MAX_STEP: f64 = 0.25;

/// The drift is never known better than this, in ppm.
const LEAST_DRIFT_PPM: f64 = 2.0;

/// Rates are being learned while their standard deviation is of this order, in ppm.
const DOUBT_PPM: f64 = 15.0;

/// How far ahead the error is predicted, in seconds.
const OUTLOOK: f64 = 1.0;

impl Servo {
    /// A servo that knows nothing of the rates.
    #[must_use]
    pub fn new(config: ServoConfig) -> Self {
        Self { config, learned: 0.0, slew: 0.0, rate: 0.0, error: Span::ZERO }
    }

    /// Starts without an error, at the rate that the clocks are thought to differ by, in ppm.
    pub fn start(&mut self, rate_ppm: f64) {
        let limit = self.config.limit_ppm;
        self.learned = if rate_ppm.is_nan() { 0.0 } else { rate_ppm.clamp(-limit, limit) * 1e-6 };
        self.slew = 0.0;
        self.rate = self.learned;
        self.error = Span::ZERO;
    }

    /// Takes how far playback is off and the time `elapsed` since the last update, and returns the relative rate to
    /// play at: 1.0 is nominal, 1.0001 is 100 ppm faster.
    pub fn update(&mut self, deviation: Deviation, elapsed: Span) -> f64 {
        self.error = deviation.error;
        let step = elapsed.as_secs_f64().max(0.0);
        // By how much what is learned is off, as far as the clocks tell.
        let unlearned = self.rate + deviation.drift_ppm * 1e-6 - self.learned;
        let narrow = self.narrow(&deviation);
        let omega = self.bandwidth(narrow, unlearned, &deviation, step);
        let seconds = deviation.error.as_secs_f64();
        let limit = self.config.limit_ppm * 1e-6;
        let swing = self.swing(&deviation).min(limit);
        let wanted = 2.0 * DAMPING * omega * seconds;
        let possible = wanted.clamp(-swing, swing);
        self.slew += (possible - self.slew) * (1.0 - (-step * omega / SMOOTHING).exp());

        let significance = unlearned / (deviation.drift_uncertainty_ppm.hypot(LEAST_DRIFT_PPM) * 1e-6);
        let told = (narrow * telling(significance) + self.haste(&deviation)).min(TAU * self.config.wide_hz);
        self.learned += unlearned * (1.0 - (-step * told).exp());
        // At the limit the error shrinks along a ramp that says nothing about the clocks: an integral would learn it
        // and overshoot by as much.
        if possible == wanted {
            self.learned += omega * omega * seconds * step;
        }
        self.learned = self.learned.clamp(-limit, limit);
        self.rate = (self.learned + self.slew).clamp(-limit, limit);
        1.0 + self.rate
    }

    /// The error to be reckoned with a second from now by chance alone, in seconds.
    fn tolerated(&self, deviation: &Deviation) -> f64 {
        let drift = deviation.drift_uncertainty_ppm * 1e-6 * OUTLOOK;
        self.config.tolerance.as_secs_f64().hypot(deviation.uncertainty.as_secs_f64()).hypot(drift)
    }

    /// Natural frequency for errors that mean nothing, in radians per second.
    fn narrow(&self, deviation: &Deviation) -> f64 {
        let bend = self.config.bend_ppm * 1e-6;
        (bend / self.tolerated(deviation)).sqrt().min(TAU * self.config.narrow_hz)
    }

    /// What the bandwidth is raised by, in radians per second, while the rates are learned: their best guess may be far off, but no
    /// other is better, and an error left to grow would have to be made up for by more.
    fn haste(&self, deviation: &Deviation) -> f64 {
        TAU * self.config.wide_hz * doubt(deviation).powi(2)
    }

    /// Natural frequency at this moment, in radians per second.
    fn bandwidth(&self, narrow: f64, unlearned: f64, deviation: &Deviation, step: f64) -> f64 {
        let outlook = deviation.error.as_secs_f64() + unlearned * OUTLOOK;
        let significance = outlook / self.tolerated(deviation);
        let omega = narrow * (1.0 + telling(significance)) + self.haste(deviation);
        let omega = omega.min(TAU * self.config.wide_hz);
        if step > 0.0 { omega.min(MAX_STEP / step) } else { omega }
    }

    /// Largest rate by which the error may be made up for, relative.
    fn swing(&self, deviation: &Deviation) -> f64 {
        let learning = 2.0 * deviation.drift_uncertainty_ppm;
        let small = self.config.small.as_secs_f64() * (1.0 - doubt(deviation));
        let beyond = (deviation.error.as_secs_f64().abs() - small).max(0.0);
        let slew = beyond / self.config.slew.as_secs_f64().max(0.1);
        (self.config.settled_limit_ppm + learning) * 1e-6 + slew
    }

    /// Forgets everything, as for another device or another sender.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// The error given last.
    #[must_use]
    pub fn error(&self) -> Span {
        self.error
    }

    /// The learned rate difference in ppm, without the correction of the present error.
    #[must_use]
    pub fn learned_ppm(&self) -> f64 {
        self.learned * 1e6
    }
}

/// How far the rates are from being known: 0 when they are, towards 1 when nothing is.
fn doubt(deviation: &Deviation) -> f64 {
    deviation.drift_uncertainty_ppm / (deviation.drift_uncertainty_ppm + DOUBT_PPM)
}

/// How much a deviation of so many standard deviations tells: next to nothing below one, beyond that its square.
fn telling(significance: f64) -> f64 {
    let square = significance * significance;
    square * square.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plant that falls behind by `drift_ppm` unless corrected, of which the clocks tell with such deviations. Returns the errors
    /// in microseconds.
    fn run(
        servo: &mut Servo,
        start_us: f64,
        drift_ppm: f64,
        known: Deviation,
        period_ms: i64,
        seconds: i64,
    ) -> Vec<f64> {
        let mut error_us = start_us;
        let mut errors = Vec::new();
        let mut rate = 1.0 + servo.learned_ppm() * 1e-6;
        for _ in 0..seconds * 1_000 / period_ms {
            let error = Span::from_nanos((error_us * 1e3) as i64);
            let deviation = Deviation { error, drift_ppm: drift_ppm - (rate - 1.0) * 1e6, ..known };
            let before = rate;
            rate = servo.update(deviation, Span::from_millis(period_ms));
            assert!((rate - 1.0).abs() <= 1_000.5e-6);
            assert!((rate - before).abs() < 1_500e-6 * period_ms as f64 / 100.0 + 60e-6, "bent, not broken");
            error_us += period_ms as f64 * 1e3 * (drift_ppm * 1e-6 - (rate - 1.0));
            errors.push(error_us);
        }
        errors
    }

    #[test]
    fn settles_a_drifting_card_within_two_seconds() {
        for drift in [-300.0, -100.0, 100.0, 300.0] {
            for period_ms in [1, 10, 43] {
                let mut servo = Servo::new(ServoConfig::default());
                let errors = run(&mut servo, 0.0, drift, Deviation::default(), period_ms, 60);
                let after = (2_000 / period_ms) as usize;
                let worst = errors[after..].iter().fold(0.0_f64, |w, e| w.max(e.abs()));
                assert!(worst < drift.abs() * 0.15, "{drift} ppm, {period_ms} ms: {worst} us");
                assert!((servo.learned_ppm() - drift).abs() < 1.0, "{}", servo.learned_ppm());
            }
        }
    }

    #[test]
    fn a_large_error_is_slewed_without_overshoot() {
        let mut servo = Servo::new(ServoConfig::default());
        let errors = run(&mut servo, 5_000.0, 0.0, Deviation::default(), 10, 60);
        let past = errors.iter().fold(0.0_f64, |w, e| w.min(*e));
        assert!(past > -50.0, "overshoot {past} us");
        assert!(errors[errors.len() - 1].abs() < 1.0);
        for (seconds, most) in [(10, 300.0), (20, 10.0)] {
            let left = errors[seconds * 100];
            assert!(left < most, "{left} us are left after {seconds} s");
        }
    }

    #[test]
    fn what_may_be_chance_hardly_bends_the_rate() {
        let unsure = Deviation { uncertainty: Span::from_micros(200), ..Deviation::default() };
        for (known, least, most) in [(unsure, 0.0, 15.0), (Deviation::default(), 40.0, 120.0)] {
            let mut servo = Servo::new(ServoConfig::default());
            servo.start(70.0);
            let mut swing = 0.0_f64;
            let mut error_us = 100.0;
            let mut rate = 1.0 + 70e-6;
            for _ in 0..500 {
                let error = Span::from_nanos((error_us * 1e3) as i64);
                rate = servo
                    .update(Deviation { error, drift_ppm: 70.0 - (rate - 1.0) * 1e6, ..known }, Span::from_millis(10));
                error_us += 1e4 * (70e-6 - (rate - 1.0));
                swing = swing.max((rate - 1.0) * 1e6 - 70.0);
            }
            assert!((least..most).contains(&swing), "{swing} ppm");
        }
    }

    #[test]
    fn it_starts_at_the_rate_it_is_told() {
        let mut servo = Servo::new(ServoConfig::default());
        servo.start(-85.0);
        let rate = servo.update(Deviation::default(), Span::from_millis(10));
        assert!((rate - 1.0 + 85e-6).abs() < 1e-9, "{rate}");
        servo.start(f64::NAN);
        assert_eq!(servo.learned_ppm(), 0.0);
        servo.start(7_000.0);
        assert_eq!(servo.learned_ppm(), 1_000.0);
    }
}

//! The playback servo: a proportional-integral controller whose bandwidth narrows as it settles.
//!
//! The plant is an integrator: a stream played at rate `1 + u` makes up for `u` seconds of error in every second. A PI
//! controller makes that a second-order loop (a delay-locked loop in the manner of F. Adriaensen, "Using a DLL to
//! filter time", 2005) with natural frequency `w` and damping `z`: `u = 2 z w e + w^2 * integral(e)`. The integral
//! is the learned difference of the clocks' rates; it survives while the bandwidth changes.
//!
//! The proportional part goes through a low-pass, so that a step of the error (a better estimate of the sender's clock, say) bends the
//! rate instead of breaking it.

use crate::Span;
use std::f64::consts::TAU;

/// How a [`Servo`] behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServoConfig {
    /// Natural frequency while acquiring, in Hz; 0.05 to 2.
    pub wide_hz: f64,
    /// Natural frequency when settled, in Hz; at most `wide_hz`.
    pub narrow_hz: f64,
    /// How long the bandwidth stays wide before it narrows in inverse proportion to the time since acquisition began.
    pub hold: Span,
    /// Largest rate correction of all, in ppm; what is learned and what slews an error together stay within it.
    pub limit_ppm: f64,
    /// Largest rate correction around the learned rate once settled, in ppm.
    pub settled_limit_ppm: f64,
    /// An error beyond this, once settled, starts acquisition anew.
    pub reopen: Span,
}

impl Default for ServoConfig {
    /// Settles a card 100 ppm off within two seconds, then averages over some ten seconds. 1000 ppm are less than two
    /// cents of pitch, 50 ppm less than a tenth of one: neither is heard, even on a held tone.
    fn default() -> Self {
        Self {
            wide_hz: 0.6,
            narrow_hz: 0.03,
            hold: Span::from_millis(1_500),
            limit_ppm: 1_000.0,
            settled_limit_ppm: 50.0,
            reopen: Span::from_micros(400),
        }
    }
}

/// Turns the error of a playback position into a rate correction.
#[derive(Clone, Debug)]
pub struct Servo {
    config: ServoConfig,
    /// The learned rate difference, relative.
    learned: f64,
    /// The rate, relative, by which the present error is being made up for.
    slew: f64,
    /// Seconds since acquisition began.
    age: f64,
    error: Span,
}

/// Damping of the loop: somewhat more than critical needs no overshoot, less settles faster.
const DAMPING: f64 = 0.9;

/// Time constant of the low-pass, in units of the loop's: adds a pole at five times the natural frequency, which costs some 20 degrees of
/// phase.
const SMOOTHING: f64 = 0.2;

/// The loop is sampled: beyond this many radians per update it would no longer behave like its continuous model.
const MAX_STEP: f64 = 0.25;

impl Servo {
    /// A servo that starts to acquire.
    #[must_use]
    pub fn new(config: ServoConfig) -> Self {
        Self { config, learned: 0.0, slew: 0.0, age: 0.0, error: Span::ZERO }
    }

    /// Takes the present `error` (positive: playback is late and must hurry) and the time `elapsed` since the last
    /// update, and returns the relative rate to play at: 1.0 is nominal, 1.0001 is 100 ppm faster.
    pub fn update(&mut self, error: Span, elapsed: Span) -> f64 {
        self.error = error;
        let step = elapsed.as_secs_f64().max(0.0);
        if self.is_settled() && error.abs() > self.config.reopen {
            self.reacquire();
        }
        self.age += step;

        let omega = self.bandwidth(step);
        let seconds = error.as_secs_f64();
        let limit = self.config.limit_ppm * 1e-6;
        let swing = if self.is_settled() { self.config.settled_limit_ppm * 1e-6 } else { limit };
        let wanted = 2.0 * DAMPING * omega * seconds;
        let possible = wanted.clamp(-swing, swing);
        self.slew += (possible - self.slew) * (1.0 - (-step * omega / SMOOTHING).exp());
        if possible == wanted {
            self.learned = (self.learned + omega * omega * seconds * step).clamp(-limit, limit);
        } else if !self.is_settled() {
            // At the limit the error shrinks along a ramp that says nothing about the clocks: an integral would learn
            // it and overshoot by as much. Acquisition proper begins when the ramp ends.
            self.age = 0.0;
        }
        1.0 + (self.learned + self.slew).clamp(-limit, limit)
    }

    /// Natural frequency at this moment, in radians per second.
    fn bandwidth(&self, step: f64) -> f64 {
        let hold = self.config.hold.as_secs_f64();
        let narrowed = if self.age > hold { self.config.wide_hz * hold / self.age } else { self.config.wide_hz };
        let omega = TAU * narrowed.max(self.config.narrow_hz);
        if step > 0.0 { omega.min(MAX_STEP / step) } else { omega }
    }

    /// Opens the bandwidth again and keeps what was learned about the rate, as after a jump of the device's time.
    pub fn reacquire(&mut self) {
        self.age = 0.0;
    }

    /// Forgets everything, as for another device or another sender.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// Whether acquisition is over: the bandwidth is down to a quarter of where it began.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.age > 4.0 * self.config.hold.as_secs_f64()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A plant that falls behind by `drift_ppm` unless corrected; returns the errors in microseconds.
    fn run(servo: &mut Servo, start_us: f64, drift_ppm: f64, period_ms: i64, seconds: i64) -> Vec<f64> {
        let mut error_us = start_us;
        let mut errors = Vec::new();
        for _ in 0..seconds * 1_000 / period_ms {
            let rate = servo.update(Span::from_nanos((error_us * 1e3) as i64), Span::from_millis(period_ms));
            assert!((rate - 1.0).abs() <= 1_000.5e-6);
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
                let errors = run(&mut servo, 0.0, drift, period_ms, 30);
                let after = (2_000 / period_ms) as usize;
                let worst = errors[after..].iter().fold(0.0_f64, |w, e| w.max(e.abs()));
                assert!(worst < drift.abs() * 0.08, "{drift} ppm, {period_ms} ms: {worst} us");
                assert!((servo.learned_ppm() - drift).abs() < 1.0, "{}", servo.learned_ppm());
            }
        }
    }

    #[test]
    fn a_large_error_is_slewed_at_the_limit_without_overshoot() {
        let mut servo = Servo::new(ServoConfig::default());
        let errors = run(&mut servo, 5_000.0, 0.0, 10, 60);
        let past = errors.iter().fold(0.0_f64, |w, e| w.min(*e));
        assert!(past > -250.0, "overshoot {past} us");
        assert!(errors[errors.len() - 1].abs() < 1.0);
    }

    #[test]
    fn settled_it_reopens_only_for_a_large_error() {
        let mut servo = Servo::new(ServoConfig::default());
        run(&mut servo, 0.0, 60.0, 10, 60);
        assert!(servo.is_settled());
        let learned = servo.learned_ppm();
        let rate = servo.update(Span::from_micros(390), Span::from_millis(10));
        assert!((rate - 1.0) * 1e6 <= learned + 51.0, "only nudged");
        assert!(servo.is_settled());
        servo.update(Span::from_micros(900), Span::from_millis(10));
        assert!(!servo.is_settled());
        assert!((servo.learned_ppm() - learned).abs() < 2.0, "the learned rate is kept");
    }
}

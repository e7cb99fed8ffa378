//! The crystal of a card: how many frames it has counted at a true time, and when it counts a given one.
//!
//! The deviation is a formula in time whose integral is known, so a frame's time carries no sum of errors however long the
//! card runs.

use super::TrueTime;
use crate::sim::Random;

/// Slow wandering of a crystal, as temperature causes it: smooth, never beyond a bound, the same for a seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wander {
    /// The most it strays to either side, in parts per million.
    pub ppm: f64,
    /// The time in which it goes there and back, in seconds: the slowest of three periods that do not fit each other.
    pub seconds: f64,
    /// Which course it takes.
    pub seed: u64,
}

/// Share of the bound and part of the slowest period, for each of the three waves.
const WAVES: [(f64, f64); 3] = [(0.5, 1.0), (0.3, 1.0 / 1.618), (0.2, 1.0 / 2.732)];

impl Wander {
    /// Phases of the waves at the start, in radians.
    fn phases(&self) -> [f64; 3] {
        let mut random = Random::new(self.seed);
        std::array::from_fn(|_| random.unit() * std::f64::consts::TAU)
    }
}

/// Counts frames at a rate that is off by some parts per million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleClock {
    rate: u32,
    start: TrueTime,
    ppm: f64,
    waves: [Wave; 3],
}

/// One wave of the wandering: `ppm * sin(angular * seconds + phase)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wave {
    ppm: f64,
    angular: f64,
    phase: f64,
}

impl SampleClock {
    /// Nominally `rate` frames a second, fast by `ppm` parts per million (between -10000 and 10000); it counts its frame 0 at
    /// `start`.
    #[must_use]
    pub fn new(rate: u32, start: TrueTime, ppm: f64) -> Self {
        Self { rate, start, ppm, waves: [Wave::default(); 3] }
    }

    /// Has it wander.
    #[must_use]
    pub fn wandering(mut self, wander: Wander) -> Self {
        let phases = wander.phases();
        self.waves = std::array::from_fn(|n| {
            let (share, period) = WAVES[n];
            let angular = std::f64::consts::TAU / (wander.seconds * period);
            Wave { ppm: wander.ppm * share, angular, phase: phases[n] }
        });
        self
    }

    /// Frames a second, nominally.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// When it counts its frame 0.
    #[must_use]
    pub fn start(&self) -> TrueTime {
        self.start
    }

    /// By how much it is fast at a true time, in parts per million.
    #[must_use]
    pub fn ppm_at(&self, time: TrueTime) -> f64 {
        let seconds = time.since(self.start) as f64 * 1e-9;
        self.ppm + self.waves.iter().map(|wave| wave.ppm * (wave.angular * seconds + wave.phase).sin()).sum::<f64>()
    }

    /// Frames counted at a true time, with the fraction of the one that has begun.
    #[must_use]
    pub fn frame_at(&self, time: TrueTime) -> f64 {
        self.frames_after(time.since(self.start) as f64)
    }

    /// When it counts a frame, to the nanosecond.
    #[must_use]
    pub fn time_of(&self, frame: f64) -> TrueTime {
        let per_frame = 1e9 / (f64::from(self.rate) * (1.0 + self.ppm * 1e-6));
        let mut nanos = frame * per_frame;
        // The rate differs from its mean by some millionths only: each round gains five digits at least.
        for _ in 0..3 {
            nanos += (frame - self.frames_after(nanos)) * per_frame;
        }
        TrueTime::from_nanos(self.start.as_nanos() + nanos.round() as i64)
    }

    /// Frames counted `nanos` nanoseconds after the start: the integral of the rate.
    fn frames_after(&self, nanos: f64) -> f64 {
        let seconds = nanos * 1e-9;
        let strayed: f64 = self
            .waves
            .iter()
            .filter(|wave| wave.angular > 0.0)
            .map(|wave| wave.ppm / wave.angular * (wave.phase.cos() - (wave.angular * seconds + wave.phase).cos()))
            .sum();
        f64::from(self.rate) * (seconds + 1e-6 * (self.ppm * seconds + strayed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TrueTime = TrueTime::from_nanos(77_000_000_123);

    fn after(seconds: f64) -> TrueTime {
        TrueTime::from_nanos(START.as_nanos() + (seconds * 1e9) as i64)
    }

    #[test]
    fn a_fast_crystal_counts_more() {
        let clock = SampleClock::new(48_000, START, 80.0);
        assert_eq!(clock.frame_at(START), 0.0);
        assert!((clock.frame_at(after(3600.0)) - 3600.0 * 48_000.0 * 1.000_08).abs() < 1e-4);
        assert_eq!(clock.ppm_at(after(9.0)), 80.0);
    }

    #[test]
    fn frames_and_times_are_each_others_inverse() {
        let wander = Wander { ppm: 5.0, seconds: 600.0, seed: 3 };
        for clock in [SampleClock::new(48_000, START, -60.0), SampleClock::new(44_100, START, 100.0).wandering(wander)]
        {
            for frame in [0.0, 1.0, 12_345.5, 48_000.0 * 600.0, 48_000.0 * 86_400.0] {
                let back = clock.frame_at(clock.time_of(frame));
                assert!((back - frame).abs() < 1e-4, "{frame} came back as {back}");
            }
        }
    }

    #[test]
    fn wandering_stays_in_its_bounds_and_goes_about_them() {
        for seed in 0..50 {
            let clock = SampleClock::new(48_000, START, 20.0).wandering(Wander { ppm: 5.0, seconds: 600.0, seed });
            let course: Vec<f64> = (0..6000).map(|n| clock.ppm_at(after(f64::from(n) / 10.0)) - 20.0).collect();
            let (low, high) = course.iter().fold((0.0f64, 0.0f64), |(low, high), &ppm| (low.min(ppm), high.max(ppm)));
            assert!(low >= -5.0 && high <= 5.0 && high - low > 4.0, "seed {seed}: {low}..{high}");
            let steepest = course.windows(2).map(|pair| (pair[1] - pair[0]).abs() * 10.0).fold(0.0, f64::max);
            assert!(steepest < 0.1, "seed {seed}: {steepest} ppm a second");
        }
    }

    #[test]
    fn the_count_is_the_sum_of_the_rate() {
        let clock = SampleClock::new(48_000, START, -30.0).wandering(Wander { ppm: 5.0, seconds: 20.0, seed: 9 });
        let step = 0.001;
        let mut sum = 0.0;
        for n in 0..60_000 {
            let middle = after((f64::from(n) + 0.5) * step);
            sum += step * 48_000.0 * (1.0 + clock.ppm_at(middle) * 1e-6);
        }
        assert!((sum - clock.frame_at(after(60.0))).abs() < 1e-3);
    }
}

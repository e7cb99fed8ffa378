//! A level that is measured and told while somebody watches it, and nobody's work otherwise.

use std::time::Duration;

use crate::meter::{Level, Meter};

/// Periods for which it is told to whoever has asked: ten seconds.
const WATCHED: u32 = 100;
/// Periods without a window of the meter after which nothing is heard any more: no graph has cycles as long as these.
const STALE: u32 = 5;

/// The level of what a stream is given, which is watched now and then.
///
/// Who watches asks again every few seconds; who is gone has not to say so.
#[derive(Debug)]
pub struct WatchedLevel {
    meter: Meter,
    level: Level,
    /// Periods for which it is watched yet.
    left: u32,
    /// Periods since the meter had a window.
    stale: u32,
}

impl WatchedLevel {
    /// Between two [ticks](Self::tick).
    pub const PERIOD: Duration = Duration::from_millis(100);

    pub(crate) fn new(meter: Meter) -> Self {
        WatchedLevel { meter, level: Level::SILENCE, left: 0, stale: 0 }
    }

    /// Somebody watches from now on: for ten seconds, unless asked again.
    pub fn watch(&mut self) {
        if std::mem::replace(&mut self.left, WATCHED) == 0 {
            self.stale = 0;
            self.meter.want(true);
        }
    }

    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.left > 0
    }

    /// To be called once in a [`PERIOD`](Self::PERIOD) while it is watched. Whether the level is another one than before.
    pub fn tick(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let before = self.level;
        match self.meter.take() {
            Some(level) => (self.level, self.stale) = (level, 0),
            None => self.stale += 1,
        }
        if self.left == 0 {
            self.meter.want(false);
        }
        if self.left == 0 || self.stale >= STALE {
            self.level = Level::SILENCE;
        }
        self.level != before
    }

    /// The level; silence while nobody watches.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::meter;

    /// Samples of a period.
    static PERIOD: [f32; 4_800] = [0.5; 4_800];

    #[test]
    fn it_is_told_to_those_who_ask_for_as_long_as_they_do() {
        let (mut gauge, meter) = meter(48_000, 1);
        let mut level = WatchedLevel::new(meter);
        gauge.measure(&PERIOD);
        assert!(!level.tick() && level.level() == Level::SILENCE, "nobody has asked");
        level.watch();
        for period in 0..99 {
            gauge.measure(&PERIOD);
            assert_eq!(level.tick(), period == 0, "told when it changes");
            assert!((level.level().peak_dbfs + 6.02).abs() < 0.01);
        }
        level.watch();
        for _ in 0..99 {
            gauge.measure(&PERIOD);
            assert!(!level.tick());
        }
        gauge.measure(&PERIOD);
        assert!(level.tick() && !level.is_watched() && level.level() == Level::SILENCE);
        gauge.measure(&PERIOD);
        assert!(!level.tick());
    }

    #[test]
    fn a_graph_that_stands_still_is_silent_and_a_long_cycle_is_not() {
        let (mut gauge, meter) = meter(48_000, 1);
        let mut level = WatchedLevel::new(meter);
        level.watch();
        for period in 0..40 {
            if period % 2 == 0 && period < 30 {
                gauge.measure(&[PERIOD, PERIOD].concat());
            }
            level.tick();
            assert_eq!(level.level() == Level::SILENCE, period >= 33, "period {period}");
        }
    }
}

//! A clock that runs at its own speed. Nanoseconds are signed and belong to no clock here.
//!
//! One definition for two users: simulated time, and the library preloaded into simulated hosts, which includes this file. So
//! nothing here may allocate, lock or panic.

/// A clock that runs at its own speed: true time in, its reading out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crystal {
    /// What it shows at true time nought, in nanoseconds.
    pub start: i64,
    /// By how much it is fast, in parts per million.
    pub ppm: f64,
}

impl Crystal {
    /// The reading at a true time, both in nanoseconds.
    #[must_use]
    pub fn reading(&self, true_time: i64) -> i64 {
        // Only the small part goes through floating point: exact over years.
        let excess = (true_time as f64 * self.ppm * 1e-6).round() as i64;
        self.start.saturating_add(true_time).saturating_add(excess)
    }

    /// The true time at which it shows `reading`, to within a nanosecond for errors up to 1000 ppm and a day.
    #[must_use]
    pub fn true_time(&self, reading: i64) -> i64 {
        self.true_span(reading.saturating_sub(self.start))
    }

    /// The first true time at which it shows `reading` or more: who waits until then does not find it early.
    #[must_use]
    pub fn true_deadline(&self, reading: i64) -> i64 {
        // The estimate is at most a few nanoseconds off, also where the product above was rounded.
        let mut earliest = self.true_time(reading).saturating_sub(4);
        while self.reading(earliest) < reading && earliest < i64::MAX {
            earliest += 1;
        }
        earliest
    }

    /// How long it takes in true time until the clock has gone on by `span`.
    #[must_use]
    pub fn true_span(&self, span: i64) -> i64 {
        let excess = self.ppm * 1e-6;
        span.saturating_sub((span as f64 * (excess / (1.0 + excess))).round() as i64)
    }

    /// By how much it goes on during a span of true time.
    #[must_use]
    pub fn span_reading(&self, true_span: i64) -> i64 {
        true_span.saturating_add((true_span as f64 * self.ppm * 1e-6).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn can_be_read_backwards() {
        let crystal = Crystal { start: 1_234_567, ppm: -80.0 };
        assert_eq!(crystal.reading(1_000_000_000), 1_234_567 + 999_920_000);
        for true_time in [0, 1, 1_000_000_007, 86_400_000_000_000] {
            let back = crystal.true_time(crystal.reading(true_time));
            assert!((back - true_time).abs() <= 1, "{true_time} came back as {back}");
        }
    }

    #[test]
    fn a_deadline_is_the_first_moment_that_is_not_early() {
        for ppm in [-1000.0, -50.0, 0.0, 50.0, 1000.0] {
            let crystal = Crystal { start: 10_800_000_000_000, ppm };
            for reading in [10_800_000_000_000, 10_800_000_000_001, 10_923_456_789_012, 31_536_000_000_000_000] {
                let deadline = crystal.true_deadline(reading);
                assert!(crystal.reading(deadline) >= reading, "{ppm} ppm, {reading}");
                assert!(crystal.reading(deadline - 1) < reading, "{ppm} ppm, {reading}");
            }
        }
    }

    #[test]
    fn spans_have_no_offset() {
        let crystal = Crystal { start: 999, ppm: 100.0 };
        assert_eq!(crystal.span_reading(1_000_000_000), 1_000_100_000);
        assert_eq!(crystal.true_span(1_000_100_000), 1_000_000_000);
    }
}

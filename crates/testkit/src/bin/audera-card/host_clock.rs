//! The host's monotonic clock against true time.
//!
//! PipeWire is told times on the clock of its host. On a simulated host that may run fast or slow, so that this program is
//! shown another time than the crystal keeps.

use audera_pw::MonotonicTime;
use audera_testkit::card::TrueTime;

/// Readings of which the narrowest is believed: in between a thread may lose the processor.
const READINGS: usize = 3;
/// From a shorter time no rate is told, in nanoseconds.
const BASE: i64 = 500_000_000;
/// A larger change is a jump of the host's clock, in nanoseconds.
const JUMP: f64 = 1e6;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Pair {
    true_time: TrueTime,
    host: MonotonicTime,
}

impl Pair {
    fn read() -> Self {
        let mut best = None;
        for _ in 0..READINGS {
            let (before, host, after) = (TrueTime::now(), MonotonicTime::now(), TrueTime::now());
            let width = after.since(before);
            let pair = Self { true_time: TrueTime::from_nanos(before.as_nanos() + width / 2), host };
            if best.is_none_or(|(narrowest, _)| width < narrowest) {
                best = Some((width, pair));
            }
        }
        best.map_or(Self { true_time: TrueTime::now(), host: MonotonicTime::now() }, |(_, pair)| pair)
    }
}

/// Converts true times near now. Safe on a real-time thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    first: Pair,
    now: Pair,
    rate: f64,
}

impl HostClock {
    pub fn new() -> Self {
        let first = Pair::read();
        Self { first, now: first, rate: 1.0 }
    }

    /// Looks at both clocks.
    pub fn update(&mut self) {
        let now = Pair::read();
        if (now.host.since(self.of(now.true_time))).unsigned_abs() as f64 > JUMP {
            self.first = now;
            self.rate = 1.0;
        }
        self.now = now;
        let base = now.true_time.since(self.first.true_time);
        if base > BASE {
            self.rate = now.host.since(self.first.host) as f64 / base as f64;
        }
    }

    /// What the host's clock shows at a true time.
    pub fn of(&self, time: TrueTime) -> MonotonicTime {
        let away = time.since(self.now.true_time) as f64 * self.rate;
        self.now.host.offset(away.round() as i64)
    }

    /// The true time at which the host's clock shows this.
    pub fn true_time_of(&self, host: MonotonicTime) -> TrueTime {
        let away = host.since(self.now.host) as f64 / self.rate;
        TrueTime::from_nanos(self.now.true_time.as_nanos() + away.round() as i64)
    }

    /// The rate of the host's clock against true time.
    pub fn rate(&self) -> f64 {
        self.rate
    }
}

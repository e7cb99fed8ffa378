//! Points on the host's monotonic clock, as PipeWire states them.

use std::time::Duration;

/// Nanoseconds on `CLOCK_MONOTONIC` of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonotonicTime(i64);

impl MonotonicTime {
    /// The point `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The point `nanos` nanoseconds later (earlier when negative).
    #[must_use]
    pub const fn offset(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this point; negative when it is in fact later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads the clock. Safe on a real-time thread.
    pub fn now() -> Self {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a valid timespec to write to; CLOCK_MONOTONIC exists on every Linux, so the call cannot
        // fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        Self(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }
}

/// Nanoseconds that `frames` last at `rate` frames a second; 0 when the rate is not known.
pub(crate) fn frames_to_nanos(frames: i64, rate: u32) -> i64 {
    if rate == 0 {
        return 0;
    }
    let nanos = i128::from(frames) * 1_000_000_000 / i128::from(rate);
    i64::try_from(nanos).unwrap_or(if frames < 0 { i64::MIN } else { i64::MAX })
}

/// The form in which timers take their times; `None` disarms.
pub(crate) fn to_timespec(after: Option<Duration>) -> libspa_sys::timespec {
    match after {
        None => libspa_sys::timespec { tv_sec: 0, tv_nsec: 0 },
        Some(after) => libspa_sys::timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            // An armed timer of zero would be a disarmed one.
            tv_nsec: i64::from(after.subsec_nanos()).max(i64::from(after.as_secs() == 0)),
        },
    }
}

//! The player's monotonic clock: the only place that reads it or sleeps by it for the sake of the audio.

use audera_clock::PlayerTime;

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// The time now, by `CLOCK_MONOTONIC`. Neither locks nor allocates.
pub fn now() -> PlayerTime {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec of ours; CLOCK_MONOTONIC exists on every Linux, so the call fills it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    from_timespec(time)
}

/// Sleeps until `wake`; returns at once if that is past. Neither locks nor allocates.
pub fn sleep_until(wake: PlayerTime) {
    let nanos = wake.as_nanos().max(0);
    let time = libc::timespec {
        tv_sec: (nanos / NANOS_PER_SEC) as libc::time_t,
        tv_nsec: (nanos % NANOS_PER_SEC) as libc::c_long,
    };
    loop {
        // SAFETY: `time` is a valid, normalised timespec; with TIMER_ABSTIME the remainder is not written, so null is allowed.
        let interrupted = unsafe {
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, std::ptr::null_mut())
                == libc::EINTR
        };
        if !interrupted {
            return;
        }
    }
}

/// A time the kernel gave by `CLOCK_MONOTONIC`.
pub(crate) fn from_timespec(time: libc::timespec) -> PlayerTime {
    #[expect(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
    PlayerTime::from_nanos(i64::from(time.tv_sec) * NANOS_PER_SEC + i64::from(time.tv_nsec))
}

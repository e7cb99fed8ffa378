//! The player's monotonic clock: where it is read, and slept by, for the sake of the audio.

use audera_clock::PlayerTime;
pub use audera_receiver::now;

const NANOS_PER_SEC: i64 = 1_000_000_000;

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

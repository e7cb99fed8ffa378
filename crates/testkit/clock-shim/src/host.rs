//! The host's clock, as the variables tell it, and times of the C library converted to it and from it.

use std::{
    ffi::CStr,
    str::FromStr,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use libc::{c_int, clockid_t, timespec};

use crate::crystal::Crystal;

static IS_READ: AtomicBool = AtomicBool::new(false);
static START: AtomicI64 = AtomicI64::new(0);
static PPM: AtomicU64 = AtomicU64::new(0);

const SECOND: i64 = 1_000_000_000;

/// Absolute times from here on, 17 years in seconds, are of `CLOCK_REALTIME`, which has passed it in 1987; below they are of a
/// clock that began with the machine or at most a year before. Some calls do not say which clock they mean.
const REALTIME_FROM: i64 = 1 << 29;

/// The largest offset: a year.
const MOST_OFFSET: i64 = 366 * 86_400 * SECOND;

/// The host's clock.
pub fn crystal() -> Crystal {
    // Other libraries may ask for the time before this one has been prepared. Two threads at a time would find the same.
    if !IS_READ.load(Ordering::Acquire) {
        PPM.store(variable(c"AUDERA_CLOCK_PPM", -1000.0_f64, 1000.0).to_bits(), Ordering::Relaxed);
        START.store(variable(c"AUDERA_CLOCK_OFFSET_NS", 0, MOST_OFFSET), Ordering::Relaxed);
        IS_READ.store(true, Ordering::Release);
    }
    Crystal { start: START.load(Ordering::Relaxed), ppm: f64::from_bits(PPM.load(Ordering::Relaxed)) }
}

/// The number in a variable, or 0 if it is not set. Ends the process if it is none or out of range.
fn variable<T: Default + FromStr + PartialOrd>(name: &CStr, least: T, most: T) -> T {
    // SAFETY: the name is NUL-terminated. This runs while the library is loaded, when no thread changes the environment yet.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return T::default();
    }
    // SAFETY: getenv returns a NUL-terminated string, which stays as long as the environment is not changed.
    let text = unsafe { CStr::from_ptr(value) };
    let number = text.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if (least..=most).contains(&number) => number,
        _ => refuse(name, text),
    }
}

fn refuse(name: &CStr, value: &CStr) -> ! {
    let parts: [&[u8]; 5] =
        [b"audera-clock-shim: ", name.to_bytes(), b"=", value.to_bytes(), b" is no number in the range it takes\n"];
    for part in parts {
        // SAFETY: the buffer is readable for the length given. If standard error is closed there is no one to tell.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: abort never returns and asks for nothing.
    unsafe { libc::abort() }
}

/// Whether a clock is one of the host's own.
pub fn is_own(clock: clockid_t) -> bool {
    matches!(
        clock,
        libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME
            | libc::CLOCK_BOOTTIME_ALARM
    )
}

/// What the host's clock shows when the machine's own shows `at`.
pub fn shown_at(at: timespec) -> timespec {
    time_of(crystal().reading(nanoseconds(at)))
}

/// What the machine's clock shows when the host's first shows `at`. A time that the C library will refuse stays as it is, and
/// so does one of `CLOCK_REALTIME`.
pub fn deadline(at: timespec) -> timespec {
    if !is_valid(at) || at.tv_sec >= REALTIME_FROM {
        return at;
    }
    // Nought would stop a timer rather than let it expire.
    time_of(crystal().true_deadline(nanoseconds(at)).max(1))
}

/// How long it takes until the host's clock has gone on by `span`: nought only if that is nought.
pub fn true_span(span: timespec) -> timespec {
    let nanos = nanoseconds(span);
    if !is_valid(span) || span.tv_sec >= REALTIME_FROM || nanos == 0 {
        return span;
    }
    time_of(crystal().true_span(nanos).max(1))
}

/// By how much the host's clock goes on in `true_span`.
pub fn span_shown(true_span: timespec) -> timespec {
    let nanos = nanoseconds(true_span);
    if true_span.tv_sec >= REALTIME_FROM || nanos == 0 {
        return true_span;
    }
    time_of(crystal().span_reading(nanos).max(1))
}

fn is_valid(time: timespec) -> bool {
    time.tv_sec >= 0 && (0..SECOND).contains(&time.tv_nsec)
}

fn nanoseconds(time: timespec) -> i64 {
    time.tv_sec.saturating_mul(SECOND).saturating_add(time.tv_nsec)
}

fn time_of(nanos: i64) -> timespec {
    timespec { tv_sec: nanos.div_euclid(SECOND), tv_nsec: nanos.rem_euclid(SECOND) }
}

/// Applies a conversion to a time given by pointer, and calls `then` with a pointer to the result, or with null.
///
/// # Safety
/// `time` is null or points to a time.
pub unsafe fn with(
    time: *const timespec,
    convert: fn(timespec) -> timespec,
    then: impl FnOnce(*const timespec) -> c_int,
) -> c_int {
    // SAFETY: the caller vouches for the pointer.
    match unsafe { time.as_ref() } {
        None => then(time),
        Some(&time) => then(&convert(time)),
    }
}

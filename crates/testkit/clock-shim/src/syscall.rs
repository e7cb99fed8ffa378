//! `syscall()`, for the futex: Rust's standard library waits by it, until a time on `CLOCK_MONOTONIC`; GLib for a time.

use libc::{c_int, c_long, clockid_t, timespec};

use crate::{host, next::next};

next! {
    fn syscall(
        number: c_long, first: c_long, second: c_long, third: c_long, fourth: c_long, fifth: c_long, sixth: c_long,
    ) -> c_long, else -1;
}

/// Whose time-out a futex operation takes.
enum Timeout {
    None,
    /// How long to wait.
    Span,
    /// Until when, on this clock.
    Until(clockid_t),
}

fn timeout_of(operation: c_int) -> Timeout {
    const FUTEX_LOCK_PI2: c_int = 13;
    let clock = match operation & libc::FUTEX_CLOCK_REALTIME {
        0 => libc::CLOCK_MONOTONIC,
        _ => libc::CLOCK_REALTIME,
    };
    match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        libc::FUTEX_WAIT => Timeout::Span,
        libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2 => Timeout::Until(clock),
        libc::FUTEX_LOCK_PI => Timeout::Until(libc::CLOCK_REALTIME),
        // What is in the time-out's place for these is a number or nothing.
        _ => Timeout::None,
    }
}

/// Declared without the dots of its C prototype, which Rust cannot define: on 64-bit Linux, variable arguments that are integers
/// or pointers come where named ones do. Those that the caller has not given are not used by the kernel.
///
/// # Safety
/// As syscall(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn syscall(
    number: c_long,
    first: c_long,
    second: c_long,
    third: c_long,
    fourth: c_long,
    fifth: c_long,
    sixth: c_long,
) -> c_long {
    let convert: Option<fn(timespec) -> timespec> = match number {
        libc::SYS_futex => match timeout_of(second as c_int) {
            Timeout::Span => Some(host::true_span),
            Timeout::Until(clock) if host::is_own(clock) => Some(host::deadline),
            Timeout::Until(_) | Timeout::None => None,
        },
        libc::SYS_futex_waitv => host::is_own(fifth as clockid_t).then_some(host::deadline),
        _ => None,
    };
    let time = fourth as *const timespec;
    let converted = match convert {
        // SAFETY: these operations take a pointer to a time, or null, as their fourth argument.
        Some(convert) => unsafe { time.as_ref() }.map(|&time| convert(time)),
        None => None,
    };
    let fourth = converted.as_ref().map_or(fourth, |time| std::ptr::from_ref(time) as c_long);
    // SAFETY: the arguments are the caller's, but for the converted time, which lives through the call.
    unsafe { next::syscall(number, first, second, third, fourth, fifth, sixth) }
}

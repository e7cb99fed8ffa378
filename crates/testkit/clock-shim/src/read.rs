//! Reading the clock, and sleeping by it.

use libc::{ENOSYS, TIMER_ABSTIME, c_int, clockid_t, timespec};

use crate::{host, next::next};

next! {
    fn clock_gettime(clock: clockid_t, at: *mut timespec) -> c_int, else -1;
    fn clock_nanosleep(clock: clockid_t, flags: c_int, request: *const timespec, left: *mut timespec) -> c_int,
        else ENOSYS;
    fn nanosleep(request: *const timespec, left: *mut timespec) -> c_int, else -1;
}

/// # Safety
/// As clock_gettime(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn clock_gettime(clock: clockid_t, at: *mut timespec) -> c_int {
    // SAFETY: the arguments are the caller's, for a function of the same contract.
    let result = unsafe { next::clock_gettime(clock, at) };
    if result == 0 && host::is_own(clock) {
        // SAFETY: the call has succeeded, so a time was written there.
        unsafe { *at = host::shown_at(*at) };
    }
    result
}

/// # Safety
/// As clock_nanosleep(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    left: *mut timespec,
) -> c_int {
    // SAFETY: the arguments are the caller's, but for the converted time, which lives through the call.
    let sleep = |request| unsafe { next::clock_nanosleep(clock, flags, request, left) };
    if flags & TIMER_ABSTIME == 0 {
        // SAFETY: clock_nanosleep(2) demands a time.
        let result = unsafe { host::with(request, host::true_span, sleep) };
        // SAFETY: as clock_nanosleep(2) demands, and interrupted it has written how much is left.
        unsafe { show_left(result == libc::EINTR, left) };
        return result;
    }
    if host::is_own(clock) {
        // SAFETY: clock_nanosleep(2) demands a time.
        return unsafe { host::with(request, host::deadline, sleep) };
    }
    sleep(request)
}

/// # Safety
/// As nanosleep(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn nanosleep(request: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the arguments are the caller's, but for the converted time, which lives through the call.
    let result = unsafe { host::with(request, host::true_span, |request| next::nanosleep(request, left)) };
    // SAFETY: as nanosleep(2) demands; when it fails it is, with a valid request, because it was interrupted, and an invalid
    // one leaves what the caller had there, which it may not rely on.
    unsafe { show_left(result == -1 && *libc::__errno_location() == libc::EINTR, left) };
    result
}

/// # Safety
/// If `interrupted`, `left` is null or points to a time.
unsafe fn show_left(interrupted: bool, left: *mut timespec) {
    if interrupted && !left.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { *left = host::span_shown(*left) };
    }
}

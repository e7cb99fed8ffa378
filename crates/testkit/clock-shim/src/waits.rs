//! Waits of POSIX threads that end at a time on a clock of the caller's choice. Those without that choice are on
//! `CLOCK_REALTIME`, but for `pthread_cond_timedwait`, whose clock is an attribute of the condition variable.

use std::ffi::c_void;

use libc::{ENOSYS, c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, pthread_t, sem_t, timespec};

use crate::{host, next::next};

next! {
    fn pthread_cond_timedwait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int,
        else ENOSYS;
    fn pthread_cond_clockwait(
        cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec,
    ) -> c_int, else ENOSYS;
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec) -> c_int,
        else ENOSYS;
    fn pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int,
        else ENOSYS;
    fn pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int,
        else ENOSYS;
    fn pthread_clockjoin_np(
        thread: pthread_t, result: *mut *mut c_void, clock: clockid_t, until: *const timespec,
    ) -> c_int, else ENOSYS;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec) -> c_int, else -1;
}

/// Waits until a time on `clock`, by `wait`.
///
/// # Safety
/// `until` is null or points to a time.
unsafe fn until(clock: clockid_t, until: *const timespec, wait: impl FnOnce(*const timespec) -> c_int) -> c_int {
    if !host::is_own(clock) {
        return wait(until);
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { host::with(until, host::deadline, wait) }
}

/// # Safety
/// As pthread_cond_timedwait(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // Which clock is meant shows in the size of the time, and `deadline` goes by that.
    // SAFETY: the arguments are the caller's, but for the converted time, which lives through the call.
    unsafe { host::with(until, host::deadline, |until| next::pthread_cond_timedwait(cond, mutex, until)) }
}

/// # Safety
/// As pthread_cond_clockwait(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_clockwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::pthread_cond_clockwait(cond, mutex, clock, at)) }
}

/// # Safety
/// As pthread_mutex_clocklock(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::pthread_mutex_clocklock(mutex, clock, at)) }
}

/// # Safety
/// As pthread_rwlock_clockrdlock(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_clockrdlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::pthread_rwlock_clockrdlock(lock, clock, at)) }
}

/// # Safety
/// As pthread_rwlock_clockwrlock(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_clockwrlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::pthread_rwlock_clockwrlock(lock, clock, at)) }
}

/// # Safety
/// As pthread_clockjoin_np(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_clockjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::pthread_clockjoin_np(thread, result, clock, at)) }
}

/// # Safety
/// As sem_clockwait(3).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, at: *const timespec) -> c_int {
    // SAFETY: as above.
    unsafe { until(clock, at, |at| next::sem_clockwait(semaphore, clock, at)) }
}

//! Timer descriptors, by which PipeWire's graphs are driven.

use libc::{TFD_TIMER_ABSTIME, c_int, itimerspec, timespec};

use crate::{host, next::next};

next! {
    fn timerfd_settime(fd: c_int, flags: c_int, new: *const itimerspec, old: *mut itimerspec) -> c_int, else -1;
    fn timerfd_gettime(fd: c_int, current: *mut itimerspec) -> c_int, else -1;
}

/// # Safety
/// As timerfd_settime(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timerfd_settime(
    fd: c_int,
    flags: c_int,
    new: *const itimerspec,
    old: *mut itimerspec,
) -> c_int {
    // SAFETY: timerfd_settime(2) demands a setting; null is left to it to refuse.
    let Some(&asked) = (unsafe { new.as_ref() }) else {
        // SAFETY: the arguments are the caller's.
        return unsafe { next::timerfd_settime(fd, flags, new, old) };
    };
    let stopped = asked.it_value.tv_sec == 0 && asked.it_value.tv_nsec == 0;
    let first: fn(timespec) -> timespec = match flags & TFD_TIMER_ABSTIME {
        _ if stopped => |time| time,
        0 => host::true_span,
        _ => host::deadline,
    };
    let setting = itimerspec { it_value: first(asked.it_value), it_interval: host::true_span(asked.it_interval) };
    // SAFETY: the setting lives through the call, the rest is the caller's.
    let result = unsafe { next::timerfd_settime(fd, flags, &setting, old) };
    // SAFETY: `old` is null or, after success, holds what the kernel has written.
    unsafe { show(result, old) };
    result
}

/// # Safety
/// As timerfd_gettime(2).
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timerfd_gettime(fd: c_int, current: *mut itimerspec) -> c_int {
    // SAFETY: the arguments are the caller's.
    let result = unsafe { next::timerfd_gettime(fd, current) };
    // SAFETY: after success it holds what the kernel has written.
    unsafe { show(result, current) };
    result
}

/// What the kernel tells of a timer is how long it takes to its end, also of one that was set to a time.
///
/// # Safety
/// After success, `setting` is null or holds what the kernel has written.
unsafe fn show(result: c_int, setting: *mut itimerspec) {
    if result != 0 || setting.is_null() {
        return;
    }
    // SAFETY: the caller vouches for it.
    let setting = unsafe { &mut *setting };
    setting.it_value = host::span_shown(setting.it_value);
    setting.it_interval = host::span_shown(setting.it_interval);
}

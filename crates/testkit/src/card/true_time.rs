//! True time: the machine's own monotonic clock, whatever clock the programs of a simulated host are shown.
//!
//! A simulated host may preload a shim that interposes `clock_gettime`, `timerfd_settime`, `clock_nanosleep` and `syscall`,
//! so that its programs see a clock which runs fast or slow. What drives a virtual card must not be bent by it: a crystal
//! keeps its own time. Interposing works on names that the dynamic linker resolves in the order of the loaded objects, so
//! it leaves alone a function that was looked up in the C library itself. That is what is done here, and it keeps what the
//! C library is good for: the reading without a system call where the kernel offers one, on every processor.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{Arc, OnceLock},
};

/// A point in true time: nanoseconds of the machine's `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrueTime(i64);

impl TrueTime {
    /// The point `nanos` nanoseconds after the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Now. Safe on a real-time thread, but for the first call of a process.
    #[must_use]
    pub fn now() -> Self {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a valid timespec to write to; CLOCK_MONOTONIC exists on every Linux, so the call cannot fail.
        unsafe { (libc_itself().clock_gettime)(libc::CLOCK_MONOTONIC, &raw mut now) };
        Self(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }

    /// Nanoseconds from `earlier` to this point; negative when it is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;
type TimerfdSettime =
    unsafe extern "C" fn(libc::c_int, libc::c_int, *const libc::itimerspec, *mut libc::itimerspec) -> libc::c_int;

/// The functions of the C library as it defines them.
struct LibcItself {
    clock_gettime: ClockGettime,
    timerfd_settime: TimerfdSettime,
}

fn libc_itself() -> &'static LibcItself {
    static FOUND: OnceLock<LibcItself> = OnceLock::new();
    FOUND.get_or_init(|| {
        // SAFETY: a C string; nothing is loaded that is not there already, and the handle is kept for good.
        let library = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        let find = |name: &CStr| {
            if library.is_null() {
                return std::ptr::null_mut();
            }
            // SAFETY: a live handle and a C string.
            unsafe { libc::dlsym(library, name.as_ptr()) }
        };
        let (clock_gettime, timerfd_settime) = (find(c"clock_gettime"), find(c"timerfd_settime"));
        if clock_gettime.is_null() || timerfd_settime.is_null() {
            // Another C library than glibc: nothing is interposed there that would be known of.
            return LibcItself { clock_gettime: libc::clock_gettime, timerfd_settime: libc::timerfd_settime };
        }
        // SAFETY: POSIX and the Linux manual give these functions these types; a function's address fits a pointer.
        unsafe {
            LibcItself {
                clock_gettime: std::mem::transmute::<*mut libc::c_void, ClockGettime>(clock_gettime),
                timerfd_settime: std::mem::transmute::<*mut libc::c_void, TimerfdSettime>(timerfd_settime),
            }
        }
    })
}

/// A timer on true time.
#[derive(Clone, Debug)]
pub struct TrueTimer(Arc<OwnedFd>);

impl TrueTimer {
    /// A timer that is not armed; its descriptor does not block.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let _found_before_it_matters = libc_itself();
        // SAFETY: just made, and nobody else has it.
        Ok(Self(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Expires once at this time, or at once if it has passed. Safe on a real-time thread.
    pub fn arm(&self, at: TrueTime) {
        // A time of nought would disarm.
        self.set(at.as_nanos().max(1));
    }

    /// Does not expire any more, and is not readable if it has. Safe on a real-time thread.
    pub fn disarm(&self) {
        self.set(0);
    }

    fn set(&self, at: i64) {
        let value = libc::timespec { tv_sec: at / 1_000_000_000, tv_nsec: at % 1_000_000_000 };
        let spec = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: a live timerfd and a valid time, which is all that could be refused; the old one is not asked for.
        unsafe {
            (libc_itself().timerfd_settime)(
                self.0.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const spec,
                std::ptr::null_mut(),
            )
        };
    }

    /// What to wait on: readable, eight bytes, when it has expired.
    #[must_use]
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_monotonic_clock() {
        let reading = || {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: as in TrueTime::now.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
            TrueTime(now.tv_sec * 1_000_000_000 + now.tv_nsec)
        };
        let (before, now, after) = (reading(), TrueTime::now(), reading());
        assert!(before <= now && now <= after, "{before:?} {now:?} {after:?}");
    }

    #[test]
    fn a_timer_is_readable_when_its_time_has_come_and_not_before() {
        let timer = TrueTimer::new().unwrap();
        let due = TrueTime::from_nanos(TrueTime::now().as_nanos() + 5_000_000);
        timer.arm(due);
        let mut poll = libc::pollfd { fd: timer.descriptor().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 10_000) }, 1);
        assert!(TrueTime::now() >= due);
        timer.disarm();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 0);
    }
}

//! Manners of a library in somebody else's process.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    process, ptr,
    sync::Mutex,
    thread::{self, JoinHandle},
};

use crate::Errno;

/// Runs `what` with all signals blocked on this thread: threads that it spawns take no signals of the program's.
pub fn with_signals_blocked<T>(what: impl FnOnce() -> T) -> T {
    let _restored = Blocked::new();
    what()
}

/// Spawns a thread that takes no signals of the program's.
///
/// # Errors
/// When the process may have no more threads.
pub fn spawn<T: Send + 'static>(name: &str, what: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    with_signals_blocked(|| thread::Builder::new().name(name.to_owned()).spawn(what))
}

/// Keeps all signals from this thread; dropping it restores what was.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both are places for a set. `sigfillset` initialises the first and `sigemptyset` the second, so that there
        // is one even if the third call, whose arguments are all valid, were to fail.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigemptyset(before.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a set that was there before; the one that is replaced is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Runs `what`; `None` if it panics, which must not reach C. The program cannot cancel the thread meanwhile.
pub(crate) fn shielded<T>(what: impl FnOnce() -> T) -> Option<T> {
    let _restored = Uncancelled::new();
    // What may be left broken by a panic is behind a lock, which is poisoned by it.
    catch_unwind(AssertUnwindSafe(what)).ok()
}

/// Puts off `pthread_cancel` of this thread, which would unwind it from within, for example, a `read`: Rust aborts the
/// process when such unwinding meets `catch_unwind` or a C entry, and locks would never be released. Dropping it restores
/// what was; a cancellation that came meanwhile then takes effect at the next function of C that is a point for it.
struct Uncancelled(c_int);

// Not in the crate `libc` for Linux.
unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE` of glibc and musl.
const CANCEL_DISABLE: c_int = 1;

impl Uncancelled {
    fn new() -> Self {
        let mut before = 0;
        // SAFETY: a state that there is, and a place for what was; it is no point of cancellation itself.
        unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut before) };
        Self(before)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut disabled = 0;
        // SAFETY: a state that was there before, and a place.
        unsafe { pthread_setcancelstate(self.0, &raw mut disabled) };
    }
}

/// A plugin's own part, behind a lock: entries may come from any thread.
pub(crate) struct Guarded<T> {
    /// Where it was made. A process forked off has no threads but one, and shares all that is outside of its memory.
    process: u32,
    inner: Mutex<T>,
}

impl<T> Guarded<T> {
    pub fn new(inner: T) -> Self {
        Self { process: process::id(), inner: Mutex::new(inner) }
    }

    /// Whether this is the process in which it was made, where alone it may be taken apart.
    pub fn is_at_home(&self) -> bool {
        process::id() == self.process
    }

    /// Calls into it. What has panicked once is no device any more, and neither is it in a process that was forked off,
    /// where nothing is done with what belongs to the parent, least of all a lock that one of its threads may have held.
    pub fn call<R>(&self, call: impl FnOnce(&mut T) -> Result<R, Errno>) -> Result<R, Errno> {
        if !self.is_at_home() {
            return Err(Errno::NODEV);
        }
        let outcome = shielded(|| call(&mut *self.inner.lock().map_err(|_| Errno::NODEV)?));
        outcome.unwrap_or(Err(Errno::NODEV))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked_here() -> bool {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a place for a set, which the call fills since it succeeds with these arguments.
        unsafe {
            assert_eq!(libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr()), 0);
            libc::sigismember(mask.as_ptr(), libc::SIGTERM) == 1
        }
    }

    #[test]
    fn threads_take_no_signals_and_their_parent_does_again() {
        assert!(spawn("test", blocked_here).unwrap().join().unwrap());
        assert!(!blocked_here());
    }

    #[test]
    fn a_panic_stays_inside() {
        assert_eq!(shielded(|| 1), Some(1));
        assert_eq!(shielded(|| -> i32 { panic!("on purpose") }), None);
    }
    #[test]
    fn what_has_panicked_is_gone() {
        let guarded = Guarded::new(1);
        assert_eq!(guarded.call(|value| Ok(*value)), Ok(1));
        assert_eq!(guarded.call(|_| -> Result<(), Errno> { panic!("on purpose") }), Err(Errno::NODEV));
        assert_eq!(guarded.call(|value| Ok(*value)), Err(Errno::NODEV));
    }
}

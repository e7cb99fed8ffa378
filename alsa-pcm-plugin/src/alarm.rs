//! The descriptor that an application polls: readable from when it is to be woken.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use audera_clock::Span;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// A timer of the kernel. No thread is needed to wake the application, and none is in between.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn new() -> std::io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Alarm(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Rings now.
    pub(crate) fn ring(&self) {
        self.ring_in(Span::ZERO);
    }

    /// Rings after `span`, and not before. As a span, and not as a time: on a simulated host the kernel's clock is not the one that is shown.
    pub(crate) fn ring_in(&self, span: Span) {
        // Nought would be never.
        self.set(span.as_nanos().max(1));
    }

    /// Does not ring.
    pub(crate) fn disarm(&self) {
        self.set(0);
    }

    fn set(&self, ns: i64) {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        let timer = Itimerspec { it_interval: nothing, it_value: value };
        // Fails only for what is no timer, or no time.
        let _ = rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn rings(alarm: &Alarm, patience: Option<&Timespec>) -> bool {
        poll(&mut [PollFd::new(&alarm.descriptor(), PollFlags::IN)], patience).unwrap() == 1
    }

    #[test]
    fn it_rings_until_it_is_set_anew() {
        const AT_ONCE: Option<&Timespec> = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        let alarm = Alarm::new().unwrap();
        assert!(!rings(&alarm, AT_ONCE));
        alarm.ring();
        assert!(rings(&alarm, None) && rings(&alarm, None));
        alarm.ring_in(Span::from_secs(3600));
        assert!(!rings(&alarm, AT_ONCE));
        alarm.ring_in(Span::from_millis(-5));
        assert!(rings(&alarm, None));
        alarm.disarm();
        assert!(!rings(&alarm, AT_ONCE));
    }
}

//! What an application polls: a timer that is set to when enough will have been recorded, and that rings for good once the source is
//! given up.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use audera_clock::Span;

use crate::alarm::Alarm;

/// Set by the application's thread, until the network thread gives up.
#[derive(Debug)]
pub(super) struct Bell {
    alarm: Alarm,
    is_over: AtomicBool,
}

impl Bell {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { alarm: Alarm::new()?, is_over: AtomicBool::new(false) })
    }

    /// What to poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.alarm.descriptor()
    }

    /// Rings after `span`, and not before; never, if there is none.
    pub fn set(&self, span: Option<Span>) {
        match span {
            Some(span) => self.alarm.ring_in(span),
            None => self.alarm.disarm(),
        }
        // Either this is seen here, or the other thread sets the timer after this one did.
        if self.is_over() {
            self.alarm.ring();
        }
    }

    /// There will be nothing to record any more: it rings from now on.
    pub fn give_up(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.alarm.ring();
    }

    /// Whether there will be nothing to record any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::Timespec;

    fn rings(bell: &Bell, patience: Option<&Timespec>) -> bool {
        poll(&mut [PollFd::new(&bell.descriptor(), PollFlags::IN)], patience).unwrap() == 1
    }

    #[test]
    fn once_given_up_it_rings_for_good() {
        const AT_ONCE: Option<&Timespec> = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        let bell = Bell::new().unwrap();
        bell.set(Some(Span::from_secs(1_000)));
        assert!(!rings(&bell, AT_ONCE));
        bell.give_up();
        for span in [Some(Span::from_secs(1_000)), None] {
            assert!(rings(&bell, None));
            bell.set(span);
        }
        assert!(rings(&bell, None));
    }
}

//! What the network thread has to say to a user: told by the program's own thread, as its error handler may do anything, and expects to be
//! called by no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The last of what is to be told.
#[derive(Debug, Default)]
pub(super) struct Notice {
    /// So that a program's thread takes the lock only when there is something: it is held for a moment, but not by a thread that hurries.
    is_new: AtomicBool,
    text: Mutex<String>,
}

impl Notice {
    /// Leaves it to be told.
    pub fn leave(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.is_new.store(true, Ordering::Release);
    }

    /// What was left since this was last asked for.
    pub fn take(&self) -> Option<String> {
        let is_new = self.is_new.load(Ordering::Relaxed) && self.is_new.swap(false, Ordering::Acquire);
        let text = is_new.then(|| std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner)))?;
        // One that was left meanwhile may have been taken with the one before.
        Some(text).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_once() {
        let notice = Notice::default();
        assert_eq!(notice.take(), None);
        notice.leave("too fast".to_owned());
        notice.leave("too slow".to_owned());
        assert_eq!((notice.take(), notice.take()), (Some("too slow".to_owned()), None));
    }
}

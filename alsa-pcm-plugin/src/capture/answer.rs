//! What the network thread answers to an open that waits. Without the standard library's channels: those leave something behind for good
//! on the application's thread, and valgrind tells its users.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Given once, and waited for by one.
#[derive(Debug)]
pub(super) struct Answer<T> {
    given: Mutex<Option<T>>,
    changed: Condvar,
}

impl<T> Answer<T> {
    pub fn new() -> Self {
        Self { given: Mutex::new(None), changed: Condvar::new() }
    }

    pub fn give(&self, answer: T) {
        *self.lock() = Some(answer);
        self.changed.notify_one();
    }

    /// Waits for it, for no longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Option<T> {
        let until = Instant::now() + patience;
        let mut given = self.lock();
        loop {
            if let Some(answer) = given.take() {
                return Some(answer);
            }
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            given = self.changed.wait_timeout(given, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_and_no_longer_than_that() {
        let answer = Answer::new();
        assert_eq!(answer.wait(Duration::from_millis(1)), None);
        std::thread::scope(|scope| {
            scope.spawn(|| answer.give(7));
            assert_eq!(answer.wait(Duration::from_secs(3600)), Some(7));
        });
    }
}

//! Where the latency of a paced stream goes, as the network thread shows it to the application.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use audera_clock::Span;

/// The latency of a stream by its frames: it goes from `delay` at `frame` along a straight line to `target` at `until`, and stays there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) frame: u64,
    pub(crate) delay: Span,
    pub(crate) until: u64,
    pub(crate) target: Span,
}

impl Path {
    /// What it is for a frame.
    pub(crate) fn at(&self, frame: u64) -> Span {
        if frame >= self.until {
            return self.target;
        }
        let gone = i128::from(frame.saturating_sub(self.frame));
        let change = i128::from((self.target - self.delay).as_nanos());
        let whole = i128::from(self.until.saturating_sub(self.frame)).max(1);
        self.delay + Span::from_nanos(i64::try_from(change * gone / whole).unwrap_or(0))
    }
}

/// A [`Path`] that one thread writes and another reads, neither of which waits: a sequence lock (H.-J. Boehm, "Can seqlocks get along with
/// programming language memory models?", 2012).
#[derive(Debug)]
pub(crate) struct Outlook {
    /// Odd while it is being written.
    version: AtomicU64,
    words: [AtomicI64; 4],
}

impl Outlook {
    pub(crate) fn new(path: Path) -> Self {
        let outlook = Outlook { version: AtomicU64::new(0), words: Default::default() };
        outlook.publish(path);
        outlook
    }

    pub(crate) fn publish(&self, path: Path) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = [path.frame as i64, path.delay.as_nanos(), path.until as i64, path.target.as_nanos()];
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// `None` while it is being written.
    pub(crate) fn read(&self) -> Option<Path> {
        let before = self.version.load(Ordering::Acquire);
        let [frame, delay, until, target] = [0, 1, 2, 3].map(|n: usize| self.words[n].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = before % 2 == 0 && self.version.load(Ordering::Relaxed) == before;
        let (delay, target) = (Span::from_nanos(delay), Span::from_nanos(target));
        whole.then_some(Path { frame: frame as u64, delay, until: until as u64, target })
    }
}

//! How busy the machine is, as far as that shows in waking late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What was found.
#[derive(Debug)]
pub(crate) struct Load {
    /// Processes that ran or wanted to, averaged over the last minute.
    pub average: f64,
    pub processors: usize,
    /// By how much a thread without priority was woken late at the most.
    pub latest: Duration,
}

impl Load {
    /// Whether programs were woken so late that they could miss a cycle of the graph through no fault of their own.
    pub fn is_heavy(&self) -> bool {
        self.latest >= Duration::from_millis(5)
    }
}

/// A thread that sleeps and looks at when it wakes, until it is asked or dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    ends: Arc<AtomicBool>,
    latest: Arc<AtomicU64>,
}

impl Watch {
    pub fn begin() -> Self {
        const SLEEP: Duration = Duration::from_millis(5);
        let (ends, latest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, worst) = (ends.clone(), latest.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let begin = Instant::now();
                thread::sleep(SLEEP);
                let late = begin.elapsed().saturating_sub(SLEEP);
                worst.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { ends, latest }
    }

    /// Ends it.
    pub fn end(self) -> Load {
        let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Load {
            average: told.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0),
            processors: thread::available_parallelism().map_or(1, Into::into),
            latest: Duration::from_micros(self.latest.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

//! How late this machine wakes programs: what explains a gap that nobody has made, and says when there is nothing to be judged.

use std::{
    ops::Range,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{card::TrueTime, sys};

/// A thread on each processor that sleeps and looks at when it wakes, until it is asked to end or dropped.
#[derive(Debug)]
pub struct Watch {
    ends: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<Spell>>>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Lateness {
    /// Processes that ran or wanted to, averaged over the last minute.
    pub average: f64,
    /// The number of processors.
    pub processors: usize,
    /// When a processor was not to be had for [`HELD_BACK`] or more, in order.
    pub spells: Vec<Spell>,
}

/// A time in which a thread should have run and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// When it did.
    pub end: Instant,
    /// For how long it should have.
    pub length: Duration,
}

/// What is woken later than this can miss a cycle of the graph through no fault of its own.
pub const HELD_BACK: Duration = Duration::from_millis(5);

impl Watch {
    /// Begins to watch how late programs are woken, by whatever else runs.
    #[must_use]
    pub fn begin() -> Self {
        Self::on_all(|number| {
            // Where it does not work, the thread watches whatever processor it gets.
            sys::watch_processor(number);
            true
        })
    }

    /// Begins to watch for times in which the machine does not run even what goes before everything else, such as a virtual one whose host
    /// has no time for it: no program's doing. Sees nothing where this user may not run anything first.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::on_all(|number| sys::watch_processor(number) && sys::run_first())
    }

    /// With a thread for each processor, which watches if it could be made to. All do when this returns.
    fn on_all(prepare: fn(usize) -> bool) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let prepared = Arc::new(Barrier::new(processors() + 1));
        let threads = (0..processors()).map(|number| {
            let (ends, prepared) = (ends.clone(), prepared.clone());
            thread::spawn(move || {
                let watches = prepare(number);
                prepared.wait();
                if watches { watch(&ends) } else { Vec::new() }
            })
        });
        let threads = threads.collect();
        prepared.wait();
        Self { threads, ends }
    }

    /// Ends it.
    #[must_use]
    pub fn end(mut self) -> Lateness {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.threads.drain(..).filter_map(|thread| thread.join().ok());
        let mut spells: Vec<Spell> = ended.flatten().collect();
        spells.sort_by_key(|spell| spell.end);
        let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let average = told.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
        Lateness { average, processors: processors(), spells }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

fn watch(ends: &AtomicBool) -> Vec<Spell> {
    const SLEEP: Duration = Duration::from_millis(4);
    let mut spells = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let begin = Instant::now();
        thread::sleep(SLEEP);
        let end = Instant::now();
        let length = end.duration_since(begin).saturating_sub(SLEEP);
        if length >= HELD_BACK {
            spells.push(Spell { end, length });
        }
    }
    spells
}

impl Lateness {
    /// Whether programs were woken so late that they could miss a cycle of the graph through no fault of their own.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        !self.spells.is_empty()
    }

    /// By how much a thread was woken late at the most; nothing where it was never [`HELD_BACK`].
    #[must_use]
    pub fn latest(&self) -> Duration {
        self.spells.iter().map(|spell| spell.length).max().unwrap_or_default()
    }

    /// When a processor was not to be had for `least` or more, in true time: from when it should have been to when it was.
    #[must_use]
    pub fn in_true_time(&self, least: Duration) -> Vec<(TrueTime, TrueTime)> {
        let now = (Instant::now(), TrueTime::now());
        let place = |moment: Instant| {
            let before = i64::try_from(now.0.saturating_duration_since(moment).as_nanos()).unwrap_or(i64::MAX);
            TrueTime::from_nanos(now.1.as_nanos().saturating_sub(before))
        };
        let long = self.spells.iter().filter(|spell| spell.length >= least);
        long.map(|spell| (place(spell.end.checked_sub(spell.length).unwrap_or(spell.end)), place(spell.end))).collect()
    }

    /// When the machine was late, in seconds from the beginning of a recording that was `seconds` long `then`. A recorder that
    /// missed cycles makes this inexact by them.
    #[must_use]
    pub fn in_recording(&self, then: Instant, seconds: f64) -> Vec<Range<f64>> {
        let place = |moment: Instant| match then.checked_duration_since(moment) {
            Some(before) => seconds - before.as_secs_f64(),
            None => seconds + moment.duration_since(then).as_secs_f64(),
        };
        self.spells.iter().map(|spell| place(spell.end) - spell.length.as_secs_f64()..place(spell.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_are_placed_in_a_recording() {
        let then = Instant::now();
        let spell = |end, millis| Spell { end, length: Duration::from_millis(millis) };
        let second = Duration::from_secs(1);
        let spells = vec![spell(then - second, 250), spell(then + second, 500)];
        let found = Lateness { average: 0.0, processors: 2, spells };
        assert_eq!(found.in_recording(then, 10.0), [8.75..9.0, 10.5..11.0]);
        assert_eq!((found.latest(), found.is_heavy()), (Duration::from_millis(500), true));
    }

    #[test]
    fn a_processor_that_runs_nothing_else_is_seen_to_stand_still() {
        let watch = Watch::of_machine();
        let hog = thread::spawn(|| {
            if !(sys::watch_processor(0) && sys::run_first()) {
                return None;
            }
            // As high as the watch, which does not interrupt it.
            let begin = TrueTime::now();
            while TrueTime::now().since(begin) < 40_000_000 {}
            Some((begin, TrueTime::now()))
        });
        let held = hog.join().unwrap();
        let seen = watch.end().in_true_time(Duration::from_millis(10));
        let Some((from, to)) = held else {
            println!("skipped: this user may not run a thread before all others");
            return assert_eq!(seen, []);
        };
        // It was due a pause later at most.
        let overlap = |&(due, woken): &(TrueTime, TrueTime)| woken.min(to).since(due.max(from));
        let longest = seen.iter().map(overlap).max().unwrap_or(0);
        assert!(longest > 30_000_000, "{longest} ns of {} to {}: {seen:?}", from.as_nanos(), to.as_nanos());
    }

    #[test]
    fn spells_are_placed_in_true_time() {
        let (begin, end, length) = (TrueTime::now(), Instant::now(), Duration::from_millis(20));
        let found = Lateness { average: 0.0, processors: 2, spells: vec![Spell { end, length }] };
        let [(from, to)] = found.in_true_time(length)[..] else { panic!("one spell") };
        assert!(to.since(begin) >= 0 && TrueTime::now().since(to) >= 0);
        assert!((to.since(from) - 20_000_000).abs() < 1_000, "{from:?} to {to:?}");
        assert_eq!(found.in_true_time(Duration::from_millis(21)), []);
    }
}

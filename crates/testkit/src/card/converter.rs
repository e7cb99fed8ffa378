//! The converter of a card: which frames a cycle fills, when the next cycle begins, and what has come too late to be heard.
//!
//! It is modelled on a card with a ring buffer, as PipeWire's ALSA sink runs it: a cycle begins when the buffer has just one
//! quantum left, so the cycle's first frame is heard a quantum later. The converter never stops: frame `n` is played at the
//! time at which the crystal counts it, and if nothing has been written there by then it is silence. So a missed cycle is a
//! gap, and what comes after it is in its place, in time.
//!
//! No clock of its own: all times come in as arguments.

use super::{Counts, Missed, SampleClock, TrueTime};

/// A wake-up later than this is counted, in nanoseconds.
const LATE: i64 = 1_000_000;

/// A cycle that begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// When it begins by the crystal.
    pub begins: TrueTime,
    /// When the next one begins if the quantum stays.
    pub next: TrueTime,
    /// Frames of the graph before it.
    pub position: u64,
    /// Frames between its beginning and that.
    pub delay: u64,
}

/// Where the sound of a cycle belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The frame to which its first frame belongs.
    pub at: u64,
    /// So many of its first frames have come after their time, and are not heard.
    pub late: u64,
    /// What has not been heard since sound last came in time, now that it is known that sound goes on.
    pub missed: Option<Missed>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Converter {
    clock: SampleClock,
    counts: Counts,
    run: Option<Run>,
}

/// From the start of a graph to its pause.
#[derive(Clone, Debug)]
struct Run {
    /// The frame at which the next cycle begins.
    wake: u64,
    /// The first frame for which nothing has come.
    write: u64,
    /// Length of the cycle under way, as long as nothing has come.
    pending: Option<u64>,
    /// Whether sound has come at all.
    fed: bool,
    /// Cycles and frames directly before `write` for which nothing has come.
    missing: (u64, u64),
    /// Frames the converter has counted while the device stood still.
    stood: u64,
}

impl Run {
    /// Leaves `cycles` cycles of `quantum` silent.
    fn leave_silent(&mut self, cycles: u64, quantum: u64) {
        if self.fed {
            self.missing.0 += cycles;
            self.missing.1 += cycles * quantum;
        }
        self.write += cycles * quantum;
    }
}

impl Converter {
    /// A converter that runs by this crystal.
    #[must_use]
    pub fn new(clock: SampleClock) -> Self {
        Self { clock, counts: Counts::default(), run: None }
    }

    /// Its crystal.
    #[must_use]
    pub fn clock(&self) -> &SampleClock {
        &self.clock
    }

    /// How the run has gone so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// When to wake it next; `None` while no graph runs.
    #[must_use]
    pub fn next(&self) -> Option<TrueTime> {
        self.run.as_ref().map(|run| self.clock.time_of(run.wake as f64))
    }

    /// Begins a cycle of `quantum` frames, not before [`next`](Self::next). The first one starts the run.
    pub fn wake(&mut self, now: TrueTime, quantum: u64) -> Cycle {
        let quantum = quantum.max(1);
        let counted = self.clock.frame_at(now);
        let run = self.run.get_or_insert_with(|| {
            let wake = counted.max(0.0).ceil() as u64;
            Run { wake, write: wake + quantum, pending: None, fed: false, missing: (0, 0), stood: 0 }
        });
        if let Some(quantum) = run.pending.take() {
            run.leave_silent(1, quantum);
        }
        let lateness = now.since(self.clock.time_of(run.wake as f64));
        self.counts.late_wakes += u64::from(lateness > LATE);
        self.counts.worst_wake_ns = self.counts.worst_wake_ns.max(lateness);
        let overdue = counted - run.write as f64;
        if overdue >= 0.0 {
            // Even what would come at once would come too late.
            let cycles = overdue as u64 / quantum + 1;
            run.leave_silent(cycles, quantum);
            run.wake += cycles * quantum;
            self.counts.skipped_cycles += cycles;
        }
        run.pending = Some(quantum);
        let cycle = Cycle {
            begins: self.clock.time_of(run.wake as f64),
            next: self.clock.time_of(run.write as f64),
            position: run.write - run.stood,
            delay: run.write.saturating_sub(run.wake),
        };
        // Then only this cycle is left in the buffer.
        run.wake = run.write;
        self.counts.cycles += 1;
        cycle
    }

    /// Takes the sound of the cycle under way, `frames` long, which need not be the quantum: where it belongs. `None` for sound
    /// that no cycle has asked for.
    pub fn play(&mut self, now: TrueTime, frames: u64) -> Option<Placed> {
        let Some(run) = &mut self.run else {
            self.counts.foreign_cycles += 1;
            return None;
        };
        let quantum = run.pending.take()?;
        if frames == 0 {
            run.leave_silent(1, quantum);
            return None;
        }
        let at = run.write;
        let overdue = (self.clock.frame_at(now) - at as f64).ceil().max(0.0) as u64;
        let late = overdue.min(frames);
        if late == frames {
            run.leave_silent(1, frames);
            return None;
        }
        let (cycles, silent) = std::mem::take(&mut run.missing);
        // What is late before anything was heard is no gap in it.
        let gap = if run.fed { silent + late } else { 0 };
        self.counts.missed_cycles += cycles;
        self.counts.late_frames += if run.fed { late } else { 0 };
        let missed = (gap > 0).then(|| Missed { frame: at - silent, frames: gap });
        run.write += frames;
        run.fed = true;
        Some(Placed { at, late, missed })
    }

    /// An xrun: what waits in the buffer is still heard, then the device plays `frames` frames of silence, and goes on as if
    /// nothing had been. The graph is told of no jump in position, only of a cycle that begins that much later. Gives the
    /// silence; `None` while nothing runs.
    pub fn stand_still(&mut self, frames: u64) -> Option<Missed> {
        let run = self.run.as_mut()?;
        let silence = Missed { frame: run.write, frames };
        run.wake += frames;
        run.write += frames;
        run.stood += frames;
        Some(silence)
    }

    /// The graph pauses or another driver has it. The crystal goes on.
    pub fn stop(&mut self) {
        self.run = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TrueTime = TrueTime::from_nanos(1_000_000_000);

    fn converter(ppm: f64) -> Converter {
        Converter::new(SampleClock::new(48_000, START, ppm))
    }

    fn later(time: TrueTime, nanos: i64) -> TrueTime {
        TrueTime::from_nanos(time.as_nanos() + nanos)
    }

    #[test]
    fn cycles_follow_the_crystal_however_late_it_is_woken() {
        let mut converter = converter(80.0);
        let mut expected = converter.wake(later(START, 10_000_000), 256);
        assert_eq!(expected.delay, 256);
        for n in 1..1000 {
            let due = converter.next().unwrap();
            assert_eq!(due, expected.next);
            let placed = converter.play(later(expected.begins, 200_000), 256).unwrap();
            assert_eq!((placed.at, placed.late, placed.missed), (expected.position, 0, None));
            let cycle = converter.wake(later(due, n * 3_000), 256);
            assert_eq!((cycle.position, cycle.delay), (expected.position + 256, 256));
            expected = cycle;
        }
        let nanos = expected.begins.since(START) as f64;
        let frames = (expected.position - 256) as f64;
        assert!((nanos * 48e-6 * 1.000_08 - frames).abs() < 1e-3, "{nanos} ns for {frames} frames");
        assert_eq!((converter.counts().missed_cycles, converter.counts().worst_wake_ns), (0, 2_997_000));
    }

    #[test]
    fn what_does_not_come_is_silence_in_its_place() {
        let mut converter = converter(0.0);
        let first = converter.wake(START, 480);
        assert!(converter.play(later(START, 1_000), 480).is_some());
        let second = converter.wake(first.next, 480);
        // Nothing comes.
        let third = converter.wake(second.next, 480);
        let placed = converter.play(later(third.begins, 1_000), 480).unwrap();
        assert_eq!((placed.at, placed.missed), (1440, Some(Missed { frame: 960, frames: 480 })));
        assert_eq!(converter.counts().missed_cycles, 1);
    }

    #[test]
    fn what_comes_late_loses_its_beginning() {
        let mut converter = converter(0.0);
        let first = converter.wake(START, 480);
        converter.play(START, 480);
        let second = converter.wake(first.next, 480);
        // Due a quantum, 10 ms, after the cycle's beginning; 47.5 frames later than that.
        let placed = converter.play(later(second.begins, 10_990_000), 480).unwrap();
        assert_eq!((placed.at, placed.late, placed.missed), (960, 48, Some(Missed { frame: 960, frames: 48 })));
    }

    #[test]
    fn woken_after_everything_it_goes_on_in_time() {
        let mut converter = converter(0.0);
        let first = converter.wake(START, 480);
        converter.play(START, 480);
        // Woken 35 ms late: the cycle's sound was due 10 ms after its beginning, so 3 are over.
        let cycle = converter.wake(later(first.next, 35_000_000), 480);
        assert_eq!(cycle.begins, later(first.next, 30_000_000));
        assert_eq!((cycle.position, cycle.delay), (960 + 3 * 480, 480));
        let placed = converter.play(later(cycle.begins, 6_000_000), 480).unwrap();
        assert_eq!(placed.missed, Some(Missed { frame: 960, frames: 3 * 480 }));
        let counts = converter.counts();
        assert_eq!((counts.skipped_cycles, counts.missed_cycles, counts.late_wakes), (3, 3, 1));
    }

    #[test]
    fn a_new_quantum_arrives_with_its_sound() {
        let mut converter = converter(0.0);
        let first = converter.wake(START, 1024);
        // The graph has changed its mind after the beginning: from now on 256.
        let placed = converter.play(START, 256).unwrap();
        assert_eq!(placed.at, first.position);
        let second = converter.wake(first.next, 256);
        assert_eq!((second.position, second.delay), (first.position + 256, 256));
        // And back.
        let placed = converter.play(second.begins, 1024).unwrap();
        assert_eq!(placed.at, second.position);
        let third = converter.wake(second.next, 1024);
        assert_eq!((third.position, third.delay), (second.position + 1024, 1024));
        assert_eq!(converter.counts().missed_cycles, 0);
    }

    #[test]
    fn an_xrun_moves_what_follows() {
        let mut converter = converter(0.0);
        let first = converter.wake(START, 480);
        converter.play(START, 480);
        assert_eq!(converter.stand_still(960), Some(Missed { frame: 960, frames: 960 }));
        assert_eq!(converter.next(), Some(later(first.next, 20_000_000)));
        let second = converter.wake(later(first.next, 20_000_000), 480);
        assert_eq!((second.position, second.delay), (first.position + 480, 480));
        let placed = converter.play(second.begins, 480).unwrap();
        assert_eq!((placed.at, placed.missed), (1920, None));
        assert_eq!(converter.counts().missed_cycles, 0);
    }

    #[test]
    fn silence_before_and_behind_is_no_gap() {
        let mut converter = converter(0.0);
        let mut due = START;
        for cycle in 0..10 {
            due = converter.wake(due, 480).next;
            if (3..6).contains(&cycle) {
                assert_eq!(converter.play(due, 480).unwrap().missed, None);
            }
        }
        converter.stop();
        assert_eq!(converter.counts().missed_cycles, 0);
        assert_eq!((converter.play(due, 480), converter.counts().foreign_cycles), (None, 1));
        // A new run does not remember the old one.
        let again = converter.wake(later(due, 500_000_000), 480);
        assert_eq!(converter.play(again.begins, 480).unwrap().missed, None);
    }
}

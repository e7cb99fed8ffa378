//! The converter of an ALSA card: a ring buffer that an application fills and a crystal empties.
//!
//! Frames are counted from when the card was prepared, as ALSA does. Once started, frame `n` is heard at the time at which
//! the crystal counts its frame `first + n`; what has not been written by then is silence. Nothing runs by itself: the card
//! is asked how far it is, and answers by the crystal's formula, as the position register of a real one.
//!
//! No clock of its own: all times come in as arguments.

use super::{Counts, Missed, SampleClock, TrueTime};

/// A wake-up later than this is counted, in nanoseconds.
const LATE: i64 = 1_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Ring {
    clock: SampleClock,
    channels: usize,
    counts: Counts,
    /// Interleaved.
    samples: Vec<f32>,
    /// Frames in the buffer and in a period.
    frames: u64,
    period: u64,
    /// The position is told in multiples of this.
    step: u64,
    course: Course,
    /// Frames that have been taken out, and those that have been written.
    played: u64,
    written: u64,
    /// When the application was to be woken, as long as it has not looked.
    due: Option<TrueTime>,
    /// At which frame of the crystal sound was to go on but did not.
    dry: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Stands { played: u64 },
    Runs { first: u64 },
}

impl Ring {
    /// A card with this crystal, not set up yet. Its counts go on from these.
    #[must_use]
    pub fn new(clock: SampleClock, channels: usize, counts: Counts) -> Self {
        Self {
            clock,
            channels: channels.max(1),
            counts,
            samples: Vec::new(),
            frames: 0,
            period: 1,
            step: 1,
            course: Course::Stands { played: 0 },
            played: 0,
            written: 0,
            due: None,
            dry: None,
        }
    }

    /// Settles buffer and period, and in which steps the position is told, all in frames. The only method that allocates.
    pub fn set_up(&mut self, frames: u64, period: u64, step: u64) {
        self.samples = vec![0.0; frames as usize * self.channels];
        (self.frames, self.period, self.step) = (frames, period.max(1), step.max(1));
        self.prepare();
    }

    /// Empties it. It stands.
    pub fn prepare(&mut self) {
        self.course = Course::Stands { played: 0 };
        (self.played, self.written, self.due) = (0, 0, None);
    }

    /// Its crystal.
    #[must_use]
    pub fn clock(&self) -> &SampleClock {
        &self.clock
    }

    /// How things have gone so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Starts or goes on, with the next frame that the crystal counts. Gives the silence since it last ran dry.
    pub fn start(&mut self, now: TrueTime) -> Option<Missed> {
        let Course::Stands { played } = self.course else { return None };
        let next = self.clock.frame_at(now).max(0.0).ceil() as u64;
        // A start may be asked for at most a buffer after frame 0 of the crystal; before it there is nothing to be heard.
        self.course = Course::Runs { first: next.saturating_sub(played) };
        let dry = self.dry.take()?;
        self.counts.missed_cycles += 1;
        Some(Missed { frame: dry, frames: next.saturating_sub(dry) })
    }

    /// Holds it where it is; what has been heard up to now goes to `heard`, as in [`advance`](Self::advance).
    pub fn hold(&mut self, now: TrueTime, heard: impl FnMut(u64, &[f32])) {
        self.advance(now, heard);
        self.course = Course::Stands { played: self.reached(now) };
        self.due = None;
    }

    /// The same, since it has run dry: the silence from here to the next start is one that was not meant.
    pub fn run_dry(&mut self, now: TrueTime, heard: impl FnMut(u64, &[f32])) {
        if let Course::Runs { first } = self.course {
            self.dry = Some(first + self.written);
        }
        self.hold(now, heard);
    }

    /// Frames whose time has come.
    fn reached(&self, now: TrueTime) -> u64 {
        match self.course {
            Course::Stands { played } => played,
            Course::Runs { first } => (self.clock.frame_at(now) - first as f64).max(0.0) as u64,
        }
    }

    /// How far it is, as it tells the application.
    pub fn position(&mut self, now: TrueTime) -> u64 {
        if let Some(due) = self.due.take_if(|due| *due <= now) {
            let lateness = now.since(due);
            self.counts.late_wakes += u64::from(lateness > LATE);
            self.counts.worst_wake_ns = self.counts.worst_wake_ns.max(lateness);
        }
        match self.course {
            Course::Stands { played } => played,
            Course::Runs { .. } => self.reached(now) / self.step * self.step,
        }
    }

    /// When to wake an application that waits for a position: at the end of the period in which it is reached, as a card's
    /// interrupts come. `None` while it stands.
    pub fn wake(&mut self, position: u64) -> Option<TrueTime> {
        let Course::Runs { first } = self.course else { return None };
        let end = position.div_ceil(self.period) * self.period;
        // Rounded to whole nanoseconds the time might be that of the frame before.
        let due = TrueTime::from_nanos(self.clock.time_of((first + end) as f64).as_nanos() + 1);
        self.due = Some(due);
        Some(due)
    }

    /// Takes interleaved samples from frame `at` on. Those whose time has passed are lost. What has been heard up to now
    /// goes to `heard`, as in [`advance`](Self::advance).
    pub fn write(&mut self, now: TrueTime, at: u64, samples: &[f32], heard: impl FnMut(u64, &[f32])) {
        self.advance(now, heard);
        let frames = (samples.len() / self.channels) as u64;
        let late = self.played.saturating_sub(at).min(frames);
        self.counts.cycles += 1;
        self.counts.late_frames += late;
        for (n, frame) in (at..).zip(samples.chunks_exact(self.channels)).skip(late as usize) {
            let place = (n % self.frames.max(1)) as usize * self.channels;
            if let Some(there) = self.samples.get_mut(place..place + self.channels) {
                there.copy_from_slice(frame);
            }
        }
        self.written = at + frames;
    }

    /// The application has moved by itself to frame `at`: what was written from there on is not heard any more, and what it
    /// has skipped is what is in the buffer, as with any card.
    pub fn move_to(&mut self, now: TrueTime, at: u64, heard: impl FnMut(u64, &[f32])) {
        self.advance(now, heard);
        self.written = at;
    }

    /// Takes out what has been heard up to now: frames of the crystal, and what sounded in them.
    pub fn advance(&mut self, now: TrueTime, mut heard: impl FnMut(u64, &[f32])) {
        let Course::Runs { first } = self.course else { return };
        let reached = self.reached(now);
        let sound_until = reached.min(self.written);
        while self.played < sound_until {
            let place = self.played % self.frames.max(1);
            let frames = (sound_until - self.played).min(self.frames - place);
            let (from, to) = (place as usize * self.channels, (place + frames) as usize * self.channels);
            heard(first + self.played, &self.samples[from..to]);
            self.played += frames;
        }
        // Silence needs no record.
        self.played = self.played.max(reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TrueTime = TrueTime::from_nanos(1_000_000_000);

    fn at(nanos: i64) -> TrueTime {
        TrueTime::from_nanos(START.as_nanos() + nanos)
    }

    fn ring(ppm: f64, step: u64) -> Ring {
        let mut ring = Ring::new(SampleClock::new(48_000, START, ppm), 1, Counts::default());
        ring.set_up(1000, 250, step);
        ring
    }

    #[test]
    fn what_was_taken_back_is_not_heard() {
        let (mut ring, mut ear) = (ring(0.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 1000), ear.listen());
        ring.start(at(0));
        let time = |frame: f64| ring.clock().time_of(frame);
        let (early, late, last) = (time(200.5), time(600.5), time(990.5));
        ring.move_to(early, 500, ear.listen());
        ring.hold(late, ear.listen());
        assert_eq!(ear.0.len(), 500);
        ring.start(late);
        ring.write(late, 700, &sound(5000, 10), ear.listen());
        ring.hold(last, ear.listen());
        assert_eq!(ear.0.last().unwrap().1, 5010.0);
    }

    /// Numbered samples.
    fn sound(from: u64, frames: u64) -> Vec<f32> {
        (from..from + frames).map(|n| n as f32 + 1.0).collect()
    }

    /// Collects what is heard: frame of the crystal and sample.
    #[derive(Default)]
    struct Ear(Vec<(u64, f32)>);

    impl Ear {
        fn listen(&mut self) -> impl FnMut(u64, &[f32]) + '_ {
            move |frame, samples| self.0.extend((frame..).zip(samples.iter().copied()))
        }
    }

    #[test]
    fn every_frame_is_heard_when_the_crystal_counts_it() {
        let (mut ring, mut ear) = (ring(80.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 1000), ear.listen());
        // Between two frames: it begins with the next.
        assert_eq!(ring.start(at(10_010_000)), None);
        let mut written = 1000;
        for n in 1..2000 {
            let due = ring.wake(n * 250).unwrap();
            let late = TrueTime::from_nanos(due.as_nanos() + n as i64 % 3 * 700_000);
            let position = ring.position(late);
            assert!(position >= n * 250 && position < n * 250 + 100, "{position} in period {n}");
            let room = 1000 - (written - position);
            ring.write(late, written, &sound(written, room), ear.listen());
            written += room;
        }
        let clock = SampleClock::new(48_000, START, 80.0);
        let first = clock.frame_at(at(10_010_000)).ceil() as u64;
        assert!(ear.0.len() > 490_000);
        for (n, &(frame, sample)) in ear.0.iter().enumerate() {
            assert_eq!((frame, sample), (first + n as u64, n as f32 + 1.0));
        }
        let counts = ring.counts();
        assert_eq!((counts.late_frames, counts.missed_cycles, counts.late_wakes), (0, 0, 666));
    }

    #[test]
    fn the_position_is_the_frame_that_is_heard() {
        let mut ring = ring(0.0, 1);
        ring.write(at(0), 0, &sound(0, 1000), |_, _| {});
        ring.start(at(0));
        // 480 frames are 10 ms.
        assert_eq!((ring.position(at(10_000_001)), ring.position(at(9_999_999))), (480, 479));
        assert_eq!(ring.wake(480).unwrap(), at(10_416_668), "at the end of the period");
    }

    #[test]
    fn a_coarse_card_tells_whole_periods() {
        let mut ring = ring(0.0, 250);
        ring.write(at(0), 0, &sound(0, 1000), |_, _| {});
        ring.start(at(0));
        assert_eq!((ring.position(at(10_000_000)), ring.position(at(10_500_000))), (250, 500));
    }

    #[test]
    fn what_is_not_there_in_time_is_silence_and_told() {
        let (mut ring, mut ear) = (ring(0.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 480), ear.listen());
        ring.start(at(0));
        // Its sound is over after 10 ms.
        assert_eq!(ring.position(at(12_000_000)), 576);
        ring.run_dry(at(12_000_000), ear.listen());
        assert!(ring.wake(1).is_none());
        ring.prepare();
        ring.write(at(15_000_000), 0, &sound(1000, 480), ear.listen());
        assert_eq!(ring.start(at(20_000_000)), Some(Missed { frame: 480, frames: 480 }));
        ring.hold(at(25_000_000), ear.listen());
        assert_eq!(ear.0.len(), 480 + 240);
        assert_eq!(ear.0[480], (960, 1001.0));
        assert_eq!(ring.counts().missed_cycles, 1);
        // What stops because it was told to is no gap.
        ring.prepare();
        assert_eq!(ring.start(at(90_000_000)), None);
    }

    #[test]
    fn what_comes_late_loses_its_beginning() {
        let (mut ring, mut ear) = (ring(0.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 480), ear.listen());
        ring.start(at(0));
        // 96 frames too late, on a card that was told to go on all the same.
        ring.write(at(12_000_000), 480, &sound(480, 240), ear.listen());
        ring.advance(at(15_000_001), ear.listen());
        assert_eq!(ear.0[479..481], [(479, 480.0), (576, 577.0)]);
        assert_eq!((ear.0.len(), ring.counts().late_frames), (480 + 144, 96));
    }

    #[test]
    fn a_held_card_goes_on_where_it_was() {
        let (mut ring, mut ear) = (ring(0.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 1000), ear.listen());
        ring.start(at(0));
        ring.hold(at(5_000_000), ear.listen());
        assert_eq!(ring.position(at(8_000_000)), 240);
        ring.start(at(10_000_000));
        ring.advance(at(15_000_001), ear.listen());
        assert_eq!(ear.0[239..241], [(239, 240.0), (480, 241.0)]);
        assert_eq!(ring.position(at(15_000_001)), 480);
    }

    #[test]
    fn what_an_application_takes_back_is_not_heard() {
        let (mut ring, mut ear) = (ring(0.0, 1), Ear::default());
        ring.write(at(0), 0, &sound(0, 1000), ear.listen());
        ring.start(at(0));
        ring.write(at(5_000_000), 300, &sound(9000, 100), ear.listen());
        ring.advance(at(20_000_001), ear.listen());
        assert_eq!((ear.0.len(), ear.0[299].1, ear.0[300].1), (400, 300.0, 9001.0));
    }
}

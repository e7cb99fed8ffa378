//! The card on PipeWire's data loop: the converter's cycles become the graph's, and the graph's sound is recorded.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use audera_pw::{Beat, MonotonicTime, Process, Wanted};
use audera_testkit::card::{Converter, Follower, Recording, TrueTime, TrueTimer};

use crate::host_clock::HostClock;

/// Channels of every card.
const CHANNELS: usize = 2;

/// What the data loop and the others have to say to each other.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// How many frames the device is to stand still.
    pub xrun: AtomicU32,
    /// The rate of the graph, when it is not the card's.
    pub foreign_rate: AtomicU32,
}

pub(crate) struct Device {
    converter: Converter,
    follower: Follower,
    /// When the cycle under way began by the host's clock, if this card has begun it.
    own_cycle: Option<MonotonicTime>,
    /// The first frame after those that were heard.
    end: u64,
    recording: Recording,
    timer: TrueTimer,
    host: HostClock,
    word: Arc<Word>,
}

impl Device {
    pub fn new(converter: Converter, recording: Recording, timer: TrueTimer, word: Arc<Word>) -> Self {
        let follower = Follower::new(*converter.clock(), CHANNELS);
        Self { converter, follower, own_cycle: None, end: 0, recording, timer, host: HostClock::new(), word }
    }

    /// A cycle of another driver's.
    fn follow(&mut self, cycle: &audera_pw::Cycle<'_>) {
        let Some(clock) = cycle.timing().clock.filter(|clock| clock.rate > 0 && clock.rate_diff > 0.5) else { return };
        self.host.update();
        // By the host's clock, as the driver tells it.
        let frame = 1e9 / (f64::from(clock.rate) * clock.rate_diff);
        let begins = clock.time.offset((cycle.frames() as f64 * frame).round() as i64);
        let heard = self.host.true_time_of(begins);
        let followed = self.follower.play(heard, frame / self.host.rate(), cycle.input(), self.end);
        if !followed.samples.is_empty() {
            self.end = followed.at + (followed.samples.len() / CHANNELS) as u64;
            self.recording.play(followed.at, followed.samples);
        }
    }
}

impl Process for Device {
    fn drive(&mut self, wanted: Wanted) -> Option<Beat> {
        let rate = self.converter.clock().rate();
        if wanted.driving && wanted.rate != rate {
            self.word.foreign_rate.store(wanted.rate, Ordering::Relaxed);
        }
        if !wanted.driving || wanted.rate != rate {
            self.converter.stop();
            self.own_cycle = None;
            return None;
        }
        self.follower.stop();
        let xrun = self.word.xrun.swap(0, Ordering::Relaxed);
        if let Some(silence) = (xrun > 0).then(|| self.converter.stand_still(xrun.into())).flatten() {
            self.recording.xrun(silence);
        }
        let now = TrueTime::now();
        if let Some(next) = self.converter.next().filter(|&next| now < next) {
            // Woken by the main loop, which does not know that all is under way, or after an xrun.
            self.timer.arm(next);
            return None;
        }
        let cycle = self.converter.wake(now, wanted.quantum);
        self.timer.arm(cycle.next);
        self.recording.counts(self.converter.counts());
        self.host.update();
        self.own_cycle = Some(self.host.of(cycle.begins));
        let fast = 1.0 + self.converter.clock().ppm_at(now) * 1e-6;
        Some(Beat {
            time: self.host.of(cycle.begins),
            next: self.host.of(cycle.next),
            position: cycle.position,
            delay: i64::try_from(cycle.delay).unwrap_or(0),
            rate_diff: fast / self.host.rate(),
        })
    }

    fn process(&mut self, cycle: audera_pw::Cycle<'_>) {
        let channels = cycle.channels();
        let began = cycle.timing().clock.map(|clock| clock.time);
        if channels == CHANNELS && began.is_some() && began != self.own_cycle {
            return self.follow(&cycle);
        }
        if let Some(placed) = self.converter.play(TrueTime::now(), cycle.frames() as u64) {
            let heard = &cycle.input()[placed.late as usize * channels..];
            self.end = placed.at + cycle.frames() as u64;
            self.recording.play(placed.at + placed.late, heard);
            if let Some(missed) = placed.missed {
                self.recording.missed(missed);
            }
        }
    }
}

//! The audio thread's work: when to wake, what time the next frame will be heard, and what to do when the device stumbles.
//!
//! Nothing here allocates, locks or logs. The device's own time comes from one status per period (room, delay and time
//! stamp taken together), and a [`FrameClock`] takes the jitter out of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audera_clock::{FrameClock, Observed, Player, PlayerTime, Span};
use thiserror::Error;

use super::card::{Card, CardState, Errno, Snapshot};
use super::sample::{Converter, SampleFormat};
use crate::output::{DeviceFormat, Health, Pull};

/// Why the feed ended before it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Failure {
    #[error("the device was unplugged")]
    Gone,
    #[error("the device has taken no sound for {} s", STALL.as_secs_f64())]
    Stalled,
    #[error("the device failed: {}", std::io::Error::from_raw_os_error(*.0))]
    Device(Errno),
}

/// A device that takes nothing for so long is broken.
const STALL: Span = Span::from_millis(2000);

/// How long one wait lasts at most, in milliseconds: how soon a stop is seen when the device does not move.
const WAIT: u32 = 100;

/// How long to wait between two attempts to resume a suspended device.
const RESUME_PAUSE: Span = Span::from_millis(50);

/// So many xruns without a single period between them, and the device is broken.
const MOST_STUMBLES: u32 = 100;

/// Who says when the next period is due.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// The device, by making room.
    Device,
    /// The monotonic clock, because the device takes whatever it gets: so many frames since then.
    Monotonic { start: PlayerTime, frames: u64 },
}

/// Feeds a card from a playout.
pub(super) struct Feed<C, P> {
    card: C,
    pull: P,
    converter: Converter,
    format: DeviceFormat,
    buffer: usize,
    health: Arc<Health>,
    clock: FrameClock<Player>,
    pace: Pace,
    /// Index of the next frame written. It begins a minute in, so that frames "before the first" have an index too.
    written: u64,
    /// Xruns since the last period that went well.
    stumbles: u32,
    /// When the device was last made usable again.
    recovered: PlayerTime,
    /// The latest position shown to the clock.
    observed: u64,
    samples: Vec<f32>,
    bytes: Vec<u8>,
}

impl<C: Card, P: Pull> Feed<C, P> {
    pub fn new(
        card: C,
        pull: P,
        sample: SampleFormat,
        format: DeviceFormat,
        buffer: usize,
        health: Arc<Health>,
    ) -> Self {
        let samples = format.max_pull * usize::from(format.channels);
        Self {
            card,
            pull,
            converter: Converter::new(sample, format.channels),
            format,
            buffer,
            health,
            clock: FrameClock::new(format.rate),
            pace: Pace::Device,
            written: 60 * u64::from(format.rate),
            stumbles: 0,
            recovered: PlayerTime::from_nanos(0),
            observed: 0,
            samples: vec![0.0; samples],
            bytes: vec![0; samples * sample.bytes()],
        }
    }

    /// Feeds until `stop` is set or the device is lost.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        let mut trouble = self.prime(stop);
        while !stop.load(Ordering::Acquire) {
            trouble = match trouble {
                Ok(()) => self.period(stop),
                Err(errno) => {
                    self.recover(errno, stop)?;
                    self.prime(stop)
                }
            };
        }
        Ok(())
    }

    /// Fills the buffer with silence and sets the device going; finds out whether it keeps time.
    fn prime(&mut self, stop: &AtomicBool) -> Result<(), Errno> {
        self.card.prepare()?;
        self.clock.reset();
        self.observed = 0;
        self.pace = Pace::Device;
        self.samples.fill(0.0);
        self.converter.convert(&self.samples, &mut self.bytes);
        let start = self.card.now();
        let mut filled = 0;
        while !stop.load(Ordering::Acquire) {
            let taken = self.card.write(&self.bytes)?;
            self.written += taken as u64;
            filled += taken as i64;
            if taken < self.format.max_pull {
                break;
            }
            // A real device is full after one buffer and then as fast as its crystal.
            let possible = (self.card.now() - start).as_frames(self.format.rate) as i64
                + (self.buffer + 2 * self.format.max_pull) as i64;
            if filled > possible {
                self.go_monotonic();
                return Ok(());
            }
        }
        if self.card.snapshot()?.state == CardState::Prepared {
            self.card.start()?;
        }
        Ok(())
    }

    fn go_monotonic(&mut self) {
        self.pace = Pace::Monotonic { start: self.card.now(), frames: 0 };
    }

    /// Waits for room for a period, and fills it.
    fn period(&mut self, stop: &AtomicBool) -> Result<(), Errno> {
        let at = match self.pace {
            Pace::Monotonic { start, frames } => {
                let at = start + Span::from_frames(frames as i64, self.format.rate);
                self.card.sleep_until(at);
                self.pace = Pace::Monotonic { start, frames: frames + self.format.max_pull as u64 };
                at
            }
            Pace::Device => match self.wait_for_room(stop)? {
                Some(snapshot) => self.time_of_next(snapshot),
                None => return Ok(()),
            },
        };
        self.health.set_latency(at - self.card.now());
        self.pull.pull(at, &mut self.samples);
        self.converter.convert(&self.samples, &mut self.bytes);
        self.write_all(stop)?;
        self.stumbles = 0;
        Ok(())
    }

    /// Waits until there is room for a period; `None` if told to stop.
    fn wait_for_room(&mut self, stop: &AtomicBool) -> Result<Option<Snapshot>, Errno> {
        let since = self.card.now();
        loop {
            if stop.load(Ordering::Acquire) {
                return Ok(None);
            }
            self.card.wait(WAIT)?;
            let snapshot = self.card.snapshot()?;
            match snapshot.state {
                CardState::Running | CardState::Prepared => {}
                CardState::Xrun | CardState::Stopped => return Err(libc::EPIPE),
                CardState::Suspended => return Err(libc::ESTRPIPE),
                CardState::Gone => return Err(libc::ENODEV),
            }
            if snapshot.avail >= self.format.max_pull {
                return Ok(Some(snapshot));
            }
            let now = self.card.now();
            if now - since > STALL {
                return Err(libc::ETIME);
            }
            // Woken too early, as plug-ins do: not before the rest can have been played.
            let missing = (self.format.max_pull - snapshot.avail) as i64;
            self.card.sleep_until(now + Span::from_frames(missing, self.format.rate));
        }
    }

    /// When the next frame written will be heard.
    fn time_of_next(&mut self, snapshot: Snapshot) -> PlayerTime {
        let heard = self.written.saturating_add_signed(-snapshot.delay);
        // A device tells whole frames, so this one has been heard for half of its time already, on average.
        let at = snapshot.at - Span::from_frames(1, self.format.rate) / 2;
        // Coarse devices step back a little now and then, which the clock would take for another device.
        if heard >= self.observed {
            self.observed = heard;
            if let Observed::Reanchored { jump } = self.clock.observe(heard, at) {
                if jump != Span::ZERO {
                    self.health.count_reanchor();
                    self.pull.device_reset();
                }
            }
        }
        let unfiltered = || at + Span::from_frames(snapshot.delay, self.format.rate);
        self.clock.time_of(self.written).unwrap_or_else(unfiltered)
    }

    /// Writes the period that was pulled.
    fn write_all(&mut self, stop: &AtomicBool) -> Result<(), Errno> {
        let frame = self.bytes.len() / self.format.max_pull;
        let mut done = 0;
        while done < self.format.max_pull {
            let taken = self.card.write(&self.bytes[done * frame..])?;
            done += taken;
            self.written += taken as u64;
            if taken == 0 {
                if matches!(self.pace, Pace::Monotonic { .. }) {
                    // It keeps time after all: a deep buffer took the first seconds at once.
                    self.pace = Pace::Device;
                    self.clock.reset();
                    self.observed = 0;
                    self.pull.device_reset();
                }
                if self.wait_for_some(stop)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits until at least one frame fits; true if told to stop.
    fn wait_for_some(&mut self, stop: &AtomicBool) -> Result<bool, Errno> {
        let since = self.card.now();
        while !stop.load(Ordering::Acquire) {
            self.card.wait(WAIT)?;
            if self.card.snapshot()?.avail > 0 {
                return Ok(false);
            }
            if self.card.now() - since > STALL {
                return Err(libc::ETIME);
            }
            let pause = Span::from_frames(self.format.max_pull as i64, self.format.rate) / 4;
            self.card.sleep_until(self.card.now() + pause);
        }
        Ok(true)
    }

    /// Makes the device usable again after `errno`, or says that it is lost.
    fn recover(&mut self, errno: Errno, stop: &AtomicBool) -> Result<(), Failure> {
        match errno {
            // Not in a state to be written to: ran dry, or stopped by someone else.
            libc::EPIPE | libc::EBADFD => {}
            libc::ESTRPIPE => {
                while !stop.load(Ordering::Acquire) {
                    match self.card.resume() {
                        // It may even run again, but what is in its buffer is stale.
                        Ok(()) => {
                            self.card.stop().map_err(Failure::Device)?;
                            break;
                        }
                        Err(libc::EAGAIN) => self.card.sleep_until(self.card.now() + RESUME_PAUSE),
                        Err(libc::ENODEV) => return Err(Failure::Gone),
                        // It cannot resume: being prepared anew is all it takes.
                        Err(_) => break,
                    }
                }
            }
            libc::ENODEV => return Err(Failure::Gone),
            libc::ETIME => return Err(Failure::Stalled),
            other => return Err(Failure::Device(other)),
        }
        self.health.count_xrun();
        self.pull.device_reset();
        self.stumbles += 1;
        if self.stumbles > MOST_STUMBLES {
            return Err(Failure::Device(errno));
        }
        // A thread that may keep all others from running does not try again and again without a break.
        let period = Span::from_frames(self.format.max_pull as i64, self.format.rate);
        self.card.sleep_until(self.recovered + period);
        self.recovered = self.card.now();
        Ok(())
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;

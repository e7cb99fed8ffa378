//! The network thread's half: packets, clock maps and commands in, statistics out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use audera_clock::{ClockMap, Estimate, SenderTime, Span};
use rtrb::Producer;

use crate::config::Config;
use crate::errors::LastMinute;
use crate::shared::{Shared, State, Stats};
use crate::source::Packet;

/// The buffer has no room for the packet: its stamp lies further ahead than the buffer is long, or nothing pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the playout buffer is full: drop the packet, or make the buffer longer than the stream's latency")]
pub struct Full;

/// The half that is fed by the network thread. It never waits for the other one.
#[derive(Debug)]
pub struct Feeder {
    samples: Producer<f32>,
    packets: Producer<Packet>,
    shared: Arc<Shared>,
    config: Config,
    /// Frames pushed so far, which is the index of the next.
    pushed: i64,
    /// Where the next packet belongs if it follows on the last without a gap.
    due: Option<SenderTime>,
    sync_errors: LastMinute,
    /// The last packet came wholly twice, so that the next is likely to come in part.
    doubled: bool,
}

/// Stamps may wobble by this and still follow on each other. Steady stamps wobble by microseconds, and by a few
/// hundred of them while the sender's clock still settles; the shortest packet that can be missing is longer.
const WOBBLE: Span = Span::from_micros(500);

/// Samples are held within this, 18 dB above full scale: nothing meant to be heard lies beyond, and no sum the
/// resampler makes of such numbers can overflow.
const LOUDEST: f32 = 8.0;

impl Feeder {
    pub(crate) fn new(samples: Producer<f32>, packets: Producer<Packet>, shared: Arc<Shared>, config: Config) -> Self {
        Self { samples, packets, shared, config, pushed: 0, due: None, sync_errors: LastMinute::new(), doubled: false }
    }

    /// Appends a packet of interleaved `samples` whose first frame is to be heard at `stamp`.
    ///
    /// Packets are pushed in the order of their stamps. One that leaves a gap to the last is played after silence of
    /// that length; frames of one that overlaps the last are dropped and counted as late. A stamp that lies before the
    /// end of the last packet by more than the buffer's capacity begins a new timeline. Samples that are not
    /// finite become silence; an incomplete last frame is ignored.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing was taken.
    pub fn push(&mut self, stamp: SenderTime, samples: &[f32]) -> Result<(), Full> {
        self.push_gliding(stamp, Span::ZERO, samples)
    }

    /// Appends a packet, as [`push`](Self::push) does, whose frames together last `glide` longer than nominal (negative: shorter), since the
    /// stream's latency grows meanwhile. What follows on it is due later by as much. A glide of more than a twentieth of the packet
    /// is cut to that.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing was taken.
    pub fn push_gliding(&mut self, stamp: SenderTime, glide: Span, samples: &[f32]) -> Result<(), Full> {
        let width = usize::from(self.config.channels);
        let frames = samples.len() / width;
        if frames == 0 {
            return Ok(());
        }
        let most = Span::from_frames(frames as i64, self.config.rate) / 20;
        let glide = glide.clamp(-most, most);
        let off = self.due.map_or(Span::MAX, |due| stamp - due);
        let opens_run = off.abs() > if self.doubled { Span::ZERO } else { WOBBLE };
        let overlap = match self.due {
            Some(due) if opens_run && off.is_negative() && due - stamp <= self.config.capacity => {
                // Less a hair, as the stamps are rounded to nanoseconds.
                let frame = 1.0 + glide.as_frames(self.config.rate) / frames as f64;
                ((-off).as_frames(self.config.rate) / frame - 0.01).ceil() as usize
            }
            _ => 0,
        };
        if overlap >= frames {
            self.doubled = true;
            self.count_late(frames);
            return Ok(());
        }
        let kept = frames - overlap;
        if self.packets.is_full() || self.samples.slots() < kept * width {
            return Err(Full);
        }
        self.count_late(overlap);
        let dropped = glide * overlap as i64 / frames as i64;
        let stamp = stamp + Span::from_frames(overlap as i64, self.config.rate) + dropped;
        if let Ok(chunk) = self.samples.write_chunk_uninit(kept * width) {
            chunk.fill_from_iter(samples[overlap * width..frames * width].iter().map(|sample| tame(*sample)));
        }
        let glide = glide - dropped;
        let packet = Packet { first: self.pushed, frames: kept as i64, stamp, glide, opens_run };
        // Room for the header was seen above, and only this half fills it.
        let _ = self.packets.push(packet);
        self.pushed += kept as i64;
        self.doubled = false;
        self.due = Some(packet.until(self.config.rate));
        Ok(())
    }

    /// The least by which packets came earlier than they had to since this was asked last: what the latency could have been less by.
    /// Negative when it was too short, by that much. `None` when nothing came.
    pub fn take_spare(&mut self) -> Option<Span> {
        self.shared.take_spare()
    }

    /// What [`take_spare`](Self::take_spare) would give.
    #[must_use]
    pub fn spare(&self) -> Option<Span> {
        self.shared.spare()
    }

    /// Hands the newest estimate of the clocks to the audio thread, which follows it the more willingly the less chance is in it.
    /// Nothing is played before the first.
    pub fn set_estimate(&mut self, estimate: Estimate) {
        self.shared.clock.set(estimate.into());
    }

    /// Hands a map between the clocks to the audio thread that is known to be exact, as for two ends with one clock.
    pub fn set_clock(&mut self, map: ClockMap) {
        self.shared.clock.set(map.into());
    }

    /// Sets how much later than it leaves the device the sound is heard: a calibrated delay of what is behind the
    /// device, by which everything is played earlier.
    pub fn set_output_delay(&mut self, delay: Span) {
        self.shared.output_delay.store(delay.as_nanos(), Ordering::Relaxed);
    }

    /// Says that no packet will follow. What is buffered still plays and ends in a fade; then
    /// [`is_drained`](Self::is_drained). What is pushed after this may be lost.
    pub fn finish(&mut self) {
        self.shared.finished.store(true, Ordering::Release);
    }

    /// What the playout is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Whether the stream has been finished and everything was played. It takes pulls, and a known clock, to get there.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shared.state() == State::Drained
    }

    /// Closes a second of what [`Stats::sync_p99`] is about; to be called once a second.
    pub fn close_second(&mut self) {
        self.sync_errors.close_second(&self.shared.sync_errors);
    }

    /// The present figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { sync_p99: self.sync_errors.p99(), ..self.shared.stats(self.pushed, self.config.rate) }
    }

    fn count_late(&self, frames: usize) {
        self.shared.late_frames.fetch_add(frames as u64, Ordering::Relaxed);
    }
}

fn tame(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

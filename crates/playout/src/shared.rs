//! What the two halves tell each other besides sound: the clock map one way, statistics the other, all by atomics.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};

use audera_clock::{ClockMap, Estimate, PlayerTime, SenderTime, Span};

use crate::errors::Histogram;

/// What a playout is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Silent: nothing is buffered, nothing is due yet, or the sender's clock is not known yet.
    #[default]
    Waiting,
    /// Sound is played.
    Playing,
    /// The stream has been finished; what is buffered still plays.
    Draining,
    /// The stream has been finished and everything was played.
    Drained,
}

impl State {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Playing,
            2 => Self::Draining,
            3 => Self::Drained,
            _ => Self::Waiting,
        }
    }
}

/// Figures about a playout. Counters run from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// What it is doing.
    pub state: State,
    /// How far the sound is behind its time (negative: ahead), as the servo saw it last.
    pub sync_error: Span,
    /// The size that 99 % of the sync errors did not exceed in the last minute, by [`Feeder::close_second`](crate::Feeder::close_second).
    pub sync_p99: Option<Span>,
    /// How much sound lies ahead of what is being played.
    pub buffered: Span,
    /// How much faster than nominal the stream is consumed, in ppm: the difference of the clocks and the servo's
    /// present correction, without the glides of the latency.
    pub ratio_ppm: f64,
    /// How much faster than nominal the device runs by the player's clock, in ppm, and the standard deviation of that.
    pub card_ppm: f64,
    /// Standard deviation of [`card_ppm`](Self::card_ppm).
    pub card_deviation_ppm: f64,
    /// Frames that were skipped because their time had passed, or had been filled by earlier packets.
    pub late_frames: u64,
    /// Packets of which frames were skipped for this.
    pub late_packets: u64,
    /// Frames of silence between two sounds: gaps in the stamps, and waiting for late packets.
    pub lost_frames: u64,
    /// How often the buffer ran dry while playing.
    pub underruns: u64,
    /// How often playback jumped because its error was too large to be made up for by rate.
    pub resyncs: u64,
    /// Frames of sound that were played.
    pub played_frames: u64,
}

/// Nothing has come that tells anything of the latency.
const NO_SPARE: i64 = i64::MAX;

/// Written by one half and read by the other.
#[derive(Debug)]
pub(crate) struct Shared {
    pub clock: ClockCell,
    /// Extra delay behind the device, ns.
    pub output_delay: AtomicI64,
    /// Set after the last packet was pushed.
    pub finished: AtomicBool,
    state: AtomicU8,
    pub sync_error: AtomicI64,
    /// Every error that the servo saw.
    pub sync_errors: Histogram,
    /// By how much packets came earlier than they were needed, at least, ns, since it was taken last; [`NO_SPARE`] for none.
    spare: AtomicI64,
    /// Bits of an `f64`.
    pub ratio_ppm: AtomicU64,
    /// Bits of an `f64`.
    pub card_ppm: AtomicU64,
    /// Bits of an `f64`.
    pub card_deviation_ppm: AtomicU64,
    /// Index of the next frame to be played.
    pub position: AtomicI64,
    /// Both halves add to this one.
    pub late_frames: AtomicU64,
    pub late_packets: AtomicU64,
    pub lost_frames: AtomicU64,
    pub underruns: AtomicU64,
    pub resyncs: AtomicU64,
    pub played_frames: AtomicU64,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            clock: ClockCell::new(),
            output_delay: AtomicI64::new(0),
            finished: AtomicBool::new(false),
            state: AtomicU8::new(State::Waiting as u8),
            sync_error: AtomicI64::new(0),
            sync_errors: Histogram::new(),
            spare: AtomicI64::new(NO_SPARE),
            ratio_ppm: AtomicU64::new(0),
            card_ppm: AtomicU64::new(0),
            card_deviation_ppm: AtomicU64::new(0),
            position: AtomicI64::new(0),
            late_frames: AtomicU64::new(0),
            late_packets: AtomicU64::new(0),
            lost_frames: AtomicU64::new(0),
            underruns: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            played_frames: AtomicU64::new(0),
        }
    }

    /// Takes notice of a packet that came by so much earlier than it was needed.
    pub fn note_spare(&self, spare: Span) {
        self.spare.fetch_min(spare.as_nanos(), Ordering::Relaxed);
    }

    /// The least that was noted since it was taken last.
    pub fn spare(&self) -> Option<Span> {
        Some(self.spare.load(Ordering::Relaxed)).filter(|spare| *spare != NO_SPARE).map(Span::from_nanos)
    }

    /// The same, and begins anew.
    pub fn take_spare(&self) -> Option<Span> {
        Some(self.spare.swap(NO_SPARE, Ordering::Relaxed)).filter(|spare| *spare != NO_SPARE).map(Span::from_nanos)
    }

    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub fn state(&self) -> State {
        State::from_code(self.state.load(Ordering::Acquire))
    }

    /// The figures, where `pushed` frames have gone into the buffer so far.
    pub fn stats(&self, pushed: i64, rate: u32) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ahead = pushed.saturating_sub(self.position.load(Ordering::Relaxed)).max(0);
        Stats {
            state: self.state(),
            sync_error: Span::from_nanos(self.sync_error.load(Ordering::Relaxed)),
            sync_p99: None,
            buffered: Span::from_frames(ahead, rate),
            ratio_ppm: f64::from_bits(count(&self.ratio_ppm)),
            card_ppm: f64::from_bits(count(&self.card_ppm)),
            card_deviation_ppm: f64::from_bits(count(&self.card_deviation_ppm)),
            late_frames: count(&self.late_frames),
            late_packets: count(&self.late_packets),
            lost_frames: count(&self.lost_frames),
            underruns: count(&self.underruns),
            resyncs: count(&self.resyncs),
            played_frames: count(&self.played_frames),
        }
    }
}

/// A map between the hosts' clocks, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clocks {
    pub map: ClockMap,
    /// Standard deviation of the offset at the map's reference instant.
    pub deviation: Span,
    /// Standard deviation of the skew, ppm.
    pub skew_deviation_ppm: f64,
}

impl From<ClockMap> for Clocks {
    fn from(map: ClockMap) -> Self {
        Self { map, deviation: Span::ZERO, skew_deviation_ppm: 0.0 }
    }
}

impl From<Estimate> for Clocks {
    fn from(estimate: Estimate) -> Self {
        let Estimate { map, deviation, skew_deviation_ppm, .. } = estimate;
        Self { map, deviation, skew_deviation_ppm }
    }
}

/// The newest clock map, written by one thread and read by another without either waiting.
///
/// A sequence lock over atomics. A ring would do for the hand-over but holds back the newest map when the audio
/// thread has been idle and the ring is full of old ones.
#[derive(Debug)]
pub(crate) struct ClockCell {
    /// Odd while a map is being written; zero before the first.
    sequence: AtomicU64,
    sender_ref: AtomicI64,
    player_ref: AtomicI64,
    skew: AtomicU64,
    deviation: AtomicI64,
    skew_deviation: AtomicU64,
}

impl ClockCell {
    fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            sender_ref: AtomicI64::new(0),
            player_ref: AtomicI64::new(0),
            skew: AtomicU64::new(0),
            deviation: AtomicI64::new(0),
            skew_deviation: AtomicU64::new(0),
        }
    }

    /// Puts `clocks` in. Only one thread may do so; the [`Feeder`](crate::Feeder) does it by `&mut self`.
    pub fn set(&self, clocks: Clocks) {
        let Clocks { map, deviation, skew_deviation_ppm } = clocks;
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.sender_ref.store(map.sender_ref().as_nanos(), Ordering::Relaxed);
        self.player_ref.store(map.player_ref().as_nanos(), Ordering::Relaxed);
        self.skew.store(map.skew().to_bits(), Ordering::Relaxed);
        self.deviation.store(deviation.as_nanos(), Ordering::Relaxed);
        self.skew_deviation.store(skew_deviation_ppm.to_bits(), Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The map, if there is one that was put in after `seen`, which is brought up to date. A map that is being
    /// written at this moment is left for the next call: the reader never waits.
    pub fn newer_than(&self, seen: &mut u64) -> Option<Clocks> {
        let before = self.sequence.load(Ordering::Acquire);
        if before == *seen || before % 2 == 1 {
            return None;
        }
        let sender_ref = self.sender_ref.load(Ordering::Relaxed);
        let player_ref = self.player_ref.load(Ordering::Relaxed);
        let skew = f64::from_bits(self.skew.load(Ordering::Relaxed));
        let deviation = Span::from_nanos(self.deviation.load(Ordering::Relaxed));
        let skew_deviation_ppm = f64::from_bits(self.skew_deviation.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != before {
            return None;
        }
        *seen = before;
        let map = ClockMap::new(SenderTime::from_nanos(sender_ref), PlayerTime::from_nanos(player_ref), skew);
        Some(Clocks { map, deviation, skew_deviation_ppm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_map_is_never_seen() {
        let cell = ClockCell::new();
        let rounds = 200_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=rounds {
                    let (sender, player) = (SenderTime::from_nanos(n), PlayerTime::from_nanos(-n));
                    let map = ClockMap::new(sender, player, n as f64 * 1e-9);
                    cell.set(Clocks { map, deviation: Span::from_nanos(n), skew_deviation_ppm: n as f64 });
                }
            });
            let (mut seen, mut last) = (0, 0);
            while last < rounds {
                let Some(Clocks { map, deviation, skew_deviation_ppm }) = cell.newer_than(&mut seen) else {
                    continue;
                };
                let n = map.sender_ref().as_nanos();
                assert!(n > last, "the newest wins");
                assert_eq!(map.player_ref(), PlayerTime::from_nanos(-n));
                assert_eq!(map.skew(), n as f64 * 1e-9);
                assert_eq!((deviation, skew_deviation_ppm), (Span::from_nanos(n), n as f64));
                last = n;
            }
        });
    }
}

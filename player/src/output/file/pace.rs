//! The pull side of the file output: which block is due when, and how it reaches the disk's ring. Knows no clock of its own.

use std::sync::Arc;

use audera_clock::{PlayerTime, Span};
use rtrb::Producer;

use crate::output::{DeviceFormat, Health, Pull};

/// Pulls blocks at their nominal times; real-time safe.
pub(super) struct Pace<P> {
    pull: P,
    to_disk: Producer<f32>,
    format: DeviceFormat,
    health: Arc<Health>,
    block: Vec<f32>,
    start: PlayerTime,
    /// Frames pulled since `start`.
    pulled: u64,
    /// Samples that found no room in the ring and are owed to the file as silence, so that its time line stays true.
    owed: usize,
}

impl<P: Pull> Pace<P> {
    pub fn new(pull: P, to_disk: Producer<f32>, format: DeviceFormat, health: Arc<Health>) -> Self {
        let block = vec![0.0; format.max_pull * usize::from(format.channels)];
        Self { pull, to_disk, format, health, block, start: PlayerTime::from_nanos(0), pulled: 0, owed: 0 }
    }

    /// The first frame of the file is heard at `start`.
    pub fn begin(&mut self, start: PlayerTime) {
        self.start = start;
    }

    /// When the next block is due: the time of its first frame.
    pub fn next(&self) -> PlayerTime {
        self.start + Span::from_frames(self.pulled as i64, self.format.rate)
    }

    /// Pulls the block that is due and hands it to the disk.
    pub fn turn(&mut self) {
        let at = self.next();
        self.pull.pull(at, &mut self.block);
        self.pulled += self.format.max_pull as u64;
        self.pay_silence();
        if self.owed == 0 && self.to_disk.slots() >= self.block.len() {
            append(&mut self.to_disk, self.block.len(), self.block.iter().copied());
        } else {
            self.owed += self.block.len();
            self.health.count_xrun();
        }
    }

    /// Pays back what room there is.
    fn pay_silence(&mut self) {
        let paid = self.owed.min(self.to_disk.slots());
        append(&mut self.to_disk, paid, std::iter::repeat_n(0.0, paid));
        self.owed -= paid;
    }
}

/// Puts `count` samples into a ring that has room for them.
fn append(ring: &mut Producer<f32>, count: usize, samples: impl Iterator<Item = f32>) {
    if let Ok(room) = ring.write_chunk_uninit(count) {
        room.fill_from_iter(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    /// Notes when it was asked, and plays a ramp.
    struct Ramp {
        asked: Vec<PlayerTime>,
        next: f32,
    }

    impl Pull for Ramp {
        fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
            self.asked.push(at);
            for sample in out {
                self.next += 1.0;
                *sample = self.next;
            }
        }
        fn device_reset(&mut self) {}
    }

    fn pace(ring_samples: usize) -> (Pace<Ramp>, rtrb::Consumer<f32>, Arc<Health>) {
        let (to_disk, from_pace) = RingBuffer::new(ring_samples);
        let health = Arc::new(Health::default());
        let format = DeviceFormat { rate: 44_100, channels: 1, max_pull: 441, latency: Span::from_nanos(0) };
        let ramp = Ramp { asked: Vec::new(), next: 0.0 };
        (Pace::new(ramp, to_disk, format, health.clone()), from_pace, health)
    }

    #[test]
    fn blocks_stay_on_their_nominal_times_for_a_day() {
        let (mut pace, mut disk, _) = pace(44_100);
        let start = PlayerTime::from_nanos(7);
        pace.begin(start);
        pace.pulled = 24 * 3600 * 44_100;
        assert_eq!(pace.next() - start, Span::from_secs_f64(24.0 * 3600.0));
        pace.turn();
        assert_eq!(pace.next() - start, Span::from_secs_f64(24.0 * 3600.0 + 0.01));
        assert_eq!(pace.pull.asked, [start + Span::from_secs_f64(24.0 * 3600.0)]);
        assert_eq!(disk.pop(), Ok(1.0));
    }

    #[test]
    fn a_stalled_disk_costs_sound_but_not_time() {
        let (mut pace, mut disk, health) = pace(441 * 4 + 100);
        pace.begin(PlayerTime::from_nanos(0));
        for _ in 0..6 {
            pace.turn();
        }
        let mut file: Vec<f32> = std::iter::from_fn(|| disk.pop().ok()).collect();
        for _ in 0..2 {
            pace.turn();
            file.extend(std::iter::from_fn(|| disk.pop().ok()));
        }
        assert_eq!(file.len(), 441 * 8, "eight blocks of time are in the file");
        for (index, sample) in file.iter().enumerate() {
            let block = index / 441;
            let expected = if block == 4 || block == 5 { 0.0 } else { (index + 1) as f32 };
            assert_eq!(*sample, expected, "sample {index}");
        }
        assert_eq!(health_xruns(&health), 2);
    }

    fn health_xruns(health: &Arc<Health>) -> u64 {
        let format = DeviceFormat { rate: 1, channels: 1, max_pull: 1, latency: Span::from_nanos(0) };
        crate::output::Playing::new(format, health.clone(), ()).xruns()
    }
}

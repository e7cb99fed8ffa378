//! Output to nowhere: takes sound at the pace of the monotonic clock, as a device would, and throws it away.
//!
//! For measuring, and for many players on one machine: what it costs is what receiving, decoding and timing cost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use audera_clock::{PlayerTime, Span};

use super::thread::OwnThread;
use super::{DeviceFormat, OpenDevice, Output, OutputError, Playing, Pull};
use crate::monotonic;

/// Blocks taken per second: as few as sound cards do.
const BLOCKS_PER_SECOND: u32 = 50;

/// Nowhere as output device.
#[derive(Debug)]
pub struct NullOutput;

impl Output for NullOutput {
    fn name(&self) -> String {
        "null".to_owned()
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        if rate < BLOCKS_PER_SECOND || channels == 0 {
            let detail = format!("it takes at least one channel and {BLOCKS_PER_SECOND} Hz");
            return Err(OutputError::Format { output: self.name(), rate, channels, detail });
        }
        let max_pull = (rate / BLOCKS_PER_SECOND) as usize;
        Ok(Box::new(OpenNull { format: DeviceFormat { rate, channels, max_pull, latency: Span::ZERO } }))
    }
}

struct OpenNull {
    format: DeviceFormat,
}

impl OpenDevice for OpenNull {
    fn format(&self) -> DeviceFormat {
        self.format
    }

    fn start(self: Box<Self>, puller: Box<dyn Pull>) -> Result<Playing, OutputError> {
        let format = self.format;
        let thread = OwnThread::start(&NullOutput.name(), "audera-null", move |stop| {
            let mut pace = Pace::new(puller, format, monotonic::now());
            while !stop.load(Ordering::Acquire) {
                monotonic::sleep_until(pace.next());
                pace.turn();
            }
        })?;
        Ok(Playing::new(format, Arc::default(), thread))
    }
}

/// Which block is due when; knows no clock of its own.
struct Pace<P> {
    pull: P,
    rate: u32,
    block: Vec<f32>,
    frames: usize,
    start: PlayerTime,
    /// Frames taken since `start`.
    taken: u64,
}

impl<P: Pull> Pace<P> {
    /// The first frame is heard at `start`.
    fn new(pull: P, format: DeviceFormat, start: PlayerTime) -> Self {
        let frames = format.max_pull;
        let block = vec![0.0; frames * usize::from(format.channels)];
        Self { pull, rate: format.rate, block, frames, start, taken: 0 }
    }

    /// When the next block is due: the time of its first frame.
    fn next(&self) -> PlayerTime {
        self.start + Span::from_frames(self.taken as i64, self.rate)
    }

    /// Takes the block that is due. Real-time safe.
    fn turn(&mut self) {
        let at = self.next();
        self.pull.pull(at, &mut self.block);
        self.taken += self.frames as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Tells when it was asked, and for how many samples.
    struct Probe(mpsc::Sender<(PlayerTime, usize)>);

    impl Pull for Probe {
        fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
            // Nobody listens any more when the test is over.
            let _ = self.0.send((at, out.len()));
        }

        fn device_reset(&mut self) {}
    }

    #[test]
    fn blocks_are_asked_for_at_their_nominal_times_and_never_before() {
        let (tell, asked) = mpsc::channel();
        let opened = NullOutput.open(44_100, 2).unwrap();
        assert_eq!(opened.format().max_pull, 882);
        let before = monotonic::now();
        let playing = opened.start(Box::new(Probe(tell))).unwrap();
        let blocks: Vec<_> = (0..5).map(|_| asked.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        let after = monotonic::now();
        drop(playing);
        let (start, _) = blocks[0];
        for (n, (at, samples)) in blocks.iter().enumerate() {
            assert_eq!((*at - start, *samples), (Span::from_millis(20) * n as i64, 2 * 882));
        }
        assert!(start >= before && blocks[4].0 <= after);
        // The thread is gone, and with it the probe.
        assert!(asked.iter().count() < 1_000);
    }

    #[test]
    fn time_does_not_creep_in_a_day() {
        let (tell, asked) = mpsc::channel();
        let format = DeviceFormat { rate: 44_100, channels: 1, max_pull: 882, latency: Span::ZERO };
        let mut pace = Pace::new(Probe(tell), format, PlayerTime::from_nanos(7));
        pace.taken = 24 * 3600 * 44_100;
        pace.turn();
        assert_eq!(asked.recv().unwrap().0, PlayerTime::from_nanos(7) + Span::from_secs(24 * 3600));
        assert_eq!(pace.next() - PlayerTime::from_nanos(7), Span::from_secs_f64(24.0 * 3600.0 + 0.02));
    }

    #[test]
    fn what_is_no_sound_is_refused() {
        assert!(NullOutput.open(48_000, 0).err().unwrap().to_string().contains("channel"));
        assert!(NullOutput.open(10, 2).is_err());
    }
}

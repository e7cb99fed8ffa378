//! The file output with its threads and the real clock.

use std::sync::{Condvar, Mutex};

use audera_clock::{ClockMap, PlayerTime, SenderTime};
use audera_playout::{Config, playout};

use super::*;

/// For when a block was asked, and when.
type Asked = Vec<(PlayerTime, PlayerTime)>;

/// Plays a ramp, and notes what it was asked.
#[derive(Clone, Default)]
struct Ramp(Arc<(Mutex<Asked>, Condvar)>);

fn ramp(sample: usize) -> f32 {
    (sample + 1) as f32 / 16_777_216.0
}

impl Pull for Ramp {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        let mut asked = self.0.0.lock().unwrap();
        let before = asked.len() * out.len();
        for (index, sample) in out.iter_mut().enumerate() {
            *sample = ramp(before + index);
        }
        asked.push((at, monotonic::now()));
        self.0.1.notify_all();
    }

    fn device_reset(&mut self) {}
}

impl Ramp {
    fn wait_for(&self, pulls: usize) {
        let limit = std::time::Duration::from_secs(20);
        let asked = self.0.0.lock().unwrap();
        let (_asked, timeout) = self.0.1.wait_timeout_while(asked, limit, |asked| asked.len() < pulls).unwrap();
        assert!(!timeout.timed_out());
    }
}

fn opened(output: &FileOutput, rate: u32, channels: u16) -> OpenFile {
    let take = Recording::begin(&output.recording, rate, channels).unwrap();
    let max_pull = (rate / BLOCKS_PER_SECOND) as usize;
    OpenFile { name: output.name(), format: DeviceFormat { rate, channels, max_pull, latency: Span::ZERO }, take }
}

#[test]
fn every_frame_is_pulled_at_its_time_and_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("room.wav");
    let output = FileOutput::new(path.clone());
    let mut expected = Vec::new();
    for _ in 0..2 {
        let source = Ramp::default();
        let playing = opened(&output, 44_100, 2).pull_from(source.clone()).unwrap();
        source.wait_for(20);
        drop(playing);
        let asked = source.0.0.lock().unwrap();
        for (index, (at, now)) in asked.iter().enumerate() {
            assert_eq!(*at - asked[0].0, Span::from_frames(index as i64 * 441, 44_100));
            assert!(now >= at, "pulled {} ahead of its time", *at - *now);
        }
        expected.extend((0..asked.len() * 882).map(ramp));
    }
    let mut reader = hound::WavReader::open(&path).unwrap();
    let written: Vec<f32> = reader.samples::<f32>().map(Result::unwrap).collect();
    assert_eq!(written.len(), expected.len());
    assert!(written == expected, "the file is not what was pulled");
}

#[test]
fn a_stream_goes_from_the_playout_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = FileOutput::new(dir.path().join("room.wav"));
    let open = output.open(48_000, 2).unwrap();
    let DeviceFormat { rate, channels, max_pull, .. } = open.format();
    let (mut feeder, puller) = playout(Config { rate, channels, capacity: Span::from_secs(4), max_pull }).unwrap();
    feeder.set_clock(ClockMap::identity());
    let first = SenderTime::from_nanos((monotonic::now() + Span::from_secs(2)).as_nanos());
    for packet in 0..30 {
        feeder.push(first + Span::from_millis(10 * packet), &[0.5; 2 * 480]).unwrap();
    }
    feeder.finish();
    let playing = open.start(Box::new(puller)).unwrap();
    let limit = monotonic::now() + Span::from_secs(20);
    while !feeder.is_drained() {
        assert!(monotonic::now() < limit, "the stream does not end: {:?}", feeder.stats());
        std::thread::yield_now();
    }
    assert_eq!((playing.failed(), playing.xruns()), (None, 0));
    drop(playing);
    let mut reader = hound::WavReader::open(dir.path().join("room.wav")).unwrap();
    let sounding = reader.samples::<f32>().filter(|sample| (sample.as_ref().unwrap() - 0.5).abs() < 1e-3).count();
    // 300 ms in two channels, less the fades at both ends.
    assert!((24_000..=28_800).contains(&sounding), "{sounding} samples sound");
}

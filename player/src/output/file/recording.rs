//! The disk side of the file output: which file a stream goes to, and writing it so that a kill leaves it readable.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};
use rtrb::Consumer;

/// A WAV header counts bytes in 32 bits; a recording goes on in the next file before that.
const MOST_BYTES: u32 = 4_000_000_000;

/// How often the ring is emptied.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// How often the header is brought up to date: what a kill may cost.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The files one output has written, in the life of this process.
#[derive(Debug)]
pub(super) struct Recording {
    base: PathBuf,
    /// Files begun so far.
    count: u32,
    /// The file that a stream of the same format continues.
    current: Option<(PathBuf, WavSpec)>,
    most_bytes: u32,
}

impl Recording {
    pub fn new(base: PathBuf) -> Self {
        Self { base, count: 0, current: None, most_bytes: MOST_BYTES }
    }

    /// Opens the file for a stream: the current one if it has this format, else the next.
    pub fn begin(recording: &Arc<Mutex<Self>>, rate: u32, channels: u16) -> Result<Take, hound::Error> {
        let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: SampleFormat::Float };
        let mut this = recording.lock().unwrap_or_else(PoisonError::into_inner);
        let continued = match &this.current {
            Some((path, current)) if *current == spec => Some(path.clone()),
            _ => None,
        };
        let writer = match continued {
            Some(path) => WavWriter::append(path)?,
            None => this.next_file(spec)?,
        };
        drop(this);
        Ok(Take { recording: recording.clone(), writer, spec, flush_every: FLUSH_EVERY })
    }

    fn next_file(&mut self, spec: WavSpec) -> Result<WavWriter<BufWriter<File>>, hound::Error> {
        let path = numbered(&self.base, self.count + 1);
        let writer = WavWriter::create(&path, spec)?;
        self.count += 1;
        self.current = Some((path, spec));
        Ok(writer)
    }
}

/// `name.wav`, `name-2.wav`, `name-3.wav`...
fn numbered(base: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return base.to_owned();
    }
    let mut name = base.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(suffix) = base.extension() {
        name.push(".");
        name.push(suffix);
    }
    base.with_file_name(name)
}

/// One stream on its way to the disk.
pub(super) struct Take {
    recording: Arc<Mutex<Recording>>,
    writer: WavWriter<BufWriter<File>>,
    spec: WavSpec,
    flush_every: Duration,
}

impl Take {
    /// Writes what comes out of the ring until `stop` is set and the ring is empty.
    pub fn write(mut self, mut from_pace: Consumer<f32>, stop: &AtomicBool) -> Result<(), hound::Error> {
        let mut flushed = Instant::now();
        loop {
            // Read before draining: what was put in before the stop is still written.
            let last = stop.load(Ordering::Acquire);
            let before = self.writer.len();
            self.drain(&mut from_pace)?;
            if last {
                return self.writer.finalize();
            }
            if self.writer.len() != before && flushed.elapsed() >= self.flush_every {
                self.writer.flush()?;
                flushed = Instant::now();
            }
            std::thread::park_timeout(DRAIN_EVERY);
        }
    }

    fn drain(&mut self, from_pace: &mut Consumer<f32>) -> Result<(), hound::Error> {
        let frame = usize::from(self.spec.channels);
        let ready = from_pace.slots() / frame * frame;
        if ready == 0 {
            return Ok(());
        }
        self.make_room(ready)?;
        if let Ok(chunk) = from_pace.read_chunk(ready) {
            let (first, second) = chunk.as_slices();
            for sample in first.iter().chain(second) {
                self.writer.write_sample(*sample)?;
            }
            chunk.commit_all();
        }
        Ok(())
    }

    /// Goes on in the next file if `samples` more would not fit into this one.
    fn make_room(&mut self, samples: usize) -> Result<(), hound::Error> {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (u64::from(self.writer.len()) + samples as u64) * 4;
        if after > u64::from(recording.most_bytes) {
            let next = recording.next_file(self.spec)?;
            drop(recording);
            std::mem::replace(&mut self.writer, next).finalize()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    fn stream(recording: &Arc<Mutex<Recording>>, rate: u32, channels: u16, samples: &[f32]) {
        let take = Recording::begin(recording, rate, channels).unwrap();
        let (mut producer, consumer) = RingBuffer::new(samples.len().max(1));
        for sample in samples {
            producer.push(*sample).unwrap();
        }
        take.write(consumer, &AtomicBool::new(true)).unwrap();
    }

    fn content(path: &Path) -> (WavSpec, Vec<f32>) {
        let mut reader = hound::WavReader::open(path).unwrap();
        (reader.spec(), reader.samples::<f32>().map(Result::unwrap).collect())
    }

    #[test]
    fn streams_of_one_format_share_a_file_and_others_get_their_own() {
        for channels in [1, 2, 6] {
            let dir = tempfile::tempdir().unwrap();
            let recording = Arc::new(Mutex::new(Recording::new(dir.path().join("room.wav"))));
            let samples: Vec<f32> = (0..channels * 10).map(f32::from).collect();
            stream(&recording, 48_000, channels, &samples);
            stream(&recording, 48_000, channels, &samples);
            stream(&recording, 44_100, channels, &samples);
            stream(&recording, 48_000, channels, &samples);
            let (spec, written) = content(&dir.path().join("room.wav"));
            assert_eq!((spec.sample_rate, spec.channels), (48_000, channels));
            assert_eq!(written, [samples.clone(), samples.clone()].concat());
            assert_eq!(content(&dir.path().join("room-2.wav")).0.sample_rate, 44_100);
            assert_eq!(content(&dir.path().join("room-3.wav")).1, samples);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        }
    }

    #[test]
    fn a_file_never_outgrows_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let recording = Arc::new(Mutex::new(Recording::new(dir.path().join("long.wav"))));
        recording.lock().unwrap().most_bytes = 40;
        stream(&recording, 48_000, 2, &[1.0; 8]);
        stream(&recording, 48_000, 2, &[2.0; 8]);
        assert_eq!(content(&dir.path().join("long.wav")).1, [1.0; 8]);
        assert_eq!(content(&dir.path().join("long-2.wav")).1, [2.0; 8]);
    }

    #[test]
    fn a_new_process_overwrites_the_first_file() {
        let dir = tempfile::tempdir().unwrap();
        for value in [1.0, 2.0] {
            let recording = Arc::new(Mutex::new(Recording::new(dir.path().join("room.wav"))));
            stream(&recording, 48_000, 1, &[value; 3]);
        }
        assert_eq!(content(&dir.path().join("room.wav")).1, [2.0; 3]);
    }

    #[test]
    fn a_kill_leaves_a_readable_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("room.wav");
        let recording = Arc::new(Mutex::new(Recording::new(path.clone())));
        let mut take = Recording::begin(&recording, 48_000, 2).unwrap();
        take.flush_every = Duration::ZERO;
        let (mut producer, consumer) = RingBuffer::new(1000);
        for _ in 0..1000 {
            producer.push(0.25).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let stop = stop.clone();
            move || take.write(consumer, &stop)
        });
        // While the writer still has it open, with a header as a kill would leave it.
        let limit = Instant::now() + Duration::from_secs(20);
        while hound::WavReader::open(&path).map_or(0, |reader| reader.len()) < 1000 {
            assert!(Instant::now() < limit, "the header does not tell of the samples");
            std::thread::yield_now();
        }
        assert_eq!(content(&path).1, [0.25; 1000]);
        stop.store(true, Ordering::Release);
        writer.join().unwrap().unwrap();
    }
}

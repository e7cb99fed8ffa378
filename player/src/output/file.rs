//! Output to a WAV file: the monotonic clock is the crystal, so every frame lands exactly where its stamp says.
//!
//! Two threads: `audera-file` pulls 10 ms blocks at their nominal times and only puts them into a ring;
//! `audera-file-disk` writes them, so that a slow disk does not disturb the pace. Nothing is written between streams.
//! A stream of the same format continues the file, one of another format begins a new one (`NAME-2.wav`, `NAME-3.wav`).

mod pace;
mod recording;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};

use audera_clock::Span;
use rtrb::RingBuffer;

use super::priority::promote_this_thread;
use super::thread::OwnThread;
use super::{DeviceFormat, Health, OpenDevice, Output, OutputError, Playing, Pull};
use crate::monotonic;
use pace::Pace;
use recording::{Recording, Take};

/// Blocks pulled per second.
const BLOCKS_PER_SECOND: u32 = 100;

/// How long the disk may stall before the file gets silence in place of sound, in seconds.
const RING_SECONDS: usize = 4;

/// A WAV file as output device.
#[derive(Debug)]
pub struct FileOutput {
    path: PathBuf,
    recording: Arc<Mutex<Recording>>,
}

impl FileOutput {
    /// An output to `path`, which is overwritten when the first stream starts.
    pub fn new(path: PathBuf) -> Self {
        let recording = Arc::new(Mutex::new(Recording::new(path.clone())));
        Self { path, recording }
    }
}

impl Output for FileOutput {
    fn name(&self) -> String {
        format!("file:{}", self.path.display())
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        let refused =
            |detail| OutputError::Device { output: self.name(), action: "opening the file for writing", detail };
        if rate < BLOCKS_PER_SECOND || channels == 0 {
            let detail = "a WAV file needs at least one channel and 100 Hz".to_owned();
            return Err(OutputError::Format { output: self.name(), rate, channels, detail });
        }
        let take = Recording::begin(&self.recording, rate, channels).map_err(|error| refused(error.to_string()))?;
        let format = DeviceFormat {
            rate,
            channels,
            max_pull: (rate / BLOCKS_PER_SECOND) as usize,
            latency: Span::from_nanos(0),
        };
        Ok(Box::new(OpenFile { name: self.name(), format, take }))
    }
}

/// A file that is open and waits for sound.
struct OpenFile {
    name: String,
    format: DeviceFormat,
    take: Take,
}

impl OpenDevice for OpenFile {
    fn format(&self) -> DeviceFormat {
        self.format
    }

    fn start(self: Box<Self>, puller: Box<dyn Pull>) -> Result<Playing, OutputError> {
        self.pull_from(puller)
    }
}

impl OpenFile {
    fn pull_from(self, pull: impl Pull + 'static) -> Result<Playing, OutputError> {
        let Self { name, format, take } = self;
        let health = Arc::new(Health::default());
        let capacity = RING_SECONDS * format.rate as usize * usize::from(format.channels);
        let (to_disk, from_pace) = RingBuffer::new(capacity);
        let writer = OwnThread::start(&name, "audera-file-disk", {
            let health = health.clone();
            move |stop| {
                if let Err(error) = take.write(from_pace, stop) {
                    health.fail(format!("writing the file failed: {error}; make room or choose another path"));
                }
            }
        })?;
        let mut pace = Pace::new(pull, to_disk, format, health.clone());
        let (granted, scheduling) = mpsc::sync_channel(1);
        let pacer = OwnThread::start(&name, "audera-file", move |stop| {
            // The receiver waits for exactly this; if it has gone, the sound has nobody to play for.
            let _ = granted.send(promote_this_thread());
            pace.begin(monotonic::now());
            while !stop.load(Ordering::Acquire) {
                monotonic::sleep_until(pace.next());
                pace.turn();
            }
        })?;
        if let Ok(scheduling) = scheduling.recv() {
            scheduling.log(&name);
        }
        // Dropped in this order: the pace stops, then the disk finishes.
        Ok(Playing::new(format, health, (pacer, writer)))
    }
}

#[cfg(test)]
#[path = "file/output_tests.rs"]
mod tests;

//! From the audio thread to the files: a ring of samples, a ring of notes about them, and a thread that writes.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    Counts, MISSED_FILE, Missed, REPORT_FILE, Report, SAMPLES_FILE, SampleClock, TIMES_FILE, TrueTime, XRUNS_FILE,
};
use crate::Error;

/// How much the disk may lag behind, in seconds.
const SLACK: usize = 5;
/// Notes for that long at the smallest quantum of all, 16 frames, three for each cycle.
const NOTES: usize = SLACK * 192_000 / 16 * 3;
/// Between two looks at the rings.
const LOOK: Duration = Duration::from_millis(50);
/// Between two reports, in looks: who is killed leaves a report that is no older.
const LOOKS: u32 = 10;

/// Whether the files of a recording are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    New,
    There,
}

#[derive(Clone, Copy, Debug)]
enum Note {
    /// So many frames from this one on are in the ring of samples.
    Played {
        at: u64,
        frames: u64,
    },
    Missed(Missed),
    Xrun(Missed),
    Counts(Counts),
}

/// The audio thread's end. Nothing here blocks, allocates or fails.
#[derive(Debug)]
pub struct Recording {
    channels: usize,
    samples: Producer<f32>,
    notes: Producer<Note>,
    unrecorded: u64,
}

impl Recording {
    /// Records interleaved samples that are heard from frame `at` on.
    pub fn play(&mut self, at: u64, samples: &[f32]) {
        let frames = (samples.len() / self.channels) as u64;
        let samples = &samples[..frames as usize * self.channels];
        let room = self.notes.slots() >= 2;
        match self.samples.write_chunk_uninit(samples.len()) {
            Ok(chunk) if room => {
                chunk.fill_from_iter(samples.iter().copied());
                self.note(Note::Played { at, frames });
            }
            _ => self.unrecorded += frames,
        }
    }

    /// Records that frames were silent which should not have been.
    pub fn missed(&mut self, missed: Missed) {
        self.note(Note::Missed(missed));
    }

    /// Records that the device stood still.
    pub fn xrun(&mut self, silence: Missed) {
        self.note(Note::Xrun(silence));
    }

    /// Records how the run goes.
    pub fn counts(&mut self, counts: &Counts) {
        self.note(Note::Counts(Counts { unrecorded_frames: self.unrecorded, ..*counts }));
    }

    fn note(&mut self, note: Note) {
        // Full after seconds of a disk that stands still: then samples are lost too, which is counted.
        let _full = self.notes.push(note).is_err();
    }
}

/// The writing thread. Dropping it leaves the files as they are, without the final counts.
#[derive(Debug)]
pub struct Tape {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<Result<(), Error>>>,
}

impl Tape {
    /// Makes the folder with its files and starts to write.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn start(folder: &Path, report: Report, clock: SampleClock) -> Result<(Recording, Self), Error> {
        fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        Self::run(folder, report, clock, Files::New)
    }

    /// Goes on with what another tape of the same card has written, however that ended, by the crystal that its report
    /// tells of. So do the counts.
    ///
    /// # Errors
    /// When the files are not there or cannot be written.
    pub fn go_on(folder: &Path) -> Result<(Recording, Self, Report), Error> {
        let path = folder.join(REPORT_FILE);
        let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Report>(&text)?));
        let before = read.map_err(|source| Error::File { path, source })?;
        let report = Report { complete: false, ..before };
        let (mut recording, tape) = Self::run(folder, report.clone(), report.clock(), Files::There)?;
        recording.unrecorded = report.counts.unrecorded_frames;
        Ok((recording, tape, report))
    }

    fn run(folder: &Path, report: Report, clock: SampleClock, files: Files) -> Result<(Recording, Self), Error> {
        let channels = usize::from(report.channels.max(1));
        let (samples, samples_out) = RingBuffer::new(SLACK * report.rate as usize * channels);
        let (notes, notes_out) = RingBuffer::new(NOTES);
        let mut writer = Writer::new(folder, report, clock, files, samples_out, notes_out)?;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = thread::Builder::new().name("audera-card-tape".to_owned()).spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Acquire) {
                    thread::park_timeout(LOOK);
                    writer.write()?;
                }
                writer.finish()
            }
        });
        let writer = writer.map_err(|source| Error::Run { program: "the writing thread".to_owned(), source })?;
        let recording = Recording { channels, samples, notes, unrecorded: 0 };
        Ok((recording, Self { stop, writer: Some(writer) }))
    }

    /// Writes what is left and the final report; to be called when nothing is played any more.
    ///
    /// # Errors
    /// When a file could not be written.
    pub fn finish(mut self) -> Result<(), Error> {
        match self.stop().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            // Its panic has been printed.
            Some(Err(_)) | None => Err(Error::Run {
                program: "the writing thread".to_owned(),
                source: io::Error::other("it ended before its time"),
            }),
        }
    }

    fn stop(&mut self) -> Option<JoinHandle<Result<(), Error>>> {
        self.stop.store(true, Ordering::Release);
        self.writer.as_ref().inspect(|writer| writer.thread().unpark());
        self.writer.take()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // Waited for, so that nobody writes into a folder that is being deleted; what it says is nobody's concern now.
        drop(self.stop().map(JoinHandle::join));
    }
}

struct Writer {
    folder: PathBuf,
    report: Report,
    clock: SampleClock,
    samples: Consumer<f32>,
    notes: Consumer<Note>,
    sound: File,
    times: File,
    missed: File,
    xruns: File,
    /// The first frame that is not in the file.
    end: u64,
    /// The first line that is not in the table.
    line: u64,
    bytes: Vec<u8>,
    /// Looks since the last report.
    looks: u32,
}

impl Writer {
    fn new(
        folder: &Path,
        report: Report,
        clock: SampleClock,
        files: Files,
        samples: Consumer<f32>,
        notes: Consumer<Note>,
    ) -> Result<Self, Error> {
        let make = |name: &str, heading: &str| {
            let path = folder.join(name);
            let made = match files {
                Files::New => {
                    File::create(&path).and_then(|mut file| file.write_all(heading.as_bytes()).map(|()| file))
                }
                Files::There => at_end_of_lines(&path, heading),
            };
            made.map_err(|source| Error::File { path, source })
        };
        let failed = |name: &str, source| Error::File { path: folder.join(name), source };
        let (mut end, mut line) = (0, 0);
        if files == Files::There {
            let length = fs::metadata(folder.join(SAMPLES_FILE)).map_err(|source| failed(SAMPLES_FILE, source))?.len();
            end = length / (u64::from(report.channels.max(1)) * 4);
            let table = fs::read(folder.join(TIMES_FILE)).map_err(|source| failed(TIMES_FILE, source))?;
            // But for the heading.
            line = (table.iter().filter(|byte| **byte == b'\n').count() as u64).saturating_sub(1);
        }
        let mut writer = Self {
            report,
            clock,
            samples,
            notes,
            sound: make(SAMPLES_FILE, "")?,
            times: make(TIMES_FILE, "frame,true_ns\n")?,
            missed: make(MISSED_FILE, "frame,frames\n")?,
            xruns: make(XRUNS_FILE, "frame,frames\n")?,
            end,
            line,
            bytes: Vec::new(),
            looks: 0,
            folder: folder.to_owned(),
        };
        writer.write()?;
        writer.tell()?;
        Ok(writer)
    }

    /// Writes what has come, and the table up to now and a little further.
    fn write(&mut self) -> Result<(), Error> {
        while let Ok(note) = self.notes.pop() {
            match note {
                Note::Counts(counts) => self.report.counts = counts,
                Note::Missed(missed) => {
                    self.missed
                        .write_all(line(missed).as_bytes())
                        .map_err(|source| self.failed(MISSED_FILE, source))?;
                }
                Note::Xrun(silence) => {
                    self.xruns.write_all(line(silence).as_bytes()).map_err(|source| self.failed(XRUNS_FILE, source))?;
                }
                Note::Played { at, frames } => self.put(at, frames)?,
            }
        }
        let step = u64::from(self.clock.rate() / 10).max(1);
        let until = self.clock.frame_at(TrueTime::now()).max(self.end as f64) + 2.0 * step as f64;
        let mut lines = String::new();
        while ((self.line * step) as f64) < until {
            let frame = self.line * step;
            lines.push_str(&format!("{frame},{}\n", self.clock.time_of(frame as f64).as_nanos()));
            self.line += 1;
        }
        self.times.write_all(lines.as_bytes()).map_err(|source| self.failed(TIMES_FILE, source))?;
        self.looks += 1;
        if self.looks >= LOOKS {
            self.looks = 0;
            self.tell()?;
        }
        Ok(())
    }

    /// Writes samples at their place; what is left out on the way is a hole in the file, which reads as zeros.
    fn put(&mut self, at: u64, frames: u64) -> Result<(), Error> {
        let channels = usize::from(self.report.channels.max(1));
        let count = frames as usize * channels;
        self.bytes.clear();
        if let Ok(chunk) = self.samples.read_chunk(count) {
            let (first, second) = chunk.as_slices();
            self.bytes.extend(first.iter().chain(second).flat_map(|sample| sample.to_le_bytes()));
            chunk.commit_all();
        }
        let offset = at * channels as u64 * 4;
        self.sound.write_all_at(&self.bytes, offset).map_err(|source| self.failed(SAMPLES_FILE, source))?;
        self.end = self.end.max(at + frames);
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.write()?;
        let played = self.clock.frame_at(TrueTime::now()).max(self.end as f64) as u64;
        let length = played * u64::from(self.report.channels.max(1)) * 4;
        self.sound.set_len(length).map_err(|source| self.failed(SAMPLES_FILE, source))?;
        self.report.complete = true;
        self.tell()
    }

    /// The report, whole at every moment.
    fn tell(&self) -> Result<(), Error> {
        let failed = |source| self.failed(REPORT_FILE, source);
        let text = serde_json::to_string_pretty(&self.report).map_err(|error| failed(error.into()))?;
        let draft = self.folder.join(format!("{REPORT_FILE}.new"));
        fs::write(&draft, text + "\n").and_then(|()| fs::rename(&draft, self.folder.join(REPORT_FILE))).map_err(failed)
    }

    fn failed(&self, name: &str, source: io::Error) -> Error {
        Error::File { path: self.folder.join(name), source }
    }
}

/// Opens a file to go on at the end of its last whole line; whoever wrote it may have been killed. Without a heading it has
/// no lines.
fn at_end_of_lines(path: &Path, heading: &str) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).open(path)?;
    if !heading.is_empty() {
        let text = fs::read(path)?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        file.set_len(end as u64)?;
        file.seek(SeekFrom::End(0))?;
    }
    Ok(file)
}

fn line(Missed { frame, frames }: Missed) -> String {
    format!("{frame},{frames}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Played;

    #[test]
    fn what_is_recorded_is_read_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SampleClock::new(48_000, TrueTime::now(), 50.0);
        let report = Report {
            name: "Kitchen".to_owned(),
            rate: 48_000,
            channels: 2,
            started_ns: clock.start().as_nanos(),
            ..Report::default()
        };
        let (mut recording, tape) = Tape::start(folder.path(), report, clock).unwrap();
        recording.play(10, &[0.5, -0.5, 0.25, -0.25]);
        recording.missed(Missed { frame: 12, frames: 3 });
        recording.play(15, &[1.0, -1.0]);
        recording.xrun(Missed { frame: 16, frames: 7 });
        recording.counts(&Counts { cycles: 3, missed_cycles: 1, ..Counts::default() });
        tape.finish().unwrap();
        let played = Played::read(folder.path()).unwrap();
        assert_eq!(
            played.samples[8..17.min(played.samples.len())],
            [0.0, 0.0, 0.5, 0.25, 0.0, 0.0, 0.0, 1.0, 0.0][..(played.samples.len() - 8).min(9)]
        );
        assert_eq!(played.first_sound(), Some(10));
        assert_eq!(played.missed, [Missed { frame: 12, frames: 3 }]);
        assert_eq!(played.xruns, [Missed { frame: 16, frames: 7 }]);
        assert!(played.report.complete);
        assert_eq!((played.report.counts.cycles, played.report.counts.unrecorded_frames), (3, 0));
        assert!(played.time_of(4_000.0).since(clock.time_of(4_000.0)).abs() <= 1);
    }

    #[test]
    fn another_tape_goes_on_where_one_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SampleClock::new(48_000, TrueTime::now(), -60.0);
        let started_ns = clock.start().as_nanos();
        let report = Report { rate: 48_000, channels: 1, ppm: -60.0, started_ns, ..Report::default() };
        let (mut recording, tape) = Tape::start(folder.path(), report, clock).unwrap();
        recording.play(100, &[0.25; 50]);
        recording.counts(&Counts { cycles: 7, ..Counts::default() });
        tape.finish().unwrap();
        // Killed in the middle of a line.
        let mut times = File::options().append(true).open(folder.path().join(TIMES_FILE)).unwrap();
        times.write_all(b"4711").unwrap();
        let (mut recording, tape, Report { counts, .. }) = Tape::go_on(folder.path()).unwrap();
        assert_eq!(counts.cycles, 7);
        assert!(!Played::read(folder.path()).unwrap().report.complete);
        recording.play(200, &[0.5; 50]);
        recording.counts(&Counts { cycles: 9, ..counts });
        tape.finish().unwrap();
        let played = Played::read(folder.path()).unwrap();
        assert_eq!([played.samples[149], played.samples[150], played.samples[200]], [0.25, 0.0, 0.5]);
        assert_eq!((played.report.counts.cycles, played.report.complete), (9, true));
        for frame in [0.0, 4_800.0, 9_600.0, 12_345.0] {
            assert!(played.time_of(frame).since(clock.time_of(frame)).abs() <= 1, "{frame}");
        }
    }

    #[test]
    fn a_disk_that_stands_still_is_counted_and_blocks_nobody() {
        let (samples, _samples_out) = RingBuffer::new(64);
        let (notes, mut notes_out) = RingBuffer::new(16);
        let mut recording = Recording { channels: 1, samples, notes, unrecorded: 0 };
        for n in 0..4 {
            recording.play(n * 32, &[1.0; 32]);
        }
        recording.counts(&Counts::default());
        let counts = std::iter::from_fn(|| notes_out.pop().ok()).find_map(|note| match note {
            Note::Counts(counts) => Some(counts),
            _ => None,
        });
        assert_eq!(counts.map(|counts| counts.unrecorded_frames), Some(64));
    }
}

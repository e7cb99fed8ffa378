//! Recording what rooms play: any monitor ports of a session in one file, and so on one clock.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use crate::{Error, Process, Session, wav::Sound};

/// A recording that goes on until it is finished or dropped.
#[derive(Debug)]
pub struct Recorder {
    process: Process,
    file: PathBuf,
    bytes_per_second: u64,
}

/// Bytes before the first sample, about: they grow with the number of channels.
const HEADER: u64 = 128;
/// Where the header has ended for certain.
const LONGEST_HEADER: usize = 4096;

impl Session {
    /// Records these output ports, such as `Kitchen:monitor_FL`, each as one channel of 32-bit floats at 48 kHz, and returns once
    /// the recording runs.
    ///
    /// # Errors
    /// When a port does not exist or the recorder does not start in time.
    pub fn record(&self, ports: &[&str]) -> Result<Recorder, Error> {
        let number = self.dir().read_dir().map_or(0, Iterator::count);
        let name = format!("recorder-{number}");
        let file = self.dir().join(format!("{name}.wav"));
        let map: Vec<String> = (0..ports.len()).map(|n| format!("AUX{n}")).collect();
        let mut command = self.command("pw-record");
        command
            .args(["--target", "0", "--rate", "48000", "--format", "f32"])
            // The comma at the end is for PipeWire 1.4, which else leaves out the last of an odd number of channels.
            .args(["--channels", &ports.len().to_string(), "--channel-map", &format!("{},", map.join(","))])
            .args(["--properties", &format!("{{ node.name = {name}, node.dont-reconnect = true }}")])
            .arg(&file);
        let mut process = self.spawn(command)?;
        let inputs: Vec<String> = map.iter().map(|position| format!("{name}:input_{position}")).collect();
        process.wait_until(&format!("input ports of {name}"), || {
            let present = self.run("pw-link", &["-i"]).ok()?;
            inputs.iter().all(|port| present.lines().any(|line| line.trim() == port)).then_some(())
        })?;
        for (output, input) in ports.iter().zip(&inputs) {
            self.link(output, input)?;
        }
        let mut recorder = Recorder { process, file, bytes_per_second: 48_000 * 4 * ports.len() as u64 };
        recorder.wait_for(0.01)?;
        Ok(recorder)
    }

    /// Plays a file to a sink, both by name; the process ends with the file.
    ///
    /// `pw-play` 0.3.65 ends without the last quantum: give the file a tail that is not missed.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn play(&self, file: &Path, sink: &str) -> Result<Process, Error> {
        let mut command = self.command("pw-play");
        command.args(["--target", sink]).arg(file);
        self.spawn(command)
    }
}

impl Recorder {
    /// How much has been recorded, in seconds: what has reached the file.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let bytes = fs::metadata(&self.file).map_or(0, |data| data.len()).saturating_sub(HEADER);
        bytes as f64 / self.bytes_per_second as f64
    }

    /// Waits until the recording is this long: a way to let time pass in the graph rather than on the wall.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it stands still, for a minute, or the recorder ends.
    pub fn wait_for(&mut self, seconds: f64) -> Result<(), Error> {
        loop {
            let before = self.seconds();
            if before >= seconds {
                return Ok(());
            }
            let file = self.file.clone();
            let bytes_per_second = self.bytes_per_second as f64;
            self.process.wait_until("growth of the recording", || {
                let now =
                    fs::metadata(&file).map_or(0, |data| data.len()).saturating_sub(HEADER) as f64 / bytes_per_second;
                (now > before).then_some(())
            })?;
        }
    }

    /// The last so many frames of what has been recorded so far, one vector per channel; fewer at the beginning.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last(&self, frames: usize) -> Result<Vec<Vec<f32>>, Error> {
        let stride = (self.bytes_per_second / 48_000) as usize;
        let read = || {
            let mut file = fs::File::open(&self.file)?;
            let mut head = Vec::with_capacity(LONGEST_HEADER);
            (&mut file).take(LONGEST_HEADER as u64).read_to_end(&mut head)?;
            let mark = head.windows(4).position(|word| word == b"data");
            let Some(start) = mark.map(|at| at as u64 + 8) else { return Ok(Vec::new()) };
            let recorded = file.metadata()?.len().saturating_sub(start) as usize / stride;
            let skipped = recorded.saturating_sub(frames) * stride;
            file.seek(io::SeekFrom::Start(start + skipped as u64))?;
            let mut bytes = vec![0; recorded.min(frames) * stride];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| Error::File { path: self.file.clone(), source })?;
        let mut channels = vec![Vec::with_capacity(frames); stride / 4];
        for frame in bytes.chunks_exact(stride) {
            for (channel, sample) in channels.iter_mut().zip(frame.chunks_exact(4)) {
                channel.push(f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]));
            }
        }
        Ok(channels)
    }

    /// Ends the recording and reads it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn finish(self) -> Result<Sound, Error> {
        self.finish_as_file().and_then(Sound::read)
    }

    /// Ends the recording and tells its file, which is deleted with the session.
    ///
    /// # Errors
    /// When the recorder is not known to the kernel any more.
    pub fn finish_as_file(self) -> Result<PathBuf, Error> {
        self.process.stop()?;
        Ok(self.file)
    }
}

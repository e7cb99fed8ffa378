//! The mixer of a virtual ALSA card: one element with a volume, and maybe a switch, that turn what the card plays, as registers of a real one do.
//!
//! What it was set to, and when in true time, is in a file beside the recording: each program that opens the mixer adds to it, and
//! whoever plays reads it. So what is recorded is what was heard, from the very frame on at which somebody turned a knob.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{SampleClock, TrueTime};

/// What the element is like, as JSON.
const MIXER_FILE: &str = "mixer.json";
/// What it was set to: one [`Setting`] after the other.
const SETTINGS_FILE: &str = "mixer.settings";
/// The first of these while the mixer is taken out.
const OUTSIDE_FILE: &str = "mixer.json.out";
/// Bytes of a setting in the file.
const RECORD: usize = 24;

/// What the element of a card's mixer is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardMixer {
    /// What it is called: "Digital" has the elements "Digital Playback Volume" and "Digital Playback Switch".
    pub element: String,
    /// Its largest value; the least is 0.
    pub most: u32,
    /// Hundredths of a dB at value 0.
    pub least_millibels: i32,
    /// Hundredths of a dB from each value to the next.
    pub step_millibels: u16,
    /// Whether value 0 is silence.
    pub mutes: bool,
    /// Whether there is a switch.
    pub switch: bool,
    /// Whether it tells its decibels.
    pub tells: bool,
}

impl CardMixer {
    /// As the PCM5122 on HiFiBerry's DAC+ and Amp2: -103.5 dB to 0 dB in steps of half a dB, and a switch.
    #[must_use]
    pub fn digital() -> Self {
        Self {
            element: "Digital".to_owned(),
            most: 207,
            least_millibels: -10_350,
            step_millibels: 50,
            mutes: false,
            switch: true,
            tells: true,
        }
    }

    /// Few and coarse steps, which end where there is much to be heard yet, and no switch: -30 dB to +6 dB in steps of 3 dB.
    #[must_use]
    pub fn coarse() -> Self {
        Self {
            element: "PCM".to_owned(),
            most: 12,
            least_millibels: -3_000,
            step_millibels: 300,
            mutes: false,
            switch: false,
            tells: true,
        }
    }

    /// What a channel is multiplied by.
    #[must_use]
    pub fn gain(&self, setting: &Setting, channel: usize) -> f64 {
        let value = setting.volume[channel.min(1)];
        if !setting.on[channel.min(1)] || (self.mutes && value == 0) {
            return 0.0;
        }
        let millibels = f64::from(self.least_millibels) + f64::from(self.step_millibels) * f64::from(value);
        10f64.powf(millibels / 2_000.0)
    }
}

/// What the element is set to, for left and right; further channels go with the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Values of the volume.
    pub volume: [u32; 2],
    /// Whether the switch lets sound through.
    pub on: [bool; 2],
}

impl Setting {
    fn to_bytes(self, at: TrueTime) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&at.as_nanos().to_le_bytes());
        for (place, value) in bytes[8..].chunks_exact_mut(4).zip(self.volume.into_iter().chain(self.on.map(u32::from)))
        {
            place.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD]) -> (TrueTime, Self) {
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[..8]);
        let word = |n: usize| {
            let at = 8 + 4 * n;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let setting = Self { volume: [word(0), word(1)], on: [word(2) != 0, word(3) != 0] };
        (TrueTime::from_nanos(i64::from_le_bytes(time)), setting)
    }
}

/// A hand on the mixer of a card: one for each program that has it open.
#[derive(Debug)]
pub struct Knobs {
    mixer: CardMixer,
    path: PathBuf,
    file: File,
    /// How far the file was read.
    seen: u64,
    now: Setting,
}

impl Knobs {
    /// Gives the card that records to `folder` this mixer. It is turned up, as cards are that nobody has touched.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub(super) fn make(folder: &Path, mixer: &CardMixer) -> io::Result<()> {
        let full = Setting { volume: [mixer.most; 2], on: [true; 2] };
        fs::write(folder.join(MIXER_FILE), serde_json::to_vec(mixer)?)?;
        fs::write(folder.join(SETTINGS_FILE), full.to_bytes(TrueTime::from_nanos(0)))
    }

    /// Takes the mixer out of the card that records to `folder`, as a driver does that has broken down, or puts it in again. The card goes on
    /// playing at what it was set to last.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub(super) fn take_out(folder: &Path, out: bool) -> io::Result<()> {
        let (inside, outside) = (folder.join(MIXER_FILE), folder.join(OUTSIDE_FILE));
        let (from, to) = if out { (&inside, &outside) } else { (&outside, &inside) };
        fs::rename(from, to)?;
        // Who waits for a hand on it wakes up: it is set to what it was set to.
        let path = folder.join(SETTINGS_FILE);
        let mut file = File::options().read(true).append(true).open(path)?;
        let _lock = Lock::take(&file, libc::LOCK_EX)?;
        let mut last = [0; RECORD];
        file.seek(SeekFrom::End(-(RECORD as i64)))?;
        file.read_exact(&mut last)?;
        file.write_all(&last)
    }

    /// The mixer of the card that records to `folder`, if it has one.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        let mixer = match fs::read(folder.join(MIXER_FILE)) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = folder.join(SETTINGS_FILE);
        let file = File::options().read(true).append(true).open(&path)?;
        let mut knobs = Self { mixer, path, file, seen: 0, now: Setting { volume: [0; 2], on: [false; 2] } };
        knobs.read(|_, _| {})?;
        Ok(Some(knobs))
    }

    /// What the element is like.
    #[must_use]
    pub fn mixer(&self) -> &CardMixer {
        &self.mixer
    }

    /// What it is set to, as it was read last.
    #[must_use]
    pub fn setting(&self) -> Setting {
        self.now
    }

    /// Reads what it is set to, and gives all that it was set to since it was read last. What was set at any time before this call is among it.
    ///
    /// # Errors
    /// When the file cannot be read, or the mixer was taken out.
    pub fn read(&mut self, each: impl FnMut(TrueTime, Setting)) -> io::Result<Setting> {
        self.path.with_file_name(MIXER_FILE).symlink_metadata()?;
        // Who writes takes the time under this lock.
        let _lock = Lock::take(&self.file, libc::LOCK_SH)?;
        self.catch_up(each)
    }

    fn catch_up(&mut self, mut each: impl FnMut(TrueTime, Setting)) -> io::Result<Setting> {
        self.file.seek(SeekFrom::Start(self.seen))?;
        let mut bytes = [0; RECORD];
        while self.file.read(&mut bytes)? == RECORD {
            let (at, setting) = Setting::from_bytes(&bytes);
            self.seen += RECORD as u64;
            self.now = setting;
            each(at, setting);
        }
        Ok(self.now)
    }

    /// Turns it; whether anything has changed. Others see that as something new, and so does this one.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn turn(&mut self, change: impl FnOnce(&mut Setting)) -> io::Result<bool> {
        let _lock = Lock::take(&self.file, libc::LOCK_EX)?;
        let before = self.catch_up(|_, _| {})?;
        let mut after = before;
        change(&mut after);
        if after == before {
            return Ok(false);
        }
        self.file.write_all(&after.to_bytes(TrueTime::now()))?;
        Ok(true)
    }

    /// A descriptor that is readable when somebody has turned it, until it is [`calmed`](calm).
    ///
    /// # Errors
    /// When the system has none.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::CString::new(self.path.as_os_str().as_bytes())?;
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: new, and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a live descriptor and a C string.
        if unsafe { libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_MODIFY) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(descriptor)
    }
}

/// Makes a descriptor of [`Knobs::watch`] not readable, until it is turned again.
pub fn calm(descriptor: &OwnedFd) {
    let mut events = [0_u8; 4096];
    // SAFETY: a live descriptor that does not block, and as many bytes as are said to be there.
    while unsafe { libc::read(descriptor.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) } > 0 {}
}

/// A lock on a whole file, by which programs wait for each other for microseconds.
struct Lock(std::os::fd::RawFd);

impl Lock {
    fn take(file: &File, kind: libc::c_int) -> io::Result<Self> {
        let fd = file.as_raw_fd();
        loop {
            // SAFETY: a live descriptor; the call takes no pointers.
            if unsafe { libc::flock(fd, kind) } == 0 {
                return Ok(Self(fd));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: as in `take`; a descriptor that was closed meanwhile has given its lock back.
        unsafe { libc::flock(self.0, libc::LOCK_UN) };
    }
}

/// What the mixer makes of what a card plays.
#[derive(Debug)]
pub struct Turning {
    knobs: Knobs,
    /// From which frame of the crystal on which gains hold, left and right, in order of time; the first holds already.
    gains: Vec<(f64, [f32; 2])>,
}

impl Turning {
    /// By these knobs.
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        let gains = vec![(0.0, gains(&knobs.mixer, &knobs.now))];
        Self { knobs, gains }
    }

    /// Looks what it was set to; to be called before frames are turned which were heard before this.
    pub fn look(&mut self, crystal: &SampleClock) {
        let Self { knobs, gains: known } = self;
        let mixer = knobs.mixer.clone();
        // A file that cannot be read any more is that of a card that is being taken away.
        let _ = knobs.read(|at, setting| known.push((crystal.frame_at(at), gains(&mixer, &setting))));
    }

    /// Turns interleaved samples that are heard from frame `at` on.
    pub fn turn(&mut self, at: u64, samples: &mut [f32], channels: usize) {
        for (frame, samples) in (at..).zip(samples.chunks_exact_mut(channels.max(1))) {
            while self.gains.get(1).is_some_and(|(from, _)| *from <= frame as f64) {
                self.gains.remove(0);
            }
            let Some((_, [left, right])) = self.gains.first() else { continue };
            for (channel, sample) in samples.iter_mut().enumerate() {
                *sample *= if channel == 0 { *left } else { *right };
            }
        }
    }
}

fn gains(mixer: &CardMixer, setting: &Setting) -> [f32; 2] {
    [mixer.gain(setting, 0) as f32, mixer.gain(setting, 1) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_is_heard_from_its_time_on_and_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Knobs::open(folder.path()).unwrap().is_none());
        Knobs::make(folder.path(), &CardMixer::digital()).unwrap();
        let mut hand = Knobs::open(folder.path()).unwrap().unwrap();
        let other = Knobs::open(folder.path()).unwrap().unwrap();
        let watch = other.watch().unwrap();
        let crystal = SampleClock::new(48_000, TrueTime::now(), 0.0);
        let mut turning = Turning::new(other);
        assert!(!hand.turn(|_| {}).unwrap());
        let begin = TrueTime::now();
        assert!(hand.turn(|setting| setting.volume = [187, 167]).unwrap());
        assert!(hand.turn(|setting| setting.on[1] = false).unwrap());
        let end = TrueTime::now();
        let mut byte = [0_u8; 1024];
        let readable = |byte: &mut [u8]| {
            // SAFETY: a live descriptor, and as many bytes as are said to be there.
            unsafe { libc::read(watch.as_raw_fd(), byte.as_mut_ptr().cast(), byte.len()) > 0 }
        };
        assert!(readable(&mut byte));
        calm(&watch);
        assert!(!readable(&mut byte));

        turning.look(&crystal);
        let (first, last) = (crystal.frame_at(begin), crystal.frame_at(end));
        let mut samples = vec![1.0; 2 * (last as usize + 100)];
        turning.turn(0, &mut samples, 2);
        let at = |frame: f64| [samples[2 * frame as usize], samples[2 * frame as usize + 1]];
        assert_eq!(at((first - 1.0).max(0.0)), if first >= 1.0 { [1.0, 1.0] } else { at(0.0) });
        let [left, right] = at(last + 2.0);
        assert!((left - 0.316_23).abs() < 1e-4 && right == 0.0, "{left} {right}");
        assert_eq!(CardMixer::coarse().gain(&Setting { volume: [10, 0], on: [true; 2] }, 0), 1.0);
    }
}

//! A virtual ALSA card, as a plugin of alsa-lib: a PCM that plays by a crystal of its own and records what was heard, and
//! when in true time. Part of the testkit, which sets it up: `Session::alsa_card`.
//!
//! ```text
//! pcm_type.audera_card { lib "/path/to/libasound_module_pcm_audera_card.so" }
//! pcm.card_kitchen { type audera_card  folder "/path/to/the/recording" }
//! ```
//!
//! | option | meaning |
//! |---|---|
//! | `folder` | where it records, and where `card.json` says what its crystal is like |
//! | `step` | it tells its position in multiples of so many frames, 1 to 65536; 0 for whole periods; 1 if not set |
//!
//! # What it tells an application
//! is what a card of hardware does. The position is the frame that is being played, by the crystal and rounded down to
//! whole steps. alsa-lib's `snd_pcm_status` asks for it, takes the time stamp right after, and the delay is told as of that
//! same position; so a stamp is late by the time in between, a fraction of a microsecond, or longer where the processor was
//! taken away. alsa-lib takes the stamp from the clock that the process is shown: on a simulated host, that of the host.
//! The crystal keeps true time.
//!
//! It wakes the application at the ends of periods, as interrupts do, by a timer on true time. There is no thread in it but
//! the one that writes the recording: how far it is follows from the time at which it is asked.

mod sample;

use std::{
    ffi::CStr,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use audera_alsa_plugin::{
    Allowed, ChannelMap, ChannelMapKind, Constraints, Errno, Format, Io, OpenError, Pcm, Position, Request, Setup,
    State, Stream, guest,
};
use audera_testkit::card::{Recording, Report, Ring, Tape, TrueTime, TrueTimer, claim_alsa_card};

audera_alsa_plugin::pcm_plugin!(
    Card,
    entry: "_snd_pcm_audera_card_open",
    version: "__snd_pcm_audera_card_open_dlsym_pcm_001",
);

/// Formats of simple hardware.
const FORMATS: [Format; 2] = [Format::S16, Format::S32];

/// A card that a program has open.
struct Card {
    ring: Ring,
    recording: Recording,
    timer: TrueTimer,
    descriptor: Arc<OwnedFd>,
    name: String,
    channels: usize,
    /// As in the option; nought for whole periods.
    step: u64,
    format: Format,
    /// What was last written, as numbers: for as many frames as the buffer holds.
    samples: Vec<f32>,
    /// The position at which the application is to be woken.
    wake_at: u64,
    /// Ends with the recording; `None` only while the card is being closed.
    tape: Option<Tape>,
    /// Nobody else can open the card while this is held. Given back last.
    _claim: File,
}

impl Card {
    fn new(folder: &Path, step: u64) -> Result<Self, OpenError> {
        let at = folder.display();
        let failed = |what: &dyn std::fmt::Display, errno| OpenError::refused(errno, format!("{at}: {what}"));
        let claimed = claim_alsa_card(folder).map_err(|error| failed(&error, Errno::NOENT))?;
        let claim = claimed.ok_or_else(|| failed(&"another program has the card open", Errno::BUSY))?;
        let timer = TrueTimer::new().map_err(|error| failed(&error.to_string(), error.into()))?;
        let go_on = || Tape::go_on(folder);
        let (recording, tape, report) =
            guest::with_signals_blocked(go_on).map_err(|error| failed(&error, Errno::NOENT))?;
        let Report { name, channels, .. } = report.clone();
        let channels = usize::from(channels.max(1));
        Ok(Self {
            ring: Ring::new(report.clock(), channels, report.counts),
            recording,
            descriptor: timer.descriptor(),
            timer,
            name,
            channels,
            step,
            format: Format::S16,
            samples: Vec::new(),
            wake_at: 0,
            tape: Some(tape),
            _claim: claim,
        })
    }

    /// Sets the timer to when the application is to be woken.
    fn arm(&mut self, now: TrueTime) {
        if self.ring.position(now) >= self.wake_at {
            self.timer.arm(now);
        } else if let Some(due) = self.ring.wake(self.wake_at) {
            self.timer.arm(due);
        } else {
            self.timer.disarm();
        }
    }
}

impl Pcm for Card {
    const NAME: &'static CStr = c"Audera virtual card";
    const CAN_PAUSE: bool = true;

    fn open(request: &mut Request) -> Result<(Self, Constraints), OpenError> {
        if request.stream == Stream::Capture {
            return Err(OpenError::refused(Errno::NODEV, "the virtual card only plays"));
        }
        let folder = request.options.text("folder")?;
        let folder = folder.ok_or_else(|| audera_alsa_plugin::OptionError::Missing { key: "folder".to_owned() })?;
        let step = request.options.integer("step", 0..=65_536)?.unwrap_or(1).unsigned_abs();
        let folder = PathBuf::from(folder);
        let card = Self::new(&folder, step)?;
        let channels = card.channels as u32;
        let constraints = Constraints {
            formats: FORMATS.to_vec(),
            channels: Allowed::only(channels),
            rates: Allowed::only(card.ring.clock().rate()),
            // From 16 frames to 8192, in the smaller and the larger format.
            period_bytes: (16 * 2 * channels..=8_192 * 4 * channels).into(),
            buffer_bytes: (32 * 2 * channels..=65_536 * 4 * channels).into(),
            periods: Some(2..=1024),
        };
        Ok((card, constraints))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    fn describe(&self) -> String {
        format!("Audera virtual card \"{}\"", self.name)
    }

    fn set_up(&mut self, setup: &Setup) -> Result<(), Errno> {
        let step = if self.step == 0 { setup.period } else { self.step };
        self.ring.set_up(setup.buffer, setup.period, step);
        self.format = setup.format;
        self.samples = vec![0.0; setup.buffer as usize * self.channels];
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.ring.prepare();
        Ok(())
    }

    fn start(&mut self, _io: &Io) -> Result<(), Errno> {
        if let Some(missed) = self.ring.start(TrueTime::now()) {
            self.recording.missed(missed);
        }
        Ok(())
    }

    fn stop(&mut self, io: &Io) {
        let (now, recording) = (TrueTime::now(), &mut self.recording);
        let heard = |frame, samples: &[f32]| recording.play(frame, samples);
        // While it runs and there is nothing left, nobody has asked it to stop.
        if io.state == State::Running && io.waiting(Stream::Playback) <= 0 {
            self.ring.run_dry(now, heard);
        } else {
            self.ring.hold(now, heard);
        }
        self.recording.counts(self.ring.counts());
    }

    fn position(&mut self, _io: &Io) -> Position {
        Position::At(self.ring.position(TrueTime::now()))
    }

    fn play(&mut self, io: &Io, frames: &[u8]) -> Result<(), Errno> {
        let count = frames.len() / self.format.bytes();
        let samples = self.samples.get_mut(..count).ok_or(Errno::INVAL)?;
        sample::read(self.format, frames, samples);
        let recording = &mut self.recording;
        self.ring.write(TrueTime::now(), io.applied, samples, |frame, samples| recording.play(frame, samples));
        self.recording.counts(self.ring.counts());
        Ok(())
    }

    fn moved(&mut self, io: &Io) {
        let recording = &mut self.recording;
        self.ring.move_to(TrueTime::now(), io.applied, |frame, samples| recording.play(frame, samples));
    }

    fn wake_at(&mut self, position: u64) {
        self.wake_at = position;
        self.arm(TrueTime::now());
    }

    fn pause(&mut self, _io: &Io, hold: bool) -> Result<(), Errno> {
        let recording = &mut self.recording;
        if hold {
            self.ring.hold(TrueTime::now(), |frame, samples| recording.play(frame, samples));
        } else if let Some(missed) = self.ring.start(TrueTime::now()) {
            self.recording.missed(missed);
        }
        Ok(())
    }

    fn channel_maps(&self) -> Vec<ChannelMap> {
        self.channel_map().map(|positions| ChannelMap { kind: ChannelMapKind::Fixed, positions }).into_iter().collect()
    }

    fn channel_map(&self) -> Option<Vec<u32>> {
        // SND_CHMAP_FL and SND_CHMAP_FR.
        (self.channels == 2).then(|| vec![3, 4])
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let recording = &mut self.recording;
        self.ring.hold(TrueTime::now(), |frame, samples| recording.play(frame, samples));
        self.recording.counts(self.ring.counts());
        if let Some(Err(error)) = self.tape.take().map(Tape::finish) {
            audera_alsa_plugin::log::error(&format!("the recording of {}: {error}", self.name));
        }
    }
}

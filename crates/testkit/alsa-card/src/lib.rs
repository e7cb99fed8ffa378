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
//! | `speakers` | what its channels are, such as `"FL FR RL RR FC LFE"`; left and right if not set |
//! | `fixed` | whether programs have to give them in this order; else in any |
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
//!
//! # Its mixer
//! A card that was made with one has a mixer of the same name, `ctl.card_kitchen`. What is set there turns what is heard, and so what is recorded,
//! from that very frame on.

mod mixer;
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
use audera_testkit::card::{
    Counts, Knobs, Missed, Recording, Report, Ring, SampleClock, Tape, TrueTime, TrueTimer, Turning, claim_alsa_card,
};

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
    ear: Ear,
    timer: TrueTimer,
    descriptor: Arc<OwnedFd>,
    name: String,
    channels: usize,
    speakers: Speakers,
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

/// What is heard, and records it.
struct Ear {
    recording: Recording,
    /// What the card's mixer makes of it, if it has one.
    turning: Option<Turning>,
    channels: usize,
    turned: Vec<f32>,
}

impl Ear {
    /// Looks what the mixer was set to, so that what was heard before this can be told.
    fn look(&mut self, crystal: &SampleClock) {
        if let Some(turning) = &mut self.turning {
            turning.look(crystal);
        }
    }

    fn play(&mut self, frame: u64, samples: &[f32]) {
        let Some(turning) = &mut self.turning else { return self.recording.play(frame, samples) };
        self.turned.clear();
        self.turned.extend_from_slice(samples);
        turning.turn(frame, &mut self.turned, self.channels);
        self.recording.play(frame, &self.turned);
    }

    fn missed(&mut self, missed: Missed) {
        self.recording.missed(missed);
    }

    fn counts(&mut self, counts: &Counts) {
        self.recording.counts(counts);
    }
}

/// What the channels are.
#[derive(Default)]
struct Speakers {
    /// As they are recorded.
    own: Vec<u32>,
    fixed: bool,
    /// As the program gives them.
    given: Vec<u32>,
}

/// Positions by the names that alsa-lib has for them, from `SND_CHMAP_MONO` on.
const POSITIONS: [&str; 10] = ["MONO", "FL", "FR", "RL", "RR", "FC", "LFE", "SL", "SR", "RC"];

impl Speakers {
    fn read(names: &str, fixed: bool) -> Option<Self> {
        let position = |name: &str| POSITIONS.iter().position(|known| *known == name).map(|at| at as u32 + 2);
        let own: Vec<u32> = names.split(' ').map(position).collect::<Option<_>>()?;
        Some(Self { given: own.clone(), own, fixed })
    }

    /// Takes an order in which the program gives them.
    fn give(&mut self, positions: &[u32]) -> Result<(), Errno> {
        let sorted = |positions: &[u32]| {
            let mut sorted = positions.to_vec();
            sorted.sort_unstable();
            sorted
        };
        if self.fixed || sorted(positions) != sorted(&self.own) {
            return Err(Errno::INVAL);
        }
        self.given = positions.to_vec();
        Ok(())
    }

    /// Puts what the program gives into the order in which it is recorded.
    fn put_in_order(&self, samples: &mut [f32]) {
        if self.given == self.own {
            return;
        }
        for frame in samples.chunks_exact_mut(self.own.len().max(1)) {
            let given = frame.to_vec();
            for (sample, speaker) in frame.iter_mut().zip(&self.own) {
                if let Some(at) = self.given.iter().position(|given| given == speaker) {
                    *sample = given[at];
                }
            }
        }
    }
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
        let knobs = Knobs::open(folder).map_err(|error| failed(&error, Errno::NOENT))?;
        let ear = Ear { recording, turning: knobs.map(Turning::new), channels, turned: Vec::new() };
        Ok(Self {
            ring: Ring::new(report.clock(), channels, report.counts),
            ear,
            descriptor: timer.descriptor(),
            timer,
            name,
            channels,
            speakers: Speakers::default(),
            step,
            format: Format::S16,
            samples: Vec::new(),
            wake_at: 0,
            tape: Some(tape),
            _claim: claim,
        })
    }

    /// The time, of which it is known what the mixer was set to until then.
    fn now(&mut self) -> TrueTime {
        let now = TrueTime::now();
        self.ear.look(self.ring.clock());
        now
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
        let speakers = request.options.text("speakers")?;
        let fixed = request.options.boolean("fixed")?.unwrap_or(true);
        let mut card = Self::new(&folder, step)?;
        let usual = if card.channels == 2 { "FL FR" } else { "" };
        let speakers = speakers.as_deref().unwrap_or(usual);
        card.speakers = Speakers::read(speakers, fixed).filter(|it| it.own.len() == card.channels).unwrap_or_default();
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
        self.ear.turned = Vec::with_capacity(self.samples.len());
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.ring.prepare();
        Ok(())
    }

    fn start(&mut self, _io: &Io) -> Result<(), Errno> {
        if let Some(missed) = self.ring.start(TrueTime::now()) {
            self.ear.missed(missed);
        }
        Ok(())
    }

    fn stop(&mut self, io: &Io) {
        let now = self.now();
        let ear = &mut self.ear;
        let heard = |frame, samples: &[f32]| ear.play(frame, samples);
        // While it runs and there is nothing left, nobody has asked it to stop.
        if io.state == State::Running && io.waiting(Stream::Playback) <= 0 {
            self.ring.run_dry(now, heard);
        } else {
            self.ring.hold(now, heard);
        }
        self.ear.counts(self.ring.counts());
    }

    fn position(&mut self, _io: &Io) -> Position {
        Position::At(self.ring.position(TrueTime::now()))
    }

    fn play(&mut self, io: &Io, frames: &[u8]) -> Result<(), Errno> {
        let count = frames.len() / self.format.bytes();
        let samples = self.samples.get_mut(..count).ok_or(Errno::INVAL)?;
        sample::read(self.format, frames, samples);
        self.speakers.put_in_order(samples);
        let now = self.now();
        let (ear, samples) = (&mut self.ear, &self.samples[..count]);
        self.ring.write(now, io.applied, samples, |frame, samples| ear.play(frame, samples));
        self.ear.counts(self.ring.counts());
        Ok(())
    }

    fn moved(&mut self, io: &Io) {
        let now = self.now();
        let ear = &mut self.ear;
        self.ring.move_to(now, io.applied, |frame, samples| ear.play(frame, samples));
    }

    fn wake_at(&mut self, position: u64) {
        self.wake_at = position;
        self.arm(TrueTime::now());
    }

    fn pause(&mut self, _io: &Io, hold: bool) -> Result<(), Errno> {
        if hold {
            let now = self.now();
            let ear = &mut self.ear;
            self.ring.hold(now, |frame, samples| ear.play(frame, samples));
        } else if let Some(missed) = self.ring.start(TrueTime::now()) {
            self.ear.missed(missed);
        }
        Ok(())
    }

    fn channel_maps(&self) -> Vec<ChannelMap> {
        let kind = if self.speakers.fixed { ChannelMapKind::Fixed } else { ChannelMapKind::Any };
        let positions = self.speakers.own.clone();
        if positions.is_empty() { Vec::new() } else { vec![ChannelMap { kind, positions }] }
    }

    fn channel_map(&self) -> Option<Vec<u32>> {
        (!self.speakers.given.is_empty()).then(|| self.speakers.given.clone())
    }

    fn set_channel_map(&mut self, positions: &[u32]) -> Result<(), Errno> {
        self.speakers.give(positions)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let now = self.now();
        let ear = &mut self.ear;
        self.ring.hold(now, |frame, samples| ear.play(frame, samples));
        self.ear.counts(self.ring.counts());
        if let Some(Err(error)) = self.tape.take().map(Tape::finish) {
            audera_alsa_plugin::log::error(&format!("the recording of {}: {error}", self.name));
        }
    }
}

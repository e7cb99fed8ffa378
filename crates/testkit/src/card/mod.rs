//! Virtual sound cards: sinks of a session that play by a crystal of their own and record what was heard, and when.
//!
//! A [`Card`] becomes a PipeWire sink that drives the graph of whatever plays to it, as the sink of a real card does, but
//! its frames last as long as its crystal says: a card of +80 ppm plays 48003.84 frames in a true second. What it plays it
//! writes to files, with the true time of each frame ([`Played`]). The time is that of the crystal's formula, not of the
//! moments at which the machine happened to wake the card.
//!
//! The card is the program `audera-card` beside the running test; see there for its options and files.
//!
//! The same crystal can drive an ALSA card ([`Session::alsa_card`]), which is a plugin of alsa-lib: programs open it
//! without any sound server. Such a card may have a mixer, whose volume is in what it records, and more channels than two.

mod alsa;
mod converter;
mod follower;
mod mixer;
mod played;
mod ring;
mod sample_clock;
mod tape;
mod true_time;

use std::path::{Path, PathBuf};

pub use alsa::{RunningAlsaCard, claim_alsa_card};
pub use converter::{Converter, Cycle};
pub use follower::{Followed, Follower};
pub use mixer::{CardMixer, Knobs, Setting, Turning, calm};
pub use played::{Counts, MISSED_FILE, Missed, Played, REPORT_FILE, Report, SAMPLES_FILE, TIMES_FILE, XRUNS_FILE};
pub use ring::Ring;
pub use sample_clock::{SampleClock, Wander};
pub use tape::{Recording, Tape};
pub use true_time::{TrueTime, TrueTimer};

use crate::{Error, Process, Session};

/// A card to be put into a session: stereo at 48 kHz, with a perfect crystal unless told otherwise.
#[derive(Clone, Debug)]
#[must_use]
pub struct Card {
    name: String,
    ppm: f64,
    wander: Option<Wander>,
    quantum: Option<u32>,
    rate: u32,
    priority: u32,
    pointer_step: u32,
    channels: u16,
    map: Option<(String, bool)>,
    mixer: Option<CardMixer>,
}

impl Card {
    /// A card called `name`, which is its node name and description.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ppm: 0.0,
            wander: None,
            quantum: None,
            rate: 48_000,
            priority: 1_000,
            pointer_step: 1,
            channels: 2,
            map: None,
            mixer: None,
        }
    }

    /// Its crystal is fast by this much, in parts per million.
    pub fn ppm(mut self, ppm: f64) -> Self {
        self.ppm = ppm;
        self
    }

    /// Its crystal wanders about that.
    pub fn wander(mut self, wander: Wander) -> Self {
        self.wander = Some(wander);
        self
    }

    /// It insists on so many frames a cycle; else the graph chooses.
    pub fn quantum(mut self, frames: u32) -> Self {
        self.quantum = Some(frames);
        self
    }

    /// Frames a second, nominally; the session's graph runs at 48000.
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// `priority.driver`: among cards that are linked to each other the highest drives; the highest that runs also drives
    /// what is linked to no card. Real cards have about 1000, null sinks 1 unless told otherwise.
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// ALSA only: it tells its position in steps of so many frames, 1 to 65536, or in whole periods for nought. Real cards
    /// have 1 to 16; some USB devices and plugins tell whole periods.
    pub fn pointer_step(mut self, frames: u32) -> Self {
        self.pointer_step = frames;
        self
    }

    /// ALSA only: its loudspeakers, by the names of alsa-lib, such as "FL FR RL RR FC LFE", in the order in which it records them. A program
    /// may give them in another order if they are not `fixed`.
    pub fn speakers(mut self, names: &str, fixed: bool) -> Self {
        self.channels = names.split(' ').count().try_into().unwrap_or(u16::MAX);
        self.map = Some((names.to_owned(), fixed));
        self
    }

    /// ALSA only: it has a mixer, of the same name as its PCM.
    pub fn mixer(mut self, mixer: CardMixer) -> Self {
        self.mixer = Some(mixer);
        self
    }

    fn clock(&self, start: TrueTime) -> SampleClock {
        let clock = SampleClock::new(self.rate, start, self.ppm);
        self.wander.map_or(clock, |wander| clock.wandering(wander))
    }
}

/// A card in a session. Dropping it takes the card away; its files go with the session.
#[derive(Debug)]
pub struct RunningCard {
    process: Process,
    name: String,
    folder: PathBuf,
}

impl Session {
    /// Puts a card into the session and waits until its ports are there.
    ///
    /// # Errors
    /// When the program `audera-card` has not been built, or the card does not become ready in time.
    pub fn card(&self, card: &Card) -> Result<RunningCard, Error> {
        let folder = self.dir().join(format!("card-{}", card.name));
        let mut command = self.command(program()?);
        command.args(["--name", &card.name, "--rate", &card.rate.to_string(), "--ppm", &card.ppm.to_string()]);
        command.args(["--priority", &card.priority.to_string()]);
        if let Some(Wander { ppm, seconds, seed }) = card.wander {
            command.args(["--wander", &format!("{ppm}:{seconds}"), "--seed", &seed.to_string()]);
        }
        if let Some(quantum) = card.quantum {
            command.args(["--quantum", &quantum.to_string()]);
        }
        command.arg("--out").arg(&folder);
        let mut process = self.spawn(command)?;
        let name = &card.name;
        let ports = ["FL", "FR"].map(|position| format!("{name}:playback_{position}"));
        process.wait_until(&format!("ports of the card {name}"), || {
            let present = self.run("pw-link", &["-i"]).ok()?;
            ports.iter().all(|port| present.lines().any(|line| line.trim() == port)).then_some(())
        })?;
        Ok(RunningCard { process, name: card.name.clone(), folder })
    }
}

impl RunningCard {
    /// Its node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that is the card.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has the device stand still for 20 ms after what it has in its buffer, as in an xrun; [`Played::xruns`] tells where.
    pub fn xrun(&self) {
        self.process.signal(libc::SIGUSR1);
    }

    /// What it has played so far, up to some tenths of a second ago: the left channel.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn played(&self) -> Result<Played, Error> {
        Played::read(&self.folder)
    }

    /// Takes the card away and gives what it has played: the left channel.
    ///
    /// # Errors
    /// [`Error::NotReady`] with its log when it did not end in order, and when its files cannot be read.
    pub fn finish(self) -> Result<Played, Error> {
        let Self { process, name, folder } = self;
        let log = process.log().to_owned();
        let status = process.stop()?;
        let played = Played::read(&folder)?;
        if status.success() && played.report.complete {
            return Ok(played);
        }
        Err(crate::process::not_ready(&format!("the recording of {name}"), format!("is not complete ({status})"), &log))
    }
}

/// The built program, which cargo puts beside the test or, for a test in `deps`, above it.
fn program() -> Result<PathBuf, Error> {
    let file = |path: &Path, source| Error::File { path: path.to_owned(), source };
    let own = Path::new("/proc/self/exe");
    let program = std::env::current_exe().map_err(|source| file(own, source))?;
    let dir = program.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(own);
    let card = dir.join("audera-card");
    match std::fs::metadata(&card) {
        Ok(_) => Ok(card),
        Err(source) => {
            let hint = format!("{source}; build it first: `cargo build -p audera-testkit`");
            Err(file(&card, std::io::Error::new(source.kind(), hint)))
        }
    }
}

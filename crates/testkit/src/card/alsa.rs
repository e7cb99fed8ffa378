//! ALSA cards in a session: PCMs that any program of it can open by name, without a sound server.
//!
//! The card is a plugin of alsa-lib (`crates/testkit/alsa-card`) and lives in the program that has it open. What it plays
//! is recorded to one folder, by whoever has it open: as with hardware, one program at a time. Its crystal never stops.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use super::{Card, Knobs, Played, Report, Tape, TrueTime};
use crate::{Error, Session, built, process};

/// Held by whoever has the card open.
const LOCK_FILE: &str = "lock";

/// An ALSA card in a session. Its files go with the session.
#[derive(Debug)]
pub struct RunningAlsaCard {
    pcm: String,
    folder: PathBuf,
}

impl Session {
    /// Puts an ALSA card into the session, for programs that start from now on.
    ///
    /// # Errors
    /// When the plugin has not been built, or a file cannot be written.
    pub fn alsa_card(&self, card: &Card) -> Result<RunningAlsaCard, Error> {
        let library = built::find("libasound_module_pcm_audera_card.so")?;
        let folder = self.dir().join(format!("alsa-card-{}", card.name));
        let file = |path: &Path, source| Error::File { path: path.to_owned(), source };
        let clock = card.clock(TrueTime::now());
        let wander = card.wander;
        let report = Report {
            name: card.name.clone(),
            rate: card.rate,
            channels: card.channels,
            ppm: card.ppm,
            wander_ppm: wander.map_or(0.0, |wander| wander.ppm),
            wander_seconds: wander.map_or(0.0, |wander| wander.seconds),
            seed: wander.map_or(0, |wander| wander.seed),
            started_ns: clock.start().as_nanos(),
            ..Report::default()
        };
        // The plugin goes on with these files, which tell it everything but how its pointer moves.
        let (_nothing, tape) = Tape::start(&folder, report, clock)?;
        tape.finish()?;
        let lock = folder.join(LOCK_FILE);
        File::create(&lock).map_err(|source| file(&lock, source))?;
        if let Some(mixer) = &card.mixer {
            Knobs::make(&folder, mixer).map_err(|source| file(&folder, source))?;
        }
        let pcm = pcm_name(&card.name);
        let map = card.map.as_ref().map_or_else(String::new, |(names, fixed)| {
            format!("    speakers \"{names}\"\n    fixed {}\n", if *fixed { "yes" } else { "no" })
        });
        let (library, at) = (library.display(), folder.display());
        let mixer = card.mixer.as_ref().map_or_else(String::new, |_| {
            format!(
                "ctl_type.audera_card {{ lib \"{library}\" }}\nctl.{pcm} {{\n    type audera_card\n    folder \"{at}\"\n}}\n"
            )
        });
        let definition = format!(
            "pcm_type.audera_card {{ lib \"{library}\" }}\n\
             pcm.{pcm} {{\n    type audera_card\n    folder \"{at}\"\n    step {}\n{map}    \
             hint {{ show on description \"{}\" }}\n}}\n{mixer}",
            card.pointer_step, card.name
        );
        self.alsa_definitions(&definition)?;
        Ok(RunningAlsaCard { pcm, folder })
    }
}

/// The name by which programs open the card called `name`.
fn pcm_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    format!("card_{}", name.chars().map(plain).collect::<String>())
}

impl RunningAlsaCard {
    /// The PCM that it is: what `aplay -D` takes in the session.
    #[must_use]
    pub fn pcm(&self) -> &str {
        &self.pcm
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A hand on its mixer.
    ///
    /// # Errors
    /// When it has none.
    pub fn knobs(&self) -> Result<Knobs, Error> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the card has no mixer");
        let opened = Knobs::open(&self.folder).and_then(|knobs| knobs.ok_or_else(none));
        opened.map_err(|source| Error::File { path: self.folder.clone(), source })
    }

    /// Takes its mixer out while it plays on, as a driver does that has broken down, or puts it in again.
    ///
    /// # Errors
    /// When it has none to be taken out, or put in.
    pub fn take_mixer_out(&self, out: bool) -> Result<(), Error> {
        Knobs::take_out(&self.folder, out).map_err(|source| Error::File { path: self.folder.clone(), source })
    }

    /// What it has played so far, up to some tenths of a second ago: the left channel.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn played(&self) -> Result<Played, Error> {
        Played::read(&self.folder)
    }

    /// What it has played, once no program has it open any more: the left channel. A program that was killed has not
    /// recorded the last 50 ms.
    ///
    /// # Errors
    /// When a program keeps it open, and when its files cannot be read.
    pub fn finish(self) -> Result<Played, Error> {
        let path = self.folder.join(LOCK_FILE);
        let lock = File::open(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        let deadline = Instant::now() + process::PATIENCE;
        while !lock_now(&lock) {
            if Instant::now() >= deadline {
                let source = io::Error::new(io::ErrorKind::ResourceBusy, "a program keeps the card open");
                return Err(Error::File { path, source });
            }
            thread::sleep(process::LOOK);
        }
        self.played()
    }
}

/// Takes the card, if nobody has it; dropping the file gives it back.
pub(crate) fn lock_now(file: &File) -> bool {
    // SAFETY: a live descriptor; the call takes no pointers.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Takes the card that records to `folder`, as a program that opens it: `None` if another one has it.
///
/// # Errors
/// When the session has no such card.
pub fn claim_alsa_card(folder: &Path) -> io::Result<Option<File>> {
    let lock = File::open(folder.join(LOCK_FILE))?;
    Ok(lock_now(&lock).then_some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_alsa_takes_without_quotes() {
        assert_eq!(pcm_name("Living Room"), "card_living_room");
    }

    #[test]
    fn a_card_is_claimed_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        assert!(claim_alsa_card(folder.path()).is_err());
        File::create(folder.path().join(LOCK_FILE)).unwrap();
        let first = claim_alsa_card(folder.path()).unwrap();
        assert!(first.is_some() && claim_alsa_card(folder.path()).unwrap().is_none());
        drop(first);
        assert!(claim_alsa_card(folder.path()).unwrap().is_some());
    }
}

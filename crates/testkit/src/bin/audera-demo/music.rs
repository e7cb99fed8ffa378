//! What is played: the user's file, music of a Debian package, or the announcements that come with alsa-utils.

use std::{
    fs,
    path::{Path, PathBuf},
};

use audera_testkit::{
    Error,
    wav::{Samples, Sound},
};

use crate::failure::Failure;

/// A file and what to call it.
#[derive(Debug)]
pub(crate) struct Music {
    /// Visible inside of the session.
    pub file: PathBuf,
    /// For people.
    pub title: String,
}

/// Of the package gamine-data; in the public domain.
const BACH: &str = "/usr/share/games/gamine/sounds/BachJSBrandenburgConcertNo2inFMajorBWV1047mvmt1.ogg";
/// Of the package alsa-utils: somebody says where each loudspeaker is.
const VOICE: &str = "/usr/share/sounds/alsa";

impl Music {
    /// Takes the user's file if there is one; `folder` is for what has to be made.
    pub fn choose(file: Option<&Path>, folder: &Path) -> Result<Self, Failure> {
        if let Some(file) = file {
            return Self::of_user(file, folder);
        }
        if Path::new(BACH).is_file() {
            return Ok(Self { file: BACH.into(), title: "Bach, Brandenburg Concerto No 2 (gamine-data)".into() });
        }
        Self::announcements(folder)
    }

    fn of_user(file: &Path, folder: &Path) -> Result<Self, Failure> {
        let unread = |source| Failure::File { file: file.to_owned(), source };
        let absolute = file.canonicalize().map_err(unread)?;
        fs::File::open(&absolute).map_err(unread)?;
        let title = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        // The session has a `/run` of its own, and removable disks may be mounted below the machine's.
        if absolute.starts_with("/run") {
            let copy = folder.join("music").with_extension(absolute.extension().unwrap_or_default());
            fs::copy(&absolute, &copy).map_err(unread)?;
            return Ok(Self { file: copy, title });
        }
        Ok(Self { file: absolute, title })
    }

    /// All announcements, one after the other.
    fn announcements(folder: &Path) -> Result<Self, Failure> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(VOICE).map_err(|_| Failure::NoMusic)?.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|kind| kind == "wav") && !file.ends_with("Noise.wav"));
        files.sort();
        let mut all: Option<Sound> = None;
        for file in files {
            let sound = Sound::read(&file)?;
            match &mut all {
                None => all = Some(sound),
                Some(all) if all.rate == sound.rate && all.channels.len() == sound.channels.len() => {
                    all.channels.iter_mut().zip(sound.channels).for_each(|(all, more)| all.extend(more));
                }
                Some(_) => {}
            }
        }
        let all = all.ok_or(Failure::NoMusic)?;
        let file = folder.join("announcements.wav");
        let twice = Sound { rate: all.rate, channels: all.channels.iter().map(|channel| channel.repeat(2)).collect() };
        twice.write(&file, Samples::S16).map_err(|error: Error| Failure::from(error))?;
        Ok(Self { file, title: "announcements of alsa-utils".into() })
    }
}

//! Why the demo did not come to its end.

use std::{io, path::PathBuf};

/// What went wrong, and what can be done about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Ctrl-C, or the terminal was closed.
    #[error("interrupted")]
    Interrupted,
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Signals cannot be watched.
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(io::Error),
    /// The kernel, or the container around us, keeps namespaces from this user.
    #[error(
        "this machine does not let you have a private network and session: {0}.\n\
         Run it as root (sudo make demo), or allow user namespaces to everyone, by whichever of these exists here:\n  \
         sudo sysctl kernel.unprivileged_userns_clone=1\n  \
         sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0\n  \
         sudo sysctl user.max_user_namespaces=10000\n\
         A container has to be started with --privileged."
    )]
    NotPermitted(io::Error),
    /// The private session, or something in it.
    #[error("{0}")]
    Stage(audera_testkit::Error),
    /// The user's file is not there.
    #[error("cannot read {}: {source}", file.display())]
    File {
        /// As given by the user.
        file: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is nothing to play.
    #[error("no recorded sound is installed: `apt install gamine-data`, or say FILE=music.flac")]
    NoMusic,
    /// The file is no sound, as far as `pw-play` knows.
    #[error("pw-play cannot play {}; it reads WAV, FLAC, Ogg Vorbis and Opus. It says:\n{said}", file.display())]
    Unplayable {
        /// The file.
        file: PathBuf,
        /// The player's output.
        said: String,
    },
    /// The file ends before anything can be measured.
    #[error("{} ends after {seconds:.1} s: give it a file of 6 s or more", file.display())]
    TooShort {
        /// The file.
        file: PathBuf,
        /// How long it lasted.
        seconds: f64,
    },
    /// There is no user's session whose output could be used.
    #[error(
        "no PipeWire session of yours was found at {}: OUTPUT needs one; run this as the user who is logged in, without \
         sudo",
        socket.display()
    )]
    NoSession {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The rooms did not play as they should.
    #[error("the rooms did not play as they should:\n  {}", .0.join("\n  "))]
    Heard(Vec<String>),
}

impl From<audera_testkit::Error> for Failure {
    fn from(error: audera_testkit::Error) -> Self {
        match error {
            audera_testkit::Error::Unavailable { source, .. } => Self::NotPermitted(source),
            other => Self::Stage(other),
        }
    }
}

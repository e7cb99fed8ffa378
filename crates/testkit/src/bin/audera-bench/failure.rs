//! Why a run, or all of them, came to nothing.

use std::{io, path::PathBuf};

/// What went wrong, and what can be done about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The sessions, or something in them.
    #[error("{0}")]
    Stage(#[from] audera_testkit::Error),
    /// A result could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A scenario that does not exist.
    #[error("there is no scenario {name:?}; there are {known}")]
    Unknown {
        /// As given by the user.
        name: String,
        /// All names.
        known: String,
    },
    /// A program ended in the middle.
    #[error("{name} has ended in the middle of the run; it said:\n{said}")]
    Ended {
        /// Which.
        name: String,
        /// The end of its log.
        said: String,
    },
    /// Players have got lost on the way.
    #[error("only {playing} of {players} players play at the end; their logs may say why")]
    Fewer {
        /// Those that do.
        playing: usize,
        /// Those that should.
        players: usize,
    },
    /// No room played anything.
    #[error("no room has played anything")]
    Silent,
}

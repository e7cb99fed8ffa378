//! What can go wrong between this layer and libpipewire, told so that a user can act on it.

use std::io;

/// An error of this layer, of libpipewire, or of the module that was being loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libpipewire refused a call.
    #[error("PipeWire could not {action}: {cause}")]
    PipeWire {
        /// What was being done, as the object of "could not".
        action: &'static str,
        /// The errno it gave.
        cause: io::Error,
    },
    /// There is no server to talk to.
    #[error(
        "no PipeWire server answers: {0}; is pipewire.service running, and is XDG_RUNTIME_DIR (or PIPEWIRE_REMOTE) right?"
    )]
    NoServer(io::Error),
    /// The object has been destroyed underneath: by the server, or because its connection ended.
    #[error("the {0} no longer exists")]
    Gone(&'static str),
    /// The arguments are not SPA-JSON.
    #[error("module arguments, line {line}, column {column}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there and what would be accepted.
        problem: String,
    },
    /// An argument has a value that is not accepted.
    #[error("argument {key} = {value}: expected {expected}")]
    Argument {
        /// The argument.
        key: String,
        /// What was given.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// An argument that nobody knows.
    #[error("unknown argument {key}; known are {known}")]
    UnknownArgument {
        /// What was given.
        key: String,
        /// The known ones, separated by commas.
        known: String,
    },
    /// A thread could not be started, or has ended.
    #[error("PipeWire thread {name}: {cause}")]
    Thread {
        /// The name of the thread.
        name: String,
        /// What happened.
        cause: io::Error,
    },
    /// An error of the module itself, while it was being loaded.
    #[error("{0}")]
    Module(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of the module's own.
    pub fn module(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Module(cause.into())
    }

    /// The negative errno by which a C caller is told.
    pub(crate) fn as_negative_errno(&self) -> i32 {
        let code = match self {
            Self::PipeWire { cause, .. } | Self::NoServer(cause) | Self::Thread { cause, .. } => {
                cause.raw_os_error().unwrap_or(libc::EIO)
            }
            Self::Gone(_) => libc::EPIPE,
            Self::Syntax { .. } | Self::Argument { .. } | Self::UnknownArgument { .. } => libc::EINVAL,
            Self::Module(_) => libc::EIO,
        };
        -code.max(1)
    }
}

/// Turns the "negative errno" convention of libpipewire into a result.
pub(crate) fn check(action: &'static str, code: i32) -> Result<i32, Error> {
    if code < 0 {
        Err(Error::PipeWire { action, cause: io::Error::from_raw_os_error(code.saturating_neg()) })
    } else {
        Ok(code)
    }
}

/// The error after a constructor gave NULL and set `errno`.
pub(crate) fn last(action: &'static str) -> Error {
    Error::PipeWire { action, cause: io::Error::last_os_error() }
}

//! Why something cannot be opened.

use crate::{Errno, OptionError};

/// Why a PCM or mixer cannot be opened. The user reads it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// Its definition is wrong.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// Anything else.
    #[error("{reason}")]
    Refused {
        /// What the application gets.
        errno: Errno,
        /// What is wrong and what can be done about it.
        reason: String,
    },
}

impl OpenError {
    /// Refuses with this number and these words.
    #[must_use]
    pub fn refused(errno: Errno, reason: impl Into<String>) -> Self {
        Self::Refused { errno, reason: reason.into() }
    }

    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Option(_) => Errno::INVAL,
            Self::Refused { errno, .. } => *errno,
        }
    }
}

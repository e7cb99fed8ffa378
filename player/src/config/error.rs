//! What can be wrong with a configuration, said so that a person finds the place and the remedy.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A place in a configuration file; line and column count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of byte `offset` of `text`.
    pub(super) fn at(file: &std::path::Path, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Why there is no usable configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file given with `--config` is missing, or a file is there but cannot be read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key \"{key}\"{}; accepted keys: {accepted}", hint(suggestion))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key as written, with its table.
        key: String,
        /// The accepted key that looks most like it.
        suggestion: Option<String>,
        /// All accepted keys of this table.
        accepted: String,
    },
    /// The key is known, its value is not accepted.
    #[error(transparent)]
    Value(Box<WrongValue>),
    /// The output has no mixer of a card.
    #[error(
        "mixer = \"{mixer}\": the output {output} has no mixer of a card; accepted with an ALSA output such as \"alsa:hw:0\"; \
         mixer = \"none\" leaves the volume to the player"
    )]
    MixerWithoutCard {
        /// The element.
        mixer: String,
        /// The output.
        output: String,
    },
    /// A mixer was named, but no element of it.
    #[error(
        "mixer-device = \"{device}\": of which element? Add mixer = \"NAME\"; `amixer -D {device} scontrols` lists them"
    )]
    MixerWithoutElement {
        /// The mixer.
        device: String,
    },
    /// Nothing says where the player may keep its identity.
    #[error(
        "no place for the player's state: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set; give --state-dir DIR"
    )]
    NoStateDir,
    /// A relative path was given and the working directory is gone.
    #[error("{}: cannot be made absolute: {source}; give an absolute path", path.display())]
    RelativePath {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A known key with a value that is not accepted.
#[derive(Debug, Error)]
#[error("{place}: key \"{key}\" cannot be {value}: {why}; accepted: {accepted}")]
pub struct WrongValue {
    /// Where the value stands.
    pub place: Place,
    /// The key, with its table.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
    /// What would be taken.
    pub accepted: String,
}

/// The "did you mean" part of a message.
fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|key| format!(" (did you mean \"{key}\"?)")).unwrap_or_default()
}

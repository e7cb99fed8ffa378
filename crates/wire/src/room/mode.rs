//! Which channel of a stream is heard from which loudspeaker.

use std::fmt;
use std::str::FromStr;

use serde::{Deserializer, Serializer};

use crate::limits::MAX_NAME;
use crate::text;

/// Which channel of a stereo stream is heard from which loudspeaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelMode {
    /// As it is.
    #[default]
    Stereo,
    /// The left channel from both loudspeakers.
    Left,
    /// The right channel from both loudspeakers.
    Right,
    /// The mean of all channels from all loudspeakers.
    Mono,
    /// Left and right exchanged.
    Swapped,
}

impl ChannelMode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stereo, Self::Left, Self::Right, Self::Mono, Self::Swapped];

    /// Name on the wire, in configuration and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stereo => "stereo",
            Self::Left => "left",
            Self::Right => "right",
            Self::Mono => "mono",
            Self::Swapped => "swapped",
        }
    }
}

impl fmt::Display for ChannelMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is accepted as a channel mode, for error texts.
pub(super) const CHANNEL_MODES: &str = "stereo, left, right, mono or swapped";

/// A text that names no channel mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("accepted: {CHANNEL_MODES}")]
pub struct UnknownChannelMode;

impl FromStr for ChannelMode {
    type Err = UnknownChannelMode;

    fn from_str(name: &str) -> Result<Self, UnknownChannelMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or(UnknownChannelMode)
    }
}

pub(super) fn write_mode<S: Serializer>(mode: &ChannelMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.name())
}

/// A mode; one of a newer version is shown as stereo.
pub(super) fn read_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChannelMode, D::Error> {
    Ok(text::text::<D, MAX_NAME>(deserializer)?.parse().unwrap_or_default())
}

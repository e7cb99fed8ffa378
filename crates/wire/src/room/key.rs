//! The parts of a room's state, by name.

use std::fmt;

use serde::{Deserializer, Serialize, Serializer};

use crate::limits::{MAX_GROUPS, MAX_NAME};
use crate::text;

/// One part of a room's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoomKey {
    /// Its name.
    Name,
    /// Its volume.
    Volume,
    /// Whether it is mute.
    Mute,
    /// Its channel mode.
    ChannelMode,
    /// Its output delay.
    OutputDelay,
    /// Its groups.
    Groups,
    /// Its largest volume.
    MaxVolume,
    /// Its volume when the player starts.
    StartupVolume,
}

impl RoomKey {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Volume,
        Self::Mute,
        Self::ChannelMode,
        Self::OutputDelay,
        Self::Groups,
        Self::MaxVolume,
        Self::StartupVolume,
    ];

    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Volume => "volume",
            Self::Mute => "mute",
            Self::ChannelMode => "channel_mode",
            Self::OutputDelay => "output_delay_ms",
            Self::Groups => "groups",
            Self::MaxVolume => "max_volume",
            Self::StartupVolume => "startup_volume",
        }
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for RoomKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Keys; those of a newer version are left out.
pub(super) fn read_pinned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RoomKey>, D::Error> {
    let names = text::texts::<D, MAX_GROUPS, MAX_NAME>(deserializer)?;
    Ok(RoomKey::ALL.into_iter().filter(|key| names.iter().any(|name| name == key.name())).collect())
}

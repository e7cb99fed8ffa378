//! The values a key of the configuration may have, each with the text form shared by the command line and the file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use audera_receiver::{Source, SourceError};
use audera_wire::{ChannelMode, RoomKey, label_fault};
use thiserror::Error;

use crate::mixer::ElementName;

/// A value that can be written as text, and which can say what it accepts.
pub trait Accepts: FromStr<Err = Refused> {
    /// What is accepted, for error texts.
    const ACCEPTED: &'static str;
}

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}; accepted: {accepted}")]
pub struct Refused {
    /// What is wrong with the text.
    pub why: String,
    /// What would be taken instead.
    pub accepted: &'static str,
}

impl Refused {
    fn new<T: Accepts>(why: impl Into<String>) -> Self {
        Self { why: why.into(), accepted: T::ACCEPTED }
    }
}

/// The human name of the player, which is also its DNS-SD instance name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomName(String);

impl RoomName {
    /// The name as text: 1 to 63 bytes of UTF-8 without control characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Accepts for RoomName {
    const ACCEPTED: &'static str = "a room name of 1 to 63 bytes without control characters";
}

impl FromStr for RoomName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match label_fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(Refused::new::<Self>(why)),
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a group this player belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName(String);

impl GroupName {
    /// The name as text: 1 to 63 bytes of UTF-8 without control characters and commas.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Accepts for GroupName {
    const ACCEPTED: &'static str = "a group name of 1 to 63 bytes without control characters and commas";
}

impl FromStr for GroupName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Some(why) = label_fault(text) {
            Err(Refused::new::<Self>(why))
        } else if text.contains(',') {
            // The announcement lists the groups in one TXT entry, separated by commas.
            Err(Refused::new::<Self>("it holds a comma"))
        } else if text.eq_ignore_ascii_case("everywhere") {
            Err(Refused::new::<Self>("every player is in \"Everywhere\" without being told"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the sound goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputChoice {
    /// Through PipeWire: to the node of that name, or to the default output.
    PipeWire {
        /// `node.name` or `object.serial` of the node to play to.
        target: Option<String>,
    },
    /// Straight to an ALSA PCM.
    Alsa {
        /// Any PCM name (`aplay -L` lists them).
        device: String,
    },
    /// To a WAV file, paced by the monotonic clock.
    File {
        /// The file, which is overwritten.
        path: PathBuf,
    },
    /// Nowhere, at the pace of the monotonic clock.
    Null,
}

impl Accepts for OutputChoice {
    const ACCEPTED: &'static str = "\"pipewire[:TARGET]\", \"alsa[:DEVICE]\", \"file:PATH.wav\" or \"null\"";
}

impl FromStr for OutputChoice {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        if rest.is_some_and(|rest| rest.chars().any(char::is_control)) {
            return Err(Refused::new::<Self>("it holds a control character"));
        }
        match (kind, rest) {
            ("pipewire", None) => Ok(Self::PipeWire { target: None }),
            ("pipewire", Some(target)) if !target.is_empty() => Ok(Self::PipeWire { target: Some(target.to_owned()) }),
            ("alsa", None) => Ok(Self::Alsa { device: "default".to_owned() }),
            ("alsa", Some(device)) if !device.is_empty() => Ok(Self::Alsa { device: device.to_owned() }),
            ("pipewire" | "alsa", Some(_)) => Err(Refused::new::<Self>(format!("nothing follows \"{kind}:\""))),
            ("null", None) => Ok(Self::Null),
            ("null", Some(_)) => Err(Refused::new::<Self>("\"null\" stands alone")),
            ("file", rest) => {
                let path = PathBuf::from(rest.unwrap_or_default());
                // The file is overwritten: the suffix keeps a slip of the pen from destroying something else.
                if path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("wav")) {
                    Ok(Self::File { path })
                } else {
                    Err(Refused::new::<Self>("the path does not name a .wav file"))
                }
            }
            (other, _) => Err(Refused::new::<Self>(format!("there is no output \"{other}\""))),
        }
    }
}

impl fmt::Display for OutputChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PipeWire { target: None } => f.write_str("pipewire"),
            Self::PipeWire { target: Some(target) } => write!(f, "pipewire:{target}"),
            Self::Alsa { device } => write!(f, "alsa:{device}"),
            Self::File { path } => write!(f, "file:{}", path.display()),
            Self::Null => f.write_str("null"),
        }
    }
}

/// The element of the card's mixer that has a part in the volume, if one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MixerChoice {
    /// The volume is the samples' matter alone.
    None,
    /// This one.
    Element(ElementName),
}

impl Accepts for MixerChoice {
    const ACCEPTED: &'static str =
        "the name of an element such as \"Digital\", with its number if there are several (\"PCM,1\"), or \"none\"";
}

impl FromStr for MixerChoice {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text == "none" {
            return Ok(Self::None);
        }
        let numbered = text.rsplit_once(',').and_then(|(name, index)| Some((name, index.trim().parse().ok()?)));
        let (name, index) = numbered.unwrap_or((text, 0));
        // As `amixer` writes it: 'Digital',0.
        let name = name.trim();
        let name = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name);
        // alsa-lib cuts longer ones.
        if name.is_empty() || name.len() > 43 || name.chars().any(char::is_control) {
            return Err(Refused::new::<Self>("that names no element (1 to 43 bytes)"));
        }
        Ok(Self::Element(ElementName { name: name.to_owned(), index }))
    }
}

impl fmt::Display for MixerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Element(name) => name.fmt(f),
        }
    }
}

/// The mixer of a card, by the name that `amixer -D` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixerDevice(pub String);

impl Accepts for MixerDevice {
    const ACCEPTED: &'static str = "the name of a card's mixer, such as \"hw:0\" or \"hw:CARD=DAC\"";
}

impl FromStr for MixerDevice {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Refused::new::<Self>("that names no mixer"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MixerDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// PCMs that alsa-lib makes of a card, whose first argument is the card.
const OF_A_CARD: [&str; 16] = [
    "hw",
    "plughw",
    "sysdefault",
    "default",
    "front",
    "rear",
    "center_lfe",
    "side",
    "surround21",
    "surround40",
    "surround41",
    "surround50",
    "surround51",
    "surround71",
    "iec958",
    "hdmi",
];

impl MixerDevice {
    /// The mixer of the card behind a PCM. One that is not alsa-lib's own has a mixer of the same name, if it has one.
    pub(super) fn of_pcm(pcm: &str) -> Self {
        let card = pcm.split_once(':').filter(|(kind, _)| OF_A_CARD.contains(kind)).and_then(|(_, arguments)| {
            let mut arguments = arguments.split(',').map(str::trim);
            let first = arguments.clone().next().filter(|first| !first.contains('='));
            first.or_else(|| arguments.find_map(|argument| argument.strip_prefix("CARD=")))
        });
        match card.filter(|card| !card.is_empty()) {
            Some(card) => Self(format!("hw:{card}")),
            None => Self(pcm.to_owned()),
        }
    }
}

/// What to subscribe to: a source the player dials by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription(pub Source);

impl Accepts for Subscription {
    const ACCEPTED: &'static str = Source::ACCEPTED;
}

impl FromStr for Subscription {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        text.parse().map(Self).map_err(|SourceError(why)| Refused::new::<Self>(why))
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address the player listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl Accepts for ListenAddress {
    const ACCEPTED: &'static str =
        "ADDRESS:PORT, such as \"[::]:6528\" (all addresses) or \"127.0.0.1:0\" (any free port)";
}

impl FromStr for ListenAddress {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        text.parse().map(Self).map_err(|_| Refused::new::<Self>("it is not a numeric address with a port"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares an enum whose values are single words in the configuration.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $accepted:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The word that stands for this value in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl Accepts for $name {
            const ACCEPTED: &'static str = $accepted;
        }

        impl FromStr for $name {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Refused::new::<Self>("there is no such value")),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who may play here.
    Access, "\"paired\" or \"open\"" {
        /// Only senders whose identity is in the list of trusted ones.
        Paired = "paired",
        /// Anyone who reaches the port.
        Open = "open",
    }
}

words! {
    /// Who plays when a second stream starts.
    Policy, "\"newest\" or \"first\"" {
        /// The newest start wins; the older sender is told.
        Newest = "newest",
        /// The stream that plays goes on; the newcomer is refused.
        First = "first",
    }
}

words! {
    /// How much is logged.
    LogLevel, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"" {
        /// Only what keeps the room silent.
        Error = "error",
        /// Also what a person should look at.
        Warn = "warn",
        /// Also streams coming and going.
        Info = "info",
        /// Also how devices and senders were negotiated with.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// A channel mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub ChannelMode);

impl Accepts for Mode {
    const ACCEPTED: &'static str = "stereo, left, right, mono or swapped";
}

impl FromStr for Mode {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        text.parse().map(Self).map_err(|_| Refused::new::<Self>("there is no such channel mode"))
    }
}

/// A part of the room's state, by the name that its key has in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedKey(pub RoomKey);

impl PinnedKey {
    /// `None` for what has no key in the configuration: a room is not mute for good.
    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            RoomKey::Name => "name",
            RoomKey::Volume => "volume",
            RoomKey::Mute => return None,
            RoomKey::ChannelMode => "channel-mode",
            RoomKey::OutputDelay => "output-delay",
            RoomKey::Groups => "groups",
            RoomKey::MaxVolume => "max-volume",
            RoomKey::StartupVolume => "startup-volume",
        })
    }
}

impl Accepts for PinnedKey {
    const ACCEPTED: &'static str = "name, volume, channel-mode, output-delay, groups, max-volume or startup-volume";
}

impl FromStr for PinnedKey {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut keys = RoomKey::ALL.into_iter().map(Self);
        keys.find(|key| key.name() == Some(text)).ok_or_else(|| Refused::new::<Self>("that cannot be pinned"))
    }
}

impl fmt::Display for PinnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or_default())
    }
}

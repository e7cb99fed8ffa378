//! The first message of each end: who it is, what it speaks, and what it takes.

use std::fmt;

use audera_clock::Span;
use serde::{Deserialize, Serialize};

use crate::VERSIONS;
use crate::format::Formats;
use crate::frame::{FrameType, write_frame};
use crate::limits::{MAX_CHOICES, MAX_GROUPS, MAX_LATENCY, MAX_NAME, MAX_SOFTWARE};
use crate::message::{MessageError, read_cbor, write_cbor};
use crate::text;

/// What an end does; settled by its hello, not by who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends audio.
    Sender,
    /// Plays audio.
    Player,
}

impl Role {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Player => "player",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Rate and channels of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    /// Sample rate, Hz.
    pub rate: u32,
    /// Channels.
    pub channels: u8,
}

/// Hello of the end that sends audio.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SenderHello {
    /// Major versions spoken, at most [`MAX_CHOICES`].
    #[serde(deserialize_with = "text::numbers::<_, MAX_CHOICES>")]
    pub versions: Vec<u16>,
    /// Name for people, such as that of the host; at most [`MAX_NAME`] bytes.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub name: String,
    /// Software with version; at most [`MAX_SOFTWARE`] bytes.
    #[serde(default, deserialize_with = "text::text::<_, MAX_SOFTWARE>")]
    pub software: String,
    /// Name under which the sender announces itself as a source, if it does; at most [`MAX_NAME`] bytes.
    #[serde(default, deserialize_with = "text::optional_text::<_, MAX_NAME>")]
    pub source: Option<String>,
    /// Whether the sender's transport takes datagrams beside the connection.
    #[serde(default)]
    pub datagrams: bool,
    /// Number of the line: the same in all connections that follow on each other. One with the number of an earlier connection of this
    /// peer takes its place, and the sender's clock is the same in both.
    #[serde(default)]
    pub line: Option<u64>,
    /// What it streams, where that is the same for all its streams: a recording can be set up before one begins.
    #[serde(default)]
    pub sound: Option<Sound>,
}

impl SenderHello {
    /// Hello of a sender that is no announced source.
    #[must_use]
    pub fn new(name: &str, software: &str) -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            name: name.to_owned(),
            software: software.to_owned(),
            source: None,
            datagrams: false,
            line: None,
            sound: None,
        }
    }
}

/// Hello of the end that plays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PlayerHello {
    /// Major versions spoken, at most [`MAX_CHOICES`].
    #[serde(deserialize_with = "text::numbers::<_, MAX_CHOICES>")]
    pub versions: Vec<u16>,
    /// The room; at most [`MAX_NAME`] bytes.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub name: String,
    /// Software with version; at most [`MAX_SOFTWARE`] bytes.
    #[serde(default, deserialize_with = "text::text::<_, MAX_SOFTWARE>")]
    pub software: String,
    /// What the player takes.
    pub formats: Formats,
    /// Largest latency that the player can hold, at most [`MAX_LATENCY`].
    #[serde(rename = "max_latency_us", default = "default_max_latency", with = "text::micros")]
    pub max_latency: Span,
    /// Groups that the player belongs to; at most [`MAX_GROUPS`] of at most [`MAX_NAME`] bytes.
    #[serde(default, deserialize_with = "text::texts::<_, MAX_GROUPS, MAX_NAME>")]
    pub groups: Vec<String>,
    /// Name of the source that the player wants to hear, when it dialled one; at most [`MAX_NAME`] bytes.
    #[serde(default, deserialize_with = "text::optional_text::<_, MAX_NAME>")]
    pub source: Option<String>,
    /// Whether the player's transport takes datagrams beside the connection.
    #[serde(default)]
    pub datagrams: bool,
    /// Number of the line: the same in all connections that follow on each other. One with the number of an earlier connection of this
    /// peer takes its place, and the player's clock is the same in both.
    #[serde(default)]
    pub line: Option<u64>,
}

impl PlayerHello {
    /// Hello of a player that takes every format, is in no group, and did not dial a source.
    #[must_use]
    pub fn new(room: &str, software: &str) -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            name: room.to_owned(),
            software: software.to_owned(),
            formats: Formats::all(),
            max_latency: MAX_LATENCY,
            groups: Vec::new(),
            source: None,
            datagrams: false,
            line: None,
        }
    }
}

fn default_max_latency() -> Span {
    MAX_LATENCY
}

/// First message of either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// From the end that sends audio.
    Sender(SenderHello),
    /// From the end that plays.
    Player(PlayerHello),
}

/// What has to be understood of any hello, of whatever version.
#[derive(Deserialize)]
struct Prefix {
    #[serde(deserialize_with = "text::text::<_, 32>")]
    role: String,
    #[serde(deserialize_with = "text::numbers::<_, MAX_CHOICES>")]
    versions: Vec<u16>,
}

#[derive(Serialize)]
struct SenderBody<'a> {
    role: &'static str,
    versions: &'a [u16],
    name: String,
    software: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    datagrams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<Sound>,
}

#[derive(Serialize)]
struct PlayerBody<'a> {
    role: &'static str,
    versions: &'a [u16],
    name: String,
    software: String,
    formats: &'a Formats,
    #[serde(rename = "max_latency_us", with = "text::micros")]
    max_latency: Span,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    datagrams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl Hello {
    /// Role of the end that says it.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Sender(_) => Role::Sender,
            Self::Player(_) => Role::Player,
        }
    }

    /// Appends the message as a frame. Texts and lists beyond their limits are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let role = self.role().name();
        write_frame(out, FrameType::Hello, |out| match self {
            Self::Sender(hello) => {
                let body = SenderBody {
                    role,
                    versions: first(&hello.versions, MAX_CHOICES),
                    name: text::clip(&hello.name, MAX_NAME),
                    software: text::clip(&hello.software, MAX_SOFTWARE),
                    source: hello.source.as_deref().map(|name| text::clip(name, MAX_NAME)),
                    datagrams: hello.datagrams,
                    line: hello.line,
                    sound: hello.sound,
                };
                write_cbor(out, &body);
            }
            Self::Player(hello) => {
                let body = PlayerBody {
                    role,
                    versions: first(&hello.versions, MAX_CHOICES),
                    name: text::clip(&hello.name, MAX_NAME),
                    software: text::clip(&hello.software, MAX_SOFTWARE),
                    formats: &hello.formats,
                    max_latency: hello.max_latency,
                    groups: first(&hello.groups, MAX_GROUPS).iter().map(|name| text::clip(name, MAX_NAME)).collect(),
                    source: hello.source.as_deref().map(|name| text::clip(name, MAX_NAME)),
                    datagrams: hello.datagrams,
                    line: hello.line,
                };
                write_cbor(out, &body);
            }
        });
    }

    /// Reads a hello. Role and versions are judged first, so that a peer of another major version gets that answer
    /// whatever else its hello holds.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let prefix: Prefix = read_cbor(FrameType::Hello, payload)?;
        if common_version(VERSIONS, &prefix.versions).is_none() {
            return Err(MessageError::Version { offered: prefix.versions });
        }
        match prefix.role.as_str() {
            "sender" => Ok(Self::Sender(read_cbor(FrameType::Hello, payload)?)),
            "player" => Ok(Self::Player(read_cbor(FrameType::Hello, payload)?)),
            _ => Err(MessageError::Role { role: prefix.role }),
        }
    }

    /// Major versions that it offers.
    pub(crate) fn versions(&self) -> &[u16] {
        match self {
            Self::Sender(hello) => &hello.versions,
            Self::Player(hello) => &hello.versions,
        }
    }
}

/// The highest version in both lists.
pub(crate) fn common_version(ours: &[u16], theirs: &[u16]) -> Option<u16> {
    ours.iter().copied().filter(|version| theirs.contains(version)).max()
}

fn first<T>(list: &[T], count: usize) -> &[T] {
    &list[..list.len().min(count)]
}

#[cfg(test)]
mod tests {
    use super::{Hello, PlayerHello, SenderHello, Sound, common_version};
    use crate::frame::FrameReader;

    #[test]
    fn a_line_and_the_sound_are_told_and_need_not_be() {
        for line in [None, Some(0), Some(u64::MAX)] {
            let sound = line.map(|_| Sound { rate: 44_100, channels: 2 });
            let sender = SenderHello { line, sound, ..SenderHello::new("desk", "test") };
            let player = PlayerHello { line, ..PlayerHello::new("Kitchen", "test") };
            for hello in [Hello::Sender(sender), Hello::Player(player)] {
                let mut bytes = Vec::new();
                hello.encode(&mut bytes);
                let mut reader = FrameReader::new();
                reader.push(&bytes);
                let frame = reader.next().unwrap().unwrap();
                assert_eq!(Hello::decode(frame.payload).unwrap(), hello);
            }
        }
    }

    #[test]
    fn the_highest_common_version_wins() {
        assert_eq!(common_version(&[1, 2, 3], &[2, 1]), Some(2));
        assert_eq!(common_version(&[1], &[1, 9]), Some(1));
        assert_eq!(common_version(&[1], &[2, 3]), None);
        assert_eq!(common_version(&[1], &[]), None);
    }
}

//! How a player fares: one definition for players, senders and whoever shows it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::Coding;
use crate::limits::{MAX_NAME, MAX_OUTPUT, MAX_TITLE};
use crate::stream::StreamId;
use crate::text;

/// What a player is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlayerState {
    /// No stream.
    #[default]
    Idle,
    /// A stream was accepted; its first frame is not due yet, or the sender's clock is not known yet.
    Waiting,
    /// Sound.
    Playing,
    /// The stream has ended; the rest of it plays.
    Draining,
    /// A state of a newer version.
    Other,
}

impl PlayerState {
    const ALL: [Self; 5] = [Self::Idle, Self::Waiting, Self::Playing, Self::Draining, Self::Other];

    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Playing => "playing",
            Self::Draining => "draining",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for PlayerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for PlayerState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for PlayerState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = text::text::<D, 32>(deserializer)?;
        Ok(Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Other))
    }
}

/// How a player follows the sender's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimePath {
    /// By messages on the connection, between which audio may lie: good to tenths of a millisecond.
    #[default]
    InBand,
    /// By datagrams beside the connection.
    Udp,
}

impl TimePath {
    const ALL: [Self; 2] = [Self::InBand, Self::Udp];

    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InBand => "in-band",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for TimePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for TimePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Status of a player, sent once a second, when its state changes and when its latency does not suffice: to the sender that it plays, of
/// the stream on this very connection, and to whoever has asked to watch, of the stream that plays, whose ever it is.
///
/// Optional figures are absent while nothing has been measured. Counters run from the start of the stream, `xruns` from that of the player.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlayerStatus {
    /// What the player is doing.
    pub state: PlayerState,
    /// Name of the room, at most [`MAX_NAME`] bytes.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub room: String,
    /// Name of the output, for people, at most [`MAX_OUTPUT`] bytes.
    #[serde(deserialize_with = "text::text::<_, MAX_OUTPUT>")]
    pub output: String,
    /// The stream of this connection that plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// Told to those who watch: name of the sender whose stream plays, at most [`MAX_NAME`] bytes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::optional_text::<_, MAX_NAME>")]
    pub sender: Option<String>,
    /// Told to those who watch: title of the stream that plays, at most [`MAX_TITLE`] bytes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::optional_text::<_, MAX_TITLE>")]
    pub title: Option<String>,
    /// Its coding.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known_coding")]
    pub codec: Option<Coding>,
    /// Time by which frames leave the device later than their stamps say, as the player sees it now, us; negative: earlier. Absent
    /// while nothing sounds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub sync_error_us: Option<f64>,
    /// Size of the sync error that was not exceeded in 99 % of the last minute, or of the stream while it is younger, us; right to 7 %.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub sync_p99_us: Option<f64>,
    /// What the sender's clock reads now, less what the player's does, us. The clocks have nothing in common, so this may be of any size.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub clock_offset_us: Option<f64>,
    /// Bound of the error of the estimate of the sender's clock, us.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub clock_bound_us: Option<f64>,
    /// Shortest round trip of late between the two hosts, us.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub round_trip_us: Option<f64>,
    /// How the sender's clock is followed.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known_path")]
    pub time_path: Option<TimePath>,
    /// Rate of the sender's host clock over the player's, less one, ppm.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub skew_ppm: Option<f64>,
    /// Correction that the resampler applies now, ppm.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub ratio_ppm: Option<f64>,
    /// Rate of the output device over its nominal one, by the player's clock, less one, ppm.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub card_ppm: Option<f64>,
    /// Standard deviation of `card_ppm`, ppm.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub card_deviation_ppm: Option<f64>,
    /// Calibrated delay behind the device, by which all is played earlier, ms: -500 to 500.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub output_delay_ms: Option<f64>,
    /// Audio waiting to be played, ms.
    pub buffered_ms: u32,
    /// By how much less the stream's latency could have been since the last status without a gap, ms; negative: by how much more it should
    /// have been. Absent when no audio came meanwhile.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub spare_ms: Option<f64>,
    /// Frames played.
    pub played_frames: u64,
    /// Frames that came after their presentation time and were not played.
    pub late_frames: u64,
    /// Frames that never came and were played as silence or concealed.
    pub lost_frames: u64,
    /// Packets of which frames came after their presentation time.
    pub late_packets: u64,
    /// Packets that never came.
    pub lost_packets: u64,
    /// Times that the jitter buffer ran empty within a stream.
    pub underruns: u64,
    /// Times that playback jumped instead of being steered.
    pub resyncs: u64,
    /// Times that the output device itself ran dry.
    pub xruns: u64,
}

impl PlayerStatus {
    /// The same with texts cut to their limits and figures that are not finite left out.
    pub(crate) fn fit_for_wire(&self) -> Self {
        let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
        Self {
            room: text::clip(&self.room, MAX_NAME),
            output: text::clip(&self.output, MAX_OUTPUT),
            sender: self.sender.as_deref().map(|name| text::clip(name, MAX_NAME)),
            title: self.title.as_deref().map(|title| text::clip(title, MAX_TITLE)),
            sync_error_us: finite(self.sync_error_us),
            sync_p99_us: finite(self.sync_p99_us),
            clock_offset_us: finite(self.clock_offset_us),
            clock_bound_us: finite(self.clock_bound_us),
            round_trip_us: finite(self.round_trip_us),
            skew_ppm: finite(self.skew_ppm),
            ratio_ppm: finite(self.ratio_ppm),
            card_ppm: finite(self.card_ppm),
            card_deviation_ppm: finite(self.card_deviation_ppm),
            output_delay_ms: finite(self.output_delay_ms),
            spare_ms: finite(self.spare_ms),
            ..self.clone()
        }
    }
}

/// A coding, or `None` for one of a newer version.
fn known_coding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Coding>, D::Error> {
    Ok(text::optional_text::<D, 32>(deserializer)?.and_then(|name| name.parse().ok()))
}

/// A path, or `None` for one of a newer version.
fn known_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimePath>, D::Error> {
    let name = text::optional_text::<D, 32>(deserializer)?;
    Ok(name.and_then(|name| TimePath::ALL.into_iter().find(|path| path.name() == name)))
}

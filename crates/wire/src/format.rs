//! How the audio of a stream is coded, and what a player takes.

use std::fmt;
use std::str::FromStr;

use audera_clock::Span;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{MAX_CHOICES, MAX_OPUS_PACKET};
use crate::text;

/// Coding of the samples of a stream. PCM is interleaved and little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Coding {
    /// 16-bit signed integers.
    #[serde(rename = "s16le")]
    PcmS16le,
    /// 24-bit signed integers in three bytes.
    #[serde(rename = "s24le")]
    PcmS24le,
    /// 32-bit floats, full scale 1.0.
    #[serde(rename = "f32le")]
    PcmF32le,
    /// Opus (RFC 6716), one frame in each packet.
    #[serde(rename = "opus")]
    Opus,
}

impl Coding {
    /// All codings, in the order of preference for a wired network.
    pub const ALL: [Self; 4] = [Self::PcmF32le, Self::PcmS24le, Self::PcmS16le, Self::Opus];

    /// Name on the wire and in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PcmS16le => "s16le",
            Self::PcmS24le => "s24le",
            Self::PcmF32le => "f32le",
            Self::Opus => "opus",
        }
    }

    /// Bytes of one sample of one channel; `None` where packets have no fixed size.
    #[must_use]
    pub const fn bytes_per_sample(self) -> Option<usize> {
        match self {
            Self::PcmS16le => Some(2),
            Self::PcmS24le => Some(3),
            Self::PcmF32le => Some(4),
            Self::Opus => None,
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Coding {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|coding| coding.name() == name)
            .ok_or_else(|| FormatError::Coding { name: text::clip(name, 32) })
    }
}

/// Format of a stream; constant for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamFormat {
    /// Coding of the samples.
    pub coding: Coding,
    /// Sample rate, 44100 to 192000 Hz; Opus 48000 only.
    pub rate: u32,
    /// Channels, 1 to 8; Opus 1 or 2.
    pub channels: u8,
    /// Frames in each packet, 32 to 4096; Opus 240, 480 or 960 (5, 10 or 20 ms).
    pub frames: u16,
}

impl StreamFormat {
    /// Checks that every value is one the protocol accepts.
    ///
    /// # Errors
    /// The first value that is not, with what would be.
    pub fn validate(&self) -> Result<(), FormatError> {
        if self.coding == Coding::Opus {
            if self.rate != 48_000 {
                return Err(FormatError::OpusRate { rate: self.rate });
            }
            if !matches!(self.channels, 1 | 2) {
                return Err(FormatError::OpusChannels { channels: self.channels });
            }
            if !matches!(self.frames, 240 | 480 | 960) {
                return Err(FormatError::OpusFrames { frames: self.frames });
            }
            return Ok(());
        }
        if !(44_100..=192_000).contains(&self.rate) {
            return Err(FormatError::Rate { rate: self.rate });
        }
        if !(1..=8).contains(&self.channels) {
            return Err(FormatError::Channels { channels: self.channels });
        }
        if !(32..=4096).contains(&self.frames) {
            return Err(FormatError::Frames { frames: self.frames });
        }
        Ok(())
    }

    /// Time that one packet lasts.
    #[must_use]
    pub fn packet_duration(&self) -> Span {
        let rate = i64::from(self.rate.max(1));
        Span::from_nanos((i64::from(self.frames) * 1_000_000_000 + rate / 2) / rate)
    }

    /// Bytes of coded audio in one packet: exact for PCM, the upper bound for Opus.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        match self.coding.bytes_per_sample() {
            Some(bytes) => usize::from(self.frames) * usize::from(self.channels) * bytes,
            None => MAX_OPUS_PACKET,
        }
    }

    /// Most by which a packet may last longer or shorter than nominal: a twentieth of it.
    #[must_use]
    pub fn max_glide(&self) -> Span {
        self.packet_duration() / 20
    }

    /// Checks the length of the coded audio of one packet.
    ///
    /// # Errors
    /// The length is impossible in this format: for PCM not the exact one, for Opus not 1 to [`MAX_OPUS_PACKET`].
    pub fn check_payload(&self, len: usize) -> Result<(), FormatError> {
        let fits = match self.coding {
            Coding::Opus => (1..=MAX_OPUS_PACKET).contains(&len),
            _ => len == self.max_payload(),
        };
        if fits { Ok(()) } else { Err(FormatError::Payload { len, format: *self }) }
    }
}

impl fmt::Display for StreamFormat {
    /// For example `opus 48000 Hz 2 ch 480 frames`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} Hz {} ch {} frames", self.coding, self.rate, self.channels, self.frames)
    }
}

/// What a player takes; a sender picks one format within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// Codings, best first. Names that the reader does not know are left out when a hello is read.
    #[serde(deserialize_with = "known_codings")]
    pub codings: Vec<Coding>,
    /// Highest sample rate, Hz.
    pub max_rate: u32,
    /// Most channels.
    pub max_channels: u8,
}

impl Formats {
    /// Everything that the protocol knows.
    #[must_use]
    pub fn all() -> Self {
        Self { codings: Coding::ALL.to_vec(), max_rate: 192_000, max_channels: 8 }
    }

    /// Whether `format` is within these bounds.
    #[must_use]
    pub fn takes(&self, format: &StreamFormat) -> bool {
        self.codings.contains(&format.coding) && format.rate <= self.max_rate && format.channels <= self.max_channels
    }
}

impl fmt::Display for Formats {
    /// For example `opus, s16le up to 48000 Hz, 2 ch`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, coding) in self.codings.iter().enumerate() {
            write!(formatter, "{}{coding}", if index == 0 { "" } else { ", " })?;
        }
        write!(formatter, " up to {} Hz, {} ch", self.max_rate, self.max_channels)
    }
}

fn known_codings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Coding>, D::Error> {
    let mut codings = Vec::new();
    for name in text::texts::<D, MAX_CHOICES, 32>(deserializer)? {
        match name.parse() {
            Ok(coding) if !codings.contains(&coding) => codings.push(coding),
            _ => {}
        }
    }
    Ok(codings)
}

/// A value of a stream format that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Name of no coding.
    #[error("coding {name:?} is unknown: use s16le, s24le, f32le or opus")]
    Coding {
        /// The name, cut to 32 bytes.
        name: String,
    },
    /// PCM rate out of range.
    #[error("rate {rate} Hz is not accepted: use 44100 to 192000")]
    Rate {
        /// The rate, Hz.
        rate: u32,
    },
    /// PCM channels out of range.
    #[error("{channels} channels are not accepted: use 1 to 8")]
    Channels {
        /// The number of channels.
        channels: u8,
    },
    /// PCM packet length out of range.
    #[error("{frames} frames per packet are not accepted: use 32 to 4096")]
    Frames {
        /// Frames per packet.
        frames: u16,
    },
    /// Opus at another rate than 48 kHz.
    #[error("rate {rate} Hz is not accepted with opus: use 48000")]
    OpusRate {
        /// The rate, Hz.
        rate: u32,
    },
    /// Opus with too many channels.
    #[error("{channels} channels are not accepted with opus: use 1 or 2")]
    OpusChannels {
        /// The number of channels.
        channels: u8,
    },
    /// Opus packet of a length it does not have here.
    #[error("{frames} frames per packet are not accepted with opus: use 240, 480 or 960")]
    OpusFrames {
        /// Frames per packet.
        frames: u16,
    },
    /// Coded audio of an impossible length.
    #[error("{len} bytes of audio do not fit {format}: {} are expected", expected(.format))]
    Payload {
        /// Length, bytes.
        len: usize,
        /// The stream's format.
        format: StreamFormat,
    },
}

fn expected(format: &StreamFormat) -> String {
    match format.coding {
        Coding::Opus => format!("1 to {MAX_OPUS_PACKET}"),
        _ => format!("exactly {}", format.max_payload()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_AUDIO;

    fn pcm(coding: Coding) -> StreamFormat {
        StreamFormat { coding, rate: 48_000, channels: 2, frames: 480 }
    }

    #[test]
    fn errors_name_the_value_and_what_is_accepted() {
        let cases = [
            (
                StreamFormat { rate: 44_099, ..pcm(Coding::PcmS16le) },
                "rate 44099 Hz is not accepted: use 44100 to 192000",
            ),
            (
                StreamFormat { rate: 192_001, ..pcm(Coding::PcmS24le) },
                "rate 192001 Hz is not accepted: use 44100 to 192000",
            ),
            (StreamFormat { channels: 0, ..pcm(Coding::PcmF32le) }, "0 channels are not accepted: use 1 to 8"),
            (StreamFormat { channels: 9, ..pcm(Coding::PcmF32le) }, "9 channels are not accepted: use 1 to 8"),
            (
                StreamFormat { frames: 31, ..pcm(Coding::PcmF32le) },
                "31 frames per packet are not accepted: use 32 to 4096",
            ),
            (
                StreamFormat { frames: 4097, ..pcm(Coding::PcmF32le) },
                "4097 frames per packet are not accepted: use 32 to 4096",
            ),
            (StreamFormat { rate: 44_100, ..pcm(Coding::Opus) }, "rate 44100 Hz is not accepted with opus: use 48000"),
            (StreamFormat { channels: 3, ..pcm(Coding::Opus) }, "3 channels are not accepted with opus: use 1 or 2"),
            (
                StreamFormat { frames: 512, ..pcm(Coding::Opus) },
                "512 frames per packet are not accepted with opus: use 240, 480 or 960",
            ),
        ];
        for (format, message) in cases {
            assert_eq!(format.validate().unwrap_err().to_string(), message);
        }
        assert_eq!(
            "mp3".parse::<Coding>().unwrap_err().to_string(),
            "coding \"mp3\" is unknown: use s16le, s24le, f32le or opus"
        );
    }

    #[test]
    fn the_largest_packet_is_the_limit() {
        let largest = StreamFormat { coding: Coding::PcmF32le, rate: 192_000, channels: 8, frames: 4096 };
        largest.validate().unwrap();
        assert_eq!(largest.max_payload(), MAX_AUDIO);
    }

    #[test]
    fn payloads_are_exact_for_pcm_and_bounded_for_opus() {
        for (coding, exact) in [(Coding::PcmS16le, 1920), (Coding::PcmS24le, 2880), (Coding::PcmF32le, 3840)] {
            assert!(pcm(coding).check_payload(exact).is_ok());
            assert!(pcm(coding).check_payload(exact - 1).is_err());
            assert!(pcm(coding).check_payload(exact + 1).is_err());
        }
        let opus = pcm(Coding::Opus);
        assert!(opus.check_payload(0).is_err());
        assert!(opus.check_payload(1).is_ok());
        assert!(opus.check_payload(1276).is_ok());
        assert_eq!(
            opus.check_payload(1277).unwrap_err().to_string(),
            "1277 bytes of audio do not fit opus 48000 Hz 2 ch 480 frames: 1 to 1276 are expected"
        );
    }

    #[test]
    fn packets_last_what_their_frames_last() {
        assert_eq!(pcm(Coding::Opus).packet_duration(), Span::from_millis(10));
        let cd = StreamFormat { rate: 44_100, frames: 441, ..pcm(Coding::PcmS16le) };
        assert_eq!(cd.packet_duration(), Span::from_millis(10));
    }

    #[test]
    fn a_player_takes_what_is_within_its_bounds() {
        let formats = Formats { codings: vec![Coding::Opus, Coding::PcmS16le], max_rate: 48_000, max_channels: 2 };
        assert!(formats.takes(&pcm(Coding::Opus)));
        assert!(!formats.takes(&pcm(Coding::PcmF32le)));
        assert!(!formats.takes(&StreamFormat { rate: 96_000, ..pcm(Coding::PcmS16le) }));
        assert!(!formats.takes(&StreamFormat { channels: 4, ..pcm(Coding::PcmS16le) }));
        assert_eq!(formats.to_string(), "opus, s16le up to 48000 Hz, 2 ch");
    }
}

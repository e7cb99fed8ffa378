//! How loud the values of a volume are, as mixer programs read it (TLV).

/// A scale, in hundredths of a decibel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decibels {
    /// The same step from each value to the next.
    Steps {
        /// At value 0.
        least: i32,
        /// From each value to the next: up to 65535.
        step: u16,
        /// Whether value 0 is silence all the same.
        mutes: bool,
    },
    /// The same step from each value to the next, told by both ends.
    Ends {
        /// At value 0.
        least: i32,
        /// At the largest value.
        most: i32,
        /// Whether value 0 is silence all the same.
        mutes: bool,
    },
    /// The values are proportional to the amplitude; value 0 is silence.
    Amplitude {
        /// At the largest value.
        most: i32,
    },
}

/// Of a linear scale's lower end, that it is silence (`SND_CTL_TLV_DB_GAIN_MUTE`).
const SILENCE: i32 = -9_999_999;
/// In the word of a step, that the least value is silence.
const MUTES: u32 = 1 << 16;

impl Decibels {
    /// Type, length in bytes, and two numbers.
    pub(super) fn to_tlv(self) -> [u32; 4] {
        let (kind, first, second) = match self {
            Self::Steps { least, step, mutes } => {
                let mutes = if mutes { MUTES } else { 0 };
                (alsa_sys::SND_CTL_TLVT_DB_SCALE, least, u32::from(step) | mutes)
            }
            Self::Ends { least, most, mutes: false } => (alsa_sys::SND_CTL_TLVT_DB_MINMAX, least, most as u32),
            Self::Ends { least, most, mutes: true } => (alsa_sys::SND_CTL_TLVT_DB_MINMAX_MUTE, least, most as u32),
            Self::Amplitude { most } => (alsa_sys::SND_CTL_TLVT_DB_LINEAR, SILENCE, most as u32),
        };
        [kind, 8, first as u32, second]
    }
}

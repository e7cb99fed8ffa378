//! How loud the values of a volume are, as mixer programs read it (TLV).

/// A scale, in hundredths of a decibel.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Straight lines from point to point: for each, a value and how loud it is. The first is value 0, the last the largest
    /// value, both numbers rise, and there are [2 to 11](MOST_POINTS), since alsa-lib reads no more.
    Curve {
        /// The points.
        points: Vec<(u32, i32)>,
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

/// Points of a curve. alsa-lib takes 256 bytes of lines, of which each has 24.
pub const MOST_POINTS: usize = 11;

impl Decibels {
    /// Whether it is one for values up to `most` that alsa-lib reads.
    pub(super) fn fits(&self, most: u32) -> bool {
        let Self::Curve { points, .. } = self else { return true };
        let rises = |pair: &[(u32, i32)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        (2..=MOST_POINTS).contains(&points.len())
            && points.first().is_some_and(|(value, _)| *value == 0)
            && points.last().is_some_and(|(value, _)| *value == most)
            && points.windows(2).all(rises)
    }

    /// Type, length in bytes, and so many bytes.
    pub(super) fn to_tlv(&self) -> Vec<u32> {
        match self {
            Self::Steps { least, step, mutes } => {
                let mutes = if *mutes { MUTES } else { 0 };
                plain(alsa_sys::SND_CTL_TLVT_DB_SCALE, *least, u32::from(*step) | mutes).to_vec()
            }
            Self::Ends { least, most, mutes } => ends(*least, *most, *mutes).to_vec(),
            Self::Amplitude { most } => plain(alsa_sys::SND_CTL_TLVT_DB_LINEAR, SILENCE, *most as u32).to_vec(),
            Self::Curve { points, mutes } => {
                let lines = points.windows(2).enumerate().flat_map(|(n, pair)| {
                    let line = ends(pair[0].1, pair[1].1, *mutes && n == 0);
                    [pair[0].0, pair[1].0].into_iter().chain(line)
                });
                let lines: Vec<u32> = lines.collect();
                [alsa_sys::SND_CTL_TLVT_DB_RANGE, size_of_val(&lines[..]) as u32].into_iter().chain(lines).collect()
            }
        }
    }
}

/// A scale that is told by two numbers.
fn plain(kind: u32, first: i32, second: u32) -> [u32; 4] {
    [kind, 8, first as u32, second]
}

fn ends(least: i32, most: i32, mutes: bool) -> [u32; 4] {
    let kind = if mutes { alsa_sys::SND_CTL_TLVT_DB_MINMAX_MUTE } else { alsa_sys::SND_CTL_TLVT_DB_MINMAX };
    plain(kind, least, most as u32)
}

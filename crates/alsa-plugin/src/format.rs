//! Sample formats of a PCM.

use std::ffi::c_uint;

/// How a sample is written; all of them little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 16 bits.
    S16,
    /// 24 bits in the lower part of 32.
    S24,
    /// 24 bits in three bytes.
    S24Packed,
    /// 32 bits.
    S32,
    /// 32-bit floating point, full scale 1.
    F32,
}

impl Format {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::S16, Self::S24, Self::S24Packed, Self::S32, Self::F32];

    /// Bytes that a sample takes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::S16 => 2,
            Self::S24Packed => 3,
            Self::S24 | Self::S32 | Self::F32 => 4,
        }
    }

    /// `snd_pcm_format_t`.
    pub(crate) const fn to_alsa(self) -> c_uint {
        (match self {
            Self::S16 => alsa_sys::SND_PCM_FORMAT_S16_LE,
            Self::S24 => alsa_sys::SND_PCM_FORMAT_S24_LE,
            Self::S24Packed => alsa_sys::SND_PCM_FORMAT_S24_3LE,
            Self::S32 => alsa_sys::SND_PCM_FORMAT_S32_LE,
            Self::F32 => alsa_sys::SND_PCM_FORMAT_FLOAT_LE,
        }) as c_uint
    }

    /// From `snd_pcm_format_t`.
    pub(crate) fn of_alsa(format: c_uint) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_alsa() == format)
    }
}

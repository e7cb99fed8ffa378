//! Sample formats of the hardware and the conversion into them: rounded to nearest, clipped, and dithered where it can be heard.
//!
//! What the playout yields is resampled and so lies between the steps of any integer format. For 16 bits the rounding error
//! of quiet passages is audible as distortion, hence triangular dither of two steps peak to peak, which makes it plain noise at
//! -93 dBFS (Lipshitz, Wannamaker and Vanderkooy 1992). Frames that are all zeros stay zeros, so that silence is silence
//! and amplifiers can mute on it. At 24 bits and more the error lies below the noise of any converter: no dither.

use std::fmt;

/// A format the hardware may take; native byte order unless named otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleFormat {
    F32,
    S32,
    /// 24 bits in the low bytes of four.
    S24,
    /// 24 bits in three bytes, little-endian.
    S24Packed,
    S16,
}

impl SampleFormat {
    /// All of them, best first.
    pub const ALL: [Self; 5] = [Self::F32, Self::S32, Self::S24, Self::S24Packed, Self::S16];

    /// What one sample takes in the device's buffer.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::S32 | Self::S24 => 4,
            Self::S24Packed => 3,
            Self::S16 => 2,
        }
    }

    /// ALSA's name for it.
    pub fn to_alsa(self) -> alsa::pcm::Format {
        match self {
            Self::F32 => alsa::pcm::Format::float(),
            Self::S32 => alsa::pcm::Format::s32(),
            Self::S24 => alsa::pcm::Format::s24(),
            Self::S24Packed => alsa::pcm::Format::S243LE,
            Self::S16 => alsa::pcm::Format::s16(),
        }
    }
}

impl fmt::Display for SampleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::S32 => "s32",
            Self::S24 => "s24",
            Self::S24Packed => "s24 in 3 bytes",
            Self::S16 => "s16",
        })
    }
}

/// Full scale of the integer formats.
const SCALE_16: f32 = 32_768.0;
const SCALE_24: f32 = 8_388_608.0;
const SCALE_32: f64 = 2_147_483_648.0;

/// Turns samples of -1.0 to 1.0 into the bytes of a device; real-time safe.
pub(super) struct Converter {
    format: SampleFormat,
    channels: usize,
    noise: Noise,
}

impl Converter {
    pub fn new(format: SampleFormat, channels: u16) -> Self {
        Self { format, channels: usize::from(channels), noise: Noise(0x9E37_79B9) }
    }

    /// Converts whole frames; `bytes` has room for exactly `samples`.
    pub fn convert(&mut self, samples: &[f32], bytes: &mut [u8]) {
        match self.format {
            SampleFormat::F32 => each(samples, bytes, |x| finite(x).clamp(-1.0, 1.0).to_ne_bytes()),
            // In f64, because the largest f32 below full scale is 128 steps away from it.
            SampleFormat::S32 => {
                each(samples, bytes, |x| ((f64::from(x) * SCALE_32).round_ties_even() as i32).to_ne_bytes())
            }
            SampleFormat::S24 => each(samples, bytes, |x| round_24(x).to_ne_bytes()),
            SampleFormat::S24Packed => each(samples, bytes, |x| {
                let [low, middle, high, _] = round_24(x).to_le_bytes();
                [low, middle, high]
            }),
            SampleFormat::S16 => {
                for (frame, bytes) in samples.chunks(self.channels).zip(bytes.chunks_mut(2 * self.channels)) {
                    if frame.iter().all(|x| *x == 0.0) {
                        bytes.fill(0);
                    } else {
                        // `as` saturates, and makes zero of NaN.
                        each(frame, bytes, |x| {
                            ((x * SCALE_16 + self.noise.next()).round_ties_even() as i16).to_ne_bytes()
                        });
                    }
                }
            }
        }
    }
}

fn finite(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x }
}

fn round_24(x: f32) -> i32 {
    // `as` makes zero of NaN.
    (x * SCALE_24).round_ties_even().clamp(-SCALE_24, SCALE_24 - 1.0) as i32
}

fn each<const N: usize>(samples: &[f32], bytes: &mut [u8], mut convert: impl FnMut(f32) -> [u8; N]) {
    for (sample, bytes) in samples.iter().zip(bytes.chunks_exact_mut(N)) {
        bytes.copy_from_slice(&convert(*sample));
    }
}

/// Triangular noise of -1 to 1 steps, from Marsaglia's xorshift (2003).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.uniform() + self.uniform()
    }

    /// -0.5 to 0.5.
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 as i32 as f64 / (2.0 * SCALE_32)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(format: SampleFormat, samples: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0xAA; samples.len() * format.bytes()];
        Converter::new(format, 1).convert(samples, &mut bytes);
        bytes
    }

    fn as_i32(bytes: &[u8]) -> Vec<i32> {
        bytes.chunks(4).map(|b| i32::from_ne_bytes(b.try_into().unwrap())).collect()
    }

    #[test]
    fn integer_formats_round_to_nearest_and_clip() {
        let step = 1.0 / SCALE_24;
        let samples = [0.0, step, -step, 1.4 * step, 1.6 * step, 1.0, -1.0, 7.0, -7.0, f32::NAN, f32::INFINITY];
        let expected = [0, 1, -1, 1, 2, 0x7F_FFFF, -0x80_0000, 0x7F_FFFF, -0x80_0000, 0, 0x7F_FFFF];
        assert_eq!(as_i32(&convert(SampleFormat::S24, &samples)), expected);
        let packed = convert(SampleFormat::S24Packed, &samples);
        let unpacked: Vec<i32> = packed.chunks(3).map(|b| i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8).collect();
        assert_eq!(unpacked, expected);
        assert_eq!(
            as_i32(&convert(SampleFormat::S32, &[0.5, -0.5, 1.0, -1.0, 2.0, f32::NAN])),
            [1 << 30, -(1 << 30), i32::MAX, i32::MIN, i32::MAX, 0]
        );
    }

    #[test]
    fn float_keeps_every_bit_but_never_exceeds_full_scale() {
        let samples = [0.1, -0.3, 1.5, -1.5, f32::NAN];
        let floats: Vec<f32> =
            convert(SampleFormat::F32, &samples).chunks(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect();
        assert_eq!(floats, [0.1, -0.3, 1.0, -1.0, 0.0]);
    }

    #[test]
    fn sixteen_bits_are_dithered_without_bias_and_with_the_power_of_triangular_dither() {
        let count = 200_000;
        for level in [0.25_f64, 100.5, -0.5, -7000.75] {
            let bytes = convert(SampleFormat::S16, &vec![(level / f64::from(SCALE_16)) as f32; count]);
            let steps: Vec<f64> = bytes.chunks(2).map(|b| f64::from(i16::from_ne_bytes([b[0], b[1]]))).collect();
            let mean = steps.iter().sum::<f64>() / count as f64;
            let power = steps.iter().map(|s| (s - level).powi(2)).sum::<f64>() / count as f64;
            assert!((mean - level).abs() < 0.01, "mean {mean} at {level}");
            // 1/12 of the rounding and 2/12 of the dither, at every level: the noise does not follow the signal.
            assert!((power - 0.25).abs() < 0.01, "power {power} at {level}");
        }
    }

    #[test]
    fn silence_stays_silence_and_full_scale_clips() {
        assert_eq!(convert(SampleFormat::S16, &[0.0; 64]), [0; 128]);
        for (level, limit) in [(1.5, i16::MAX), (-1.5, i16::MIN)] {
            let bytes = convert(SampleFormat::S16, &[level; 100]);
            assert!(bytes.chunks(2).all(|b| i16::from_ne_bytes([b[0], b[1]]) == limit));
        }
    }
}

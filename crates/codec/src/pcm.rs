//! Linear PCM, little-endian: integers of 16 and 24 bits, and 32-bit floats.
//!
//! Integers map to floats by a power of two (full scale 2^15 or 2^23 is 1.0), so that an integer survives the way to float and back
//! unchanged, and +1.0 clamps to the largest one. No dither is added: what comes as 16 bits must leave as the same 16 bits.

use audera_wire::Coding;

const S16_SCALE: f32 = 32_768.0;
const S24_SCALE: f32 = 8_388_608.0;

/// Appends the payload for `samples`. Opus is not for this module; it gives nothing.
pub(crate) fn encode(coding: Coding, samples: &[f32], out: &mut Vec<u8>) {
    match coding {
        Coding::PcmS16le => write(samples, out, |sample| (quantised(sample, S16_SCALE) as i16).to_le_bytes()),
        Coding::PcmS24le => write(samples, out, |sample| {
            let [low, middle, high, _sign] = (quantised(sample, S24_SCALE) as i32).to_le_bytes();
            [low, middle, high]
        }),
        Coding::PcmF32le => write(samples, out, |sample| finite(sample).to_le_bytes()),
        Coding::Opus => {}
    }
}

/// Appends the samples of `payload`, which holds whole samples only. Opus is not for this module; it gives nothing.
pub(crate) fn decode(coding: Coding, payload: &[u8], out: &mut Vec<f32>) {
    match coding {
        Coding::PcmS16le => read(payload, out, |bytes| f32::from(i16::from_le_bytes(bytes)) / S16_SCALE),
        Coding::PcmS24le => read(payload, out, |[low, middle, high]| {
            // Shifted down from the top, so that the sign bit of the 24 bits becomes that of the 32.
            (i32::from_le_bytes([0, low, middle, high]) >> 8) as f32 / S24_SCALE
        }),
        // A peer may send any bits; what is not a number must not reach a filter.
        Coding::PcmF32le => read(payload, out, |bytes| finite(f32::from_le_bytes(bytes))),
        Coding::Opus => {}
    }
}

/// The nearest integer step within full scale. NaN stays NaN, which the cast to an integer makes 0.
fn quantised(sample: f32, scale: f32) -> f32 {
    (sample * scale).round_ties_even().clamp(-scale, scale - 1.0)
}

/// The sample itself; 0 for NaN, full scale for infinity.
pub(crate) fn finite(sample: f32) -> f32 {
    if sample.is_finite() {
        sample
    } else if sample.is_nan() {
        0.0
    } else {
        sample.signum()
    }
}

fn write<const N: usize>(samples: &[f32], out: &mut Vec<u8>, bytes_of: impl Fn(f32) -> [u8; N]) {
    let start = out.len();
    out.resize(start + samples.len() * N, 0);
    for (bytes, &sample) in out[start..].chunks_exact_mut(N).zip(samples) {
        bytes.copy_from_slice(&bytes_of(sample));
    }
}

fn read<const N: usize>(payload: &[u8], out: &mut Vec<f32>, sample_of: impl Fn([u8; N]) -> f32) {
    out.extend(payload.chunks_exact(N).map(|bytes| {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        sample_of(array)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(coding: Coding, samples: &[f32]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(coding, samples, &mut out);
        out
    }

    fn decoded(coding: Coding, payload: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        decode(coding, payload, &mut out);
        out
    }

    #[test]
    fn every_16_bit_value_survives() {
        let bytes: Vec<u8> = (i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes).collect();
        let samples = decoded(Coding::PcmS16le, &bytes);
        assert_eq!(samples.first(), Some(&-1.0));
        assert_eq!(samples[32_768], 0.0);
        assert_eq!(samples.last(), Some(&(32_767.0 / 32_768.0)));
        assert_eq!(encoded(Coding::PcmS16le, &samples), bytes);
    }

    #[test]
    fn every_24_bit_value_survives() {
        for high in 0..=u8::MAX {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(|low| [low as u8, (low >> 8) as u8, high]).collect();
            let samples = decoded(Coding::PcmS24le, &bytes);
            assert_eq!(encoded(Coding::PcmS24le, &samples), bytes, "high byte {high}");
        }
        assert_eq!(
            decoded(Coding::PcmS24le, &[0, 0, 0x80, 0xff, 0xff, 0xff, 1, 0, 0]),
            [-1.0, -1.0 / 8_388_608.0, 1.0 / 8_388_608.0]
        );
    }

    #[test]
    fn every_kind_of_float_survives() {
        let edges = [0.0, -0.0, 1.0, -1.0, 1.5, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::MIN, f32::EPSILON];
        let bytes = encoded(Coding::PcmF32le, &edges);
        let back = decoded(Coding::PcmF32le, &bytes);
        assert_eq!(back.map_bits(), edges.map(f32::to_bits).to_vec());
    }

    trait MapBits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl MapBits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|sample| sample.to_bits()).collect()
        }
    }

    #[test]
    fn integers_round_to_nearest_and_clamp() {
        let step = 1.0 / 32_768.0;
        let cases = [
            (0.49 * step, 0),
            (0.51 * step, 1),
            (-0.49 * step, 0),
            (-0.51 * step, -1),
            (1.0, 32_767),
            (1.0 - step, 32_767),
            (2.0, 32_767),
            (-1.0, -32_768),
            (-1.0 - step, -32_768),
            (f32::INFINITY, 32_767),
            (f32::NEG_INFINITY, -32_768),
            (f32::MAX, 32_767),
            (f32::NAN, 0),
            (-0.0, 0),
            (1e-45, 0),
        ];
        for (sample, expected) in cases {
            let bytes = encoded(Coding::PcmS16le, &[sample]);
            assert_eq!(i16::from_le_bytes([bytes[0], bytes[1]]), expected, "{sample}");
        }
        let step = 1.0 / 8_388_608.0;
        let cases: [(f32, [u8; 3]); 8] = [
            (0.51 * step, [1, 0, 0]),
            (-0.51 * step, [0xff, 0xff, 0xff]),
            (1.0, [0xff, 0xff, 0x7f]),
            (-1.0, [0, 0, 0x80]),
            (-1.5, [0, 0, 0x80]),
            (f32::INFINITY, [0xff, 0xff, 0x7f]),
            (f32::NEG_INFINITY, [0, 0, 0x80]),
            (f32::NAN, [0, 0, 0]),
        ];
        for (sample, expected) in cases {
            assert_eq!(encoded(Coding::PcmS24le, &[sample]), expected, "{sample}");
        }
    }

    #[test]
    fn what_is_not_finite_passes_neither_way() {
        let wild = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let tame = [0.0, 0.0, 1.0, -1.0];
        let raw: Vec<u8> = wild.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(decoded(Coding::PcmF32le, &raw), tame);
        assert_eq!(decoded(Coding::PcmF32le, &encoded(Coding::PcmF32le, &wild)), tame);
    }
}

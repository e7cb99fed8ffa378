//! From the bytes that an application writes to numbers.

use audera_alsa_plugin::Format;

/// Reads as many samples as there is room for; a format that the card does not offer leaves silence.
pub(crate) fn read(format: Format, bytes: &[u8], samples: &mut [f32]) {
    match format {
        Format::S16 => {
            for (sample, bytes) in samples.iter_mut().zip(bytes.chunks_exact(2)) {
                *sample = f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0;
            }
        }
        Format::S32 => {
            for (sample, bytes) in samples.iter_mut().zip(bytes.chunks_exact(4)) {
                let value = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                *sample = (f64::from(value) / 2_147_483_648.0) as f32;
            }
        }
        Format::S24 | Format::S24Packed | Format::F32 => samples.fill(0.0),
    }
}

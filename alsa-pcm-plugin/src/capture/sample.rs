//! From numbers to the bytes that an application reads.

use audera_alsa_plugin::Format;

use crate::channels::Channels;

/// Writes samples of whole frames, full scale 1, into as many bytes as they take, the channels in the application's order. What fits in
/// the format stays as it is; all else is rounded to the nearest step, and to full scale.
pub(super) fn write(format: Format, samples: &mut [f32], channels: Channels<'_>, bytes: &mut [u8]) {
    if !channels.order.is_empty() {
        samples.chunks_exact_mut(channels.count.max(1)).for_each(|frame| reorder(frame, channels.order));
    }
    match format {
        Format::S16 => each(samples, bytes, |sample| (step(sample, 15) as i16).to_le_bytes()),
        Format::S24 => each(samples, bytes, |sample| (step(sample, 23) as i32).to_le_bytes()),
        Format::S24Packed => each(samples, bytes, |sample| {
            let [low, middle, high, _sign] = (step(sample, 23) as i32).to_le_bytes();
            [low, middle, high]
        }),
        Format::S32 => each(samples, bytes, |sample| (step(sample, 31) as i32).to_le_bytes()),
        Format::F32 => each(samples, bytes, f32::to_le_bytes),
    }
}

/// Puts each channel of the stream where the application has it. More than eight there are not.
fn reorder(frame: &mut [f32], order: &[usize]) {
    let mut stream = [0.0; 8];
    let channels = frame.len().min(stream.len());
    stream[..channels].copy_from_slice(&frame[..channels]);
    for (&place, sample) in order.iter().zip(stream) {
        if let Some(there) = frame.get_mut(place) {
            *there = sample;
        }
    }
}

/// The nearest of the steps of which there are 2 to the power of `bits` up to full scale.
fn step(sample: f32, bits: i32) -> f64 {
    let scale = f64::from(bits).exp2();
    (f64::from(sample) * scale).round_ties_even().clamp(-scale, scale - 1.0)
}

fn each<const N: usize>(samples: &[f32], bytes: &mut [u8], bytes_of: impl Fn(f32) -> [u8; N]) {
    for (place, &sample) in bytes.chunks_exact_mut(N).zip(samples) {
        place.copy_from_slice(&bytes_of(sample));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, samples: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0xaa; samples.len() * format.bytes()];
        write(format, &mut samples.to_vec(), Channels { count: 1, order: &[] }, &mut bytes);
        bytes
    }

    #[test]
    fn channels_are_where_the_application_has_them() {
        // Of the stream's, left, right, centre and the rear ones, the application has the centre last.
        let map = crate::channels::Map::usual(5);
        let mut bytes = [0; 2 * 2 * 5];
        let mut samples = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0].map(|n: f32| n / 32_768.0);
        write(Format::S16, &mut samples, map.order(), &mut bytes);
        let read: Vec<u8> = bytes.chunks(2).map(|bytes| bytes[0]).collect();
        assert_eq!(read, [1, 2, 4, 5, 3, 6, 7, 9, 10, 8]);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        for value in (i16::MIN..=i16::MAX).step_by(7) {
            let sample = f32::from(value) / 32_768.0;
            assert_eq!(written(Format::S16, &[sample]), value.to_le_bytes());
            assert_eq!(written(Format::S32, &[sample]), (i32::from(value) << 16).to_le_bytes());
        }
        for value in (-8_388_608..8_388_608).step_by(997) {
            let sample = value as f32 / 8_388_608.0;
            assert_eq!(written(Format::S24, &[sample]), i32::to_le_bytes(value));
            assert_eq!(written(Format::S24Packed, &[sample]), i32::to_le_bytes(value)[..3]);
            assert_eq!(written(Format::S32, &[sample]), (value << 8).to_le_bytes());
        }
        assert_eq!(written(Format::F32, &[0.1, -1.5]), [0.1f32.to_le_bytes(), (-1.5f32).to_le_bytes()].concat());
    }

    #[test]
    fn what_does_not_is_rounded_and_limited() {
        let step = 1.0 / 32_768.0;
        let cases = [(0.51 * step, 1i16), (-0.51 * step, -1), (0.49 * step, 0), (1.0, 32_767), (-7.0, -32_768)];
        for (sample, expected) in cases {
            assert_eq!(written(Format::S16, &[sample]), expected.to_le_bytes(), "{sample}");
        }
        assert_eq!(written(Format::S32, &[1.0]), i32::MAX.to_le_bytes());
        assert_eq!(written(Format::S24, &[f32::NAN]), [0; 4]);
    }
}

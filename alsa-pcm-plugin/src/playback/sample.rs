//! From the bytes that an application writes to the samples of a stream.

use audera_alsa_plugin::Format;

use crate::channels::Channels;

/// Gives the samples of whole frames to `take`, with the channels in the stream's order.
pub(super) fn read(format: Format, bytes: &[u8], channels: Channels<'_>, take: impl FnOnce(Samples<'_>)) {
    let samples = bytes.len() / format.bytes() / channels.count.max(1) * channels.count;
    take(Samples { format, bytes, channels, at: 0, end: samples, column: 0 });
}

/// The samples of some frames.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    format: Format,
    bytes: &'a [u8],
    channels: Channels<'a>,
    at: usize,
    end: usize,
    /// The channel of the sample at `at`.
    column: usize,
}

impl Iterator for Samples<'_> {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        if self.at == self.end {
            return None;
        }
        let Channels { count, order } = self.channels;
        let place = order.get(self.column).map_or(self.at, |channel| self.at - self.column + channel);
        self.at += 1;
        self.column += 1;
        if self.column == count {
            self.column = 0;
        }
        let width = self.format.bytes();
        let bytes = self.bytes.get(place * width..(place + 1) * width)?;
        Some(match (self.format, bytes) {
            (Format::S16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            // What is above the 24 bits does not count.
            (Format::S24, &[a, b, c, _]) | (Format::S24Packed, &[a, b, c]) => scaled(i32::from_le_bytes([0, a, b, c])),
            (Format::S32, &[a, b, c, d]) => scaled(i32::from_le_bytes([a, b, c, d])),
            (Format::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => 0.0,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.at, Some(self.end - self.at))
    }
}

impl ExactSizeIterator for Samples<'_> {}

/// Exact where the lowest eight bits are nought.
fn scaled(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(format: Format, bytes: &[u8], count: usize, order: &[usize]) -> Vec<f32> {
        let mut all = Vec::new();
        read(format, bytes, Channels { count, order }, |samples| {
            assert_eq!(samples.len(), samples.size_hint().0);
            all.extend(samples);
        });
        all
    }

    #[test]
    fn full_scale_is_one_in_every_format() {
        assert_eq!(all(Format::S16, &[0, 0x80, 0xff, 0x7f], 1, &[]), [-1.0, 32_767.0 / 32_768.0]);
        let most = 8_388_607.0 / 8_388_608.0;
        assert_eq!(all(Format::S24, &[0, 0, 0x80, 0xff, 0xff, 0xff, 0x7f, 0], 1, &[]), [-1.0, most]);
        assert_eq!(all(Format::S24, &[0, 0, 0x80, 0, 1, 0, 0, 9], 1, &[]), [-1.0, 1.0 / 8_388_608.0]);
        assert_eq!(all(Format::S24Packed, &[0, 0, 0x80, 0xff, 0xff, 0x7f], 1, &[]), [-1.0, most]);
        assert_eq!(all(Format::S32, &[0, 0, 0, 0x80, 0, 0, 0, 0x40], 1, &[]), [-1.0, 0.5]);
        assert_eq!(all(Format::F32, &0.25f32.to_le_bytes(), 1, &[]), [0.25]);
    }

    #[test]
    fn channels_come_in_the_streams_order_and_half_a_frame_is_none() {
        let bytes: Vec<u8> = (1..=7).flat_map(|n: i16| (n * 256).to_le_bytes()).collect();
        let expected = [3, 1, 2, 6, 4, 5].map(|n| n as f32 / 128.0);
        assert_eq!(all(Format::S16, &bytes, 3, &[2, 0, 1]), expected);
    }
}

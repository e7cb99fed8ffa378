//! What a playout is made for, and the making of its two halves.

use std::sync::Arc;

use audera_clock::Span;
use rtrb::RingBuffer;

use crate::feeder::Feeder;
use crate::puller::Puller;
use crate::resampler::Resampler;
use crate::shared::Shared;
use crate::source::Source;

/// What a playout is made for; fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frames per second, of the stream and of the device alike: 8000 to 768000.
    pub rate: u32,
    /// Samples in a frame: 1 to 32.
    pub channels: u16,
    /// How much sound can wait in the buffer: up to a minute, and more than the longest pull.
    pub capacity: Span,
    /// Most frames that one call of [`Puller::pull`] is expected to ask for: 1 to 65536. More is served all the
    /// same, as far as the buffer reaches.
    pub max_pull: usize,
}

/// Why a playout cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The rate is out of range.
    #[error("a rate of {0} Hz cannot be played: give 8000 to 768000")]
    Rate(u32),
    /// The number of channels is out of range.
    #[error("{0} channels cannot be played: give 1 to 32")]
    Channels(u16),
    /// The longest pull is out of range.
    #[error("a pull of {0} frames cannot be served: give 1 to 65536")]
    MaxPull(usize),
    /// The buffer is too short to serve the longest pull, or too long.
    #[error(
        "a buffer of {given} does not suit: give at least {least}, which serves the longest pull, and at most 60 s"
    )]
    Capacity {
        /// The capacity asked for.
        given: Span,
        /// The smallest that would do.
        least: Span,
    },
}

/// A packet shorter than a millisecond on average fills the ring of headers before that of samples.
const SHORTEST_PACKETS_PER_SECOND: f64 = 1_000.0;

/// Makes the two halves of a playout. Everything either half will ever need is allocated here.
///
/// # Errors
/// When the configuration is out of range; the error says what would be accepted.
pub fn playout(config: Config) -> Result<(Feeder, Puller), ConfigError> {
    let Config { rate, channels, capacity, max_pull } = config;
    if !(8_000..=768_000).contains(&rate) {
        return Err(ConfigError::Rate(rate));
    }
    if !(1..=32).contains(&channels) {
        return Err(ConfigError::Channels(channels));
    }
    if !(1..=65_536).contains(&max_pull) {
        return Err(ConfigError::MaxPull(max_pull));
    }
    let least = Span::from_frames(max_pull as i64, rate) + Span::from_millis(20);
    if capacity < least || capacity > Span::from_secs(60) {
        return Err(ConfigError::Capacity { given: capacity, least });
    }
    let width = usize::from(channels);
    let frames = capacity.as_frames(rate).ceil() as usize;
    let packets = (capacity.as_secs_f64() * SHORTEST_PACKETS_PER_SECOND).ceil() as usize + 16;

    let (samples_in, samples_out) = RingBuffer::new(frames * width);
    let (packets_in, packets_out) = RingBuffer::new(packets);
    let shared = Arc::new(Shared::new());
    let source = Source::new(samples_out, packets_out, width, rate);
    let resampler = Resampler::new(width);
    let feeder = Feeder::new(samples_in, packets_in, Arc::clone(&shared), config);
    Ok((feeder, Puller::new(source, resampler, shared, width, rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Config = Config { rate: 48_000, channels: 2, capacity: Span::from_secs(2), max_pull: 1024 };

    #[test]
    fn a_refused_configuration_says_what_is_accepted() {
        let refused = |config| playout(config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(Config { rate: 7_999, ..GOOD }).contains("8000 to 768000"));
        assert!(refused(Config { channels: 0, ..GOOD }).contains("1 to 32"));
        assert!(refused(Config { max_pull: 0, ..GOOD }).contains("1 to 65536"));
        assert!(refused(Config { capacity: Span::from_millis(30), ..GOOD }).contains("at least 41.333 ms"));
        assert!(playout(GOOD).is_ok());
    }
}

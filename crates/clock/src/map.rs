//! The affine map between the two hosts' clocks, and the exchange of timestamps it is estimated from.

use crate::{PlayerTime, SenderTime, Span};

/// One request for the time and its reply, stamped on both hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the player sent the request.
    pub sent: PlayerTime,
    /// When the sender received it.
    pub received: SenderTime,
    /// When the sender sent the reply.
    pub replied: SenderTime,
    /// When the player received the reply.
    pub returned: PlayerTime,
}

impl Exchange {
    /// The time both messages spent on their way, without the time the sender took to answer.
    #[must_use]
    pub fn round_trip(&self) -> Span {
        (self.returned - self.sent) - (self.replied - self.received)
    }

    /// How far the sender's clock reads ahead of the player's, if both messages took equally long.
    ///
    /// The truth lies within half of [`round_trip`](Self::round_trip) of it.
    #[must_use]
    pub fn offset(&self) -> Span {
        (self.outward() - self.homeward()) / 2
    }

    /// Delay of the request as it looks across the two clocks: true delay plus the offset of the clocks.
    pub(crate) fn outward(&self) -> Span {
        Span::from_nanos(self.received.as_nanos().saturating_sub(self.sent.as_nanos()))
    }

    /// Delay of the reply as it looks across the two clocks: true delay minus the offset of the clocks.
    pub(crate) fn homeward(&self) -> Span {
        Span::from_nanos(self.returned.as_nanos().saturating_sub(self.replied.as_nanos()))
    }
}

/// An affine map between the sender's clock and the player's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockMap {
    sender_ref: SenderTime,
    player_ref: PlayerTime,
    skew: f64,
}

impl ClockMap {
    /// The largest skew a map can hold, either way: 1 %, far beyond any oscillator.
    pub const MAX_SKEW: f64 = 0.01;

    /// The map by which the clocks read `sender_ref` and `player_ref` at one instant, and the sender's clock gains
    /// `skew` seconds in every second of the player's clock (50e-6 for a sender that runs 50 ppm fast).
    ///
    /// The skew is clamped to [`MAX_SKEW`](Self::MAX_SKEW); NaN counts as none.
    #[must_use]
    pub fn new(sender_ref: SenderTime, player_ref: PlayerTime, skew: f64) -> Self {
        let skew = if skew.is_nan() { 0.0 } else { skew.clamp(-Self::MAX_SKEW, Self::MAX_SKEW) };
        Self { sender_ref, player_ref, skew }
    }

    /// The map of two ends that share one clock.
    #[must_use]
    pub fn identity() -> Self {
        Self::new(SenderTime::from_nanos(0), PlayerTime::from_nanos(0), 0.0)
    }

    /// What the player's clock reads when the sender's reads `time`.
    #[must_use]
    pub fn to_player(&self, time: SenderTime) -> PlayerTime {
        let elapsed = time - self.sender_ref;
        let gained = elapsed.as_nanos() as f64 * (self.skew / (1.0 + self.skew));
        self.player_ref + (elapsed - Span::from_nanos(gained.round() as i64))
    }

    /// What the sender's clock reads when the player's reads `time`.
    #[must_use]
    pub fn to_sender(&self, time: PlayerTime) -> SenderTime {
        let elapsed = time - self.player_ref;
        let gained = elapsed.as_nanos() as f64 * self.skew;
        self.sender_ref + (elapsed + Span::from_nanos(gained.round() as i64))
    }

    /// Seconds the sender's clock gains in every second of the player's.
    #[must_use]
    pub fn skew(&self) -> f64 {
        self.skew
    }

    /// The sender's reading at the map's reference instant.
    #[must_use]
    pub fn sender_ref(&self) -> SenderTime {
        self.sender_ref
    }

    /// The player's reading at the map's reference instant.
    #[must_use]
    pub fn player_ref(&self) -> PlayerTime {
        self.player_ref
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_exact_when_the_ways_are_equal() {
        let exchange = Exchange {
            sent: PlayerTime::from_nanos(1_000),
            received: SenderTime::from_nanos(51_300),
            replied: SenderTime::from_nanos(51_500),
            returned: PlayerTime::from_nanos(1_800),
        };
        assert_eq!(exchange.round_trip(), Span::from_nanos(600));
        assert_eq!(exchange.offset(), Span::from_nanos(50_000));
    }

    #[test]
    fn the_two_ways_through_a_map_are_inverse() {
        let map = ClockMap::new(SenderTime::from_nanos(77_000_000_000), PlayerTime::from_nanos(-5), 87e-6);
        for seconds in [-3_000_000, -1, 0, 1, 10, 86_400, 31_000_000] {
            let time = PlayerTime::from_nanos(seconds * 1_000_000_000 + 123);
            let back = map.to_player(map.to_sender(time));
            assert!((back - time).abs() <= Span::from_nanos(8), "{time:?} came back as {back:?}");
        }
        let minute = map.to_sender(PlayerTime::from_nanos(60_000_000_000 - 5)) - map.sender_ref();
        assert_eq!(minute, Span::from_nanos(60_000_000_000 + 5_220_000));
    }

    #[test]
    fn nonsense_skew_is_tamed() {
        let at = SenderTime::from_nanos(0);
        assert_eq!(ClockMap::new(at, PlayerTime::from_nanos(0), f64::NAN).skew(), 0.0);
        assert_eq!(ClockMap::new(at, PlayerTime::from_nanos(0), -7.0).skew(), -ClockMap::MAX_SKEW);
    }
}

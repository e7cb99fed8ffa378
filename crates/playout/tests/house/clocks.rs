//! The clocks of the hosts and of the cards, and the true maps between them.

use audera_clock::{ClockMap, PlayerTime, SenderTime};

use super::pilot::RATE;

/// The clocks of the two hosts and of the card. True time is in seconds.
#[derive(Clone, Copy)]
pub struct Clocks {
    pub sender_ppm: f64,
    pub player_ppm: f64,
    pub card_ppm: f64,
    /// The sender's graph clock, by which it takes its frames.
    pub graph_ppm: f64,
}

impl Clocks {
    pub const PERFECT: Self = Self { sender_ppm: 0.0, player_ppm: 0.0, card_ppm: 0.0, graph_ppm: 0.0 };

    pub fn sender(&self, at: f64) -> SenderTime {
        SenderTime::from_nanos((at * (1.0 + self.sender_ppm * 1e-6) * 1e9).round() as i64 + 5_000_000_000_000)
    }

    pub fn player(&self, at: f64) -> PlayerTime {
        PlayerTime::from_nanos((at * (1.0 + self.player_ppm * 1e-6) * 1e9).round() as i64 - 3_000_000_000)
    }

    /// The true map between the hosts, with its reference at `at`.
    pub fn map(&self, at: f64) -> ClockMap {
        let skew = (1.0 + self.sender_ppm * 1e-6) / (1.0 + self.player_ppm * 1e-6) - 1.0;
        ClockMap::new(self.sender(at), self.player(at), skew)
    }

    /// Frames per true second of the card.
    pub fn card_rate(&self) -> f64 {
        f64::from(RATE) * (1.0 + self.card_ppm * 1e-6)
    }

    /// Frames per true second of the stream.
    pub fn stream_rate(&self) -> f64 {
        f64::from(RATE) * (1.0 + self.graph_ppm * 1e-6)
    }
}

//! The sender of a house: its clocks, and the stamps its frame clock gives to the packets.

use audera_clock::{FrameClock, Sender as SenderClock, SenderTime, Span};

use super::clocks::Clocks;
use super::pilot::Noise;

/// Length of a packet in true seconds, by a perfect clock.
pub const PACKET: f64 = 0.01;

pub struct Sender {
    pub host_ppm: f64,
    /// The graph's clock against true time.
    pub graph_ppm: f64,
    pub latency: f64,
    stamps: Vec<SenderTime>,
}

impl Sender {
    /// A sender that streams for `seconds`.
    pub fn new(host_ppm: f64, graph_ppm: f64, latency: f64, jitter: f64, seconds: f64, seed: u64) -> Self {
        let mut sender = Self { host_ppm, graph_ppm, latency, stamps: Vec::new() };
        let mut clock = FrameClock::<SenderClock>::new(48_000);
        let mut noise = Noise::new(seed);
        let delay = Span::from_secs_f64(latency);
        for n in 0..(seconds / PACKET) as u64 + 2 {
            let seen = sender.handed(n as usize) + noise.between(-jitter, jitter);
            let position = n * 480;
            // A jump shows in the stamps; nothing else is to be done about it here.
            let _ = clock.observe(position, sender.clock(seen));
            let stamp = clock.time_of(position).expect("it was observed");
            sender.stamps.push(stamp + delay);
        }
        sender
    }

    /// The host's clock at true time `at`.
    pub fn clock(&self, at: f64) -> SenderTime {
        Clocks { sender_ppm: self.host_ppm, ..Clocks::PERFECT }.sender(at)
    }

    /// True time at which the graph hands packet `n` over.
    pub fn handed(&self, n: usize) -> f64 {
        n as f64 * PACKET / (1.0 + self.graph_ppm * 1e-6)
    }

    /// When packet `n` is to be heard; `None` after the last.
    pub fn stamp(&self, n: usize) -> Option<SenderTime> {
        self.stamps.get(n).copied()
    }
}

//! The network between a sender and a room: floor, jitter, bursts in which nothing gets through, loss, cuts.

use super::pilot::Noise;

/// What a network is like. Seconds and shares.
#[derive(Clone, Copy)]
pub struct Network {
    /// Delay that no message is below, either way.
    pub floor: f64,
    /// Most that comes on top, evenly distributed, from the room to the sender.
    pub up: f64,
    /// The same from the sender to the room.
    pub down: f64,
    /// Share of messages lost. Audio is sent again, time exchanges are not.
    pub loss: f64,
    /// Mean time between bursts in which the air is taken, 30 to 100 ms long; nought for none.
    pub bursts_every: f64,
}

impl Network {
    /// Network namespaces on one machine, or a switch.
    pub const WIRED: Self = Self { floor: 70e-6, up: 60e-6, down: 60e-6, loss: 0.0, bursts_every: 0.0 };
    /// The asymmetric jitter of the table.
    pub const JITTER: Self = Self { floor: 70e-6, up: 5e-3, down: 20e-3, loss: 0.0, bursts_every: 0.0 };
    /// A busy radio channel.
    pub const WIFI: Self = Self { floor: 600e-6, up: 2e-3, down: 3e-3, loss: 0.01, bursts_every: 1.0 };
}

/// A lost segment is sent again when three later ones have arrived, or a tail probe was due.
const SENT_AGAIN: f64 = 0.06;

/// The network while it runs.
pub struct Cable {
    network: Network,
    noise: Noise,
    /// Begin and end of the bursts and cuts, in order.
    closed: Vec<(f64, f64)>,
    /// When the latest audio arrived: a TLS connection keeps the order.
    latest: f64,
}

impl Cable {
    /// For `seconds`, with the network cut for the spans in `cuts`.
    pub fn new(network: Network, cuts: &[(f64, f64)], seconds: f64, seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let mut closed = cuts.to_vec();
        let mut at = 0.0;
        while network.bursts_every > 0.0 && at < seconds {
            at += noise.between(0.5, 1.5) * network.bursts_every;
            closed.push((at, at + noise.between(0.03, 0.1)));
        }
        closed.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { network, noise, closed, latest: 0.0 }
    }

    /// When the air is free again for what is sent at `at`.
    fn open_from(&self, at: f64) -> f64 {
        let mut free = at;
        let first = self.closed.partition_point(|(begin, _)| *begin < at - 20.0);
        for (begin, end) in &self.closed[first..] {
            if *begin > free {
                break;
            }
            free = free.max(*end);
        }
        free
    }

    fn arrival(&mut self, at: f64, jitter: f64) -> Option<f64> {
        let delay = self.network.floor + self.noise.between(0.0, jitter);
        let lost = self.noise.between(0.0, 1.0) < self.network.loss;
        let free = self.open_from(at);
        // A datagram does not survive a cut.
        (!lost && free - at < 0.2).then_some(free + delay)
    }

    /// When a request sent at `at` reaches the sender.
    pub fn up(&mut self, at: f64) -> Option<f64> {
        self.arrival(at, self.network.up)
    }

    /// When a reply sent at `at` reaches the room.
    pub fn down(&mut self, at: f64) -> Option<f64> {
        self.arrival(at, self.network.down)
    }

    /// When audio written at `at` reaches the room.
    pub fn audio(&mut self, at: f64) -> f64 {
        let mut free = self.open_from(at);
        while self.noise.between(0.0, 1.0) < self.network.loss {
            free = self.open_from(free + SENT_AGAIN);
        }
        self.latest = self.latest.max(free + self.network.floor + self.noise.between(0.0, self.network.down));
        self.latest
    }
}

//! A room that knows the sender's clock: what is heard at 48 kHz, frame by frame.

use audera_clock::Span;
use audera_playout::{Config, Feeder, Puller, State, playout};

use super::clocks::Clocks;
use super::pilot::{Noise, RATE, WIDTH, heard, pilot};

pub struct Room {
    pub clocks: Clocks,
    pub feeder: Feeder,
    pub puller: Puller,
    pub noise: Noise,
    /// Largest error of the device time told, in seconds, either way.
    pub jitter: f64,
    /// How far ahead of its time a packet is pushed, in seconds.
    pub ahead: f64,
    /// True time at which the next period leaves the card.
    pub now: f64,
    /// True time at which stream frame 0 is due.
    pub origin: f64,
    /// Next stream frame to be pushed.
    pub next: u64,
    pub packet: u64,
    pub out: Vec<f32>,
}

impl Room {
    pub fn new(clocks: Clocks, seed: u64) -> Self {
        let config = Config { rate: RATE, channels: WIDTH as u16, capacity: Span::from_secs(2), max_pull: 2_048 };
        let (mut feeder, puller) = playout(config).expect("a good configuration");
        feeder.set_clock(clocks.map(0.0));
        Self {
            clocks,
            feeder,
            puller,
            noise: Noise::new(seed),
            jitter: 0.0,
            ahead: 0.08,
            now: 0.0,
            origin: 0.1,
            next: 0,
            packet: 480,
            out: Vec::new(),
        }
    }

    /// True time at which stream frame `n` is due.
    pub fn due(&self, n: u64) -> f64 {
        self.origin + n as f64 / self.clocks.stream_rate()
    }

    /// The stream frame that is due at true time `at`.
    pub fn expected(&self, at: f64) -> f64 {
        (at - self.origin) * self.clocks.stream_rate()
    }

    /// True time at which frame `offset` of the last period left the card.
    pub fn left(&self, offset: usize) -> f64 {
        self.now - (self.out.len() / WIDTH - offset) as f64 / self.clocks.card_rate()
    }

    /// Pushes the next packet. One for which there is no room is lost.
    pub fn push(&mut self) {
        let samples: Vec<f32> = (0..self.packet).flat_map(|n| pilot((self.next + n) as f64)).collect();
        let stamp = self.clocks.sender(self.due(self.next));
        let _ = self.feeder.push(stamp, &samples);
        self.next += self.packet;
    }

    /// Pushes all packets that are to be there by now for a period of `frames`.
    pub fn feed(&mut self, frames: usize) {
        let horizon = self.now + frames as f64 / f64::from(RATE) + self.ahead;
        while self.due(self.next) < horizon {
            self.push();
        }
    }

    /// Pulls one period, which is then in `out`, and lets its time pass.
    pub fn pull(&mut self, frames: usize) -> usize {
        self.out.resize(frames * WIDTH, f32::NAN);
        let at = self.now + self.noise.between(-self.jitter, self.jitter);
        let pulled = self.puller.pull(self.clocks.player(at), &mut self.out);
        self.now += frames as f64 / self.clocks.card_rate();
        assert!(self.out.iter().all(|sample| sample.abs() < 1.01), "never garbage");
        pulled.sounding
    }

    /// Feeds and pulls for so many seconds; gives every period to `look`.
    pub fn run(&mut self, seconds: f64, quantum: usize, mut look: impl FnMut(&mut Self)) {
        let until = self.now + seconds;
        while self.now < until {
            self.feed(quantum);
            self.pull(quantum);
            look(self);
        }
    }

    /// Largest error of the last period in seconds, over frames of at least half loudness, and how many these are.
    pub fn error(&self) -> (f64, usize) {
        let mut worst: f64 = 0.0;
        let mut loud = 0;
        for (offset, frame) in self.out.chunks_exact(WIDTH).enumerate() {
            let (behind, loudness) = heard(frame, self.expected(self.left(offset)));
            if loudness > 0.5 {
                loud += 1;
                worst = if behind.abs() > worst.abs() { behind } else { worst };
            }
        }
        (worst / f64::from(RATE), loud)
    }

    pub fn state(&self) -> State {
        self.feeder.stats().state
    }
}

//! A room under simulated time: two hosts' clocks, a card with a crystal of its own, and a stream whose sound tells
//! which frame of it is heard.
#![allow(dead_code, reason = "every test program uses another part of it")]

use std::f64::consts::TAU;

use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
use audera_playout::{Config, Feeder, Puller, State, playout};

pub const RATE: u32 = 48_000;
pub const WIDTH: usize = 2;

/// Frames in one turn of the pilot.
const TURN: f64 = 4_800.0;

/// Reproducible pseudo-random numbers (xorshift64*, S. Vigna 2016).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let unit = (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }
}

/// The pilot signal at stream frame `n`: a slow turn of the two channels, whose angle tells `n` within `TURN`.
pub fn pilot(n: f64) -> [f32; WIDTH] {
    let angle = TAU * n / TURN;
    [(0.8 * angle.cos()) as f32, (0.8 * angle.sin()) as f32]
}

/// How far a heard frame is behind the stream frame `expected`, in frames; and how loud the pilot is in it.
pub fn heard(frame: &[f32], expected: f64) -> (f64, f64) {
    let (x, y) = (f64::from(frame[0]), f64::from(frame[1]));
    let turns = expected / TURN - y.atan2(x) / TAU;
    ((turns - turns.round()) * TURN, x.hypot(y) / 0.8)
}

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

/// The value below which `part` of the values lie.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

//! One room of a house: the clock filter fed through its network, the playout pulled by its card.

use std::collections::BTreeMap;

use audera_clock::{ClockFilter, Estimate, Exchange, PlayerTime, Span};
use audera_playout::{Config, Feeder, Puller, Stats, playout};

use super::clocks::Clocks;
use super::network::{Cable, Network};
use super::pilot::{self, Noise, TURN, WIDTH};
use super::sender::{PACKET, Sender};

/// How often clocks are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Twelve exchanges 5 ms apart, four a second for ten seconds, then one a second.
    Fixed,
    /// What the filter asks for.
    Asked,
}

/// What happens to a room at some time.
#[derive(Clone, Copy)]
pub enum Event {
    /// The device runs dry for so long, and its driver says so.
    Xrun(f64),
    /// The same, and nobody says so.
    Stall(f64),
    /// Another device takes over, off by so many ppm, after so long.
    Driver(f64, f64),
    /// The graph's cycle becomes so long. Its time is told wrongly for one cycle.
    Quantum(f64),
    /// The player is started anew, and is gone for so long.
    Restart(f64),
}

/// What a room is like.
#[derive(Clone)]
pub struct RoomSpec {
    pub host_ppm: f64,
    pub card_ppm: f64,
    /// The card swings by this to either side over ten minutes, ppm.
    pub wander_ppm: f64,
    /// Length of the device's cycle in seconds.
    pub quantum: f64,
    /// Largest error of the device time told, either way, in seconds.
    pub jitter: f64,
    /// Share of the cycles that are told 1 to 30 ms late.
    pub late: f64,
    pub network: Network,
    pub pace: Pace,
    /// The clocks are known without an error: what is left is of the card.
    pub clock_known: bool,
    /// When the room comes in.
    pub joins: f64,
    pub cuts: Vec<(f64, f64)>,
    pub events: Vec<(f64, Event)>,
}

impl RoomSpec {
    /// A room on a wired network.
    pub fn new(host_ppm: f64, card_ppm: f64) -> Self {
        Self {
            host_ppm,
            card_ppm,
            wander_ppm: 0.0,
            quantum: 0.01,
            jitter: 50e-6,
            late: 0.002,
            network: Network::WIRED,
            pace: Pace::Asked,
            clock_known: false,
            joins: 0.0,
            cuts: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// What was heard in a room.
#[derive(Default)]
pub struct Track {
    /// True time and how far the sound is behind that of the sender's graph, in seconds; NaN for silence.
    pub heard: Vec<(f64, f64)>,
    /// Played rate against nominal, in ppm, with each of these.
    pub ratio: Vec<f64>,
    /// Frames of silence between sounds, and how often there were any.
    pub gaps: u64,
    pub interruptions: u64,
    pub stats: Stats,
    pub exchanges: u64,
    /// How often the clock filter was asked, and how often the truth was beyond its bound.
    pub updates: u64,
    pub beyond: u64,
}

/// From the player's start until it plays: the device is opened.
const OPENING: f64 = 0.1;

struct Player {
    filter: ClockFilter,
    feeder: Feeder,
    puller: Puller,
    born: f64,
    next_exchange: f64,
    sent: u64,
    /// Exchanges under way, by their time of return in ns.
    returning: BTreeMap<(i64, u64), Exchange>,
    /// Index of the next packet and when it arrives.
    packet: usize,
    arrives: Option<f64>,
}

pub struct Play<'a> {
    sender: &'a Sender,
    spec: RoomSpec,
    rate: u32,
    cable: Cable,
    noise: Noise,
    pilot: Vec<[f32; WIDTH]>,
    player: Player,
    now: f64,
    sounded: bool,
    silent: u64,
    track: Track,
}

impl<'a> Play<'a> {
    /// Plays for `seconds` at `rate` frames per second.
    pub fn run(sender: &'a Sender, spec: RoomSpec, rate: u32, seconds: f64, seed: u64) -> Track {
        let pilot = (0..TURN as usize).map(|n| pilot::pilot(n as f64)).collect();
        let cable = Cable::new(spec.network, &spec.cuts, seconds, seed ^ 0x5eed);
        let born = spec.joins;
        let player = Player::new(rate, born);
        let mut play = Play {
            sender,
            spec,
            rate,
            cable,
            noise: Noise::new(seed),
            pilot,
            player,
            now: born + OPENING,
            sounded: false,
            silent: 0,
            track: Track::default(),
        };
        play.play(seconds);
        play.track.stats = play.player.feeder.stats();
        play.track
    }

    fn clocks(&self) -> Clocks {
        Clocks { sender_ppm: self.sender.host_ppm, player_ppm: self.spec.host_ppm, ..Clocks::PERFECT }
    }

    fn host(&self, at: f64) -> PlayerTime {
        self.clocks().player(at)
    }

    fn play(&mut self, seconds: f64) {
        let events = std::mem::take(&mut self.spec.events);
        let mut events = events.iter().peekable();
        let mut out = Vec::new();
        // The first packet that is sent to this room.
        self.player.packet = ((self.now - OPENING) / PACKET).ceil() as usize + 1;
        while self.now < seconds {
            let mut wrong = 0.0;
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= self.now) {
                wrong = self.happen(*event);
            }
            self.compare_clocks();
            self.take_packets();
            let frames = (self.spec.quantum * f64::from(self.rate)).round() as usize;
            out.resize(frames * WIDTH, 0.0);
            let mut error = self.noise.between(-self.spec.jitter, self.spec.jitter) + wrong;
            if self.noise.between(0.0, 1.0) < self.spec.late {
                error += self.noise.between(1e-3, 30e-3);
            }
            self.player.puller.pull(self.host(self.now + error), &mut out);
            self.listen(&out, frames);
        }
    }

    /// Returns by how much the device's time is told wrongly in the coming cycle.
    fn happen(&mut self, event: Event) -> f64 {
        match event {
            Event::Xrun(seconds) => {
                self.now += seconds;
                self.player.puller.device_reset();
            }
            Event::Stall(seconds) => self.now += seconds,
            Event::Driver(ppm, seconds) => {
                self.now += seconds;
                self.spec.card_ppm = ppm;
                self.player.puller.device_reset();
            }
            Event::Quantum(seconds) => {
                let wrong = self.spec.quantum - seconds;
                self.spec.quantum = seconds;
                return wrong;
            }
            Event::Restart(seconds) => {
                let born = self.now + seconds;
                self.player = Player::new(self.rate, born);
                self.player.packet = (born / PACKET).ceil() as usize + 1;
                self.now = born + OPENING;
            }
        }
        0.0
    }

    fn compare_clocks(&mut self) {
        while self.player.next_exchange <= self.now {
            let at = self.player.next_exchange;
            self.exchange(at);
            // Replies come in between requests: those until then are filtered in first.
            self.filter_until(at);
            let age = Span::from_secs_f64(at - self.player.born);
            let wait = match (self.spec.pace, self.player.sent) {
                (Pace::Asked, _) => self.player.filter.pace(age).as_secs_f64(),
                (Pace::Fixed, ..12) => 0.005,
                (Pace::Fixed, _) if age < Span::from_secs(10) => 0.25,
                (Pace::Fixed, _) => 1.0,
            };
            self.player.next_exchange = at + wait;
        }
        self.filter_until(self.now);
    }

    fn exchange(&mut self, at: f64) {
        self.player.sent += 1;
        let left = at + self.noise.between(2e-6, 30e-6);
        let Some(received) = self.cable.up(left) else { return };
        let replied = received + self.noise.between(20e-6, 200e-6);
        let Some(returned) = self.cable.down(replied + self.noise.between(2e-6, 30e-6)) else { return };
        let exchange = Exchange {
            sent: self.host(at),
            received: self.sender.clock(received),
            replied: self.sender.clock(replied),
            returned: self.host(returned),
        };
        self.player.returning.insert(((returned * 1e9) as i64, self.player.sent), exchange);
    }

    fn filter_until(&mut self, now: f64) {
        while let Some(next) = self.player.returning.first_entry() {
            if next.key().0 > (now * 1e9) as i64 {
                return;
            }
            let ((returned, _), exchange) = next.remove_entry();
            let _ = self.player.filter.update(exchange);
            let Some(estimate) = self.player.filter.estimate() else { continue };
            if self.spec.clock_known {
                let map = self.clocks().map(returned as f64 * 1e-9);
                let exact = Estimate { map, deviation: Span::ZERO, skew_deviation_ppm: 0.0, ..estimate };
                self.player.feeder.set_estimate(exact);
            } else {
                self.player.feeder.set_estimate(estimate);
            }
            let at = returned as f64 * 1e-9;
            let off = estimate.map.to_sender(self.host(at)) - self.sender.clock(at);
            self.track.updates += 1;
            self.track.beyond += u64::from(off.abs() > estimate.bound);
            self.track.exchanges += 1;
        }
    }

    fn take_packets(&mut self) {
        while let Some(stamp) = self.sender.stamp(self.player.packet) {
            let handed = self.sender.handed(self.player.packet);
            if handed > self.now {
                return;
            }
            let arrives = match self.player.arrives {
                Some(arrives) => arrives,
                None => self.cable.audio(handed),
            };
            if arrives > self.now {
                self.player.arrives = Some(arrives);
                return;
            }
            self.player.arrives = None;
            let frames = (PACKET * f64::from(self.rate)).round() as usize;
            let first = self.player.packet * frames;
            let samples: Vec<f32> = (first..first + frames).flat_map(|n| self.pilot[n % self.pilot.len()]).collect();
            // The sender drops what is too late, and a full buffer drops the rest.
            if arrives - handed < self.sender.latency {
                let _ = self.player.feeder.push(stamp, &samples);
            }
            self.player.packet += 1;
        }
    }

    fn listen(&mut self, out: &[f32], frames: usize) {
        let swing = self.spec.wander_ppm * (std::f64::consts::TAU * self.now / 600.0).sin();
        let pace = f64::from(self.rate) * (1.0 + (self.spec.card_ppm + swing) * 1e-6);
        for frame in out.chunks_exact(WIDTH) {
            if frame.iter().all(|sample| sample.abs() < 1e-7) {
                self.silent += 1;
            } else {
                // A single frame of nothing is a fade that begins or ends on a frame.
                if self.sounded && self.silent > 1 {
                    self.track.gaps += self.silent;
                    self.track.interruptions += 1;
                }
                (self.sounded, self.silent) = (true, 0);
            }
        }
        let middle = frames / 2;
        let at = self.now + middle as f64 / pace;
        let due = (at - self.sender.latency) * f64::from(self.rate) * (1.0 + self.sender.graph_ppm * 1e-6);
        let (behind, loudness) = pilot::heard(&out[middle * WIDTH..(middle + 1) * WIDTH], due);
        self.track.heard.push((at, if loudness > 0.5 { behind / f64::from(self.rate) } else { f64::NAN }));
        self.track.ratio.push(self.player.feeder.stats().ratio_ppm);
        self.now += frames as f64 / pace;
    }
}

impl Player {
    fn new(rate: u32, born: f64) -> Self {
        let config = Config { rate, channels: WIDTH as u16, capacity: Span::from_secs(2), max_pull: 2_048 };
        let (feeder, puller) = playout(config).expect("a good configuration");
        Self {
            filter: ClockFilter::new(),
            feeder,
            puller,
            born,
            next_exchange: born,
            sent: 0,
            returning: BTreeMap::new(),
            packet: 0,
            arrives: None,
        }
    }
}

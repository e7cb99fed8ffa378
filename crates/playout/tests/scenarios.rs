//! The table of scenarios under simulated time: two rooms, ten minutes each, their offset in true time from the first
//! sound they have in common.
//!
//! Sound is played at 8 kHz here, which takes a sixth of the time: keeping time is a matter of seconds, not of samples. What
//! passages and fidelity are at 48 kHz is shown by the tests of these names.
//!
//! `cargo test -p audera-playout --test scenarios -- --nocapture` prints the table.

mod house;

use house::figures::{Apart, Figures, ratio_swing};
use house::network::Network;
use house::play::{Pace, Play, RoomSpec, Track};
use house::sender::Sender;

const RATE: u32 = 8_000;
const SECONDS: f64 = 600.0;

struct Scene {
    name: &'static str,
    sender_ppm: f64,
    latency: f64,
    rooms: [RoomSpec; 2],
}

/// What came out, with times in seconds.
struct Outcome {
    apart: Figures,
    /// When the rooms were within 100 us, and within 250 us, for good.
    settled: [f64; 2],
    tracks: [Track; 2],
}

fn room(host_ppm: f64, card_ppm: f64, change: impl FnOnce(&mut RoomSpec)) -> RoomSpec {
    let mut spec = RoomSpec::new(host_ppm, card_ppm);
    change(&mut spec);
    spec
}

impl Scene {
    fn play(&self, seed: u64) -> Outcome {
        let sender = Sender::new(self.sender_ppm, 15.0, self.latency, 50e-6, SECONDS, seed);
        let play = |n: usize| Play::run(&sender, self.rooms[n].clone(), RATE, SECONDS, seed * 10 + n as u64);
        let tracks = std::thread::scope(|scope| {
            let second = scope.spawn(|| play(1));
            [play(0), second.join().expect("the room")]
        });
        let [a, b] = &tracks;
        let apart = Apart::new(a, b);
        let settled = [100e-6, 250e-6].map(|limit| apart.settled(limit, apart.start(), SECONDS));
        let figures = apart.figures(0.0);
        println!(
            "{:26} {figures}  within 100 us after {:.2} s, 250 us {:.2} s; swing {:.0} {:.0} ppm, exchanges {} {}",
            self.name,
            settled[0],
            settled[1],
            ratio_swing(a, 30.0),
            ratio_swing(b, 30.0),
            a.exchanges,
            b.exchanges,
        );
        for track in &tracks {
            assert_eq!((track.interruptions, track.stats.resyncs, track.stats.underruns), (0, 0, 0), "{}", self.name);
            assert!(track.beyond * 1_000 <= track.updates, "{} of {}", track.beyond, track.updates);
        }
        Outcome { apart: figures, settled, tracks }
    }

    /// A wired network: 25 us, within 100 us after 2 s, a steady rate.
    fn must_be_tight(&self, seed: u64) {
        let outcome = self.play(seed);
        assert!(outcome.apart.p99 <= 25.0, "{}", outcome.apart);
        assert!(outcome.settled[0] <= 2.0, "{:?}", outcome.settled);
        outcome.must_be_steady();
    }
}

impl Outcome {
    /// The rate stays within 50 ppm of its mean, also when more is learned of the sender's clock.
    fn must_be_steady(&self) {
        for track in &self.tracks {
            let swing = ratio_swing(track, 30.0);
            assert!(swing <= 50.0, "{swing} ppm");
        }
    }
}

#[test]
fn one_host_with_two_cards() {
    let rooms = [RoomSpec::new(0.0, 80.0), RoomSpec::new(0.0, -60.0)];
    Scene { name: "one host", sender_ppm: 0.0, latency: 0.08, rooms }.must_be_tight(1);
}

#[test]
fn two_hosts_with_clocks_and_cards_that_differ() {
    let rooms = [RoomSpec::new(50.0, 100.0), RoomSpec::new(-50.0, -100.0)];
    Scene { name: "two hosts", sender_ppm: 0.0, latency: 0.08, rooms }.must_be_tight(2);
}

#[test]
fn cards_that_wander() {
    let rooms = [room(10.0, 40.0, |room| room.wander_ppm = 2.5), room(-10.0, -40.0, |room| room.wander_ppm = -2.5)];
    Scene { name: "cards wandering 5 ppm", sender_ppm: 0.0, latency: 0.08, rooms }.must_be_tight(3);
}

#[test]
fn a_fixed_and_sparse_exchange_is_enough_on_a_wire() {
    let fixed = |room: &mut RoomSpec| room.pace = Pace::Fixed;
    let rooms = [room(50.0, 100.0, fixed), room(-50.0, -100.0, fixed)];
    let outcome = Scene { name: "two hosts, fixed schedule", sender_ppm: 0.0, latency: 0.08, rooms }.play(4);
    assert!(outcome.apart.p99 <= 40.0, "{}", outcome.apart);
}

#[test]
fn asymmetric_jitter_and_skew() {
    let jitter = |room: &mut RoomSpec| room.network = Network::JITTER;
    for seed in [5, 20, 28] {
        let rooms = [room(-25.0, 100.0, jitter), room(-25.0, -100.0, jitter)];
        let outcome = Scene { name: "jitter 0-5/0-20 ms, 50 ppm", sender_ppm: 25.0, latency: 0.08, rooms }.play(seed);
        assert!(outcome.apart.p99 <= 250.0, "{}", outcome.apart);
        assert!(outcome.settled[1] <= 6.0, "{:?}", outcome.settled);
        outcome.must_be_steady();
    }
}

#[test]
fn bursts_and_loss_as_on_a_busy_channel() {
    let wifi = |room: &mut RoomSpec| room.network = Network::WIFI;
    let rooms = [room(-25.0, 50.0, wifi), room(10.0, -50.0, wifi)];
    let outcome = Scene { name: "Wi-Fi bursts, 1 % loss", sender_ppm: 25.0, latency: 0.25, rooms }.play(6);
    assert!(outcome.apart.p99 <= 250.0, "{}", outcome.apart);
    outcome.must_be_steady();
}

#[test]
fn forty_milliseconds_are_enough_on_a_wire() {
    let sender = Sender::new(30.0, 15.0, 0.04, 50e-6, SECONDS, 7);
    let track = Play::run(&sender, RoomSpec::new(-30.0, 90.0), 48_000, SECONDS, 7);
    let stats = &track.stats;
    println!("latency 40 ms: {} interruptions, {} late frames", track.interruptions, stats.late_frames);
    assert_eq!((track.interruptions, stats.underruns, stats.resyncs), (0, 0, 0));
}

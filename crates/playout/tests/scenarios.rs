//! The table of scenarios under simulated time: two rooms, ten minutes each, their offset in true time.
//!
//! Sound is played at 8 kHz here, which takes a sixth of the time: keeping time is a matter of seconds, not of samples. What
//! passages and fidelity are at 48 kHz is shown by the tests of these names.

mod house;
mod room;

use house::figures::{Apart, ratio_swing};
use house::network::Network;
use house::play::{Event, Pace, Play, RoomSpec, Track};
use house::sender::Sender;

const RATE: u32 = 8_000;
const SECONDS: f64 = 600.0;

struct Scene {
    name: &'static str,
    host_ppm: f64,
    latency: f64,
    rooms: [RoomSpec; 2],
    seconds: f64,
}

impl Scene {
    fn new(name: &'static str, host_ppm: f64, rooms: [RoomSpec; 2]) -> Self {
        Self { name, host_ppm, latency: 0.08, rooms, seconds: SECONDS }
    }

    fn play(&self, seed: u64) -> [Track; 2] {
        let sender = Sender::new(self.host_ppm, 15.0, self.latency, 50e-6, self.seconds, seed);
        let play = |n: usize| Play::run(&sender, self.rooms[n].clone(), RATE, self.seconds, seed * 10 + n as u64);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| play(1));
            [play(0), second.join().expect("the room")]
        })
    }

    fn report(&self, tracks: &[Track; 2]) -> Apart {
        let [a, b] = tracks;
        let apart = Apart::new(a, b);
        println!(
            "{:34} {}  settled {:5.2} s; gaps {} {}, resyncs {} {}, swing {:4.1} {:4.1} ppm, exchanges {} {}, beyond bound {} of {}",
            self.name,
            apart.figures(0.0),
            apart.settled(100e-6, apart.start(), self.seconds),
            a.gaps,
            b.gaps,
            a.stats.resyncs,
            b.stats.resyncs,
            ratio_swing(a, 30.0),
            ratio_swing(b, 30.0),
            a.exchanges,
            b.exchanges,
            a.beyond + b.beyond,
            a.updates + b.updates
        );
        apart
    }
}

fn with(host_ppm: f64, card_ppm: f64, change: impl FnOnce(&mut RoomSpec)) -> RoomSpec {
    let mut spec = RoomSpec::new(host_ppm, card_ppm);
    change(&mut spec);
    spec
}

#[test]
fn table() {
    for pace in [Pace::Asked] {
        let jitter = |host_ppm: f64, card_ppm: f64| {
            with(host_ppm, card_ppm, |room| (room.network, room.pace) = (Network::JITTER, pace))
        };
        let wifi = |host_ppm: f64, card_ppm: f64| {
            with(host_ppm, card_ppm, |room| (room.network, room.pace) = (Network::WIFI, pace))
        };
        let wired = |host_ppm: f64, card_ppm: f64| with(host_ppm, card_ppm, |room| room.pace = pace);
        println!("{pace:?}");
        for seed in 1..4 {
            let scenes = [
                Scene::new("one host", 0.0, [wired(0.0, 80.0), wired(0.0, -60.0)]),
                Scene::new("two hosts", 50.0, [wired(50.0, 100.0), wired(-50.0, -100.0)]),
                Scene::new(
                    "wandering",
                    0.0,
                    [with(10.0, 40.0, |room| room.wander_ppm = 2.5), with(-10.0, -40.0, |room| room.wander_ppm = -2.5)],
                ),
                Scene::new("jitter", 25.0, [jitter(-25.0, 100.0), jitter(-25.0, -100.0)]),
                Scene { latency: 0.25, ..Scene::new("wifi", 25.0, [wifi(-25.0, 50.0), wifi(10.0, -50.0)]) },
            ];
            for scene in scenes {
                scene.report(&scene.play(seed));
            }
        }
    }
}

#[test]
fn passages_apart() {
    for seed in 1..4 {
        for (name, event) in [
            ("xrun", Event::Xrun(0.03)),
            ("stall unsaid", Event::Stall(0.15)),
            ("short stall unsaid", Event::Stall(0.02)),
            ("driver", Event::Driver(-70.0, 0.02)),
            ("quantum 64", Event::Quantum(64.0 / 48_000.0)),
            ("quantum 2048", Event::Quantum(2_048.0 / 48_000.0)),
            ("restart", Event::Restart(1.0)),
        ] {
            let scene = Scene {
                seconds: 60.0,
                ..Scene::new(name, 20.0, [with(-20.0, 80.0, |room| room.events.push((30.0, event))), RoomSpec::new(0.0, -60.0)])
            };
            let tracks = scene.play(seed);
            let apart = scene.report(&tracks);
            println!("{name}: back after {:.2} s", apart.settled(100e-6, 30.0, 60.0));
        }
        let scene = Scene {
            seconds: 60.0,
            ..Scene::new("cut", 20.0, [with(-20.0, 80.0, |room| room.cuts.push((30.0, 35.0))), RoomSpec::new(0.0, -60.0)])
        };
        let apart = scene.report(&scene.play(seed));
        println!("cut: back after {:.2} s", apart.settled(100e-6, 35.0, 60.0));
        let scene = Scene { seconds: 60.0, ..Scene::new("join", 20.0, [with(-20.0, 80.0, |room| room.joins = 30.0), RoomSpec::new(0.0, -60.0)]) };
        let apart = scene.report(&scene.play(seed));
        println!("join: back after {:.2} s", apart.settled(100e-6, 30.0, 60.0));
    }
}

#[test]
fn parts() {
    use house::network::Network;
    let quiet = Network { up: 0.0, down: 0.0, ..Network::WIRED };
    for (name, jitter, late, network, sender_jitter) in [
        ("all", 50e-6, 0.002, Network::WIRED, 50e-6),
        ("no late", 50e-6, 0.0, Network::WIRED, 50e-6),
        ("no jitter", 0.0, 0.0, Network::WIRED, 50e-6),
        ("no net", 50e-6, 0.0, quiet, 50e-6),
        ("no sender", 50e-6, 0.0, quiet, 0.0),
        ("nothing", 0.0, 0.0, quiet, 0.0),
    ] {
        let room = |host_ppm: f64, card_ppm: f64| with(host_ppm, card_ppm, |room| (room.jitter, room.late, room.network) = (jitter, late, network));
        let sender = Sender::new(50.0, 15.0, 0.08, sender_jitter, 200.0, 1);
        let a = Play::run(&sender, room(50.0, 100.0), RATE, 200.0, 1);
        let b = Play::run(&sender, room(-50.0, -100.0), RATE, 200.0, 2);
        let apart = Apart::new(&a, &b);
        println!("{name:10} all {}; later {}; swing {:.1} {:.1}", apart.figures(0.0), apart.figures(20.0), ratio_swing(&a, 20.0), ratio_swing(&b, 20.0));
        if name == "all" || name == "nothing" { for (n, ((x, y), r)) in a.heard.iter().zip(&b.heard).zip(&a.ratio).enumerate() { if n % 25 == 10 && n < 1000 { println!("    {:.2} {:.1} {:.1} {:.1}", x.0, x.1 * 1e6, y.1 * 1e6, r); } } }
    }
}

//! What happens to one room of a house, and how soon it is back in time with the other, in true time.

mod house;

use house::figures::Apart;
use house::play::{Event, Play, RoomSpec, Track};
use house::sender::Sender;

const RATE: u32 = 8_000;
const SECONDS: f64 = 50.0;
const WHEN: f64 = 30.0;

struct Outcome {
    track: Track,
    /// How long after `since` the rooms were within 100 us for good.
    back: f64,
}

/// Lets something happen to a room, and measures from `since` on.
fn after(name: &str, since: f64, seed: u64, change: impl Fn(&mut RoomSpec)) -> Outcome {
    let sender = Sender::new(20.0, 15.0, 0.08, 50e-6, SECONDS, seed);
    let mut spec = RoomSpec::new(-20.0, 80.0);
    change(&mut spec);
    let other = Play::run(&sender, RoomSpec::new(0.0, -60.0), RATE, SECONDS, 100 + seed);
    let track = Play::run(&sender, spec, RATE, SECONDS, 200 + seed);
    let back = Apart::new(&track, &other).settled(100e-6, since, SECONDS);
    let (stats, interruptions) = (&track.stats, track.interruptions);
    println!("{name:20} back after {back:.2} s; {interruptions} interruptions, {} resyncs", stats.resyncs);
    assert_eq!((other.interruptions, other.stats.resyncs, other.stats.underruns), (0, 0, 0));
    Outcome { track, back }
}

#[test]
fn a_device_that_stumbles_is_back_within_a_second_and_stumbles_once() {
    for seed in 1..4 {
        for (name, event, resyncs) in [
            ("xrun", Event::Xrun(0.03), 0),
            ("stall unsaid", Event::Stall(0.15), 1),
            ("short stall unsaid", Event::Stall(0.02), 1),
            ("driver", Event::Driver(-70.0, 0.02), 0),
            ("quantum 64", Event::Quantum(64.0 / 48_000.0), 0),
            ("quantum 2048", Event::Quantum(2_048.0 / 48_000.0), 0),
        ] {
            let Outcome { track, back } = after(name, WHEN, seed, |room| room.events.push((WHEN, event)));
            assert!(back <= 1.0, "{name}, seed {seed}: {back} s");
            assert!(track.interruptions <= 1 && track.stats.resyncs == resyncs, "{name}, seed {seed}");
        }
    }
}

#[test]
fn a_quantum_may_change_and_change_back() {
    let quanta = [64.0, 2_048.0, 256.0, 1_024.0, 64.0, 480.0].map(|frames: f64| frames / 48_000.0);
    let Outcome { track, back } = after("quantum 64..2048", WHEN, 9, |room| {
        room.events =
            quanta.iter().enumerate().map(|(n, quantum)| (WHEN + 0.5 * n as f64, Event::Quantum(*quantum))).collect();
    });
    assert_eq!((track.interruptions, track.stats.resyncs), (0, 0));
    assert!(back <= 1.0, "{back}");
}

#[test]
fn a_room_that_comes_in_or_comes_back_is_in_time_within_three_seconds() {
    for seed in 1..4 {
        let joined = after("join", WHEN, seed, |room| room.joins = WHEN);
        assert!(joined.back <= 3.0, "seed {seed}: {} s", joined.back);
        assert_eq!(joined.track.interruptions, 0);
        let restarted = after("restart", WHEN + 1.0, seed, |room| room.events.push((WHEN, Event::Restart(1.0))));
        assert!(restarted.back <= 3.0, "seed {seed}: {} s", restarted.back);
        assert_eq!(restarted.track.interruptions, 1);
        let cut = after("cut of 5 s", WHEN + 5.0, seed, |room| room.cuts.push((WHEN, WHEN + 5.0)));
        assert!(cut.back <= 3.0, "seed {seed}: {} s", cut.back);
        assert_eq!(cut.track.interruptions, 1);
    }
}

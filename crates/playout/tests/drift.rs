//! Rooms with random clocks, cards, cycles and jitter keep together: a property, not a table.

mod house;

use house::figures::Apart;
use house::pilot::Noise;
use house::play::{Play, RoomSpec};
use house::sender::Sender;

const SECONDS: f64 = 40.0;

#[test]
fn any_two_rooms_on_a_wire_keep_together() {
    for seed in 1..=12 {
        let mut noise = Noise::new(7_000 + seed);
        let graph_ppm = noise.between(-100.0, 100.0);
        let sender = Sender::new(noise.between(-100.0, 100.0), graph_ppm, 0.08, 50e-6, SECONDS, seed);
        let mut room = || {
            let mut spec = RoomSpec::new(noise.between(-100.0, 100.0), noise.between(-150.0, 150.0));
            spec.wander_ppm = noise.between(-5.0, 5.0);
            spec.jitter = noise.between(1e-6, 60e-6);
            spec.late = noise.between(0.0, 0.005);
            spec.quantum = noise.between(128.0, 1_024.0).round() / 48_000.0;
            spec
        };
        let specs = [room(), room()];
        let tracks = [0, 1].map(|n| Play::run(&sender, specs[n].clone(), 8_000, SECONDS, seed * 10 + n as u64));
        let apart = Apart::new(&tracks[0], &tracks[1]);
        let p99 = apart.p99_between(5.0, SECONDS);
        let settled = apart.settled(100e-6, apart.start(), SECONDS);
        println!("seed {seed}: p99 {p99:.1} us, within 100 us after {settled:.2} s");
        assert!(p99 <= 50.0, "seed {seed}: {p99} us");
        assert!(settled <= 2.0, "seed {seed}: {settled} s");
        for track in &tracks {
            assert_eq!((track.interruptions, track.stats.resyncs, track.stats.underruns), (0, 0, 0), "seed {seed}");
        }
    }
}

//! The first half-minute of a stream under simulated time: how far two rooms are apart over many seeds, and what that comes from.
//!
//! `cargo test -p audera-playout --test beginnings -- --nocapture` prints the distributions, and those of ten
//! minutes.

mod house;

use house::figures::{Apart, percentile};
use house::play::{Play, RoomSpec};
use house::sender::Sender;

const RATE: u32 = 8_000;

/// How far two rooms with cards 140 ppm apart were from each other, one entry for each seed.
fn play(seconds: f64, seeds: std::ops::Range<u64>, change: impl Fn(&mut RoomSpec) + Sync) -> Vec<Apart> {
    let one = |seed: u64| {
        let sender = Sender::new(20.0, 15.0, 0.08, 50e-6, seconds, seed);
        let track = |n: u64, host_ppm: f64, card_ppm: f64| {
            let mut spec = RoomSpec::new(host_ppm, card_ppm);
            change(&mut spec);
            Play::run(&sender, spec, RATE, seconds, seed * 10 + n)
        };
        Apart::new(&track(0, -20.0, 80.0), &track(1, 10.0, -60.0))
    };
    let seeds: Vec<u64> = seeds.collect();
    let (first, second) = seeds.split_at(seeds.len() / 2);
    let run = |seeds: &[u64]| seeds.iter().map(|&seed| one(seed)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| run(second));
        let mut all = run(first);
        all.extend(second.join().expect("the rooms"));
        all
    })
}

/// Median and worst p99 of all seeds between two times after the first sound, us.
fn p99(apart: &[Apart], from: f64, to: f64) -> (f64, f64) {
    let mut values: Vec<f64> = apart.iter().map(|apart| apart.p99_between(from, to)).collect();
    (percentile(&mut values, 0.5), percentile(&mut values, 1.0))
}

/// Prints p99 of parts of the first half-minute; gives that of seconds 2 to 30.
fn tell(name: &str, apart: &[Apart]) -> (f64, f64) {
    print!("{name:32} p99, median/worst in us:");
    for (from, to) in [(0.0, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, 30.0)] {
        let (median, worst) = p99(apart, from, to);
        print!("  {from}-{to} s {median:.1}/{worst:.1}");
    }
    let whole = p99(apart, 2.0, 30.0);
    println!("  2-30 s {:.1}/{:.1}", whole.0, whole.1);
    whole
}

#[test]
fn rooms_are_together_in_the_first_half_minute_and_what_is_left_is_of_the_clocks() {
    let seeds = 1..25;
    let as_it_is = tell("as it is", &play(31.0, seeds.clone(), |_| ()));
    let clock_known = tell("clock known", &play(31.0, seeds.clone(), |room| room.clock_known = true));
    let card_told =
        tell("card told exactly", &play(31.0, seeds.clone(), |room| (room.jitter, room.late) = (1e-6, 0.0)));
    let both = play(31.0, seeds, |room| (room.jitter, room.late, room.clock_known) = (1e-6, 0.0, true));
    let both = tell("card told exactly, clock known", &both);
    assert!(as_it_is.0 <= 25.0, "{as_it_is:?}");
    assert!(as_it_is.1 <= 50.0, "{as_it_is:?}");
    // The error of the card alone, and of the clock alone; and nothing else is left when neither errs.
    assert!(clock_known.0 < card_told.0, "{clock_known:?} {card_told:?}");
    assert!(both.0 <= 2.0, "{both:?}");
}

#[test]
fn ten_minutes_over_some_seeds() {
    let apart = play(600.0, 1..5, |_| ());
    let mut values: Vec<f64> = apart.iter().map(|apart| apart.p99_between(0.0, 600.0)).collect();
    println!("ten minutes: p99 of each seed {values:.1?}");
    assert!(percentile(&mut values, 1.0) <= 25.0);
}

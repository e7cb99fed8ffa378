//! Keeping time, under simulated clocks: what is heard is measured by the pilot in the sound itself.

mod room;

use audera_clock::{ClockFilter, Exchange};
use room::{Clocks, Room, percentile};

const OFF: Clocks = Clocks { sender_ppm: 35.0, player_ppm: -15.0, card_ppm: 100.0, graph_ppm: -20.0 };

#[test]
fn a_card_off_by_100_ppm_is_held_within_microseconds() {
    for (card_ppm, quantum, seed) in
        [(100.0, 480, 1), (-100.0, 256, 2), (100.0, 64, 3), (-100.0, 1_024, 4), (60.0, 2_048, 5)]
    {
        let mut room = Room::new(Clocks { card_ppm, ..OFF }, seed);
        room.jitter = 50e-6;
        let mut errors = Vec::new();
        let mut map_age = 0.0;
        room.run(60.0, quantum, |room| {
            if room.now - map_age > 0.5 {
                map_age = room.now;
                room.feeder.set_clock(room.clocks.map(room.now));
            }
            if room.now > 2.1 {
                let (error, loud) = room.error();
                assert_eq!(loud, quantum, "no silence at {}", room.now);
                errors.push(error.abs() * 1e6);
            }
        });
        let (p50, p99) = (percentile(&mut errors, 0.5), percentile(&mut errors, 0.99));
        let worst = percentile(&mut errors, 1.0);
        println!(
            "card {card_ppm} ppm, quantum {quantum}: p50 {p50:.1} us, p99 {p99:.1} us, worst {worst:.1} us after 2 s"
        );
        let stats = room.feeder.stats();
        assert_eq!((stats.resyncs, stats.underruns, stats.late_frames, stats.lost_frames), (0, 0, 0, 0));
        assert!(p99 < 20.0, "{p99}");
        assert!(worst < 60.0, "{worst}");
    }
}

#[test]
fn two_rooms_keep_together() {
    let mut rooms = [(80.0, 512, 7), (-60.0, 480, 8)].map(|(card_ppm, quantum, seed)| {
        let mut room = Room::new(Clocks { card_ppm, ..OFF }, seed);
        room.jitter = 50e-6;
        (room, quantum)
    });
    let mut apart = Vec::new();
    for second in 0..120 {
        let errors = rooms.each_mut().map(|(room, quantum)| {
            room.run(1.0, *quantum, |_| ());
            room.error().0
        });
        if second > 2 {
            apart.push((errors[0] - errors[1]).abs() * 1e6);
        }
    }
    let p99 = percentile(&mut apart, 0.99);
    println!("two rooms: p50 {:.1} us, p99 {p99:.1} us", percentile(&mut apart, 0.5));
    assert!(p99 < 25.0, "{p99}");
}

#[test]
fn steps_of_the_clock_map_are_slewed_without_a_tear() {
    let mut room = Room::new(OFF, 9);
    room.jitter = 30e-6;
    room.run(30.0, 480, |_| ());
    let before = room.feeder.stats();
    // The estimate of the clocks' offset improves by 300 us.
    let wrong = room.clocks.map(room.now);
    let better = audera_clock::ClockMap::new(
        wrong.sender_ref() + audera_clock::Span::from_micros(300),
        wrong.player_ref(),
        wrong.skew(),
    );
    room.feeder.set_clock(better);
    let mut last = room.error().0;
    room.run(60.0, 480, |room| {
        let (error, loud) = room.error();
        assert_eq!(loud, 480);
        assert!((error - last).abs() < 2e-6, "slewed, not stepped: {error} after {last}");
        last = error;
    });
    assert!((last + 300e-6).abs() < 10e-6, "{last}");
    let after = room.feeder.stats();
    assert_eq!((after.resyncs, after.lost_frames), (before.resyncs, before.lost_frames));
}

#[test]
fn late_wake_ups_are_not_followed() {
    let mut room = Room::new(OFF, 10);
    room.jitter = 20e-6;
    room.run(20.0, 480, |_| ());
    let mut worst: f64 = 0.0;
    for n in 0..3_000 {
        room.feed(480);
        room.jitter = if n % 40 == 0 { 4e-3 } else { 20e-6 };
        room.pull(480);
        let (error, loud) = room.error();
        assert_eq!(loud, 480);
        worst = worst.max(error.abs());
    }
    assert!(worst < 30e-6, "{worst}");
    assert_eq!(room.feeder.stats().resyncs, 0);
}

#[test]
fn an_output_delay_is_played_earlier() {
    let mut room = Room::new(Clocks::PERFECT, 11);
    room.feeder.set_output_delay(audera_clock::Span::from_millis(7));
    room.run(3.0, 480, |_| ());
    let (error, _) = room.error();
    assert!((error + 7e-3).abs() < 1e-6, "{error}");
}

/// One exchange of timestamps with the sender at true time `at`, over ways that take a floor and up to `outward` and
/// `homeward` seconds more.
fn exchange(room: &mut Room, at: f64, outward: f64, homeward: f64) -> Exchange {
    let received = at + 70e-6 + room.noise.between(0.0, outward);
    let replied = received + 50e-6;
    let returned = replied + 70e-6 + room.noise.between(0.0, homeward);
    Exchange {
        sent: room.clocks.player(at),
        received: room.clocks.sender(received),
        replied: room.clocks.sender(replied),
        returned: room.clocks.player(returned),
    }
}

/// Two rooms, each with a clock filter of its own, with ways of such jitter to the sender. Returns how far they were
/// apart at every second after `skip` seconds, in microseconds, over some runs.
fn rooms_apart(outward: f64, homeward: f64, skip: f64, seconds: f64, runs: u64) -> Vec<f64> {
    let mut apart = Vec::new();
    for run in 0..runs {
        let mut rooms = [(100.0, 30.0), (-100.0, -20.0)].map(|(card_ppm, player_ppm)| {
            let seed = 100 + 2 * run + u64::from(card_ppm > 0.0);
            let mut room = Room::new(Clocks { sender_ppm: 30.0, player_ppm, card_ppm, graph_ppm: 0.0 }, seed);
            room.origin = 0.3;
            let mut filter = ClockFilter::new();
            for n in 0..8 {
                filter.update(exchange(&mut room, 0.02 * f64::from(n), outward, homeward));
            }
            room.now = 0.2;
            (room, filter)
        });
        while rooms[0].0.now < seconds {
            let errors = rooms.each_mut().map(|(room, filter)| {
                let at = room.now;
                filter.update(exchange(room, at, outward, homeward));
                room.feeder.set_clock(filter.estimate().expect("an estimate").map);
                room.jitter = 50e-6;
                room.run(0.5, 480, |_| ());
                room.error().0 * 1e6
            });
            if rooms[0].0.now > skip {
                apart.push((errors[0] - errors[1]).abs());
            }
        }
        for (room, _) in &rooms {
            assert_eq!(room.feeder.stats().underruns, 0);
        }
    }
    apart
}

#[test]
fn two_rooms_on_a_wired_network() {
    let mut apart = rooms_apart(30e-6, 30e-6, 2.3, 30.0, 4);
    let (p50, p99) = (percentile(&mut apart, 0.5), percentile(&mut apart, 0.99));
    println!("wired, after 2 s: p50 {p50:.1} us, p99 {p99:.1} us apart");
    assert!(p99 < 25.0, "{p99}");
}

#[test]
fn two_rooms_under_asymmetric_jitter() {
    let mut apart = rooms_apart(5e-3, 20e-3, 120.0, 300.0, 2);
    let (p50, p99) = (percentile(&mut apart, 0.5), percentile(&mut apart, 0.99));
    println!("0-5/0-20 ms, after 2 min: p50 {p50:.1} us, p99 {p99:.1} us apart");
    assert!(p99 < 250.0, "{p99}");
}

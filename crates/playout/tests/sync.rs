//! Keeping time at 48 kHz with known clocks: what is heard is measured by the pilot in the sound itself. How clocks are learned
//! besides is the matter of the scenarios.

mod house;

use audera_clock::Span;
use house::clocks::Clocks;
use house::figures::percentile;
use house::pilot::WIDTH;
use house::room::Room;

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
        assert!(p99 < 25.0, "{p99}");
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
    let better =
        audera_clock::ClockMap::new(wrong.sender_ref() + Span::from_micros(300), wrong.player_ref(), wrong.skew());
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
fn the_last_minute_is_told_as_it_was() {
    let clocks = Clocks { sender_ppm: 40.0, player_ppm: -10.0, card_ppm: 70.0, graph_ppm: 10.0 };
    let mut room = Room::new(clocks, 5);
    room.jitter = 100e-6;
    assert_eq!(room.feeder.stats().sync_p99, None);
    let mut errors = Vec::new();
    for _ in 0..90 {
        room.run(1.0, 480, |room| {
            let error = room.feeder.stats().sync_error.as_secs_f64().abs();
            errors.push(error);
        });
        room.feeder.close_second();
    }
    // A second has a hundred periods or one more.
    let mut last_minute = errors.split_off(errors.len() - 6_000);
    let (told, expected) = (room.feeder.stats().sync_p99.map(Span::as_secs_f64), percentile(&mut last_minute, 0.99));
    assert!(told.is_some_and(|told| (told / expected - 1.0).abs() < 0.1), "{told:?} instead of {expected}");
}

#[test]
fn an_output_delay_is_changed_while_playing_and_without_a_click() {
    for millis in [7_i64, -7, 40, -45] {
        let mut room = Room::new(Clocks { card_ppm: 50.0, ..Clocks::PERFECT }, 11);
        // An output that is heard later is to be played to earlier, for which the sound has to be there.
        room.ahead = 0.15;
        room.run(2.0, 480, |_| ());
        let told = Span::from_millis(millis);
        room.feeder.set_output_delay(told);
        let end = room.out.len() - WIDTH;
        let (mut silent, mut largest_step, mut last) = (0, 0.0_f32, [room.out[end], room.out[end + 1]]);
        room.run(30.0, 480, |room| {
            for frame in room.out.chunks_exact(WIDTH) {
                silent += usize::from(frame.iter().all(|sample| *sample == 0.0));
                let apart = (frame[0] - last[0]).abs().max((frame[1] - last[1]).abs());
                (largest_step, last) = (largest_step.max(apart), [frame[0], frame[1]]);
            }
        });
        let (error, loud) = room.error();
        assert_eq!(loud, 480, "{millis} ms");
        assert!((error + told.as_secs_f64()).abs() < 5e-6, "{millis} ms: {error}");
        // Small ones are slewed, others jump: silence for as long as the sound is put off, and no longer than a fade without.
        let stats = room.feeder.stats();
        assert_eq!(stats.resyncs, u64::from(millis.abs() > 10), "{millis} ms");
        let put_off = (-millis).max(0) * 48 * i64::from(millis.abs() > 10);
        assert!((silent as i64 - put_off).abs() <= 480, "{millis} ms: {silent} frames of silence");
        assert!(largest_step < 0.02, "{millis} ms: a step of {largest_step}");
    }
}

#[test]
fn an_output_delay_is_played_earlier() {
    let mut room = Room::new(Clocks::PERFECT, 11);
    room.feeder.set_output_delay(Span::from_millis(7));
    room.run(3.0, 480, |_| ());
    let (error, _) = room.error();
    assert!((error + 7e-3).abs() < 1e-6, "{error}");
}

//! The passages between sound and silence: start, gap, late and early packets, underrun, resync, end.

mod house;

use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
use audera_playout::{Config, State, playout};
use house::clocks::Clocks;
use house::pilot::{RATE, WIDTH, heard};
use house::room::Room;

const FADE: usize = 144;

/// Runs of sounding frames in interleaved `out`: first frame and length.
fn sounds(out: &[f32]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (n, frame) in out.chunks_exact(WIDTH).enumerate() {
        if frame.iter().any(|sample| sample.abs() > 1e-9) {
            match runs.last_mut() {
                Some((first, length)) if *first + *length == n => *length += 1,
                _ => runs.push((n, 1)),
            }
        }
    }
    runs
}

/// Largest step between successive frames: a click would show here. The pilot itself moves by 0.001 a frame.
fn largest_step(out: &[f32]) -> f32 {
    out.windows(WIDTH + 1).map(|w| (w[WIDTH] - w[0]).abs()).fold(0.0, f32::max)
}

/// Pulls `seconds` without feeding and appends to `tape`.
fn record(room: &mut Room, seconds: f64, quantum: usize, tape: &mut Vec<f32>) {
    let until = room.now + seconds;
    while room.now < until {
        room.pull(quantum);
        tape.extend_from_slice(&room.out);
    }
}

#[test]
fn starts_at_the_right_frame_and_fraction() {
    for quantum in [64, 100, 480, 1_024] {
        // A tenth of a second of silence is not enough to learn the rate of a card, so one that is off starts a
        // few microseconds off.
        let cases = [(0.0, 0.0, 0.005), (0.25, 0.0, 0.005), (0.5, 0.0, 0.005), (0.9, 0.0, 0.005), (0.7, 40.0, 0.3)];
        for (shift, card_ppm, tolerance) in cases {
            let mut room = Room::new(Clocks { card_ppm, ..Clocks::PERFECT }, 1);
            room.origin = (4_800.0 + shift) / f64::from(RATE);
            let mut tape = Vec::new();
            for _ in 0..20 {
                room.push();
            }
            record(&mut room, 0.15, quantum, &mut tape);
            let (first, _) = sounds(&tape)[0];
            let due = (room.origin * room.clocks.card_rate()).ceil() as usize;
            // A nanosecond may decide which frame is the first, and that one has no gain yet.
            assert!(
                (due..=due + 2).contains(&first),
                "quantum {quantum}, {shift}, {card_ppm}: started at {first}, due at {due}"
            );
            for (n, frame) in tape.chunks_exact(WIDTH).enumerate().skip(first + 70).take(2_000) {
                let at = n as f64 / room.clocks.card_rate();
                let (behind, _) = heard(frame, room.expected(at));
                assert!(behind.abs() < tolerance, "shift {shift}: frame {n} is {behind} frames behind");
            }
            assert!(largest_step(&tape) < 0.02);
            assert_eq!(room.feeder.stats().late_frames, 0);
        }
    }
}

#[test]
fn nothing_is_played_before_the_clock_is_known() {
    let config = Config { rate: RATE, channels: 2, capacity: Span::from_secs(1), max_pull: 480 };
    let (mut feeder, mut puller) = playout(config).expect("a good configuration");
    feeder.push(SenderTime::from_nanos(0), &[0.5; 9_600]).expect("room");
    let mut out = [1.0; 960];
    assert_eq!(puller.pull(PlayerTime::from_nanos(0), &mut out).sounding, 0);
    assert!(out.iter().all(|sample| *sample == 0.0));
    feeder.set_clock(ClockMap::identity());
    assert_eq!(puller.pull(PlayerTime::from_nanos(10_000_000), &mut out).sounding, 480);
    assert_eq!(feeder.stats().late_frames, 480);
    assert_eq!(feeder.stats().state, State::Playing);
}

#[test]
fn a_gap_is_silence_of_its_length() {
    let mut room = Room::new(Clocks::PERFECT, 2);
    for n in 0..40 {
        if n == 15 || n == 16 {
            room.next += room.packet;
        } else {
            room.push();
        }
    }
    let mut tape = Vec::new();
    record(&mut room, 0.4, 256, &mut tape);
    let runs = sounds(&tape);
    assert_eq!(runs.len(), 2, "{runs:?}");
    let silence = runs[1].0 - (runs[0].0 + runs[0].1);
    assert!((960..=963).contains(&silence), "{silence}");
    assert_eq!(runs[1].0, 4_800 + 17 * 480 + 1);
    assert!(largest_step(&tape) < 0.02);
    let stats = room.feeder.stats();
    assert_eq!((stats.lost_frames, stats.late_frames, stats.underruns), (960, 0, 0));
    // Away from the fades the sound is where it belongs.
    for (first, length) in runs {
        for n in first + FADE..first + length - FADE {
            let (behind, loudness) = heard(&tape[n * WIDTH..], n as f64 - 4_800.0);
            assert!(behind.abs() < 0.01 && (loudness - 1.0).abs() < 1e-3, "frame {n}: {behind}, {loudness}");
        }
    }
}

#[test]
fn late_packets_are_skipped_and_counted() {
    let mut room = Room::new(Clocks::PERFECT, 3);
    room.origin = -0.025;
    for _ in 0..20 {
        room.push();
    }
    let mut tape = Vec::new();
    record(&mut room, 0.1, 480, &mut tape);
    // The device's time is taken from the second period on.
    assert_eq!(room.feeder.stats().late_frames, 1_200 + 480);
    assert_eq!(sounds(&tape)[0].0, 481);
    let (behind, _) = heard(&tape[980 * WIDTH..], 980.0 + 1_200.0);
    assert!(behind.abs() < 0.01, "{behind}");
}

#[test]
fn overlapping_frames_are_dropped_and_counted() {
    let mut room = Room::new(Clocks::PERFECT, 4);
    for _ in 0..10 {
        room.push();
    }
    room.next -= 1_200;
    for _ in 0..10 {
        room.push();
    }
    assert_eq!(room.feeder.stats().late_frames, 1_200);
    let mut tape = Vec::new();
    record(&mut room, 0.35, 480, &mut tape);
    for n in (4_800 + FADE..4_800 + 10 * 480 - FADE).chain(4_800 + 10 * 480 + FADE..4_800 + 17 * 480) {
        let (behind, loudness) = heard(&tape[n * WIDTH..], n as f64 - 4_800.0);
        assert!(behind.abs() < 0.01 && loudness > 0.99, "frame {n}: {behind}, {loudness}");
    }
    assert!(largest_step(&tape) < 0.02);
}

#[test]
fn an_underrun_fades_and_comes_back_in_place() {
    let mut room = Room::new(Clocks { card_ppm: -70.0, ..Clocks::PERFECT }, 5);
    let mut tape = Vec::new();
    room.run(2.0, 480, |room| tape.extend_from_slice(&room.out));
    record(&mut room, 0.3, 480, &mut tape);
    assert_eq!(room.state(), State::Waiting);
    let stats = room.feeder.stats();
    assert_eq!(stats.underruns, 1);
    assert!(stats.lost_frames > 8_000, "{}", stats.lost_frames);
    room.run(1.0, 480, |room| tape.extend_from_slice(&room.out));
    assert_eq!(room.state(), State::Playing);
    assert_eq!(room.feeder.stats().underruns, 1);
    assert!(room.feeder.stats().late_frames > 8_000);
    assert!(room.error().0.abs() < 5e-6);
    assert_eq!(sounds(&tape).len(), 2);
    assert!(largest_step(&tape) < 0.02);
}

#[test]
fn a_large_error_is_a_resync() {
    let mut room = Room::new(Clocks::PERFECT, 6);
    room.ahead = 0.3;
    let mut tape = Vec::new();
    room.run(1.0, 480, |room| tape.extend_from_slice(&room.out));
    // The map steps ahead, back, behind and back again.
    for (resyncs, step) in [(1, 40), (2, 0), (3, -40), (4, 0)] {
        let map = room.clocks.map(room.now);
        room.feeder.set_clock(ClockMap::new(map.sender_ref() + Span::from_millis(step), map.player_ref(), 0.0));
        room.run(0.5, 480, |room| tape.extend_from_slice(&room.out));
        let (error, loud) = room.error();
        assert_eq!(loud, 480);
        assert!((error + step as f64 * 1e-3).abs() < 5e-6, "{error}");
        assert_eq!(room.feeder.stats().resyncs, resyncs);
    }
    assert!(largest_step(&tape) < 0.02);
    assert_eq!(room.feeder.stats().underruns, 0);
}

#[test]
fn a_device_that_jumps_is_caught_up_with() {
    let mut room = Room::new(Clocks { card_ppm: 30.0, ..Clocks::PERFECT }, 7);
    room.jitter = 20e-6;
    room.run(5.0, 480, |_| ());
    room.now += 0.15; // an xrun that nobody mentions
    room.run(1.0, 480, |_| ());
    let stats = room.feeder.stats();
    assert_eq!(stats.resyncs, 1);
    assert!(room.error().0.abs() < 60e-6, "{}", room.error().0);

    room.now += 3.0;
    room.puller.device_reset();
    room.next = (room.expected(room.now) / 480.0) as u64 * 480;
    room.run(1.0, 480, |_| ());
    assert_eq!(room.feeder.stats().resyncs, 1, "a reset is no resync");
    assert!(room.error().0.abs() < 60e-6);
}

#[test]
fn what_is_left_is_played_to_the_end() {
    let mut room = Room::new(Clocks::PERFECT, 8);
    for _ in 0..7 {
        room.push();
    }
    room.feeder.finish();
    let mut tape = Vec::new();
    record(&mut room, 0.1, 480, &mut tape);
    assert_eq!(room.state(), State::Draining);
    assert!(!room.feeder.is_drained());
    record(&mut room, 0.3, 480, &mut tape);
    assert!(room.feeder.is_drained());
    let runs = sounds(&tape);
    assert_eq!(runs.len(), 1);
    assert!((7 * 480 - 3..=7 * 480).contains(&runs[0].1), "{runs:?}");
    let stats = room.feeder.stats();
    assert_eq!((stats.played_frames, stats.lost_frames, stats.underruns), (7 * 480, 0, 0));
    assert_eq!(stats.buffered, Span::ZERO);
    assert!(largest_step(&tape) < 0.02);
}

#[test]
fn a_wild_stamp_does_not_block_what_follows() {
    let mut room = Room::new(Clocks::PERFECT, 9);
    room.push();
    let hour = room.clocks.sender(3_600.0);
    room.feeder.push(hour, &[0.3; 960]).expect("room");
    room.run(1.0, 480, |_| ());
    assert_eq!(room.state(), State::Playing);
    assert!(room.error().0.abs() < 1e-6);
}

#[test]
fn samples_that_are_no_numbers_are_silence() {
    let mut room = Room::new(Clocks::PERFECT, 10);
    let nasty = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e30];
    let samples: Vec<f32> = (0..9_600).map(|n| nasty[n % nasty.len()]).collect();
    room.feeder.push(room.clocks.sender(0.0), &samples).expect("room");
    let mut out = [0.0; 2_048];
    room.puller.pull(room.clocks.player(0.0), &mut out);
    assert!(out.iter().all(|sample| sample.is_finite()));
}

#[test]
fn a_full_buffer_says_so_and_takes_nothing() {
    let mut room = Room::new(Clocks::PERFECT, 11);
    for _ in 0..200 {
        room.push();
    }
    let stamp = room.clocks.sender(room.due(room.next));
    assert!(room.feeder.push(stamp, &[0.0; 960]).is_err());
    assert_eq!(room.feeder.stats().buffered, Span::from_secs(2));
}

#[test]
fn the_halves_work_from_two_threads() {
    let config = Config { rate: RATE, channels: 2, capacity: Span::from_millis(200), max_pull: 480 };
    let (mut feeder, mut puller) = playout(config).expect("a good configuration");
    feeder.set_clock(ClockMap::identity());
    let done = std::sync::atomic::AtomicBool::new(false);
    let pushed = std::sync::atomic::AtomicI64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let samples: Vec<f32> = (next..next + 480).flat_map(|n| house::pilot::pilot(n as f64)).collect();
                let stamp = SenderTime::from_nanos(0) + Span::from_frames(next, RATE);
                match feeder.push(stamp, &samples) {
                    Ok(()) => {
                        next += 480;
                        pushed.store(next, std::sync::atomic::Ordering::Relaxed);
                    }
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        let mut out = [0.0; 2 * 480];
        let (mut pulled, mut sounding) = (0, 0);
        // However the threads are scheduled: what sounds is right, and in the end enough has sounded.
        while sounding < 20 * 48_000 {
            // A puller that ran ahead of the feeder would find all that comes too late, for ever.
            if pushed.load(std::sync::atomic::Ordering::Relaxed) < pulled + 4 * 480 {
                std::thread::yield_now();
                continue;
            }
            sounding += puller.pull(PlayerTime::from_nanos(0) + Span::from_frames(pulled, RATE), &mut out).sounding;
            for (n, frame) in out.chunks_exact(WIDTH).enumerate() {
                let (behind, loudness) = heard(frame, (pulled + n as i64) as f64);
                assert!(loudness < 0.9995 || behind.abs() < 0.05, "{behind} frames behind");
            }
            pulled += 480;
            std::thread::yield_now();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

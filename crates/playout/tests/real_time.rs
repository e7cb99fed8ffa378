//! The pull side neither allocates nor frees: every passage runs under an allocator that would abort.

mod house;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use audera_clock::{ClockMap, Span};
use audera_playout::State;
use house::clocks::Clocks;
use house::pilot::pilot;
use house::room::Room;

#[global_allocator]
static GUARD: AllocDisabler = AllocDisabler;

/// Feeds outside the guard and pulls inside it.
fn play(room: &mut Room, periods: usize, quantum: usize, feed: bool) {
    room.out.resize(quantum * house::pilot::WIDTH, 0.0);
    for _ in 0..periods {
        if feed {
            room.feed(quantum);
        }
        assert_no_alloc(|| room.pull(quantum));
    }
}

#[test]
fn no_passage_allocates() {
    let mut room = Room::new(Clocks { card_ppm: 90.0, ..Clocks::PERFECT }, 1);
    room.jitter = 50e-6;
    play(&mut room, 3, 480, false); // nothing there yet
    for quantum in [64, 100, 480, 2_048, 8_192] {
        play(&mut room, 60, quantum, true);
    }
    assert_eq!(room.state(), State::Playing);

    play(&mut room, 60, 480, false); // underrun
    assert_eq!(room.state(), State::Waiting);
    play(&mut room, 60, 480, true); // late packets, recovery

    for n in 0..40 {
        // The latency glides, and ends to, with every packet.
        let glide = Span::from_micros([200, -200, 0][n % 3]);
        let samples: Vec<f32> = (0..480).flat_map(|frame| pilot((room.next + frame) as f64)).collect();
        room.feeder.push_gliding(room.clocks.sender(room.due(room.next)), glide, &samples).expect("room");
        room.next += 480;
        play(&mut room, 1, 480, false);
    }

    room.next += 3 * room.packet; // gap
    play(&mut room, 60, 480, true);

    let map = room.clocks.map(room.now);
    room.ahead = 0.2;
    play(&mut room, 60, 480, true);
    for step in [50, 0] {
        let stepped = ClockMap::new(map.sender_ref() + Span::from_millis(step), map.player_ref(), map.skew());
        room.feeder.set_clock(stepped); // resync
        play(&mut room, 60, 480, true);
    }
    room.now += 0.3; // the device jumps
    play(&mut room, 60, 480, true);
    assert_no_alloc(|| room.puller.device_reset());
    play(&mut room, 60, 480, true);

    let far = room.clocks.sender(room.now + 900.0);
    room.feeder.push(far, &[0.1; 960]).expect("room"); // a wild stamp
    play(&mut room, 60, 480, true);
    assert_eq!(room.state(), State::Playing);

    room.feeder.finish();
    play(&mut room, 60, 480, false);
    assert_eq!(room.state(), State::Drained);
    let stats = room.feeder.stats();
    assert!(stats.underruns > 0 && stats.resyncs > 2 && stats.late_frames > 0, "{stats:?}");
}

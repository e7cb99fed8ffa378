//! The pull side neither allocates nor frees: every passage runs under an allocator that would abort. Nor does it touch memory that has never been
//! touched before, for which the kernel would let it wait.

mod house;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
use audera_playout::{Config, State, playout};
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

/// How often this thread had to wait for a page of memory.
fn faults() -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
    // The tenth field; the second, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').expect("fields");
    fields.split_whitespace().nth(7).and_then(|field| field.parse().ok()).expect("a number")
}

#[test]
fn what_is_pulled_has_been_touched_before() {
    let run = || {
        let config = Config { rate: 48_000, channels: 8, capacity: Span::from_secs(2), max_pull: 480 };
        let (mut feeder, mut puller) = playout(config).expect("a good configuration");
        feeder.set_clock(ClockMap::identity());
        std::thread::scope(|scope| {
            // The network thread, whose part it is to touch what it fills.
            scope.spawn(|| {
                for n in 0..1_900 {
                    feeder.push(SenderTime::from_nanos(n * 1_000_000), &[0.5; 8 * 48]).expect("room");
                }
            });
        });
        let mut out = [0.0; 8 * 480];
        let before = faults();
        for n in -3..190 {
            puller.pull(PlayerTime::from_nanos(n * 10_000_000), &mut out);
        }
        let faults = faults() - before;
        assert!(feeder.stats().played_frames > 80_000);
        (faults, feeder, puller)
    };
    // The first touch the program itself, and stay, so that the last has memory of its own.
    let _stay = [run(), run()];
    let (faults, ..) = run();
    assert!(faults <= 5, "{faults} pages, where reading the count may take one or two");
}

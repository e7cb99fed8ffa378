//! Arbitrary sequences of gaps, overlaps, late packets, starvation, clock steps and device jumps against an oracle: a
//! frame that leaves the card carries what the stream has at that time, or is silent; and nothing else, ever.

mod house;

use std::f64::consts::TAU;

use audera_clock::{ClockMap, Span};
use audera_playout::State;
use house::clocks::Clocks;
use house::pilot::{WIDTH, heard};
use house::room::Room;
use proptest::prelude::*;

/// Sender-side numbers of frames are multiples of this, so that no difference of stamps is as small as the half
/// millisecond that counts as wobble.
const GRAIN: u64 = 30;

/// Something that happens between two periods.
#[derive(Clone, Debug)]
enum Event {
    /// So many frames are missing from the stream.
    Gap(u64),
    /// So many frames come twice.
    Overlap(u64),
    /// Nothing is pushed for so many periods.
    Starve(usize),
    /// So many ordinary periods.
    Play(usize),
    /// The period has another length from now on.
    Quantum(usize),
    /// The packets have another length from now on.
    Packet(u64),
    /// The device pauses for so many milliseconds, and says so or does not.
    Pause(u64, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_u64..200).prop_map(|n| Event::Gap(n * GRAIN)),
        2 => (1_u64..100).prop_map(|n| Event::Overlap(n * GRAIN)),
        2 => (1_usize..30).prop_map(Event::Starve),
        6 => (1_usize..40).prop_map(Event::Play),
        2 => (16_usize..1_500).prop_map(Event::Quantum),
        1 => (2_u64..70).prop_map(|n| Event::Packet(n * GRAIN)),
        1 => (6_u64..700, any::<bool>()).prop_map(|(ms, told)| Event::Pause(ms, told)),
    ]
}

/// Checks the last period: where it sounds, and how many frames are at full loudness. A frame at full loudness may be
/// off by `tolerance` frames. While a fade is open the filter sees the edge of the sound as well, and what is heard may
/// differ from the pilot by that much of its amplitude besides.
fn check(room: &Room, tolerance: f64) -> Result<usize, TestCaseError> {
    const EDGE: f64 = 0.004;
    let mut loud = 0;
    for (offset, frame) in room.out.chunks_exact(WIDTH).enumerate() {
        let (behind, loudness) = heard(frame, room.expected(room.left(offset)));
        prop_assert!(loudness < 1.01, "too loud: {loudness}");
        let aside = loudness * (TAU * behind / 4_800.0).sin().abs();
        let slack = if loudness > 0.9995 { 0.0 } else { EDGE };
        let allowed = loudness * TAU * tolerance / 4_800.0 + slack;
        prop_assert!(aside < allowed, "frame {offset} before {}: {behind} frames behind at {loudness}", room.now);
        loud += usize::from(loudness > 0.9995);
    }
    Ok(loud)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_right_frame_or_silence(
        events in prop::collection::vec(event(), 1..40),
        card_ppm in -100.0..100.0_f64,
        start in -0.05..0.3_f64,
        seed in 1_u64..1_000,
    ) {
        let mut room = Room::new(Clocks { card_ppm, sender_ppm: 20.0, player_ppm: -20.0, graph_ppm: 10.0 }, seed);
        room.origin = start;
        let mut quantum = 480;
        let mut last = [0.0_f32; WIDTH];
        let mut pulled = 0_u64;
        for event in events {
            let (periods, fed) = match event {
                Event::Gap(frames) => { room.next += frames; (0, true) }
                Event::Overlap(frames) => { room.next = room.next.saturating_sub(frames); (0, true) }
                Event::Starve(periods) => (periods, false),
                Event::Play(periods) => (periods, true),
                Event::Quantum(frames) => { quantum = frames; (1, true) }
                Event::Packet(frames) => { room.packet = frames; (0, true) }
                Event::Pause(ms, told) => {
                    room.now += ms as f64 * 1e-3;
                    if told {
                        room.puller.device_reset();
                    }
                    // Unless told, it takes two periods to believe in a jump, and a fade to act on it.
                    for _ in 0..3 + 480 / quantum {
                        room.feed(quantum);
                        room.pull(quantum);
                        pulled += quantum as u64;
                    }
                    last.copy_from_slice(&room.out[room.out.len() - WIDTH..]);
                    (0, true)
                }
            };
            for _ in 0..periods {
                if fed { room.feed(quantum) }
                room.pull(quantum);
                pulled += quantum as u64;
                // 25 us, which the opening of a card 100 ppm off may reach.
                check(&room, 1.2)?;
                for frame in room.out.chunks_exact(WIDTH) {
                    for (now, before) in frame.iter().zip(&last) {
                        prop_assert!((now - before).abs() < 0.03, "a click at {}", room.now);
                    }
                    last.copy_from_slice(frame);
                }
            }
        }
        let stats = room.feeder.stats();
        prop_assert!(stats.played_frames + stats.lost_frames <= pulled);

        // Whatever happened, ordinary supply leads back to sound.
        room.next = room.next.max((room.expected(room.now).max(0.0) as u64).next_multiple_of(GRAIN));
        room.packet = 480;
        let gone = room.due(room.next) - room.now;
        room.run(gone.max(0.0) + 0.5, 480, |_| ());
        prop_assert_eq!(room.state(), State::Playing);
        prop_assert_eq!(check(&room, 1.2)?, 480);

        room.feeder.finish();
        for _ in 0..40 { room.pull(480); }
        prop_assert!(room.feeder.is_drained());
    }

    #[test]
    fn steps_of_the_clock_never_tear_the_sound(steps in prop::collection::vec(-60_i64..60, 1..8), seed in 1_u64..1_000) {
        let mut room = Room::new(Clocks { card_ppm: 50.0, ..Clocks::PERFECT }, seed);
        room.ahead = 0.4;
        let mut last = [0.0_f32; WIDTH];
        for step in steps {
            let map = room.clocks.map(room.now);
            let stepped = ClockMap::new(map.sender_ref() + Span::from_millis(step), map.player_ref(), map.skew());
            room.feeder.set_clock(stepped);
            for _ in 0..60 {
                room.feed(480);
                room.pull(480);
                for frame in room.out.chunks_exact(WIDTH) {
                    for (now, before) in frame.iter().zip(&last) {
                        prop_assert!((now - before).abs() < 0.03, "a click at {}", room.now);
                    }
                    last.copy_from_slice(frame);
                }
            }
        }
        prop_assert_eq!(room.feeder.stats().underruns, 0);
    }
}

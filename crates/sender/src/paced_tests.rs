//! A paced stream under simulated time: lines, holds, rewinds, and what both sides know of them.

use assert_no_alloc::assert_no_alloc;

use super::*;

const RATE: u32 = 48_000;
const LATENCY: Span = Span::from_millis(80);

fn at(ms: i64) -> SenderTime {
    SenderTime::from_nanos(1_000_000_000) + Span::from_millis(ms)
}

/// A stream of one channel whose frame `n` is the number `n`.
struct Bench {
    paced: Paced,
    release: Release,
    /// Frames that were released, with when each left.
    out: Vec<(f32, SenderTime)>,
    line: Option<(u64, SenderTime)>,
    found: Vec<Found>,
}

impl Bench {
    fn new() -> Bench {
        let (paced, release) = paced(1, RATE, 4800, LATENCY, Span::from_millis(40)).unwrap();
        release.set_ready(Some(at(0)));
        Bench { paced, release, out: Vec::new(), line: None, found: Vec::new() }
    }

    fn write(&mut self, first: u64, frames: u64) {
        self.paced.write(first, (first..first + frames).map(|n| n as f32).collect::<Vec<_>>().into_iter());
    }

    fn release(&mut self, now: SenderTime) {
        let mut block = Vec::new();
        while let Some(found) = self.release.next(now, &mut block) {
            self.found.push(found);
            let Found::Block { position, frames, anew } = found else { continue };
            assert_eq!(block.len(), frames);
            self.line = anew.map(|at| (position, at)).or(self.line);
            let (first, at) = self.line.expect("the first block says when");
            for (n, sample) in block.drain(..).enumerate() {
                let frame = position + n as u64 - first;
                self.out.push((sample, at + Span::from_frames(frame as i64, RATE)));
            }
        }
    }

    fn samples(&self) -> Vec<f32> {
        self.out.iter().map(|(sample, _)| *sample).collect()
    }
}

#[test]
fn frames_leave_when_they_are_due_and_not_before() {
    let mut bench = Bench::new();
    bench.write(0, 4800);
    bench.release(at(0));
    assert!(bench.out.is_empty() && bench.paced.position(at(500)) == 0, "it has not been started");
    bench.paced.start(at(1000));
    for ms in [1000, 1010, 1013, 1090] {
        bench.release(at(ms));
        assert_eq!(bench.out.len() as u64, bench.paced.position(at(ms)), "at {ms} ms");
    }
    assert_eq!(bench.samples(), (0..4320).map(|n| n as f32).collect::<Vec<_>>());
    assert_eq!(bench.out[480].1, at(1010));
    assert_eq!(bench.paced.leaves_at(480), Some(at(1010)));
    assert_eq!(bench.paced.heard_at(480), Some(at(1090)));
    assert_eq!((bench.paced.heard(at(1090)), bench.paced.heard(at(1010))), (480, 0));
}

#[test]
fn rooms_that_do_not_play_yet_are_waited_for() {
    let mut bench = Bench::new();
    bench.release.set_ready(None);
    bench.paced.start(at(0));
    assert_eq!((bench.paced.position(at(199)), bench.paced.position(at(201))), (0, 48));
    // Begun at 0, so ready at 200: what is started meanwhile waits for the rest of it.
    bench.release.set_ready(Some(at(200)));
    bench.paced.reset(at(50));
    bench.paced.start(at(60));
    assert_eq!(bench.paced.leaves_at(0), Some(at(200)));
    bench.paced.reset(at(300));
    bench.paced.start(at(350));
    assert_eq!(bench.paced.leaves_at(0), Some(at(350)));
}

#[test]
fn what_is_held_leaves_after_the_next_start_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.write(0, 4800);
    bench.paced.start(at(0));
    bench.release(at(7));
    bench.paced.hold(at(10));
    assert_eq!((bench.paced.position(at(10)), bench.paced.position(at(500))), (480, 480));
    assert_eq!(bench.paced.leaves_at(480), None);
    bench.paced.start(at(1000));
    bench.paced.hold(at(1005));
    bench.paced.start(at(2000));
    bench.release(at(2020));
    assert_eq!(bench.samples(), (0..480 + 240 + 960).map(|n| n as f32).collect::<Vec<_>>());
    assert_eq!([bench.out[479].1, bench.out[480].1], [at(10) - Span::from_frames(1, RATE), at(1000)]);
    assert_eq!(bench.out[720].1, at(2000));
    let held = bench.found.iter().filter(|found| **found == Found::Held).count();
    assert_eq!(held, 2);
}

#[test]
fn nothing_leaves_while_the_last_packet_before_is_filled_with_silence() {
    let mut bench = Bench::new();
    bench.paced.start(at(0));
    bench.paced.hold(at(10));
    bench.paced.start(at(15));
    assert_eq!(bench.paced.leaves_at(480), Some(at(50)));
    // Nothing has left since, so there is nothing to fill.
    bench.paced.reset(at(20));
    bench.paced.start(at(60));
    assert_eq!(bench.paced.leaves_at(0), Some(at(60)));
}

#[test]
fn what_has_not_left_can_be_taken_back_or_written_anew() {
    let mut bench = Bench::new();
    bench.write(0, 960);
    bench.paced.start(at(0));
    bench.release(at(10));
    bench.paced.write(500, [7.0; 100].into_iter());
    bench.release(at(20));
    let expected = (0..500).map(|n| n as f32).chain([7.0; 100]).chain([0.0; 360]);
    assert_eq!(bench.samples(), expected.collect::<Vec<_>>(), "there is nothing behind what was written last");
    bench.write(960, 2000);
    bench.paced.reset(at(30));
    bench.paced.write(0, [9.0; 480].into_iter());
    bench.paced.start(at(80));
    bench.release(at(90));
    assert_eq!(bench.samples()[960..], [(960..1440).map(|n| n as f32).collect(), vec![9.0; 480]].concat());
    assert_eq!(bench.paced.position(at(90)), 480);
}

#[test]
fn what_is_skipped_is_silence_and_what_is_taken_back_is_not_heard() {
    let mut bench = Bench::new();
    // Other sound is where the silence is going to be.
    bench.write(0, 4_800);
    bench.paced.reset(at(0));
    bench.paced.write(0, [1.0; 480].into_iter());
    bench.paced.move_to(240);
    bench.paced.move_to(720);
    bench.paced.write(720, [2.0; 240].into_iter());
    bench.paced.start(at(10));
    bench.release(at(40));
    let expected = [vec![1.0; 240], vec![0.0; 480], vec![2.0; 240], vec![0.0; 480]].concat();
    assert_eq!(bench.samples(), expected);
    // Further than the buffer is long.
    bench.paced.move_to(1_000_000);
    bench.release(at(50));
    assert!(bench.samples()[1440..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn what_comes_too_late_is_silence_and_does_not_shift_the_rest() {
    let mut bench = Bench::new();
    bench.write(0, 240);
    bench.paced.start(at(0));
    bench.release(at(10));
    bench.write(240, 720);
    bench.release(at(20));
    let expected = (0..240).map(|n| n as f32).chain([0.0; 240]).chain((480..960).map(|n| n as f32));
    assert_eq!(bench.samples(), expected.collect::<Vec<_>>());
}

#[test]
fn what_was_never_written_is_silence_and_not_the_sound_of_long_ago() {
    // Once around the buffer and more; then the application is late, and skips some.
    for network_is_late in [true, false] {
        let mut bench = Bench::new();
        bench.paced.start(at(0));
        for ms in (0..1250).step_by(10) {
            bench.write(ms * 48, 480);
            bench.release(at(ms as i64));
        }
        let before = bench.out.len();
        if !network_is_late {
            bench.release(at(1265));
        }
        // 20 ms after the last frame.
        bench.paced.reset(at(1270));
        bench.paced.write(0, [1.0; 240].into_iter());
        bench.paced.write(720, [2.0; 240].into_iter());
        bench.paced.start(at(2000));
        bench.release(at(2030));
        let left = (59_520..60_000).map(|n| n as f32).collect();
        let expected = [left, vec![0.0; 960], vec![1.0; 240], vec![0.0; 480], vec![2.0; 240], vec![0.0; 480]].concat();
        assert_eq!(bench.samples()[before..], expected);
        // Further than the buffer is long.
        bench.paced.write(100_000, [3.0; 480].into_iter());
        let before = bench.out.len();
        bench.release(at(2400));
        assert!(bench.samples()[before..].iter().all(|sample| *sample == 0.0));
    }
}

#[test]
fn a_network_thread_that_stands_still_costs_sound_but_not_time() {
    let mut bench = Bench::new();
    bench.paced.start(at(0));
    let mut written = 0;
    for ms in 0..3000 {
        let due = bench.paced.position(at(ms)) + 4800;
        bench.write(written, due - written);
        written = due;
    }
    bench.release(at(2999));
    let (samples, position) = (bench.samples(), bench.paced.position(at(2999)) as usize);
    let lost = bench.release.discarded() as usize;
    let skipped = position - samples.len();
    let silent = lost - skipped;
    assert!(lost >= 48_000 && samples[..silent].iter().all(|sample| *sample == 0.0));
    assert!(samples[silent..].iter().enumerate().all(|(n, sample)| *sample == (lost + n) as f32));
    assert_eq!(bench.out[0].1, bench.paced.leaves_at(skipped as u64).unwrap());
}

#[test]
fn a_process_that_was_stopped_for_hours_releases_no_more_than_its_buffer() {
    // Woken, the network thread gets to it first; or the application does, which has run dry and begins anew.
    for anew in [false, true] {
        let mut bench = Bench::new();
        bench.write(0, 4800);
        bench.paced.start(at(0));
        bench.release(at(10));
        let before = bench.out.len();
        let woken = at(10 * 3_600_000);
        if anew {
            bench.paced.reset(woken);
        }
        bench.release(woken);
        let silence = &bench.samples()[before..];
        let whole = bench.release.shared.frames as usize;
        assert!(silence.len() <= whole && silence.iter().all(|sample| *sample == 0.0), "{} frames", silence.len());
        assert_eq!(bench.release.discarded(), 4800 - 480, "what nobody wrote is not lost");
        // And on it goes where the time is, with what is written from now on.
        if anew {
            bench.paced.start(woken + Span::from_millis(40));
        }
        let next = bench.paced.position(woken);
        bench.write(next, 480);
        bench.out.clear();
        bench.release(woken + Span::from_millis(60));
        let heard = bench.out.iter().find(|(sample, _)| *sample != 0.0).map(|(_, at)| *at);
        let first = next + u64::from(next == 0);
        let told = bench.paced.leaves_at(first).unwrap();
        assert!(heard.is_some_and(|heard| (heard - told).abs() < Span::from_micros(1)), "{heard:?} for {told:?}");
    }
}

#[test]
fn the_latency_that_is_told_belongs_to_the_frame() {
    let mut bench = Bench::new();
    bench.paced.start(at(0));
    let target = Span::from_millis(100);
    bench.release.set_latency(Path { frame: 48_000, delay: LATENCY, until: 96_000, target });
    for (frame, latency) in [(0, 80), (48_000, 80), (72_000, 90), (96_000, 100), (1 << 40, 100)] {
        assert_eq!(bench.paced.latency_of(frame), Span::from_millis(latency));
    }
    let heard_at = bench.paced.heard_at(72_000).unwrap();
    assert_eq!(heard_at, at(1590));
    assert!(bench.paced.heard(heard_at).abs_diff(72_000) <= 1);
}

#[test]
fn what_is_left_of_a_drain_counts_in_the_time_before_the_first_frame_leaves() {
    let mut bench = Bench::new();
    bench.release.set_ready(None);
    let ms = Span::from_millis;
    bench.write(0, 4800);
    assert_eq!(bench.paced.lead(at(0)), LEAD, "as if it were started");
    bench.paced.start(at(0));
    // 100 ms of sound are heard after the rooms have opened their devices, and the latency.
    for (now, left) in [(0, 380), (150, 230), (250, 130), (330, 50), (380, 0), (900, 0)] {
        assert_eq!(bench.paced.until_heard(4800, at(now)), ms(left), "at {now} ms");
        assert_eq!(bench.paced.lead(at(now)), ms((200 - now).max(0)));
    }
    // Rooms that play go on at once, but for what fills the last packet.
    bench.release.set_ready(Some(at(200)));
    bench.paced.hold(at(1000));
    assert_eq!([1000, 1010, 1040, 1500].map(|now| bench.paced.lead(at(now))), [ms(40), ms(30), ms(0), ms(0)]);
}

#[test]
fn a_network_thread_that_has_ended_is_noticed() {
    let Bench { mut paced, release, .. } = Bench::new();
    paced.start(at(0));
    assert!(!paced.is_abandoned());
    drop(release);
    assert!(paced.is_abandoned());
}

#[test]
fn positions_and_times_agree_at_every_rate_for_a_week() {
    for rate in [44_100, 48_000, 96_000, 192_000, 44_101] {
        let line = Line { position: 7, at: at(0), rate };
        for frames in [0, 1, 479, u64::from(rate), 86_400 * u64::from(rate) + 1, 7 * 86_400 * u64::from(rate)] {
            let time = line.time_of(7 + frames);
            assert_eq!(line.position_at(time), 7 + frames, "{frames} at {rate}");
            assert!(frames == 0 || line.position_at(time - Span::from_nanos(2)) < 7 + frames);
        }
    }
}

#[test]
fn the_application_neither_allocates_nor_frees() {
    let mut bench = Bench::new();
    assert_no_alloc(|| {
        bench.paced.write(0, [0.5; 4800].into_iter());
        bench.paced.start(at(0));
        bench.paced.hold(at(1));
        bench.paced.start(at(2));
        let _ = bench.paced.heard(at(3));
        bench.paced.reset(at(4));
    });
}

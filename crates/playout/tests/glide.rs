//! A stream whose latency glides: every room follows it to the microsecond, and takes it for no error of its own.

mod house;

use audera_clock::Span;
use audera_playout::State;
use house::clocks::Clocks;
use house::pilot::{RATE, WIDTH, heard, pilot};
use house::room::Room;

const PACKET: u64 = 480;

/// The latency of a stream beyond what it began with, in seconds of the sender's clock: straight lines between corners at frames.
#[derive(Clone)]
struct Latency(Vec<(f64, f64)>);

impl Latency {
    /// From frame 0 on: for so many seconds each, at these slopes.
    fn new(lines: &[(f64, f64)]) -> Self {
        let mut corners = vec![(0.0, 0.0)];
        for (seconds, slope) in lines {
            let (frame, delay) = corners[corners.len() - 1];
            corners.push((frame + seconds * f64::from(RATE), delay + slope * seconds));
        }
        Self(corners)
    }

    fn exact(&self, frame: f64) -> f64 {
        let after = self.0.partition_point(|(corner, _)| *corner <= frame);
        let (Some(a), Some(b)) = (after.checked_sub(1).map(|n| self.0[n]), self.0.get(after)) else {
            return self.0.last().map_or(0.0, |(_, delay)| *delay);
        };
        a.1 + (b.1 - a.1) * (frame - a.0) / (b.0 - a.0)
    }

    /// At a packet's edge, as a sender tells it.
    fn told(&self, frame: u64) -> Span {
        Span::from_secs_f64(self.exact(frame as f64))
    }

    /// As the packets have it: even inside each.
    fn at(&self, frame: f64) -> f64 {
        let first = (frame.max(0.0) as u64) / PACKET * PACKET;
        let (from, to) = (self.told(first).as_secs_f64(), self.told(first + PACKET).as_secs_f64());
        from + (to - from) * (frame - first as f64) / PACKET as f64
    }
}

/// A room that hears a stream of gliding latency.
struct Gliding {
    room: Room,
    latency: Latency,
    /// Packets that are lost on the way.
    lost: Vec<u64>,
    /// How far off the sound was in every period, in seconds, by true time.
    errors: Vec<(f64, f64)>,
    clicks: f32,
    last: [f32; WIDTH],
}

impl Gliding {
    fn new(clocks: Clocks, latency: &Latency, seed: u64) -> Self {
        let (latency, errors) = (latency.clone(), Vec::new());
        Self { room: Room::new(clocks, seed), latency, lost: Vec::new(), errors, clicks: 0.0, last: [0.0; WIDTH] }
    }

    fn due(&self, frame: u64) -> f64 {
        self.room.due(frame) + self.latency.at(frame as f64) / (1.0 + self.room.clocks.sender_ppm * 1e-6)
    }

    fn expected(&self, at: f64) -> f64 {
        let mut frame = self.room.expected(at);
        for _ in 0..6 {
            frame = self.room.expected(at - self.latency.at(frame) / (1.0 + self.room.clocks.sender_ppm * 1e-6));
        }
        frame
    }

    fn push(&mut self) {
        let first = self.room.next;
        let samples: Vec<f32> = (first..first + PACKET).flat_map(|n| pilot(n as f64)).collect();
        let (from, to) = (self.latency.told(first), self.latency.told(first + PACKET));
        let stamp = self.room.clocks.sender(self.room.due(first)) + from;
        if !self.lost.contains(&(first / PACKET)) {
            self.room.feeder.push_gliding(stamp, to - from, &samples).expect("room");
        }
        self.room.next += PACKET;
    }

    /// Plays for so long.
    fn run(&mut self, seconds: f64, quantum: usize) {
        let until = self.room.now + seconds;
        while self.room.now < until {
            let horizon = self.room.now + quantum as f64 / f64::from(RATE) + self.room.ahead;
            while self.due(self.room.next) < horizon {
                self.push();
            }
            self.room.pull(quantum);
            for frame in self.room.out.chunks_exact(WIDTH) {
                let step = frame.iter().zip(&self.last).map(|(now, before)| (now - before).abs());
                self.clicks = step.fold(self.clicks, f32::max);
                self.last.copy_from_slice(frame);
            }
            let mut worst = 0.0_f64;
            for (offset, frame) in self.room.out.chunks_exact(WIDTH).enumerate() {
                let (behind, loudness) = heard(frame, self.expected(self.room.left(offset)));
                let behind = if loudness > 0.9995 { behind / f64::from(RATE) } else { f64::NAN };
                worst = if behind.abs() > worst.abs() || behind.is_nan() { behind } else { worst };
            }
            self.errors.push((self.room.left(0), worst));
        }
    }

    /// The largest error from `since` on, in microseconds; not a number where there was silence.
    fn worst_us(&self, since: f64) -> f64 {
        let late = self.errors.iter().filter(|(at, _)| *at > since).map(|(_, error)| (error * 1e6).abs());
        late.fold(0.0, |worst, error| if error.is_nan() || worst.is_nan() { f64::NAN } else { worst.max(error) })
    }
}

/// Up and down, slowly and fast, with corners inside packets.
fn ways() -> Latency {
    Latency::new(&[
        (6.001, 0.0),
        (4.0, 0.005),
        (1.5, 0.0),
        (4.003, -0.005),
        (1.0, 0.0),
        (3.0, 0.02),
        (0.3, -0.02),
        (2.0, 0.02),
        (3.0, -0.0005),
    ])
}

/// Where the glides begin, in seconds: the servos have nearly settled.
const SETTLED: f64 = 5.0;

#[test]
fn neither_servo_nor_sync_notices_a_glide() {
    let (sender_ppm, graph_ppm) = (20.0, 40.0);
    for quantum in [128, 2_048] {
        let fast = Clocks { sender_ppm, graph_ppm, player_ppm: -30.0, card_ppm: 80.0 };
        let slow = Clocks { sender_ppm, graph_ppm, player_ppm: 50.0, card_ppm: -60.0 };
        let play = |clocks, latency: &Latency| {
            let mut gliding = Gliding::new(clocks, latency, 1);
            gliding.run(25.0, quantum);
            gliding
        };
        let rooms = [fast, slow].map(|clocks| play(clocks, &ways()));
        let still = [fast, slow].map(|clocks| play(clocks, &Latency::new(&[])));
        for (room, still) in rooms.iter().zip(&still) {
            let disturbed = apart_us(room, still);
            let worst = room.worst_us(SETTLED);
            println!(
                "quantum {quantum}: off by {worst:.2} us at most, of which {disturbed:.2} us come from the glides"
            );
            assert!(disturbed < 3.0 && worst < 10.0, "quantum {quantum}: {disturbed}, {worst}");
            let (stats, usual) = (room.room.feeder.stats(), still.room.feeder.stats());
            assert_eq!((stats.underruns, stats.resyncs, stats.late_frames), (0, 0, 0));
            assert!((stats.ratio_ppm - usual.ratio_ppm).abs() < 1.0, "{} for {}", stats.ratio_ppm, usual.ratio_ppm);
            assert!(room.clicks < 0.02);
        }
        // What the glides do, they do to both.
        let more = apart_us(&rooms[0], &rooms[1]) - apart_us(&still[0], &still[1]);
        assert!(more < 1.0, "quantum {quantum}: {more} us further apart");
    }
}

/// The largest distance of two rooms that play the same, in us.
fn apart_us(a: &Gliding, b: &Gliding) -> f64 {
    let pairs = a.errors.iter().zip(&b.errors).filter(|((at, _), _)| *at > SETTLED);
    pairs.map(|(a, b)| (a.1 - b.1).abs() * 1e6).fold(0.0, f64::max)
}

#[test]
fn a_room_that_starts_in_mid_glide_starts_exactly() {
    for slope in [0.02, -0.02, 0.005] {
        for shift in [0.0, 0.25, 0.7] {
            let mut gliding = Gliding::new(Clocks::PERFECT, &Latency::new(&[(20.0, slope)]), 2);
            gliding.room.origin = (4_800.0 + shift) / f64::from(RATE);
            // It comes in when nine seconds have gone by: latency has changed by tens of milliseconds then.
            gliding.room.now = 9.0;
            gliding.room.next = (gliding.expected(9.05) / PACKET as f64) as u64 * PACKET;
            gliding.run(0.5, 256);
            let first = gliding.errors.iter().position(|(_, error)| !error.is_nan()).expect("it sounds");
            gliding.errors.drain(..first);
            let worst = gliding.worst_us(0.0);
            assert!(worst < 0.5, "slope {slope}, shift {shift}: {worst} us");
            // And when it is late: in the middle of a packet.
            let mut late = Gliding::new(Clocks::PERFECT, &Latency::new(&[(20.0, slope)]), 2);
            late.room.now = 9.0;
            late.room.next = (late.expected(8.9871) / PACKET as f64) as u64 * PACKET;
            late.run(0.5, 256);
            let first = late.errors.iter().position(|(_, error)| !error.is_nan()).expect("it sounds");
            late.errors.drain(..first);
            assert!(late.worst_us(0.0) < 0.5, "slope {slope}, late: {} us", late.worst_us(0.0));
        }
    }
}

#[test]
fn a_packet_lost_in_mid_glide_is_silence_of_its_length() {
    let mut gliding = Gliding::new(Clocks::PERFECT, &Latency::new(&[(6.0, 0.0), (10.0, 0.02)]), 3);
    gliding.lost = vec![700, 701, 750];
    gliding.run(5.0, 480);
    gliding.run(5.0, 480);
    let silent = gliding.errors.iter().filter(|(at, error)| *at > 5.0 && error.is_nan()).count();
    assert!((3..=8).contains(&silent), "{silent} periods with silence");
    gliding.errors.retain(|(_, error)| !error.is_nan());
    assert!(gliding.worst_us(5.0) < 3.0, "{}", gliding.worst_us(5.0));
    let stats = gliding.room.feeder.stats();
    assert_eq!((stats.underruns, stats.resyncs, stats.late_frames), (0, 0, 0));
    assert!((3 * 480..3 * 500).contains(&(stats.lost_frames as i64)), "{}", stats.lost_frames);
    assert!(gliding.clicks < 0.02);
}

#[test]
fn frames_that_come_twice_in_mid_glide_are_dropped() {
    let mut gliding = Gliding::new(Clocks::PERFECT, &Latency::new(&[(0.5, 0.0), (10.0, 0.02)]), 4);
    gliding.run(1.0, 480);
    gliding.room.next -= 3 * PACKET;
    gliding.run(1.0, 480);
    let stats = gliding.room.feeder.stats();
    assert_eq!((stats.late_frames, stats.underruns), (3 * PACKET, 0));
    assert!(gliding.worst_us(1.5) < 1.0, "{}", gliding.worst_us(1.5));
}

#[test]
fn a_glide_beyond_all_bounds_is_cut() {
    let mut room = Room::new(Clocks::PERFECT, 5);
    let wild = Span::from_secs(100);
    room.feeder.push_gliding(room.clocks.sender(0.1), wild, &[0.5; 960]).expect("room");
    room.feeder.push_gliding(room.clocks.sender(0.1105), -wild, &[0.5; 960]).expect("room");
    room.feeder.push_gliding(room.clocks.sender(0.12), Span::ZERO, &[0.5; 960]).expect("room");
    room.feeder.finish();
    for _ in 0..20 {
        room.pull(480);
    }
    let stats = room.feeder.stats();
    assert_eq!((stats.lost_frames, stats.late_frames), (0, 0), "5 % of a packet longer, then 5 % shorter");
    assert!((3 * 480 - 220..=3 * 480).contains(&(stats.played_frames as i64)), "{}", stats.played_frames);
}

/// What the filter and the last fade need beyond what is played, in seconds.
const RESERVE: f64 = (34.0 + 144.0) / RATE as f64;

#[test]
fn the_spare_is_what_the_latency_could_be_less_by() {
    for (ahead, quantum) in [(0.05, 480), (0.02, 480), (0.02, 2_048), (0.1, 64)] {
        let mut room = Room::new(Clocks::PERFECT, 6);
        room.ahead = ahead;
        room.run(1.0, quantum, |_| ());
        let _ = room.feeder.take_spare();
        room.run(1.0, quantum, |_| ());
        let spare = room.feeder.take_spare().expect("it plays").as_secs_f64();
        let left = ahead - RESERVE;
        assert!((left - 1e-3..left + 0.0101).contains(&spare), "{ahead}, {quantum}: {spare}");
        assert_eq!(room.feeder.take_spare(), None, "it was taken");
        // A moment of less is what counts.
        room.ahead = ahead / 2.0;
        room.run(0.1, quantum, |_| ());
        room.ahead = ahead;
        room.run(0.5, quantum, |_| ());
        let spare = room.feeder.take_spare().expect("it plays").as_secs_f64();
        let left = ahead / 2.0 - RESERVE;
        assert!((left - 1e-3..left + 0.0101).contains(&spare), "{ahead}, {quantum}: {spare}");
        assert!(room.feeder.stats().underruns == 0);
    }
}

#[test]
fn a_latency_that_does_not_suffice_is_told_by_how_much() {
    let mut room = Room::new(Clocks::PERFECT, 7);
    // Packets come when the last frames of the period have been due for 20 ms.
    room.ahead = -0.02;
    room.run(1.0, 2_048, |_| ());
    assert_eq!(room.state(), State::Waiting, "it cannot play");
    let spare = room.feeder.take_spare().expect("packets come").as_secs_f64();
    assert!((-0.02 - RESERVE - 1e-3..-0.02 - RESERVE + 0.0101).contains(&spare), "{spare}");
    // By that much more, it plays.
    room.ahead += 0.004 - spare;
    room.run(0.5, 2_048, |_| ());
    let _ = room.feeder.take_spare();
    room.run(1.0, 2_048, |_| ());
    assert_eq!((room.state(), room.feeder.stats().underruns), (State::Playing, 0));
    // When nothing comes, nothing is known of the latency. When something comes again, it is told by how much it was late.
    let _ = room.feeder.take_spare();
    for _ in 0..10 {
        room.pull(2_048);
    }
    assert_eq!(room.feeder.take_spare(), None);
    let late = room.now - room.due(room.next);
    room.run(0.1, 2_048, |_| ());
    let spare = room.feeder.take_spare().expect("packets come").as_secs_f64();
    assert!(late > 0.3 && (spare + late + RESERVE).abs() < 1e-3, "{late}, {spare}");
}

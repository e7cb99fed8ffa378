//! Puts the packets of a source onto the tape, each in its place: an unbroken run of frames by the source's own presentation stamps.
//! Pure: it is told the time.
//!
//! Frames are kept as they come, one behind the other, for as long as packets follow on each other: the recording then runs by the
//! source's sample clock, whatever the rate of that is, and by the glides of its latency. Where packets are missing, their number
//! tells how many frames of silence belong there, so that a recording is as long as what was streamed, to the frame. Only where
//! numbers and stamps disagree, as at the beginning of another stream, are the stamps' times converted to frames. While nothing is
//! streamed, time goes on at the nominal rate.

use std::collections::VecDeque;

use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
use audera_wire::StreamId;

use super::pace::{Pace, nominal};
use super::tape::Writer;

/// A packet that is off from where its number puts it by more than this, glides aside, is no successor: it is put where its stamp
/// says. A sender's clock may make steps of a quarter of it.
const STEP: Span = Span::from_millis(1);

/// So much may have been glided in packets that were lost.
const MOST_GLIDE: Span = Span::from_millis(50);

/// A clock by which the recording would be off by more than this at once is another one: a host was asleep.
const LEAP: Span = Span::from_millis(500);

/// Frames that are ahead of their time by more than this are not kept: no stream has such a latency.
pub(super) const AHEAD: Span = Span::from_millis(2_500);

/// Neither are those that are behind it by more than this; nobody would read them any more.
pub(super) const BEHIND: Span = Span::from_millis(2_500);

/// A packet as it came, but for its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamped {
    pub stream: StreamId,
    pub seq: u32,
    pub stamp: SenderTime,
    pub glide: Span,
}

/// Frames on the tape and when they are presented.
#[derive(Clone, Copy, Debug)]
struct Mark {
    first: u64,
    frames: u64,
    stamp: SenderTime,
    lasts: Span,
}

impl Mark {
    fn end(&self) -> u64 {
        self.first + self.frames
    }

    fn until(&self) -> SenderTime {
        self.stamp + self.lasts
    }
}

/// What became of the frames so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Put onto the tape.
    pub kept: u64,
    /// Silence in place of packets that did not come, within a stream.
    pub lost: u64,
    /// Came after their time; an application that was slow to read them got them all the same.
    pub late: u64,
    /// Packets with such frames.
    pub late_packets: u64,
    /// Not kept, as their stamps lie too far off or where others are already.
    pub refused: u64,
}

/// The writing end of a recording.
#[derive(Debug)]
pub(super) struct Reel {
    tape: Writer,
    rate: u32,
    pace: Pace,
    /// What is on the tape around now and later, oldest first, in the sender's time.
    marks: VecDeque<Mark>,
    /// The packet that was put on the tape last.
    last: Option<(StreamId, u32)>,
    counts: Counts,
    /// By how much the packets came before their time, at least, since it was taken last.
    spare: Option<Span>,
}

impl Reel {
    /// Begins with frame nought at `now`.
    pub fn new(tape: Writer, rate: u32, now: PlayerTime) -> Self {
        let marks = VecDeque::new();
        Self { tape, rate, pace: Pace::new(now, rate), marks, last: None, counts: Counts::default(), spare: None }
    }

    /// Frames a second, and samples in each.
    pub fn format(&self) -> (u32, usize) {
        (self.rate, self.tape.channels())
    }

    /// How the recording moves on at present.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// By how much the packets came before their time, at least, since this was asked last.
    pub fn take_spare(&mut self) -> Option<Span> {
        self.spare.take()
    }

    /// Time that is on the tape ahead of `now`.
    pub fn buffered(&self, now: PlayerTime) -> Span {
        let ahead = self.tape.end() as f64 - self.pace.frame_at(now);
        Span::from_secs_f64((ahead / f64::from(self.rate)).max(0.0))
    }

    /// The sender's clock is another one from here on, or none. The recording goes on by ours.
    pub fn forget_clock(&mut self, now: PlayerTime) {
        self.pace = Pace { at: now, frame: self.pace.frame_at(now), rate: nominal(self.rate) };
        self.marks.clear();
        self.last = None;
    }

    /// Time has passed, or more is known of the sender's clock.
    pub fn tick(&mut self, now: PlayerTime, clock: &ClockMap) {
        let time = clock.to_sender(now);
        while self.marks.get(1).is_some_and(|next| next.stamp <= time) {
            self.marks.pop_front();
        }
        let Some(mark) = self.marks.front() else { return self.forget_clock(now) };
        let even = nominal(self.rate);
        let since = |from: SenderTime| (time - from).as_nanos() as f64;
        // Within a packet by its own length, before and behind it at the nominal rate.
        let (frame, rate) = if time < mark.stamp {
            (mark.first as f64 + since(mark.stamp) * even, even)
        } else if time < mark.until() {
            let rate = mark.frames as f64 / mark.lasts.as_nanos().max(1) as f64;
            (mark.first as f64 + since(mark.stamp) * rate, rate)
        } else {
            (mark.end() as f64 + since(mark.until()) * even, even)
        };
        if (frame - self.pace.frame_at(now)).abs() > LEAP.as_frames(self.rate) {
            return self.forget_clock(now);
        }
        self.pace = Pace { at: now, frame, rate: rate * (1.0 + clock.skew()) };
    }

    /// Takes a packet that came at `now`, with its decoded frames.
    pub fn take(&mut self, now: PlayerTime, clock: &ClockMap, packet: Stamped, samples: &[f32]) {
        self.tick(now, clock);
        let channels = self.tape.channels();
        let frames = samples.len() / channels;
        let place = self.place_of(clock, &packet, frames);
        let (present, end) = (self.pace.frame_at(now), self.tape.end());
        let is_near = place <= present + AHEAD.as_frames(self.rate)
            && place + frames as f64 >= present - BEHIND.as_frames(self.rate);
        // What lies where others are already, or was to be heard before the recording began.
        let skipped = (end as f64 - place).clamp(0.0, frames as f64) as usize;
        if !is_near || skipped == frames {
            self.counts.refused += frames as u64;
            return;
        }
        let first = (place + skipped as f64) as u64;
        self.count(now, clock, &packet, first, frames - skipped);
        self.counts.refused += skipped as u64;
        self.tape.write(first, &samples[skipped * channels..]);
        let lasts = Span::from_frames(frames as i64, self.rate) + packet.glide;
        let before = lasts * skipped as i64 / frames as i64;
        let frames = (frames - skipped) as u64;
        self.marks.push_back(Mark { first, frames, stamp: packet.stamp + before, lasts: lasts - before });
        self.last = Some((packet.stream, packet.seq));
        self.tick(now, clock);
    }

    /// Counts a packet of which `frames` are about to be put at `first`.
    fn count(&mut self, now: PlayerTime, clock: &ClockMap, packet: &Stamped, first: u64, frames: usize) {
        let spare = clock.to_player(packet.stamp) - now;
        self.spare = Some(self.spare.map_or(spare, |least| least.min(spare)));
        let late = (self.pace.frame_at(now) - first as f64).clamp(0.0, frames as f64) as u64;
        if late > 0 {
            self.counts.late += late;
            self.counts.late_packets += 1;
        }
        if self.last.is_some_and(|(stream, _)| stream == packet.stream) {
            self.counts.lost += first - self.tape.end();
        }
        self.counts.kept += frames as u64;
    }

    /// The frame at which a packet of so many frames belongs: a whole number, and below nought before the recording began.
    fn place_of(&self, clock: &ClockMap, packet: &Stamped, frames: usize) -> f64 {
        let Some(before) = self.marks.back() else {
            return self.pace.frame_at(clock.to_player(packet.stamp)).round();
        };
        let gap = packet.stamp - before.until();
        if let Some((_, seq)) = self.last.filter(|(stream, _)| *stream == packet.stream) {
            let missing = i64::from(packet.seq.wrapping_sub(seq).wrapping_sub(1));
            let length = Span::from_frames(frames as i64, self.rate);
            let glides = (length / 20 * missing).min(MOST_GLIDE);
            if (gap - length * missing).abs() <= glides + STEP {
                return before.end() as f64 + missing as f64 * frames as f64;
            }
        }
        before.end() as f64 + gap.as_frames(self.rate).round()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tape::{Reader, tape};

    const RATE: u32 = 48_000;
    const FRAMES: usize = 480;
    const LATENCY: Span = Span::from_millis(100);

    /// A source under simulated time, whose frames are numbered from one and whose clock reads otherwise than ours.
    struct Source {
        reel: Reel,
        reader: Reader,
        clock: ClockMap,
        now: PlayerTime,
        stream: StreamId,
        seq: u32,
        /// When the next packet's first frame passes the source.
        passes: SenderTime,
        /// Its number.
        number: usize,
        /// How much longer a packet lasts than it should, by the source's crystal.
        crystal: Span,
        latency: Span,
    }

    impl Source {
        fn new() -> Self {
            let (writer, reader) = tape(1, 6 * RATE as usize);
            let now = PlayerTime::from_nanos(7_000_000_000);
            let clock = ClockMap::new(SenderTime::from_nanos(900_000_000_000), now, 20e-6);
            Self {
                reel: Reel::new(writer, RATE, now),
                reader,
                clock,
                now,
                stream: StreamId(1),
                seq: 0,
                passes: clock.to_sender(now),
                number: 1,
                crystal: Span::from_nanos(800),
                latency: LATENCY,
            }
        }

        /// Lets so many packets pass, `glide` being that of each; those for which `lost` says so do not come.
        fn stream(&mut self, packets: usize, glide: Span, lost: impl Fn(usize) -> bool) {
            for packet in 0..packets {
                let samples: Vec<f32> = (self.number..self.number + FRAMES).map(|n| n as f32).collect();
                let stamp = self.passes + self.latency;
                let stamped = Stamped { stream: self.stream, seq: self.seq, stamp, glide: self.crystal + glide };
                if !lost(packet) {
                    self.reel.take(self.now, &self.clock, stamped, &samples);
                }
                self.seq = self.seq.wrapping_add(1);
                self.number += FRAMES;
                self.latency += glide;
                self.pass(Span::from_frames(FRAMES as i64, RATE) + self.crystal);
            }
        }

        /// Lets time pass.
        fn pass(&mut self, span: Span) {
            self.passes += span;
            self.now = self.clock.to_player(self.passes);
            self.reel.tick(self.now, &self.clock);
        }

        /// All that is recorded so far.
        fn recorded(&self) -> Vec<f32> {
            let mut samples = vec![0.0; self.reel.tape.end() as usize];
            self.reader.read(0, &mut samples);
            samples
        }

        /// How far the recording is now, in frames.
        fn position(&self) -> f64 {
            self.reel.pace().frame_at(self.now)
        }

        /// How far it should be: by the frame that is presented now.
        fn presented(&self) -> f64 {
            let last = *self.reel.marks.back().unwrap();
            last.end() as f64 + (self.clock.to_sender(self.now) - last.until()).as_frames(RATE)
        }
    }

    /// Lengths of silence and of sound in turn; the sound is to be of one piece each.
    fn pieces(recorded: &[f32]) -> Vec<(usize, f32, usize)> {
        let mut pieces: Vec<(usize, f32, usize)> = Vec::new();
        for (at, &sample) in recorded.iter().enumerate().filter(|(_, sample)| **sample != 0.0) {
            match pieces.last_mut() {
                Some((from, first, frames)) if *from + *frames == at && sample == *first + *frames as f32 => {
                    *frames += 1
                }
                _ => pieces.push((at, sample, 1)),
            }
        }
        pieces
    }

    #[test]
    fn a_stream_is_one_piece_by_its_own_crystal() {
        let mut source = Source::new();
        source.stream(300, Span::ZERO, |_| false);
        let begin = LATENCY.as_frames(RATE) as usize;
        assert_eq!(pieces(&source.recorded()), [(begin, 1.0, 300 * FRAMES)]);
        // 80 ppm off, and yet the position is that of the frame which is presented.
        assert!((source.position() - source.presented()).abs() < 0.5, "{} {}", source.position(), source.presented());
        assert_eq!(source.reel.counts(), Counts { kept: 300 * FRAMES as u64, ..Counts::default() });
        let spare = source.reel.take_spare().unwrap();
        assert!((spare - LATENCY).abs() < Span::from_micros(10), "{spare}");
        assert_eq!(source.reel.take_spare(), None);
    }

    #[test]
    fn a_glide_of_the_latency_moves_no_frame() {
        let mut source = Source::new();
        source.stream(100, Span::from_micros(200), |_| false);
        let before = source.position();
        source.stream(100, Span::from_micros(-100), |_| false);
        assert_eq!(pieces(&source.recorded()).len(), 1);
        assert!((source.position() - source.presented()).abs() < 150.0);
        // Frames come the quicker the shorter they last.
        let passed = source.position() - before;
        assert!((48_000.0..48_600.0).contains(&passed), "{passed}");
    }

    #[test]
    fn what_is_lost_is_silence_of_the_same_length() {
        for glide in [Span::ZERO, Span::from_micros(200), Span::from_micros(-200)] {
            let mut source = Source::new();
            source.stream(50, glide, |packet| packet % 10 == 3 || (20..26).contains(&packet));
            let recorded = source.recorded();
            let begin = LATENCY.as_frames(RATE) as usize;
            for (at, &sample) in recorded.iter().enumerate().skip(begin) {
                let number = at - begin;
                let packet = number / FRAMES;
                let lost = packet % 10 == 3 || (20..26).contains(&packet);
                assert_eq!(sample, if lost { 0.0 } else { number as f32 + 1.0 }, "{at} {glide}");
            }
            assert_eq!(recorded.len(), begin + 50 * FRAMES);
            assert_eq!(source.reel.counts().lost, 10 * FRAMES as u64);
        }
    }

    #[test]
    fn a_gap_in_the_stamps_is_silence_and_an_overlap_is_left_out() {
        let mut source = Source::new();
        source.stream(50, Span::ZERO, |_| false);
        let begin = LATENCY.as_frames(RATE) as usize;
        source.pass(Span::from_millis(30));
        source.stream(10, Span::ZERO, |_| false);
        let second = begin + 50 * FRAMES + 1440;
        let first = (begin, 1.0, 50 * FRAMES);
        assert_eq!(pieces(&source.recorded()), [first, (second, 50.0 * FRAMES as f32 + 1.0, 10 * FRAMES)]);
        source.latency = LATENCY - Span::from_millis(25);
        source.stream(10, Span::ZERO, |_| false);
        let third = second + 10 * FRAMES;
        let number = 60 * FRAMES + 1200;
        let pieces = pieces(&source.recorded());
        assert_eq!(pieces[2], (third, number as f32 + 1.0, 10 * FRAMES - 1200));
        assert_eq!(source.reel.counts().refused, 1200);
    }

    #[test]
    fn another_stream_goes_on_in_the_same_time() {
        let mut source = Source::new();
        source.pass(Span::from_millis(300));
        source.stream(100, Span::ZERO, |_| false);
        for _ in 0..200 {
            source.pass(Span::from_millis(50));
        }
        (source.stream, source.seq) = (StreamId(2), 0);
        source.stream(100, Span::ZERO, |_| false);
        let recorded = source.recorded();
        let begin = 14_400 + LATENCY.as_frames(RATE) as usize;
        assert!(recorded[..begin].iter().all(|sample| *sample == 0.0));
        let pieces = pieces(&recorded);
        // 10 s of silence between them, by the sender's clock, to the frame; the tape holds no more than the last six seconds.
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].0, begin + 100 * FRAMES + 480_000);
        assert_eq!(source.reel.counts().lost, 0);
        assert!((source.position() - source.presented()).abs() < 0.5);
    }

    #[test]
    fn time_goes_on_without_a_source() {
        let mut source = Source::new();
        source.stream(50, Span::ZERO, |_| false);
        let before = source.position();
        source.reel.forget_clock(source.now);
        let later = source.now + Span::from_secs(60);
        let passed = source.reel.pace().frame_at(later) - before;
        assert!((passed - 60.0 * f64::from(RATE)).abs() < 1e-3, "{passed}");
        // It comes back with another clock.
        source.now = later;
        source.clock = ClockMap::new(SenderTime::from_nanos(5), later, 0.0);
        source.passes = SenderTime::from_nanos(5);
        (source.stream, source.seq) = (StreamId(1), 0);
        let due = source.reel.pace().frame_at(later) + LATENCY.as_frames(RATE);
        source.stream(5, Span::ZERO, |_| false);
        let recorded = source.recorded();
        let piece = *pieces(&recorded).last().unwrap();
        assert!((piece.0 as f64 - due).abs() <= 0.5, "{piece:?} {due}");
    }

    #[test]
    fn a_clock_that_has_jumped_moves_nothing() {
        let mut source = Source::new();
        source.stream(50, Span::ZERO, |_| false);
        for hour in [-3_600, 3_600] {
            let before = source.position();
            let elsewhere = source.passes + Span::from_secs(hour);
            source.clock = ClockMap::new(elsewhere, source.now, 0.0);
            source.passes = elsewhere;
            source.stream(10, Span::ZERO, |_| false);
            let passed = source.position() - before;
            assert!((passed - 4_800.0).abs() < 100.0, "{passed}");
        }
    }

    #[test]
    fn what_comes_late_is_put_in_its_place_all_the_same() {
        let mut source = Source::new();
        source.latency = Span::from_millis(-200);
        source.pass(Span::from_millis(300));
        source.stream(20, Span::ZERO, |_| false);
        assert_eq!(pieces(&source.recorded()), [(4_800, 1.0, 20 * FRAMES)]);
        let counts = source.reel.counts();
        assert_eq!((counts.late, counts.late_packets), (20 * FRAMES as u64, 20));
        assert!(source.reel.take_spare().unwrap().is_negative());
    }

    #[test]
    fn stamps_from_nowhere_are_refused() {
        let mut source = Source::new();
        source.stream(10, Span::ZERO, |_| false);
        let (before, passes) = (source.recorded().len(), source.passes);
        for far in [-1 << 61, -10_000_000_000, 10_000_000_000, 1 << 61] {
            source.latency = Span::from_nanos(far);
            source.stream(3, Span::ZERO, |_| false);
            assert!(source.reel.marks.len() <= 20);
        }
        assert_eq!(source.recorded().len(), before);
        assert_eq!(source.reel.counts().refused, 12 * FRAMES as u64);
        // And what is right is still taken.
        source.latency = LATENCY;
        source.stream(3, Span::ZERO, |_| false);
        let frames = (source.passes - passes).as_frames(RATE).round() as usize;
        assert!(source.recorded().len().abs_diff(before + frames) <= 1);
    }
}

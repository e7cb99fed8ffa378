//! The application's half of a stream that is paced by its rooms: what was written waits here until it is due, and can be taken back until then.
//!
//! Rooms play at exactly the nominal rate by the sender's monotonic clock. So a stream that has been started is a straight line: frame `n` leaves
//! the buffer at `start + n / rate`, and is heard the stream's latency after that. The application's side knows the line as well as the network
//! thread, and neither has to ask the other how far it is:
//!
//! ```text
//! application                                    network thread
//! Paced::write ──▶ buffer, until it is due ──▶ Release ──▶ Pump
//! Paced::start, hold ──ring of orders, eventfd──▶
//! Paced::heard_at, delay ◀──where the latency is, and glides to──
//! ```
//!
//! There is a new line with each start, and none while the stream is held.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

use audera_clock::{SenderTime, Span};
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// For how long the network thread may be held up before frames are lost that the application has written.
const SLACK: Span = Span::from_millis(1000);

/// A room that is not playing yet is given so much time to open its device: the first frame leaves the buffer as much later.
pub(crate) const LEAD: Span = Span::from_millis(200);

/// Starts and holds that may wait for the network thread.
const ORDERS: usize = 256;

/// What the application has decided, in stream positions: frames since the stream was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Frames leave from `position` on, the first of them at `at`.
    Start { position: u64, at: SenderTime },
    /// No frame leaves from `position` on.
    Hold { position: u64 },
}

/// When frames leave the buffer: a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    position: u64,
    at: SenderTime,
    rate: u32,
}

impl Line {
    /// The frames that have left by `now`, as a position.
    fn position_at(&self, now: SenderTime) -> u64 {
        let ns = i128::from((now - self.at).as_nanos().max(0));
        self.position + u64::try_from(ns * i128::from(self.rate) / 1_000_000_000).unwrap_or(0)
    }

    /// When the frame at `position` leaves, rounded up: by then [`position_at`](Self::position_at) has come to it.
    fn time_of(&self, position: u64) -> SenderTime {
        let frames = i128::from(position) - i128::from(self.position);
        let rate = i128::from(self.rate);
        let ns = (frames * 1_000_000_000 + rate - 1).div_euclid(rate);
        self.at + Span::from_nanos(i64::try_from(ns).unwrap_or(i64::MAX / 4))
    }
}

/// What both halves share.
#[derive(Debug)]
struct Shared {
    /// The bits of samples. The frame at a position lies at the position modulo the number of frames.
    samples: Box<[AtomicU32]>,
    channels: usize,
    /// Frames that fit.
    frames: u64,
    /// Frames are there up to this position; behind it is silence. Goes back when the application takes something back.
    written: AtomicU64,
    /// The largest position that was ever written to; frames that lie further back than the buffer is long are lost.
    highest: AtomicU64,
    /// From when on the rooms are taken to have opened their devices, ns; the largest number while none of them plays.
    ready_from: AtomicI64,
    latency: Outlook,
    discarded: AtomicU64,
}

/// What the application holds of a paced stream. Frames are counted from the last [`reset`](Paced::reset) on.
///
/// No method waits or allocates.
#[derive(Debug)]
pub struct Paced {
    shared: Arc<Shared>,
    orders: Producer<Order>,
    doorbell: Arc<OwnedFd>,
    rate: u32,
    /// The stream position of the application's frame 0.
    origin: u64,
    /// While frames leave.
    line: Option<Line>,
    /// The stream position at which the stream is held.
    held: u64,
    /// Until then the last packet before the hold lasts, which was filled up with silence: nothing new may leave earlier.
    filled_until: SenderTime,
    /// How long that may take.
    filling: Span,
    /// The latency as last read.
    latency: Path,
}

/// The network thread's half.
#[derive(Debug)]
pub(crate) struct Release {
    shared: Arc<Shared>,
    orders: Consumer<Order>,
    doorbell: Arc<OwnedFd>,
    rate: u32,
    line: Option<Line>,
    /// The line has begun and no frame of it was released yet, or some of its frames were given up.
    fresh: bool,
    /// Frames before this position were released.
    released: u64,
}

/// What the network thread finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Found {
    /// The application has started.
    Started,
    /// Frames have left the buffer: where the first of them stands, and when it left if that does not follow from those before it.
    Block { position: u64, frames: usize, anew: Option<SenderTime> },
    /// All frames up to where the application has held the stream have left.
    Held,
}

/// Makes both halves of a stream of `channels` channels at `rate`, with room for `frames` frames that are not due yet. Where it is held, silence
/// of up to `filling` is sent to fill packets.
pub(crate) fn paced(
    channels: usize,
    rate: u32,
    frames: usize,
    latency: Span,
    filling: Span,
) -> Result<(Paced, Release), rustix::io::Errno> {
    let frames = frames + (SLACK.as_secs_f64() * f64::from(rate)) as usize;
    let latency = Path { frame: 0, delay: latency, until: 0, target: latency };
    let shared = Arc::new(Shared {
        samples: (0..frames * channels).map(|_| AtomicU32::new(0)).collect(),
        channels,
        frames: frames as u64,
        written: AtomicU64::new(0),
        highest: AtomicU64::new(0),
        ready_from: AtomicI64::new(i64::MAX),
        latency: Outlook::new(latency),
        discarded: AtomicU64::new(0),
    });
    let (orders_in, orders_out) = RingBuffer::new(ORDERS);
    let doorbell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((
        Paced {
            shared: shared.clone(),
            orders: orders_in,
            doorbell: doorbell.clone(),
            rate,
            origin: 0,
            line: None,
            held: 0,
            filled_until: SenderTime::from_nanos(0),
            filling,
            latency,
        },
        Release { shared, orders: orders_out, doorbell, rate, line: None, fresh: false, released: 0 },
    ))
}

impl Paced {
    /// Writes interleaved samples, the first frame being number `at`. Frames that were written before and have not left the buffer may be
    /// written again; those that have left are past mending, and ignored. There is nothing behind the last frame of what was written last, and
    /// silence where frames were left out.
    pub fn write(&mut self, at: u64, samples: impl ExactSizeIterator<Item = f32>) {
        let shared = &*self.shared;
        let first = self.origin + at;
        let end = first + (samples.len() / shared.channels) as u64;
        // Before the samples, so that whoever reads one of them knows that what it has replaced is lost.
        shared.highest.fetch_max(end, Ordering::Relaxed);
        fence(Ordering::Release);
        // In the places of what was left out there is sound of long ago, which the network thread has not passed yet or may be copying.
        let written = shared.written.load(Ordering::Relaxed);
        let left_out = first.saturating_sub(written.max(end.saturating_sub(shared.frames)));
        let silence = std::iter::repeat_n(0.0, left_out as usize * shared.channels);
        let mut place = ((first - left_out) % shared.frames) as usize * shared.channels;
        for sample in silence.chain(samples) {
            shared.samples[place].store(sample.to_bits(), Ordering::Relaxed);
            place += 1;
            if place == shared.samples.len() {
                place = 0;
            }
        }
        shared.written.store(end, Ordering::Release);
    }

    /// The next frame that is written is number `at`, whatever came before: what was written from there on is taken back, and what is skipped is
    /// silence. Frames that have left the buffer are past mending.
    pub fn move_to(&mut self, at: u64) {
        // Silence is written with the frames behind it.
        self.shared.written.fetch_min(self.origin + at, Ordering::Release);
    }

    /// Lets frames leave from now on; later by the time that rooms need to open their devices if they do not play yet, and by some hundredths of
    /// a second where a hold was just before. Nothing while they leave.
    pub fn start(&mut self, now: SenderTime) {
        if self.line.is_some() {
            return;
        }
        let at = now + self.lead(now);
        self.line = Some(Line { position: self.held, at, rate: self.rate });
        self.order(Order::Start { position: self.held, at });
    }

    /// Keeps what has not left the buffer by now. Nothing while it is held.
    pub fn hold(&mut self, now: SenderTime) {
        if let Some(line) = self.line.take() {
            self.held = line.position_at(now);
            if self.held > line.position {
                self.filled_until = now + self.filling;
            }
            self.order(Order::Hold { position: self.held });
        }
    }

    /// Forgets what has not left the buffer by now, and counts from nought. The stream is held.
    pub fn reset(&mut self, now: SenderTime) {
        self.hold(now);
        self.origin = self.held;
        // What was not written in time stays unwritten.
        self.shared.written.fetch_min(self.held, Ordering::Release);
    }

    /// Frames that have left the buffer by `now`.
    #[must_use]
    pub fn position(&self, now: SenderTime) -> u64 {
        self.line.map_or(self.held, |line| line.position_at(now)) - self.origin
    }

    /// Frames that have been heard by `now`, of those that have left since the last start.
    pub fn heard(&mut self, now: SenderTime) -> u64 {
        let path = self.latency();
        let Some(line) = self.line else { return self.held - self.origin };
        let mut position = line.position_at(now);
        // The latency belongs to the frame that is looked for. It changes by a fiftieth of the time at most, so this closes in on it.
        for _ in 0..3 {
            position = line.position_at(now - path.at(position));
        }
        position - self.origin
    }

    /// When frame `number` leaves the buffer; `None` while the stream is held.
    #[must_use]
    pub fn leaves_at(&self, number: u64) -> Option<SenderTime> {
        self.line.map(|line| line.time_of(self.origin + number))
    }

    /// When frame `number` is heard; `None` while the stream is held.
    pub fn heard_at(&mut self, number: u64) -> Option<SenderTime> {
        let latency = self.latency_of(number);
        self.leaves_at(number).map(|leaves| leaves + latency)
    }

    /// The time from `now` until frames leave: none while they do. If the stream is held, what it is were it started now.
    #[must_use]
    pub fn lead(&self, now: SenderTime) -> Span {
        let first = self.line.map(|line| line.at).unwrap_or_else(|| {
            let ready = SenderTime::from_nanos(self.shared.ready_from.load(Ordering::Relaxed));
            ready.min(now + LEAD).max(self.filled_until)
        });
        (first - now).max(Span::ZERO)
    }

    /// The time from `now` until frame `number` is heard; none once it was, or while the stream is held.
    pub fn until_heard(&mut self, number: u64, now: SenderTime) -> Span {
        self.heard_at(number).map_or(Span::ZERO, |heard_at| (heard_at - now).max(Span::ZERO))
    }

    /// From the moment at which frame `number` leaves the buffer to that at which it is heard.
    pub fn latency_of(&mut self, number: u64) -> Span {
        let position = self.origin + number;
        self.latency().at(position)
    }

    fn latency(&mut self) -> Path {
        if let Some(path) = self.shared.latency.read() {
            self.latency = path;
        }
        self.latency
    }

    /// Whether nobody takes what is written any more, and nobody ever will: the stream is closed, or the network thread has ended.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.orders.is_abandoned()
    }

    fn order(&mut self, order: Order) {
        // A full ring means that the network thread has been dead for hundreds of orders.
        let _ = self.orders.push(order);
        // The counter of an eventfd cannot fill up by ones, and a full one has rung already.
        let _ = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes());
    }
}

impl Release {
    pub(crate) fn channels(&self) -> usize {
        self.shared.channels
    }

    /// Takes the next thing that has happened by `now`; the samples of a block are appended to `out`.
    pub(crate) fn next(&mut self, now: SenderTime, out: &mut Vec<f32>) -> Option<Found> {
        let order = self.orders.peek().ok().copied();
        let Some(line) = self.line else {
            match order? {
                Order::Start { position, at } => {
                    self.line = Some(Line { position, at, rate: self.rate });
                    (self.fresh, self.released) = (true, position);
                    let _ = self.orders.pop();
                    return Some(Found::Started);
                }
                Order::Hold { .. } => {
                    let _ = self.orders.pop();
                    return Some(Found::Held);
                }
            }
        };
        let until = match order {
            Some(Order::Hold { position }) => position,
            Some(Order::Start { .. }) | None => line.position_at(now),
        };
        if until <= self.released {
            if order.is_some() {
                let _ = self.orders.pop();
                self.line = None;
                return Some(Found::Held);
            }
            return None;
        }
        self.fresh |= self.skip(until);
        let position = self.released;
        self.copy(until, out);
        self.released = until;
        let anew = std::mem::take(&mut self.fresh).then(|| line.time_of(position));
        Some(Found::Block { position, frames: (until - position) as usize, anew })
    }

    /// Gives up what lies further before `until` than the buffer is long, as it does once the process was stopped for a while: it is due, cannot be
    /// there any more, and is not worth the memory. Tells whether that was anything.
    fn skip(&mut self, until: u64) -> bool {
        let kept_from = until.saturating_sub(self.shared.frames);
        if kept_from <= self.released {
            return false;
        }
        let written = self.shared.highest.load(Ordering::Relaxed).clamp(self.released, kept_from);
        self.shared.discarded.fetch_add(written - self.released, Ordering::Relaxed);
        self.released = kept_from;
        true
    }

    /// Appends the frames up to `until` that were not released yet.
    fn copy(&self, until: u64, out: &mut Vec<f32>) {
        let Shared { samples, channels, frames, .. } = &*self.shared;
        let begin = out.len();
        let written = self.shared.written.load(Ordering::Acquire).clamp(self.released, until);
        let wanted = (written - self.released) as usize * channels;
        let place = (self.released % frames) as usize * channels;
        let bits = samples[place..].iter().chain(samples.iter().cycle());
        out.extend(bits.take(wanted).map(|bits| f32::from_bits(bits.load(Ordering::Relaxed))));
        // What the application did not write in time is silence.
        out.resize(begin + (until - self.released) as usize * channels, 0.0);
        fence(Ordering::Acquire);
        let lost_until = self.shared.highest.load(Ordering::Relaxed).saturating_sub(*frames);
        let lost = lost_until.clamp(self.released, until) - self.released;
        if lost > 0 {
            out[begin..begin + lost as usize * channels].fill(0.0);
            self.shared.discarded.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// When the frame before `position` has left; `None` while the stream is held.
    pub(crate) fn time_of(&self, position: u64) -> Option<SenderTime> {
        // Something leaves before anything is to be done.
        self.line.map(|line| line.time_of(position.max(self.released + 1)))
    }

    /// Frames before this position were released.
    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    /// From when on the rooms have their devices open; `None` while none of them plays.
    pub(crate) fn set_ready(&self, from: Option<SenderTime>) {
        self.shared.ready_from.store(from.map_or(i64::MAX, SenderTime::as_nanos), Ordering::Relaxed);
    }

    /// Tells the application where the latency goes.
    pub(crate) fn set_latency(&self, path: Path) {
        self.shared.latency.publish(path);
    }

    pub(crate) fn doorbell(&self) -> Arc<OwnedFd> {
        self.doorbell.clone()
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.shared.discarded.load(Ordering::Relaxed)
    }
}

/// The latency of a stream by its frames: it goes from `delay` at `frame` along a straight line to `target` at `until`, and stays there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) frame: u64,
    pub(crate) delay: Span,
    pub(crate) until: u64,
    pub(crate) target: Span,
}

impl Path {
    fn at(&self, frame: u64) -> Span {
        if frame >= self.until {
            return self.target;
        }
        let gone = i128::from(frame.saturating_sub(self.frame));
        let change = i128::from((self.target - self.delay).as_nanos());
        let whole = i128::from(self.until.saturating_sub(self.frame)).max(1);
        self.delay + Span::from_nanos(i64::try_from(change * gone / whole).unwrap_or(0))
    }
}

/// A [`Path`] that one thread writes and another reads, neither of which waits: a sequence lock (H.-J. Boehm, "Can seqlocks get along with
/// programming language memory models?", 2012).
#[derive(Debug)]
struct Outlook {
    /// Odd while it is being written.
    version: AtomicU64,
    words: [AtomicI64; 4],
}

impl Outlook {
    fn new(path: Path) -> Self {
        let outlook = Outlook { version: AtomicU64::new(0), words: Default::default() };
        outlook.publish(path);
        outlook
    }

    fn publish(&self, path: Path) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = [path.frame as i64, path.delay.as_nanos(), path.until as i64, path.target.as_nanos()];
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// `None` while it is being written.
    fn read(&self) -> Option<Path> {
        let before = self.version.load(Ordering::Acquire);
        let [frame, delay, until, target] = [0, 1, 2, 3].map(|n: usize| self.words[n].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = before % 2 == 0 && self.version.load(Ordering::Relaxed) == before;
        let (delay, target) = (Span::from_nanos(delay), Span::from_nanos(target));
        whole.then_some(Path { frame: frame as u64, delay, until: until as u64, target })
    }
}

#[cfg(test)]
mod tests {
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
            let expected =
                [left, vec![0.0; 960], vec![1.0; 240], vec![0.0; 480], vec![2.0; 240], vec![0.0; 480]].concat();
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
}

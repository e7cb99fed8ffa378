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

use crate::outlook::{Outlook, Path};

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

#[cfg(test)]
#[path = "paced_tests.rs"]
mod tests;

//! The reading end of the buffer: which frame is due when, where an unbroken run of packets ends, and the frames.

use std::collections::VecDeque;

use audera_clock::{SenderTime, Span};
use rtrb::Consumer;

/// A decoded packet whose samples are in the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// Index of its first frame, counted from the first ever pushed.
    pub first: i64,
    pub frames: i64,
    /// When its first frame is to be heard.
    pub stamp: SenderTime,
    /// By how much its frames together last longer than nominal.
    pub glide: Span,
    /// It does not follow on the packet before it without a gap.
    pub opens_run: bool,
}

impl Packet {
    /// A place for one.
    const NONE: Self =
        Self { first: 0, frames: 0, stamp: SenderTime::from_nanos(0), glide: Span::ZERO, opens_run: false };

    pub fn end(&self) -> i64 {
        self.first + self.frames
    }

    /// When what follows on it without a gap is to be heard.
    pub fn until(&self, rate: u32) -> SenderTime {
        self.stamp + Span::from_frames(self.frames, rate) + self.glide
    }

    /// How long one of its frames lasts, in nominal frames.
    fn frame(&self, rate: u32) -> f64 {
        1.0 + self.glide.as_frames(rate) / self.frames.max(1) as f64
    }
}

/// A stretch of output frames over which the stream moves on evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stride {
    /// Output frames.
    pub frames: usize,
    /// Stream frames for each of them.
    pub step: f64,
}

/// A place between frames, exact however long a stream has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    pub frame: i64,
    /// Fraction of a frame, 0 up to but not including 1.
    pub part: f64,
}

impl Position {
    pub fn of(frame: i64) -> Self {
        Self { frame, part: 0.0 }
    }

    pub fn plus(self, frames: f64) -> Self {
        let part = self.part + frames;
        let whole = part.floor();
        Self { frame: self.frame + whole as i64, part: part - whole }
    }

    /// Distance from `other` in frames.
    pub fn minus(self, other: Self) -> f64 {
        (self.frame - other.frame) as f64 + (self.part - other.part)
    }
}

/// Stamps nearer to each other than this, in seconds, do not tell their rate.
const LEAST_STRETCH_OF_TIME: f64 = 0.02;

/// Packets whose frames last equally long but for this, relative, glide alike: their glides are rounded to nanoseconds.
const ALIKE: f64 = 2e-6;

/// No sender's device runs further off its nominal rate than this, relative.
const MAX_STRETCH: f64 = 1e-3;

/// The buffered stream as the audio thread sees it.
#[derive(Debug)]
pub(crate) struct Source {
    samples: Consumer<f32>,
    incoming: Consumer<Packet>,
    /// Packets that are not played out yet, oldest first; its capacity is never exceeded.
    packets: VecDeque<Packet>,
    /// Index of the frame at the head of the ring.
    cursor: i64,
    width: usize,
    rate: u32,
}

impl Source {
    pub fn new(samples: Consumer<f32>, incoming: Consumer<Packet>, width: usize, rate: u32) -> Self {
        let mut packets = VecDeque::new();
        // Written to here, where it may take its time: the audio thread would have to wait for each of its pages to come from the kernel.
        packets.resize(incoming.buffer().capacity(), Packet::NONE);
        packets.clear();
        Self { samples, incoming, packets, cursor: 0, width, rate }
    }

    /// Takes notice of the packets that have arrived; tells when the first of them is to be heard.
    pub fn refresh(&mut self) -> Option<SenderTime> {
        let mut first = None;
        while self.packets.len() < self.packets.capacity() {
            let Ok(packet) = self.incoming.pop() else {
                break;
            };
            first = first.or(Some(packet.stamp));
            self.packets.push_back(packet);
        }
        first
    }

    /// Forgets the packets that end at or before `frame`.
    pub fn forget_before(&mut self, frame: i64) {
        while self.packets.front().is_some_and(|packet| packet.end() <= frame) {
            self.packets.pop_front();
        }
    }

    /// The oldest packet, after [`forget_before`](Self::forget_before) the one that holds that frame or the next.
    pub fn front(&self) -> Option<&Packet> {
        self.packets.front()
    }

    /// The first packet of a later run that is to be heard no later than the front one, if there is one: then what
    /// lies before it belongs to a timeline the sender has given up.
    pub fn superseded_at(&self) -> Option<i64> {
        let front = self.packets.front()?;
        let later = self.packets.iter().skip(1);
        later.filter(|packet| packet.opens_run).find(|packet| packet.stamp <= front.stamp).map(|packet| packet.first)
    }

    /// When the sound at `position` is due, by the stamp and the glide of the packet that holds it. `None` with nothing buffered.
    pub fn due(&self, position: Position) -> Option<SenderTime> {
        let within = |packet: &&Packet| position.frame < packet.end();
        let packet = self.packets.iter().find(within).or(self.packets.back())?;
        let frames = position.minus(Position::of(packet.first)) * packet.frame(self.rate);
        Some(packet.stamp + Span::from_secs_f64(frames / f64::from(self.rate)))
    }

    /// How long the frame at `position` lasts by the glide of its packet, in nominal frames.
    pub fn frame_at(&self, position: Position) -> f64 {
        let packet = self.packets.iter().find(|packet| position.frame < packet.end()).or(self.packets.back());
        packet.map_or(1.0, |packet| packet.frame(self.rate))
    }

    /// How far the stream moves on from `from` while `frames` nominal frames pass, by the glides of its packets; in frames.
    pub fn advance(&self, from: Position, frames: f64) -> f64 {
        let mut left = frames;
        let mut moved = 0.0;
        let mut last = 1.0;
        for packet in self.packets.iter().filter(|packet| from.frame < packet.end()) {
            last = packet.frame(self.rate);
            let whole = Position::of(packet.end()).minus(from) - moved;
            if whole * last >= left {
                return moved + left / last;
            }
            moved += whole;
            left -= whole * last;
        }
        // What has not come yet goes on as what has.
        moved + left / last
    }

    /// The next stretch of up to `most` output frames, at `pace` nominal frames for each: it ends where the glide changes, so that a
    /// constant step is true to it.
    pub fn stride(&self, from: Position, pace: f64, most: usize) -> Stride {
        let mut frames = most;
        let mut packets = self.packets.iter().filter(|packet| from.frame < packet.end());
        if let Some(first) = packets.next() {
            let length = first.frame(self.rate);
            let alike = |packet: &&Packet| (packet.frame(self.rate) - length).abs() < ALIKE;
            let beyond = from.frame + 2 * most as i64;
            let bend = match packets.find(|packet| !alike(packet) || packet.first > beyond) {
                Some(other) => Position::of(other.first).minus(from) * length / pace,
                None => f64::INFINITY,
            };
            if bend < most as f64 {
                frames = (bend.ceil() as usize).clamp(1, most);
            }
        }
        Stride { frames, step: self.advance(from, frames as f64 * pace) / frames.max(1) as f64 }
    }

    /// How much longer than nominal the frames of the front run are by their stamps, beyond what they glide by, relative; zero where too
    /// little of it is buffered to tell.
    pub fn stretch(&self) -> f64 {
        let Some(first) = self.packets.front() else {
            return 0.0;
        };
        let (mut last, mut count, mut glide) = (first, 0, Span::ZERO);
        for packet in self.packets.iter().skip(1).take_while(|packet| !packet.opens_run) {
            glide += last.glide;
            (last, count) = (packet, count + 1);
        }
        let nominal = (last.first - first.first) as f64 / f64::from(self.rate);
        if count < 2 || nominal < LEAST_STRETCH_OF_TIME {
            return 0.0;
        }
        ((last.stamp - first.stamp - glide).as_secs_f64() / nominal - 1.0).clamp(-MAX_STRETCH, MAX_STRETCH)
    }

    /// The frame before which the unbroken run that holds `frame` ends, as far as it has arrived, and whether
    /// something else follows it so that it will not grow.
    pub fn run_end(&self, frame: i64) -> (i64, bool) {
        let mut end = frame;
        for packet in &self.packets {
            if packet.first > frame && packet.opens_run {
                return (packet.first, true);
            }
            end = end.max(packet.end());
        }
        (end, false)
    }

    /// Fills `out` with the interleaved frames from `from` on. What lies before the head of the ring or at `end` and
    /// beyond is silence; what is read is gone.
    pub fn read(&mut self, from: i64, end: i64, out: &mut [f32]) {
        if self.cursor < from {
            self.discard_to(from.min(end));
        }
        let count = (out.len() / self.width) as i64;
        let lead = (self.cursor - from).clamp(0, count);
        let wanted = (end - self.cursor).clamp(0, count - lead);
        let (silence, rest) = out.split_at_mut(lead as usize * self.width);
        silence.fill(0.0);
        let available = (self.samples.slots() / self.width) as i64;
        let taken = wanted.min(available) as usize * self.width;
        if let Ok(chunk) = self.samples.read_chunk(taken) {
            let (first, second) = chunk.as_slices();
            rest[..first.len()].copy_from_slice(first);
            rest[first.len()..taken].copy_from_slice(second);
            chunk.commit_all();
            self.cursor += (taken / self.width) as i64;
        }
        rest[taken..].fill(0.0);
    }

    /// Throws away everything before `frame` but as many frames of the same run as `past` says, which a filter that
    /// starts right there will ask for.
    pub fn discard_before(&mut self, frame: i64, past: i64) {
        let opening = self.packets.front().filter(|packet| packet.opens_run).map_or(i64::MIN, |packet| packet.first);
        self.discard_to((frame - past).max(opening.min(frame)));
    }

    /// Throws away everything before `frame` that is still in the ring.
    fn discard_to(&mut self, frame: i64) {
        let available = (self.samples.slots() / self.width) as i64;
        let dropped = (frame - self.cursor).clamp(0, available);
        if let Ok(chunk) = self.samples.read_chunk(dropped as usize * self.width) {
            chunk.commit_all();
            self.cursor += dropped;
        }
    }
}

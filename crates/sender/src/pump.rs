//! The network thread's side of one stream: blocks become packets, encoded once for each format in use.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use audera_clock::{FrameClock, Observed, Sender, SenderTime, Span};
use audera_codec::{CodecError, Encoder};
use audera_wire::{AudioError, MAX_LATENCY, StreamFormat, StreamId, encode_audio};

use crate::gate::{Gate, GateConfig, Passage};
use crate::glide::{Delay, Slope};
use crate::outlook::Path;
use crate::paced::{Found, Release};
use crate::stall::Stalls;
use crate::tap::{Mark, Outflow};

/// Stamps may make such steps: players take them for wobble.
const UNNOTICED: Span = Span::from_micros(250);

/// A graph's clock that turns out earlier than was thought makes the latency this much longer at most: it takes minutes to come back.
const MOST_EXCESS: Span = Span::from_millis(200);

/// The first packets wait for the graph's clock to be sure of itself, which takes two cycles that agree, while they hold no more than this, and
/// no more than half of the latency.
const MOST_HELD: Span = Span::from_millis(40);

/// An encoded packet, ready for every player that takes its format.
#[derive(Debug)]
pub(crate) struct Packet {
    /// The whole audio frame as it goes over the wire.
    pub(crate) bytes: Vec<u8>,
    /// Presentation time of the packet's last frame: after it the packet is of no use.
    pub(crate) useless_after: SenderTime,
}

/// What the next block asks of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Turn {
    /// Nothing to play.
    Quiet,
    /// The gate opened: start the players, then encode.
    Opened,
    /// Encode.
    Play,
    /// The gate closed: end the stream.
    Closing,
    /// The application has started: start the players.
    Started,
    /// The application has paused or stopped: what does not fill a packet is not followed by anything.
    Held,
}

/// Where blocks come from.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// From a graph, whenever it has one.
    Tap(Outflow),
    /// From an application's buffer, when they are due.
    Paced(Release),
}

impl Inflow {
    fn channels(&self) -> usize {
        match self {
            Inflow::Tap(outflow) => outflow.channels,
            Inflow::Paced(release) => release.channels(),
        }
    }

    /// Says that nothing is to be done before frames up to `position` are there.
    fn rest_until(&self, position: u64) {
        match self {
            Inflow::Tap(outflow) => outflow.rest_until(position),
            // It is looked at when it is due.
            Inflow::Paced(_) => {}
        }
    }
}

/// Why a packet could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Audio(#[from] AudioError),
}

#[derive(Debug)]
struct Encoding {
    format: StreamFormat,
    encoder: Encoder,
    /// Interleaved samples that do not fill a packet yet.
    pending: Vec<f32>,
    /// Position of the first pending frame.
    pending_at: u64,
    seq: u32,
    payload: Vec<u8>,
    complained: bool,
    /// Sound has gone into it that has not all come out.
    used: bool,
}

/// What stays below this, -80 dBFS, is silence.
const SILENCE: f32 = 1e-4;

/// Sound that breaks off is faded out within this.
const FADE_OUT: Span = Span::from_millis(3);

/// Blocks in, packets out; no I/O.
#[derive(Debug)]
pub(crate) struct Pump {
    inflow: Inflow,
    rate: u32,
    clock: FrameClock<Sender>,
    gate: Option<Gate>,
    /// From the graph's time to the presentation time, by frame.
    delay: Delay,
    /// Where the delay is, or glides to.
    target: Span,
    /// The least of it that the players need, and the most that they can hold; `None` while that is not known.
    bearable: Option<(Span, Span)>,
    /// From when on the players have their devices open; `None` while none plays.
    ready: Option<SenderTime>,
    encodings: Vec<Encoding>,
    block: Vec<f32>,
    block_at: u64,
    expected: u64,
    playing: bool,
    /// Packets have been stamped since the begin, or since the stream was anchored anew.
    stamped: bool,
    /// There was something to be heard since then, and at the end of the latest block.
    sounded: bool,
    breaks_off: bool,
    stalls: Stalls,
}

impl Pump {
    pub(crate) fn new(inflow: Inflow, rate: u32, latency: Span, gate: Option<GateConfig>) -> Self {
        let channels = inflow.channels();
        let target = latency + gate.map_or(Span::ZERO, |config| config.preroll);
        Pump {
            inflow,
            rate,
            clock: FrameClock::new(rate),
            gate: gate.map(|config| Gate::new(config, rate, channels)),
            delay: Delay::new(rate, target),
            target,
            bearable: None,
            ready: None,
            encodings: Vec::new(),
            block: Vec::new(),
            block_at: 0,
            expected: 0,
            playing: false,
            stamped: false,
            sounded: false,
            breaks_off: false,
            stalls: Stalls::default(),
        }
    }

    pub(crate) fn doorbell(&self) -> Arc<OwnedFd> {
        match &self.inflow {
            Inflow::Tap(outflow) => outflow.doorbell(),
            Inflow::Paced(release) => release.doorbell(),
        }
    }

    pub(crate) fn discarded(&self) -> u64 {
        match &self.inflow {
            Inflow::Tap(outflow) => outflow.discarded(),
            Inflow::Paced(release) => release.discarded(),
        }
    }

    /// From the graph's time to the presentation time, in full, as far as it has come.
    pub(crate) fn delay(&self) -> Span {
        self.delay.at(self.expected as i64)
    }

    /// The same when it has come to rest.
    pub(crate) fn target(&self) -> Span {
        self.target
    }

    /// Lets the delay glide to `target`; at once while nothing plays. `slope` is for the way up: down there is never a hurry, and up there always
    /// is, whatever the target was before.
    pub(crate) fn glide(&mut self, target: Span, slope: Slope) {
        self.target = target;
        if self.playing {
            let slope = if target < self.delay() { Slope::Gentle } else { slope.max(Slope::Brisk) };
            self.delay.glide(self.expected as i64, target, slope);
        } else {
            self.delay.set(target);
        }
        self.tell_delay();
    }

    /// The same by somebody's wish, who wants to see it come true: there is as much hurry on the way down.
    pub(crate) fn steer(&mut self, target: Span) {
        self.target = target;
        if self.playing {
            self.delay.glide(self.expected as i64, target, Slope::Brisk);
        } else {
            self.delay.set(target);
        }
        self.tell_delay();
    }

    /// Tells the application of a paced stream where the delay is and goes.
    fn tell_delay(&self) {
        if let Inflow::Paced(release) = &self.inflow {
            let (until, target) = self.delay.rest();
            let path = Path { frame: self.expected, delay: self.delay(), until: until.max(0) as u64, target };
            release.set_latency(path);
        }
    }

    /// Tells the least delay that the players need, and the most that they can hold: a jump of the graph's clock must leave it between.
    pub(crate) fn set_bearable(&mut self, bearable: Option<(Span, Span)>) {
        self.bearable = bearable;
    }

    /// By how much packets that the players tell of at `now` may have been late for no fault of the network: this process stood still, which it
    /// does not do often.
    pub(crate) fn excused(&self, now: SenderTime) -> Span {
        let late = self.stalls.excused(now);
        if late == Span::ZERO {
            return late;
        }
        // What came a packet before may not have got out, and waited longer by that.
        let length = |encoding: &Encoding| Span::from_frames(i64::from(encoding.format.frames), encoding.format.rate);
        late + self.encodings.iter().map(length).max().unwrap_or(Span::ZERO)
    }

    /// Makes sure that packets of `format` are made while the stream plays.
    pub(crate) fn add_format(&mut self, format: StreamFormat, bitrate: u32) -> Result<(), CodecError> {
        if self.encodings.iter().any(|encoding| encoding.format == format) {
            return Ok(());
        }
        let encoder = Encoder::new(format, bitrate)?;
        self.inflow.rest_until(0);
        self.encodings.push(Encoding {
            format,
            encoder,
            pending: Vec::new(),
            pending_at: 0,
            seq: 0,
            payload: Vec::new(),
            complained: false,
            used: false,
        });
        Ok(())
    }

    /// Has the encoders that there are go on at another Opus bit rate, bit/s.
    pub(crate) fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        self.encodings.iter_mut().try_for_each(|encoding| encoding.encoder.set_bitrate(bitrate))
    }

    /// Makes packets of those formats only that are `used`, until others are added.
    pub(crate) fn retain_formats(&mut self, used: impl Fn(&StreamFormat) -> bool) {
        self.encodings.retain(|encoding| used(&encoding.format));
    }

    /// The formats that packets are made of.
    #[cfg(test)]
    pub(crate) fn formats(&self) -> impl Iterator<Item = StreamFormat> {
        self.encodings.iter().map(|encoding| encoding.format)
    }

    /// Begins to let blocks through (streams without a gate). The players have their devices open from `ready` on.
    pub(crate) fn begin(&mut self, ready: SenderTime) {
        self.inflow.rest_until(0);
        self.delay.set(self.target);
        self.bearable = None;
        (self.stamped, self.sounded) = (false, false);
        self.playing = true;
        self.set_ready(Some(ready));
        self.tell_delay();
    }

    /// Takes note whether any player listens; the first that does has its device open from `ready` on.
    pub(crate) fn heed_listeners(&mut self, any: bool, ready: SenderTime) {
        self.set_ready(any.then(|| self.ready.unwrap_or(ready)));
    }

    fn set_ready(&mut self, from: Option<SenderTime>) {
        self.ready = from;
        if let Inflow::Paced(release) = &self.inflow {
            release.set_ready(from);
        }
    }

    /// Ends the stream; formats are forgotten, since the next stream's players may want others.
    pub(crate) fn end(&mut self) {
        self.inflow.rest_until(0);
        self.playing = false;
        self.encodings.clear();
        self.set_ready(None);
    }

    /// Takes the next block that is there at `now`.
    pub(crate) fn pull(&mut self, now: SenderTime) -> Option<Turn> {
        self.block.clear();
        match &mut self.inflow {
            Inflow::Tap(outflow) => {
                let mark = outflow.next(&mut self.block)?;
                Some(self.graph_turn(now, mark))
            }
            Inflow::Paced(release) => Some(match release.next(now, &mut self.block)? {
                Found::Started => Turn::Started,
                Found::Held => Turn::Held,
                Found::Block { position, frames, anew } => {
                    self.expected = position + frames as u64;
                    self.block_at = position;
                    if let Some(at) = anew {
                        // Known, not observed: there is nothing to filter, and one point is all of the line.
                        self.clock = FrameClock::new(self.rate);
                        let _ = self.clock.observe(position, at);
                    }
                    let full = self.next_full().filter(|full| self.playing && *full <= self.expected);
                    if let Some(due) = full.and_then(|full| self.clock.time_of(full)) {
                        self.stalls.note(now, now - due);
                    }
                    if self.playing { Turn::Play } else { Turn::Quiet }
                }
            }),
        }
    }

    /// What a block of a graph means.
    fn graph_turn(&mut self, now: SenderTime, mark: Mark) -> Turn {
        if let Some(gate) = self.gate.as_mut().filter(|_| mark.position != self.expected) {
            gate.forget();
        }
        self.expected = mark.position + mark.frames as u64;
        self.block_at = mark.position;
        let predicted = self.clock.time_of(mark.position);
        let observed = self.clock.observe(mark.position, mark.at);
        let passed = self.clock.time_of(mark.position);
        if let (Some(before), Some(after)) = (predicted, passed) {
            self.bridge(now, after - before, observed);
        }
        if let Some(passed) =
            passed.filter(|_| self.playing && self.next_full().is_some_and(|next| next <= self.expected))
        {
            // It was rung for, and is taken as soon as this process gets to it.
            self.stalls.note(now, now - passed);
        }
        let Some(gate) = &mut self.gate else {
            return if self.playing { Turn::Play } else { Turn::Quiet };
        };
        match gate.pass(&self.block) {
            Passage::Closed => Turn::Quiet,
            Passage::Open if self.playing => Turn::Play,
            Passage::Open => Turn::Quiet,
            Passage::Opened => {
                self.block = gate.take_history();
                self.block_at = self.expected.saturating_sub((self.block.len() / self.inflow.channels()) as u64);
                Turn::Opened
            }
            Passage::Closing => Turn::Closing,
        }
    }

    /// Keeps the stamps without a step when the graph's clock has made one, by taking the step out of the delay, from where it glides back.
    /// So a card that ran dry here, or a graph that changed its quantum, is not heard in any room; unless that takes more of the delay than
    /// the rooms can do without: then all of them have a gap. As long as nothing but silence has gone out, or no player has its device open, a gap is
    /// heard by nobody, and there is nothing to glide for. A player on this host that opens its device commonly changes the quantum of the graph.
    fn bridge(&mut self, now: SenderTime, step: Span, observed: Observed) {
        if step.abs() <= UNNOTICED {
            return;
        }
        let left = self.delay() - step;
        // Until the players have told what they need, they may need all there is.
        let (least, most) = self.bearable.unwrap_or((self.target, MAX_LATENCY));
        let excess = self.target + MOST_EXCESS;
        let heard = self.playing && self.stamped && self.sounded && self.ready.is_some_and(|ready| ready <= now);
        if heard && (least..=most.min(excess)).contains(&left) {
            tracing::debug!(%step, %left, ?observed, "the graph's clock jumped: the latency makes up for it");
            self.delay.shift(-step);
            let slope = if left < self.target { Slope::Brisk } else { Slope::Gentle };
            self.delay.glide(self.expected as i64, self.target, slope);
        } else {
            tracing::debug!(%step, ?observed, "the graph's clock jumped: the stream is anchored anew");
            self.delay.set(self.target);
            // After the gap it is as at a begin: nothing is stamped before the clock is sure, and there is nothing to keep without a step.
            (self.stamped, self.sounded) = (false, false);
        }
    }

    /// Encodes the block that [`pull`](Self::pull) took, for all formats; `emit` gets every packet that got full.
    pub(crate) fn encode(&mut self, id: StreamId, mut emit: impl FnMut(&StreamFormat, Packet)) {
        let channels = self.inflow.channels();
        let held = self.held();
        let is_sound = |sample: &f32| sample.abs() > SILENCE;
        self.sounded = self.sounded || self.block.iter().any(is_sound);
        let last = self.block.len().saturating_sub(FADE_OUT.as_frames(self.rate) as usize * channels);
        self.breaks_off = self.block[last..].iter().any(is_sound);
        for encoding in &mut self.encodings {
            let pending_frames = (encoding.pending.len() / channels) as u64;
            if encoding.pending_at + pending_frames != self.block_at {
                // Frames were discarded in between: what does not reach a packet's end is given up, the stamps tell the gap.
                encoding.pending.clear();
                encoding.pending_at = self.block_at;
            }
            encoding.pending.extend_from_slice(&self.block);
            encoding.used = true;
            let waits = Span::from_frames((encoding.pending.len() / channels) as i64, encoding.format.rate);
            if waits < held {
                continue;
            }
            self.stamped |= waits >= Span::from_frames(i64::from(encoding.format.frames), encoding.format.rate);
            encoding.emit_full(id, channels, &self.clock, &self.delay, &mut emit);
        }
    }

    /// How much sound has to wait before it may be stamped: stamps are to be right from the first on, and what a graph that has just begun, or
    /// goes on after a rest, tells of its first cycles is not always.
    fn held(&self) -> Span {
        let known = self.stamped || self.clock.is_sure() || matches!(self.inflow, Inflow::Paced(_));
        if known { Span::ZERO } else { MOST_HELD.min(self.target / 2) }
    }

    /// The position that has to be reached for the next packet to get full.
    fn next_full(&self) -> Option<u64> {
        self.encodings.iter().map(|encoding| encoding.pending_at + u64::from(encoding.format.frames)).min()
    }

    /// Has the audio thread ring only when the next packet gets full, once all that waits has been taken. A gate is to hear of every block.
    pub(crate) fn rest(&self) {
        let next = self.next_full().filter(|_| self.gate.is_none() && self.playing);
        self.inflow.rest_until(next.unwrap_or(0));
    }

    /// When there is next something to take from an application's buffer: with a whole packet, or after as long as a usual one while nobody
    /// listens. `None` for others, who ring.
    pub(crate) fn next_due(&self) -> Option<SenderTime> {
        let Inflow::Paced(release) = &self.inflow else { return None };
        release.time_of(self.next_full().unwrap_or(release.released() + u64::from(self.rate / 50)))
    }

    /// Encodes what does not fill a packet, and what the encoder has kept back, filled up with silence: the end of a stream is heard as well.
    /// Sound that breaks off in a graph is faded out. Where too little of it is left for that, it is left to the players, which fade out what they have.
    pub(crate) fn flush(&mut self, id: StreamId, mut emit: impl FnMut(&StreamFormat, Packet)) {
        let channels = self.inflow.channels();
        // A paced stream ends where its application has ended it, and there exactly.
        let breaks_off = self.breaks_off && matches!(self.inflow, Inflow::Tap(_));
        for encoding in self.encodings.iter_mut().filter(|encoding| encoding.used) {
            encoding.used = false;
            let frames = encoding.pending.len() / channels;
            let fade = FADE_OUT.as_frames(encoding.format.rate) as usize;
            if breaks_off && frames < fade {
                encoding.pending.clear();
                continue;
            }
            if breaks_off {
                fade_out(&mut encoding.pending[(frames - fade) * channels..], channels);
            }
            let whole =
                (frames + encoding.encoder.lookahead() as usize).next_multiple_of(usize::from(encoding.format.frames));
            encoding.pending.resize(whole * channels, 0.0);
            encoding.emit_full(id, channels, &self.clock, &self.delay, &mut emit);
        }
    }
}

/// Ramps interleaved sound down to silence, along the half of a cosine's square.
fn fade_out(sound: &mut [f32], channels: usize) {
    let step = std::f32::consts::FRAC_PI_2 / (sound.len() / channels + 1) as f32;
    for (index, frame) in sound.chunks_exact_mut(channels).enumerate() {
        let gain = (step * (index + 1) as f32).cos().powi(2);
        frame.iter_mut().for_each(|sample| *sample *= gain);
    }
}

impl Encoding {
    /// Encodes all full packets that are pending.
    fn emit_full(
        &mut self,
        id: StreamId,
        channels: usize,
        clock: &FrameClock<Sender>,
        delay: &Delay,
        emit: &mut impl FnMut(&StreamFormat, Packet),
    ) {
        let frames = usize::from(self.format.frames);
        let length = Span::from_frames(i64::from(self.format.frames), self.format.rate);
        let lookahead = i64::from(self.encoder.lookahead());
        let earlier = Span::from_frames(lookahead, self.format.rate);
        let full = self.pending.len() / (frames * channels);
        for samples in self.pending.chunks_exact(frames * channels) {
            self.payload.clear();
            // What decoding gives begins earlier than what is encoded: by the lookahead.
            let first = self.pending_at as i64 - lookahead;
            let (begin, end) = (delay.at(first), delay.at(first + frames as i64));
            let glide = end - begin;
            let stamp = clock.time_of(self.pending_at).map(|passed| passed + begin - earlier);
            if let Some(stamp) = stamp {
                let mut bytes = Vec::new();
                let encoded = self.encoder.encode(samples, &mut self.payload).map_err(PumpError::from).and_then(|()| {
                    bytes.reserve(self.payload.len() + 32);
                    Ok(encode_audio(id, self.seq, stamp, glide, &self.payload, &mut bytes)?)
                });
                match encoded {
                    Ok(()) => emit(&self.format, Packet { bytes, useless_after: stamp + length + glide }),
                    // A packet that cannot be made is a gap; one line tells of all of them.
                    Err(error) if !std::mem::replace(&mut self.complained, true) => {
                        tracing::warn!(%error, "packets could not be made, and are left out");
                    }
                    Err(_) => {}
                }
            }
            self.seq = self.seq.wrapping_add(1);
            self.pending_at += frames as u64;
        }
        self.pending.drain(..full * frames * channels);
    }
}

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;

//! The network thread's side of one stream: blocks become packets, encoded once for each format in use.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use audera_clock::{FrameClock, Observed, Sender, SenderTime, Span};
use audera_codec::{CodecError, Encoder};
use audera_wire::{AudioError, StreamFormat, StreamId, encode_audio};

use crate::gate::{Gate, GateConfig, Passage};
use crate::tap::Outflow;

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
}

/// Blocks in, packets out; no I/O.
#[derive(Debug)]
pub(crate) struct Pump {
    outflow: Outflow,
    clock: FrameClock<Sender>,
    gate: Option<Gate>,
    /// From the graph's time to the presentation time.
    delay: Span,
    encodings: Vec<Encoding>,
    block: Vec<f32>,
    block_at: u64,
    expected: u64,
    playing: bool,
}

impl Pump {
    pub(crate) fn new(outflow: Outflow, rate: u32, latency: Span, gate: Option<GateConfig>) -> Self {
        let channels = outflow.channels;
        Pump {
            outflow,
            clock: FrameClock::new(rate),
            gate: gate.map(|config| Gate::new(config, rate, channels)),
            delay: latency + gate.map_or(Span::ZERO, |config| config.preroll),
            encodings: Vec::new(),
            block: Vec::new(),
            block_at: 0,
            expected: 0,
            playing: false,
        }
    }

    pub(crate) fn doorbell(&self) -> Arc<OwnedFd> {
        self.outflow.doorbell()
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.outflow.discarded()
    }

    /// From the graph's time to the presentation time, in full.
    pub(crate) fn delay(&self) -> Span {
        self.delay
    }

    /// Makes sure that packets of `format` are made while the stream plays.
    pub(crate) fn add_format(&mut self, format: StreamFormat, bitrate: u32) -> Result<(), CodecError> {
        if self.encodings.iter().any(|encoding| encoding.format == format) {
            return Ok(());
        }
        let encoder = Encoder::new(format, bitrate)?;
        self.encodings.push(Encoding {
            format,
            encoder,
            pending: Vec::new(),
            pending_at: 0,
            seq: 0,
            payload: Vec::new(),
            complained: false,
        });
        Ok(())
    }

    /// Begins to let blocks through (streams without a gate).
    pub(crate) fn begin(&mut self) {
        self.playing = true;
    }

    /// Ends the stream; formats are forgotten, since the next stream's players may want others.
    pub(crate) fn end(&mut self) {
        self.playing = false;
        self.encodings.clear();
    }

    /// Takes the next block the audio thread left.
    pub(crate) fn pull(&mut self) -> Option<Turn> {
        self.block.clear();
        let mark = self.outflow.next(&mut self.block)?;
        if let Some(gate) = self.gate.as_mut().filter(|_| mark.position != self.expected) {
            gate.forget();
        }
        self.expected = mark.position + mark.frames as u64;
        self.block_at = mark.position;
        if let Observed::Reanchored { jump } = self.clock.observe(mark.position, mark.at) {
            tracing::debug!(%jump, "the graph's clock jumped: the stream is anchored anew");
        }
        let Some(gate) = &mut self.gate else {
            return Some(if self.playing { Turn::Play } else { Turn::Quiet });
        };
        Some(match gate.pass(&self.block) {
            Passage::Closed => Turn::Quiet,
            Passage::Open if self.playing => Turn::Play,
            Passage::Open => Turn::Quiet,
            Passage::Opened => {
                self.block = gate.take_history();
                self.block_at = self.expected.saturating_sub((self.block.len() / self.outflow.channels) as u64);
                Turn::Opened
            }
            Passage::Closing => Turn::Closing,
        })
    }

    /// Encodes the block that [`pull`](Self::pull) took, for all formats; `emit` gets every packet that got full.
    pub(crate) fn encode(&mut self, id: StreamId, mut emit: impl FnMut(&StreamFormat, Packet)) {
        let channels = self.outflow.channels;
        for encoding in &mut self.encodings {
            let pending_frames = (encoding.pending.len() / channels) as u64;
            if encoding.pending_at + pending_frames != self.block_at {
                // Frames were discarded in between: what does not reach a packet's end is given up, the stamps tell the gap.
                encoding.pending.clear();
                encoding.pending_at = self.block_at;
            }
            encoding.pending.extend_from_slice(&self.block);
            encoding.emit_full(id, channels, &self.clock, self.delay, &mut emit);
        }
    }

    /// Encodes what does not fill a packet, filled up with silence: the end of a stream is heard as well.
    pub(crate) fn flush(&mut self, id: StreamId, mut emit: impl FnMut(&StreamFormat, Packet)) {
        let channels = self.outflow.channels;
        for encoding in self.encodings.iter_mut().filter(|encoding| !encoding.pending.is_empty()) {
            encoding.pending.resize(usize::from(encoding.format.frames) * channels, 0.0);
            encoding.emit_full(id, channels, &self.clock, self.delay, &mut emit);
        }
    }
}

impl Encoding {
    /// Encodes all full packets that are pending.
    fn emit_full(
        &mut self,
        id: StreamId,
        channels: usize,
        clock: &FrameClock<Sender>,
        delay: Span,
        emit: &mut impl FnMut(&StreamFormat, Packet),
    ) {
        let frames = usize::from(self.format.frames);
        let length = Span::from_frames(i64::from(self.format.frames), self.format.rate);
        let lookahead = Span::from_frames(i64::from(self.encoder.lookahead()), self.format.rate);
        let full = self.pending.len() / (frames * channels);
        for samples in self.pending.chunks_exact(frames * channels) {
            self.payload.clear();
            let stamp = clock.time_of(self.pending_at).map(|passed| passed + delay - lookahead);
            if let Some(stamp) = stamp {
                let mut bytes = Vec::new();
                let encoded = self.encoder.encode(samples, &mut self.payload).map_err(PumpError::from).and_then(|()| {
                    bytes.reserve(self.payload.len() + 32);
                    Ok(encode_audio(id, self.seq, stamp, &self.payload, &mut bytes)?)
                });
                match encoded {
                    Ok(()) => emit(&self.format, Packet { bytes, useless_after: stamp + length }),
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

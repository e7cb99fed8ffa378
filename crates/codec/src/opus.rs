//! Opus through libopus, set up for music.

use std::fmt;
use std::num::NonZeroUsize;

use audera_wire::{MAX_OPUS_PACKET, StreamFormat};
use opusic_c::{Application, Bitrate, Channels, ErrorCode, SampleRate};

use crate::fade::Fade;
use crate::pcm::finite;
use crate::{CodecError, samples_in};

/// Lowest bit rate, bit/s: below it, music audibly suffers.
pub const MIN_BITRATE: u32 = 64_000;

/// Highest bit rate, bit/s: above it, PCM is the better choice.
pub const MAX_BITRATE: u32 = 320_000;

/// libopus's effort, 0 to 10. `examples/complexity.rs` measures it: stereo with libopus 1.3.1 took 0.8 to 1.5 % of one core of a busy x86-64
/// virtual machine at 5, against 1.4 to 2.0 % at 10, which makes it the largest part of what a sender does. Signal over residual was 0.2 to
/// 0.4 dB less at 5 than at 10 on recorded speech, and between equal and 0.4 dB more on made-up music.
const COMPLEXITY: u8 = 5;

/// Without the coder for speech, which libopus never chooses at these bit rates, and for which it would hold back everything by 4 ms: packets of the
/// same sound are as faithful with either, and it looks ahead 2.5 ms instead of 6.5 ms.
const APPLICATION: Application = Application::LowDelay;

pub(crate) struct Encoder {
    inner: opusic_c::Encoder,
    lookahead: u32,
    /// The bit rate that is in force, and the one that it comes to, bit/s.
    bitrate: u32,
    wanted: u32,
    /// Samples made finite, where it is needed: libopus would blank the whole packet for one of them.
    mended: Vec<f32>,
}

impl Encoder {
    /// The caller has validated `format`.
    pub(crate) fn new(format: &StreamFormat, bitrate: u32) -> Result<Self, CodecError> {
        check_bitrate(bitrate)?;
        let mut inner = opusic_c::Encoder::new(channels(format), SampleRate::Hz48000, APPLICATION)
            .map_err(library("make an encoder"))?;
        inner.set_bitrate(Bitrate::Value(bitrate)).map_err(library("set the bit rate"))?;
        inner.set_complexity(COMPLEXITY).map_err(library("set the complexity"))?;
        // Packets may vary with the music, but the rate holds over about a second: network and queues are sized by it.
        inner.set_vbr(true).map_err(library("set variable bit rate"))?;
        inner.set_vbr_constraint(true).map_err(library("constrain the bit rate"))?;
        let lookahead = inner.get_look_ahead().map_err(library("tell its lookahead"))?;
        Ok(Self { inner, lookahead, bitrate, wanted: bitrate, mended: Vec::with_capacity(samples_in(format)) })
    }

    pub(crate) fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        check_bitrate(bitrate)?;
        self.wanted = bitrate;
        Ok(())
    }

    /// Comes to the bit rate that is wanted: upwards at once, and downwards by a tenth with each packet. By its constraint libopus owes up to one packet
    /// of what it has spent at the former rate; at a much lower one it would pay that with packets of next to nothing, which is heard as a gap.
    fn approach(&mut self) -> Result<(), CodecError> {
        if self.bitrate != self.wanted {
            let next = self.wanted.max(self.bitrate * 9 / 10);
            self.inner.set_bitrate(Bitrate::Value(next)).map_err(library("set the bit rate"))?;
            self.bitrate = next;
        }
        Ok(())
    }

    pub(crate) const fn lookahead(&self) -> u32 {
        self.lookahead
    }

    pub(crate) fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.approach()?;
        let samples = if samples.iter().all(|sample| sample.is_finite()) {
            samples
        } else {
            self.mended.clear();
            self.mended.extend(samples.iter().copied().map(finite));
            &self.mended
        };
        out.resize(MAX_OPUS_PACKET, 0);
        let encoded = self.inner.encode_float_to_slice(samples, out).map_err(library("encode"));
        out.truncate(*encoded.as_ref().unwrap_or(&0));
        encoded.map(|_len| ())
    }
}

pub(crate) struct Decoder {
    inner: opusic_c::Decoder,
    fade: Fade,
}

impl Decoder {
    /// The caller has validated `format`.
    pub(crate) fn new(format: &StreamFormat) -> Result<Self, CodecError> {
        let inner = opusic_c::Decoder::new(channels(format), SampleRate::Hz48000).map_err(library("make a decoder"))?;
        let channels = NonZeroUsize::new(format.channels.into()).unwrap_or(NonZeroUsize::MIN);
        Ok(Self { inner, fade: Fade::new(channels) })
    }

    pub(crate) fn decode(
        &mut self,
        format: &StreamFormat,
        payload: Option<&[u8]>,
        out: &mut Vec<f32>,
    ) -> Result<(), CodecError> {
        out.resize(samples_in(format), 0.0);
        // Of an empty payload libopus conceals the loss; a received one is never empty (`check_payload`).
        let decoded = match self.inner.decode_float_to_slice(payload.unwrap_or_default(), out, false) {
            Ok(frames) if frames == usize::from(format.frames) => Ok(()),
            // Longer packets do not fit the buffer, shorter ones leave a part of it.
            Ok(_) | Err(ErrorCode::BufferTooSmall) => Err(CodecError::Duration { format: *format }),
            Err(ErrorCode::InvalidPacket) => Err(CodecError::Damaged { reason: ErrorCode::InvalidPacket.message() }),
            Err(other) => Err(library("decode")(other)),
        };
        match (&decoded, payload) {
            (Err(_), _) => out.clear(),
            (Ok(()), Some(_)) => self.fade.received(out),
            (Ok(()), None) => self.fade.concealed(out),
        }
        decoded
    }
}

fn check_bitrate(bitrate: u32) -> Result<(), CodecError> {
    match bitrate {
        MIN_BITRATE..=MAX_BITRATE => Ok(()),
        _ => Err(CodecError::Bitrate { bitrate }),
    }
}

fn channels(format: &StreamFormat) -> Channels {
    if format.channels == 1 { Channels::Mono } else { Channels::Stereo }
}

fn library(action: &'static str) -> impl Fn(ErrorCode) -> CodecError {
    move |code| CodecError::Library { action, reason: code.message() }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("opus::Encoder").field("lookahead", &self.lookahead).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("opus::Decoder").field("fade", &self.fade).finish_non_exhaustive()
    }
}

//! PCM and Opus packet encoders and decoders of Audera: samples to the payload of one packet and back; when it plays is not known here.
//!
//! Samples are interleaved `f32`, full scale ±1.0, and one call is one packet of [`StreamFormat::frames`] frames. Both ends write
//! into a vector of the caller's, which is cleared first; once it has grown to the size of a packet, nothing is allocated any more.
//!
//! This is the only crate that touches libopus. It links the system's shared library (1.3 or later).

#![forbid(unsafe_code)]

use audera_wire::{Coding, FormatError, StreamFormat};

mod fade;
mod opus;
mod pcm;

pub use opus::{MAX_BITRATE, MIN_BITRATE};

/// Why something cannot be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The stream's format is not one of those accepted, or a packet's length is impossible in it.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The bit rate is out of range.
    #[error("bitrate {bitrate} bit/s is not accepted with opus: use {MIN_BITRATE} to {MAX_BITRATE}")]
    Bitrate {
        /// The bit rate, bit/s.
        bitrate: u32,
    },
    /// Not the samples of exactly one packet.
    #[error("{samples} samples are not one packet of {format}: give {}", samples_in(.format))]
    Samples {
        /// Samples given, all channels counted.
        samples: usize,
        /// The stream's format.
        format: StreamFormat,
    },
    /// The payload is no Opus packet. Decode `None` in its place to conceal the loss.
    #[error("the packet is damaged: libopus says \"{reason}\"")]
    Damaged {
        /// What libopus says of it.
        reason: &'static str,
    },
    /// An Opus packet lasts longer or shorter than the stream's packets do. Decode `None` in its place to conceal the loss.
    #[error("an opus packet does not last the {} frames of {format}", .format.frames)]
    Duration {
        /// The stream's format.
        format: StreamFormat,
    },
    /// libopus refused a setting or failed inside; the installed library may be damaged.
    #[error("libopus cannot {action}: {reason}")]
    Library {
        /// What was tried, as a verb.
        action: &'static str,
        /// What libopus says.
        reason: &'static str,
    },
}

/// Samples of all channels in one packet.
fn samples_in(format: &StreamFormat) -> usize {
    usize::from(format.frames) * usize::from(format.channels)
}

/// Turns samples into the payloads of a stream's packets.
#[derive(Debug)]
pub struct Encoder {
    format: StreamFormat,
    kind: EncoderKind,
}

#[derive(Debug)]
enum EncoderKind {
    Pcm,
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    /// An encoder for `format`. `bitrate` is for Opus only, in bit/s, [`MIN_BITRATE`] to [`MAX_BITRATE`]; PCM does not look at it.
    ///
    /// # Errors
    /// [`CodecError::Format`] or [`CodecError::Bitrate`] name the value and what is accepted.
    pub fn new(format: StreamFormat, bitrate: u32) -> Result<Self, CodecError> {
        format.validate()?;
        let kind = match format.coding {
            Coding::PcmS16le | Coding::PcmS24le | Coding::PcmF32le => EncoderKind::Pcm,
            Coding::Opus => EncoderKind::Opus(Box::new(opus::Encoder::new(&format, bitrate)?)),
        };
        Ok(Self { format, kind })
    }

    /// Encodes one packet: `out` is cleared and receives the payload. `samples` are interleaved, exactly `format.frames` frames.
    ///
    /// Integer codings round to the nearest step and clamp to full scale. NaN becomes 0 in every coding, and infinity full scale,
    /// so that one bad sample of an application harms no filter or speaker behind.
    ///
    /// # Errors
    /// [`CodecError::Samples`] for another number of samples; `out` is empty then.
    pub fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.clear();
        if samples.len() != samples_in(&self.format) {
            return Err(CodecError::Samples { samples: samples.len(), format: self.format });
        }
        match &mut self.kind {
            EncoderKind::Pcm => {
                pcm::encode(self.format.coding, samples, out);
                Ok(())
            }
            EncoderKind::Opus(encoder) => encoder.encode(samples, out),
        }
    }

    /// Encodes at another bit rate from the next packet on, see [`new`](Self::new). A lower one is come to within some packets, so that none of them has to
    /// be much coarser than what follows.
    ///
    /// # Errors
    /// [`CodecError::Bitrate`] names what is accepted; all stays as it is.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        match &mut self.kind {
            EncoderKind::Pcm => Ok(()),
            EncoderKind::Opus(encoder) => encoder.set_bitrate(bitrate),
        }
    }

    /// Frames by which the decoded audio lags behind what was encoded; 0 for PCM. The first frame of a decoded packet belongs this
    /// much before the first frame that was encoded into it, so a sender subtracts it from the packet's stamp.
    pub fn lookahead(&self) -> u32 {
        match &self.kind {
            EncoderKind::Pcm => 0,
            EncoderKind::Opus(encoder) => encoder.lookahead(),
        }
    }

    /// The format of the stream.
    pub const fn format(&self) -> StreamFormat {
        self.format
    }
}

/// Turns the payloads of a stream's packets into samples.
#[derive(Debug)]
pub struct Decoder {
    format: StreamFormat,
    kind: DecoderKind,
}

#[derive(Debug)]
enum DecoderKind {
    Pcm,
    Opus(Box<opus::Decoder>),
}

impl Decoder {
    /// A decoder for `format`.
    ///
    /// # Errors
    /// [`CodecError::Format`] names the value and what is accepted.
    pub fn new(format: StreamFormat) -> Result<Self, CodecError> {
        format.validate()?;
        let kind = match format.coding {
            Coding::PcmS16le | Coding::PcmS24le | Coding::PcmF32le => DecoderKind::Pcm,
            Coding::Opus => DecoderKind::Opus(Box::new(opus::Decoder::new(&format)?)),
        };
        Ok(Self { format, kind })
    }

    /// Decodes one packet: `out` is cleared and receives exactly `format.frames` frames, interleaved, every sample finite.
    ///
    /// `None` stands for a packet that was lost. Opus continues what it heard last (packet loss concealment) and fades to silence
    /// between 40 and 120 ms; PCM is silent.
    ///
    /// # Errors
    /// When the payload is damaged or of the wrong length; `out` is empty then, and the stream can go on.
    pub fn decode(&mut self, payload: Option<&[u8]>, out: &mut Vec<f32>) -> Result<(), CodecError> {
        out.clear();
        if let Some(payload) = payload {
            self.format.check_payload(payload.len())?;
        }
        match (&mut self.kind, payload) {
            (DecoderKind::Pcm, Some(payload)) => {
                pcm::decode(self.format.coding, payload, out);
                Ok(())
            }
            (DecoderKind::Pcm, None) => {
                out.resize(samples_in(&self.format), 0.0);
                Ok(())
            }
            (DecoderKind::Opus(decoder), payload) => decoder.decode(&self.format, payload, out),
        }
    }

    /// The format of the stream.
    pub const fn format(&self) -> StreamFormat {
        self.format
    }
}

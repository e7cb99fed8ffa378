//! Where sound leaves the player: what every output device offers, and the choice of one. Each kind lives in a module of its own.
//!
//! Opening takes two steps, because the playout must be built for what the device really takes:
//! [`Output::open`] claims the device and tells its [`DeviceFormat`]; [`OpenDevice::start`] takes the
//! [`Puller`] built for that format and lets the device pull from it.
//! Both may take some tens of milliseconds, more with sleepy USB devices: keep them off a thread that must stay prompt.

pub mod alsa;
pub mod file;
mod health;
pub mod null;
pub mod pipewire;
mod priority;
mod thread;

use std::sync::Arc;

use audera_clock::{PlayerTime, Span};
use audera_playout::Puller;
use thiserror::Error;

use crate::config::{Config, OutputChoice};
use crate::mixer::{Mixer, MixerError};
pub use health::{DeviceGuard, Health, Playing};

/// What a device pulls, fixed while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceFormat {
    /// Frames per second that the device pulls (nominal; its crystal differs by some ppm).
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u16,
    /// The most frames the device pulls at once.
    pub max_pull: usize,
    /// How long before a frame is heard it is pulled, as far as known before the start.
    pub latency: Span,
}

/// A device that can be opened for a stream, again and again.
pub trait Output: Send {
    /// What to call the device in logs, such as `alsa:hw:0`.
    fn name(&self) -> String;

    /// Tells the latency of the stream that the device is opened for next: what an output buffers has to fit in it. Outputs whose buffer is given
    /// by the configuration or the device need not care.
    fn set_latency(&mut self, latency: Span) {
        let _ = latency;
    }

    /// Claims the device for a stream of `rate` and `channels` and negotiates.
    ///
    /// The outputs of this crate reach the stream's rate and channels by themselves (PipeWire and ALSA convert where
    /// the hardware must be fed otherwise), so [`OpenDevice::format`] has those of the stream.
    ///
    /// # Errors
    /// [`OutputError`], which says what a person can do. The output stays usable: trying again later is fine.
    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError>;
}

/// The output the configuration asks for; nothing is opened yet. A device whose card has a part in the volume makes no sound before its
/// `mixer` is where it should be.
pub fn from_config(config: &Config, mixer: Option<Arc<Mixer>>) -> Box<dyn Output> {
    match &config.output {
        OutputChoice::PipeWire { target } => {
            Box::new(pipewire::PipeWireOutput::new(target.clone(), config.name.as_str().to_owned()))
        }
        OutputChoice::Alsa { device } => Box::new(alsa::AlsaOutput::new(device.clone(), config.alsa, mixer)),
        OutputChoice::File { path } => Box::new(file::FileOutput::new(path.clone())),
        OutputChoice::Null => Box::new(null::NullOutput),
    }
}

/// A claimed device that does not run yet; dropping it releases it.
pub trait OpenDevice: Send {
    /// What the playout is to be built for.
    fn format(&self) -> DeviceFormat;

    /// Starts to pull, until the returned handle is dropped.
    ///
    /// # Errors
    /// [`OutputError`] if the device refuses after all.
    fn start(self: Box<Self>, source: Box<dyn Pull>) -> Result<Playing, OutputError>;
}

/// What a device pulls from: the audio thread's view of the playout, so that tests can put a probe in its place.
pub trait Pull: Send {
    /// Fills `out` with the frames to be heard from `at` on. Never blocks, allocates or fails.
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]);

    /// The next `at` is unrelated to the last one.
    fn device_reset(&mut self);
}

impl Pull for Box<dyn Pull> {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        (**self).pull(at, out);
    }

    fn device_reset(&mut self) {
        (**self).device_reset();
    }
}

impl Pull for Puller {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        // How the pull went is in the feeder's statistics.
        let _ = Puller::pull(self, at, out);
    }

    fn device_reset(&mut self) {
        Puller::device_reset(self);
    }
}

/// Why a device cannot play.
#[derive(Debug, Error)]
pub enum OutputError {
    /// There is no such device.
    #[error("{output}: there is no such device ({detail}); {hint}")]
    NotFound {
        /// The output.
        output: String,
        /// What the system said.
        detail: String,
        /// Where to find the right name.
        hint: &'static str,
    },
    /// Somebody else holds the device.
    #[error("{output}: another program uses the device (often the sound server; --output pipewire shares it)")]
    Busy {
        /// The output.
        output: String,
    },
    /// The device is a way into the sound server.
    #[error(
        "{output}: this device leads into {server}, which could lay the sound onto an Audera room that would hear itself; use \
         --output pipewire, or a sound card's device such as alsa:plughw:0 (`aplay -L` lists them)"
    )]
    SoundServer {
        /// The output.
        output: String,
        /// Which one.
        server: &'static str,
    },
    /// The user may not use the device.
    #[error("{output}: no permission; the user must be in the group \"audio\" or logged in at this machine")]
    Denied {
        /// The output.
        output: String,
    },
    /// The device takes nothing like the stream.
    #[error("{output}: the device does not take {rate} Hz with {channels} channels ({detail})")]
    Format {
        /// The output.
        output: String,
        /// The stream's rate.
        rate: u32,
        /// The stream's channels.
        channels: u16,
        /// What was refused.
        detail: String,
    },
    /// The card's mixer is not where it should be.
    #[error("{output}: {source}")]
    Mixer {
        /// The output.
        output: String,
        /// Why not.
        source: MixerError,
    },
    /// Anything else the device or the system refused.
    #[error("{output}: {action} failed: {detail}")]
    Device {
        /// The output.
        output: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        detail: String,
    },
}

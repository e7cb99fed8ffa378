//! Output straight to an ALSA PCM, by any name that `aplay -D` takes.
//!
//! The device is asked for the stream's own rate and channels, without conversion by ALSA, and for the best sample
//! format of `F32`, `S32`, `S24`, `S24_3LE` and `S16`. If it refuses rate or channels, the PCM is opened once more inside of
//! ALSA's `plug`, which converts (how well is up to the system's `defaults.pcm.rate_converter`); the log says so.
//! With more than two channels, the device is asked for the stream's order, or the samples are put into the device's.
//! A PCM that ends in the sound server is refused, since the server could lay it onto an Audera room.
//! A PCM without a clock of its own (`null`, or `file` above it) is paced by the monotonic clock.

mod card;
mod feed;
mod negotiate;
mod order;
mod sample;
mod server;

use std::sync::{Arc, mpsc};

use audera_clock::Span;

use super::priority::promote_this_thread;
use super::thread::OwnThread;
use super::{DeviceFormat, Health, OpenDevice, Output, OutputError, Playing, Pull};
use crate::config::AlsaConfig;
use crate::mixer::Mixer;
use card::PcmCard;
use feed::Feed;
use negotiate::{Claimed, claim};
use order::Ordered;

/// An ALSA PCM as output device.
#[derive(Debug)]
pub struct AlsaOutput {
    device: String,
    timing: AlsaConfig,
    mixer: Option<Arc<Mixer>>,
}

impl AlsaOutput {
    /// An output to the PCM `device`, whose card's `mixer` may have a part in the volume.
    pub fn new(device: String, timing: AlsaConfig, mixer: Option<Arc<Mixer>>) -> Self {
        Self { device, timing, mixer }
    }
}

impl Output for AlsaOutput {
    fn name(&self) -> String {
        format!("alsa:{}", self.device)
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        let name = self.name();
        let claimed = claim(&name, &self.device, self.timing, rate, channels)?;
        tracing::debug!(
            output = name,
            rate,
            channels,
            sample_format = %claimed.sample,
            period_frames = claimed.period,
            buffer_frames = claimed.buffer,
            converted_by_alsa = claimed.plugged,
            "the device is open"
        );
        let device = OpenAlsa { name, rate, channels, claimed, mixer: self.mixer.clone() };
        if let Some(mixer) = &self.mixer {
            // With the device claimed the card is there; what was set of another one before is of no use.
            mixer
                .ready(device.format().latency)
                .map_err(|source| OutputError::Mixer { output: device.name.clone(), source })?;
        }
        Ok(Box::new(device))
    }
}

/// A PCM that is set up but does not run.
struct OpenAlsa {
    name: String,
    rate: u32,
    channels: u16,
    claimed: Claimed,
    mixer: Option<Arc<Mixer>>,
}

impl OpenDevice for OpenAlsa {
    fn format(&self) -> DeviceFormat {
        DeviceFormat {
            rate: self.rate,
            channels: self.channels,
            max_pull: self.claimed.period,
            latency: Span::from_frames(self.claimed.buffer as i64, self.rate),
        }
    }

    fn start(self: Box<Self>, puller: Box<dyn Pull>) -> Result<Playing, OutputError> {
        self.pull_from(puller)
    }
}

impl OpenAlsa {
    fn pull_from(self, pull: impl Pull + 'static) -> Result<Playing, OutputError> {
        let format = self.format();
        let Self { name, claimed, mixer, .. } = self;
        let health = Arc::new(Health::default());
        let (granted, scheduling) = mpsc::sync_channel(1);
        let card = PcmCard::new(claimed.pcm, format.rate);
        let pull = Ordered::new(pull, claimed.order);
        let mut feed = Feed::new(card, pull, claimed.sample, format, claimed.buffer, health.clone());
        let running = OwnThread::start(&name, "audera-alsa", {
            let health = health.clone();
            move |stop| {
                // The receiver waits for exactly this; if it has gone, the sound has nobody to play for.
                let _ = granted.send(promote_this_thread());
                if let Err(failure) = feed.run(stop) {
                    health.fail(failure.to_string());
                }
            }
        })?;
        if let Ok(scheduling) = scheduling.recv() {
            scheduling.log(&name);
        }
        Ok(Playing::new(format, health, running).with(mixer))
    }
}

#[cfg(test)]
#[path = "alsa/pcm_tests.rs"]
mod tests;

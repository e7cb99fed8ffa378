//! Recording what a source streams: `arecord -D audera:NAME`.
//!
//! The network thread dials the source as a player does ([`recorder`], [`conversation`]), and puts each packet onto a tape in its
//! place ([`reel`], [`tape`]). The application's thread reads the tape where it is, and finds out by one line how far that is
//! ([`pace`]): neither thread ever waits for the other. When enough will have been recorded is known beforehand, so what an
//! application polls is a timer ([`bell`]), and it is woken whatever the network does.
//!
//! Frames are given as they were streamed; those that did not come are silence, and so is all the time while nothing is streamed.

mod answer;
mod bell;
mod choice;
mod conversation;
mod notice;
mod pace;
mod recorder;
mod reel;
mod sample;
mod tape;

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use audera_alsa_plugin::{
    Allowed, ChannelMap, ChannelMapKind, Constraints, Errno, Format, Io, OpenError, Pcm, Position, Request, Setup,
};
use audera_receiver::now;
use tokio::sync::oneshot;

use crate::channels::{Channels, Map};
use crate::house::House;
use crate::options::Settings;
use answer::Answer;
use pace::Pace;
use recorder::{Opened, Order, record};
use tape::Reader;

/// Smallest period, frames.
const LEAST_PERIOD: u32 = 16;
/// Longest buffer, in seconds, of the shortest samples: the tape reaches back a little further.
const LONGEST_BUFFER: u32 = 2;

/// A recording that a program has open.
pub(crate) struct Capture {
    opened: Opened,
    /// The pace as it was last seen.
    pace: Pace,
    /// The frame of the tape that is the first of the recording; `None` while it stands still.
    origin: Option<u64>,
    format: Format,
    /// Room for as many samples as the buffer holds.
    samples: Vec<f32>,
    /// What the application's channels are, and which of the stream's each of them is.
    map: Map,
    wake_at: u64,
    /// Ends the network thread's part when it is dropped, which comes before the network thread.
    _close: oneshot::Sender<()>,
    _house: Arc<House>,
}

impl Capture {
    /// How far the tape is now, in frames.
    fn present(&mut self) -> f64 {
        if let Some(pace) = self.opened.shared.pace.get() {
            self.pace = pace;
        }
        self.pace.frame_at(now()).max(0.0)
    }

    /// Sets the timer to when the application is to be woken.
    fn arm(&mut self) {
        self.present();
        let due = self.origin.map(|origin| self.pace.time_of(origin.saturating_add(self.wake_at) as f64) - now());
        self.opened.shared.bell.set(due);
    }
}

impl Pcm for Capture {
    const NAME: &'static CStr = c"Audera source";

    fn open(request: &mut Request) -> Result<(Self, Constraints), OpenError> {
        let settings = Settings::read(&mut request.options, &mut request.defaults)?;
        let (search, wait) = (settings.search(), settings.wait);
        let house = House::enter_quietly(&settings.network)?;
        let answer = Arc::new(Answer::new());
        let (close, closed) = oneshot::channel();
        let order = Order {
            wish: settings.source,
            codec: settings.encoding.codec,
            search,
            patience: settings.patience.to_duration(),
            network: settings.network,
            answer: answer.clone(),
            closed,
        };
        house.hub().run(move |endpoint| record(endpoint, order));
        let opened = answer.wait(wait).unwrap_or_else(|| {
            Err(OpenError::refused(Errno::IO, "the network thread does not answer; close some programs, or try again"))
        })?;
        let constraints = constraints(opened.rate, opened.channels.into());
        let pace = Pace::new(now(), opened.rate);
        let map = Map::usual(opened.channels.into());
        let capture = Self {
            opened,
            pace,
            origin: None,
            format: Format::F32,
            samples: Vec::new(),
            map,
            wake_at: 0,
            _close: close,
            _house: house,
        };
        Ok((capture, constraints))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.opened.shared.bell.descriptor()
    }

    fn describe(&self) -> String {
        let Opened { source, rate, channels, .. } = &self.opened;
        format!("Audera source \"{source}\" ({rate} Hz, {channels} channels)")
    }

    fn set_up(&mut self, setup: &Setup) -> Result<(), Errno> {
        self.format = setup.format;
        self.samples = vec![0.0; setup.buffer as usize * setup.channels];
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.origin = None;
        if self.opened.shared.bell.is_over() { Err(Errno::NODEV) } else { Ok(()) }
    }

    fn start(&mut self, _io: &Io) -> Result<(), Errno> {
        self.origin = Some(self.present() as u64);
        Ok(())
    }

    fn stop(&mut self, _io: &Io) {
        self.origin = None;
    }

    fn position(&mut self, _io: &Io) -> Position {
        if let Some(notice) = self.opened.shared.notice.take() {
            audera_alsa_plugin::log::error(&notice);
        }
        if self.opened.shared.bell.is_over() {
            return Position::Gone;
        }
        let Some(origin) = self.origin else { return Position::At(0) };
        // It goes back by a fraction of a frame now and then, as more becomes known of the source's clock; the layer lets it stand.
        Position::At((self.present() as u64).saturating_sub(origin))
    }

    fn play(&mut self, _io: &Io, _frames: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    fn record(&mut self, io: &Io, frames: &mut [u8]) -> Result<(), Errno> {
        let origin = self.origin.ok_or(Errno::BADFD)?;
        copy(&self.opened.tape, origin + io.applied, &mut self.samples, self.format, self.map.order(), frames);
        Ok(())
    }

    fn wake_at(&mut self, position: u64) {
        self.wake_at = position;
        self.arm();
    }

    fn channel_maps(&self) -> Vec<ChannelMap> {
        vec![ChannelMap { kind: ChannelMapKind::Fixed, positions: self.map.positions().to_vec() }]
    }

    fn channel_map(&self) -> Option<Vec<u32>> {
        Some(self.map.positions().to_vec())
    }
}

/// Copies whole frames from the tape, from frame `at` on. A program whose PCM never stops may ask for more than a buffer holds: by as much as
/// there is room for in `samples`.
fn copy(tape: &Reader, mut at: u64, samples: &mut [f32], format: Format, channels: Channels<'_>, frames: &mut [u8]) {
    for bytes in frames.chunks_mut((samples.len() * format.bytes()).max(1)) {
        let samples = &mut samples[..bytes.len() / format.bytes()];
        tape.read(at, samples);
        at += (samples.len() / channels.count.max(1)) as u64;
        sample::write(format, samples, channels, bytes);
    }
}

/// The source's own rate and channels, and any format: what an application wants otherwise, alsa-lib's `plug` makes of it.
fn constraints(rate: u32, channels: u32) -> Constraints {
    let frame = |bytes: u32| bytes * channels;
    Constraints {
        formats: Format::ALL.to_vec(),
        channels: Allowed::only(channels),
        rates: Allowed::only(rate),
        period_bytes: (frame(2) * LEAST_PERIOD..=frame(2) * rate * LONGEST_BUFFER).into(),
        buffer_bytes: (frame(2) * LEAST_PERIOD * 2..=frame(2) * rate * LONGEST_BUFFER).into(),
        periods: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_buffer_is_read_at_once() {
        let (mut writer, reader) = tape::tape(2, 1_000);
        let sound: Vec<f32> = (0..600).map(|n| n as f32 / 1_024.0).collect();
        writer.write(100, &sound);
        // A buffer of 64 frames, of which the last piece fills a part.
        let (map, mut samples) = (Map::usual(2), vec![0.0; 128]);
        let mut frames = vec![0; 300 * 2 * 4];
        copy(&reader, 100, &mut samples, Format::F32, map.order(), &mut frames);
        let read: Vec<f32> =
            frames.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(read, sound);
    }
}

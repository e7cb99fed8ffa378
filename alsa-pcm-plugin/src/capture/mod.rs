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
mod pace;
mod recorder;
mod reel;
mod sample;
mod tape;

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use audera_alsa_plugin::{
    Allowed, ChannelMap, ChannelMapKind, Constraints, Errno, Format, Io, OpenError, Pcm, Position, Request, Setup,
};
use audera_receiver::now;
use tokio::sync::oneshot;

use crate::channels::Map;
use crate::house::House;
use crate::options::Settings;
use answer::Answer;
use pace::Pace;
use recorder::{LIMIT, Opened, Order, record};

/// Beyond what the network thread takes, for a thread that has to wait for a processor.
const GRACE: Duration = Duration::from_secs(2);
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
        let settings = Settings::read(&mut request.options)?;
        let house = House::enter_quietly(&settings.network)?;
        let answer = Arc::new(Answer::new());
        let (close, closed) = oneshot::channel();
        let order = Order {
            wish: settings.player,
            codec: settings.encoding.codec,
            patience: settings.patience.to_duration(),
            network: settings.network,
            answer: answer.clone(),
            closed,
        };
        house.hub().run(move |endpoint| record(endpoint, order));
        let opened = answer.wait(LIMIT + GRACE).unwrap_or_else(|| {
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
        let samples = self.samples.get_mut(..frames.len() / self.format.bytes()).ok_or(Errno::INVAL)?;
        self.opened.tape.read(origin + io.applied, samples);
        sample::write(self.format, samples, self.map.order(), frames);
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

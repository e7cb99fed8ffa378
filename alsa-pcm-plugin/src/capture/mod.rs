//! Recording what a source streams.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use audera_alsa_plugin::{Constraints, Errno, Io, OpenError, Pcm, Position, Request, Setup};

/// A PCM that records; there is none.
pub(crate) struct Capture(Infallible);

impl Pcm for Capture {
    const NAME: &'static CStr = c"Audera";

    fn open(_request: &mut Request) -> Result<(Self, Constraints), OpenError> {
        Err(OpenError::refused(Errno::NODEV, "Audera's PCMs play, and do not record"))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }

    fn describe(&self) -> String {
        match self.0 {}
    }

    fn set_up(&mut self, _setup: &Setup) -> Result<(), Errno> {
        match self.0 {}
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        match self.0 {}
    }

    fn start(&mut self, _io: &Io) -> Result<(), Errno> {
        match self.0 {}
    }

    fn stop(&mut self, _io: &Io) {
        match self.0 {}
    }

    fn position(&mut self, _io: &Io) -> Position {
        match self.0 {}
    }

    fn play(&mut self, _io: &Io, _frames: &[u8]) -> Result<(), Errno> {
        match self.0 {}
    }

    fn wake_at(&mut self, _position: u64) {
        match self.0 {}
    }
}

//! What the feed needs of a PCM, and the real one behind it.

use alsa::pcm::PCM;
use audera_clock::{PlayerTime, Span};

use crate::monotonic;

/// An error number of the kernel or of alsa-lib.
pub(super) type Errno = i32;

/// One consistent look at a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub state: CardState,
    /// Frames there is room for.
    pub avail: usize,
    /// Frames between the next one written and the one being heard.
    pub delay: i64,
    /// When all this was so.
    pub at: PlayerTime,
}

/// The states that make a difference to the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CardState {
    Prepared,
    Running,
    Xrun,
    Suspended,
    Gone,
    /// Anything else: not usable before it is prepared.
    Stopped,
}

/// A device with a buffer that takes frames when it likes. No call allocates or waits but `wait` and `sleep_until`.
pub(super) trait Card {
    fn now(&self) -> PlayerTime;
    fn sleep_until(&mut self, wake: PlayerTime);
    /// Waits until there is room for a period; false after `milliseconds`.
    fn wait(&mut self, milliseconds: u32) -> Result<bool, Errno>;
    fn snapshot(&mut self) -> Result<Snapshot, Errno>;
    /// Takes as many frames as there is room for, maybe none; says how many.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno>;
    fn prepare(&mut self) -> Result<(), Errno>;
    fn start(&mut self) -> Result<(), Errno>;
    /// Stops at once and drops what is in the buffer.
    fn stop(&mut self) -> Result<(), Errno>;
    fn resume(&mut self) -> Result<(), Errno>;
}

/// A time stamp further away from now than this was not taken by the monotonic clock, or not at all.
const CREDIBLE: Span = Span::from_millis(1000);

/// A PCM of alsa-lib, opened non-blocking.
pub(super) struct PcmCard {
    pcm: PCM,
    rate: u32,
}

impl PcmCard {
    pub fn new(pcm: PCM, rate: u32) -> Self {
        Self { pcm, rate }
    }
}

impl Card for PcmCard {
    fn now(&self) -> PlayerTime {
        monotonic::now()
    }

    fn sleep_until(&mut self, wake: PlayerTime) {
        monotonic::sleep_until(wake);
    }

    fn wait(&mut self, milliseconds: u32) -> Result<bool, Errno> {
        self.pcm.wait(Some(milliseconds)).map_err(|error| error.errno())
    }

    fn snapshot(&mut self) -> Result<Snapshot, Errno> {
        let before = monotonic::now();
        let status = self.pcm.status().map_err(|error| error.errno())?;
        let after = monotonic::now();
        let stamp = monotonic::from_timespec(status.get_htstamp());
        // Plug-ins may leave the stamp at zero or take it by the wall clock; then the middle of the call is the best guess.
        let at = if (after - stamp).abs() <= CREDIBLE { stamp } else { before + (after - before) / 2 };
        Ok(Snapshot {
            // Not `Status::get_state`, which panics at states it does not know.
            state: state_of(self.pcm.state_raw()),
            avail: status.get_avail().max(0) as usize,
            delay: delay_of(status.get_delay()).clamp(-i64::from(self.rate), 10 * i64::from(self.rate)),
            at,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.pcm.io_bytes().writei(bytes) {
            Ok(frames) => Ok(frames),
            Err(error) if error.errno() == libc::EAGAIN => Ok(0),
            Err(error) => Err(error.errno()),
        }
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.pcm.prepare().map_err(|error| error.errno())
    }

    fn start(&mut self) -> Result<(), Errno> {
        self.pcm.start().map_err(|error| error.errno())
    }

    fn stop(&mut self) -> Result<(), Errno> {
        self.pcm.drop().map_err(|error| error.errno())
    }

    fn resume(&mut self) -> Result<(), Errno> {
        self.pcm.resume().map_err(|error| error.errno())
    }
}

impl Drop for PcmCard {
    fn drop(&mut self) {
        // What is still in the buffer belongs to a stream that has ended; closing would play it out. A device that refuses
        // is gone, and closed all the same.
        let _ = self.stop();
    }
}

#[expect(clippy::useless_conversion, reason = "frames are 32 bits wide on some targets")]
fn delay_of(frames: alsa::pcm::Frames) -> i64 {
    i64::from(frames)
}

/// `snd_pcm_state_t`, the values of which are part of the kernel's interface.
fn state_of(raw: libc::c_int) -> CardState {
    match raw {
        2 => CardState::Prepared,
        3 => CardState::Running,
        4 => CardState::Xrun,
        7 => CardState::Suspended,
        8 => CardState::Gone,
        _ => CardState::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alsa::pcm::State;

    #[test]
    fn states_are_those_of_alsa() {
        for (state, expected) in [
            (State::Open, CardState::Stopped),
            (State::Setup, CardState::Stopped),
            (State::Prepared, CardState::Prepared),
            (State::Running, CardState::Running),
            (State::XRun, CardState::Xrun),
            (State::Suspended, CardState::Suspended),
            (State::Disconnected, CardState::Gone),
        ] {
            assert_eq!(state_of(state as libc::c_int), expected, "{state:?}");
        }
    }
}

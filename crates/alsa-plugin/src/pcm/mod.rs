//! What a PCM plugin has to be: a trait, and the words in which alsa-lib and a plugin speak to each other.
//!
//! # How a PCM runs
//! Both sides count frames from [`prepare`](Pcm::prepare) on: the application those that it has given (or taken), the
//! plugin those that it has played (or recorded). All else follows from these two counts, and this layer sees to it: how
//! much room there is, when the application is to be woken, when the PCM has run dry, and when all has been played after a
//! drain.
//!
//! The plugin has one descriptor, which the layer tells of whenever it changes at which count the application is to be
//! woken ([`wake_at`](Pcm::wake_at)). A device with a clock sets a timer to then; a PCM with a thread behind it keeps the
//! count where the thread sees it, which writes to an eventfd once it is reached. So a poll-driven application, a blocking
//! one and a drain are all the same to a plugin, and none of its methods ever waits.
//!
//! # Threads
//! alsa-lib calls from any thread of the application, and some entries without holding its own lock. The layer has one
//! lock for each PCM and calls every method under it. As no method waits, none waits for another for long. Nor is a
//! thread cancelled (`pthread_cancel`) within a method.

mod callbacks;
mod chmap;
mod constraints;
mod entry;
mod progress;

use std::{
    ffi::{CStr, c_int, c_uint},
    os::fd::BorrowedFd,
};

use crate::{Errno, Format, OpenError, Options};

pub use chmap::{ChannelMap, ChannelMapKind};
pub use constraints::{Allowed, Constraints};
pub use entry::{open, open_either};

/// Direction of a PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The application plays.
    Playback,
    /// The application records.
    Capture,
}

/// State of a PCM (`snd_pcm_state_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Open, and nothing more.
    Open,
    /// Format and buffer are settled.
    Setup,
    /// Ready to start.
    Prepared,
    /// Runs.
    Running,
    /// Has run dry, or over.
    Xrun,
    /// Plays what is left; the application gives no more.
    Draining,
    /// Stands still, to be released.
    Paused,
    /// The machine was suspended meanwhile.
    Suspended,
    /// The device is gone.
    Disconnected,
}

impl State {
    /// Of a state that this layer does not know, the safe one: nothing can be done with it.
    fn of_alsa(state: c_uint) -> Self {
        match state {
            alsa_sys::SND_PCM_STATE_OPEN => Self::Open,
            alsa_sys::SND_PCM_STATE_SETUP => Self::Setup,
            alsa_sys::SND_PCM_STATE_PREPARED => Self::Prepared,
            alsa_sys::SND_PCM_STATE_RUNNING => Self::Running,
            alsa_sys::SND_PCM_STATE_XRUN => Self::Xrun,
            alsa_sys::SND_PCM_STATE_DRAINING => Self::Draining,
            alsa_sys::SND_PCM_STATE_PAUSED => Self::Paused,
            alsa_sys::SND_PCM_STATE_SUSPENDED => Self::Suspended,
            _ => Self::Disconnected,
        }
    }

    fn to_alsa(self) -> c_uint {
        match self {
            Self::Open => alsa_sys::SND_PCM_STATE_OPEN,
            Self::Setup => alsa_sys::SND_PCM_STATE_SETUP,
            Self::Prepared => alsa_sys::SND_PCM_STATE_PREPARED,
            Self::Running => alsa_sys::SND_PCM_STATE_RUNNING,
            Self::Xrun => alsa_sys::SND_PCM_STATE_XRUN,
            Self::Draining => alsa_sys::SND_PCM_STATE_DRAINING,
            Self::Paused => alsa_sys::SND_PCM_STATE_PAUSED,
            Self::Suspended => alsa_sys::SND_PCM_STATE_SUSPENDED,
            Self::Disconnected => alsa_sys::SND_PCM_STATE_DISCONNECTED,
        }
    }

    /// Whether the plugin is asked for its position.
    fn has_position(self) -> bool {
        matches!(self, Self::Prepared | Self::Running | Self::Draining | Self::Paused)
    }
}

/// What an application asks for when it opens a PCM.
#[derive(Debug)]
pub struct Request {
    /// As which PCM; `None` when the plugin sits inside of another one.
    pub name: Option<String>,
    /// To play or to record.
    pub stream: Stream,
    /// Whether the application does not want to wait. Of no concern to most plugins.
    pub nonblocking: bool,
    /// What the PCM's definition says. The layer refuses what [`Pcm::open`] has not asked for.
    pub options: Options,
    /// What the user's configuration has as defaults for all definitions of this type (`defaults.TYPE`).
    pub defaults: Options,
}

/// What was settled (`hw_params`). Samples are interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// How samples are written.
    pub format: Format,
    /// Samples in a frame.
    pub channels: usize,
    /// Frames a second.
    pub rate: u32,
    /// Frames in a period. The buffer need not be a multiple of it.
    pub period: u64,
    /// Frames in the buffer.
    pub buffer: u64,
}

impl Setup {
    /// Bytes in a frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.format.bytes() * self.channels
    }
}

/// When the application wants what (`sw_params`). The layer acts upon it; a plugin need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Wake it when it can transfer so many frames.
    pub wake: u64,
    /// The PCM starts by itself when so many frames have been written.
    pub start: u64,
    /// The PCM has run dry, or over, when the application could transfer so many.
    pub stop: u64,
}

/// How things stand when a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// State of the PCM.
    pub state: State,
    /// Whether the application does not want to wait.
    pub nonblocking: bool,
    /// Frames that the application has given or taken since the PCM was prepared. It may move by itself
    /// ([`Pcm::moved`]).
    pub applied: u64,
    /// Frames that the plugin has told to be played or recorded.
    pub position: u64,
}

impl Io {
    /// Frames given that have not been played, or recorded that have not been taken: negative after running dry on a PCM
    /// that was told to go on all the same.
    #[must_use]
    pub fn waiting(&self, stream: Stream) -> i64 {
        let given = self.applied.wrapping_sub(self.position) as i64;
        match stream {
            Stream::Playback => given,
            Stream::Capture => given.wrapping_neg(),
        }
    }
}

/// What a plugin tells of its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// So many frames have been played or recorded since the PCM was prepared; never fewer than before.
    At(u64),
    /// The device has stumbled: an xrun, whatever is in the buffer. The application prepares the PCM anew and goes on.
    Xrun,
    /// The machine has been suspended, and what was in the buffer is lost. Of a plugin that cannot resume
    /// ([`Pcm::CAN_RESUME`]) the application is told of an xrun.
    Suspended,
    /// The device is gone for good: the application gets `-ENODEV`.
    Gone,
}

/// A PCM of a plugin. No method may wait; [`open`](Self::open), [`set_up`](Self::set_up) and [`prepare`](Self::prepare) may
/// take their time.
pub trait Pcm: Sized + Send + 'static {
    /// What kind of plugin it is, for `snd_pcm_dump` and messages.
    const NAME: &'static CStr;
    /// Whether an application may pause it.
    const CAN_PAUSE: bool = false;
    /// Whether it can go on where it was after the machine was suspended. Applications prepare anew what cannot.
    const CAN_RESUME: bool = false;

    /// Opens it; tells what it can do.
    ///
    /// # Errors
    /// What the user should read, and the number for the application.
    fn open(request: &mut Request) -> Result<(Self, Constraints), OpenError>;

    /// What to poll: readable (`POLLIN`) when the application is to be woken, see [`wake_at`](Self::wake_at). The same for
    /// as long as the PCM is open. Where several descriptors are behind it, an epoll descriptor holds them all.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// One line that says what it is, for `snd_pcm_dump`. Programs may recognise the plugin by it.
    fn describe(&self) -> String;

    /// Settles format and buffer. May come again with others.
    ///
    /// # Errors
    /// When it cannot be had after all.
    fn set_up(&mut self, setup: &Setup) -> Result<(), Errno>;

    /// What was settled does not hold any more.
    fn free(&mut self) {}

    /// The application has said when it wants what.
    ///
    /// # Errors
    /// When that is not possible.
    fn tune(&mut self, _tuning: &Tuning) -> Result<(), Errno> {
        Ok(())
    }

    /// Gets ready to start with an empty buffer; all counts are nought from here on.
    ///
    /// # Errors
    /// `-ENODEV` when the device is gone.
    fn prepare(&mut self) -> Result<(), Errno>;

    /// Starts: what has been given is played from now on. A drain of what was only prepared starts it as well ([`State::Draining`]).
    ///
    /// # Errors
    /// When it cannot start.
    fn start(&mut self, io: &Io) -> Result<(), Errno>;

    /// Stops at once, when the application drops what is left, when all has been played after a drain, and when the PCM has
    /// run dry. May come more than once.
    fn stop(&mut self, io: &Io);

    /// How far it is. While it drains ([`State::Draining`]) it has not played a frame before that is really heard.
    fn position(&mut self, io: &Io) -> Position;

    /// Takes frames to be played, [`io.applied`](Io::applied) being the count of the first one; never more than there is
    /// room for by the last position.
    ///
    /// # Errors
    /// When it cannot.
    fn play(&mut self, io: &Io, frames: &[u8]) -> Result<(), Errno>;

    /// The application that plays has taken frames back, has skipped some, or has had the counts set to nought, which leaves
    /// nothing to be played (`snd_pcm_rewind`, `snd_pcm_forward`, `snd_pcm_reset`). What was given from
    /// [`io.applied`](Io::applied) on is not to be heard, and the next frames are given from there; what was skipped was
    /// never given. alsa-lib tells nobody, so this comes with the next call that it makes under its lock, which it does
    /// before it takes frames. The plugin's own count goes on as it was.
    fn moved(&mut self, _io: &Io) {}

    /// Fills in frames that were recorded, [`io.applied`](Io::applied) being the count of the first one; never more than
    /// there are by the last position. May be asked for the same ones again.
    ///
    /// # Errors
    /// When it cannot.
    fn record(&mut self, _io: &Io, _frames: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// Frames until the next one given is heard, or since the next one taken was recorded, as of the position in `io`,
    /// which was taken just before. By default what waits in the buffer.
    fn delay(&mut self, io: &Io, stream: Stream) -> i64 {
        io.waiting(stream)
    }

    /// Has the descriptor be readable from when so many frames have been played or recorded: not before, and at once if
    /// they have. It has to become readable as well when [`position`](Self::position) would tell of anything but a
    /// position.
    fn wake_at(&mut self, position: u64);

    /// Holds or releases it. Called only where [`CAN_PAUSE`](Self::CAN_PAUSE).
    ///
    /// # Errors
    /// When it cannot.
    fn pause(&mut self, _io: &Io, _hold: bool) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// Goes on after the machine was suspended. Called only where [`CAN_RESUME`](Self::CAN_RESUME).
    ///
    /// # Errors
    /// `-EAGAIN` when it is too early: the application tries again. After anything else it is told of an xrun.
    fn resume(&mut self, _io: &Io) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// The channel maps an application may choose from; none, when it is not to ask.
    fn channel_maps(&self) -> Vec<ChannelMap> {
        Vec::new()
    }

    /// What the channels are now, as positions of alsa-lib (`SND_CHMAP_FL`, ..); `None` before the PCM is set up.
    fn channel_map(&self) -> Option<Vec<u32>> {
        None
    }

    /// Chooses what the channels are.
    ///
    /// # Errors
    /// When it has no such map.
    fn set_channel_map(&mut self, _positions: &[u32]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
}

/// Makes a library a plugin: exports what alsa-lib looks for. The PCM's type is called as in `pcm.x { type NAME }`.
///
/// ```ignore
/// audera_alsa_plugin::pcm_plugin!(
///     Card,
///     entry: "_snd_pcm_NAME_open",
///     version: "__snd_pcm_NAME_open_dlsym_pcm_001",
/// );
/// ```
///
/// Where playing and recording are two things, each is a type of its own: `playback: Player, capture: Recorder,` instead of `Card,`.
#[macro_export]
macro_rules! pcm_plugin {
    (playback: $playback:ty, capture: $capture:ty, entry: $entry:literal, version: $version:literal $(,)?) => {
        $crate::pcm_plugin!(@export $crate::pcm::open_either::<$playback, $capture>, $entry, $version);
    };
    ($pcm:ty, entry: $entry:literal, version: $version:literal $(,)?) => {
        $crate::pcm_plugin!(@export $crate::pcm::open::<$pcm>, $entry, $version);
    };
    (@export $open:expr, $entry:literal, $version:literal) => {
        const _: () = {
            /// # Safety
            /// As alsa-lib calls it: a place for the PCM, a name or null, and live configuration.
            #[unsafe(export_name = $entry)]
            unsafe extern "C" fn open(
                pcm: *mut *mut $crate::pcm::RawPcm,
                name: *const ::std::ffi::c_char,
                root: *mut $crate::pcm::RawConfig,
                definition: *mut $crate::pcm::RawConfig,
                stream: ::std::ffi::c_uint,
                mode: ::std::ffi::c_int,
            ) -> ::std::ffi::c_int {
                // SAFETY: the caller vouches for the arguments.
                unsafe { $open(pcm, name, root, definition, stream, mode) }
            }

            /// Its presence says for which version of alsa-lib's interface the plugin was made.
            #[used]
            #[unsafe(export_name = $version)]
            static VERSION: ::std::ffi::c_char = 0;
        };
    };
}

/// `snd_pcm_t`.
pub type RawPcm = alsa_sys::snd_pcm_t;
/// `snd_config_t`.
pub type RawConfig = alsa_sys::snd_config_t;

/// `SND_PCM_STREAM_CAPTURE` and anything else.
fn stream_of_alsa(stream: c_uint) -> Stream {
    if stream == alsa_sys::SND_PCM_STREAM_CAPTURE { Stream::Capture } else { Stream::Playback }
}

/// `SND_PCM_NONBLOCK` in an open mode.
fn nonblocking(mode: c_int) -> bool {
    mode & alsa_sys::SND_PCM_NONBLOCK as c_int != 0
}

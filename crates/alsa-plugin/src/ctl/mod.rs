//! What a mixer plugin has to be: a trait, and what its elements are like.
//!
//! A mixer has a fixed list of elements, each a switch or a volume with a value for each channel. Names decide what mixer
//! programs make of them: "Master Playback Volume" and "Master Playback Switch" become one control "Master" with a slider
//! and a mute.
//!
//! A change that somebody else has made is an event. The mixer's descriptor is readable while there is one; programs that
//! have subscribed then ask for it until there is none.
//!
//! alsa-lib calls from any thread of the application; the layer has one lock for each mixer and calls every method under
//! it.

mod decibels;
mod entry;

use std::{ffi::CStr, os::fd::BorrowedFd};

use crate::{Errno, OpenError, Options};

pub use decibels::{Decibels, MOST_POINTS};
pub use entry::open;

/// What an application asks for when it opens a mixer.
#[derive(Debug)]
pub struct Request {
    /// As which mixer; `None` when alsa-lib does not say.
    pub name: Option<String>,
    /// Whether the application does not want to wait. Of no concern to most plugins.
    pub nonblocking: bool,
    /// What the mixer's definition says. The layer refuses what [`Mixer::open`] has not asked for.
    pub options: Options,
    /// What the user's configuration has as defaults for all definitions of this type (`defaults.TYPE`).
    pub defaults: Options,
}

/// What a mixer calls itself. What is too long is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardInfo {
    /// Short and without spaces: up to 15 bytes.
    pub id: String,
    /// What drives it: up to 15 bytes.
    pub driver: String,
    /// What people call it: up to 31 bytes.
    pub name: String,
    /// The same at length: up to 79 bytes.
    pub long_name: String,
    /// What the mixer is called: up to 79 bytes.
    pub mixer: String,
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Such as "Master Playback Volume": up to 43 bytes.
    pub name: String,
    /// Tells elements of the same name apart.
    pub index: u32,
    /// What its values are.
    pub kind: Kind,
    /// Values it has: 1 to 128.
    pub channels: u32,
    /// Whether it can be changed.
    pub writable: bool,
}

/// What the values of an element are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0 and 1; of a playback switch, 0 is mute.
    Switch,
    /// Whole numbers from 0 to `most`.
    Volume {
        /// The loudest.
        most: u32,
        /// How loud each is, if that is known.
        decibels: Option<Decibels>,
    },
}

impl Kind {
    fn most(&self) -> i64 {
        match self {
            Self::Switch => 1,
            Self::Volume { most, .. } => i64::from(*most),
        }
    }
}

/// A mixer of a plugin. No method may wait, but [`open`](Self::open) may take its time.
pub trait Mixer: Sized + Send + 'static {
    /// What kind of plugin it is, for messages.
    const NAME: &'static CStr;

    /// Opens it; tells what it is called and which elements it has for as long as it is open.
    ///
    /// # Errors
    /// What the user should read, and the number for the application.
    fn open(request: &mut Request) -> Result<(Self, CardInfo, Vec<Element>), OpenError>;

    /// What to poll: readable while there is an event.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Fills in the values of an element, by its place in the list; one for each channel.
    ///
    /// # Errors
    /// `-ENODEV` when the device is gone.
    fn read(&mut self, element: usize, values: &mut [i64]) -> Result<(), Errno>;

    /// Sets the values of an element, all of which are in its range. Tells whether that has changed anything.
    ///
    /// # Errors
    /// `-ENODEV` when the device is gone.
    fn write(&mut self, element: usize, values: &[i64]) -> Result<bool, Errno>;

    /// The application wants to hear of events, or does not any more. It has no events before.
    fn subscribe(&mut self, _wanted: bool) {}

    /// The next event: which element has changed. When there is none any more the descriptor is not readable.
    ///
    /// # Errors
    /// `-ENODEV` when the device is gone.
    fn event(&mut self) -> Result<Option<usize>, Errno>;
}

/// Makes a library a mixer plugin: exports what alsa-lib looks for. The mixer's type is called as in `ctl.x { type NAME }`.
///
/// ```ignore
/// audera_alsa_plugin::ctl_plugin!(
///     Room,
///     entry: "_snd_ctl_NAME_open",
///     version: "__snd_ctl_NAME_open_dlsym_control_001",
/// );
/// ```
#[macro_export]
macro_rules! ctl_plugin {
    ($mixer:ty, entry: $entry:literal, version: $version:literal $(,)?) => {
        const _: () = {
            /// # Safety
            /// As alsa-lib calls it: a place for the mixer, a name or null, and live configuration.
            #[unsafe(export_name = $entry)]
            unsafe extern "C" fn open(
                mixer: *mut *mut $crate::ctl::RawCtl,
                name: *const ::std::ffi::c_char,
                root: *mut $crate::pcm::RawConfig,
                definition: *mut $crate::pcm::RawConfig,
                mode: ::std::ffi::c_int,
            ) -> ::std::ffi::c_int {
                // SAFETY: the caller vouches for the arguments.
                unsafe { $crate::ctl::open::<$mixer>(mixer, name, root, definition, mode) }
            }

            /// Its presence says for which version of alsa-lib's interface the plugin was made.
            #[used]
            #[unsafe(export_name = $version)]
            static VERSION: ::std::ffi::c_char = 0;
        };
    };
}

/// `snd_ctl_t`.
pub type RawCtl = alsa_sys::snd_ctl_t;

//! Safe layer over alsa-lib's external plugin API: what a PCM or mixer plugin has to be, as a trait, and all that is the
//! same for each of them behind it. Nothing of Audera is in here.
//!
//! A plugin is a shared library that alsa-lib loads into whatever program opens its PCM. It is a guest there, and this
//! layer sees to its manners:
//!
//! - Every entry from C catches panics; a PCM that has panicked is one that was unplugged (`-ENODEV`).
//! - Errors go out as negative error numbers, and what a user should read goes to alsa-lib's error handler
//!   ([`log::error`]), which the program may have replaced. Nothing is written to standard output.
//! - A process that was forked off with the PCM open gets `-ENODEV` from it, instead of waiting for threads that are not there.
//! - Threads of a plugin are spawned with [`guest::spawn`], so that no signal of the program's ends up in them.
//! - The library must be linked `-z nodelete`, since alsa-lib unloads plugins when a program frees its configuration:
//!   `println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete")` in `build.rs`.
//!
//! # A PCM plugin
//! implements [`Pcm`] and names itself with [`pcm_plugin!`]. See the trait for what is called when.
//!
//! # A mixer plugin
//! implements [`Mixer`] and names itself with [`ctl_plugin!`].
//!
//! # What the C API is, and where it is declared
//! [`sys`] holds it, written by hand from `alsa/pcm_ioplug.h` and `alsa/control_external.h`; a test compares sizes and
//! offsets with the installed headers. Everything that `alsa/asoundlib.h` declares comes from the crate `alsa-sys`.

pub mod ctl;
mod errno;
mod format;
pub mod guest;
pub mod log;
mod open_error;
mod options;
pub mod pcm;
pub mod sys;

pub use ctl::{CardInfo, Decibels, Element, Kind, Mixer};
pub use errno::Errno;
pub use format::Format;
pub use open_error::OpenError;
pub use options::{OptionError, Options, Value};
pub use pcm::{
    Allowed, ChannelMap, ChannelMapKind, Constraints, Io, Pcm, Position, Request, Setup, State, Stream, Tuning,
};

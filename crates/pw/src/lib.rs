//! Safe layer over the parts of libpipewire that Audera's modules and player need.
//!
//! It gives modules their entry ([`module!`]), programs a [`Thread`] with a loop of their own, and both of them
//! streams with a main-loop half ([`Stream`]) and a real-time half ([`Process`]), the times of each cycle ([`Timing`])
//! and the graph's contents ([`Registry`]). No unsafe code is needed outside of it, and no panic of ours leaves it.
//!
//! # A sink in a module
//! ```no_run
//! use std::time::Duration;
//! use audera_pw::{Args, Connect, Cycle, Direction, Error, Module, ModuleHost, Offer, Properties, Stream};
//!
//! struct Sink { _stream: Stream }
//! impl Module for Sink {}
//!
//! fn init(host: ModuleHost, args: Args) -> Result<Box<dyn Module>, Error> {
//!     args.only(&["audera.latency.msec"])?;
//!     let latency = args.integer("audera.latency.msec", 10..=2_000)?.unwrap_or(80).unsigned_abs();
//!     let core = host.core(|_event| {})?;
//!     let properties = Properties::new().with("media.class", "Audio/Sink").with("node.name", "audera.kitchen");
//!     let process = |cycle: Cycle<'_>| {
//!         let (_first_frame_at, _samples) = (cycle.timing().input_time(), cycle.input());
//!     };
//!     let log = host.log();
//!     let stream = Stream::new(&core, "Audera Kitchen", Direction::Input, &properties, process, move |event| log.info(format_args!("{event:?}")))?;
//!     stream.connect(&Connect { latency: Some(Duration::from_millis(latency).into()), ..Connect::new(Offer::stereo(48_000)) })?;
//!     Ok(Box::new(Sink { _stream: stream }))
//! }
//!
//! audera_pw::module!(topic: c"mod.audera-sink", init: init);
//! # fn main() {}
//! ```
//! A tap is the same with `media.class = Stream/Input/Audio`, `target.object` for what to record and, for the monitor
//! of a sink,
//! `stream.capture.sink = true`.
//!
//! # Playback in a program
//! ```no_run
//! use audera_pw::{Connect, Cycle, Direction, Error, Offer, Properties, Stream, Thread};
//!
//! let thread = Thread::spawn("pipewire", Properties::new(), |context| {
//!     let core = context.connect(&Properties::new(), |_event| { /* Lost: drop stream and core, connect anew from a timer */ })?;
//!     let properties = Properties::new().with("media.class", "Stream/Output/Audio").with("media.role", "Music");
//!     let process = |mut cycle: Cycle<'_>| {
//!         let _leaves_the_device_at = cycle.timing().output_time();
//!         cycle.output().fill(0.0);
//!     };
//!     let stream = Stream::new(&core, "Kitchen", Direction::Output, &properties, process, |_event| {})?;
//!     stream.connect(&Connect::new(Offer::stereo(48_000)))?;
//!     Ok(stream)
//! })?;
//! thread.run(|stream| stream.set_active(false))??;
//! # Ok::<(), Error>(())
//! ```
//!
//! # A device of its own
//! A stream connected with [`Connect::driver`] can pace its graph as a sound card does: a descriptor given to
//! [`Stream::drive_on`] says when, [`Process::drive`] tells the graph the time ([`Beat`]) and begins a cycle.
//!
//! # What runs where
//! | loop or thread | what runs there |
//! |---|---|
//! | main loop (the host's, or a [`Thread`]'s) | `init`, the module's drop, every handler of events, timers, messages and wakes, every method of [`Stream`], [`Core`], [`Registry`], [`ModuleHost`]; dropping any of them, and of [`Process`] with its stream |
//! | data loop (real-time) | [`Process::process`] and what it is given, [`Process::drive`]; [`Waker::wake`] and [`MonotonicTime::now`] may be called |
//! | any thread | [`Waker`], [`Sender`], [`Topic`] (not the data loop), the methods of [`Thread`] |
//!
//! The types of the main loop are neither `Send` nor `Sync`, so the compiler keeps to this table. Handlers are called
//! from the top of the loop only, never from inside a call of this crate: they may borrow, call and drop what they
//! like.
//!
//! # Order of ends
//! Streams and registries hold their [`Core`], that its [`Context`], that its [`MainLoop`]; so dropping them in any
//! order ends them in the right one. When a connection is lost, a module is unloaded by itself; a program gets
//! [`CoreEvent::Lost`].

mod args;
mod core;
mod error;
mod format;
mod guard;
pub mod json;
mod log;
mod main_loop;
mod module;
mod properties;
mod proxy;
mod registry;
mod stream;
mod sys;
mod thread;
mod time;
mod volume;

pub use args::Args;
pub use core::{Context, Core, CoreEvent};
pub use error::Error;
pub use format::{Channel, Format, Latency, MAX_CHANNELS, Offer};
pub use log::Topic;
pub use main_loop::{MainLoop, Receiver, Sender, Timer, WakeSource, Waker};
#[doc(hidden)]
pub use module::enter_module;
pub use module::{Module, ModuleHost};
pub use properties::Properties;
pub use registry::{Destination, Link, Node, Registry, RegistryEvent};
pub use stream::{Beat, Clock, Connect, Cycle, Direction, Process, State, Stream, StreamEvent, Timing, Wanted};
pub use thread::Thread;
pub use time::MonotonicTime;
pub use volume::NodeVolume;

/// The C types that [`module!`] names.
#[doc(hidden)]
pub mod raw {
    pub use pipewire_sys::pw_impl_module;
}

/// Initialises libpipewire, once; a host of modules has done so itself.
pub(crate) fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: NULL arguments are allowed; the library counts calls, and it is never taken down again.
    ONCE.call_once(|| unsafe { pipewire_sys::pw_init(std::ptr::null_mut(), std::ptr::null_mut()) });
}

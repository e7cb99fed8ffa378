//! Safe layer over the parts of libpipewire that Audera's modules and player need.

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
pub use registry::{Link, Node, Registry, RegistryEvent};
pub use stream::{Clock, Connect, Cycle, Direction, Process, State, Stream, StreamEvent, Timing};
pub use thread::Thread;
pub use time::MonotonicTime;

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

//! The layer against a real PipeWire, in private sessions without hardware.

mod module;
mod playback;
mod session;

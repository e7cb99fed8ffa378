//! The sink module against the real PipeWire, WirePlumber, PulseAudio server, Avahi and players. One file for each promise.

mod desk;
mod fixed;
mod groups;
mod host;
mod jump;
mod latency;
mod lifetime;
mod memory;
mod refusal;
mod rename;
mod robust;
mod routing;
mod unload;
mod volume;

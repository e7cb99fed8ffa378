//! The Audera player: turns streams into the sound of a room.
//!
//! `config` and `cli` say what the player was told, `output` is where its sound leaves, `notify` and `log` are its
//! lines to the service manager and to people.

pub mod cli;
pub mod config;
pub mod log;
pub mod monotonic;
pub mod notify;
pub mod output;

/// Ends a test at once when code under `assert_no_alloc` allocates or frees.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

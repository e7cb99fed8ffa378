//! The Audera player: turns streams into the sound of a room.
//!
//! `cli` and `config` say what the player was told and `run` is its life. `network` holds the connections, `room` decides
//! which stream plays and minds the state of the room, `level` is its volume on the samples and `mixer` the card's part in it, `chime` the sound by which it is identified,
//! `speaker` keeps the device between streams, `output` is where the sound leaves. `announce`, `bus`, `notify` and `log` are its lines to the
//! network, to D-Bus, to the service manager and to people. `status` asks a player, this or another one, how
//! it fares, `set` changes the state of its room, and `asking` is the connection for both. `clocks` remembers those of peers that are gone.

pub mod announce;
pub mod asking;
pub mod bus;
pub mod chime;
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "clap shows these lines as they stand, with the brackets that users know"
)]
pub mod cli;
pub mod clocks;
pub mod config;
pub mod connection;
pub mod handover;
pub mod level;
pub mod log;
pub mod memory;
pub mod mixer;
pub mod monotonic;
pub mod network;
pub mod notify;
pub mod output;
pub mod room;
pub mod run;
pub mod set;
pub mod speaker;
pub mod status;

/// Ends a test at once when code under `assert_no_alloc` allocates or frees.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

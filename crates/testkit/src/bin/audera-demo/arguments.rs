//! The command line.

use std::path::PathBuf;

/// Plays two rooms on this machine, in a private session, and measures what they played.
///
/// First what an application plays goes to "Audera Everywhere", then an input is tapped and streamed. Everything runs in a session
/// of its own, with its own network, D-Bus, Avahi and PipeWire, on virtual sound cards; nothing of it is left when it ends.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Play this file: WAV, FLAC, Ogg Vorbis or Opus, or whatever else `pw-play` reads.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Let the room "Living Room" play on an output of your own PipeWire session: "default", or the name of a node.
    #[arg(long, value_name = "OUTPUT")]
    pub output: Option<String>,
    /// Length of each of the two parts, 6 to 600 s.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(6..=600))]
    pub seconds: u32,
    /// Where to put the recordings; without it, into a new folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub wav: Option<PathBuf>,
}

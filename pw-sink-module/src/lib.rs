//! `libpipewire-module-audera-sink`: an `Audio/Sink` node for every Audera room, one for every group, and one for all of them.
//!
//! # Options
//!
//! | argument | values | default | meaning |
//! |---|---|---|---|
//! | `audera.discover` | `true`, `false` | `true` | find players through Avahi |
//! | `audera.players` | list of `"host:port"` | none | players to use although Avahi does not show them |
//! | `audera.codec` | `auto`, `pcm`, `opus` | `auto` | `auto` is Opus where the stream and the player allow it |
//! | `audera.opus.bitrate` | 64 to 320 kbit/s | 160 | bit rate of Opus |
//! | `audera.opus.frame.msec` | 5, 10, 20 ms | 20, or 10 below 80 ms of latency, 5 below 60 ms | length of a packet |
//! | `audera.latency.msec` | `auto`, 20 to 2000 ms | `auto` | from the sink to the loudspeaker; `auto` follows what the rooms need, from 80 ms on |
//! | `audera.name.format` | text with `%s` | `"Audera %s"` | what a room's sink is called |
//! | `audera.state.dir` | folder | `$XDG_STATE_HOME/audera` | identity and known players |
//! | `stream.props` | properties | none | put on every sink, over the module's own |
//!
//! `stream.props` may set `audio.rate` (44100 to 192000 Hz, default 48000) and `audio.channels` (1 to 8, default 2) as well.
//!
//! # Example
//!
//! ```text
//! context.modules = [
//!     { name = libpipewire-module-audera-sink  args = { audera.latency.msec = 120 } }
//! ]
//! ```
//!
//! # Which function runs where
//!
//! `init`, all of `sinks` and the event handlers of `sink` run on the host's main loop. The closure made in `sink` runs on the
//! data loop: it copies the cycle into the [`audera_sender::Tap`] and does nothing else. The network thread belongs to
//! [`audera_sender::Hub`].

mod arguments;
mod names;
mod rooms;
mod sink;
mod sinks;
mod volume;

use audera_pw::{Args, Error, Module, ModuleHost, Properties};

use crate::arguments::Arguments;
use crate::sinks::Sinks;

/// What stays while the module is loaded.
struct SinkModule {
    _sinks: Sinks,
}

impl Module for SinkModule {}

fn init(host: ModuleHost, args: Args) -> Result<Box<dyn Module>, Error> {
    let arguments = Arguments::read(&args)?;
    host.update_properties(
        &Properties::new()
            .with("module.author", env!("CARGO_PKG_REPOSITORY"))
            .with("module.description", "An audio sink for every Audera room and group")
            .with("module.version", env!("CARGO_PKG_VERSION")),
    )?;
    Ok(Box::new(SinkModule { _sinks: Sinks::new(&host, arguments)? }))
}

audera_pw::module!(topic: c"mod.audera-sink", init: init);

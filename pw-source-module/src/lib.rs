//! `libpipewire-module-audera-source`: captures one input, streams it to rooms, and lets players fetch it.
//!
//! # Options
//!
//! | argument | values | default | meaning |
//! |---|---|---|---|
//! | `audera.name` | text | the host name | what players and the "Recording" list show |
//! | `audera.rooms` | list of names | none | rooms and groups it plays to; `"Everywhere"` is all rooms |
//! | `audera.players` | list of `"host:port"` | none | players to use although Avahi does not show them |
//! | `audera.start` | `signal`, `always`, `manual` | `signal` | when it plays |
//! | `audera.threshold.dbfs` | -90 to 0 dB of full scale | -50 | what counts as a signal |
//! | `audera.hold.msec` | 0 to 3600000 ms | 10000 | how long silence lasts before the rooms are let go |
//! | `audera.preroll.msec` | 0 to 1900 ms | 300 | sound kept from before the signal, and added to the latency |
//! | `audera.announce` | `true`, `false` | `true` | announce the source through Avahi |
//! | `audera.listen` | `"address:port"` | `"[::]:6529"` | where players dial in |
//! | `audera.access` | `paired`, `open` | `paired` | who may dial in |
//! | `audera.codec`, `audera.opus.bitrate`, `audera.opus.frame.msec`, `audera.latency.msec`, `audera.state.dir` | | | as for sinks |
//! | `stream.props` | properties | none | of the capture: `target.object`, `stream.capture.sink`, `audio.rate`, `audio.channels` |
//!
//! # Example
//!
//! ```text
//! context.modules = [
//!     { name = libpipewire-module-audera-source
//!         args = { audera.name = "Television" audera.rooms = [ "Living Room" ]
//!                  stream.props = { target.object = "alsa_input.platform-soc_sound.stereo" } } }
//! ]
//! ```
//!
//! # Which function runs where
//!
//! `init` and all event handlers run on the host's main loop; the closure made in `source` runs on the data loop and copies the
//! cycle into the [`audera_sender::Tap`]; level, gate and encoding are the network thread's, which belongs to
//! [`audera_sender::Hub`]. Files are written on its helpers.

mod arguments;
mod choice;
mod feedback;
mod inputs;
mod orders;
mod source;

use audera_pw::{Args, Error, Module, ModuleHost, Properties};

use crate::arguments::Arguments;
use crate::source::Source;

/// What stays while the module is loaded.
struct SourceModule {
    _source: Source,
}

impl Module for SourceModule {}

fn init(host: ModuleHost, args: Args) -> Result<Box<dyn Module>, Error> {
    let arguments = Arguments::read(&args)?;
    host.update_properties(
        &Properties::new()
            .with("module.author", env!("CARGO_PKG_REPOSITORY"))
            .with("module.description", "Streams an input to Audera rooms")
            .with("module.version", env!("CARGO_PKG_VERSION")),
    )?;
    Ok(Box::new(SourceModule { _source: Source::new(&host, &arguments)? }))
}

audera_pw::module!(topic: c"mod.audera-source", init: init);

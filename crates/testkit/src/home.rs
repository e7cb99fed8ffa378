//! A home in a session: the built product's players on null sinks, and PipeWire processes with its modules.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::{Error, NullSink, Process, Session, SessionBuilder, built};

/// Where the built product lies: beside the running test or demo, in cargo's target directory.
#[derive(Debug)]
pub struct Product {
    player: PathBuf,
    /// Holds the modules under the names PipeWire looks for.
    modules: tempfile::TempDir,
}

impl Product {
    /// Finds player and modules.
    ///
    /// # Errors
    /// [`Error::File`] names what has not been built.
    pub fn find() -> Result<Self, Error> {
        let modules = tempfile::tempdir().map_err(|source| file_error(&std::env::temp_dir(), source))?;
        for kind in ["sink", "source"] {
            let built = built::find(&format!("libpipewire_module_audera_{kind}.so"))?;
            let link = modules.path().join(format!("libpipewire-module-audera-{kind}.so"));
            symlink(&built, &link).map_err(|source| file_error(&link, source))?;
        }
        Ok(Product { player: built::find("audera-player")?, modules })
    }

    /// A session whose PipeWire finds the modules.
    pub fn session(&self, host_name: &str) -> SessionBuilder {
        Session::builder(host_name).module_dir(self.modules.path())
    }

    /// The folder with the modules.
    #[must_use]
    pub fn modules(&self) -> &Path {
        self.modules.path()
    }

    /// Another program of the product, by its file's name.
    ///
    /// # Errors
    /// [`Error::File`] when it has not been built.
    pub fn program(name: &str) -> Result<PathBuf, Error> {
        built::find(name)
    }

    /// The player's program, to be given what it is to do: `status`, `set`.
    #[must_use]
    pub fn command(&self, session: &Session) -> std::process::Command {
        session.command(&self.player)
    }

    /// A command for the player; its state lies in the session under the room's name.
    #[must_use]
    pub fn player_command(&self, session: &Session, room: &str, args: &[&str]) -> std::process::Command {
        let mut command = session.command(&self.player);
        command.args(["--name", room, "--listen", "[::]:0"]);
        command.arg("--state-dir").arg(session.dir().join("state").join(room)).args(args);
        command
    }

    /// Starts a player and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub fn player(&self, session: &Session, room: &str, args: &[&str]) -> Result<Process, Error> {
        let mut player = session.spawn(self.player_command(session, room, args))?;
        let log = player.log().to_owned();
        player.wait_until("readiness of the player", || port_in(&fs::read_to_string(&log).ok()?).map(drop))?;
        Ok(player)
    }

    /// Makes a null sink called as the room and starts an open player on it.
    ///
    /// # Errors
    /// When either does not become ready in time.
    pub fn room(&self, session: &Session, sink: &NullSink, room: &str, args: &[&str]) -> Result<Process, Error> {
        session.null_sink(sink)?;
        let output = format!("pipewire:{room}");
        let all: Vec<&str> =
            ["--access", "open", "--output", &output].into_iter().chain(args.iter().copied()).collect();
        self.player(session, room, &all)
    }

    /// Starts a PipeWire process with one of the modules, `sink` or `source`, and these arguments in SPA-JSON.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn module(&self, session: &Session, kind: &str, args: &str) -> Result<Process, Error> {
        session.spawn_pipewire(&format!("audera-{kind}"), &module_configuration(kind, args))
    }
}

/// The built product in a session of its own, whose graph is driven by a sink called `Metronome`.
///
/// Record `Metronome:monitor_FL` along with whatever is measured, so that all share one graph; the driver's own monitor lags
/// behind the others by a cycle.
#[derive(Debug)]
pub struct Home {
    // Ends before the modules it uses go.
    /// The session.
    pub session: Session,
    /// The product.
    pub product: Product,
}

impl Home {
    /// Starts a session for the product, with null sinks of these names.
    ///
    /// All sinks are made before anything plays: PipeWire 0.3.65 falls over now and then when a null sink comes into a graph
    /// that runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where simulated hosts are not possible; otherwise what is not built or does not start.
    pub fn start(host_name: &str, sinks: &[&str]) -> Result<Self, Error> {
        let product = Product::find()?;
        let session = product.session(host_name).start()?;
        let home = Home { session, product };
        home.make_sinks(sinks)?;
        Ok(home)
    }

    /// Makes the metronome and null sinks of these names, at the beginning or after a restart of PipeWire.
    ///
    /// # Errors
    /// When PipeWire refuses or WirePlumber does not configure them in time.
    pub fn make_sinks(&self, sinks: &[&str]) -> Result<(), Error> {
        self.session.null_sink(&NullSink::new("Metronome").driver())?;
        sinks.iter().try_for_each(|sink| self.session.null_sink(&NullSink::new(sink)))
    }

    /// Starts an open player on the sink that is called as the room.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub fn room(&self, room: &str, args: &[&str]) -> Result<Process, Error> {
        let output = format!("pipewire:{room}");
        let all = [&["--access", "open", "--output", &output][..], args].concat();
        self.product.player(&self.session, room, &all)
    }

    /// Starts a source called `name` with an identity of its own. It sends PCM and captures the monitor of a sink called
    /// `input`; what `args` say comes on top.
    ///
    /// # Errors
    /// When it cannot be run or its node does not appear.
    pub fn tap(&self, name: &str, input: &str, args: &str) -> Result<Process, Error> {
        let capture = format!("stream.props = {{ target.object = \"{input}\" stream.capture.sink = true }}");
        self.source(name, &format!("{capture} audera.codec = pcm {args}"))
    }

    /// Starts a source called `name` with an identity of its own and any free port.
    ///
    /// # Errors
    /// When it cannot be run or its node does not appear.
    pub fn source(&self, name: &str, args: &str) -> Result<Process, Error> {
        let state = self.session.dir().join("state").join(format!("source-{name}"));
        let args = format!(
            "audera.name = \"{name}\" audera.listen = \"[::]:0\" audera.state.dir = \"{}\" {args}",
            state.display()
        );
        let configuration = module_configuration("source", &args);
        let mut process = self.session.spawn_pipewire(&format!("source-{name}"), &configuration)?;
        let node = format!("audera-source.{name}");
        process.wait_until(&format!("node {node}"), || self.session.graph().ok()?.node(&node).map(drop))?;
        Ok(process)
    }
}

/// The port a player has told in its log, once it is ready.
#[must_use]
pub fn player_port(player: &Process) -> Option<u16> {
    port_in(&player.output())
}

fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.lines().find(|line| line.contains(" ready "))?.split_once(" port=")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A configuration for `pipewire -c` with one module of ours, as `audera.conf` is.
fn module_configuration(kind: &str, args: &str) -> String {
    format!(
        "context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}\n\
         context.modules = [\n\
         {{ name = libpipewire-module-rt flags = [ ifexists nofail ] }}\n\
         {{ name = libpipewire-module-protocol-native }}\n\
         {{ name = libpipewire-module-client-node }}\n\
         {{ name = libpipewire-module-metadata }}\n\
         {{ name = libpipewire-module-adapter }}\n\
         {{ name = libpipewire-module-audera-{kind} args = {{ {args} }} }}\n\
         ]\n"
    )
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

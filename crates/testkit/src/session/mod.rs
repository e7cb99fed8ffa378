//! A desktop session on a simulated host: two D-Bus buses, Avahi, PipeWire, WirePlumber and pipewire-pulse, all its own.
//!
//! Every start waits for what shows that the daemon serves: its socket takes a connection, its name is on the bus, it answers.

mod clock;
mod config;
mod daemon;
mod folder;
mod sinks;

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

pub use daemon::Daemon;
pub use sinks::NullSink;

use crate::{Error, Host, Network, Process, cable::Cable, process, sim::Crystal};

/// A running session. Dropping it ends all its daemons and deletes its files.
#[derive(Debug)]
pub struct Session {
    // Dropped in this order: what serves others goes last, the files they use after them.
    running: Vec<(Daemon, Process)>,
    host: Host,
    clock: Option<clock::Clock>,
    name: String,
    module_dirs: Vec<PathBuf>,
    spawned: AtomicU32,
    dir: folder::Folder,
}

/// What a session is to be like.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionBuilder {
    name: String,
    network: Option<Network>,
    cable: Option<Cable>,
    crystal: Option<Crystal>,
    daemons: Vec<Daemon>,
    module_dirs: Vec<PathBuf>,
}

impl SessionBuilder {
    /// Puts the session on a host of this network, beside others. Without it, it is alone.
    pub fn on(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Attaches the host by a cable that does not carry all at once, or not all.
    pub fn cable(mut self, cable: Cable) -> Self {
        self.cable = Some(cable);
        self
    }

    /// Starts only these daemons, in this order; by default all, [`Daemon::ALL`]. The others can be started later.
    pub fn daemons(mut self, daemons: &[Daemon]) -> Self {
        self.daemons = daemons.to_vec();
        self
    }

    /// Lets PipeWire processes of the session load modules from this folder too.
    pub fn module_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.module_dirs.push(dir.into());
        self
    }

    /// Makes the host and starts the daemons.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where simulated hosts are not possible; otherwise what did not start, with its log.
    pub fn start(self) -> Result<Session, Error> {
        let network = self.network.map_or_else(Network::new, Ok)?;
        let host = match self.cable {
            None => network.host()?,
            Some(cable) => network.host_on(cable)?,
        };
        let dir = folder::Folder::new()?;
        let mut session = Session {
            running: Vec::new(),
            host,
            clock: self.crystal.map(clock::Clock::new).transpose()?,
            name: self.name,
            module_dirs: self.module_dirs,
            spawned: AtomicU32::new(0),
            dir,
        };
        for folder in ["runtime", "config", "state", "cache", "data", "log"] {
            let path = session.path(folder);
            let made =
                fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)));
            made.map_err(|source| Error::File { path, source })?;
        }
        config::write(&session)?;
        for daemon in self.daemons {
            session.start_daemon(daemon)?;
        }
        Ok(session)
    }
}

impl Session {
    /// A session with all its daemons, alone on its network.
    ///
    /// # Errors
    /// As [`SessionBuilder::start`].
    pub fn start(host_name: &str) -> Result<Self, Error> {
        Self::builder(host_name).start()
    }

    /// A session to be made on a host which Avahi knows by `host_name`: ASCII letters, digits and hyphens.
    pub fn builder(host_name: &str) -> SessionBuilder {
        SessionBuilder {
            name: host_name.to_owned(),
            network: None,
            cable: None,
            crystal: None,
            daemons: Daemon::ALL.to_vec(),
            module_dirs: Vec::new(),
        }
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The simulated host: its address and its cable.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A folder for the test's own files, deleted with the session.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `XDG_RUNTIME_DIR` of the session.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.path("runtime")
    }

    /// `XDG_CONFIG_HOME` of the session.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.path("config")
    }

    /// Where the logs are.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.path("log")
    }

    /// D-Bus address of the session bus; it can be connected to from outside the host.
    #[must_use]
    pub fn session_bus(&self) -> String {
        format!("unix:path={}", self.path("runtime/bus").display())
    }

    /// D-Bus address of the bus which serves as system bus; it can be connected to from outside the host.
    #[must_use]
    pub fn system_bus(&self) -> String {
        format!("unix:path={}", self.path("runtime/system-bus").display())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The variables which make a program part of this session.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |below: &str| self.path(below).display().to_string();
        let mut variables = vec![
            ("XDG_RUNTIME_DIR", path("runtime")),
            ("XDG_CONFIG_HOME", path("config")),
            ("XDG_STATE_HOME", path("state")),
            ("XDG_CACHE_HOME", path("cache")),
            ("XDG_DATA_HOME", path("data")),
            ("HOME", path("")),
            ("DBUS_SESSION_BUS_ADDRESS", self.session_bus()),
            ("DBUS_SYSTEM_BUS_ADDRESS", self.system_bus()),
            ("PULSE_SERVER", format!("unix:{}", path("runtime/pulse/native"))),
        ];
        if !self.module_dirs.is_empty() {
            let ours = self.module_dirs.iter().map(|dir| dir.display().to_string());
            let all: Vec<String> = ours.chain([config::distribution_module_dir()]).collect();
            variables.push(("PIPEWIRE_MODULE_DIR", all.join(":")));
        }
        variables.extend(self.clock.iter().flat_map(clock::Clock::environment));
        variables
    }

    /// A command that will run on the session's host and in its environment. It dies with the thread that spawns it; to have it
    /// live with the session, give it to [`spawn`](Self::spawn).
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.host.command(program);
        // What the user's own session has set would lead out of this one.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let foreign =
                ["PIPEWIRE_", "PULSE_", "WIREPLUMBER_", "ALSA_", "DBUS_", "XDG_"].iter().any(|p| text.starts_with(p));
            if foreign || text == "DISPLAY" || text == "WAYLAND_DISPLAY" {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment());
        command
    }

    /// Runs a command of [`command`](Self::command) beside the test. Its output goes to a log of its own.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn spawn(&self, command: Command) -> Result<Process, Error> {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("log/{program}-{number}.log"));
        Process::start(&program, log, command)
    }

    /// Runs a program to its end and returns what it writes to standard output.
    ///
    /// # Errors
    /// When it cannot be run or ends with an error.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, Error> {
        let mut command = self.command(program);
        command.args(args);
        process::run(command)
    }

    /// Starts a PipeWire process of its own with this configuration, given as text: `pipewire -c FILE`.
    ///
    /// # Errors
    /// When it cannot be run. What it makes of the configuration is in its log.
    pub fn spawn_pipewire(&self, name: &str, configuration: &str) -> Result<Process, Error> {
        let file = self.path(&format!("config/{name}.conf"));
        fs::write(&file, configuration).map_err(|source| Error::File { path: file.clone(), source })?;
        let mut command = self.command("pipewire");
        command.arg("-c").arg(&file).env("PIPEWIRE_DEBUG", "2");
        self.spawn(command)
    }

    fn write(&self, below: &str, text: &str) -> Result<(), Error> {
        let path = self.path(below);
        let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
        parent.and_then(|()| fs::write(&path, text)).map_err(|source: io::Error| Error::File { path, source })
    }
}

impl Session {
    /// Waits until `ready` has something to show, and looks often. For states no signal tells.
    ///
    /// # Errors
    /// [`Error::NotReady`] after a minute, with the log of WirePlumber.
    pub fn poll<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let deadline = std::time::Instant::now() + process::PATIENCE;
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if std::time::Instant::now() >= deadline {
                let outcome = format!("did not come within {:?}", process::PATIENCE);
                return Err(process::not_ready(what, outcome, &self.log_of(Daemon::WirePlumber)));
            }
            std::thread::sleep(process::LONG_LOOK);
        }
    }
}

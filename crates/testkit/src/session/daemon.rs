//! The session's daemons: how each is started, and what shows that it serves.

use std::{os::unix::net::UnixStream, path::PathBuf, process::Command, sync::mpsc, thread, time::Duration};

use super::Session;
use crate::{
    Error, Process,
    process::{PATIENCE, not_ready},
};

/// A daemon of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Daemon {
    /// The private bus which serves as system bus.
    SystemBus,
    /// The session bus.
    SessionBus,
    /// avahi-daemon, on the system bus.
    Avahi,
    /// The PipeWire daemon.
    PipeWire,
    /// WirePlumber, the session manager.
    WirePlumber,
    /// pipewire-pulse, the PulseAudio server.
    Pulse,
}

impl Daemon {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 6] =
        [Self::SystemBus, Self::SessionBus, Self::Avahi, Self::PipeWire, Self::WirePlumber, Self::Pulse];

    /// Only what it takes to find and announce services.
    pub const DISCOVERY: [Self; 2] = [Self::SystemBus, Self::Avahi];

    fn name(self) -> &'static str {
        match self {
            Self::SystemBus => "system-bus",
            Self::SessionBus => "session-bus",
            Self::Avahi => "avahi-daemon",
            Self::PipeWire => "pipewire",
            Self::WirePlumber => "wireplumber",
            Self::Pulse => "pipewire-pulse",
        }
    }
}

impl Session {
    /// Starts a daemon and waits until it serves. One that runs already is left alone.
    ///
    /// # Errors
    /// When it cannot be run or is not ready in time; the error carries the end of its log.
    pub fn start_daemon(&mut self, daemon: Daemon) -> Result<(), Error> {
        if self.daemon(daemon).is_some() {
            return Ok(());
        }
        let mut process = Process::start(daemon.name(), self.log_of(daemon), self.daemon_command(daemon))?;
        let ready = format!("readiness of {}", daemon.name());
        match daemon {
            Daemon::SystemBus => serves(&mut process, &ready, self.path("runtime/system-bus"))?,
            Daemon::SessionBus => serves(&mut process, &ready, self.path("runtime/bus"))?,
            Daemon::Avahi => owns(&mut process, &ready, &self.system_bus(), "org.freedesktop.Avahi")?,
            Daemon::PipeWire => {
                serves(&mut process, &ready, self.path("runtime/pipewire-0"))?;
                process.wait_until(&ready, || self.run("pw-cli", &["info", "0"]).ok())?;
            }
            Daemon::WirePlumber => process.wait_until(&ready, || self.has_default_metadata().then_some(()))?,
            Daemon::Pulse => serves(&mut process, &ready, self.path("runtime/pulse/native"))?,
        }
        // The newest first: they are dropped in this order, and each needs those before it.
        self.running.insert(0, (daemon, process));
        Ok(())
    }

    /// Ends a daemon (SIGTERM) and waits until it has ended. One that does not run is left alone.
    ///
    /// # Errors
    /// When the kernel does not know of it any more.
    pub fn stop_daemon(&mut self, daemon: Daemon) -> Result<(), Error> {
        let Some(at) = self.running.iter().position(|(running, _)| *running == daemon) else {
            return Ok(());
        };
        let (_, process) = self.running.remove(at);
        process.stop().map(drop)
    }

    /// [`stop_daemon`](Self::stop_daemon), then [`start_daemon`](Self::start_daemon).
    ///
    /// # Errors
    /// As those.
    pub fn restart_daemon(&mut self, daemon: Daemon) -> Result<(), Error> {
        self.stop_daemon(daemon)?;
        self.start_daemon(daemon)
    }

    /// The process of a daemon that runs.
    #[must_use]
    pub fn daemon(&self, daemon: Daemon) -> Option<&Process> {
        self.running.iter().find(|(running, _)| *running == daemon).map(|(_, process)| process)
    }

    /// The log of a daemon, over all its starts.
    #[must_use]
    pub fn log_of(&self, daemon: Daemon) -> PathBuf {
        self.path(&format!("log/{}.log", daemon.name()))
    }

    fn daemon_command(&self, daemon: Daemon) -> Command {
        let config = |file: &str| self.path("config").join(file);
        let bus = |file: &str| {
            let mut command = self.command("dbus-daemon");
            command.args(["--nofork", "--nopidfile", "--nosyslog", "--config-file"]).arg(config(file));
            command
        };
        match daemon {
            Daemon::SystemBus => bus("system-bus.conf"),
            Daemon::SessionBus => bus("session-bus.conf"),
            Daemon::Avahi => {
                let mut command = self.command("avahi-daemon");
                command.args(["--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title", "--file"]);
                command.arg(config("avahi-daemon.conf"));
                command
            }
            Daemon::PipeWire | Daemon::WirePlumber | Daemon::Pulse => {
                let mut command = self.command(daemon.name());
                // There is no real-time scheduling to be had here, and no need to say so at every start.
                command.env("PIPEWIRE_DEBUG", "2,mod.rt:0");
                command
            }
        }
    }

    /// WirePlumber makes the metadata object "default" and, once its scripts run, writes the default nodes' keys into it.
    fn has_default_metadata(&self) -> bool {
        self.run("pw-metadata", &["-n", "default", "0"]).is_ok_and(|text| text.contains("Found \"default\""))
    }
}

/// Waits until someone accepts connections on a socket.
fn serves(process: &mut Process, what: &str, socket: PathBuf) -> Result<(), Error> {
    process.wait_until(what, || UnixStream::connect(&socket).ok()).map(drop)
}

/// Waits until a name is owned on a bus.
fn owns(process: &mut Process, what: &str, bus: &str, name: &str) -> Result<(), Error> {
    // In a thread of its own, because the caller may be inside a runtime, where another must not block.
    let (told, answer) = mpsc::channel();
    let (bus, name) = (bus.to_owned(), name.to_owned());
    thread::spawn(move || {
        // Nobody listens any more when the daemon has ended meanwhile.
        drop(told.send(wait_for_name(&bus, &name, PATIENCE)));
    });
    match process.wait_until(what, || answer.try_recv().ok())? {
        Ok(()) => Ok(()),
        Err(error) => Err(not_ready(what, format!("did not come: {error}"), process.log())),
    }
}

fn wait_for_name(bus: &str, name: &str, patience: Duration) -> Result<(), zbus::Error> {
    use zbus::{export::futures_core::Stream, fdo::DBusProxy, names::BusName};

    async fn wait(bus: &str, name: &str) -> Result<(), zbus::Error> {
        let connection = zbus::connection::Builder::address(bus)?.build().await?;
        let proxy = DBusProxy::new(&connection).await?;
        let mut changes = proxy.receive_name_owner_changed_with_args(&[(0, name)]).await?;
        while !proxy.name_has_owner(BusName::try_from(name)?).await? {
            // Any change is a reason to ask again.
            std::future::poll_fn(|context| std::pin::Pin::new(&mut changes).poll_next(context)).await;
        }
        Ok(())
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match tokio::time::timeout(patience, wait(bus, name)).await {
            Ok(result) => result,
            Err(_) => Err(zbus::Error::Failure(format!("{name} was not on the bus within {patience:?}"))),
        }
    })
}

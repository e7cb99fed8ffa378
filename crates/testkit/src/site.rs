//! What tests have in common: one session at a time, rooms that nobody hears, what rooms say of themselves and what is set in them, and a bus that
//! starts `auderad`.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::home::{Product, player_port};
use crate::{Error, Process, Session, process};

/// A player that throws its sound away, and where it is.
#[derive(Debug)]
pub struct SilentRoom {
    /// Its process.
    pub process: Process,
    /// `host:port`.
    pub address: String,
}

/// That no other test of this program is in here.
#[derive(Debug)]
pub struct Alone {
    _held: MutexGuard<'static, ()>,
}

/// Waits until no other test of this program has a session: machines are small, and two graphs keep each other from their cycles. A test that
/// failed in here has nothing to do with the next.
#[must_use]
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    Alone { _held: ALONE.lock().unwrap_or_else(PoisonError::into_inner) }
}

impl Product {
    /// A player of this room that throws its sound away.
    ///
    /// # Errors
    /// When it does not become ready in time, or does not tell its port.
    pub fn silent_room(&self, session: &Session, name: &str, args: &[&str]) -> Result<SilentRoom, Error> {
        let process = self.player(session, name, &[&["--output", "null"], args].concat())?;
        let Some(port) = player_port(&process) else {
            return Err(process::not_ready("the player's port", "is not told".to_owned(), process.log()));
        };
        Ok(SilentRoom { process, address: format!("127.0.0.1:{port}") })
    }

    /// What the player at an address says of its room, as `audera-player set` prints it, to a peer with an identity of its own.
    ///
    /// # Errors
    /// When it does not answer, or does not let that peer in.
    pub fn told_by(&self, session: &Session, address: &str) -> Result<String, Error> {
        self.set(session, address, &[])
    }

    /// Has such a peer set this at the player of an address, such as `volume=40%`, and returns what it says of its room then.
    ///
    /// # Errors
    /// When it does not answer, refuses, or does not let that peer in.
    pub fn set(&self, session: &Session, address: &str, settings: &[&str]) -> Result<String, Error> {
        let mut command = self.command(session);
        command.args(["set", address]).args(settings);
        command.arg("--state-dir").arg(session.dir().join("state/remote"));
        process::run(command)
    }
}

impl Session {
    /// Has the session bus start a program of the product when somebody asks for a name.
    ///
    /// # Errors
    /// When the program has not been built, or the bus does not take it.
    pub fn activate(&self, name: &str, program: &str) -> Result<(), Error> {
        let path = self.dir().join("data/dbus-1/services").join(format!("{name}.service"));
        let text = format!("[D-BUS Service]\nName={name}\nExec={}\n", Product::program(program)?.display());
        fs::write(&path, text).map_err(|source| Error::File { path, source })?;
        let bus = "org.freedesktop.DBus";
        self.run("busctl", &["--user", "call", bus, "/org/freedesktop/DBus", bus, "ReloadConfig"]).map(drop)
    }
}

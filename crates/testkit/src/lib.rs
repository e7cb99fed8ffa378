//! What Audera's tests and its demo need around the product: simulated hosts with a private desktop session each, test sounds,
//! recordings of what rooms play, and measures of them. Nothing here is part of the product.
//!
//! # A session
//! ```no_run
//! use audera_testkit::{NullSink, Session};
//!
//! let session = match Session::start("desk") {
//!     Err(error) if error.is_unavailable() => return eprintln!("skipped: {error}"),
//!     other => other.expect("the session's daemons start"),
//! };
//! session.null_sink(&NullSink::new("Kitchen")).unwrap();
//! let status = session.command("wpctl").arg("status").status().unwrap();
//! assert!(status.success());
//! ```
//!
//! A [`Session`] is one simulated host: an own network, an own `/run`, own D-Bus buses, Avahi, PipeWire, WirePlumber and
//! pipewire-pulse. Several of them on one [`Network`] see each other over a bridge. One can have a clock of its own
//! ([`SessionBuilder::clock`]) and a cable with delays and losses ([`SessionBuilder::cable`]). Root is not needed where the kernel
//! allows user namespaces. Hardware and the user's own session are never touched.
//!
//! # Cards
//! [`Session::card`] puts a virtual sound card into a session, with a [crystal of its own](card), and gives what it has played
//! and when in true time; [`Session::alsa_card`] does the same for programs that play straight to ALSA.
//! [`measure::true_offset_series`] tells how far two of them are apart.
//!
//! # Measures
//! [`measure::offset_series`] tells how far two recorded channels are apart, [`measure::residual`] how much of a recording is
//! not its source, [`measure::gaps`] and [`measure::clicks`] where it stutters, [`measure::Holes`] whose doing that is: the
//! product's, or a machine's that was busy elsewhere. [`lateness`] watches the machine meanwhile.

mod alsa_plugin;
mod built;
pub mod cable;
pub mod card;
mod crystal;
mod graph;
pub mod home;
pub mod lateness;
pub mod measure;
mod network;
pub mod plot;
mod process;
pub mod record;
mod relay;
mod session;
pub mod sim;
pub mod site;
pub mod sound;
mod sys;
mod terminal;
pub mod wav;

pub use card::{Card, Played, RunningAlsaCard, RunningCard};
pub use graph::{Graph, Node, RoomState};
pub use network::{Host, Network};
pub use process::{Process, Usage};
pub use relay::{Relay, Traffic, Way};
pub use session::{Daemon, NullSink, Session, SessionBuilder};
pub use terminal::Terminal;

use std::{io, path::PathBuf};

/// Why a session, a host or a program of it is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine does not permit what simulated hosts need. A test prints this and counts as skipped.
    #[error(
        "simulated hosts are not possible here: {what}: {source} (be root, or allow unprivileged user namespaces: sysctl \
         kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
    )]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program could not be run at all.
    #[error("cannot run {program}: {source} (is its package installed?)")]
    Run {
        /// The program's name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program has ended with an error.
    #[error("`{command}` failed with {status}:\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to standard error and standard output.
        output: String,
    },
    /// What a program was to bring about has not come about in time, or the program has ended before.
    #[error("{what} {outcome}; its log {} says:\n{tail}", log.display())]
    NotReady {
        /// Which daemon or state was waited for.
        what: String,
        /// Whether time was up or the process ended.
        outcome: String,
        /// The log of the program.
        log: PathBuf,
        /// The end of that log.
        tail: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A WAV file is not what was expected.
    #[error("{}: {reason}", path.display())]
    Wav {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Whether the machine, not the code under test, is the reason.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// `None`, and a line that says why, where the machine does not permit simulated hosts; the value otherwise. With
/// `AUDERA_NO_SKIP` set nothing is skipped.
///
/// # Panics
/// On every other error: a test has failed then.
pub fn or_skip<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_unavailable() && std::env::var_os("AUDERA_NO_SKIP").is_none() => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

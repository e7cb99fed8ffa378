//! A clock of the host's own, for all programs of a session: true time is `CLOCK_MONOTONIC` of the machine, which the test and
//! [`Session::command_in_true_time`] see.

use std::{ffi::OsStr, path::PathBuf, process::Command, time::Duration};

use super::{Session, SessionBuilder};
use crate::{Error, built, sim::Crystal};

/// The variables by which the library is preloaded and told what to do.
const VARIABLES: [&str; 3] = ["LD_PRELOAD", "AUDERA_CLOCK_PPM", "AUDERA_CLOCK_OFFSET_NS"];

/// A host's clock, and the library that makes its programs see it.
#[derive(Debug)]
pub(super) struct Clock {
    crystal: Crystal,
    shim: PathBuf,
}

impl Clock {
    pub fn new(crystal: Crystal) -> Result<Self, Error> {
        Ok(Self { crystal, shim: built::find("libaudera_clock_shim.so")? })
    }

    pub fn environment(&self) -> [(&'static str, String); 3] {
        let Crystal { ppm, start } = self.crystal;
        let values = [self.shim.display().to_string(), ppm.to_string(), start.to_string()];
        let mut values = values.into_iter();
        VARIABLES.map(|name| (name, values.next().unwrap_or_default()))
    }
}

impl SessionBuilder {
    /// Gives the host a clock of its own, which is fast by `ppm` (-1000 to 1000) and shows `offset` (up to a year) when
    /// the machine's shows nought: `CLOCK_MONOTONIC` and its kin, for all daemons and commands of the session.
    ///
    /// `CLOCK_REALTIME` stays the machine's: what leans on it looks better than it is. What else is left alone is told in the
    /// library that does this, `crates/testkit/clock-shim`.
    pub fn clock(mut self, ppm: f64, offset: Duration) -> Self {
        // Beyond three centuries the library refuses, as beyond a year.
        let start = i64::try_from(offset.as_nanos()).unwrap_or(i64::MAX);
        self.crystal = Some(Crystal { start, ppm });
        self
    }
}

impl Session {
    /// What the host's clock shows at a true time, and the other way round; both in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn crystal(&self) -> Crystal {
        self.clock.as_ref().map_or(Crystal { start: 0, ppm: 0.0 }, |clock| clock.crystal)
    }

    /// As [`command`](Self::command), but with true time: for instruments.
    #[must_use]
    pub fn command_in_true_time(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
    }
}

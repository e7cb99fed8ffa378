//! A timer that runs for as long as there is a reason to.

use std::cell::Cell;
use std::time::Duration;

use audera_pw::{Error, MainLoop, Timer};

/// A timer on the host's main loop that runs, or does not. Dropping it ends it.
#[derive(Debug)]
pub struct Ticker {
    timer: Timer,
    period: Duration,
    runs: Cell<bool>,
}

impl Ticker {
    /// One that does not run yet, and calls `tick` once in a `period` when it does.
    ///
    /// # Errors
    /// When the system refuses a timer.
    pub fn new(main_loop: &MainLoop, period: Duration, tick: impl FnMut() + 'static) -> Result<Self, Error> {
        Ok(Ticker { timer: main_loop.timer(tick)?, period, runs: Cell::new(false) })
    }

    /// Has it run from now on, or no more. Whoever says again and again what is so already does not put the next tick off.
    ///
    /// # Errors
    /// When the system refuses the time.
    pub fn run(&self, runs: bool) -> Result<(), Error> {
        match (self.runs.replace(runs), runs) {
            (false, true) => self.timer.arm_every(self.period),
            (true, false) => self.timer.disarm(),
            (false, false) | (true, true) => Ok(()),
        }
    }
}

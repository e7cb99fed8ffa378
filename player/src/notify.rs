//! What the service manager is told: readiness, reloads, a status line, the end, and that the network thread is alive.
//!
//! Without a service manager (`$NOTIFY_SOCKET` unset) every call does nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// The line to the service manager; clones share it.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
    status: Arc<Mutex<String>>,
}

impl ServiceManager {
    /// Finds out whether a service manager listens and whether it wants signs of life.
    pub fn of_this_process() -> Self {
        let mut microseconds = 0;
        let watched = sd_notify::watchdog_enabled(false, &mut microseconds) && microseconds > 0;
        Self { watchdog: watched.then(|| Duration::from_micros(microseconds)), status: Arc::default() }
    }

    /// The player listens and may be dialled. Also ends a reload.
    pub fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// A reload has begun; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// The player is on its way out.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    /// Shows `line` in `systemctl status`; the same line again is not sent twice.
    pub fn status(&self, line: &str) {
        let line = line.replace(char::is_control, " ");
        let mut last = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != line {
            send(&[NotifyState::Status(&line)]);
            *last = line;
        }
    }

    /// How long the service manager waits for a sign of life, if it watches (`WatchdogSec=` of the unit).
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Gives signs of life twice per watchdog time, and never returns.
    ///
    /// Run it on the network thread beside everything else: if that thread hangs, so does this, and the service manager acts.
    pub async fn give_signs_of_life(&self) {
        let Some(limit) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(limit / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            send(&[NotifyState::Watchdog]);
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        // Nothing depends on it but the manager's own view, and the journal would fill up with a line per sign of life.
        tracing::debug!(%error, "the service manager did not take a notification");
    }
}

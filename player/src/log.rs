//! The player's log: lines on standard error, with a level that a reload can change.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogLevel;

/// Changes the level of a running log.
#[derive(Debug, Clone)]
pub struct LogControl(reload::Handle<LevelFilter, Registry>);

/// Starts logging; once per process.
///
/// Under systemd the journal adds time and unit by itself, so the lines leave them out.
///
/// # Errors
/// If the process logs already.
pub fn start(level: LogLevel) -> Result<LogControl, TryInitError> {
    let (filter, handle) = reload::Layer::new(threshold(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal() {
        registry.with(lines.without_time()).try_init()?;
    } else {
        registry.with(lines).try_init()?;
    }
    Ok(LogControl(handle))
}

impl LogControl {
    /// Logs from `level` up from now on.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.modify(|filter| *filter = threshold(level)) {
            tracing::warn!(%error, "the log level cannot be changed any more");
        }
    }
}

fn threshold(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

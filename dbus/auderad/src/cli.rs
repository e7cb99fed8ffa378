//! The command line of `auderad`.

use std::path::PathBuf;

use clap::Parser;
use tracing::Level;

/// Shows Audera's rooms and groups on the session bus, as org.audera.Audera1, and lets them be set.
///
/// The bus starts it when somebody asks for that name; there is nothing to configure. See docs/dbus.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "auderad", version, max_term_width = 100)]
pub struct Cli {
    /// Take identity and known rooms from here [default: $XDG_STATE_HOME/audera].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Do not look for rooms with Avahi: only those at added addresses.
    #[arg(long)]
    pub no_discovery: bool,

    /// Log error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: Level,
}

impl Cli {
    /// Where state is kept.
    ///
    /// # Errors
    /// Nothing says where: the text says what to do.
    pub fn state_dir(&self) -> anyhow::Result<PathBuf> {
        // The XDG specification wants relative paths ignored.
        let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = || {
            folder("XDG_STATE_HOME")
                .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
                .map(|state| state.join("audera"))
        };
        let missing = || anyhow::anyhow!("neither XDG_STATE_HOME nor HOME is set: say where with --state-dir");
        self.state_dir.clone().or_else(usual).ok_or_else(missing)
    }
}

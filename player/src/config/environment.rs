//! What the machine and the session say when the configuration is silent: folders and the machine's name.

use std::path::{Path, PathBuf};

use super::value::RoomName;

/// The surroundings a configuration is completed from; tests make their own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The machine's file.
    pub system_config: PathBuf,
    /// The user's file, if the user has a configuration folder.
    pub user_config: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, which systemd sets for a unit with `StateDirectory=`.
    pub unit_state: Option<PathBuf>,
    /// The folder for the state of the user's programs.
    pub user_state: Option<PathBuf>,
    /// The content of `/etc/machine-info`.
    pub machine_info: String,
    /// The kernel's host name.
    pub host_name: String,
}

impl Environment {
    /// Looks around.
    pub fn of_this_process() -> Self {
        let home = folder("HOME");
        let under =
            |variable: &str, fallback: &str| folder(variable).or_else(|| home.as_ref().map(|home| home.join(fallback)));
        Self {
            system_config: "/etc/audera/player.toml".into(),
            user_config: under("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("audera/player.toml")),
            unit_state: std::env::var_os("STATE_DIRECTORY")
                .and_then(|dirs| std::env::split_paths(&dirs).next())
                .filter(|dir| dir.is_absolute()),
            user_state: under("XDG_STATE_HOME", ".local/state"),
            machine_info: std::fs::read_to_string("/etc/machine-info").unwrap_or_default(),
            host_name: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
        }
    }

    /// Where the player keeps its state unless told otherwise.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        self.unit_state.clone().or_else(|| self.user_state.as_deref().map(|state| state.join("audera")))
    }

    /// What the room is called unless told otherwise.
    pub(super) fn room_name(&self) -> RoomName {
        let pretty =
            self.machine_info.lines().find_map(|line| line.trim().strip_prefix("PRETTY_HOSTNAME=")).map(unquote);
        let host: String = self.host_name.trim().chars().take(63).collect();
        [pretty.as_deref(), Some(host.as_str()), Some("Audera")]
            .into_iter()
            .flatten()
            .find_map(|name| name.parse().ok())
            .unwrap_or_else(|| unreachable!("the last candidate is a valid room name"))
    }
}

/// The folder a variable names; the XDG specification wants relative paths ignored.
fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| Path::is_absolute(path))
}

/// Undoes the shell-like quoting of `/etc/machine-info`.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)))
        .unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(c);
            escaped = false;
        }
    }
    text
}

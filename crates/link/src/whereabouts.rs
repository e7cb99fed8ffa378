//! The file that says how the senders of a user find players: addresses that were added, and whether players are looked for at all.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::state_file::{self, Privacy, StateFileError, WriteLock};
use crate::{Target, TargetError};

/// Name of the file inside a state directory, for all programs alike.
pub const WHEREABOUTS_FILE: &str = "rooms.toml";

/// The most addresses: no home has so many rooms.
const MAX_ADDRESSES: usize = 64;

/// What the file begins with.
const HEADER: &str = "# Audera: how this user's programs find rooms. `audera config` changes it, and so may people.\n";

/// How the senders of a user find players, in a TOML file that all of them follow:
///
/// ```toml
/// discover = true
/// addresses = ["kitchen.example.org", "192.0.2.7:7000"]
/// ```
///
/// The file may be edited by hand, also while programs run. One that is not there says what [`Whereabouts::default`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whereabouts {
    /// Whether players are looked for with Avahi by those that would; `false` keeps all from it.
    pub discover: bool,
    /// Players at fixed addresses, as they were added.
    pub addresses: Vec<String>,
}

impl Default for Whereabouts {
    fn default() -> Self {
        Self { discover: true, addresses: Vec::new() }
    }
}

/// The file cannot be used, or does not take an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhereaboutsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The file is not what it should be.
    #[error("{}: {reason}; correct the file, or move it away", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// What was given is no address.
    #[error(transparent)]
    Address(#[from] TargetError),
    /// There is no room for another one.
    #[error("{MAX_ADDRESSES} addresses were added, which is the most: remove one that is no longer needed")]
    Full,
}

impl Whereabouts {
    /// Reads the file of a state directory. `default_port` is the port of addresses without one.
    ///
    /// # Errors
    /// The file cannot be read, is no such file, or holds what is no address.
    pub fn read(dir: &Path, default_port: u16) -> Result<Self, WhereaboutsError> {
        let path = dir.join(WHEREABOUTS_FILE);
        let Some(bytes) = state_file::read(&path, Privacy::Protected)? else { return Ok(Self::default()) };
        let corrupt = |reason: String| WhereaboutsError::Corrupt { path: path.clone(), reason };
        let text = String::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
        let read: Self = toml::from_str(&text).map_err(|error| corrupt(error.to_string()))?;
        let mut checked = Self { discover: read.discover, addresses: Vec::new() };
        for address in &read.addresses {
            checked.add(address, default_port).map_err(|error| corrupt(error.to_string()))?;
        }
        Ok(checked)
    }

    /// Changes the file of a state directory, unless `change` changes nothing; what is in it then, and what `change` gave. Writers wait for each other.
    ///
    /// # Errors
    /// Those of [`read`](Self::read); the file cannot be written; and what `change` refuses.
    pub fn change<T>(
        dir: &Path,
        default_port: u16,
        change: impl FnOnce(&mut Self) -> Result<T, WhereaboutsError>,
    ) -> Result<(Self, T), WhereaboutsError> {
        state_file::ensure_dir(dir)?;
        let path = dir.join(WHEREABOUTS_FILE);
        let lock = WriteLock::acquire(&path)?;
        let before = Self::read(dir, default_port)?;
        let mut after = before.clone();
        let outcome = change(&mut after)?;
        if after != before {
            let text = toml::to_string(&after)
                .map_err(|error| WhereaboutsError::Corrupt { path: path.clone(), reason: error.to_string() })?;
            lock.replace(format!("{HEADER}{text}").as_bytes(), Privacy::Protected)?;
        }
        Ok((after, outcome))
    }

    /// Adds an address; whether it is new. The same place in another spelling is not.
    ///
    /// # Errors
    /// It is no address, or there are too many.
    pub fn add(&mut self, address: &str, default_port: u16) -> Result<bool, WhereaboutsError> {
        let address = Target::parse(address, default_port)?.spelling(default_port);
        if self.addresses.contains(&address) {
            return Ok(false);
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            return Err(WhereaboutsError::Full);
        }
        self.addresses.push(address);
        Ok(true)
    }

    /// Removes an address, whatever its spelling; whether it was there.
    ///
    /// # Errors
    /// It is no address.
    pub fn remove(&mut self, address: &str, default_port: u16) -> Result<bool, WhereaboutsError> {
        let address = Target::parse(address, default_port)?.spelling(default_port);
        let before = self.addresses.len();
        self.addresses.retain(|known| *known != address);
        Ok(self.addresses.len() < before)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PORT: u16 = 6528;

    fn add(dir: &Path, address: &str) -> Result<bool, WhereaboutsError> {
        Whereabouts::change(dir, PORT, |all| all.add(address, PORT)).map(|(_, new)| new)
    }

    fn addresses(dir: &Path) -> Vec<String> {
        Whereabouts::read(dir, PORT).unwrap().addresses
    }

    #[test]
    fn what_was_said_is_there_again_and_one_place_is_one_address() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Whereabouts::read(dir.path(), PORT).unwrap(), Whereabouts::default());
        for (address, new) in [
            ("Kitchen.local", true),
            ("kitchen.LOCAL:6528", false),
            ("kitchen.local:6529", true),
            ("[::1]:6528", true),
            ("::1", false),
            ("0:0:0:0:0:0:0:1", false),
            ("192.0.2.7:6528", true),
            ("192.0.2.7", false),
        ] {
            assert_eq!(add(dir.path(), address).unwrap(), new, "{address}");
        }
        assert_eq!(addresses(dir.path()), ["kitchen.local", "kitchen.local:6529", "::1", "192.0.2.7"]);
        let remove = |address| Whereabouts::change(dir.path(), PORT, |all| all.remove(address, PORT)).unwrap().1;
        assert!(remove("KITCHEN.local:6528") && !remove("kitchen.local"));
        let hide = |all: &mut Whereabouts| {
            all.discover = false;
            Ok(())
        };
        Whereabouts::change(dir.path(), PORT, hide).unwrap();
        let read = Whereabouts::read(dir.path(), PORT).unwrap();
        assert!(!read.discover && read.addresses == ["kitchen.local:6529", "::1", "192.0.2.7"]);
        assert!(fs::read_to_string(dir.path().join(WHEREABOUTS_FILE)).unwrap().starts_with(HEADER));
    }

    #[test]
    fn nonsense_is_refused_and_leaves_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        for wrong in ["", "host:port", "host:0", "a b"] {
            assert!(matches!(add(dir.path(), wrong), Err(WhereaboutsError::Address(_))), "{wrong}");
        }
        assert!(!dir.path().join(WHEREABOUTS_FILE).exists());
        (0..MAX_ADDRESSES).for_each(|number| assert!(add(dir.path(), &format!("host{number}")).unwrap()));
        assert!(matches!(add(dir.path(), "one.more"), Err(WhereaboutsError::Full)));
        assert!(!add(dir.path(), "host7").unwrap(), "it is there");
        for (broken, named) in [
            ("addresses = 7", "addresses"),
            ("discovery = true", "discovery"),
            ("addresses = [\"host:port\"]", "host:port"),
        ] {
            fs::write(dir.path().join(WHEREABOUTS_FILE), broken).unwrap();
            let refusal = add(dir.path(), "kitchen").unwrap_err().to_string();
            assert!(refusal.contains(named) && refusal.contains(WHEREABOUTS_FILE), "{refusal}");
            assert_eq!(fs::read_to_string(dir.path().join(WHEREABOUTS_FILE)).unwrap(), broken);
        }
    }
}

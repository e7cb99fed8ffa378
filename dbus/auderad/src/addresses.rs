//! The addresses that were added, in a file: all that `auderad` keeps.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use audera_link::Target;
use serde::{Deserialize, Serialize};

/// Name of the file in the state directory.
const FILE: &str = "auderad.toml";
/// The most addresses: no home has so many rooms.
const MOST: usize = 64;

/// The addresses.
#[derive(Debug, Default)]
pub struct Addresses {
    file: PathBuf,
    all: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    addresses: Vec<String>,
}

/// Why an address is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("\"{address}\" is no address: {source}")]
    Wrong {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: audera_link::TargetError,
    },
    /// There is no room for another one.
    #[error("{MOST} addresses were added, which is the most: remove one that is no longer needed")]
    TooMany,
}

impl Addresses {
    /// Reads the file. One that cannot be read or understood is told of and left as it is until something is added.
    pub fn open(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let read = match fs::read_to_string(&file) {
            Ok(text) => toml::from_str::<Document>(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Document::default()),
            Err(error) => Err(error.to_string()),
        };
        let document = read.unwrap_or_else(|error| {
            tracing::warn!("the addresses that were added are lost: {}: {error}", file.display());
            Document::default()
        });
        let mut addresses = Addresses { file, all: Vec::new() };
        for address in document.addresses {
            if let Err(error) = addresses.add(&address) {
                tracing::warn!("{}: {error}", addresses.file.display());
            }
        }
        addresses
    }

    /// All of them.
    pub fn all(&self) -> &[String] {
        &self.all
    }

    /// Adds one; whether it is new.
    ///
    /// # Errors
    /// It is no address, or there are too many.
    pub fn add(&mut self, address: &str) -> Result<bool, AddressError> {
        Target::parse(address, audera_wire::PORT)
            .map_err(|source| AddressError::Wrong { address: address.to_owned(), source })?;
        if self.all.iter().any(|known| known == address) {
            return Ok(false);
        }
        if self.all.len() >= MOST {
            return Err(AddressError::TooMany);
        }
        self.all.push(address.to_owned());
        Ok(true)
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, address: &str) -> bool {
        let before = self.all.len();
        self.all.retain(|known| known != address);
        self.all.len() < before
    }

    /// Puts the file in the place of the former, whole or not at all.
    ///
    /// # Errors
    /// What the system says, with the file.
    pub fn keep(&self) -> Result<(), String> {
        let kept =
            toml::to_string(&Document { addresses: self.all.clone() }).map_err(io::Error::other).and_then(|text| {
                let fresh = self.file.with_extension("toml.new");
                let mut new = File::create(&fresh)?;
                new.write_all(b"# Kept by auderad: rooms at fixed addresses.\n")?;
                new.write_all(text.as_bytes())?;
                new.sync_all()?;
                fs::rename(&fresh, &self.file)
            });
        kept.map_err(|error| format!("{} cannot be written: {error}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_there_again_and_nonsense_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::open(dir.path());
        assert!(addresses.add("kitchen.local").unwrap() && addresses.add("192.0.2.7:7000").unwrap());
        assert!(!addresses.add("kitchen.local").unwrap(), "the same twice is one");
        assert!(addresses.add("host:port").is_err() && addresses.add("").is_err());
        addresses.keep().unwrap();
        let mut again = Addresses::open(dir.path());
        assert_eq!(again.all(), ["kitchen.local", "192.0.2.7:7000"]);
        assert!(again.remove("kitchen.local") && !again.remove("kitchen.local"));
        again.keep().unwrap();
        assert_eq!(Addresses::open(dir.path()).all(), ["192.0.2.7:7000"]);
        fs::write(dir.path().join(FILE), "addresses = 7").unwrap();
        assert!(Addresses::open(dir.path()).all().is_empty());
        (0..MOST).for_each(|n| assert!(again.add(&format!("host{n}")).is_ok_and(|new| new) || n == MOST - 1));
        assert!(matches!(again.add("one.more"), Err(AddressError::TooMany)));
    }
}

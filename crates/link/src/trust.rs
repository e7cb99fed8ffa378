//! The file of peers that are known: one id for each name, kept from the first meeting on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use toml::Spanned;
use toml::value::{Date, Datetime, Offset, Time};

use crate::PeerId;
use crate::state_file::{self, Privacy, StateFileError, WriteLock};

/// Name of the file of known peers inside a state directory, for all programs alike.
pub const TRUSTED_FILE: &str = "trusted.toml";

/// Name of the file, in the same folder, in which those who dial keep the ids of whom they met. To be met is not to be trusted: this
/// file lets nobody in.
pub const MET_FILE: &str = "met.toml";

/// More peers than any house has. Names come from the network, and a stranger who invents them must not fill the disk.
const MAX_PEERS: usize = 4096;

/// Longest name kept, in bytes: that of a DNS label fits four times.
const MAX_NAME: usize = 256;

/// 9999-12-31T23:59:59Z in seconds since 1970: the last moment that TOML can write.
const END_OF_9999: u64 = 253_402_300_799;

/// What a new file begins with.
const HEADER: &str = "# Audera: peers that are known. To forget one, remove its [[peer]] block.\n";

/// The peers that this host and user know, in a TOML file:
///
/// ```toml
/// [[peer]]
/// name = "Kitchen"
/// id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/// added = 2025-01-31T18:30:00Z
/// ```
///
/// The file may be edited by hand, also while programs run; new entries are added at its end, and all else in it stays as it is.
/// Several names may share one id (two rooms on one host); a name has one id.
#[derive(Debug)]
pub struct TrustStore {
    path: PathBuf,
    peers: Vec<TrustedPeer>,
}

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPeer {
    /// The name under which the peer was met: a room, or a host.
    pub name: String,
    /// Its id.
    pub id: PeerId,
    /// The line of the file on which the entry starts, from 1.
    pub line: usize,
}

/// What came of [`TrustStore::pin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pinned {
    /// The name was met for the first time, and is now bound to the id.
    New,
    /// The name is bound to this id already.
    Known,
}

/// A peer shows another id than the one its name is bound to: a new installation, or someone who pretends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{name}\" IS NOT WHO IT WAS: it has id {offered}, but {known} is known under this name. If the peer was installed anew or \
     replaced, remove the [[peer]] entry at line {line} of {}; otherwise someone may be pretending to be it",
    .file.display()
)]
pub struct ChangedId {
    /// The name.
    pub name: String,
    /// The id it is bound to.
    pub known: PeerId,
    /// The id it shows now.
    pub offered: PeerId,
    /// The file that holds the entry.
    pub file: PathBuf,
    /// The line on which the entry starts, from 1.
    pub line: usize,
}

/// The file of known peers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The file is not what it should be.
    #[error("{}: {reason}; correct the file, or move it away to forget all peers", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// A name cannot be kept.
    #[error("a peer's name of {length} bytes cannot be kept: 1 to {MAX_NAME} bytes are accepted")]
    Name {
        /// Its length.
        length: usize,
    },
    /// There is no room for another peer.
    #[error("{} holds {MAX_PEERS} peers, which is the most it may; remove entries that are no longer needed", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// A peer is not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Its name belongs to another id. Refuse the peer, loudly.
    #[error(transparent)]
    Changed(#[from] ChangedId),
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] TrustError),
}

/// The file as TOML. Keys of later versions are tolerated.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    peer: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    id: Spanned<String>,
}

impl TrustStore {
    /// Reads the file; a missing one holds no peers.
    ///
    /// # Errors
    /// When the file cannot be read, is not valid, or can be changed by others.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TrustError> {
        let mut store = Self { path: path.into(), peers: Vec::new() };
        store.reload()?;
        Ok(store)
    }

    /// Reads the file again, since a user or another process may have changed it. After an error the former content stays in force.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn reload(&mut self) -> Result<(), TrustError> {
        self.read().map(|_text| ())
    }

    /// Whether any name is bound to `id`.
    pub fn contains(&self, id: &PeerId) -> bool {
        self.peers.iter().any(|peer| peer.id == *id)
    }

    /// All entries, in the order of the file.
    pub fn peers(&self) -> &[TrustedPeer] {
        &self.peers
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Binds `name` to `id` if the name is new, and refuses another id for a name that is bound. The file is read first, so entries
    /// of other processes count.
    ///
    /// # Errors
    /// [`PinError::Changed`] for another id; [`PinError::Store`] when the file cannot be read or written.
    pub fn pin(&mut self, name: &str, id: &PeerId) -> Result<Pinned, PinError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(TrustError::Name { length: name.len() }.into());
        }
        // Nearly always the peer is known; then nothing is locked or written.
        self.reload()?;
        if let Some(pinned) = self.judge(name, id)? {
            return Ok(pinned);
        }
        if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            state_file::ensure_dir(dir).map_err(TrustError::from)?;
        }
        let lock = WriteLock::acquire(&self.path).map_err(TrustError::from)?;
        let text = self.read()?;
        if let Some(pinned) = self.judge(name, id)? {
            return Ok(pinned);
        }
        if self.peers.len() >= MAX_PEERS {
            return Err(TrustError::Full { path: self.path.clone() }.into());
        }
        let longer = with_entry(text, name, id, SystemTime::now());
        let peers = self.parse(&longer)?;
        lock.replace(longer.as_bytes(), Privacy::Protected).map_err(TrustError::from)?;
        self.peers = peers;
        Ok(Pinned::New)
    }

    /// Removes the entries of a name; whether there were any. All else in the file stays as it is.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn forget(&mut self, name: &str) -> Result<bool, TrustError> {
        self.reload()?;
        if !self.peers.iter().any(|peer| peer.name == name) {
            return Ok(false);
        }
        let lock = WriteLock::acquire(&self.path)?;
        let text = self.read()?;
        let (gone, stay): (Vec<_>, Vec<_>) = self.peers.iter().partition(|peer| peer.name == name);
        let shorter = without_entries(&text, &gone.iter().map(|peer| peer.line).collect::<Vec<_>>());
        let peers = self.parse(&shorter)?;
        // Lines are moved; names and ids are not.
        let same = |one: &TrustedPeer, other: &TrustedPeer| one.name == other.name && one.id == other.id;
        if peers.len() != stay.len() || !peers.iter().zip(stay).all(|(peer, other)| same(peer, other)) {
            return Err(self.corrupt(format!("the entry of \"{name}\" cannot be told from others; remove it by hand")));
        }
        lock.replace(shorter.as_bytes(), Privacy::Protected)?;
        self.peers = peers;
        Ok(true)
    }

    /// Whether `name` is bound to `id` already; `None` when it is new. Looks at what was read last, writes nothing.
    ///
    /// # Errors
    /// The name is bound to another id.
    pub fn check(&self, name: &str, id: &PeerId) -> Result<Option<Pinned>, ChangedId> {
        self.judge(name, id)
    }

    fn judge(&self, name: &str, id: &PeerId) -> Result<Option<Pinned>, ChangedId> {
        match self.peers.iter().find(|peer| peer.name == name) {
            None => Ok(None),
            Some(peer) if peer.id == *id => Ok(Some(Pinned::Known)),
            Some(peer) => Err(ChangedId {
                name: name.to_owned(),
                known: peer.id,
                offered: *id,
                file: self.path.clone(),
                line: peer.line,
            }),
        }
    }

    /// Takes over the file's content and returns its text.
    fn read(&mut self) -> Result<String, TrustError> {
        let bytes = state_file::read(&self.path, Privacy::Protected)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| self.corrupt("it is not UTF-8 text".to_owned()))?;
        self.peers = self.parse(&text)?;
        Ok(text)
    }

    fn parse(&self, text: &str) -> Result<Vec<TrustedPeer>, TrustError> {
        let document: Document =
            toml::from_str(text).map_err(|error| self.corrupt(error.to_string().trim_end().to_owned()))?;
        let mut peers: Vec<TrustedPeer> = Vec::with_capacity(document.peer.len());
        for entry in document.peer {
            let line = line_of(text, entry.span().start);
            let Entry { name, id } = entry.into_inner();
            let id_line = line_of(text, id.span().start);
            let id = id.get_ref().parse().map_err(|error| self.corrupt(format!("line {id_line}: {error}")))?;
            if peers.iter().any(|peer| peer.name == name && peer.id != id) {
                let reason = format!("line {line}: a second id for the name \"{name}\"; a name has one id");
                return Err(self.corrupt(reason));
            }
            peers.push(TrustedPeer { name, id, line });
        }
        Ok(peers)
    }

    fn corrupt(&self, reason: String) -> TrustError {
        TrustError::Corrupt { path: self.path.clone(), reason }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// The text with one more entry at its end. All before it stays, comments as well.
fn with_entry(mut text: String, name: &str, id: &PeerId, now: SystemTime) -> String {
    if text.is_empty() {
        text.push_str(HEADER);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let (name, id, added) =
        (toml::Value::from(name), toml::Value::from(id.to_string()), toml::Value::Datetime(utc(now)));
    text.push_str(&format!("\n[[peer]]\nname = {name}\nid = {id}\nadded = {added}\n"));
    text
}

/// The text without the entries that begin at these lines: each goes on to the next header. Comments stay.
fn without_entries(text: &str, lines: &[usize]) -> String {
    let mut within = false;
    let stays = |(index, line): (usize, &str)| {
        if line.trim_start().starts_with('[') {
            within = lines.contains(&(index + 1));
        }
        (!within || line.trim_start().starts_with('#')).then(|| line.to_owned())
    };
    text.split_inclusive('\n').enumerate().filter_map(stays).collect()
}

/// The date and time of day in UTC, to the second. A clock before 1970 counts as 1970, one after 9999 as the end of that year.
fn utc(now: SystemTime) -> Datetime {
    let since = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(END_OF_9999);
    // The certificates' calendar serves here as well.
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since);
    Datetime {
        date: Some(Date { year: now.year() as u16, month: now.month().into(), day: now.day() }),
        time: Some(Time { hour: now.hour(), minute: now.minute(), second: Some(now.second()), nanosecond: None }),
        offset: Some(Offset::Z),
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "met for the first time",
            Self::Known => "known",
        })
    }
}

//! What `aplay -L` says of the rooms: a file in the state folder that alsa-lib reads for the description of `audera`
//! (`50-audera.conf`).
//!
//! alsa-lib has no way for a plugin to add names to that list while it is made, and a file that it reads for every program must not be
//! able to break any. So what is known goes into the description alone, as data; it is written when a program leaves its rooms, and a
//! missing or broken file is a description without them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io, process};

use audera_sender::{EVERYWHERE, PlayerInfo, PlayerKey, Reach};

use crate::house::Seen;

/// In the state folder. `50-audera.conf` has it as well.
const FILE: &str = "alsa-rooms.conf";
/// A larger file is not ours.
const MOST_BYTES: u64 = 64 << 10;
/// More are not shown.
const MOST_NAMES: usize = 64;

const DAY: u64 = 24 * 60 * 60;
/// Who was not there for so long is left out, in seconds.
const KEPT: u64 = 30 * DAY;

/// Adds what is known to the file of this state folder. Where that is not possible the list stays as it is: nobody would be helped by
/// hearing of it.
pub(crate) fn note(state_dir: &Path, seen: &Seen) {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
    let _ = write(&state_dir.join(FILE), names(seen), now.as_secs());
}

fn write(path: &Path, names: Vec<String>, now: u64) -> io::Result<()> {
    let before = match fs::metadata(path) {
        Ok(known) if known.len() <= MOST_BYTES => fs::read_to_string(path)?,
        Ok(_) => String::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let Some(text) = Known::read(&before).updated(names, now) else { return Ok(()) };
    // Whoever reads meanwhile has the old one or the new one.
    let fresh = path.with_extension(format!("{}.new", process::id()));
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path)).inspect_err(|_| drop(fs::remove_file(&fresh)))
}

/// The names by which everybody who is there could be asked for, but for Everywhere.
fn names(seen: &Seen) -> Vec<String> {
    let mut names = Vec::new();
    let is_added = |player: &PlayerInfo| player.addresses.iter().any(|address| seen.added.contains(address));
    for player in seen.players.values().filter(|player| player.is_present()) {
        match &player.key {
            PlayerKey::Discovered(room) => {
                names.push(room.clone());
                names.extend(player.groups.iter().cloned());
            }
            // What the user has added every program finds by its name, and what only this one was told by its address alone.
            PlayerKey::Address(_) if player.reach == Reach::Ready && is_added(player) => {
                names.push(player.room.clone());
                names.extend(player.groups.iter().cloned());
            }
            PlayerKey::Address(address) if player.reach == Reach::Ready => names.push(address.clone()),
            PlayerKey::Address(_) | PlayerKey::Caller(..) => {}
        }
    }
    names.retain(|name| !name.is_empty() && !name.chars().any(char::is_control));
    names
}

/// Names, and when each was last seen, in seconds since 1970.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known(BTreeMap<String, u64>);

/// Begins a line of the file that is for us, and a comment to alsa-lib.
const MARK: &str = "# seen ";

impl Known {
    fn read(text: &str) -> Self {
        let entry = |line: &str| {
            let (seen, name) = line.strip_prefix(MARK)?.split_once(' ')?;
            Some((name.to_owned(), seen.parse().ok()?))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// The new text of the file; `None` where that would be as good as the old one.
    fn updated(mut self, names: Vec<String>, now: u64) -> Option<String> {
        let before = self.0.len();
        self.0.retain(|_, seen| *seen <= now.saturating_add(DAY) && now.saturating_sub(*seen) < KEPT);
        let mut worth = self.0.len() != before;
        for name in names {
            let seen = self.0.entry(name).or_insert(0);
            worth |= now.saturating_sub(*seen) >= DAY;
            *seen = now;
        }
        worth.then(|| self.text())
    }

    fn text(&self) -> String {
        let mut text = "# The rooms of late, for `aplay -L`. Audera writes this.\n".to_owned();
        let mut shown = vec!["Rooms of late:".to_owned()];
        shown.extend(self.0.keys().take(MOST_NAMES).map(|name| argument(name)));
        if !self.0.is_empty() {
            shown.push(argument(EVERYWHERE));
            text += &format!("rooms \"{}\"\n", escaped(&shown.join("\n"), '"'));
        }
        self.0.iter().take(MOST_NAMES).for_each(|(name, seen)| text += &format!("{MARK}{seen} {name}\n"));
        text
    }
}

/// The PCM of that name, as alsa-lib reads it.
fn argument(name: &str) -> String {
    let plain = name.trim() == name && !name.starts_with('{') && !name.contains([',', '=', '\'', '"', '\\']);
    if plain { format!("audera:{name}") } else { format!("audera:'{}'", escaped(name, '\'')) }
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == quote || c == '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rooms_are_kept_for_a_while() {
        let first = Known::default().updated(names(&["Kitchen", "Bath"]), NOW).unwrap();
        assert!(first.contains("audera:Bath\naudera:Kitchen\naudera:Everywhere\"\n"), "{first}");
        assert_eq!(Known::read(&first).updated(names(&["Kitchen"]), NOW + DAY - 1), None, "nothing new");
        let second = Known::read(&first).updated(names(&["Kitchen"]), NOW + DAY).unwrap();
        let third = Known::read(&second).updated(names(&[]), NOW + KEPT).unwrap();
        assert!(third.contains("audera:Kitchen") && !third.contains("Bath"), "{third}");
        let none = Known::read(&third).updated(names(&[]), NOW + DAY + KEPT).unwrap();
        assert!(!none.contains("rooms \""), "{none}");
        // The clock was set back by a year.
        assert!(Known::read(&first).updated(names(&[]), NOW - 365 * DAY).is_some_and(|text| !text.contains("Bath")));
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let odd = ["Hall, \"old\"", "it's \\", "a=b", "{x}", "Küche"];
        let text = Known::default().updated(names(&odd), NOW).unwrap();
        assert_eq!(
            Known::read(&text).0.into_keys().collect::<Vec<_>>(),
            names(&["Hall, \"old\"", "Küche", "a=b", "it's \\", "{x}"])
        );
        let (_, quoted) = text.split_once("rooms \"").unwrap();
        let (quoted, _) = quoted.split_once("\"\n").unwrap();
        let expected = [
            "audera:'Hall, \\\"old\\\"'",
            "audera:Küche",
            "audera:'a=b'",
            "audera:'it\\\\'s \\\\\\\\'",
            "audera:'{x}'",
            "audera:Everywhere",
        ];
        assert_eq!(quoted.lines().skip(1).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_file_is_replaced_in_one_piece_and_left_alone_when_nothing_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        write(&path, names(&["Kitchen"]), NOW).unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        write(&path, names(&["Kitchen"]), NOW + 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        write(&path, names(&["Bath"]), NOW + 2).unwrap();
        assert_eq!(Known::read(&fs::read_to_string(&path).unwrap()).0.len(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("none").join(FILE), names(&["Bath"]), NOW).is_err());
    }
}

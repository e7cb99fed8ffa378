//! Names on the bus, and paths of objects.

use std::fmt::Write as _;

use zbus::zvariant::OwnedObjectPath;

/// The name of `auderad`, and the beginning of all others.
pub const AUDERA: &str = "org.audera.Audera1";
/// The name of the first player on a bus.
pub const PLAYER: &str = "org.audera.Audera1.Player";
/// What the names of processes with sinks begin with.
pub const SINKS: &str = "org.audera.Audera1.Sinks";
/// What the names of processes with a source begin with.
pub const SOURCE: &str = "org.audera.Audera1.Source";

/// The path of every object manager, and of `auderad` itself.
pub const ROOT: &str = "/org/audera/Audera1";
/// The path of a player that exports itself.
pub const OWN_PLAYER: &str = "/org/audera/Audera1/player";
/// The path of a source.
pub const OWN_SOURCE: &str = "/org/audera/Audera1/source";

/// The name of this process among those that begin with `kind`: further ones of one process are numbered.
#[must_use]
pub fn of_process(kind: &str, number: u32) -> String {
    let pid = std::process::id();
    if number <= 1 { format!("{kind}.p{pid}") } else { format!("{kind}.p{pid}_{number}") }
}

/// The path of a room.
#[must_use]
pub fn player_path(room: &str) -> OwnedObjectPath {
    path("players", room)
}

/// The path of a group.
#[must_use]
pub fn group_path(group: &str) -> OwnedObjectPath {
    path("groups", group)
}

/// The path of a sink, by its node's name.
#[must_use]
pub fn sink_path(node: &str) -> OwnedObjectPath {
    path("sinks", node)
}

fn path(folder: &str, name: &str) -> OwnedObjectPath {
    let path = format!("{ROOT}/{folder}/{}", label(name));
    match OwnedObjectPath::try_from(path) {
        Ok(path) => path,
        Err(_) => unreachable!("labels have letters, digits and underscores only, and are never empty"),
    }
}

/// A name as one element of a path: bytes other than ASCII letters and digits, and a digit at the beginning, become an underscore and two
/// hexadecimal digits; nothing at all becomes an underscore. It is the escaping of systemd (`sd_bus_path_encode`).
#[must_use]
pub fn label(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut label = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            label.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(label, "_{byte:02x}");
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_systemd() {
        // From `sd_bus_path_encode(3)` and its tests.
        for (name, wanted) in
            [("", "_"), ("foo.bar", "foo_2ebar"), ("123", "_3123"), ("foo123", "foo123"), ("_ _", "_5f_20_5f")]
        {
            assert_eq!(label(name), wanted);
        }
        assert_eq!(player_path("Büro").as_str(), "/org/audera/Audera1/players/B_c3_bcro");
    }
}

//! Names of sinks' nodes, which stay the same over restarts: desktops remember volume and place under them.

/// The name for a room's sink.
pub(crate) fn of_room(room: &str) -> String {
    stable("audera.", room)
}

/// The name for a group's sink, which no room's can be: theirs have one point.
pub(crate) fn of_group(group: &str) -> String {
    stable("audera.group.", group)
}

/// Names that differ only in what cannot stand in a node's name are told apart by a hash, not by who came first.
fn stable(prefix: &str, name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    if name.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '_') {
        return format!("{prefix}{plain}");
    }
    let hash = fnv1a(name.as_bytes());
    // Folded, as its authors advise, instead of cut.
    format!("{prefix}{plain}-{:06x}", (hash >> 24) ^ (hash & 0x00ff_ffff))
}

/// The hash FNV-1a with 32 bits, by Fowler, Noll and Vo: the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the test vectors of its authors.
        assert_eq!([fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }

    #[test]
    fn rooms_are_told_apart_by_their_names_alone() {
        assert_eq!(of_room("Living Room"), "audera.Living_Room");
        assert_eq!(of_room("Gästezimmer"), "audera.Gästezimmer");
        let (slash, plus) = (of_room("Bath/WC"), of_room("Bath+WC"));
        assert!(slash.starts_with("audera.Bath_WC-") && plus.starts_with("audera.Bath_WC-"), "{slash} {plus}");
        assert_ne!(slash, plus);
    }

    #[test]
    fn a_group_is_no_room() {
        assert_eq!(of_group("Upper Floor"), "audera.group.Upper_Floor");
        assert!(of_room("group.Upper Floor").starts_with("audera.group_Upper_Floor-"));
    }
}

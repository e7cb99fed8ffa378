//! Names under which players and sources are announced by DNS-SD: the types, what a name may be, and the text form of the group list.

use crate::limits::{MAX_GROUPS, MAX_NAME};

/// Service type of players; the instance name is the room.
pub const SERVICE_PLAYER: &str = "_audera._tcp";

/// Service type of sources, to which players may dial in; the instance name is the source's.
pub const SERVICE_SOURCE: &str = "_audera-source._tcp";

/// TXT key: highest major version of the protocol, decimal.
pub const TXT_VERSION: &str = "v";

/// TXT key: id of the identity, 64 lower-case hexadecimal digits.
pub const TXT_ID: &str = "id";

/// TXT key: groups of a player, see [`groups_to_txt`].
pub const TXT_GROUPS: &str = "groups";

/// TXT key: who may play here, [`TXT_ACCESS_PAIRED`] or [`TXT_ACCESS_OPEN`].
pub const TXT_ACCESS: &str = "access";

/// Value of [`TXT_ACCESS`]: paired senders only.
pub const TXT_ACCESS_PAIRED: &str = "paired";

/// Value of [`TXT_ACCESS`]: any sender.
pub const TXT_ACCESS_OPEN: &str = "open";

/// Longest value of the `groups` key in bytes: a TXT string holds 255, `groups=` takes 7.
const MAX_GROUPS_TXT: usize = 255 - 7;

/// Says what makes `text` unfit for a name that is announced, or found, by DNS-SD; `None` for a good one.
#[must_use]
pub fn label_fault(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        Some("it is empty".into())
    } else if text.len() > MAX_NAME {
        Some(format!("it has {} bytes", text.len()))
    } else if text.chars().any(char::is_control) {
        Some("it holds a control character".into())
    } else if text.trim() != text {
        Some("it begins or ends with a blank".into())
    } else {
        None
    }
}

/// Writes a group list as the value of [`TXT_GROUPS`]: names joined by commas.
///
/// Names that hold a comma or are empty cannot be written and are left out, as is what would exceed the 248 bytes of a
/// TXT value; the player's hello has the full list.
#[must_use]
pub fn groups_to_txt<T: AsRef<str>>(groups: &[T]) -> String {
    let mut txt = String::new();
    for group in groups.iter().map(AsRef::as_ref).filter(|name| !name.is_empty() && !name.contains(',')) {
        let comma = usize::from(!txt.is_empty());
        if txt.len() + comma + group.len() <= MAX_GROUPS_TXT {
            if comma == 1 {
                txt.push(',');
            }
            txt.push_str(group);
        }
    }
    txt
}

/// Reads the value of [`TXT_GROUPS`], which anybody in the network may have written: what could not stand in a hello is left out.
#[must_use]
pub fn groups_from_txt(txt: &str) -> Vec<String> {
    let fits = |name: &&str| (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    txt.split(',').filter(fits).take(MAX_GROUPS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label() {
        for name in ["Kitchen", "Büro 2", "a", &"x".repeat(63)] {
            assert_eq!(label_fault(name), None);
        }
        for name in ["", " ", " Bath", "a\nb", &"x".repeat(64)] {
            assert!(label_fault(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn groups_survive_the_text_form() {
        let groups = ["Downstairs", "Everyone's", "Büro"];
        assert_eq!(groups_to_txt(&groups), "Downstairs,Everyone's,Büro");
        assert_eq!(groups_from_txt(&groups_to_txt(&groups)), groups);
        assert_eq!(groups_from_txt(""), Vec::<String>::new());
        assert_eq!(groups_from_txt("A\u{1b}[2J,,B"), ["B"]);
        assert_eq!(groups_from_txt(&"x,".repeat(100)).len(), MAX_GROUPS);
    }

    #[test]
    fn groups_that_do_not_fit_are_left_out_whole() {
        let long = "x".repeat(63);
        let groups: Vec<String> = (0..6).map(|n| format!("{n}{}", &long[1..])).collect();
        let txt = groups_to_txt(&groups);
        assert!(txt.len() <= 248);
        assert_eq!(groups_from_txt(&txt), groups[..3]);
        assert_eq!(groups_to_txt(&["a,b", "", "c"]), "c");
    }
}

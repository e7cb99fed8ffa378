//! Lists of groups: what is accepted in them, and how they are read and cut.

use serde::Deserializer;

use super::{RoomKey, RoomRefusal};
use crate::dnssd::label_fault;
use crate::limits::{MAX_GROUPS, MAX_NAME};
use crate::text;

/// Puts a group into a list; the same group twice is one.
pub(super) fn put(groups: &mut Vec<String>, group: &String) {
    if !groups.contains(group) {
        groups.push(group.clone());
    }
}

/// A list with names cut to their limit, and no more of them than there may be.
pub(super) fn fit_for_wire(groups: &[String]) -> Vec<String> {
    groups.iter().take(MAX_GROUPS).map(|group| text::clip(group, MAX_NAME)).collect()
}

/// Whether there can be so many groups.
pub(super) fn check_number(groups: usize) -> Result<(), RoomRefusal> {
    if groups <= MAX_GROUPS {
        return Ok(());
    }
    let accepted = format!("at most {MAX_GROUPS} groups");
    Err(RoomRefusal::new(RoomKey::Groups, format_args!("{groups} groups"), accepted))
}

/// Whether a group can be called so.
pub(super) fn check_name(group: &String) -> Result<(), RoomRefusal> {
    if label_fault(group).is_none() && !group.contains(',') {
        return Ok(());
    }
    let accepted = "1 to 63 bytes without control characters and commas, and no blank at either end";
    Err(RoomRefusal::new(RoomKey::Groups, group, accepted))
}

/// A list, which is something even if it is empty.
pub(super) fn read_groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    text::texts::<D, MAX_GROUPS, MAX_NAME>(deserializer).map(Some)
}

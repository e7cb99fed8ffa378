//! Why a room stays as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RoomChange, RoomKey};
use crate::limits::{MAX_NAME, MAX_REASON};
use crate::text;

/// Why a change was not made. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{key} cannot be {value:?}; accepted: {accepted}")]
pub struct RoomRefusal {
    /// The key.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub key: String,
    /// The value that was to be set.
    #[serde(deserialize_with = "text::text::<_, MAX_REASON>")]
    pub value: String,
    /// What is accepted.
    #[serde(deserialize_with = "text::text::<_, MAX_REASON>")]
    pub accepted: String,
}

impl RoomRefusal {
    /// Why somebody may not make any change, this one for example.
    #[must_use]
    pub fn of_all(change: &RoomChange, why: impl Into<String>) -> Self {
        let key = change.keys().next().unwrap_or(RoomKey::Name);
        Self::new(key, "changed", why)
    }

    pub(super) fn new(key: RoomKey, value: impl fmt::Display, accepted: impl Into<String>) -> Self {
        Self { key: key.name().to_owned(), value: value.to_string(), accepted: accepted.into() }
    }

    pub(crate) fn fit_for_wire(&self) -> Self {
        Self {
            key: text::clip(&self.key, MAX_NAME),
            value: text::clip(&self.value, MAX_REASON),
            accepted: text::clip(&self.accepted, MAX_REASON),
        }
    }
}

//! A sender's changes to the room's state: one is under way at a time, what comes meanwhile waits as one.
//!
//! So a slider that moves a hundred times a second sends as many changes as the way to the player takes, the last of them always, and a
//! sender knows when a state that it is told has all its own changes in it.

use crate::frame::FrameType;
use crate::room::RoomChange;
use crate::session::error::SessionError;

#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Number of the next one.
    next: u32,
    under_way: Option<u32>,
    /// The newest that was answered.
    answered: Option<u32>,
    waiting: RoomChange,
}

impl Orders {
    /// Takes a change in.
    pub(crate) fn add(&mut self, change: RoomChange) {
        self.waiting.merge(change);
    }

    /// The change to be sent now, with its number.
    pub(crate) fn take(&mut self) -> Option<(u32, RoomChange)> {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return None;
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.under_way = Some(number);
        Some((number, std::mem::take(&mut self.waiting)))
    }

    /// The player has answered the change of this number.
    pub(crate) fn answered(&mut self, kind: FrameType, number: u32) -> Result<(), SessionError> {
        if self.under_way == Some(number) {
            (self.under_way, self.answered) = (None, Some(number));
        }
        // The newest answer comes again with every later state.
        if self.answered == Some(number) {
            return Ok(());
        }
        Err(SessionError::SetNumber { kind, number })
    }

    /// Whether the player has all changes.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }
}

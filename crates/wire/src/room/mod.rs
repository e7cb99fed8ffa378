//! The state that belongs to a room, and changes to it: one definition for the player, which owns it, and for all who see and set it.

mod change;
mod groups;
mod key;
mod mode;
mod refusal;
mod state;
mod waiting;

pub use change::{MAX_STEP_DB, RoomChange};
pub use key::RoomKey;
pub use mode::{ChannelMode, UnknownChannelMode};
pub use refusal::RoomRefusal;
pub use state::{MAX_OUTPUT_DELAY_MS, RoomState};
pub use waiting::RoomChanges;

/// What the tests have in common.
#[cfg(test)]
mod samples {
    use super::{RoomChange, RoomState};
    use crate::volume::Volume;

    pub(super) fn kitchen() -> RoomState {
        RoomState { volume: Volume::new(40.0).unwrap(), ..RoomState::new("Kitchen") }
    }

    pub(super) fn step(points: f64) -> RoomChange {
        RoomChange { volume_step: Some(points), ..RoomChange::default() }
    }

    pub(super) fn step_db(decibels: f64) -> RoomChange {
        RoomChange { volume_step_db: Some(decibels), ..RoomChange::default() }
    }
}

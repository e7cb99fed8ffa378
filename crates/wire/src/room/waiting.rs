//! Changes of a room's state that wait for the one before them to be answered.

use std::collections::VecDeque;

use super::{RoomChange, RoomRefusal};

/// Changes that wait, one after the other; those that can be one are. So a slider that moves leaves one, however often it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomChanges(VecDeque<RoomChange>);

impl RoomChanges {
    /// The most of them. Whoever piles up more has the last two merged, so that the last word on each key counts and the way to it may not; or is
    /// refused, where the protocol has no room for both in one.
    const MOST: usize = 16;

    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one behind the others.
    ///
    /// # Errors
    /// So many wait already that it would have to be one with the last of them, for which the protocol has no room. Nothing of it is taken.
    pub fn push(&mut self, change: RoomChange) -> Result<(), RoomRefusal> {
        if change.is_empty() {
            return Ok(());
        }
        let full = self.0.len() >= Self::MOST;
        match self.0.back_mut() {
            None => self.0.push_back(change),
            Some(last) => match last.follow(change) {
                None => {}
                Some(change) if full => last.merge_within(change)?,
                Some(change) => self.0.push_back(change),
            },
        }
        Ok(())
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<RoomChange> {
        self.0.pop_front()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::MAX_GROUPS;
    use crate::room::samples::step;
    use crate::room::{RoomKey, RoomState};
    use crate::volume::Volume;

    #[test]
    fn a_slider_leaves_one_change_and_steps_forth_and_back_two() {
        let mut waiting = RoomChanges::new();
        (0..100).for_each(|percent| waiting.push(RoomChange::volume(f64::from(percent))).unwrap());
        assert_eq!((waiting.pop(), waiting.pop()), (Some(RoomChange::volume(99.0)), None));
        [30.0, 20.0, -50.0, 0.0, -5.0].into_iter().for_each(|points| waiting.push(step(points)).unwrap());
        assert_eq!((waiting.pop(), waiting.pop(), waiting.pop()), (Some(step(50.0)), Some(step(-55.0)), None));
        // However much is piled up.
        for turn in 0..1_000 {
            waiting.push(step(if turn % 2 == 0 { 1.0 } else { -1.0 })).unwrap();
        }
        waiting.push(RoomChange::mute(true)).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert!(all.len() == RoomChanges::MOST && all.last().is_some_and(|last| last.mute == Some(true)), "{all:?}");
    }

    #[test]
    fn a_pile_of_groups_is_refused_and_takes_nothing_else_with_it() {
        let mut waiting = RoomChanges::new();
        let taken = (0..1_000).filter(|number| waiting.push(RoomChange::join(number.to_string())).is_ok()).count();
        assert_eq!(taken, RoomChanges::MOST - 1 + MAX_GROUPS);
        let refusal = waiting.push(RoomChange::join("New")).unwrap_err();
        assert!(refusal.key == "groups" && refusal.accepted.contains("32 groups"), "{refusal}");
        waiting.push(RoomChange::volume(30.0)).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert!(all.iter().all(|change| change.check_size().is_ok() && change.fit_for_wire() == *change), "{all:?}");
        assert_eq!(all.iter().map(|change| change.add_groups.len()).sum::<usize>(), taken, "none is lost untold");
        assert_eq!(all.last().and_then(|last| last.volume), Some(30.0));
    }

    fn changes() -> impl Strategy<Value = RoomChange> {
        let percent = || prop::option::weighted(0.3, prop::sample::select(vec![0.0, 10.0, 45.0, 90.0, 100.0, 101.0]));
        let step = prop::option::weighted(0.3, prop::sample::select(vec![-101.0, -60.0, -5.0, 0.0, 5.0, 60.0]));
        let step_db = prop::option::weighted(0.1, prop::sample::select(vec![-241.0, -6.0, 3.0]));
        let name = prop::option::weighted(0.2, prop::sample::select(vec!["A", "B", ""]));
        let join = prop::option::weighted(0.1, prop::sample::select(vec!["A", "B", ","]));
        let leave = prop::option::weighted(0.1, prop::sample::select(vec!["A", "B"]));
        let audible = prop::option::weighted(0.1, prop::sample::select(vec![20.0, 101.0]));
        let mute = prop::option::weighted(0.3, any::<bool>());
        (percent(), step, step_db, audible, percent(), mute, name, (join, leave)).prop_map(
            |(volume, volume_step, volume_step_db, audible_volume, max_volume, mute, name, (join, leave))| RoomChange {
                volume,
                volume_step,
                volume_step_db,
                audible_volume,
                max_volume,
                mute,
                name: name.map(str::to_owned),
                add_groups: join.into_iter().map(str::to_owned).collect(),
                remove_groups: leave.into_iter().map(str::to_owned).collect(),
                ..RoomChange::default()
            },
        )
    }

    proptest! {
        #[test]
        fn what_follows_does_what_it_would_do_in_turn(
            changes in prop::collection::vec(changes(), 2..6),
            volume in 0u32..=100,
            limit in 0u32..=100,
            pinned in prop::option::weighted(0.2, prop::sample::select(RoomKey::ALL.to_vec())),
        ) {
            let (volume, max_volume) = (Volume::nearest(f64::from(volume.min(limit))), Volume::nearest(f64::from(limit)));
            let begin = RoomState { volume, max_volume, pinned: pinned.into_iter().collect(), ..RoomState::new("Kitchen") };
            // How loud the room was heard last, or was said to have been, at any time.
            let mut heard = vec![begin.heard_last()];
            // What is refused does nothing.
            let in_turn = changes.iter().fold(begin.clone(), |state, change| {
                let Ok(after) = state.changed(change) else { return state };
                heard.extend(change.audible_volume.map(Volume::new));
                heard.push(after.heard_last());
                after
            });
            let mut waiting = RoomChanges::new();
            changes.iter().cloned().for_each(|change| waiting.push(change).unwrap());
            let fewer: Vec<_> = waiting.0.into();
            let at_once = fewer.iter().fold(begin, |state, change| state.changed(change).unwrap_or(state));
            // Only this may be from a moment before.
            prop_assert!(heard.contains(&at_once.heard_last()), "{:?} is none of {:?} after {:?}", at_once, heard, fewer);
            let all_else = |state| RoomState { audible_volume: None, ..state };
            prop_assert_eq!(all_else(at_once), all_else(in_turn), "{:?}", fewer);
        }
    }
}

//! Changes to a room's state that somebody waits for: which of them an answer of the player is about.

use std::collections::VecDeque;

use audera_wire::{RoomChange, RoomRefusal, RoomState};

/// Why a room's state was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The player does not accept it.
    #[error(transparent)]
    Refused(#[from] RoomRefusal),
    /// The player is not connected, or was lost before it answered. What it had got of the change may be in force.
    #[error("the room is not connected")]
    NotConnected,
}

/// Is told what has come of a change.
pub(crate) type Answer = Box<dyn FnOnce(Result<RoomState, ChangeError>) + Send>;

/// The most changes of one player that wait.
const MOST: usize = 16;

/// Changes of one player, of which one is under way. So each answer of the player reaches those that it is meant for.
#[derive(Default)]
pub(crate) struct Changes {
    /// Who waits for the change that is under way; `None` while none is.
    under_way: Option<Vec<Answer>>,
    waiting: VecDeque<(RoomChange, Vec<Answer>)>,
}

impl Changes {
    /// Takes a change in. A slider that moves leaves one, however often it does.
    pub(crate) fn add(&mut self, change: RoomChange, answer: Option<Answer>) {
        let full = self.waiting.len() >= MOST;
        match self.waiting.back_mut() {
            Some((last, waiters)) if full || (is_volume(last) && is_volume(&change)) => {
                last.merge(change);
                waiters.extend(answer);
            }
            _ => self.waiting.push_back((change, answer.into_iter().collect())),
        }
    }

    /// The change that is to be sent now.
    pub(crate) fn take(&mut self) -> Option<RoomChange> {
        if self.under_way.is_some() {
            return None;
        }
        let (change, waiters) = self.waiting.pop_front()?;
        self.under_way = Some(waiters);
        Some(change)
    }

    /// Whether the player has answered all changes.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// The player has answered the change that is under way.
    pub(crate) fn answered(&mut self, answer: &Result<RoomState, ChangeError>) {
        for waiter in self.under_way.take().unwrap_or_default() {
            waiter(answer.clone());
        }
    }

    /// The player is gone.
    pub(crate) fn lost(&mut self) {
        let waiting = std::mem::take(&mut self.waiting).into_iter().flat_map(|(_, waiters)| waiters);
        for waiter in self.under_way.take().unwrap_or_default().into_iter().chain(waiting) {
            waiter(Err(ChangeError::NotConnected));
        }
    }
}

/// Whether a change says what the volume is to be, and nothing else.
fn is_volume(change: &RoomChange) -> bool {
    change.volume.is_some_and(|volume| *change == RoomChange::volume(volume))
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Changes").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn asked(changes: &mut Changes, percent: f64) -> Receiver<Result<RoomState, ChangeError>> {
        let (told, answer) = channel();
        let tell: Answer = Box::new(move |outcome| told.send(outcome).unwrap());
        changes.add(RoomChange::volume(percent), Some(tell));
        answer
    }

    #[test]
    fn each_answer_reaches_those_it_is_meant_for() {
        let mut changes = Changes::default();
        let first = asked(&mut changes, 1.0);
        assert_eq!(changes.take(), Some(RoomChange::volume(1.0)));
        let (second, third) = (asked(&mut changes, 2.0), asked(&mut changes, 3.0));
        assert_eq!(changes.take(), None, "one is under way");
        let refusal = RoomRefusal { key: "volume".into(), value: "1".into(), accepted: "2".into() };
        changes.answered(&Err(refusal.clone().into()));
        assert_eq!(first.try_recv(), Ok(Err(ChangeError::Refused(refusal))));
        assert!(second.try_recv().is_err() && !changes.is_settled());
        assert_eq!(changes.take(), Some(RoomChange::volume(3.0)), "a slider is where it is now");
        let state = RoomState::new("Kitchen");
        changes.answered(&Ok(state.clone()));
        assert_eq!((second.try_recv(), third.try_recv()), (Ok(Ok(state.clone())), Ok(Ok(state))));
        assert!(changes.is_settled() && changes.take().is_none());
    }

    #[test]
    fn nobody_waits_for_a_player_that_is_gone() {
        let mut changes = Changes::default();
        let first = asked(&mut changes, 1.0);
        changes.take().unwrap();
        let second = asked(&mut changes, 2.0);
        changes.lost();
        for answer in [first, second] {
            assert_eq!(answer.try_recv(), Ok(Err(ChangeError::NotConnected)));
        }
        assert!(changes.is_settled());
    }
}

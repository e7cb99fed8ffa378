//! Changes to a room's state that somebody waits for: which of them an answer of the player is about.

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

/// Changes of one player: one is under way, what comes meanwhile waits as one. So each answer of the player has those that it is meant for.
#[derive(Default)]
pub(crate) struct Changes {
    /// Who waits for the change that is under way; `None` while none is.
    under_way: Option<Vec<Answer>>,
    waiting: RoomChange,
    waiters: Vec<Answer>,
}

impl Changes {
    /// Takes a change in.
    pub(crate) fn add(&mut self, change: RoomChange, answer: Option<Answer>) {
        self.waiting.merge(change);
        self.waiters.extend(answer);
    }

    /// The change that is to be sent now.
    pub(crate) fn take(&mut self) -> Option<RoomChange> {
        if self.under_way.is_some() || (self.waiting.is_empty() && self.waiters.is_empty()) {
            return None;
        }
        self.under_way = Some(std::mem::take(&mut self.waiters));
        Some(std::mem::take(&mut self.waiting))
    }

    /// Whether the player has answered all changes.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty() && self.waiters.is_empty()
    }

    /// The player has answered the change that is under way.
    pub(crate) fn answered(&mut self, answer: &Result<RoomState, ChangeError>) {
        for waiter in self.under_way.take().unwrap_or_default() {
            waiter(answer.clone());
        }
    }

    /// The player is gone.
    pub(crate) fn lost(&mut self) {
        self.waiting = RoomChange::default();
        for waiter in self.under_way.take().unwrap_or_default().into_iter().chain(std::mem::take(&mut self.waiters)) {
            waiter(Err(ChangeError::NotConnected));
        }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Changes").field("waiting", &self.waiting).finish_non_exhaustive()
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
        assert_eq!(changes.take(), Some(RoomChange::volume(3.0)), "what waits is one");
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

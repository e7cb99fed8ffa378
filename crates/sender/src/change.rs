//! Changes to a room's state on their way to its player: which of them an answer is about, and who waits for it. Nothing is lost untold.

use std::collections::VecDeque;

use audera_wire::{RoomChange, RoomRefusal, RoomState};

/// Why a room's state was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The player does not accept it.
    #[error(transparent)]
    Refused(#[from] RoomRefusal),
    /// The player is not connected, or was lost before it answered. What it had got of the change may be in force.
    #[error("the room is not connected: try again when it is there")]
    NotConnected,
    /// The player is connected and did not answer in time. It may still make the change.
    #[error("the room has not answered: it may be busy, or an older version with a defect")]
    Unanswered,
}

/// Is told what has come of a change.
pub(crate) type Answer = Box<dyn FnOnce(Result<RoomState, ChangeError>) + Send>;

/// The most changes of one player that wait. Whoever piles up more has the last two merged, so that the last word on each key counts; or is
/// refused, where the protocol has no room for both in one.
const MOST: usize = 16;

/// Changes of one player, of which one is under way. So each answer of the player reaches those that it is meant for.
#[derive(Default)]
pub(crate) struct Changes {
    under_way: Option<Asked>,
    waiting: VecDeque<Asked>,
}

/// A change, and who waits for it.
struct Asked {
    change: RoomChange,
    waiters: Vec<Answer>,
}

impl Asked {
    fn answer(self, answer: &Result<RoomState, ChangeError>) {
        self.waiters.into_iter().for_each(|waiter| waiter(answer.clone()));
    }
}

impl Changes {
    /// Takes a change in, and who waits for it. A slider that moves leaves one, however often it does. One that is refused leaves `answer` where it is.
    pub(crate) fn add(&mut self, change: RoomChange, answer: &mut Option<Answer>) -> Result<(), RoomRefusal> {
        let full = self.waiting.len() >= MOST;
        let apart = match self.waiting.back_mut() {
            Some(last) => match last.change.follow(change) {
                Some(change) if full => {
                    last.change.merge_within(change)?;
                    None
                }
                apart => apart,
            },
            None => Some(change),
        };
        if let Some(change) = apart {
            self.waiting.push_back(Asked { change, waiters: Vec::new() });
        }
        self.waiting.back_mut().into_iter().for_each(|last| last.waiters.extend(answer.take()));
        Ok(())
    }

    /// The change that is to be sent now.
    pub(crate) fn take(&mut self) -> Option<RoomChange> {
        if self.under_way.is_some() {
            return None;
        }
        self.under_way = self.waiting.pop_front();
        self.under_way.as_ref().map(|asked| asked.change.clone())
    }

    /// Whether the player has answered all changes.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// The player has answered the change that is under way; whether there was one.
    pub(crate) fn answered(&mut self, answer: &Result<RoomState, ChangeError>) -> bool {
        let asked = self.under_way.take();
        let any = asked.is_some();
        asked.into_iter().for_each(|asked| asked.answer(answer));
        any
    }

    /// The player is reached in another way from now on: all that it has not answered is asked again. Whether something could not be: a step
    /// that it may have made already is not taken twice, and those who wait for it are told that it is lost.
    pub(crate) fn ask_again(&mut self) -> bool {
        match self.under_way.take() {
            Some(asked) if asked.change.is_absolute() => {
                self.waiting.push_front(asked);
                false
            }
            lost => {
                let any = lost.is_some();
                lost.into_iter().for_each(|asked| asked.answer(&Err(ChangeError::NotConnected)));
                any
            }
        }
    }

    /// The player is gone. Whether anything is lost by that.
    pub(crate) fn lost(&mut self) -> bool {
        let any = !self.is_settled();
        let lost = self.under_way.take().into_iter().chain(std::mem::take(&mut self.waiting));
        lost.for_each(|asked| asked.answer(&Err(ChangeError::NotConnected)));
        any
    }
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

    fn asked(changes: &mut Changes, change: RoomChange) -> Receiver<Result<RoomState, ChangeError>> {
        let (told, answer) = channel();
        let tell: Answer = Box::new(move |outcome| told.send(outcome).unwrap());
        changes.add(change, &mut Some(tell)).unwrap();
        answer
    }

    fn step(points: f64) -> RoomChange {
        RoomChange { volume_step: Some(points), ..RoomChange::default() }
    }

    #[test]
    fn each_answer_reaches_those_it_is_meant_for() {
        let mut changes = Changes::default();
        let first = asked(&mut changes, RoomChange::volume(1.0));
        assert_eq!(changes.take(), Some(RoomChange::volume(1.0)));
        let second = asked(&mut changes, RoomChange::volume(2.0));
        let third = asked(&mut changes, RoomChange::volume(3.0));
        assert_eq!(changes.take(), None, "one is under way");
        let refusal = RoomRefusal { key: "volume".into(), value: "1".into(), accepted: "2".into() };
        assert!(changes.answered(&Err(refusal.clone().into())));
        assert_eq!(first.try_recv(), Ok(Err(ChangeError::Refused(refusal))));
        assert!(second.try_recv().is_err() && !changes.is_settled());
        assert_eq!(changes.take(), Some(RoomChange::volume(3.0)), "a slider is where it is now");
        let state = RoomState::new("Kitchen");
        changes.answered(&Ok(state.clone()));
        assert_eq!((second.try_recv(), third.try_recv()), (Ok(Ok(state.clone())), Ok(Ok(state))));
        assert!(changes.is_settled() && changes.take().is_none());
    }

    #[test]
    fn what_was_under_way_is_asked_again_unless_twice_is_more_than_once() {
        let mut changes = Changes::default();
        let first = asked(&mut changes, RoomChange::volume(1.0));
        changes.take().unwrap();
        let second = asked(&mut changes, step(5.0));
        assert!(!changes.ask_again());
        assert_eq!(changes.take(), Some(RoomChange::volume(1.0)));
        changes.answered(&Ok(RoomState::new("Kitchen")));
        assert!(first.try_recv().is_ok());
        assert_eq!(changes.take(), Some(step(5.0)));
        let third = asked(&mut changes, step(-3.0));
        assert!(changes.ask_again());
        assert_eq!(second.try_recv(), Ok(Err(ChangeError::NotConnected)));
        assert_eq!((changes.take(), third.try_recv().is_err()), (Some(step(-3.0)), true));
    }

    #[test]
    fn nobody_waits_for_a_player_that_is_gone() {
        let mut changes = Changes::default();
        let first = asked(&mut changes, RoomChange::volume(1.0));
        changes.take().unwrap();
        let second = asked(&mut changes, RoomChange::mute(true));
        assert!(changes.lost());
        for answer in [first, second] {
            assert_eq!(answer.try_recv(), Ok(Err(ChangeError::NotConnected)));
        }
        assert!(changes.is_settled() && !changes.lost());
    }

    #[test]
    fn a_pile_of_groups_keeps_what_was_taken_and_refuses_the_newcomer() {
        let mut changes = Changes::default();
        let (mut taken, mut refused) = (Vec::new(), 0);
        for number in 0..100 {
            let (told, answer) = channel();
            let mut tell: Option<Answer> = Some(Box::new(move |outcome| told.send(outcome).unwrap()));
            match changes.add(RoomChange::join(number.to_string()), &mut tell) {
                Ok(()) => taken.push(answer),
                Err(refusal) => {
                    assert!(refusal.accepted.contains("32 groups") && tell.is_some(), "{refusal}");
                    refused += 1;
                }
            }
        }
        let louder = asked(&mut changes, RoomChange::volume(30.0));
        assert!(refused > 0 && taken.len() > 32, "{refused} of {}", taken.len());
        let sent: Vec<_> = std::iter::from_fn(|| {
            let change = changes.take()?;
            assert_eq!(change.check_size(), Ok(()));
            changes.answered(&Ok(RoomState::new("Kitchen")));
            Some(change)
        })
        .collect();
        assert_eq!(sent.iter().map(|change| change.add_groups.len()).sum::<usize>(), taken.len());
        assert!(taken.iter().chain([&louder]).all(|answer| answer.try_recv().is_ok_and(|outcome| outcome.is_ok())));
    }

    #[test]
    fn a_pile_is_bounded_and_all_are_answered() {
        let mut changes = Changes::default();
        let answers: Vec<_> =
            (0..1_000).map(|turn| asked(&mut changes, step(if turn % 2 == 0 { 1.0 } else { -1.0 }))).collect();
        let mut sent = 0;
        while changes.take().is_some() {
            sent += 1;
            changes.answered(&Ok(RoomState::new("Kitchen")));
        }
        assert!(sent <= MOST && answers.iter().all(|answer| answer.try_recv().is_ok()), "{sent}");
    }
}

//! A sender's changes to the room's state: one is under way at a time, what comes meanwhile waits and becomes as few as it can.
//!
//! So a slider that moves a hundred times a second sends as many changes as the way to the player takes, the last of them always, and a
//! sender knows when a state that it is told has all its own changes in it. A player that does not answer is not waited for for ever.

use audera_clock::SenderTime;

use crate::frame::FrameType;
use crate::limits::SET_LIMIT;
use crate::room::{RoomChange, RoomChanges, RoomRefusal};
use crate::session::error::SessionError;

#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Number of the next one.
    next: u32,
    under_way: Option<UnderWay>,
    /// The first number that may still be answered: the newest answer comes again with every later state. `None` before the first order.
    answerable: Option<u32>,
    waiting: RoomChanges,
}

#[derive(Debug)]
struct UnderWay {
    number: u32,
    since: SenderTime,
    change: RoomChange,
}

impl Orders {
    /// Takes a change in, unless there are too many.
    pub(crate) fn add(&mut self, change: RoomChange) -> Result<(), RoomRefusal> {
        self.waiting.push(change)
    }

    /// The change to be sent now, with its number.
    pub(crate) fn take(&mut self, now: SenderTime) -> Option<(u32, RoomChange)> {
        if self.under_way.is_some() {
            return None;
        }
        let change = self.waiting.pop()?;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.answerable.get_or_insert(number);
        self.under_way = Some(UnderWay { number, since: now, change: change.clone() });
        Some((number, change))
    }

    /// The player has answered the change of this number, and with it those before.
    pub(crate) fn answered(&mut self, kind: FrameType, number: u32) -> Result<(), SessionError> {
        let last = self.next.wrapping_sub(1);
        // Counted from the first, as numbers begin anew after 2^32.
        let was_asked = |first: u32| number.wrapping_sub(first) <= last.wrapping_sub(first);
        if !self.answerable.is_some_and(was_asked) {
            return Err(SessionError::SetNumber { kind, number });
        }
        self.answerable = Some(number);
        self.under_way.take_if(|order| order.number == number);
        Ok(())
    }

    /// When the player is to have answered.
    pub(crate) fn deadline(&self) -> Option<SenderTime> {
        self.under_way.as_ref().map(|order| order.since + SET_LIMIT)
    }

    /// Gives up a change that was not answered in time.
    pub(crate) fn expire(&mut self, now: SenderTime) -> Option<RoomChange> {
        self.under_way.take_if(|order| now >= order.since + SET_LIMIT).map(|order| order.change)
    }

    /// Whether the player has all changes, or is not expected to answer any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> SenderTime {
        SenderTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn what_is_not_answered_is_given_up_and_may_be_answered_late() {
        let mut orders = Orders::default();
        let answer = |orders: &mut Orders, number| orders.answered(FrameType::Room, number).is_ok();
        assert!(!answer(&mut orders, 0), "nothing was asked");
        orders.add(RoomChange::volume(10.0)).unwrap();
        assert_eq!(orders.take(at(0)), Some((0, RoomChange::volume(10.0))));
        orders.add(RoomChange::volume(20.0)).unwrap();
        orders.add(RoomChange::mute(true)).unwrap();
        assert_eq!((orders.take(at(1)), orders.expire(at(9_999))), (None, None));
        assert_eq!(orders.deadline(), Some(at(10_000)));
        assert_eq!(orders.expire(at(10_000)), Some(RoomChange::volume(10.0)));
        assert_eq!(orders.take(at(10_001)), Some((1, RoomChange::volume(20.0))));
        assert!(answer(&mut orders, 0) && !orders.is_settled(), "late");
        assert!(answer(&mut orders, 1) && answer(&mut orders, 1) && !answer(&mut orders, 0) && !answer(&mut orders, 2));
        assert_eq!(orders.deadline(), None);
        assert_eq!(orders.take(at(10_002)).map(|(number, _)| number), Some(2));
        assert!(answer(&mut orders, 2) && orders.is_settled());
    }

    #[test]
    fn numbers_begin_anew() {
        let mut orders = Orders { next: u32::MAX, ..Orders::default() };
        for number in [u32::MAX, 0, 1] {
            orders.add(RoomChange::mute(true)).unwrap();
            assert_eq!(orders.take(at(0)).map(|(number, _)| number), Some(number));
            assert!(orders.answered(FrameType::Room, number.wrapping_add(1)).is_err());
            assert_eq!(orders.answered(FrameType::Room, number), Ok(()));
        }
    }
}

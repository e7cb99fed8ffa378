//! What this process itself was late by: when it stands still all rooms lack at once, and no network is to blame.

use std::collections::VecDeque;

use audera_clock::{SenderTime, Span};

/// Less is what waking takes.
const LEAST: Span = Span::from_millis(4);
/// What is late for so long is no stall, but the next one.
const LONGEST: Span = Span::from_secs(1);
/// Players have told of a stall by then: they tell at once when they lack, and otherwise once a second.
const TOLD: Span = Span::from_secs(2);
/// A machine that stalls so often...
const OFTEN: usize = 3;
/// ... within so long needs latency like a bad network does.
const WITHIN: Span = Span::from_secs(30);

/// A time in which nothing was done.
#[derive(Debug, Clone, Copy)]
struct Stall {
    /// When it was noticed, first and last.
    first: SenderTime,
    last: SenderTime,
    /// How late the latest was that should have been done.
    late: Span,
}

/// The stalls of late.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    recent: VecDeque<Stall>,
}

impl Stalls {
    /// Takes notice that something was done at `now` that should have been done earlier, by `late`.
    pub(crate) fn note(&mut self, now: SenderTime, late: Span) {
        if late < LEAST {
            return;
        }
        self.recent.retain(|stall| now - stall.last <= WITHIN);
        match self.recent.back_mut().filter(|stall| now - stall.first < LONGEST) {
            Some(stall) => (stall.last, stall.late) = (now, stall.late.max(late)),
            None => self.recent.push_back(Stall { first: now, last: now, late }),
        }
    }

    /// By how much what the players tell at `now` may be the fault of this process, just once.
    pub(crate) fn excused(&self, now: SenderTime) -> Span {
        if self.recent.iter().filter(|stall| now - stall.last <= WITHIN).count() >= OFTEN {
            return Span::ZERO;
        }
        let fresh = self.recent.iter().filter(|stall| now - stall.last <= TOLD);
        fresh.map(|stall| stall.late).max().unwrap_or(Span::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(i64) -> Span = Span::from_millis;

    fn at(ms: i64) -> SenderTime {
        SenderTime::from_nanos(0) + MS(ms)
    }

    #[test]
    fn one_is_excused_for_as_long_as_it_may_be_told_of() {
        let mut stalls = Stalls::default();
        stalls.note(at(0), MS(1));
        assert_eq!(stalls.excused(at(0)), Span::ZERO, "that is waking");
        // What has waited is done at once, the oldest first.
        for late in [150, 130, 110, 90] {
            stalls.note(at(1_000), MS(late));
        }
        assert_eq!((stalls.excused(at(1_010)), stalls.excused(at(2_900))), (MS(150), MS(150)));
        assert_eq!(stalls.excused(at(3_100)), Span::ZERO);
        stalls.note(at(9_000), MS(30));
        assert_eq!(stalls.excused(at(9_000)), MS(30));
    }

    #[test]
    fn who_stalls_often_is_not_excused() {
        let mut stalls = Stalls::default();
        for second in [0, 10] {
            stalls.note(at(1_000 * second), MS(50));
            assert_eq!(stalls.excused(at(1_000 * second)), MS(50));
        }
        stalls.note(at(20_000), MS(50));
        assert_eq!(stalls.excused(at(20_000)), Span::ZERO);
        stalls.note(at(90_000), MS(50));
        assert_eq!(stalls.excused(at(90_000)), MS(50), "long after");
        // And who is always late.
        for ms in 100_000..104_000 {
            stalls.note(at(ms), MS(10));
        }
        assert_eq!(stalls.excused(at(104_000)), Span::ZERO);
        assert!(stalls.recent.len() <= 8, "{}", stalls.recent.len());
    }
}

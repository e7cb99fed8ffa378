//! Whether anybody plays what is sent, and for how long nobody has.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use audera_clock::{SenderTime, Span};
use audera_sender::{HubEvent, Member, MemberState, Reach, StreamKey, Target};

use crate::house::{House, Listener};

/// Not missing.
const THERE: i64 = i64::MAX;

/// What the network thread tells of a stream's rooms, and the application's threads look at.
#[derive(Debug)]
pub(super) struct Presence {
    /// Since when nobody plays it although it is sent, ns of the monotonic clock.
    missing_since: AtomicI64,
    /// Why a room does not play it, as last told.
    reason: Mutex<Option<String>>,
}

impl Default for Presence {
    fn default() -> Self {
        Presence { missing_since: AtomicI64::new(THERE), reason: Mutex::default() }
    }
}

impl Presence {
    /// A listener that keeps this up to date about one stream; `now` is the time.
    pub(super) fn listener(self: &Arc<Self>, key: StreamKey, now: fn() -> SenderTime) -> Listener {
        let presence = self.clone();
        Box::new(move |event| match event {
            Some(HubEvent::Stream(status)) if status.key == key => presence.hear(status.active, &status.members, now()),
            _ => {}
        })
    }

    fn hear(&self, active: bool, members: &[Member], now: SenderTime) {
        // A room that somebody else has taken is there: who has chosen another stream is not to be fought for it, nor has the application failed.
        let is_there = |state: &MemberState| matches!(state, MemberState::Playing | MemberState::Preempted(_));
        if !active || members.iter().any(|member| is_there(&member.state)) {
            self.missing_since.store(THERE, Ordering::Relaxed);
            return;
        }
        // One that was asked has not answered yet: one that has refused is asked again and again, and is no more there by that.
        if members.iter().any(|member| member.state == MemberState::Starting) {
            return;
        }
        let refusal = members.iter().find_map(|member| match &member.state {
            MemberState::Refused(reason) => Some(format!("{}: {reason}", member.room)),
            _ => None,
        });
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        // Only the first time.
        let _ = self.missing_since.compare_exchange(THERE, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether nobody has played it for longer than `patience`.
    pub(super) fn is_lost(&self, now: SenderTime, patience: Span) -> bool {
        let since = self.missing_since.load(Ordering::Relaxed);
        since != THERE && now - SenderTime::from_nanos(since) > patience
    }

    /// Why nobody plays it.
    pub(super) fn why(&self, house: &House, target: &Target) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let away = || {
            house.look(|seen| {
                let members = seen.players.values().filter(|player| target.includes(player));
                members.into_iter().find_map(|player| match &player.reach {
                    Reach::Away(reason) | Reach::Refused(reason) => Some(format!("{}: {reason}", player.room)),
                    Reach::Searching | Reach::Ready => None,
                })
            })
        };
        reason.or_else(away).unwrap_or_else(|| "it does not answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use audera_sender::PlayerKey;

    use super::*;

    const PATIENCE: Span = Span::from_secs(30);

    fn at(second: i64) -> SenderTime {
        SenderTime::from_nanos(0) + Span::from_secs(second)
    }

    fn members(states: &[MemberState]) -> Vec<Member> {
        let member = |state: &MemberState| Member {
            key: PlayerKey::Discovered("kitchen".to_owned()),
            room: "Kitchen".to_owned(),
            state: state.clone(),
            format: None,
            status: None,
            dropped_packets: 0,
        };
        states.iter().map(member).collect()
    }

    /// What is told second by second: once a second, and a refusing room is asked again every five seconds.
    fn lost_after(states: fn(i64) -> Vec<MemberState>) -> Option<i64> {
        let presence = Presence::default();
        (0..120).find(|second| {
            presence.hear(true, &members(&states(*second)), at(*second));
            presence.is_lost(at(*second), PATIENCE)
        })
    }

    #[test]
    fn patience_ends_with_a_room_that_refuses_however_often_it_is_asked() {
        let refused = || MemberState::Refused("its device is taken".to_owned());
        let asked_again = |second: i64| match second % 5 {
            0 => vec![MemberState::Starting],
            _ => vec![MemberState::Refused("its device is taken".to_owned())],
        };
        assert_eq!(lost_after(asked_again), Some(32));
        assert_eq!(lost_after(|_| Vec::new()), Some(31));
        // Nobody has refused so far; somebody else was chosen; and another room plays it.
        assert_eq!(lost_after(|_| vec![MemberState::Starting]), None);
        assert_eq!(lost_after(|_| vec![MemberState::Preempted("radio".to_owned())]), None);
        assert_eq!(lost_after(|_| vec![MemberState::Refused(String::new()), MemberState::Playing]), None);
        // It comes back in time, and later goes for good.
        let presence = Presence::default();
        for (second, states) in [(0, vec![refused()]), (20, vec![MemberState::Playing]), (40, vec![refused()])] {
            presence.hear(true, &members(&states), at(second));
        }
        assert!(!presence.is_lost(at(69), PATIENCE) && presence.is_lost(at(71), PATIENCE));
        presence.hear(false, &[], at(72));
        assert!(!presence.is_lost(at(200), PATIENCE));
    }
}

//! Whether anybody plays what is sent, and for how long nobody has.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use audera_clock::{SenderTime, Span};
use audera_sender::{HubEvent, MemberState, Reach, StreamKey, StreamStatus};

use crate::house::{House, Listener};
use crate::rooms::Meant;

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
            HubEvent::Stream(status) if status.key == key => presence.hear(status, now()),
            _ => {}
        })
    }

    fn hear(&self, status: &StreamStatus, now: SenderTime) {
        // A room that somebody else has taken is there: who has chosen another stream is not to be fought for it, nor has the application failed.
        let is_there = |state: &MemberState| !matches!(state, MemberState::Refused(_));
        if !status.active || status.members.iter().any(|member| is_there(&member.state)) {
            self.missing_since.store(THERE, Ordering::Relaxed);
            return;
        }
        let refusal = status.members.iter().find_map(|member| match &member.state {
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
    pub(super) fn why(&self, house: &House, meant: &Meant) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let away = || {
            house.look(|seen| {
                let members = seen.players.values().filter(|player| meant.target.includes(player));
                members.into_iter().find_map(|player| match &player.reach {
                    Reach::Away(reason) | Reach::Refused(reason) => Some(format!("{}: {reason}", player.room)),
                    Reach::Searching | Reach::Ready => None,
                })
            })
        };
        reason.or_else(away).unwrap_or_else(|| "it does not answer".to_owned())
    }
}

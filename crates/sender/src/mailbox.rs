//! Events on their way to another thread, of which none is kept that a later one has overtaken: however slow their reader is and whatever
//! the network does, there are no more than players, rooms and streams.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::HubEvent;

/// The most events without a successor (troubles, new names, and what was not set) that wait; the oldest are given up.
const MOST: usize = 64;

/// Between the hub's thread and its owner's. Cheap to clone.
///
/// The order of events is kept, except that the newest news of a player, a room or a stream has the place of the first that waits.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Mutex<VecDeque<HubEvent>>>);

impl Mailbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an event in. Whether it was empty before: whoever reads has to be woken then.
    pub fn post(&self, event: HubEvent) -> bool {
        let mut waiting = self.waiting();
        let was_empty = waiting.is_empty();
        if let HubEvent::Forgotten(key) = &event {
            let about = |waiting: &HubEvent| match waiting {
                HubEvent::Player(player) => player.key == *key,
                HubEvent::Room { key: room, .. } => room == key,
                _ => false,
            };
            waiting.retain(|event| !about(event));
        }
        match waiting.iter_mut().find(|waiting| overtakes(&event, waiting)) {
            Some(waiting) => *waiting = event,
            None => waiting.push_back(event),
        }
        let stays = |event: &HubEvent| {
            matches!(event, HubEvent::Trouble(_) | HubEvent::NotSet { .. } | HubEvent::Renamed { .. })
        };
        if waiting.iter().filter(|event| stays(event)).count() > MOST {
            let oldest = waiting.iter().position(stays);
            oldest.map(|oldest| waiting.remove(oldest));
        }
        was_empty
    }

    /// Takes all that is there.
    #[must_use]
    pub fn take(&self) -> VecDeque<HubEvent> {
        std::mem::take(&mut self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<HubEvent>> {
        // Whatever panicked has left whole events.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody wants to know the event that waits once there is the new one.
fn overtakes(new: &HubEvent, waiting: &HubEvent) -> bool {
    match (new, waiting) {
        (HubEvent::Player(new), HubEvent::Player(waiting)) => new.key == waiting.key,
        (HubEvent::Room { key: new, .. }, HubEvent::Room { key: waiting, .. }) => new == waiting,
        (HubEvent::Stream(new), HubEvent::Stream(waiting)) => new.key == waiting.key,
        (HubEvent::Forgotten(new), HubEvent::Forgotten(waiting)) => new == waiting,
        (HubEvent::Trouble(new), HubEvent::Trouble(waiting)) => new == waiting,
        (HubEvent::NotSet { key, why }, HubEvent::NotSet { key: room, why: before }) => key == room && why == before,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use audera_wire::RoomState;

    use super::*;
    use crate::change::ChangeError;
    use crate::types::{PlayerInfo, PlayerKey, Reach};

    fn key(room: &str) -> PlayerKey {
        PlayerKey::Discovered(room.to_owned())
    }

    fn room(name: &str, called: &str) -> HubEvent {
        HubEvent::Room { key: key(name), state: RoomState::new(called), settled: true }
    }

    fn player(name: &str, groups: &[String]) -> HubEvent {
        HubEvent::Player(PlayerInfo {
            groups: groups.to_vec(),
            reach: Reach::Ready,
            ..PlayerInfo::new(key(name), name.to_owned(), true)
        })
    }

    #[test]
    fn a_flood_leaves_the_newest_of_each() {
        let mailbox = Mailbox::new();
        assert!(mailbox.post(player("Kitchen", &[])), "it was empty");
        for turn in 0..100_000 {
            assert!(!mailbox.post(room("Kitchen", &turn.to_string())));
            mailbox.post(room("Bath", "Bath"));
            mailbox.post(player("Kitchen", &[turn.to_string()]));
        }
        let all = mailbox.take();
        assert_eq!(all.len(), 3);
        assert!(matches!(&all[0], HubEvent::Player(player) if player.groups == ["99999"]));
        assert!(matches!(&all[1], HubEvent::Room { state, .. } if state.name == "99999"));
        assert!(mailbox.take().is_empty() && mailbox.post(room("Bath", "Bath")));
    }

    #[test]
    fn a_player_that_is_forgotten_and_comes_again_is_there_at_the_end() {
        let mailbox = Mailbox::new();
        for _ in 0..1_000 {
            mailbox.post(player("Kitchen", &[]));
            mailbox.post(room("Kitchen", "Kitchen"));
            mailbox.post(HubEvent::Forgotten(key("Kitchen")));
        }
        mailbox.post(player("Kitchen", &[]));
        let all = mailbox.take();
        assert!(matches!((&all[0], &all[1], all.len()), (HubEvent::Forgotten(_), HubEvent::Player(_), 2)), "{all:?}");
    }

    #[test]
    fn what_has_no_successor_is_bounded() {
        let mailbox = Mailbox::new();
        for turn in 0..1_000 {
            mailbox.post(HubEvent::Renamed { was: key(&turn.to_string()), now: key("Bath") });
            mailbox.post(HubEvent::Trouble(turn.to_string()));
            mailbox.post(HubEvent::NotSet { key: key("Bath"), why: ChangeError::NotConnected });
        }
        let all = mailbox.take();
        assert_eq!(all.len(), MOST);
        assert!(matches!(&all[MOST - 1], HubEvent::Trouble(trouble) if trouble == "999"), "{all:?}");
    }
}

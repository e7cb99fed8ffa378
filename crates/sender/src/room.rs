//! The state of players' rooms: what they tell reaches the hub's owner at a bounded pace, what the owner wants reaches them or is reported.

use std::rc::Rc;
use std::time::Duration;

use audera_wire::{RoomChange, RoomState, SetError};
use tokio::time::sleep;

use crate::change::{Answer, ChangeError};
use crate::core::Core;
use crate::player::Player;
use crate::types::{HubEvent, PlayerKey};

/// Between two times that the owner is told of rooms. Whoever sets a room does so by hand; a player that tells of changes more often
/// than that is told of as it is then.
const TELL_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// A player has told the state of its room. `settled`: its session has nothing under way.
    pub(crate) fn room_heard(&self, player: &Player, state: RoomState, settled: bool) {
        if settled && player.changes.borrow_mut().answered(&Ok(state.clone())) {
            player.told.take();
        }
        player.called.replace(Some(state.name.clone()));
        player.state.replace(Some(state));
        self.next_change(player);
        self.tell_room(player);
    }

    /// A player has not made the change that was under way.
    pub(crate) fn not_changed(&self, player: &Player, why: ChangeError) {
        tracing::info!(room = %player.room(), "the room stays as it is: {why}");
        player.changes.borrow_mut().answered(&Err(why.clone()));
        self.tell(HubEvent::NotSet { key: player.key(), why });
        self.next_change(player);
        // Whoever has asked shows what was asked for.
        player.told.take();
        self.tell_room(player);
    }

    /// The owner wants a room changed.
    pub(crate) fn change_room(&self, key: PlayerKey, change: RoomChange, mut answer: Option<Answer>) {
        let Some(player) = self.player(&key).filter(|player| player.session.borrow().is_some()) else {
            answer.into_iter().for_each(|answer| answer(Err(ChangeError::NotConnected)));
            return self.tell(HubEvent::NotSet { key, why: ChangeError::NotConnected });
        };
        let fits = change.check_size();
        let taken = fits.and_then(|()| player.changes.borrow_mut().add(change, &mut answer));
        let Err(refusal) = taken else { return self.next_change(&player) };
        let why = ChangeError::Refused(refusal);
        answer.into_iter().for_each(|answer| answer(Err(why.clone())));
        self.tell(HubEvent::NotSet { key, why });
        // Whoever has asked shows what was asked for.
        player.told.take();
        self.tell_room(&player);
    }

    /// The connection to a player is gone; `replaced` by another one, on which all that was not answered is asked again.
    pub(crate) fn changes_after(&self, player: &Player, replaced: bool) {
        player.told.take();
        player.untold.set(false);
        let lost = match replaced {
            true => player.changes.borrow_mut().ask_again(),
            false => player.changes.borrow_mut().lost(),
        };
        if lost {
            self.tell(HubEvent::NotSet { key: player.key(), why: ChangeError::NotConnected });
        }
    }

    /// Asks for the next change, once the player has told its room and has answered the one before.
    fn next_change(&self, player: &Player) {
        if player.state.borrow().is_none() {
            return;
        }
        self.answered.notify_one();
        let next = player.changes.borrow_mut().take();
        let Some(change) = next else { return };
        match player.with_session(|session| session.set(change)) {
            Some(Ok(())) => {}
            Some(Err(SetError::Refused(refusal))) => self.not_changed(player, refusal.into()),
            // The session is over, and whoever waits is about to be told.
            Some(Err(SetError::Closed | SetError::NotReady)) | None => {}
        }
    }

    pub(crate) fn tell_room(&self, player: &Player) {
        player.untold.set(true);
        self.room_news.notify_one();
    }

    /// Tells what is new of the rooms: at once, then at a pace that no player sets.
    pub(crate) async fn tell_rooms(self: Rc<Self>) {
        loop {
            self.room_news.notified().await;
            for player in self.all_players() {
                if player.untold.take() {
                    self.tell_state(&player);
                }
            }
            sleep(TELL_PAUSE).await;
        }
    }

    pub(crate) fn tell_state(self: &Rc<Self>, player: &Player) {
        let Some(state) = player.state.borrow().clone() else { return };
        let called = || (player.room(), player.info.borrow().groups.clone());
        let before = called();
        self.update(player, |info| {
            info.take_name(&state.name);
            info.groups.clone_from(&state.groups);
        });
        if called() != before {
            // What names rooms and groups is for those that are called so now.
            for stream in self.all_streams() {
                stream.called(&player.key(), &player.room());
                self.rematch(&stream);
            }
        }
        let told = (state, player.changes.borrow().is_settled());
        if player.told.borrow().as_ref() != Some(&told) {
            player.told.replace(Some(told.clone()));
            self.tell(HubEvent::Room { key: player.key(), state: told.0, settled: told.1 });
        }
    }
}

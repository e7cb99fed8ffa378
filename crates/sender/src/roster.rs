//! Which players are kept track of, by which names, and what becomes of streams when they come, go, or are called otherwise.

use std::rc::Rc;

use audera_link::new_line;
use tokio::task::spawn_local;

use crate::connect;
use crate::core::{Core, now};
use crate::player::{Player, Route};
use crate::stream::Membership;
use crate::types::{HubEvent, MemberState, PlayerInfo, PlayerKey, Reach};

impl Core {
    /// Begins to keep track of a player and, unless it is the one who dials, to connect to it.
    pub(crate) fn add_player(self: &Rc<Self>, key: PlayerKey, room: String, route: Route) -> Rc<Player> {
        // Who dials us has a line of its own; ours then only says that it is the same clock.
        let line = if matches!(route, Route::Inbound) { self.line } else { new_line() };
        let player = Player::new(key.clone(), room, route, line);
        self.players.borrow_mut().insert(key, player.clone());
        self.tell(HubEvent::Player(player.info.borrow().clone()));
        if !matches!(*player.route.borrow(), Route::Inbound) {
            let keep = connect::keep(self.clone(), player.clone());
            let task = spawn_local(self.watched(&format!("the connection to \"{}\"", player.room()), keep));
            player.task.replace(Some(task.abort_handle()));
        }
        player
    }

    /// Changes what is known of a player, and tells if it did change.
    pub(crate) fn update(&self, player: &Player, change: impl FnOnce(&mut PlayerInfo)) {
        let before = player.info.borrow().clone();
        change(&mut player.info.borrow_mut());
        let after = player.info.borrow().clone();
        // One that is not kept track of any more may still be about to end.
        let is_kept = self.players.borrow().get(&after.key).is_some_and(|kept| std::ptr::eq(&**kept, player));
        if before == after || !is_kept {
            return;
        }
        let told = matches!(before.reach, Reach::Refused(_)) || matches!(after.reach, Reach::Refused(_));
        self.tell(HubEvent::Player(after));
        if told {
            self.all_streams()
                .iter()
                .filter(|stream| stream.run.borrow().is_some())
                .for_each(|stream| self.tell_stream(stream));
        }
    }

    /// A player is known by another name from now on. Its connection stays, and what plays there goes on.
    pub(crate) fn rename(self: &Rc<Self>, player: &Rc<Player>, room: String) {
        let (was, now) = (player.key(), PlayerKey::Discovered(room.clone()));
        tracing::info!(room = %was, "is now called {now}");
        {
            let mut players = self.players.borrow_mut();
            players.remove(&was);
            players.insert(now.clone(), player.clone());
        }
        {
            let mut info = player.info.borrow_mut();
            info.key = now.clone();
            info.room = room.clone();
        }
        let streams = self.all_streams();
        for stream in &streams {
            stream.config.borrow_mut().target.rename(&was, &now);
            if let Some(run) = stream.run.borrow_mut().as_mut() {
                if let Some(member) = run.members.remove(&was) {
                    run.members.insert(now.clone(), Membership { room: room.clone(), ..member });
                }
            }
        }
        self.tell_renamed(was, now);
        self.tell(HubEvent::Player(player.info.borrow().clone()));
        // What names rooms is for those that are called so now.
        streams.iter().for_each(|stream| self.rematch(stream));
        // The state is told anew, under the new name.
        player.told.take();
        if player.state.borrow().is_some() {
            self.tell_room(player);
        }
        streams.iter().filter(|stream| stream.run.borrow().is_some()).for_each(|stream| self.tell_stream(stream));
        connect::remember(self, player);
    }

    /// A player that was known by another name is one that is kept track of under its new name already: that takes its place.
    pub(crate) fn supersede(self: &Rc<Self>, former: &Player, player: &Player) {
        let (was, now) = (former.key(), player.key());
        tracing::info!(room = %was, "is now called {now}");
        let addresses = std::mem::take(&mut former.info.borrow_mut().addresses);
        self.update(player, |info| info.addresses.extend(addresses));
        self.succeed(was, now);
        self.remove_player(former);
        self.all_streams().iter().for_each(|stream| self.attach(stream, player));
    }

    fn tell_renamed(&self, was: PlayerKey, now: PlayerKey) {
        self.tell(HubEvent::Renamed { was: was.clone(), now });
        self.tell(HubEvent::Forgotten(was));
    }

    /// Stops keeping track of a player, unless it is there.
    pub(crate) fn forget(self: &Rc<Self>, key: &PlayerKey) {
        let Some(player) = self.player(key) else {
            return;
        };
        if !player.info.borrow().is_present() {
            self.remove_player(&player);
        }
    }

    /// Keeps track of a player no more; other ways that led to it are tried anew, and what is for it goes along.
    pub(crate) fn remove_player(self: &Rc<Self>, player: &Player) {
        let other = self.other_way(player);
        self.left(player, false);
        let key = player.key();
        self.players.borrow_mut().remove(&key);
        for stream in self.all_streams() {
            if let Some(run) = stream.run.borrow_mut().as_mut() {
                run.members.remove(&key);
            }
        }
        if let Some(task) = player.task.take() {
            task.abort();
        }
        if let Some(now) = other {
            self.succeed(key.clone(), now);
        }
        self.tell(HubEvent::Forgotten(key));
        self.go_other_ways(player);
    }

    /// The player's connection is gone, `replaced` by another one or not: it plays nothing until it is back.
    pub(crate) fn left(&self, player: &Player, replaced: bool) {
        player.disconnect();
        self.changes_after(player, replaced);
        let key = player.key();
        for stream in self.all_streams() {
            let was_there = stream.run.borrow_mut().as_mut().is_some_and(|run| {
                let Some(member) = run.members.get_mut(&key) else { return false };
                // Who was preempted stays so: the player has chosen another stream, a lost connection does not undo it. One that
                // has refused may have been put right since.
                match member.state {
                    MemberState::Preempted(_) => !replaced && !std::mem::replace(&mut member.away, true),
                    _ => run.members.remove(&key).is_some(),
                }
            });
            if was_there {
                stream.heed_listeners(now());
                self.tell_stream(&stream);
            }
        }
    }
}

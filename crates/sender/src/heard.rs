//! What becomes of what players tell on their connections.

use std::rc::Rc;

use audera_wire::{CloseCode, SenderEvent, StreamId};

use crate::change::ChangeError;
use crate::core::{Core, now};
use crate::player::Player;
use crate::stream::{Membership, Run};
use crate::types::{MemberState, Reach};
use crate::{connect, discovery, inbound, ways};

impl Core {
    /// Acts on what a player's session tells.
    pub(crate) fn heard(self: &Rc<Self>, player: &Rc<Player>, event: SenderEvent) {
        match event {
            SenderEvent::PlayerReady(hello) => {
                player.hello.replace(Some(hello.clone()));
                player.called.replace(Some(hello.name.clone()));
                connect::remember(self, player);
                if ways::unite(self, player) {
                    return;
                }
                inbound::replace_former(self, player);
                self.update(player, |info| {
                    info.take_name(&hello.name);
                    info.groups = hello.groups;
                    info.software = Some(hello.software);
                    info.takes = Some(hello.formats);
                    info.reach = Reach::Ready;
                });
                if self.watcher.borrow().is_some() {
                    player.with_session(|session| session.watch(true));
                }
                // It may be one that was known by another name until now.
                discovery::forget_former_names(self);
                for stream in self.all_streams() {
                    self.attach(&stream, player);
                }
                self.ask_what_plays(player);
            }
            SenderEvent::Accepted(id) => self.member(player, id, |member| member.state = MemberState::Playing),
            SenderEvent::Refused { id, reason } => {
                player.purge(id);
                self.member(player, id, |member| member.state = MemberState::Refused(reason));
                self.resume(player);
            }
            SenderEvent::Preempted { id, by } => {
                player.purge(id);
                let key = player.key();
                let listens = |run: &Run| run.id != id && run.members.get(&key).is_some_and(Membership::listens);
                let by_own = self.all_streams().iter().any(|stream| stream.run.borrow().as_ref().is_some_and(listens));
                self.member(player, id, |member| {
                    member.state = MemberState::Preempted(by);
                    member.by_own = by_own;
                });
            }
            SenderEvent::Status(status) => {
                self.told_what_plays(player, status.state);
                if let Some(watcher) = &mut *self.watcher.borrow_mut() {
                    watcher(&player.key(), status.clone());
                }
                if let Some(id) = status.stream {
                    // Ids are those of runs: one stream has it.
                    if let Some(stream) = self.all_streams().into_iter().find(|stream| stream.runs(id)) {
                        let left = stream.told(now(), id, &player.key(), status);
                        self.dismiss(&stream, &left);
                        if !left.is_empty() {
                            self.tell_stream(&stream);
                        }
                    }
                }
            }
            SenderEvent::Room { state, settled, .. } => self.room_heard(player, state, settled),
            SenderEvent::SetRefused(refusal) => self.not_changed(player, refusal.into()),
            SenderEvent::SetUnanswered(_) => self.not_changed(player, ChangeError::Unanswered),
            SenderEvent::Closed { code, reason } => {
                let reach = match code {
                    CloseCode::NotPaired => Reach::Refused(reason),
                    _ => Reach::Away(reason),
                };
                self.update(player, |info| info.reach = reach);
            }
        }
    }

    fn member(&self, player: &Player, id: StreamId, change: impl FnOnce(&mut Membership)) {
        if let Some(stream) = self.all_streams().into_iter().find(|stream| stream.runs(id)) {
            stream.member(id, &player.key(), change);
            stream.heed_listeners(now());
            self.tell_stream(&stream);
        }
    }
}

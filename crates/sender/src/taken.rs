//! Rooms that were taken over by somebody else's stream, and have been away since: whether they are to be played to again.
//!
//! Who was preempted stays so, since people have chosen another stream there, and a lost connection does not undo that. But while the room is away
//! it is no member any more; and when it is back it may play nothing at all, as after its player has started anew. So it is asked what it plays,
//! by watching its status for a moment: if that is nothing, it is asked to play this.

use std::rc::Rc;

use audera_wire::PlayerState;

use crate::core::Core;
use crate::player::Player;
use crate::stream::Stream;

impl Core {
    /// Asks a player that has just connected what it plays, if it was taken from one of our streams before it went.
    pub(crate) fn ask_what_plays(&self, player: &Player) {
        let key = player.key();
        let waits = |stream: &Rc<Stream>| {
            let run = stream.run.borrow();
            run.as_ref().and_then(|run| run.members.get(&key)).is_some_and(|member| member.away)
        };
        if self.all_streams().iter().any(waits) {
            player.asked.set(true);
            player.with_session(|session| session.watch(true));
        }
    }

    /// It has told what it plays: nothing, and the newest of the streams that it was taken from has it back; or something, and all of them know it
    /// as taken again.
    pub(crate) fn told_what_plays(&self, player: &Player, state: PlayerState) {
        if !player.asked.take() {
            return;
        }
        if self.watcher.borrow().is_none() {
            player.with_session(|session| session.watch(false));
        }
        let key = player.key();
        let mut is_free = state == PlayerState::Idle;
        for stream in self.all_streams().into_iter().rev() {
            let has_it_back = {
                let mut run = stream.run.borrow_mut();
                let Some(run) = run.as_mut() else { continue };
                let Some(member) = run.members.get_mut(&key) else { continue };
                if !std::mem::take(&mut member.away) {
                    continue;
                }
                let has_it_back = std::mem::take(&mut is_free);
                if has_it_back {
                    run.members.remove(&key);
                } else {
                    // Where one of ours has it now, the others may have it after that one.
                    member.by_own |= state == PlayerState::Idle;
                }
                has_it_back
            };
            if has_it_back {
                self.attach(&stream, player);
            }
            self.tell_stream(&stream);
        }
    }
}

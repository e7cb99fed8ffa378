//! Who plays what: streams begin and end, players join and leave them, and packets go to those who listen.

use std::collections::BTreeMap;
use std::rc::Rc;

use audera_clock::{SenderTime, Span};
use audera_wire::{Start, StreamFormat, StreamId};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::core::{Core, now};
use crate::paced::LEAD;
use crate::player::Player;
use crate::pump::{Packet, Turn};
use crate::stream::{Membership, Run, Stream};
use crate::types::{HubEvent, MemberState, PlayerKey};
use crate::{select, tap};

/// Rooms are kept for an application that has paused or stopped: it may go on in a moment.
const LINGER: Span = Span::from_secs(2);

impl Core {
    fn begin(&self, stream: &Rc<Stream>) {
        if stream.run.borrow().is_some() {
            return;
        }
        if let Some(reason) = &*stream.forbidden.borrow() {
            self.tell(HubEvent::Trouble(reason.clone()));
            return;
        }
        let id = StreamId(self.next_id.get());
        self.next_id.set(id.0.wrapping_add(1).max(1));
        stream.run.replace(Some(Run { id, members: BTreeMap::new() }));
        stream.pump.borrow_mut().begin(now() + LEAD);
        // Somebody wants to hear something: who was away may be back by now.
        self.all_players().iter().filter(|player| player.session.borrow().is_none()).for_each(|p| p.retry.notify_one());
        self.rematch(stream);
        stream.heed_listeners(now());
        self.tell_stream(stream);
    }

    /// Begins with what comes from now on: what has waited until now was not for this stream.
    pub(crate) fn begin_anew(&self, stream: &Rc<Stream>) {
        self.pump(stream);
        self.begin(stream);
    }

    /// Ends the stream behind all that was handed over until now.
    pub(crate) fn end(&self, stream: &Rc<Stream>) {
        self.flush(stream);
        self.end_here(stream);
    }

    /// Ends the stream behind what was sent.
    pub(crate) fn end_here(&self, stream: &Stream) {
        let Some(run) = stream.run.take() else { return };
        stream.pump.borrow_mut().end();
        for (key, member) in &run.members {
            if let Some(player) = self.player(key).filter(|_| member.listens()) {
                player.enqueue_end(run.id);
                self.resume(&player);
            }
        }
        self.tell_stream(stream);
    }

    /// Lets a player that one of our streams has left go on with the one that it took the player from.
    pub(crate) fn resume(&self, player: &Player) {
        let key = player.key();
        for stream in self.all_streams().into_iter().rev() {
            let waits = |member: &Membership| matches!(member.state, MemberState::Preempted(_)) && member.by_own;
            let waited = stream
                .run
                .borrow_mut()
                .as_mut()
                .is_some_and(|run| run.members.get(&key).is_some_and(waits) && run.members.remove(&key).is_some());
            if waited {
                return self.attach(&stream, player);
            }
        }
    }

    /// Brings the members of a playing stream in line with its target.
    pub(crate) fn rematch(&self, stream: &Rc<Stream>) {
        for player in self.all_players() {
            if stream.config.borrow().target.includes(&player.info.borrow()) {
                self.attach(stream, &player);
            } else {
                self.detach(stream, &player);
            }
        }
    }

    /// Makes a connected player a member of a playing stream that is for it.
    pub(crate) fn attach(&self, stream: &Stream, player: &Player) {
        let config = stream.config.borrow();
        let hello = player.hello.borrow();
        let (Some(hello), true) = (&*hello, config.target.includes(&player.info.borrow())) else {
            return;
        };
        let mut borrowed = stream.run.borrow_mut();
        let Some(run) = borrowed.as_mut() else { return };
        let key = player.key();
        // A session that is over already has said why, and is about to be told of.
        if run.members.contains_key(&key) || player.with_session(|session| session.is_closed()).unwrap_or(true) {
            return;
        }
        let format = select::format_for(&config.encoding, config.rate, config.channels, &hello.formats);
        let started = format.clone().and_then(|format| {
            stream.too_late_for(hello.max_latency).map_or(Ok(()), Err)?;
            let mut pump = stream.pump.borrow_mut();
            pump.add_format(format, config.encoding.opus_bitrate()).map_err(|error| error.to_string())?;
            let start = Start { id: run.id, format, latency: pump.delay(), title: config.title.clone() };
            let started = player.with_session(|session| session.start(start));
            started.ok_or("not connected")?.map_err(|error| error.to_string())
        });
        let state = match started {
            Ok(()) => MemberState::Starting,
            Err(reason) => MemberState::Refused(reason),
        };
        let membership = Membership {
            room: player.room(),
            state,
            by_own: false,
            away: false,
            format: format.ok(),
            status: None,
            max_latency: hello.max_latency,
            given: stream.pump.borrow().delay(),
            dropped_before: player.dropped(),
            dropped: player.dropped(),
        };
        run.members.insert(key, membership);
        drop(borrowed);
        stream.heed_listeners(now());
    }

    fn detach(&self, stream: &Stream, player: &Player) {
        let mut borrowed = stream.run.borrow_mut();
        let Some(run) = borrowed.as_mut() else { return };
        let listened = run.members.remove(&player.key()).is_some_and(|member| member.listens());
        let id = run.id;
        drop(borrowed);
        stream.heed_listeners(now());
        if listened {
            player.enqueue_end(id);
            self.resume(player);
        }
    }

    /// Ends a stream at those who are its members no longer, since they cannot hold its latency.
    pub(crate) fn dismiss(&self, stream: &Stream, left: &[PlayerKey]) {
        let Some(id) = stream.run.borrow().as_ref().map(|run| run.id) else { return };
        for player in left.iter().filter_map(|key| self.player(key)) {
            player.enqueue_end(id);
            self.resume(&player);
        }
        if !left.is_empty() {
            stream.heed_listeners(now());
        }
    }

    /// Begins a playing stream anew at the players that get another format than they have, by what it is to be encoded as now.
    ///
    /// A player has one decoder for a stream, so what waits in it is given up, and what was left out for want of a format is asked again.
    pub(crate) fn recode(&self, stream: &Stream) {
        let format_of = |player: &Player| {
            let (config, hello) = (stream.config.borrow(), player.hello.borrow());
            let formats = &hello.as_ref()?.formats;
            select::format_for(&config.encoding, config.rate, config.channels, formats).ok()
        };
        let Some(id) = stream.run.borrow().as_ref().map(|run| run.id) else { return };
        let bitrate = stream.config.borrow().encoding.opus_bitrate();
        if let Err(error) = stream.pump.borrow_mut().set_bitrate(bitrate) {
            tracing::warn!(%error, "the bit rate stays as it is until the stream begins anew");
        }
        for player in self.all_players() {
            let key = player.key();
            // Who was preempted has chosen another stream; which format this one had is none of its business.
            let concerned = |member: &Membership| !matches!(member.state, MemberState::Preempted(_));
            let format = format_of(&player);
            let listened = match stream.run.borrow_mut().as_mut() {
                Some(run)
                    if run.members.get(&key).is_some_and(|member| concerned(member) && member.format != format) =>
                {
                    run.members.remove(&key).is_some_and(|member| member.listens())
                }
                _ => continue,
            };
            if listened {
                player.purge(id);
                player.with_session(|session| session.stop(id));
            }
            self.attach(stream, &player);
        }
        let run = stream.run.borrow();
        let used: Vec<StreamFormat> =
            run.iter().flat_map(|run| run.members.values()).filter_map(|member| member.format).collect();
        stream.pump.borrow_mut().retain_formats(|format| used.contains(format));
        drop(run);
        stream.heed_listeners(now());
        self.tell_stream(stream);
    }

    /// Turns the blocks that wait into packets in the players' queues.
    pub(crate) fn pump(&self, stream: &Rc<Stream>) {
        loop {
            let Some(turn) = stream.pump.borrow_mut().pull(now()) else {
                return stream.pump.borrow().rest();
            };
            match turn {
                Turn::Started => {
                    stream.lingers_until.set(None);
                    // Rooms that another sender has taken meanwhile are to play this again: somebody has just asked for it.
                    if !stream.is_heard() {
                        self.end_here(stream);
                    }
                    stream.wanted.set(true);
                    self.begin(stream);
                    continue;
                }
                Turn::Held => {
                    self.send_rest(stream);
                    stream.lingers_until.set(Some(now() + LINGER));
                    continue;
                }
                Turn::Quiet => continue,
                Turn::Closing => {
                    // What is pending is silence.
                    stream.wanted.set(false);
                    self.end_here(stream);
                    continue;
                }
                Turn::Opened => {
                    stream.wanted.set(true);
                    self.begin(stream);
                }
                Turn::Play => {}
            }
            let run = stream.run.borrow();
            let Some(run) = run.as_ref() else { continue };
            let players = self.players.borrow();
            stream.pump.borrow_mut().encode(run.id, |format, packet| hand_out(run, &players, format, packet));
        }
    }

    /// Sends what does not fill a packet, filled up with silence.
    fn flush(&self, stream: &Rc<Stream>) {
        self.pump(stream);
        self.send_rest(stream);
    }

    fn send_rest(&self, stream: &Stream) {
        if let Some(run) = stream.run.borrow().as_ref() {
            let players = self.players.borrow();
            stream.pump.borrow_mut().flush(run.id, |format, packet| hand_out(run, &players, format, packet));
        }
    }

    /// Asks players once more that have refused a stream: a device may have come free, or a sound server be there by now.
    pub(crate) fn ask_again(&self, stream: &Stream) {
        let refused = |member: &Membership| matches!(member.state, MemberState::Refused(_)) && member.format.is_some();
        let keys: Vec<PlayerKey> = match stream.run.borrow_mut().as_mut() {
            Some(run) => {
                let keys: Vec<_> =
                    run.members.iter().filter(|(_, member)| refused(member)).map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| drop(run.members.remove(key)));
                keys
            }
            None => return,
        };
        for player in keys.iter().filter_map(|key| self.player(key)) {
            self.attach(stream, &player);
        }
    }
}

/// Queues a packet for every player of the run that takes its format.
fn hand_out(run: &Run, players: &BTreeMap<PlayerKey, Rc<Player>>, format: &StreamFormat, packet: Packet) {
    let packet = Rc::new(packet);
    let takes = |member: &Membership| member.listens() && member.format.as_ref() == Some(format);
    for player in run.members.iter().filter(|(_, member)| takes(member)).filter_map(|(key, _)| players.get(key)) {
        player.enqueue(run.id, packet.clone());
    }
}

pub(crate) async fn pump_blocks(core: Rc<Core>, stream: Rc<Stream>) {
    let doorbell = stream.pump.borrow().doorbell();
    // SAFETY: the eventfd is open, owned by the `Arc` that the `AsyncFd` takes, and `Arc` always gives the same one.
    // Only to be read: an eventfd that was read can be written to, which is no news.
    let registered = unsafe { AsyncFd::register_with_interest(doorbell, Interest::READABLE) };
    let doorbell = match registered {
        Ok(doorbell) => doorbell,
        Err(error) => {
            core.tell(HubEvent::Trouble(format!("a stream cannot be served: {error}")));
            return;
        }
    };
    loop {
        tokio::select! {
            ready = doorbell.readable() => {
                // Fails only when the runtime shuts down.
                let Ok(mut ready) = ready else { return };
                tap::silence(doorbell.get_ref());
                ready.clear_ready();
            }
            () = sleep_until(stream.next_due()) => {}
        }
        core.pump(&stream);
        if stream.lingers_until.get().is_some_and(|until| until <= now()) {
            stream.lingers_until.set(None);
            stream.wanted.set(false);
            core.end(&stream);
        }
    }
}

async fn sleep_until(at: Option<SenderTime>) {
    match at {
        Some(at) => sleep((at - now()).to_duration()).await,
        None => std::future::pending().await,
    }
}

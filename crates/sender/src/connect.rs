//! Keeps a connection to one player: dials, checks who answers, serves, and tries again.

use std::rc::Rc;
use std::time::Duration;

use audera_clock::SenderTime;
use audera_link::{Connection, Pause, Pinned, Protocol, Target, dial, drive};
use audera_wire::{CloseCode, SenderEvent, SenderHello, SenderSession, SessionError};

use crate::core::{Core, now};
use crate::player::{Player, Route};
use crate::types::Reach;

const DIAL_LIMIT: Duration = Duration::from_secs(4);

/// Connects to a player again and again, until the task is aborted.
pub(crate) async fn keep(core: Rc<Core>, player: Rc<Player>) {
    let mut pause = Pause::new();
    loop {
        match reach(&core, &player).await {
            Ok(connection) => {
                if serve(&core, &player, connection, true).await {
                    pause = Pause::new();
                }
            }
            Err(reach) => set_aside(&core, &player, reach),
        }
        tokio::select! {
            () = pause.wait() => {}
            () = player.retry.notified() => pause = Pause::new(),
        }
    }
}

/// Notes why the player is not there; one log line for each new reason, however often it is met.
fn set_aside(core: &Core, player: &Player, reach: Reach) {
    let (Reach::Refused(reason) | Reach::Away(reason)) = &reach else { return };
    if player.trouble.replace(reason.clone()) != *reason {
        match &reach {
            Reach::Refused(_) => tracing::warn!(room = %player.room(), "refused: {reason}"),
            _ => tracing::info!(room = %player.room(), "not reachable: {reason}"),
        }
    }
    core.update(player, |info| info.reach = reach);
}

async fn reach(core: &Core, player: &Player) -> Result<Connection, Reach> {
    let route = player.route.borrow().clone();
    let (target, announced_id) = match route {
        Route::Announced(addresses, id) => (addresses.into(), id),
        Route::Configured(address) => {
            let target = Target::parse(&address, audera_wire::PORT).map_err(|e| Reach::Refused(e.to_string()))?;
            (target, None)
        }
        Route::Inbound => return Err(Reach::Away("the player dials".to_owned())),
    };
    let connection = dial(&core.endpoint, &target, DIAL_LIMIT).await.map_err(|error| Reach::Away(error.to_string()))?;
    let peer = connection.peer();
    if let Some(announced) = announced_id.filter(|announced| *announced != peer) {
        return Err(Reach::Refused(format!(
            "announced as {} but {} answers: somebody else may pretend to be this room",
            announced.short(),
            peer.short()
        )));
    }
    let name = player.key().to_string();
    match core.trust.borrow_mut().pin(&name, &peer) {
        Ok(pinned) => {
            // Whether it takes us is not known yet: one that refuses again and again is not worth a line each time.
            match pinned {
                Pinned::New => tracing::info!(room = %name, id = %peer, "connected; {pinned}"),
                Pinned::Known => tracing::debug!(room = %name, id = %peer, "connected; {pinned}"),
            }
            Ok(connection)
        }
        Err(error) => Err(Reach::Refused(error.to_string())),
    }
}

/// Speaks with a connected player until the connection ends; one that is not welcome is told so. Tells whether the two came to terms.
pub(crate) async fn serve(core: &Rc<Core>, player: &Rc<Player>, connection: Connection, welcome: bool) -> bool {
    let peer = connection.peer();
    player.peer.set(Some(connection.addr()));
    let hello = SenderHello::new(&core.config.name, &core.config.software);
    player.session.replace(Some(SenderSession::new(hello, now())));
    core.update(player, |info| info.id = Some(peer));
    if !welcome {
        let reason = format!("this source is paired and does not know the id {peer}");
        player.with_session(|session| session.close(CloseCode::NotPaired, &reason));
    }
    let socket = Socket { core: core.clone(), player: player.clone() };
    let ended = drive(connection, &socket, &player.wake).await;
    let greeted = player.hello.borrow().is_some();
    core.left(player);
    core.departed.notify_one();
    player.peer.set(None);
    let reach = match ended {
        Err(error) => Reach::Away(error.to_string()),
        // The farewell said why.
        Ok(()) => player.info.borrow().reach.clone(),
    };
    let came_to_terms = greeted && !matches!(reach, Reach::Refused(_));
    if came_to_terms {
        player.trouble.take();
    }
    set_aside(core, player, reach);
    came_to_terms
}

/// A player's session as the transport drives it.
struct Socket {
    core: Rc<Core>,
    player: Rc<Player>,
}

impl Protocol for Socket {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.player.with_session(|session| session.receive(now(), bytes));
        self.deliver();
        received.unwrap_or(Ok(()))
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.player.transmit(now(), out);
    }

    fn next_timeout(&self) -> Option<Duration> {
        let at: SenderTime = self.player.session.borrow().as_ref()?.next_timeout()?;
        Some((at - now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        let handled = self.player.with_session(|session| session.handle_timeout(now()));
        self.deliver();
        handled.unwrap_or(Ok(()))
    }

    fn is_closed(&self) -> bool {
        self.player.session.borrow().as_ref().is_none_or(SenderSession::is_closed)
    }
}

impl Socket {
    fn deliver(&self) {
        // One at a time: acting on an event speaks to the session again.
        while let Some(event) = self.next_event() {
            self.core.heard(&self.player, event);
        }
    }

    fn next_event(&self) -> Option<SenderEvent> {
        self.player.session.borrow_mut().as_mut()?.poll_event()
    }
}

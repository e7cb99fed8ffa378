//! Keeps a connection to one player: dials, checks who answers, serves, and tries again.

use std::rc::Rc;
use std::time::{Duration, Instant};

use audera_clock::{SenderTime, Span};
use audera_link::{
    Absence, Connection, PAYLOAD_LEN, Pause, PeerId, PinError, Protocol, Pulse, Target, TrustStore, dial, drive,
    successor,
};
use audera_wire::{SenderEvent, SenderHello, SenderSession, SessionError};

use tokio::task::{spawn_blocking, spawn_local};

use crate::core::{Core, now};
use crate::player::{Player, Route};
use crate::types::{PlayerKey, Reach};
use crate::ways;

const DIAL_LIMIT: Duration = Duration::from_secs(4);

/// Connects to a player again and again, until the hub ends or the task is aborted.
pub(crate) async fn keep(core: Rc<Core>, player: Rc<Player>) {
    let mut pause = Pause::new();
    let mut at_hand = None;
    while !core.closing.get() {
        let reached = match at_hand.take() {
            Some(connection) => Ok(connection),
            None => reach(&core, &player).await,
        };
        match reached {
            Ok(connection) => {
                let next = next(&core, &player, connection.pulse());
                match serve(&core, &player, connection, next).await {
                    Served::Ended { came_to_terms: true } => pause = Pause::new(),
                    Served::Ended { came_to_terms: false } => {}
                    Served::Replaced(connection) => {
                        at_hand = Some(*connection);
                        continue;
                    }
                }
            }
            Err(reach) => set_aside(&core, &player, reach),
        }
        let announced = matches!(*player.route.borrow(), Route::Announced(..));
        let absence = match announced && !player.info.borrow().announced {
            true => Absence::Announced,
            false => Absence::Unexplained,
        };
        tokio::select! {
            () = pause.wait(absence) => {}
            () = player.retry.notified() => pause = Pause::new(),
        }
    }
}

/// A new connection to a connected player that is missed.
async fn next(core: &Core, player: &Player, pulse: Option<Pulse>) -> Connection {
    let missed_in = || {
        let at = player.session.borrow().as_ref()?.missed_at()?;
        Some((at - now()).to_duration())
    };
    successor(missed_in, &player.heard, pulse, async || reach(core, player).await.ok()).await
}

/// What has become of a connection.
#[must_use]
pub(crate) enum Served {
    /// It is over; whether the two came to terms.
    Ended { came_to_terms: bool },
    /// Nothing came through, and this one is there instead.
    Replaced(Box<Connection>),
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

/// Tries all ways to a player, one behind the other. What was wrong with the first is told.
async fn reach(core: &Core, player: &Player) -> Result<Connection, Reach> {
    let route = player.route.borrow().clone();
    let mut ways: Vec<(Result<Target, String>, Option<PeerId>)> = match route {
        Route::Announced(addresses, id) => vec![(Ok(addresses.into()), id)],
        Route::Configured => Vec::new(),
        Route::Inbound => return Err(Reach::Away("the player dials".to_owned())),
    };
    ways.extend(player.info.borrow().addresses.iter().map(|address| (ways::target(address), None)));
    let mut failure = None;
    for (target, id) in ways {
        let reached = match target {
            Ok(target) => reach_by(core, player, &target, id).await,
            Err(nonsense) => Err(Reach::Refused(nonsense)),
        };
        match reached {
            Ok(connection) => return Ok(connection),
            Err(why) => failure = failure.or(Some(why)),
        }
    }
    Err(failure.unwrap_or_else(|| Reach::Away("no way leads there".to_owned())))
}

async fn reach_by(
    core: &Core,
    player: &Player,
    target: &Target,
    announced_id: Option<PeerId>,
) -> Result<Connection, Reach> {
    let connection = dial(&core.endpoint, target, DIAL_LIMIT).await.map_err(|error| Reach::Away(error.to_string()))?;
    let peer = connection.peer();
    if let Some(announced) = announced_id.filter(|announced| *announced != peer) {
        return Err(Reach::Refused(format!(
            "announced as {} but {} answers: somebody else may pretend to be this room",
            announced.short(),
            peer.short()
        )));
    }
    // Who is met under this name for the first time is remembered once the two have come to terms.
    let mut met = core.met.borrow_mut();
    met.reload().map_err(|error| Reach::Refused(error.to_string()))?;
    match met.check(&player.key().to_string(), &peer) {
        Ok(_) => Ok(connection),
        Err(changed) => Err(Reach::Refused(changed.to_string())),
    }
}

/// Binds the name of a player that was dialled to its id, if it is new. The file is written beside the network thread.
pub(crate) fn remember(core: &Rc<Core>, player: &Player) {
    let (key, id) = (player.key(), player.info.borrow().id);
    let (Some(id), false) = (id, matches!(key, PlayerKey::Caller(..))) else { return };
    let name = key.to_string();
    if matches!(core.met.borrow().check(&name, &id), Ok(Some(_))) {
        return;
    }
    let path = core.met.borrow().path().to_owned();
    let core = core.clone();
    spawn_local(async move {
        let pin = {
            let name = name.clone();
            move || TrustStore::open(path).map_err(PinError::from).and_then(|mut met| met.pin(&name, &id))
        };
        match spawn_blocking(pin).await {
            Ok(Ok(pinned)) => tracing::info!(room = %name, %id, "{pinned}"),
            Ok(Err(error)) => tracing::warn!(room = %name, %id, "the id cannot be kept: {error}"),
            Err(error) => tracing::error!(room = %name, %id, "the id cannot be kept: {error}"),
        }
        if let Err(error) = core.met.borrow_mut().reload() {
            tracing::warn!("the list of players that were met stays as it was: {error}");
        }
    });
}

/// Forgets what a player was met as. The file is written beside the network thread.
pub(crate) fn forget(core: &Rc<Core>, player: Rc<Player>) {
    let (name, path) = (player.key().to_string(), core.met.borrow().path().to_owned());
    let core = core.clone();
    spawn_local(async move {
        let forget = {
            let name = name.clone();
            move || TrustStore::open(path).and_then(|mut met| met.forget(&name))
        };
        match spawn_blocking(forget).await {
            Ok(Ok(known)) => tracing::info!(room = %name, known, "is forgotten"),
            Ok(Err(error)) => tracing::warn!(room = %name, "cannot be forgotten: {error}"),
            Err(error) => tracing::error!(room = %name, "cannot be forgotten: {error}"),
        }
        if let Err(error) = core.met.borrow_mut().reload() {
            tracing::warn!("the list of players that were met stays as it was: {error}");
        }
        // One that was refused for its id need not be any more.
        player.retry.notify_one();
    });
}

/// Speaks with a connected player until the connection ends, or there is another one.
pub(crate) async fn serve(
    core: &Rc<Core>,
    player: &Rc<Player>,
    connection: Connection,
    next: impl Future<Output = Connection>,
) -> Served {
    let peer = connection.peer();
    player.peer.set(Some(connection.addr()));
    let mut hello = SenderHello::new(&core.config.name, &core.config.software);
    hello.datagrams = connection.has_datagrams();
    hello.line = player.line;
    hello.sound = core.sound();
    player.session.replace(Some(SenderSession::new(hello, now())));
    core.update(player, |info| {
        info.id = Some(peer);
        info.address = player.peer.get();
    });
    let socket = Socket { core: core.clone(), player: player.clone() };
    let ended = tokio::select! {
        ended = drive(connection, &socket, &player.wake) => Ok(ended),
        next = next => Err(next),
    };
    // Whatever came with the last bytes, and the end of the session if it was ours.
    socket.deliver();
    let greeted = player.hello.borrow().is_some();
    core.left(player, ended.is_err());
    core.departed.notify_one();
    player.peer.set(None);
    core.update(player, |info| info.address = None);
    let reach = match ended {
        Err(next) => {
            tracing::info!(room = %player.room(), "nothing came through: connected anew");
            core.update(player, |info| info.reach = Reach::Searching);
            return Served::Replaced(Box::new(next));
        }
        Ok(Err(error)) => Reach::Away(error.to_string()),
        // The farewell said why.
        Ok(Ok(())) => player.info.borrow().reach.clone(),
    };
    let came_to_terms = greeted && !matches!(reach, Reach::Refused(_));
    if came_to_terms {
        player.trouble.take();
    }
    set_aside(core, player, reach);
    Served::Ended { came_to_terms }
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
        self.player.heard.notify_one();
        self.deliver();
        received.unwrap_or(Ok(()))
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.player.transmit(now(), out);
    }

    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        if let Some(session) = self.player.session.borrow_mut().as_mut() {
            // In this order: what comes between the two readings makes the arrival later, which is but delay, and never earlier.
            let age = Span::from(arrived.elapsed());
            session.receive_datagram(now() - age, payload);
        }
    }

    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        self.player.session.borrow_mut().as_mut()?.poll_datagram(now())
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

//! Lets players dial in: listens, announces the source, and serves each caller like a player that was dialled.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use audera_link::{Absence, Connection, Limits, Listener, Pause, PeerId, dismiss};
use audera_wire::{Bye, CloseCode};
use avahi_zbus::{Announcement, Publication, Publisher, ServiceType, Txt};
use tokio::task::JoinSet;

use crate::connect::serve;
use crate::core::Core;
use crate::player::{Player, Route};
use crate::types::{HubEvent, Listen, PlayerKey};

/// Accepts callers for as long as the hub runs.
pub(crate) async fn run(core: Rc<Core>, listen: Listen, callers: Rc<RefCell<JoinSet<()>>>) {
    let mut listener = bind(&core, &listen).await;
    let port = listener.local_addr().port();
    tracing::info!(port, "players may dial in");
    if let Some(error) = listener.without_datagrams() {
        tracing::warn!(
            port,
            "the UDP port cannot be had ({error}): players that dial in follow the clock less precisely"
        );
    }
    let _announced = listen.announce.then(|| announce(&core, port)).flatten();
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let mut callers = callers.borrow_mut();
                // Those that have ended meanwhile.
                while callers.try_join_next().is_some() {}
                callers.spawn_local(receive(core.clone(), listen.open, connection));
            }
            Err(failure) if failure.said_nothing() => tracing::debug!("a caller has gone: {failure}"),
            Err(failure) => tracing::info!("a caller was turned away: {failure}"),
        }
    }
}

/// Binds the port; one that nobody has asked for may be another when it is taken. Tries again for as long as it takes.
async fn bind(core: &Core, listen: &Listen) -> Listener {
    let any = SocketAddr::new(listen.address.ip(), 0);
    let places: &[SocketAddr] = if listen.any_port { &[listen.address, any] } else { &[listen.address] };
    let mut pause = Pause::new();
    let mut told = false;
    loop {
        for place in places {
            match Listener::bind(&[*place], &core.endpoint, Limits::default()) {
                Ok(listener) => return listener,
                Err(error) if *place == places[places.len() - 1] && !std::mem::replace(&mut told, true) => {
                    core.tell(HubEvent::Trouble(format!("players cannot dial in yet: {error}")));
                }
                Err(_) => {}
            }
        }
        pause.wait(Absence::Unexplained).await;
    }
}

/// Announces the source; withdrawn when the result is dropped.
fn announce(core: &Core, port: u16) -> Option<Publication> {
    let published = ServiceType::new(audera_wire::SERVICE_SOURCE).and_then(|service_type| {
        let txt =
            Txt::new().with(audera_wire::TXT_VERSION, "1").with(audera_wire::TXT_ID, core.endpoint.id().to_string());
        Publisher::new().publish(Announcement::new(core.config.name.clone(), service_type, port).txt(txt))
    });
    match published {
        Ok(publication) => Some(publication),
        Err(error) => {
            core.tell(HubEvent::Trouble(format!("the source cannot be announced: {error}")));
            None
        }
    }
}

async fn receive(core: Rc<Core>, open: bool, connection: Connection) {
    let peer = connection.peer();
    let address = connection.addr().to_string();
    let key = PlayerKey::Caller(peer, address.clone());
    if open || peer == core.endpoint.id() || is_trusted(&core, &peer) {
        let player = core.add_player(key, address, Route::Inbound);
        // Who has dialled is who dials again.
        let _came_to_terms = serve(&core, &player, connection, std::future::pending()).await;
        core.remove_player(&player);
        return;
    }
    if core.strangers.borrow_mut().is_new(&peer) {
        tracing::warn!(
            %address, id = %peer,
            "refused a player that is not paired; to trust it, add its id to {}", core.trust.borrow().path().display()
        );
    }
    let reason = format!("this source is paired and does not know the id {peer}");
    let mut farewell = Vec::new();
    Bye { code: CloseCode::NotPaired, reason }.encode(&mut farewell);
    dismiss(connection, &farewell).await;
}

/// Ends the connection of which the peer has made this one anew: it has given up the former, on which nothing came through.
pub(crate) fn replace_former(core: &Core, player: &Player) {
    let line = |player: &Player| player.hello.borrow().as_ref().and_then(|hello| hello.line);
    let (PlayerKey::Caller(peer, _), Some(number)) = (player.key(), line(player)) else { return };
    for former in core.all_players() {
        let same = matches!(former.key(), PlayerKey::Caller(id, _) if id == peer) && line(&former) == Some(number);
        if same && !std::ptr::eq(&*former, player) {
            former.with_session(|session| session.close(CloseCode::Replaced, "the player has dialled anew"));
        }
    }
}

/// Whether a peer is in the list. The list is read again for one who is not: its owner may have added it just now.
fn is_trusted(core: &Core, peer: &PeerId) -> bool {
    let mut trust = core.trust.borrow_mut();
    if trust.contains(peer) {
        return true;
    }
    if let Err(error) = trust.reload() {
        tracing::warn!("the list of trusted players stays as it was: {error}");
    }
    trust.contains(peer)
}

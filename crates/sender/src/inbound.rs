//! Lets players dial in: listens, announces the source, and serves each caller like a player that was dialled.

use std::rc::Rc;

use audera_link::{Connection, Limits, Listener, PeerId};
use avahi_zbus::{Announcement, Publication, Publisher, ServiceType, Txt};
use tokio::task::JoinSet;

use crate::connect::serve;
use crate::core::Core;
use crate::player::{Player, Route};
use crate::types::{HubEvent, Listen, PlayerKey};

/// Accepts callers for as long as the hub runs.
pub(crate) async fn run(core: Rc<Core>, listen: Listen) {
    let mut listener = match Listener::bind(&[listen.address], &core.endpoint, Limits::default()) {
        Ok(listener) => listener,
        Err(error) => {
            return core.tell(HubEvent::Trouble(format!("players cannot dial in: {error}")));
        }
    };
    let port = listener.local_addr().port();
    tracing::info!(port, "players may dial in");
    let _announced = listen.announce.then(|| announce(&core, port)).flatten();
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => {
                    callers.spawn_local(receive(core.clone(), listen.open, connection));
                }
                Err(failure) => tracing::info!("a caller was turned away: {failure}"),
            },
            Some(_) = callers.join_next(), if !callers.is_empty() => {}
        }
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
        serve(&core, &player, connection, true).await;
        core.remove_player(&player);
        return;
    }
    tracing::warn!(
        %address, id = %peer,
        "refused a player that is not paired; to trust it, add its id to {}", core.trust.borrow().path().display()
    );
    // In no list of ours: a stranger gets a farewell and leaves no trace.
    let stranger = Player::new(key, address, Route::Inbound);
    serve(&core, &stranger, connection, false).await;
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

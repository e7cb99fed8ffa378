//! Finds players with Avahi and keeps the network thread's list in step with what is announced.

use std::net::SocketAddr;
use std::rc::Rc;

use audera_link::PeerId;
use avahi_zbus::{Browser, Event, Service, ServiceType};
use futures_util::StreamExt;

use crate::core::Core;
use crate::player::{Player, Route};
use crate::types::{HubEvent, PlayerKey, Reach};

/// Follows the announcements for as long as the hub runs.
pub(crate) async fn run(core: Rc<Core>) {
    let service_type = match ServiceType::new(audera_wire::SERVICE_PLAYER) {
        Ok(service_type) => service_type,
        Err(error) => return core.tell(HubEvent::Trouble(error.to_string())),
    };
    let mut browser = Browser::new(service_type);
    while let Some(event) = browser.next().await {
        match event {
            Event::Added(service) | Event::Changed(service) => announced(&core, service),
            Event::Removed(key) => withdrawn(&core, key.name),
            Event::Lost => tracing::info!("Avahi is not reachable: players found so far are kept"),
            Event::Restored => tracing::info!("Avahi is back"),
        }
    }
}

/// Players that are kept track of at once by their announcements. No home has so many; a network that announces more is not to be
/// answered with as many devices.
const MOST: usize = 128;

fn announced(core: &Rc<Core>, service: Service) {
    if service.name.chars().any(char::is_control) {
        // Not for logs, nor for desktops.
        return;
    }
    let id: Option<PeerId> = service.txt.get_str(audera_wire::TXT_ID).and_then(|text| text.parse().ok());
    let groups = service.txt.get_str(audera_wire::TXT_GROUPS).map_or_else(Vec::new, audera_wire::groups_from_txt);
    if is_configured(core, &service) {
        tracing::debug!(room = %service.name, "announced, and in the configuration by address: one connection is enough");
        return;
    }
    let key = PlayerKey::Discovered(service.name.clone());
    let route = Route::Announced(service.addresses, id);
    let known = core.player(&key).or_else(|| renamed(core, &service.name, &route));
    let player = match known {
        Some(player) => {
            player.route.replace(route);
            player
        }
        None if core.all_players().len() >= MOST => {
            tracing::warn!("more than {MOST} players are announced: \"{}\" is left out", service.name);
            return;
        }
        None => core.add_player(key, service.name, route),
    };
    core.update(&player, |info| {
        info.announced = true;
        // Once connected, the player's own word counts.
        if info.reach != Reach::Ready {
            info.groups = groups;
        }
    });
    player.retry.notify_one();
    forget_former_names(core);
}

/// The player that is announced by a new name, known by that from here on: its own word, on a connection to the announced identity, was that
/// this is its name now. So nothing that plays there breaks off, nor does what is for this room lose it.
///
/// Its addresses come and go one by one with an announcement, so they tell nothing; its port does not change.
pub(crate) fn renamed(core: &Rc<Core>, name: &str, route: &Route) -> Option<Rc<Player>> {
    let calls_itself = |player: &Rc<Player>| player.called.borrow().as_deref() == Some(name);
    let Route::Announced(places, Some(id)) = route else { return None };
    let listens_there = |player: &Rc<Player>| match &*player.route.borrow() {
        Route::Announced(others, other_id) => {
            let port = |place: &SocketAddr| others.iter().any(|other| other.port() == place.port());
            *other_id == Some(*id) && places.iter().any(port)
        }
        Route::Configured(_) | Route::Inbound => false,
    };
    let player = core.all_players().into_iter().find(|player| calls_itself(player) && listens_there(player))?;
    // The name may have been another player's, who must be let go loudly first.
    core.met.borrow().check(name, id).ok()?;
    core.rename(&player, name.to_owned());
    Some(player)
}

/// Forgets players that are announced no longer while another one is at the same place with the same id: they have been given
/// another name. The end of the old announcement and the beginning of the new one come in any order.
fn forget_former_names(core: &Core) {
    let players = core.all_players();
    let (now, before): (Vec<_>, Vec<_>) = players
        .iter()
        .filter(|player| matches!(*player.route.borrow(), Route::Announced(_, Some(_))))
        .partition(|player| player.info.borrow().announced);
    for former in before {
        if let Some(player) = now.iter().find(|player| are_one(player, former)) {
            core.supersede(former, player);
        }
    }
}

/// Whether two names were announced at the same place with the same id.
fn are_one(one: &Player, other: &Player) -> bool {
    match (&*one.route.borrow(), &*other.route.borrow()) {
        (Route::Announced(places, id), Route::Announced(others, other_id)) => {
            id.is_some() && id == other_id && places.iter().any(|place| others.contains(place))
        }
        _ => false,
    }
}

fn withdrawn(core: &Core, room: String) {
    if let Some(player) = core.player(&PlayerKey::Discovered(room)) {
        core.update(&player, |info| info.announced = false);
        forget_former_names(core);
    }
}

/// Forgets a player that is announced as well while it is connected through a fixed address.
pub(crate) fn forget_doubles(core: &Core, configured: &Player) {
    let Some(place) = configured.peer.get() else { return };
    if !matches!(*configured.route.borrow(), Route::Configured(_)) {
        return;
    }
    for player in core.all_players() {
        let same = matches!(&*player.route.borrow(), Route::Announced(places, _) if places.contains(&place));
        if same {
            core.remove_player(&player);
        }
    }
}

/// Whether this very player is already connected through a fixed address.
fn is_configured(core: &Core, service: &Service) -> bool {
    core.all_players().iter().any(|player| {
        matches!(&*player.route.borrow(), Route::Configured(_))
            && player.peer.get().is_some_and(|peer| service.addresses.contains(&peer))
    })
}

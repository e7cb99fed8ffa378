//! Finds players with Avahi and keeps the network thread's list in step with what is announced.

use std::net::SocketAddr;
use std::rc::Rc;

use audera_link::PeerId;
use avahi_zbus::{Browser, Event, Service, ServiceType};
use futures_util::StreamExt;

use crate::core::Core;
use crate::player::{Player, Route};
use crate::types::{HubEvent, PlayerKey, Reach};
use crate::ways;

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

/// A player, as it is announced.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) id: Option<PeerId>,
    pub(crate) groups: Vec<String>,
}

fn announced(core: &Rc<Core>, service: Service) {
    if service.name.chars().any(char::is_control) {
        // Not for logs, nor for desktops.
        return;
    }
    let id: Option<PeerId> = service.txt.get_str(audera_wire::TXT_ID).and_then(|text| text.parse().ok());
    let groups = service.txt.get_str(audera_wire::TXT_GROUPS).map_or_else(Vec::new, audera_wire::groups_from_txt);
    found(core, Announcement { name: service.name, addresses: service.addresses, id, groups });
}

/// Keeps track of a player that is announced.
pub(crate) fn found(core: &Rc<Core>, announcement: Announcement) {
    core.hidden.borrow_mut().remove(&announcement.name);
    let key = PlayerKey::Discovered(announcement.name.clone());
    let known = core.player(&key);
    if known.is_none() && ways::is_configured(core, &announcement) {
        tracing::debug!(room = %announcement.name, "announced, and known by its address: one connection is enough");
        if core.hidden.borrow().len() < MOST {
            core.hidden.borrow_mut().insert(announcement.name.clone(), announcement);
        }
        return;
    }
    let Announcement { name, addresses, id, groups } = announcement;
    let route = Route::Announced(addresses, id);
    let player = match known {
        Some(player) => {
            player.route.replace(route);
            player
        }
        None if !has_room(core) => {
            if !core.crowded.replace(true) {
                tracing::warn!("more than {MOST} players are announced: \"{name}\" is left out, and others that come");
            }
            return;
        }
        None => core.add_player(key, name, route),
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

/// Whether one more player can be kept track of. Who is neither announced nor connected any more gives its place away.
fn has_room(core: &Rc<Core>) -> bool {
    let announced = || core.all_players().into_iter().filter(|player| player.is_announced());
    if announced().count() < MOST {
        core.crowded.set(false);
        return true;
    }
    let gone = announced().find(|player| !player.info.borrow().is_present());
    gone.map(|gone| core.remove_player(&gone)).is_some()
}

/// Keeps track again of those that are announced and were known by their addresses.
pub(crate) fn reveal(core: &Rc<Core>) {
    let hidden = std::mem::take(&mut *core.hidden.borrow_mut());
    for announcement in hidden.into_values() {
        found(core, announcement);
    }
}

/// Forgets players that are announced no longer while another one is at the same place with the same id: they have been given
/// another name. The end of the old announcement and the beginning of the new one come in any order.
fn forget_former_names(core: &Rc<Core>) {
    let players = core.all_players();
    let (now, before): (Vec<_>, Vec<_>) = players
        .iter()
        .filter(|player| matches!(*player.route.borrow(), Route::Announced(_, Some(_))))
        .partition(|player| player.info.borrow().announced);
    for former in before {
        if let Some(player) = now.iter().find(|player| are_one(player, former)) {
            tracing::info!(room = %former.room(), "is now called {}", player.key());
            core.remove_player(former);
        }
    }
}

/// Whether two names were announced at the same place with the same id.
fn are_one(one: &Player, other: &Player) -> bool {
    match (&*one.route.borrow(), &*other.route.borrow()) {
        (Route::Announced(places, id), Route::Announced(others, other_id)) => {
            id == other_id && places.iter().any(|place| others.contains(place))
        }
        _ => false,
    }
}

fn withdrawn(core: &Rc<Core>, room: String) {
    core.hidden.borrow_mut().remove(&room);
    if let Some(player) = core.player(&PlayerKey::Discovered(room)) {
        core.update(&player, |info| info.announced = false);
        forget_former_names(core);
    }
}

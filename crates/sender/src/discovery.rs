//! Finds players with Avahi and keeps the network thread's list in step with what is announced.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use audera_link::PeerId;
use avahi_zbus::{Browser, Event, Service, ServiceType};
use futures_util::StreamExt;
use tokio::task::{AbortHandle, spawn_local};

use crate::core::Core;
use crate::player::{Player, Route};
use crate::types::{HubEvent, PlayerKey, Reach};
use crate::ways;

/// How players come to be known: by fixed addresses, and by their announcements.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// Fixed addresses, and how many want each.
    pub(crate) fixed: RefCell<BTreeMap<String, usize>>,
    /// What is announced of players that are known by their addresses, by name.
    pub(crate) hidden: RefCell<BTreeMap<String, Announcement>>,
    /// Names that players have given up for others, and how they were announced by them, until that has ended.
    given_up: RefCell<BTreeMap<String, Route>>,
    /// Whether more are announced than are kept track of.
    crowded: Cell<bool>,
    /// Whether the owner wants rooms looked for.
    wanted: Cell<bool>,
    /// Whether the user lets it.
    allowed: Cell<bool>,
    /// The search, if both is so.
    search: RefCell<Option<AbortHandle>>,
}

impl Default for Discovery {
    fn default() -> Self {
        Discovery {
            fixed: RefCell::default(),
            hidden: RefCell::default(),
            given_up: RefCell::default(),
            crowded: Cell::new(false),
            wanted: Cell::new(false),
            allowed: Cell::new(true),
            search: RefCell::default(),
        }
    }
}

impl Discovery {
    /// Whether rooms are looked for.
    pub(crate) fn is_searching(&self) -> bool {
        self.search.borrow().is_some()
    }
}

impl Core {
    /// The owner wants rooms looked for, or does not.
    pub(crate) fn want_discovery(self: &Rc<Self>, wanted: bool) {
        self.discovery.wanted.set(wanted);
        self.match_discovery();
    }

    /// The user lets rooms be looked for, or does not.
    pub(crate) fn allow_discovery(self: &Rc<Self>, allowed: bool) {
        self.discovery.allowed.set(allowed);
        self.match_discovery();
    }

    /// Looks for rooms no more; those that were found are kept.
    pub(crate) fn end_search(&self) {
        self.discovery.search.take().inspect(AbortHandle::abort);
    }

    /// Begins or ends to look for rooms, as the owner wants it and the user lets it.
    fn match_discovery(self: &Rc<Self>) {
        let wanted = self.discovery.wanted.get() && self.discovery.allowed.get();
        if wanted == self.discovery.is_searching() {
            return;
        }
        if wanted {
            let search = self.watched("the search for rooms", run(self.clone()));
            self.discovery.search.replace(Some(spawn_local(search).abort_handle()));
            return;
        }
        self.end_search();
        self.discovery.hidden.borrow_mut().clear();
        self.discovery.given_up.borrow_mut().clear();
        for player in self.all_players() {
            if player.is_announced() {
                self.remove_player(&player);
            }
        }
    }
}

/// Follows the announcements for as long as the hub runs.
async fn run(core: Rc<Core>) {
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
    core.discovery.hidden.borrow_mut().remove(&announcement.name);
    let key = PlayerKey::Discovered(announcement.name.clone());
    let known = core.player(&key);
    if known.is_none() && ways::is_configured(core, &announcement) {
        tracing::debug!(room = %announcement.name, "announced, and known by its address: one connection is enough");
        if core.discovery.hidden.borrow().len() < MOST {
            core.discovery.hidden.borrow_mut().insert(announcement.name.clone(), announcement);
        }
        return;
    }
    let Announcement { name, addresses, id, groups } = announcement;
    let route = Route::Announced(addresses, id);
    let known = known.or_else(|| renamed(core, &name, &route));
    let given_up = core.discovery.given_up.borrow_mut().remove(&name);
    if let Some(former) = given_up.filter(|former| known.is_none() && listens_there(former, &route)) {
        // An announcement goes bit by bit, and what is left of this one is told anew with each.
        core.discovery.given_up.borrow_mut().insert(name, former);
        return;
    }
    let player = match known {
        Some(player) => {
            player.route.replace(route);
            player
        }
        None if !has_room(core) => {
            if !core.discovery.crowded.replace(true) {
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

/// The player that is announced by a new name, known by that from here on: its own word, on a connection to the announced identity, was that
/// this is its name now. So nothing that plays there breaks off, nor does what is for this room lose it.
///
/// Its addresses come and go one by one with an announcement, so they tell nothing; its port does not change.
pub(crate) fn renamed(core: &Rc<Core>, name: &str, route: &Route) -> Option<Rc<Player>> {
    let calls_itself = |player: &Rc<Player>| player.called.borrow().as_deref() == Some(name);
    let listens = |player: &Rc<Player>| listens_there(&player.route.borrow(), route);
    let player = core.all_players().into_iter().find(|player| calls_itself(player) && listens(player))?;
    let Route::Announced(_, Some(id)) = route else { return None };
    // The name may have been another player's, who must be let go loudly first.
    core.met.borrow().check(name, id).ok()?;
    // Its former announcement may have ended already, as a player ends one before it begins the other: of that one nothing is left to come.
    if player.info.borrow().announced && core.discovery.given_up.borrow().len() < MOST {
        core.discovery.given_up.borrow_mut().insert(player.key().to_string(), player.route.borrow().clone());
    }
    core.rename(&player, name.to_owned());
    Some(player)
}

/// Whether two announcements are of one identity, and of one port.
fn listens_there(one: &Route, other: &Route) -> bool {
    match (one, other) {
        (Route::Announced(places, Some(id)), Route::Announced(others, Some(other_id))) => {
            let same_port = |place: &SocketAddr| others.iter().any(|other| other.port() == place.port());
            id == other_id && places.iter().any(same_port)
        }
        _ => false,
    }
}

/// Whether one more player can be kept track of. Who is neither announced nor connected any more gives its place away.
fn has_room(core: &Rc<Core>) -> bool {
    let announced = || core.all_players().into_iter().filter(|player| player.is_announced());
    if announced().count() < MOST {
        core.discovery.crowded.set(false);
        return true;
    }
    let gone = announced().find(|player| !player.info.borrow().is_present());
    gone.map(|gone| core.remove_player(&gone)).is_some()
}

/// Keeps track again of those that are announced and were known by their addresses.
pub(crate) fn reveal(core: &Rc<Core>) {
    let hidden = std::mem::take(&mut *core.discovery.hidden.borrow_mut());
    for announcement in hidden.into_values() {
        found(core, announcement);
    }
}

/// Forgets players that are announced no longer while another one, that is connected, is the same by another name. The end of the old
/// announcement, the beginning of the new one and the connection come in any order.
pub(crate) fn forget_former_names(core: &Rc<Core>) {
    let players = core.all_players();
    let (now, before): (Vec<_>, Vec<_>) = players
        .iter()
        .filter(|player| matches!(*player.route.borrow(), Route::Announced(_, Some(_))))
        .partition(|player| player.info.borrow().announced);
    for former in before {
        if let Some(player) = now.iter().find(|player| is_now(core, former, player)) {
            core.supersede(former, player);
        }
    }
}

/// Whether a player is the one that was known by a former name: announced at the same place with the same id, connected, and by its own word called as
/// it is announced now. Anybody can announce an id and a place, or the end of somebody else's announcement; what was for the former name is
/// for nobody but who holds the key that was met by it.
fn is_now(core: &Core, former: &Player, player: &Player) -> bool {
    let (route, former_route) = (player.route.borrow(), former.route.borrow());
    let (Route::Announced(places, Some(id)), Route::Announced(others, Some(former_id))) = (&*route, &*former_route)
    else {
        return false;
    };
    let same_place = id == former_id && places.iter().any(|place| others.contains(place));
    let proven = player.hello.borrow().is_some() && player.info.borrow().id == Some(*id);
    let says_so = player.calls_itself().is_some_and(|name| name == player.room());
    same_place && proven && says_so && core.met.borrow().check(&former.key().to_string(), id).is_ok()
}

fn withdrawn(core: &Rc<Core>, room: String) {
    core.discovery.hidden.borrow_mut().remove(&room);
    core.discovery.given_up.borrow_mut().remove(&room);
    if let Some(player) = core.player(&PlayerKey::Discovered(room)) {
        core.update(&player, |info| info.announced = false);
        forget_former_names(core);
    }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;

//! One room, however many ways lead to it: fixed addresses in any spelling, several names of its host, and its announcement. Who is connected first
//! stays; the other ways become its own, and are gone when it is not to be kept track of any more.

use std::rc::Rc;

use audera_link::Target;

use crate::core::Core;
use crate::discovery::{self, Announcement};
use crate::player::{Player, Route};
use crate::types::{HubEvent, PlayerKey, spelled};

impl Core {
    /// One more wants the player at a fixed address.
    pub(crate) fn add_address(self: &Rc<Self>, address: &str) {
        let address = spelled(address);
        *self.discovery.fixed.borrow_mut().entry(address.clone()).or_insert(0) += 1;
        self.approach(address);
    }

    /// One who wanted the player at a fixed address does not any more. With the last one the address is forgotten.
    pub(crate) fn remove_address(self: &Rc<Self>, address: &str) {
        let address = spelled(address);
        {
            let mut fixed = self.discovery.fixed.borrow_mut();
            let Some(wanted) = fixed.get_mut(&address) else { return };
            *wanted -= 1;
            if *wanted > 0 {
                return;
            }
            fixed.remove(&address);
        }
        let Some(player) = self.at(&address) else { return };
        if player.key() == PlayerKey::Address(address.clone()) {
            self.remove_player(&player);
            discovery::reveal(self);
        } else {
            self.update(&player, |info| info.addresses.retain(|known| *known != address));
            self.rematch_all();
        }
    }

    /// The player to which an address leads.
    fn at(&self, address: &str) -> Option<Rc<Player>> {
        let leads = |player: &Rc<Player>| player.info.borrow().addresses.iter().any(|known| known == address);
        self.all_players().into_iter().find(leads)
    }

    fn approach(self: &Rc<Self>, address: String) {
        if self.at(&address).is_none() {
            self.add_player(PlayerKey::Address(address.clone()), address, Route::Configured);
        }
    }

    /// A player is not kept track of any more: the addresses that led to it as well lead to whoever is there.
    pub(crate) fn go_other_ways(self: &Rc<Self>, gone: &Player) {
        let wanted = self.other_addresses(gone);
        gone.info.borrow_mut().addresses.clear();
        wanted.into_iter().for_each(|address| self.approach(address));
    }

    /// The other way by which a player will be kept track of once it is not by this one.
    pub(crate) fn other_way(&self, player: &Player) -> Option<PlayerKey> {
        if let Some(address) = self.other_addresses(player).into_iter().next() {
            return Some(PlayerKey::Address(address));
        }
        let (name, id) = (player.calls_itself()?, player.info.borrow().id?);
        let hidden = self.discovery.hidden.borrow();
        let announced = hidden.get(&name).is_some_and(|announcement| announcement.id == Some(id));
        announced.then_some(PlayerKey::Discovered(name))
    }

    fn other_addresses(&self, player: &Player) -> Vec<String> {
        let fixed = self.discovery.fixed.borrow();
        let info = player.info.borrow();
        let leads =
            |address: &&String| fixed.contains_key(*address) && info.key != PlayerKey::Address((*address).clone());
        info.addresses.iter().filter(leads).cloned().collect()
    }

    /// What is for a player is for it by this key from now on.
    pub(crate) fn succeed(&self, was: PlayerKey, now: PlayerKey) {
        self.all_streams().iter().for_each(|stream| stream.config.borrow_mut().target.rename(&was, &now));
        self.tell(HubEvent::Renamed { was, now });
    }

    /// Keeps track of one of two players that are one.
    fn join(self: &Rc<Self>, goes: &Player, stays: &Player) {
        tracing::info!(room = %stays.room(), "{} leads there as well", goes.key());
        let addresses = std::mem::take(&mut goes.info.borrow_mut().addresses);
        self.update(stays, |info| info.addresses.extend(addresses));
        self.succeed(goes.key(), stays.key());
        self.remove_player(goes);
        self.rematch_all();
    }

    /// The same, where the announcement of the one that goes is to be remembered.
    fn hide(self: &Rc<Self>, goes: &Player, stays: &Player) {
        if let (PlayerKey::Discovered(name), Route::Announced(addresses, id)) =
            (goes.key(), goes.route.borrow().clone())
        {
            let groups = goes.info.borrow().groups.clone();
            self.discovery.hidden.borrow_mut().insert(name.clone(), Announcement { name, addresses, id, groups });
        }
        self.join(goes, stays);
    }

    /// Streams may be for a player by its address.
    fn rematch_all(self: &Rc<Self>) {
        self.all_streams().iter().for_each(|stream| self.rematch(stream));
    }
}

/// A player has just said who it is. If it is one that is connected already, it is not kept track of any more: whether that is so.
#[must_use]
pub(crate) fn unite(core: &Rc<Core>, player: &Player) -> bool {
    for other in core.all_players() {
        if std::ptr::eq(&*other, player) || !are_one(player, &other) {
            continue;
        }
        match (player.is_announced(), other.is_announced()) {
            // These are told apart by their names.
            (true, true) => {}
            (false, true) if other.hello.borrow().is_none() => core.hide(&other, player),
            (false, _) => {
                core.join(player, &other);
                return true;
            }
            (true, false) => {
                core.hide(player, &other);
                return true;
            }
        }
    }
    false
}

/// Whether a player that is connected is the same as another one, which may be known by its announcement only. An id is that of a host and user, who
/// may have several players, so it is not enough.
fn are_one(player: &Player, other: &Player) -> bool {
    let (Some(place), Some(id)) = (player.peer.get(), player.info.borrow().id) else { return false };
    match (&*other.route.borrow(), other.peer.get()) {
        _ if matches!(*player.route.borrow(), Route::Inbound) => false,
        (Route::Inbound, _) => false,
        (_, Some(other_place)) => {
            let same_name = player.calls_itself().is_some_and(|name| other.calls_itself() == Some(name));
            let same_place = place == other_place || (place.port() == other_place.port() && same_name);
            other.hello.borrow().is_some() && other.info.borrow().id == Some(id) && same_place
        }
        (Route::Announced(places, announced), None) => {
            places.contains(&place) && announced.is_none_or(|announced| announced == id)
        }
        (Route::Configured, None) => false,
    }
}

/// Whether the player of an announcement is connected already through a fixed address.
pub(crate) fn is_configured(core: &Core, announcement: &Announcement) -> bool {
    core.all_players().iter().any(|player| {
        let Some(place) = player.peer.get().filter(|_| matches!(*player.route.borrow(), Route::Configured)) else {
            return false;
        };
        let id = player.info.borrow().id;
        let same_id = announcement.id.is_some() && announcement.id == id;
        let same_port = announcement.addresses.iter().any(|address| address.port() == place.port());
        announcement.addresses.contains(&place)
            || (same_id && same_port && player.calls_itself().is_some_and(|name| name == announcement.name))
    })
}

/// Where a fixed address leads, or what is wrong with it.
pub(crate) fn target(address: &str) -> Result<Target, String> {
    Target::parse(address, audera_wire::PORT).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use audera_clock::Span;
    use audera_wire::PlayerHello;

    use super::*;
    use crate::by_hand::{announce, id, place};
    use crate::hub::Order;
    use crate::pump::{Inflow, Pump};
    use crate::types::{Encoding, Latency, Reach, StreamConfig, StreamKey, Target};

    fn by_hand(test: impl FnOnce(Rc<Core>)) {
        crate::by_hand::by_hand(|state_dir| test(crate::by_hand::core(state_dir)));
    }

    /// A player says who it is.
    fn connects(core: &Rc<Core>, player: &Rc<Player>, from: &str, number: u8, name: &str) -> bool {
        player.peer.set(Some(place(from)));
        player.info.borrow_mut().id = Some(id(number));
        player.info.borrow_mut().reach = Reach::Ready;
        player.hello.replace(Some(PlayerHello::new(name, "test")));
        unite(core, player)
    }

    fn by_address(core: &Rc<Core>, address: &str) -> Rc<Player> {
        core.player(&PlayerKey::Address(address.to_owned())).unwrap()
    }

    /// Who is kept track of, and on which fixed addresses.
    fn known(core: &Rc<Core>) -> Vec<(String, Vec<String>)> {
        let one = |player: Rc<Player>| (player.key().to_string(), player.info.borrow().addresses.clone());
        core.all_players().into_iter().map(one).collect()
    }

    fn expected(players: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        players.iter().map(|(key, addresses)| ((*key).to_owned(), texts(addresses))).collect()
    }

    #[test]
    fn one_place_in_two_spellings_is_one_player_for_as_long_as_anybody_wants_it() {
        by_hand(|core| {
            for address in ["Kitchen.local", "kitchen.LOCAL:6528", "[::1]:6528", "::1", "hall:7000"] {
                core.add_address(address);
            }
            let all =
                expected(&[("::1", &["::1"]), ("hall:7000", &["hall:7000"]), ("kitchen.local", &["kitchen.local"])]);
            assert_eq!(known(&core), all);
            core.remove_address("KITCHEN.local");
            core.remove_address("hall");
            assert_eq!(known(&core), all, "somebody wants it yet, and another place is another one");
            core.remove_address("kitchen.local:6528");
            core.remove_address("::1");
            core.remove_address("::1");
            assert_eq!(known(&core), expected(&[("hall:7000", &["hall:7000"])]));
        });
    }

    #[test]
    fn two_names_of_a_host_are_one_room_and_either_keeps_it() {
        by_hand(|core| {
            core.add_address("kitchen.local");
            core.add_address("192.0.2.7");
            assert!(!connects(&core, &by_address(&core, "kitchen.local"), "[2001:db8::7]:6528", 1, "Kitchen"));
            assert!(connects(&core, &by_address(&core, "192.0.2.7"), "192.0.2.7:6528", 1, "Kitchen"));
            assert_eq!(known(&core), expected(&[("kitchen.local", &["kitchen.local", "192.0.2.7"])]));
            // The same once more changes nothing.
            core.add_address("192.0.2.7");
            core.remove_address("192.0.2.7");
            core.remove_address("kitchen.local");
            assert_eq!(known(&core), expected(&[("192.0.2.7", &["192.0.2.7"])]));
        });
    }

    #[test]
    fn players_of_one_user_are_not_one_room() {
        by_hand(|core| {
            let others = [
                ("a", "192.0.2.7:6528", 1, "Kitchen"),
                ("b", "192.0.2.7:6530", 1, "Kitchen"),
                ("c", "192.0.2.8:6528", 1, "Bath"),
                ("d", "192.0.2.9:6528", 2, "Kitchen"),
            ];
            for (address, from, number, name) in others {
                core.add_address(address);
                assert!(!connects(&core, &by_address(&core, address), from, number, name), "{address}");
            }
            assert_eq!(known(&core).len(), others.len());
        });
    }

    #[test]
    fn a_room_that_is_announced_and_added_is_one_whichever_came_first() {
        by_hand(|core| {
            // First by its announcement: it stays, and so do the sinks that are named after it.
            announce(&core, "Kitchen", "192.0.2.7:6528", 1);
            let kitchen = core.player(&PlayerKey::Discovered("Kitchen".to_owned())).unwrap();
            assert!(!connects(&core, &kitchen, "192.0.2.7:6528", 1, "Kitchen"));
            core.add_address("kitchen.local");
            assert!(connects(&core, &by_address(&core, "kitchen.local"), "[2001:db8::7]:6528", 1, "Kitchen"));
            assert_eq!(known(&core), expected(&[("Kitchen", &["kitchen.local"])]));
            core.remove_player(&kitchen);
            assert_eq!(known(&core), expected(&[("kitchen.local", &["kitchen.local"])]));
            core.remove_address("kitchen.local");
            assert!(known(&core).is_empty());

            // First by its address: announced while connected or not, and there by its announcement when the address is given up.
            core.add_address("bath.local");
            announce(&core, "Bath", "192.0.2.8:6528", 1);
            assert_eq!(known(&core).len(), 2, "it may be another one");
            let bath = by_address(&core, "bath.local");
            assert!(!connects(&core, &bath, "192.0.2.8:6528", 1, "Bath"));
            assert_eq!(known(&core), expected(&[("bath.local", &["bath.local"])]));
            announce(&core, "Bath", "192.0.2.8:6528", 1);
            announce(&core, "Bath", "192.0.2.99:6528", 1);
            assert_eq!(known(&core), expected(&[("bath.local", &["bath.local"])]));
            core.remove_address("bath.local");
            assert_eq!(known(&core), expected(&[("Bath", &[])]));
        });
    }

    /// Of all that the owner is told, who took whose place.
    fn successions(told: &Mutex<Vec<HubEvent>>) -> Vec<(String, String)> {
        let one = |event| match event {
            HubEvent::Renamed { was, now } => Some((was.to_string(), now.to_string())),
            _ => None,
        };
        told.lock().unwrap().drain(..).filter_map(one).collect()
    }

    #[test]
    fn what_is_for_a_room_goes_every_way_that_the_room_goes() {
        crate::by_hand::by_hand(|state_dir| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let events = told.clone();
            let core = crate::by_hand::core_that_tells(state_dir, move |event| events.lock().unwrap().push(event));
            let (_tap, outflow) = crate::tap::tap(1, 48_000, 48_000).unwrap();
            let latency = Span::from_millis(80);
            let pump = Pump::new(Inflow::Tap(outflow), 48_000, latency, None);
            let config = StreamConfig {
                title: String::new(),
                rate: 48_000,
                channels: 1,
                latency: Latency::Fixed(latency),
                encoding: Encoding::default(),
                target: Target::Player(PlayerKey::Discovered("Kitchen".to_owned())),
                gate: None,
            };
            core.obey(Order::Open(StreamKey(1), Box::new((pump, config))));
            let target = || match &core.all_streams()[0].config.borrow().target {
                Target::Player(key) => key.to_string(),
                other => format!("{other:?}"),
            };
            let pair = |was: &str, now: &str| vec![(was.to_owned(), now.to_owned())];

            // Announced and added: joined, it stays what it was. Looked for no more, it is there by its address.
            announce(&core, "Kitchen", "192.0.2.7:6528", 1);
            let kitchen = core.player(&PlayerKey::Discovered("Kitchen".to_owned())).unwrap();
            assert!(!connects(&core, &kitchen, "192.0.2.7:6528", 1, "Kitchen"));
            core.add_address("kitchen.local");
            core.add_address("192.0.2.7");
            assert!(connects(&core, &by_address(&core, "kitchen.local"), "[2001:db8::7]:6528", 1, "Kitchen"));
            assert!(connects(&core, &by_address(&core, "192.0.2.7"), "192.0.2.7:6528", 1, "Kitchen"));
            let joined = [pair("kitchen.local", "Kitchen"), pair("192.0.2.7", "Kitchen")].concat();
            assert_eq!((successions(&told), target()), (joined, "Kitchen".to_owned()));
            core.remove_player(&kitchen);
            assert_eq!((successions(&told), target()), (pair("Kitchen", "kitchen.local"), "kitchen.local".to_owned()));

            // By its address only, announced meanwhile, and its address given up.
            let kitchen = by_address(&core, "kitchen.local");
            assert!(!connects(&core, &kitchen, "192.0.2.7:6528", 1, "Kitchen"));
            core.remove_address("192.0.2.7");
            announce(&core, "Kitchen", "192.0.2.7:6528", 1);
            assert_eq!(known(&core), expected(&[("kitchen.local", &["kitchen.local"])]));
            core.remove_address("kitchen.local");
            assert_eq!((successions(&told), target()), (pair("kitchen.local", "Kitchen"), "Kitchen".to_owned()));
            assert_eq!(known(&core), expected(&[("Kitchen", &[])]));
            // Nothing else leads there.
            core.remove_player(&core.player(&PlayerKey::Discovered("Kitchen".to_owned())).unwrap());
            assert_eq!((successions(&told), target()), (Vec::new(), "Kitchen".to_owned()));
        });
    }

    #[test]
    fn rooms_are_looked_for_only_where_owner_and_user_want_it() {
        by_hand(|core| {
            core.add_address("kitchen.local");
            core.allow_discovery(false);
            announce(&core, "Kitchen", "192.0.2.7:6528", 1);
            core.want_discovery(true);
            core.allow_discovery(true);
            assert!(core.discovery.is_searching());
            assert_eq!(known(&core).len(), 2);
            core.allow_discovery(false);
            assert!(!core.discovery.is_searching());
            assert_eq!(known(&core), expected(&[("kitchen.local", &["kitchen.local"])]), "who was added is there yet");
        });
    }
}

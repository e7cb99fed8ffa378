//! What is seen on each interface and protocol, merged into one service per instance. No I/O here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use crate::{Event, Service, ServiceKey, Txt};

/// An interface index and a protocol, as Avahi numbers them.
pub(crate) type Place = (i32, i32);

/// What a resolver has found out at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub host: String,
    pub address: SocketAddr,
    pub txt: Txt,
    pub local: bool,
}

/// Builds a socket address; a link-local IPv6 address gets the interface as its scope.
pub(crate) fn socket_address(address: &str, port: u16, interface: i32) -> Option<SocketAddr> {
    let address = address.split('%').next()?;
    Some(match address.parse().ok()? {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, u32::try_from(interface).unwrap_or(0)).into()
        }
        other => SocketAddr::new(other, port),
    })
}

/// Lower is better.
fn rank(address: &SocketAddr) -> u8 {
    match address.ip() {
        ip if ip.is_loopback() => 4,
        IpAddr::V4(v4) => {
            if v4.is_link_local() {
                2
            } else {
                0
            }
        }
        IpAddr::V6(v6) => {
            if v6.is_unicast_link_local() {
                3
            } else {
                1
            }
        }
    }
}

/// Everything seen at present, and everything the user has been told of.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    seen: BTreeMap<ServiceKey, BTreeMap<Place, Option<Resolved>>>,
    told: BTreeMap<ServiceKey, Service>,
}

impl Catalogue {
    /// The instance is there, though not resolved yet.
    pub fn seen(&mut self, key: ServiceKey, place: Place) {
        self.seen.entry(key).or_default().entry(place).or_insert(None);
    }

    /// The instance's records are known at a place where it was seen.
    #[must_use]
    pub fn resolved(&mut self, key: &ServiceKey, place: Place, resolved: Resolved) -> Option<Event> {
        *self.seen.get_mut(key)?.get_mut(&place)? = Some(resolved);
        self.compare(key)
    }

    /// The instance has gone from one place.
    #[must_use]
    pub fn gone(&mut self, key: &ServiceKey, place: Place) -> Option<Event> {
        let places = self.seen.get_mut(key)?;
        places.remove(&place)?;
        if places.is_empty() {
            self.seen.remove(key);
            return self.told.remove(key).map(|_| Event::Removed(key.clone()));
        }
        self.compare(key)
    }

    /// The daemon has gone and with it all that was seen; what was told stands until [`reconcile`](Self::reconcile).
    pub fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// Enough time was given to see everything again: what was not is gone.
    #[must_use]
    pub fn reconcile(&mut self) -> Vec<Event> {
        let seen = &self.seen;
        let missing: Vec<_> = self.told.keys().filter(|key| !seen.contains_key(*key)).cloned().collect();
        for key in &missing {
            self.told.remove(key);
        }
        missing.into_iter().map(Event::Removed).collect()
    }

    fn compare(&mut self, key: &ServiceKey) -> Option<Event> {
        // Seen but nowhere resolved: what was told before is the best there is to know.
        let service = merge(key, self.seen.get(key)?)?;
        let before = self.told.insert(key.clone(), service.clone());
        match before {
            None => Some(Event::Added(service)),
            Some(before) if before == service => None,
            Some(_) => Some(Event::Changed(service)),
        }
    }
}

fn merge(key: &ServiceKey, places: &BTreeMap<Place, Option<Resolved>>) -> Option<Service> {
    let mut all: Vec<_> = places.iter().filter_map(|(place, resolved)| Some((place, resolved.as_ref()?))).collect();
    all.sort_by_key(|(place, resolved)| (rank(&resolved.address), **place, resolved.address));
    let best = all.first()?.1;
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(all.len());
    for (_, resolved) in &all {
        // Another port means a record that is on its way out.
        if resolved.address.port() == best.address.port() && !addresses.contains(&resolved.address) {
            addresses.push(resolved.address);
        }
    }
    Some(Service {
        name: key.name.clone(),
        service_type: key.service_type.clone(),
        domain: key.domain.clone(),
        host: best.host.clone(),
        port: best.address.port(),
        addresses,
        txt: best.txt.clone(),
        local: all.iter().any(|(_, resolved)| resolved.local),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey { name: name.into(), service_type: "_ipp._tcp".into(), domain: "local".into() }
    }

    fn at(address: &str, interface: i32) -> Resolved {
        let address = socket_address(address, 631, interface).unwrap();
        Resolved { host: "h.local".into(), address, txt: Txt::new().with("v", "1"), local: false }
    }

    fn see(catalogue: &mut Catalogue, name: &str, place: Place, address: &str) -> Option<Event> {
        catalogue.seen(key(name), place);
        catalogue.resolved(&key(name), place, at(address, place.0))
    }

    fn addresses(event: Option<Event>) -> Vec<String> {
        match event {
            Some(Event::Added(s) | Event::Changed(s)) => s.addresses.iter().map(ToString::to_string).collect(),
            other => panic!("neither added nor changed: {other:?}"),
        }
    }

    #[test]
    fn one_instance_however_many_places() {
        let mut c = Catalogue::default();
        assert_eq!(addresses(see(&mut c, "a", (2, 1), "fe80::1")), ["[fe80::1%2]:631"]);
        assert_eq!(addresses(see(&mut c, "a", (1, 0), "127.0.0.1")), ["[fe80::1%2]:631", "127.0.0.1:631"]);
        assert_eq!(addresses(see(&mut c, "a", (2, 0), "10.0.0.7"))[0], "10.0.0.7:631");
        assert_eq!(
            addresses(see(&mut c, "a", (3, 1), "fd00::7")),
            ["10.0.0.7:631", "[fd00::7]:631", "[fe80::1%2]:631", "127.0.0.1:631"]
        );
        // The same address over another interface says nothing new.
        assert_eq!(see(&mut c, "a", (4, 0), "10.0.0.7"), None);
        assert_eq!(c.gone(&key("a"), (4, 0)), None);
        assert_eq!(addresses(c.gone(&key("a"), (2, 0)))[0], "[fd00::7]:631");
        let _ = c.gone(&key("a"), (1, 0));
        let _ = c.gone(&key("a"), (2, 1));
        assert_eq!(c.gone(&key("a"), (3, 1)), Some(Event::Removed(key("a"))));
        assert_eq!(c.gone(&key("a"), (3, 1)), None);
    }

    #[test]
    fn what_was_never_resolved_is_never_told() {
        let mut c = Catalogue::default();
        c.seen(key("a"), (2, 0));
        assert_eq!(c.gone(&key("a"), (2, 0)), None);
        // A resolver's late answer for something that has gone.
        assert_eq!(c.resolved(&key("a"), (2, 0), at("10.0.0.7", 2)), None);
    }

    #[test]
    fn a_new_txt_is_a_change() {
        let mut c = Catalogue::default();
        assert!(matches!(see(&mut c, "a", (2, 0), "10.0.0.7"), Some(Event::Added(_))));
        let newer = Resolved { txt: Txt::new().with("v", "2"), ..at("10.0.0.7", 2) };
        let Some(Event::Changed(service)) = c.resolved(&key("a"), (2, 0), newer) else { panic!("no change told") };
        assert_eq!(service.txt.get_str("v"), Some("2"));
    }

    #[test]
    fn a_restart_removes_only_what_stays_away() {
        let mut c = Catalogue::default();
        for name in ["back", "gone", "slow"] {
            assert!(matches!(see(&mut c, name, (2, 0), "10.0.0.7"), Some(Event::Added(_))));
        }
        c.forget_seen();
        assert_eq!(see(&mut c, "back", (2, 0), "10.0.0.7"), None);
        c.seen(key("slow"), (2, 0));
        assert_eq!(c.reconcile(), [Event::Removed(key("gone"))]);
        assert_eq!(c.reconcile(), []);
        assert_eq!(addresses(see(&mut c, "slow", (2, 0), "10.0.0.9")), ["10.0.0.9:631"]);
    }
}

//! The sources that are announced through Avahi.

use std::collections::BTreeMap;

use audera_link::Target;
use avahi_zbus::{Browser, Event, ServiceType};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::spawn_local;

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What to dial.
    pub target: Target,
    /// It was announced and has been withdrawn: it will be announced again when it is back.
    pub withdrawn: bool,
}

/// All that have been seen, by name.
pub type Announced = BTreeMap<String, Place>;

/// More sources than any home has: who announces more is not to fill the memory.
const MAX_SOURCES: usize = 128;

/// Follows the announcements for as long as a receiver is held. To be called within a `LocalSet`.
#[must_use]
pub fn announced() -> watch::Receiver<Announced> {
    let (found, places) = watch::channel(Announced::new());
    spawn_local(follow(found));
    places
}

async fn follow(found: watch::Sender<Announced>) {
    // The name of the type is a constant and valid, as a test of the constants shows.
    let Ok(service_type) = ServiceType::new(audera_wire::SERVICE_SOURCE) else { return };
    let mut browser = Browser::new(service_type);
    loop {
        let event = tokio::select! {
            event = browser.next() => event,
            () = found.closed() => return,
        };
        match event {
            None => return,
            Some(Event::Added(service) | Event::Changed(service)) => found.send_modify(|places| {
                if places.len() < MAX_SOURCES || places.contains_key(&service.name) {
                    let place = Place { target: service.addresses.into(), withdrawn: false };
                    places.insert(service.name, place);
                }
            }),
            Some(Event::Removed(key)) => found.send_modify(|places| {
                if let Some(place) = places.get_mut(&key.name) {
                    place.withdrawn = true;
                }
            }),
            Some(Event::Lost | Event::Restored) => {}
        }
    }
}

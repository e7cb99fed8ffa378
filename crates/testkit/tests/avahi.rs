//! `avahi-zbus` against real daemons on simulated hosts: finding, announcing, and what happens when things vanish.

use std::time::Duration;

use audera_testkit::{Daemon, Network, Session, or_skip};
use avahi_zbus::{
    Announcement, Browser, Bus, Event, Publication, PublicationState, Publisher, Service, ServiceType, Txt,
};
use futures_util::StreamExt;

/// Longer than anything here may take; what is waited for comes by events.
const PATIENCE: Duration = Duration::from_secs(30);

fn pair() -> Option<[Session; 2]> {
    let network = or_skip(Network::new())?;
    let start = |name| Session::builder(name).on(&network).daemons(&Daemon::DISCOVERY).start().unwrap();
    Some([start("kitchen"), start("office")])
}

fn bus(session: &Session) -> Bus {
    Bus::Address(session.system_bus())
}

fn audera() -> ServiceType {
    ServiceType::new("_audera._tcp").unwrap()
}

fn announcement(name: &str) -> Announcement {
    at_port(name, 6528)
}

fn at_port(name: &str, port: u16) -> Announcement {
    Announcement::new(name, audera(), port).txt(Txt::new().with("v", "1"))
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// The next event for which `pick` has a value; those before are passed over.
async fn until<T>(browser: &mut Browser, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = browser.next().await.expect("a browser on an address does not end");
            if let Some(value) = pick(&event) {
                return value;
            }
        }
    })
    .await
}

fn present(event: &Event) -> Option<&Service> {
    match event {
        Event::Added(service) | Event::Changed(service) => Some(service),
        _ => None,
    }
}

async fn established(publication: &Publication) -> String {
    soon("establishment", publication.established()).await.unwrap()
}

#[tokio::test]
async fn found_with_all_addresses_and_every_new_txt() {
    let Some([kitchen, office]) = pair() else { return };
    let mut browser = Browser::on(bus(&office), audera());
    let publication = Publisher::on(bus(&kitchen)).publish(announcement("K\u{fc}che").subtype("_lamp")).unwrap();
    assert_eq!(established(&publication).await, "K\u{fc}che");

    let service = until(&mut browser, "both addresses", |event| {
        present(event).filter(|service| service.addresses.len() == 2).cloned()
    })
    .await;
    assert_eq!((service.name.as_str(), service.host.as_str(), service.port), ("K\u{fc}che", "kitchen.local", 6528));
    assert_eq!(service.addresses[0].to_string(), "10.77.0.1:6528");
    assert!(service.addresses[1].to_string().starts_with("[fe80::1%"), "{:?}", service.addresses);
    assert_eq!(service.txt, Txt::new().with("v", "1"));
    assert!(!service.local);

    let newer = Txt::new().with("v", "2").with("bytes", [0, 255]);
    publication.update_txt(newer.clone()).unwrap();
    until(&mut browser, "the new TXT", |event| match event {
        Event::Changed(service) if service.txt == newer => Some(()),
        Event::Removed(_) => panic!("removed for a new TXT"),
        _ => None,
    })
    .await;

    let mut lamps = Browser::on(bus(&kitchen), audera());
    assert!(until(&mut lamps, "itself", |event| present(event).map(|service| service.local)).await);

    publication.close().await;
    let gone = until(&mut browser, "the removal", |event| match event {
        Event::Removed(key) => Some(key.clone()),
        _ => None,
    })
    .await;
    assert_eq!(gone, service.key());
}

#[tokio::test]
async fn a_name_that_is_taken_gets_a_number() {
    let Some([kitchen, office]) = pair() else { return };
    let first = Publisher::on(bus(&kitchen)).publish(announcement("Kitchen")).unwrap();
    assert_eq!(established(&first).await, "Kitchen");
    // By the same host, which its daemon notices at once, and by another, which the network has to tell. At the same port the
    // second would be the same service announced twice, which is no collision.
    let second = Publisher::on(bus(&kitchen)).publish(at_port("Kitchen", 6529)).unwrap();
    assert_eq!(established(&second).await, "Kitchen #2");
    let third = Publisher::on(bus(&office)).publish(announcement("Kitchen")).unwrap();
    // A daemon that is held back while the other one asks learns only afterwards that the name is taken.
    let wanted = PublicationState::Established { name: "Kitchen #3".into() };
    let named = async {
        while third.state() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, named).await.is_ok(), "{:?}", third.state());
}

#[tokio::test]
async fn the_listener_s_daemon_restarts() {
    let Some([kitchen, mut office]) = pair() else { return };
    let stays = Publisher::on(bus(&kitchen)).publish(announcement("Stays")).unwrap();
    let goes = Publisher::on(bus(&kitchen)).publish(announcement("Goes")).unwrap();
    established(&stays).await;
    established(&goes).await;
    let mut browser = Browser::on(bus(&office), audera());
    let mut seen = std::collections::BTreeSet::new();
    until(&mut browser, "both", |event| {
        seen.insert(present(event)?.name.clone());
        (seen.len() == 2).then_some(())
    })
    .await;

    office.stop_daemon(Daemon::Avahi).unwrap();
    until(&mut browser, "the loss", |event| match event {
        Event::Lost => Some(()),
        Event::Removed(key) => panic!("{key} was removed though it is only out of sight"),
        _ => None,
    })
    .await;
    goes.close().await;
    office.start_daemon(Daemon::Avahi).unwrap();
    let mut restored = false;
    let gone = until(&mut browser, "the reconciliation", |event| match event {
        Event::Restored => {
            restored = true;
            None
        }
        Event::Removed(key) => Some(key.name.clone()),
        Event::Added(service) => panic!("{} was told twice", service.name),
        _ => None,
    })
    .await;
    assert_eq!(gone, "Goes");
    assert!(restored);

    // What stayed is watched as before.
    stays.update_txt(Txt::new().with("v", "2")).unwrap();
    until(&mut browser, "a change after the restart", |event| {
        present(event).filter(|s| s.name == "Stays" && s.txt.get_str("v") == Some("2")).map(drop)
    })
    .await;
}

#[tokio::test]
async fn the_publisher_s_daemon_and_bus_restart() {
    let Some([mut kitchen, office]) = pair() else { return };
    let mut publication = Publisher::on(bus(&kitchen)).publish(announcement("Kitchen")).unwrap();
    established(&publication).await;
    let mut browser = Browser::on(bus(&office), audera());
    let there = |event: &Event| present(event).map(drop);
    let gone = |event: &Event| matches!(event, Event::Removed(_)).then_some(());
    until(&mut browser, "the service", there).await;

    for daemons in [&[Daemon::Avahi][..], &[Daemon::Avahi, Daemon::SystemBus]] {
        publication.changed().await;
        for &daemon in daemons {
            kitchen.stop_daemon(daemon).unwrap();
        }
        until(&mut browser, "the goodbye", gone).await;
        soon("waiting", async { while publication.changed().await != PublicationState::Waiting {} }).await;
        for &daemon in daemons.iter().rev() {
            kitchen.start_daemon(daemon).unwrap();
        }
        until(&mut browser, "the return", there).await;
        assert_eq!(established(&publication).await, "Kitchen");
    }
}

#[tokio::test]
async fn neither_needs_anything_to_be_there_at_the_start() {
    let network = match or_skip(Network::new()) {
        Some(network) => network,
        None => return,
    };
    let mut session = Session::builder("kitchen").on(&network).daemons(&[]).start().unwrap();
    let mut browser = Browser::on(bus(&session), audera());
    let publication = Publisher::on(bus(&session)).publish(announcement("Kitchen")).unwrap();
    until(&mut browser, "the loss", |event| (*event == Event::Lost).then_some(())).await;
    assert_eq!(publication.state(), PublicationState::Waiting);
    session.start_daemon(Daemon::SystemBus).unwrap();
    session.start_daemon(Daemon::Avahi).unwrap();
    let mut restored = false;
    until(&mut browser, "the service", |event| {
        restored |= *event == Event::Restored;
        present(event).map(drop)
    })
    .await;
    assert!(restored);
    established(&publication).await;
}

#[tokio::test]
async fn a_given_connection_is_shared_and_ends_both_when_it_closes() {
    let Some([mut kitchen, _office]) = pair() else { return };
    let connection =
        avahi_zbus::zbus::connection::Builder::address(kitchen.system_bus().as_str()).unwrap().build().await.unwrap();
    let mut first = Browser::on(connection.clone(), audera());
    let mut second = Browser::on(connection.clone(), audera());
    let mut publication = Publisher::on(connection.clone()).publish(announcement("Kitchen")).unwrap();
    established(&publication).await;
    until(&mut first, "the service", |event| present(event).map(drop)).await;
    until(&mut second, "the service", |event| present(event).map(drop)).await;

    // One that is dropped takes nothing from the other.
    drop(first);
    publication.update_txt(Txt::new().with("v", "2")).unwrap();
    until(&mut second, "the change", |event| present(event).filter(|s| s.txt.get_str("v") == Some("2")).map(drop))
        .await;

    kitchen.stop_daemon(Daemon::SystemBus).unwrap();
    let mut last = None;
    soon("the end", async {
        while let Some(event) = second.next().await {
            last = Some(event);
        }
    })
    .await;
    assert_eq!(last, Some(Event::Lost));
    soon("the end", async { while publication.changed().await != PublicationState::Closed {} }).await;
}

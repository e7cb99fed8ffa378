//! The stream of what comes, changes and goes, and the task behind it which starts a search whenever Avahi appears.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::{
    select,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tracing::warn;

use crate::{
    Bus, Service, ServiceKey, ServiceType,
    bus::{Presence, Watch},
    merge::Catalogue,
    search::{End, Search},
};

/// What a [`Browser`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An instance is there, and at least one address of it is known.
    Added(Service),
    /// An instance told before has other addresses, another port, host or TXT record.
    Changed(Service),
    /// An instance told before has gone.
    Removed(ServiceKey),
    /// Avahi or the bus is not reachable. What was told still stands: it is just not watched any more.
    Lost,
    /// Avahi is reachable after [`Event::Lost`]. Instances which have gone in between follow as [`Event::Removed`] once they
    /// had [`Browser::SETTLING`] to be seen again.
    Restored,
}

/// All instances of one type on the local network, as a [`Stream`] of [`Event`]s.
///
/// It never ends, except after the connection given by the caller has closed; then [`Event::Lost`] was its last word.
/// Events wait without bound for whoever reads the stream, so read it. Dropping it ends the search.
#[derive(Debug)]
#[must_use = "a browser which is dropped ends its search"]
pub struct Browser {
    events: UnboundedReceiver<Event>,
}

impl Browser {
    /// How long after Avahi's return an instance may take to be seen again. mDNS repeats its question after 1 and 2 s more, so
    /// two lost packets in a row are forgiven.
    pub const SETTLING: std::time::Duration = std::time::Duration::from_secs(5);

    /// Searches through the Avahi of the system bus, in the default domain.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(service_type: ServiceType) -> Self {
        Self::on(Bus::System, service_type)
    }

    /// Searches through the Avahi of another bus or of a connection which the caller has.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn on(bus: impl Into<Bus>, service_type: ServiceType) -> Self {
        let (sender, events) = unbounded_channel();
        tokio::spawn(run(Watch::new(bus.into()), service_type, sender));
        Self { events }
    }
}

impl Stream for Browser {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }
}

async fn run(mut watch: Watch, service_type: ServiceType, events: UnboundedSender<Event>) {
    let mut catalogue = Catalogue::default();
    let mut lost = false;
    let mut known = None;
    loop {
        let presence = match known.take() {
            Some(presence) => presence,
            None => select! {
                presence = watch.next() => presence,
                () = events.closed() => return,
            },
        };
        match presence {
            Presence::Up(daemon) => {
                let end = match Search::start(daemon, &service_type).await {
                    Ok(mut search) => {
                        if std::mem::take(&mut lost) {
                            drop(events.send(Event::Restored));
                        }
                        search.run(&mut catalogue, &mut watch, &events).await
                    }
                    Err(error) => End::Failed(error),
                };
                catalogue.forget_seen();
                match end {
                    End::Dropped => return,
                    End::Presence(presence) => known = Some(presence),
                    End::Failed(error) => {
                        warn!(%error, service_type = service_type.as_str(), "the search is interrupted, will try again");
                        watch.hold_off();
                        lose(&mut lost, &events);
                    }
                }
            }
            Presence::Down => lose(&mut lost, &events),
            Presence::Ended => return lose(&mut lost, &events),
        }
    }
}

fn lose(lost: &mut bool, events: &UnboundedSender<Event>) {
    if !std::mem::replace(lost, true) {
        // Nobody listening is noticed where the loop waits.
        drop(events.send(Event::Lost));
    }
}

//! One search within one life of the daemon: a browser object, and a resolver object for each place an instance is seen at.
//!
//! Signals are subscribed to before the objects exist, so none is lost; and no answer is waited for where signals would pile
//! up meanwhile, because zbus stops reading a connection when one of its queues is full and the answer would never come.

use std::collections::HashMap;

use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, Select, select as either},
};
use tokio::{
    select,
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep_until},
};
use tracing::{debug, trace};
use zbus::{
    MatchRule, Message, MessageStream,
    message::{Flags, Type},
    proxy::CacheProperties,
    zvariant::OwnedObjectPath,
};

use crate::{
    Browser, Event, ServiceKey, ServiceType, Txt,
    bus::{Daemon, Presence, Watch},
    merge::{Catalogue, Place, Resolved, socket_address},
    proxy::{
        ANY_INTERFACE, ANY_PROTOCOL, ServerProxy, service_browser,
        service_resolver::{self, lookup_flags},
    },
};

const BROWSER: &str = "org.freedesktop.Avahi.ServiceBrowser";
const RESOLVER: &str = "org.freedesktop.Avahi.ServiceResolver";

/// Why a search is over.
#[derive(Debug)]
#[must_use]
pub(crate) enum End {
    /// Nobody listens any more.
    Dropped,
    /// Avahi's presence has changed.
    Presence(Presence),
    /// The daemon refuses, or does not understand.
    Failed(zbus::Error),
}

/// An instance at one place.
type Sighting = (ServiceKey, Place);

/// An object which the daemon has made for us.
enum Opened {
    Browser(OwnedObjectPath),
    Resolver(Sighting, OwnedObjectPath),
}

pub(crate) struct Search {
    daemon: Daemon,
    server: ServerProxy<'static>,
    signals: Select<MessageStream, MessageStream>,
    opening: FuturesUnordered<BoxFuture<'static, zbus::Result<Opened>>>,
    /// Signals of objects whose path has not been told yet, or of someone else's on the same connection.
    early: Vec<Message>,
    browser: Option<OwnedObjectPath>,
    /// What is seen now, with the path of its resolver once that is open.
    sightings: HashMap<Sighting, Option<OwnedObjectPath>>,
    resolvers: HashMap<OwnedObjectPath, Sighting>,
}

impl Search {
    /// Subscribes to the signals and asks for the browser object.
    pub async fn start(daemon: Daemon, service_type: &ServiceType) -> zbus::Result<Self> {
        let server = ServerProxy::builder(&daemon.connection)
            .destination(daemon.owner.clone())?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let signals = either(signals_of(&daemon, BROWSER).await?, signals_of(&daemon, RESOLVER).await?);
        let search = Self {
            daemon,
            server: server.clone(),
            signals,
            opening: FuturesUnordered::new(),
            early: Vec::new(),
            browser: None,
            sightings: HashMap::new(),
            resolvers: HashMap::new(),
        };
        let service_type = service_type.clone();
        search.opening.push(Box::pin(async move {
            let path = server.service_browser_new(ANY_INTERFACE, ANY_PROTOCOL, service_type.as_str(), "", 0).await?;
            Ok(Opened::Browser(path))
        }));
        Ok(search)
    }

    /// Goes on until there is a reason to stop.
    pub async fn run(&mut self, catalogue: &mut Catalogue, watch: &mut Watch, events: &UnboundedSender<Event>) -> End {
        let settled = Instant::now() + Browser::SETTLING;
        let mut settling = true;
        loop {
            let told = select! {
                // An answer comes before the signals it explains.
                biased;
                Some(opened) = self.opening.next() => self.opened(opened, catalogue).await,
                presence = watch.next() => return End::Presence(presence),
                () = events.closed() => {
                    self.free_all().await;
                    return End::Dropped;
                }
                () = sleep_until(settled), if settling => {
                    settling = false;
                    watch.is_well();
                    Ok(catalogue.reconcile())
                }
                signal = self.signals.next() => match signal {
                    Some(Ok(message)) => self.signal(message, catalogue).await,
                    Some(Err(error)) => Err(error),
                    None => Err(zbus::Error::Failure("the connection is closed".into())),
                },
            };
            match told {
                // Nobody listening is noticed above.
                Ok(told) => told.into_iter().for_each(|event| drop(events.send(event))),
                Err(error) => {
                    self.free_all().await;
                    return End::Failed(error);
                }
            }
        }
    }

    async fn opened(&mut self, opened: zbus::Result<Opened>, catalogue: &mut Catalogue) -> zbus::Result<Vec<Event>> {
        match opened? {
            Opened::Browser(path) => self.browser = Some(path),
            Opened::Resolver(sighting, path) => match self.sightings.get_mut(&sighting) {
                Some(slot @ None) => {
                    *slot = Some(path.clone());
                    self.resolvers.insert(path, sighting);
                }
                // It has gone meanwhile, or has gone, come back and got another resolver.
                _ => free(&self.daemon, &path, RESOLVER).await,
            },
        }
        let mut told = Vec::new();
        for message in std::mem::take(&mut self.early) {
            told.extend(self.signal(message, catalogue).await?);
        }
        Ok(told)
    }

    async fn signal(&mut self, message: Message, catalogue: &mut Catalogue) -> zbus::Result<Vec<Event>> {
        let Some(path) = message.header().path().map(|path| OwnedObjectPath::from(path.to_owned())) else {
            return Ok(Vec::new());
        };
        if self.browser.as_ref() == Some(&path) {
            self.browser_signal(message, catalogue).await
        } else if let Some(sighting) = self.resolvers.get(&path) {
            Ok(resolver_signal(message, sighting, catalogue)?.into_iter().collect())
        } else {
            if !self.opening.is_empty() {
                self.early.push(message);
            }
            Ok(Vec::new())
        }
    }

    async fn browser_signal(&mut self, message: Message, catalogue: &mut Catalogue) -> zbus::Result<Vec<Event>> {
        if let Some(signal) = service_browser::ItemNew::from_message(message.clone()) {
            let args = signal.args()?;
            let key = key(args.name, args.type_, args.domain);
            let place = (args.interface, args.protocol);
            trace!(service = %key, ?place, "seen");
            catalogue.seen(key.clone(), place);
            if self.sightings.insert((key.clone(), place), None).is_none() {
                self.open_resolver((key, place));
            }
        } else if let Some(signal) = service_browser::ItemRemove::from_message(message.clone()) {
            let args = signal.args()?;
            let sighting = (key(args.name, args.type_, args.domain), (args.interface, args.protocol));
            trace!(service = %sighting.0, place = ?sighting.1, "gone");
            if let Some(path) = self.sightings.remove(&sighting).flatten() {
                self.resolvers.remove(&path);
                free(&self.daemon, &path, RESOLVER).await;
            }
            return Ok(catalogue.gone(&sighting.0, sighting.1).into_iter().collect());
        } else if let Some(signal) = service_browser::Failure::from_message(message) {
            return Err(zbus::Error::Failure(signal.args()?.error.to_owned()));
        }
        Ok(Vec::new())
    }

    fn open_resolver(&mut self, sighting: Sighting) {
        let server = self.server.clone();
        self.opening.push(Box::pin(async move {
            let (key, (interface, protocol)) = &sighting;
            let (name, service_type, domain) = (&key.name, &key.service_type, &key.domain);
            // Each protocol is asked for its own kind of address: together they give all, each once.
            let path =
                server.service_resolver_new(*interface, *protocol, name, service_type, domain, *protocol, 0).await?;
            Ok(Opened::Resolver(sighting, path))
        }));
    }

    /// On a shared connection the objects would live on.
    async fn free_all(&mut self) {
        while let Some(opened) = self.opening.next().await {
            match opened {
                Ok(Opened::Browser(path)) => self.browser = Some(path),
                Ok(Opened::Resolver(_, path)) => free(&self.daemon, &path, RESOLVER).await,
                Err(error) => debug!(%error, "not opened"),
            }
        }
        for path in self.resolvers.keys() {
            free(&self.daemon, path, RESOLVER).await;
        }
        if let Some(path) = &self.browser {
            free(&self.daemon, path, BROWSER).await;
        }
    }
}

/// Ends an object without waiting for the answer; a daemon that has gone meanwhile has freed it already.
async fn free(daemon: &Daemon, path: &OwnedObjectPath, interface: &'static str) {
    let message = Message::method_call(path, "Free")
        .and_then(|m| m.destination(&daemon.owner))
        .and_then(|m| m.interface(interface))
        .and_then(|m| m.with_flags(Flags::NoReplyExpected))
        .and_then(|m| m.build(&()));
    let sent = match message {
        Ok(message) => daemon.connection.send(&message).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        debug!(%error, %path, "could not free");
    }
}

fn resolver_signal(message: Message, sighting: &Sighting, catalogue: &mut Catalogue) -> zbus::Result<Option<Event>> {
    let (key, place) = sighting;
    if let Some(signal) = service_resolver::Found::from_message(message.clone()) {
        let args = signal.args()?;
        let Some(address) = socket_address(args.address, args.port, args.interface) else {
            debug!(service = %key, address = args.address, "not an address");
            return Ok(None);
        };
        let resolved = Resolved {
            host: args.host.to_owned(),
            address,
            txt: Txt::from_wire(&args.txt),
            local: args.flags & lookup_flags::LOCAL != 0,
        };
        return Ok(catalogue.resolved(key, *place, resolved));
    }
    if let Some(signal) = service_resolver::Failure::from_message(message) {
        // The resolver goes on asking: an answer that comes late is told all the same.
        debug!(service = %key, ?place, error = signal.args()?.error, "not resolved yet");
    }
    Ok(None)
}

fn key(name: &str, service_type: &str, domain: &str) -> ServiceKey {
    ServiceKey { name: name.to_owned(), service_type: service_type.to_owned(), domain: domain.to_owned() }
}

async fn signals_of(daemon: &Daemon, interface: &'static str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(daemon.owner.clone())?.interface(interface)?.build();
    MessageStream::for_match_rule(rule, &daemon.connection, None).await
}

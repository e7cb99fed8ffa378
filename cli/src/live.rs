//! What is on the bus, kept up to date by its signals.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use audera_dbus::names;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, select};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use zbus::message::Type;
use zbus::zvariant::{ObjectPath, Value};
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::desk::{is_ours, managed_objects, services, start};
use crate::error::Failure;
use crate::house::{House, Meter};
use crate::objects::{Objects, properties};

/// Signals that wait to be looked at.
const INBOX: usize = 1024;
/// What comes within this time is shown together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Between two attempts to have `auderad` started again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// All that there is.
    pub house: House,
    /// Whether `auderad` is there.
    pub auderad: bool,
}

/// What there is, from now on: it changes in the background, until the bus is gone.
///
/// # Errors
/// The bus does not answer.
pub async fn follow(connection: &Connection) -> Result<watch::Receiver<View>, Failure> {
    let mut live = Live::begin(connection).await?;
    let (show, shown) = watch::channel(live.view());
    tokio::spawn(async move {
        while let Ok(()) = live.changed().await {
            let view = live.view();
            show.send_if_modified(|last| {
                let other = *last != view;
                *last = view;
                other
            });
        }
    });
    Ok(shown)
}

/// Waits until something else is to be shown.
///
/// # Errors
/// The bus is gone.
pub async fn changed(shown: &mut watch::Receiver<View>) -> Result<View, Failure> {
    let gone = |_| Failure::Failed("the session bus is gone".to_owned());
    shown.changed().await.map_err(gone)?;
    Ok(shown.borrow_and_update().clone())
}

/// The objects of all of Audera's names on the bus.
struct Live {
    connection: Connection,
    signals: BoxStream<'static, zbus::Result<Message>>,
    /// By name: who has it, as the bus numbers its clients, and its objects.
    services: BTreeMap<String, (String, Objects)>,
}

impl Live {
    /// Begins to listen.
    async fn begin(connection: &Connection) -> Result<Self, Failure> {
        let signal = || MatchRule::builder().msg_type(Type::Signal);
        let objects = signal().path_namespace(names::ROOT)?.build();
        let owners = signal()
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .arg0ns(names::AUDERA)?
            .build();
        // Before the first look, so that nothing is missed.
        let objects = MessageStream::for_match_rule(objects, connection, Some(INBOX)).await?;
        let owners = MessageStream::for_match_rule(owners, connection, Some(INBOX)).await?;
        let signals = select(objects, owners).boxed();
        let mut live = Live { connection: connection.clone(), signals, services: BTreeMap::new() };
        for service in services(connection).await? {
            live.read(&service).await?;
        }
        Ok(live)
    }

    fn view(&self) -> View {
        let house = House::new(self.services.iter().map(|(name, (_, objects))| (name.as_str(), objects)));
        View { house, auderad: self.services.contains_key(names::AUDERA) }
    }

    /// Waits until something may have changed. Not to be dropped before: what it has heard would be lost.
    async fn changed(&mut self) -> Result<(), Failure> {
        let gone = || Failure::Failed("the session bus is gone".to_owned());
        let message = self.signals.next().await.ok_or_else(gone)?;
        self.hear(&message?).await?;
        let end = Instant::now() + TOGETHER;
        while let Ok(message) = timeout_at(end, self.signals.next()).await {
            self.hear(&message.ok_or_else(gone)??).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, message: &Message) -> Result<(), Failure> {
        let header = message.header();
        let (Some(path), Some(member)) = (header.path(), header.member()) else { return Ok(()) };
        let body = message.body();
        if member.as_str() == "NameOwnerChanged" {
            if let Ok((name, _, new)) = body.deserialize::<(&str, &str, &str)>() {
                return self.owner_changed(name, !new.is_empty()).await;
            }
            return Ok(());
        }
        // Only who has a name of Audera's speaks for its objects.
        let sender = header.sender().map(|sender| sender.as_str()).unwrap_or_default();
        for (owner, objects) in self.services.values_mut() {
            if owner != sender {
                continue;
            }
            match member.as_str() {
                "PropertiesChanged" => {
                    if let Ok((interface, changed, _)) =
                        body.deserialize::<(&str, HashMap<&str, Value<'_>>, Vec<&str>)>()
                    {
                        objects.change(path.as_str(), interface, &changed);
                    }
                }
                "InterfacesAdded" => {
                    if let Ok((path, interfaces)) =
                        body.deserialize::<(ObjectPath<'_>, HashMap<&str, HashMap<&str, Value<'_>>>)>()
                    {
                        for (interface, values) in interfaces {
                            objects.add(path.as_str(), interface, properties(&values));
                        }
                    }
                }
                "InterfacesRemoved" => {
                    if let Ok((path, interfaces)) = body.deserialize::<(ObjectPath<'_>, Vec<&str>)>() {
                        for interface in interfaces {
                            objects.remove(path.as_str(), interface);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn owner_changed(&mut self, name: &str, there: bool) -> Result<(), Failure> {
        if there {
            return self.read(name).await;
        }
        self.services.remove(name);
        if name == names::AUDERA {
            let connection = self.connection.clone();
            // Its coming is told by the bus; while it does not come, it is asked for again.
            tokio::spawn(async move {
                while matches!(start(&connection).await, Err(Failure::NotStarting(_))) {
                    sleep(AGAIN).await;
                }
            });
        }
        Ok(())
    }

    /// Reads the objects of a name anew.
    async fn read(&mut self, service: &str) -> Result<(), Failure> {
        if !is_ours(service) {
            return Ok(());
        }
        let bus = zbus::fdo::DBusProxy::new(&self.connection).await?;
        let name = zbus::names::BusName::try_from(service.to_owned()).map_err(zbus::Error::from)?;
        // Whoever is gone meanwhile, or does not answer, has no objects; the others are to be seen all the same.
        let Ok(owner) = bus.get_name_owner(name).await else { return Ok(()) };
        if let Ok(objects) = managed_objects(&self.connection, service).await {
            self.services.insert(service.to_owned(), (owner.to_string(), objects));
        }
        Ok(())
    }
}

/// Has levels told for the next ten seconds. Who does not know how to, or has gone, has none.
pub async fn watch_levels(connection: &Connection, levels: &[Meter]) {
    let ask = |(service, path, interface): &Meter| {
        let (connection, service, path, interface) = (connection.clone(), service.clone(), path.clone(), *interface);
        async move {
            connection.call_method(Some(service.as_str()), path.as_str(), Some(interface), "WatchLevel", &()).await
        }
    };
    join_all(levels.iter().map(ask)).await.into_iter().for_each(drop);
}

/// All that is on the bus now.
///
/// # Errors
/// The bus does not answer.
pub async fn everything(connection: &Connection) -> Result<House, Failure> {
    let mut all = BTreeMap::new();
    for service in services(connection).await? {
        if let Ok(objects) = managed_objects(connection, &service).await {
            all.insert(service, objects);
        }
    }
    Ok(House::new(all.iter().map(|(name, objects)| (name.as_str(), objects))))
}

//! Whether Avahi can be talked to: the connection to the bus, made anew when it breaks, and the owner of Avahi's name on it.

use std::{io, time::Duration};

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};
use zbus::{
    Connection, MatchRule, MessageStream,
    connection::Builder,
    fdo::DBusProxy,
    message::Type,
    names::{BusName, OwnedUniqueName, UniqueName},
};

const AVAHI: &str = "org.freedesktop.Avahi";

/// How long connecting to the bus, or one call over a connection of our own, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Avahi is looked for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Bus {
    /// The system bus: `DBUS_SYSTEM_BUS_ADDRESS`, or the usual socket. The normal case.
    #[default]
    System,
    /// The bus at a D-Bus address such as `unix:path=/run/dbus/system_bus_socket`.
    Address(String),
    /// A connection which the caller has. It is not made anew when it closes.
    Connection(Connection),
}

impl Bus {
    /// Wait before a failed connection to the bus is tried again for the first time.
    pub const FIRST_RETRY: Duration = Duration::from_millis(500);
    /// Longest wait between two attempts.
    pub const LONGEST_RETRY: Duration = Duration::from_secs(30);

    async fn connect(&self) -> zbus::Result<Connection> {
        let builder = match self {
            Self::System => Builder::system()?,
            Self::Address(address) => Builder::address(address.as_str())?,
            Self::Connection(connection) => return Ok(connection.clone()),
        };
        match timeout(PATIENCE, builder.method_timeout(PATIENCE).build()).await {
            Ok(connection) => connection,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the bus does not answer").into()),
        }
    }

    fn is_given(&self) -> bool {
        matches!(self, Self::Connection(_))
    }
}

impl From<Connection> for Bus {
    fn from(connection: Connection) -> Self {
        Self::Connection(connection)
    }
}

/// One running avahi-daemon. Addressed by its unique name, so that a call can neither reach its successor nor start one.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub connection: Connection,
    pub owner: OwnedUniqueName,
}

/// What has become of Avahi.
#[derive(Debug)]
#[must_use]
pub(crate) enum Presence {
    Up(Daemon),
    Down,
    /// The connection given by the caller is closed: this will not change any more.
    Ended,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    owner_changes: MessageStream,
    /// The owner is to be asked for, because it is not known or was found wanting.
    ask: bool,
    owner: Option<OwnedUniqueName>,
}

/// Tells every change of Avahi's presence, one at a time.
#[derive(Debug)]
pub(crate) struct Watch {
    bus: Bus,
    link: Option<Link>,
    not_before: Option<Instant>,
    next_wait: Duration,
    told_down: bool,
}

impl Watch {
    pub fn new(bus: Bus) -> Self {
        Self { bus, link: None, not_before: None, next_wait: Bus::FIRST_RETRY, told_down: false }
    }

    /// The daemon answers as it should: the next wait is a short one again.
    pub fn is_well(&mut self) {
        self.next_wait = Bus::FIRST_RETRY;
    }

    /// The daemon is there but of no use: tells it `Up` again after a while.
    pub fn hold_off(&mut self) {
        self.not_before = Some(Instant::now() + self.next_wait);
        self.next_wait = (self.next_wait * 2).min(Bus::LONGEST_RETRY);
        if let Some(link) = &mut self.link {
            link.ask = true;
        }
    }

    /// Waits for the next change; the first call tells the present state. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Presence {
        loop {
            if let Some(at) = self.not_before {
                sleep_until(at).await;
                self.not_before = None;
            }
            let known = match &mut self.link {
                None => Err(None),
                Some(link) => link.next_owner().await.map_err(Some),
            };
            match known {
                Ok(Some(daemon)) => {
                    self.told_down = false;
                    return Presence::Up(daemon);
                }
                Ok(None) if self.told_down => {}
                Ok(None) => {
                    self.told_down = true;
                    return Presence::Down;
                }
                Err(None) => match Link::new(&self.bus).await {
                    Ok(link) => {
                        self.link = Some(link);
                        continue;
                    }
                    Err(error) => {
                        debug!(%error, wait = ?self.next_wait, "no connection to the bus");
                        self.hold_off();
                    }
                },
                Err(Some(error)) => {
                    warn!(%error, "the connection to the bus is lost");
                    self.link = None;
                    self.hold_off();
                }
            }
            if self.link.is_none() {
                if self.bus.is_given() {
                    return Presence::Ended;
                }
                if !self.told_down {
                    self.told_down = true;
                    return Presence::Down;
                }
            }
        }
    }
}

impl Link {
    async fn new(bus: &Bus) -> zbus::Result<Self> {
        let connection = bus.connect().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .path("/org/freedesktop/DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .add_arg(AVAHI)?
            .build();
        let owner_changes = MessageStream::for_match_rule(rule, &connection, None).await?;
        Ok(Self { connection, owner_changes, ask: true, owner: None })
    }

    /// The daemon that is there now (`None`: there is none), as soon as that differs from what was told last.
    async fn next_owner(&mut self) -> zbus::Result<Option<Daemon>> {
        if self.ask {
            self.owner = self.current_owner().await?;
            self.ask = false;
            match &self.owner {
                Some(owner) => debug!(%owner, "Avahi is on the bus"),
                None => info!("Avahi is not on the bus: waiting for it"),
            }
            return Ok(self.daemon());
        }
        loop {
            let Some(message) = self.owner_changes.next().await else {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            };
            let message = message?;
            let body = message.body();
            let (_, _, new): (BusName<'_>, &str, &str) = body.deserialize()?;
            let new = if new.is_empty() { None } else { Some(UniqueName::try_from(new)?) };
            match (&self.owner, new) {
                (None, None) => {}
                (Some(old), Some(new)) if *old == new => {}
                (None, Some(new)) => {
                    self.owner = Some(new.to_owned().into());
                    return Ok(self.daemon());
                }
                (Some(_), new) => {
                    info!("Avahi has left the bus");
                    self.owner = None;
                    // Handed from one daemon straight to another: the old one's end is told first.
                    self.ask = new.is_some();
                    return Ok(None);
                }
            }
        }
    }

    async fn current_owner(&self) -> zbus::Result<Option<OwnedUniqueName>> {
        let asked = DBusProxy::new(&self.connection).await?.get_name_owner(BusName::try_from(AVAHI)?).await;
        match asked {
            Ok(owner) => Ok(Some(owner)),
            Err(zbus::fdo::Error::NameHasNoOwner(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn daemon(&self) -> Option<Daemon> {
        let owner = self.owner.clone()?;
        Some(Daemon { connection: self.connection.clone(), owner })
    }
}

//! One announcement within one life of the daemon: an entry group, filled again whenever the host or the service is renamed.

use futures_util::StreamExt;
use tokio::{select, sync::watch};
use tracing::{debug, info};
use zbus::proxy::CacheProperties;

use crate::{
    Announcement, PublicationState, Txt,
    bus::{Daemon, Presence, Watch},
    proxy::{
        ANY_INTERFACE, ANY_PROTOCOL, EntryGroupProxy, ServerProxy,
        entry_group::{self, state as group_state},
        server::{self, state as server_state},
    },
};

/// Why an entry is over.
#[derive(Debug)]
#[must_use]
pub(crate) enum End {
    /// The publication was dropped or closed.
    Dropped,
    /// Avahi's presence has changed.
    Presence(Presence),
    /// Avahi refuses what is announced; it would do so again.
    Refused(String),
    /// A call has failed for a reason that may pass.
    Failed(zbus::Error),
}

pub(crate) struct Entry<'a> {
    announcement: &'a mut Announcement,
    txt: &'a mut watch::Receiver<Txt>,
    state: &'a watch::Sender<PublicationState>,
    server: ServerProxy<'static>,
    server_states: server::StateChangedStream,
    group: EntryGroupProxy<'static>,
    group_states: entry_group::StateChangedStream,
    /// The group holds the service. It does not while the daemon looks for a host name.
    filled: bool,
}

impl<'a> Entry<'a> {
    pub async fn new(
        daemon: &Daemon,
        announcement: &'a mut Announcement,
        txt: &'a mut watch::Receiver<Txt>,
        state: &'a watch::Sender<PublicationState>,
    ) -> zbus::Result<Self> {
        let server = ServerProxy::builder(&daemon.connection)
            .destination(daemon.owner.clone())?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let server_states = server.receive_state_changed().await?;
        // A group says nothing before its first commit: time enough to subscribe.
        let group = EntryGroupProxy::builder(&daemon.connection)
            .destination(daemon.owner.clone())?
            .path(server.entry_group_new().await?)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let group_states = group.receive_state_changed().await?;
        Ok(Self { announcement, txt, state, server, server_states, group, group_states, filled: false })
    }

    /// Goes on until there is a reason to stop.
    pub async fn run(&mut self, watch: &mut Watch) -> End {
        match self.go_on(watch).await {
            Ok(end) => end,
            Err(zbus::Error::MethodError(name, text, _)) if name.starts_with("org.freedesktop.Avahi.Invalid") => {
                End::Refused(text.unwrap_or_else(|| name.to_string()))
            }
            Err(error) => End::Failed(error),
        }
    }

    async fn go_on(&mut self, watch: &mut Watch) -> zbus::Result<End> {
        self.state.send_replace(PublicationState::Registering);
        if self.server.get_state().await? == server_state::RUNNING {
            self.fill().await?;
        }
        loop {
            select! {
                presence = watch.next() => return Ok(End::Presence(presence)),
                changed = self.txt.changed() => match changed {
                    Ok(()) => self.update_txt().await?,
                    Err(_) => return Ok(End::Dropped),
                },
                Some(signal) = self.server_states.next() => {
                    let args = signal.args()?;
                    self.server_is(args.state, args.error).await?;
                }
                Some(signal) = self.group_states.next() => {
                    let args = signal.args()?;
                    match args.state {
                        group_state::ESTABLISHED => {
                            watch.is_well();
                            info!(name = self.announcement.name, "announced");
                            let name = self.announcement.name.clone();
                            self.state.send_replace(PublicationState::Established { name });
                        }
                        // Of a group emptied since, the word is stale.
                        group_state::COLLISION if self.filled => {
                            self.empty().await?;
                            self.rename().await?;
                            self.fill().await?;
                        }
                        group_state::FAILURE => return Err(zbus::Error::Failure(args.error.to_owned())),
                        _ => {}
                    }
                }
            }
        }
    }

    async fn server_is(&mut self, state: i32, error: &str) -> zbus::Result<()> {
        match state {
            server_state::RUNNING if !self.filled => self.fill().await,
            // The records name the host, which is about to be called something else.
            server_state::REGISTERING | server_state::COLLISION if self.filled => self.empty().await,
            server_state::FAILURE => Err(zbus::Error::Failure(error.to_owned())),
            _ => Ok(()),
        }
    }

    /// Adds the service and commits, under the next free name if this host itself has one of that name already.
    async fn fill(&mut self) -> zbus::Result<()> {
        loop {
            match self.add().await {
                Err(zbus::Error::MethodError(name, ..)) if name == "org.freedesktop.Avahi.CollisionError" => {
                    self.group.reset().await?;
                    self.rename().await?;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.filled = true;
        self.group.commit().await
    }

    async fn add(&mut self) -> zbus::Result<()> {
        let txt = self.wire_txt()?;
        let Announcement { name, service_type, port, subtypes, .. } = &*self.announcement;
        let service_type = service_type.as_str();
        self.group.add_service(ANY_INTERFACE, ANY_PROTOCOL, 0, name, service_type, "", "", *port, &txt).await?;
        for label in subtypes {
            let subtype = self.announcement.full_subtype(label);
            self.group.add_service_subtype(ANY_INTERFACE, ANY_PROTOCOL, 0, name, service_type, "", &subtype).await?;
        }
        Ok(())
    }

    async fn empty(&mut self) -> zbus::Result<()> {
        self.filled = false;
        self.state.send_replace(PublicationState::Registering);
        self.group.reset().await
    }

    async fn rename(&mut self) -> zbus::Result<()> {
        let taken = &self.announcement.name;
        let free = self.server.get_alternative_service_name(taken).await?;
        info!(%taken, %free, "the name is taken, trying another");
        self.announcement.name = free;
        Ok(())
    }

    async fn update_txt(&mut self) -> zbus::Result<()> {
        if !self.filled {
            return Ok(());
        }
        let txt = self.wire_txt()?;
        let Announcement { name, service_type, .. } = &*self.announcement;
        self.group.update_service_txt(ANY_INTERFACE, ANY_PROTOCOL, 0, name, service_type.as_str(), "", &txt).await
    }

    /// The latest TXT record, checked when it was given.
    fn wire_txt(&mut self) -> zbus::Result<Vec<Vec<u8>>> {
        self.txt.borrow_and_update().to_wire().map_err(|error| zbus::Error::Failure(error.to_string()))
    }

    /// Withdraws the announcement.
    pub async fn free(self) {
        if let Err(error) = self.group.free().await {
            debug!(%error, "could not free the entry group");
        }
    }
}

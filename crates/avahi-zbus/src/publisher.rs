//! Announcements which stand for as long as they are held.

use tokio::{select, sync::watch, task::JoinHandle};
use tracing::warn;

use crate::{
    Announcement, Bus, Error, Txt,
    bus::{Presence, Watch},
    entry::{End, Entry},
};

/// Announces services through Avahi. Cheap to make and to clone.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    bus: Bus,
}

impl Publisher {
    /// A publisher on the system bus.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A publisher on another bus, or on a connection which the caller has.
    #[must_use]
    pub fn on(bus: impl Into<Bus>) -> Self {
        Self { bus: bus.into() }
    }

    /// Announces a service from now on, or from when Avahi appears, until the publication is dropped or closed.
    ///
    /// # Errors
    /// When the announcement could never be made: see the variants of [`Error`] about names, subtypes and TXT records.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn publish(&self, announcement: Announcement) -> Result<Publication, Error> {
        announcement.check()?;
        let (txt, wanted) = watch::channel(announcement.txt.clone());
        let (told, state) = watch::channel(PublicationState::Waiting);
        let task = tokio::spawn(run(Watch::new(self.bus.clone()), announcement, wanted, told));
        Ok(Publication { txt, state, task })
    }
}

/// How far an announcement has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicationState {
    /// Avahi or the bus is not there.
    Waiting,
    /// The network is being asked whether the name is free.
    Registering,
    /// The service is announced.
    Established {
        /// The instance name it has, which is another than was asked for if that was taken: `Kitchen #2`.
        name: String,
    },
    /// Avahi has refused it for good; nothing more will come.
    Refused {
        /// The instance name.
        name: String,
        /// Avahi's words.
        reason: String,
    },
    /// The connection given by the caller has closed; nothing more will come.
    Closed,
}

/// An announcement that stands. Dropping it withdraws it in the background; [`close`](Self::close) waits for that.
///
/// A name found taken is replaced by Avahi's next alternative, and that one is kept from then on, over Avahi's restarts too, so
/// that a service does not change its name back and forth.
#[derive(Debug)]
#[must_use = "a publication which is dropped is withdrawn"]
pub struct Publication {
    txt: watch::Sender<Txt>,
    state: watch::Receiver<PublicationState>,
    task: JoinHandle<()>,
}

impl Publication {
    /// How far it has got.
    #[must_use]
    pub fn state(&self) -> PublicationState {
        self.state.borrow().clone()
    }

    /// Waits until [`state`](Self::state) is other than when this was last asked, and returns it. After a final state it waits
    /// for ever. States which follow each other fast may be skipped, the last one never.
    pub async fn changed(&mut self) -> PublicationState {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.state.borrow_and_update().clone()
    }

    /// Waits until it is announced, and returns the name it has.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Closed`] when it never will be.
    pub async fn established(&self) -> Result<String, Error> {
        let mut states = self.state.clone();
        loop {
            match states.borrow_and_update().clone() {
                PublicationState::Established { name } => return Ok(name),
                PublicationState::Refused { name, reason } => {
                    return Err(Error::Refused { name, reason });
                }
                PublicationState::Closed => return Err(Error::Closed),
                PublicationState::Waiting | PublicationState::Registering => {}
            }
            if states.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    }

    /// Replaces the TXT record. The service stays announced; whoever has resolved it is told.
    ///
    /// # Errors
    /// When the record could not go on the wire; then the old one stands.
    pub fn update_txt(&self, txt: Txt) -> Result<(), Error> {
        txt.to_wire()?;
        self.txt.send_if_modified(|old| {
            let differs = *old != txt;
            *old = txt;
            differs
        });
        Ok(())
    }

    /// Withdraws the announcement and waits until Avahi has been told.
    pub async fn close(self) {
        drop(self.txt);
        if let Err(error) = self.task.await {
            warn!(%error, "the announcement's task has ended early");
        }
    }
}

/// Resolves once the publication is dropped.
async fn dropped(txt: &mut watch::Receiver<Txt>) {
    while txt.changed().await.is_ok() {}
}

async fn run(
    mut watch: Watch,
    mut announcement: Announcement,
    mut txt: watch::Receiver<Txt>,
    state: watch::Sender<PublicationState>,
) {
    let mut known = None;
    loop {
        let presence = match known.take() {
            Some(presence) => presence,
            None => select! {
                presence = watch.next() => presence,
                () = dropped(&mut txt) => return,
            },
        };
        let daemon = match presence {
            Presence::Up(daemon) => daemon,
            Presence::Down => {
                state.send_replace(PublicationState::Waiting);
                continue;
            }
            Presence::Ended => {
                state.send_replace(PublicationState::Closed);
                return;
            }
        };
        let end = match Entry::new(&daemon, &mut announcement, &mut txt, &state).await {
            Ok(mut entry) => {
                let end = entry.run(&mut watch).await;
                if !matches!(end, End::Presence(_)) {
                    entry.free().await;
                }
                end
            }
            Err(error) => End::Failed(error),
        };
        match end {
            End::Dropped => return,
            End::Presence(presence) => known = Some(presence),
            End::Refused(reason) => {
                warn!(name = announcement.name, reason, "Avahi refuses the announcement");
                state.send_replace(PublicationState::Refused { name: announcement.name, reason });
                return;
            }
            End::Failed(error) => {
                warn!(%error, name = announcement.name, "the announcement is interrupted, will try again");
                state.send_replace(PublicationState::Waiting);
                watch.hold_off();
            }
        }
    }
}

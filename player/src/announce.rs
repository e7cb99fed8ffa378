//! Announces the room with Avahi, and again when what is announced changes.

use audera_link::PeerId;
use audera_wire::{SERVICE_PLAYER, TXT_ACCESS, TXT_GROUPS, TXT_ID, TXT_VERSION, groups_to_txt};
use avahi_zbus::{Announcement, Error, Publication, Publisher, ServiceType, Txt};

use crate::config::Config;

/// The announcement of the room; withdrawn when dropped.
#[derive(Debug)]
pub struct Announced {
    publication: Publication,
    name: String,
    port: u16,
    id: PeerId,
}

impl Announced {
    /// Announces the room of `config` at `port`.
    ///
    /// # Errors
    /// The name or the TXT record cannot be announced. That Avahi is not there is no error: it is waited for.
    pub fn new(config: &Config, id: PeerId, port: u16) -> Result<Self, Error> {
        let name = config.name.as_str().to_owned();
        let announcement =
            Announcement::new(name.clone(), ServiceType::new(SERVICE_PLAYER)?, port).txt(txt(config, &id));
        let publication = Publisher::new().publish(announcement)?;
        Ok(Announced { publication, name, port, id })
    }

    /// Brings the announcement in line with a new configuration.
    ///
    /// # Errors
    /// As [`Announced::new`].
    pub async fn update(self, config: &Config) -> Result<Self, Error> {
        if self.name == config.name.as_str() {
            self.publication.update_txt(txt(config, &self.id))?;
            return Ok(self);
        }
        let Announced { publication, port, id, .. } = self;
        publication.close().await;
        Announced::new(config, id, port)
    }

    /// Withdraws the announcement, so that senders see at once that the room has gone.
    pub async fn close(self) {
        self.publication.close().await;
    }
}

fn txt(config: &Config, id: &PeerId) -> Txt {
    let groups: Vec<&str> = config.groups.iter().map(|group| group.as_str()).collect();
    Txt::new()
        .with(TXT_VERSION, "1")
        .with(TXT_ID, id.to_string())
        .with(TXT_GROUPS, groups_to_txt(&groups))
        .with(TXT_ACCESS, config.access.as_str())
}

//! Announces the room with Avahi, and again when what is announced changes.

use std::convert::Infallible;
use std::time::Duration;

use audera_link::PeerId;
use audera_wire::{SERVICE_PLAYER, TXT_ACCESS, TXT_GROUPS, TXT_ID, TXT_VERSION, groups_to_txt};
use avahi_zbus::{Announcement, Error, Publication, PublicationState, Publisher, ServiceType, Txt};

use crate::config::Config;

/// Avahi is told of the end within this time, or finds out by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

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

    /// The name that is announced, as far as it goes by us.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
        withdraw(publication).await;
        Announced::new(config, id, port)
    }

    /// Tells in the log when the room is announced by another name than it was given, for as long as it is awaited.
    pub async fn mind_name(&mut self) -> Infallible {
        loop {
            if let PublicationState::Established { name } = self.publication.changed().await {
                match warning(&self.name, &name) {
                    Some(warning) => tracing::warn!("{warning}"),
                    None => tracing::debug!(%name, "announced"),
                }
            }
        }
    }

    /// Withdraws the announcement, so that senders see at once that the room has gone.
    pub async fn close(self) {
        withdraw(self.publication).await;
    }
}

async fn withdraw(publication: Publication) {
    if tokio::time::timeout(CLOSE_LIMIT, publication.close()).await.is_err() {
        tracing::debug!("Avahi does not answer: the announcement ends with the connection to it");
    }
}

/// What is to be said when `wanted` was to be announced and `announced` is.
fn warning(wanted: &str, announced: &str) -> Option<String> {
    (announced != wanted).then(|| {
        format!(
            "the name \"{wanted}\" is taken by another player on this network, and senders see this one as \"{announced}\"; give one of \
             the two another name (name = \"...\" in the configuration, or --name)"
        )
    })
}

fn txt(config: &Config, id: &PeerId) -> Txt {
    let groups: Vec<&str> = config.groups.iter().map(|group| group.as_str()).collect();
    Txt::new()
        .with(TXT_VERSION, "1")
        .with(TXT_ID, id.to_string())
        .with(TXT_GROUPS, groups_to_txt(&groups))
        .with(TXT_ACCESS, config.access.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_told_with_the_way_out() {
        let text = warning("Kitchen", "Kitchen #2").unwrap();
        assert!(
            text.contains("\"Kitchen\" is taken") && text.contains("\"Kitchen #2\"") && text.contains("--name"),
            "{text}"
        );
        assert_eq!(warning("Kitchen", "Kitchen"), None);
    }
}

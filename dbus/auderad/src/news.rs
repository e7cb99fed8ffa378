//! What the network thread tells, on its way to the main loop. Of each room only the newest waits, however slow the main loop is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use audera_sender::{HubEvent, Mailbox, PlayerKey};
use audera_wire::PlayerStatus;
use tokio::sync::Notify;

/// Between the network thread and the main loop. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct News {
    events: Mailbox,
    statuses: Arc<Mutex<BTreeMap<PlayerKey, PlayerStatus>>>,
    rung: Arc<Notify>,
}

impl News {
    /// The hub tells something.
    pub fn tell(&self, event: HubEvent) {
        self.events.post(event);
        self.rung.notify_one();
    }

    /// A room tells how it fares.
    pub fn tell_status(&self, key: &PlayerKey, status: PlayerStatus) {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), status);
        self.rung.notify_one();
    }

    /// Waits until there is something.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Takes all there is. A status belongs to what is known once the events were heard.
    pub fn take(&self) -> (VecDeque<HubEvent>, BTreeMap<PlayerKey, PlayerStatus>) {
        // In this order: a room whose status is there has been told of before.
        let statuses = std::mem::take(&mut *self.statuses.lock().unwrap_or_else(PoisonError::into_inner));
        (self.events.take(), statuses)
    }
}

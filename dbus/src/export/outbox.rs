//! Messages on their way out, written by a task of their own: nobody else waits for the bus, and no message is ever cut short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use zbus::{Connection, Message};

/// With so many messages on their way nothing is taken in that would make more.
const ENOUGH: usize = 64;

/// The way out. What is in it is bounded by who fills it: see [`Outbox::has_room`].
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    messages: UnboundedSender<Message>,
    level: Arc<Level>,
}

#[derive(Debug, Default)]
struct Level {
    waiting: AtomicUsize,
    /// Rung when there is room again.
    room: Notify,
}

impl Outbox {
    /// Begins to write to a connection, until it fails or the outbox is gone.
    pub(super) fn new(connection: Connection) -> Self {
        let (messages, mut inbox) = unbounded_channel();
        let level = Arc::new(Level::default());
        let outbox = Outbox { messages, level: level.clone() };
        tokio::spawn(async move {
            while let Some(message) = inbox.recv().await {
                if let Err(error) = connection.send(&message).await {
                    // A broken connection shows where it is read from.
                    tracing::debug!("a message cannot be sent: {error}");
                }
                if level.waiting.fetch_sub(1, Ordering::AcqRel) <= ENOUGH {
                    level.room.notify_one();
                }
            }
        });
        outbox
    }

    /// Sends a message, in its turn.
    pub(super) fn send(&self, message: Message) {
        self.level.waiting.fetch_add(1, Ordering::AcqRel);
        // Its reader lives as long as there is an outbox.
        let _ = self.messages.send(message);
    }

    /// Waits until little is on its way.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.level.room.notified().await;
        }
    }

    /// Whether little is on its way.
    pub(super) fn has_room(&self) -> bool {
        self.level.waiting.load(Ordering::Acquire) < ENOUGH
    }
}

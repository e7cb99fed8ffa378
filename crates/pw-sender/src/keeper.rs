//! A small file of state, written beside all loops: what was given last is in it, whole or not at all.

use audera_link::StateFile;
use audera_sender::Hub;
use tokio::sync::watch;

/// Keeps a file up to date. What was given before it is dropped is written while the hub says its farewells.
#[derive(Debug)]
pub struct Keeper(watch::Sender<Vec<u8>>);

impl Keeper {
    /// Of this file; it is not touched before something is given.
    #[must_use]
    pub fn start(hub: &Hub, file: StateFile) -> Self {
        let (keep, mut kept) = watch::channel(Vec::new());
        hub.run(move |_identity| async move {
            // What has not been seen is given before the end is.
            while kept.changed().await.is_ok() {
                let (file, bytes) = (file.clone(), kept.borrow_and_update().clone());
                let written = tokio::task::spawn_blocking(move || file.replace(&bytes)).await;
                if let Ok(Err(error)) = written {
                    tracing::warn!("what was chosen is forgotten with the next restart: {error}");
                }
            }
        });
        Keeper(keep)
    }

    /// Has this be the content of the file.
    pub fn keep(&self, bytes: Vec<u8>) {
        self.0.send_replace(bytes);
    }
}

//! The state that belongs to the room: who may change it, who is told of it, and that it is kept. Not what plays.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audera_wire::{RoomChange, RoomRefusal, RoomState};
use tokio::sync::watch;
use tokio::time::timeout;

use super::keep::Keeper;
use super::store::{self, RoomStore};
use crate::config::Config;
use crate::connection::Connection;
use crate::level::Level;

/// A disk that takes longer to write at the end is left to the system.
const DISK_LIMIT: Duration = Duration::from_secs(5);

/// The state of the room, its peers and its file.
pub(super) struct Settings {
    store: RefCell<RoomStore>,
    /// The part of the state that the audio thread applies.
    level: Arc<Level>,
    /// All peers: they are told the state.
    peers: RefCell<Vec<Rc<Connection>>>,
    /// Name and groups, for those who announce them.
    announced: watch::Sender<(String, Vec<String>)>,
    keeper: Keeper,
    /// The player is on its way out: what was accepted is kept, and nothing more is accepted.
    closing: Cell<bool>,
}

impl Settings {
    pub(super) fn new(store: RoomStore, level: Arc<Level>) -> Self {
        level.set(store.state());
        let file = store.file().to_owned();
        let keeper = Keeper::new(move |text| store::keep(&file, text));
        if store.is_to_be_kept() {
            keeper.changed();
        }
        Settings {
            announced: watch::channel(announced_of(store.state())).0,
            keeper,
            store: RefCell::new(store),
            level,
            peers: RefCell::default(),
            closing: Cell::new(false),
        }
    }

    /// The state in force.
    pub(super) fn state(&self) -> Arc<RoomState> {
        self.store.borrow().state().clone()
    }

    /// A peer has come: it is told the state, now and whenever it changes.
    pub(super) fn joined(&self, connection: &Rc<Connection>) {
        self.peers.borrow_mut().push(connection.clone());
        self.tell(connection);
    }

    /// A peer has gone.
    pub(super) fn gone(&self, connection: &Rc<Connection>) {
        self.peers.borrow_mut().retain(|peer| !Rc::ptr_eq(peer, connection));
    }

    /// A peer wants the state changed; whether it has changed.
    pub(super) fn set(&self, connection: &Rc<Connection>, number: u32, change: &RoomChange) -> bool {
        match self.accept(change) {
            Ok(changes) => {
                tracing::debug!(sender = %connection.name.borrow(), ?change, "sets the room");
                connection.speak(|session| session.changed(number));
                if changes {
                    self.changed();
                }
                changes
            }
            Err(refusal) => {
                tracing::debug!(sender = %connection.name.borrow(), "refused: {refusal}");
                connection.speak(|session| session.not_changed(number, refusal));
                false
            }
        }
    }

    /// Somebody on this machine wants the state changed; whether it has changed.
    pub(super) fn change(&self, change: &RoomChange) -> Result<bool, RoomRefusal> {
        let changes = self.accept(change)?;
        if changes {
            self.changed();
        }
        Ok(changes)
    }

    fn accept(&self, change: &RoomChange) -> Result<bool, RoomRefusal> {
        match self.closing.get() {
            true => Err(RoomRefusal::of_all(change, "nothing now: the player is shutting down")),
            false => self.store.borrow_mut().set(change),
        }
    }

    /// Takes a new configuration; whether the state has changed.
    pub(super) fn reconfigure(&self, config: &Config) -> bool {
        let before = self.store.borrow().to_keep();
        let changes = self.store.borrow_mut().reconfigure(config);
        if changes {
            self.changed();
        } else if self.store.borrow().to_keep() != before {
            // The same is in force for another reason, which a later start must know.
            self.keeper.changed();
        }
        changes
    }

    /// Brings everything in line with the state that has changed.
    fn changed(&self) {
        let state = self.state();
        self.level.set(&state);
        self.announced.send_if_modified(|before| {
            let now = announced_of(&state);
            *before != now && {
                *before = now;
                true
            }
        });
        self.keeper.changed();
        for peer in self.peers.borrow().iter() {
            self.tell(peer);
        }
    }

    fn tell(&self, connection: &Connection) {
        let store = self.store.borrow();
        connection.speak(|session| session.room(store.revision(), store.state().clone()));
    }

    /// Name and groups as they are to be announced, and each time that they have changed.
    pub(super) fn announced(&self) -> watch::Receiver<(String, Vec<String>)> {
        self.announced.subscribe()
    }

    /// Keeps the state, for as long as the player runs.
    pub(super) async fn keep(&self) {
        let file = self.store.borrow().file().to_owned();
        self.keeper.run(&file, || self.store.borrow().to_keep()).await;
    }

    /// Accepts nothing more, and has what was accepted last on the disk when it returns.
    pub(super) async fn close(&self) {
        self.closing.set(true);
        let kept = timeout(DISK_LIMIT, self.keeper.keep(|| self.store.borrow().to_keep())).await;
        let error = match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the disk has not taken it for {} s", DISK_LIMIT.as_secs()),
        };
        tracing::error!("what was set last is lost: the state of the room cannot be written: {error}");
    }
}

/// What is announced of a state.
fn announced_of(state: &RoomState) -> (String, Vec<String>) {
    (state.name.clone(), state.groups.clone())
}

#[cfg(test)]
mod tests {
    use audera_wire::Volume;

    use super::super::store::tests::Home;
    use super::*;

    #[tokio::test]
    async fn what_a_reload_changes_in_the_reasons_alone_is_kept_as_well() {
        let home = Home::new();
        let store = home.start("volume = 60");
        let level = Level::new(store.state());
        let settings = Settings::new(store, level);
        settings.change(&RoomChange::volume(20.0)).unwrap();
        settings.keeper.keep(|| settings.store.borrow().to_keep()).await.unwrap();
        assert!(!settings.reconfigure(&home.config("")), "it is left where it was");
        settings.close().await;
        // The line that was taken out and is back has been edited last, as it would by a reload.
        assert_eq!(home.start("volume = 60").state().volume, Volume::nearest(60.0));
    }
}

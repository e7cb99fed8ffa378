//! The network thread of this process and what it has told: one for all PCMs and mixers, or of each folder of state, which is an identity.
//!
//! What any of them looks for, all of them see. It starts with the first of them and ends with the last. A process that was forked off has none of its parent's threads: what
//! it opens itself gets a network thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{process, ptr};

use audera_alsa_plugin::{Errno, OpenError};
use audera_sender::{Hub, HubConfig, HubError, HubEvent, PlayerInfo, PlayerKey, RoomState, spelled};

use crate::options::Network;
use crate::{listing, log};

/// Program and version, as players are told.
pub(crate) const SOFTWARE: &str = concat!("audera-alsa ", env!("CARGO_PKG_VERSION"));

/// What other hosts are told is playing, or recording: the program.
pub(crate) fn program() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "ALSA".to_owned() } else { name.to_owned() }
}

/// A running network thread and what is known through it.
#[derive(Debug)]
pub(crate) struct House {
    /// Rooms are looked for from the first time on that somebody asks for them.
    seeks: Once,
    state_dir: PathBuf,
    /// The addresses that the definitions of PCMs and mixers have.
    players: Mutex<BTreeSet<String>>,
    // Joined before what its events go to is freed.
    hub: Hub,
    shared: Arc<Shared>,
}

/// What the network thread writes to.
#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    listeners: Mutex<Vec<(u64, Listener)>>,
}

/// Is told everything, on the network thread, and of its end with `None`. Must not wait, and not subscribe or unsubscribe.
pub(crate) type Listener = Box<dyn FnMut(Option<&HubEvent>) + Send>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// What is known of the rooms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The players.
    pub(crate) players: BTreeMap<PlayerKey, PlayerInfo>,
    /// The state of the rooms that are connected, as last told, and whether all that was asked for is in it.
    pub(crate) rooms: BTreeMap<PlayerKey, (RoomState, bool)>,
    /// What the user has to be told, as last heard.
    pub(crate) trouble: Option<String>,
    /// The addresses that the user has added.
    pub(crate) added: Vec<String>,
    /// When a player appeared or changed last; `None` before the first.
    pub(crate) changed: Option<Instant>,
}

impl House {
    /// The house of this network's folder of state: the one there is in this process, or a new one. The network's rooms are looked for, from
    /// now on by all.
    ///
    /// # Errors
    /// When the network thread cannot start, with what to do about it.
    pub(crate) fn enter(network: &Network) -> Result<Arc<House>, OpenError> {
        let house = Self::enter_quietly(network)?;
        house.seek(network);
        Ok(house)
    }

    /// The same, for those who have nothing to do with rooms: all of them would be connected to.
    ///
    /// # Errors
    /// As those.
    pub(crate) fn enter_quietly(network: &Network) -> Result<Arc<House>, OpenError> {
        let mut houses = lock(&registry().houses);
        // One whose network thread has ended is of no use to whoever comes.
        houses.retain(|(_, house)| house.upgrade().is_some_and(|house| !house.hub.has_ended()));
        let known = houses.iter().find(|(known, _)| *known == network.state_dir);
        if let Some(house) = known.and_then(|(_, house)| house.upgrade()) {
            return Ok(house);
        }
        let house = Arc::new(House::start(network)?);
        houses.push((network.state_dir.clone(), Arc::downgrade(&house)));
        Ok(house)
    }

    fn start(network: &Network) -> Result<House, OpenError> {
        let config = HubConfig {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            software: SOFTWARE.to_owned(),
            state_dir: network.state_dir.clone(),
            discover: false,
            players: Vec::new(),
            listen: None,
        };
        let shared = Arc::new(Shared::default());
        let tell = {
            // Dropped with the network thread.
            let news = News(shared.clone());
            move |event| news.0.hear(&event)
        };
        let hub = audera_alsa_plugin::guest::with_signals_blocked(|| Hub::start(config, log::dispatch(), tell));
        let hub = hub.map_err(|error| match error {
            HubError::Identity(_) | HubError::Trust(_) => OpenError::refused(
                Errno::PERM,
                format!("{error}: give the option \"state_dir\" a folder whose files can be used"),
            ),
            other => OpenError::refused(Errno::IO, other.to_string()),
        })?;
        let (state_dir, players) = (network.state_dir.clone(), Mutex::default());
        Ok(House { seeks: Once::new(), state_dir, players, hub, shared })
    }

    fn seek(&self, network: &Network) {
        self.seeks.call_once(|| {
            let shared = self.shared.clone();
            self.hub.follow(move |said| {
                let mut seen = lock(&shared.seen);
                seen.added.clone_from(&said.addresses);
                // The file can be read, whatever was wrong with it before.
                seen.trouble = None;
                drop(seen);
                shared.changed.notify_all();
            });
        });
        if network.discover {
            self.hub.discover();
        }
        let mut players = lock(&self.players);
        for player in network.players.iter().map(|player| spelled(player)) {
            // Once, and for as long as this lasts.
            if !players.contains(&player) {
                self.hub.add_player(&player);
                players.insert(player);
            }
        }
    }

    /// The connections to the rooms.
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Keeps track of the player at an address for as long as what this returns is kept.
    pub(crate) fn visit(self: &Arc<House>, address: &str) -> Visit {
        self.hub.add_player(address);
        Visit { house: self.clone(), address: address.to_owned() }
    }

    /// Looks at what is known.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&lock(&self.shared.seen))
    }

    /// Looks whenever something has changed, and every `pause` at least, until there is something to show or time is up.
    pub(crate) fn wait<T>(
        &self,
        until: Instant,
        pause: Duration,
        mut look: impl FnMut(&Seen) -> Option<T>,
    ) -> Option<T> {
        let mut seen = lock(&self.shared.seen);
        loop {
            if let Some(found) = look(&seen) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            let waited = self.shared.changed.wait_timeout(seen, left.min(pause));
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has a listener told of every event, until what this returns is dropped.
    pub(crate) fn subscribe(&self, listener: Listener) -> Subscription {
        let mut listeners = lock(&self.shared.listeners);
        let number = listeners.last().map_or(0, |(last, _)| last + 1);
        listeners.push((number, listener));
        Subscription { number, shared: self.shared.clone() }
    }
}

impl Drop for House {
    /// On the thread of the application that leaves last: files are not for the network thread.
    fn drop(&mut self) {
        let seen = lock(&self.shared.seen).clone();
        listing::note(&self.state_dir, &seen);
    }
}

impl Shared {
    fn hear(&self, event: &HubEvent) {
        let mut seen = lock(&self.seen);
        match event {
            HubEvent::Player(player) => {
                seen.players.insert(player.key.clone(), player.clone());
                seen.changed = Some(Instant::now());
            }
            HubEvent::Forgotten(key) => {
                seen.players.remove(key);
                seen.rooms.remove(key);
                seen.changed = Some(Instant::now());
            }
            HubEvent::Room { key, state, settled } => {
                seen.rooms.insert(key.clone(), (state.clone(), *settled));
            }
            HubEvent::Trouble(trouble) => {
                tracing::error!("{trouble}");
                seen.trouble = Some(trouble.clone());
            }
            HubEvent::NotSet { key, why } => tracing::warn!("{key} stays as it is: {why}"),
            // A new name comes as another player, and the old one is forgotten; what is open follows by a listener of its own.
            HubEvent::Stream(_) | HubEvent::Renamed { .. } => {}
        }
        drop(seen);
        self.changed.notify_all();
        for (_, listener) in lock(&self.listeners).iter_mut() {
            listener(Some(event));
        }
    }
}

/// What the network thread tells goes through this.
struct News(Arc<Shared>);

impl Drop for News {
    /// On the network thread, at its end.
    fn drop(&mut self) {
        lock(&self.0.listeners).iter_mut().for_each(|(_, listener)| listener(None));
    }
}

/// Somebody needs the player at an address. It is forgotten with the last visit, unless the configuration or the user has it as well.
#[derive(Debug)]
#[must_use]
pub(crate) struct Visit {
    house: Arc<House>,
    address: String,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.house.hub.remove_player(&self.address);
    }
}

/// Keeps a listener told.
#[derive(Debug)]
#[must_use]
pub(crate) struct Subscription {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.shared.listeners).retain(|(number, _)| *number != self.number);
    }
}

/// The houses of one process.
struct Registry {
    process: u32,
    houses: Mutex<Vec<(PathBuf, Weak<House>)>>,
}

/// That of this process. A child's is another: its parent may have held the lock when it was forked off.
fn registry() -> &'static Registry {
    static CURRENT: AtomicPtr<Registry> = AtomicPtr::new(ptr::null_mut());
    loop {
        let current = CURRENT.load(Ordering::Acquire);
        // SAFETY: null, or a registry that was leaked below and so is never freed.
        if let Some(registry) = unsafe { current.as_ref() }.filter(|registry| registry.process == process::id()) {
            return registry;
        }
        let ours = Box::into_raw(Box::new(Registry { process: process::id(), houses: Mutex::default() }));
        if CURRENT.compare_exchange(current, ours, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: just made, and nobody has seen it.
            drop(unsafe { Box::from_raw(ours) });
        }
    }
}

/// What a panic has left behind is a map or a list: whole, at worst without its last entry.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The sinks there are: one for each room that is there, and one for all; each outlives short absences.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use audera_pw::{Core, Error, ModuleHost, NodeVolume, Timer, Topic};
use audera_pw_sender::{Hosted, SOFTWARE, host_name};
use audera_sender::{
    EVERYWHERE, Fader, GroupState, HubConfig, HubEvent, PlayerInfo, PlayerKey, Reach, RoomState, Target,
};

use crate::arguments::Arguments;
use crate::sink::Sink;
use crate::volume::wanted;

/// How long a sink stays when its room has gone and nothing plays to it.
const LINGER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After somebody has moved a sink's volume, it is left alone for so long: what the room says meanwhile is older than where the hand is.
const HAND: Duration = Duration::from_millis(120);

/// All sinks of the module. Dropping it takes them away and joins the network thread.
pub(crate) struct Sinks {
    _inner: Rc<RefCell<Inner>>,
}

struct Inner {
    arguments: Arguments,
    log: &'static Topic,
    /// Sinks go before the hub that serves them.
    sinks: BTreeMap<For, Shown>,
    /// Why a sink cannot be made, as last told: it is tried every second.
    troubles: BTreeMap<For, String>,
    players: BTreeMap<PlayerKey, PlayerInfo>,
    /// The state of the rooms, as far as it is known.
    rooms: BTreeMap<PlayerKey, RoomState>,
    hosted: Option<Hosted>,
    timer: Option<Timer>,
    /// Rings when the hand has left a volume.
    hand: Option<Timer>,
    /// For the handlers of the sinks.
    this: Weak<RefCell<Inner>>,
    core: Core,
}

/// What a sink is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Player(PlayerKey),
    Everywhere,
}

struct Shown {
    sink: Sink,
    node_name: String,
    /// Since when nobody has needed it.
    idle_since: Option<Instant>,
    /// When somebody has moved its volume last.
    moved: Cell<Option<Instant>>,
    fader: RefCell<Fader<PlayerKey>>,
}

impl Sinks {
    /// Connects to the graph and starts to look for players.
    pub(crate) fn new(host: &ModuleHost, arguments: Arguments) -> Result<Self, Error> {
        let core = host.core(|_| {})?;
        let config = HubConfig {
            name: host_name(),
            software: SOFTWARE.to_owned(),
            state_dir: arguments.sender.state_dir.clone(),
            discover: arguments.discover,
            players: arguments.sender.players.clone(),
            listen: None,
        };
        let inner = Rc::new(RefCell::new(Inner {
            arguments,
            log: host.log(),
            sinks: BTreeMap::new(),
            troubles: BTreeMap::new(),
            players: BTreeMap::new(),
            rooms: BTreeMap::new(),
            hosted: None,
            timer: None,
            hand: None,
            this: Weak::new(),
            core,
        }));
        inner.borrow_mut().this = Rc::downgrade(&inner);
        let with_inner = |act: fn(&mut Inner)| {
            let weak = Rc::downgrade(&inner);
            move || on(&weak, act)
        };
        let timer = host.main_loop().timer(with_inner(Inner::look_again))?;
        timer.arm_every(LOOK_AGAIN)?;
        let hand = host.main_loop().timer(with_inner(Inner::show_volumes))?;
        let weak = Rc::downgrade(&inner);
        let hosted = Hosted::start(host, config, move |event| on(&weak, |inner| inner.heard(event)))?;
        {
            let mut inner = inner.borrow_mut();
            inner.timer = Some(timer);
            inner.hand = Some(hand);
            inner.hosted = Some(hosted);
        }
        Ok(Sinks { _inner: inner })
    }
}

fn on(inner: &Weak<RefCell<Inner>>, act: impl FnOnce(&mut Inner)) {
    if let Some(inner) = inner.upgrade() {
        act(&mut inner.borrow_mut());
    }
}

impl Inner {
    fn heard(&mut self, event: HubEvent) {
        match event {
            HubEvent::Player(player) => {
                self.players.insert(player.key.clone(), player);
                self.match_sinks();
            }
            HubEvent::Forgotten(key) => {
                self.players.remove(&key);
                self.rooms.remove(&key);
                self.match_sinks();
            }
            HubEvent::Stream(status) => {
                let shown = self.sinks.values().find(|shown| shown.sink.key() == status.key);
                if let Some((shown, Err(error))) = shown.map(|shown| (shown, shown.sink.show(&status))) {
                    self.log.debug(format_args!("the state of {} cannot be shown: {error}", shown.sink.description));
                }
            }
            HubEvent::Room { key, state, settled } => {
                // One that is not settled is older than what was asked for, which is taken as the state meanwhile.
                if settled || !self.rooms.contains_key(&key) {
                    self.rooms.insert(key, state);
                    self.show_volumes();
                }
            }
            HubEvent::Trouble(trouble) => self.log.error(trouble),
        }
    }

    /// Makes the sinks that are missing; marks those nobody needs.
    fn match_sinks(&mut self) {
        let there: Vec<PlayerInfo> = self.players.values().filter(|player| is_there(player)).cloned().collect();
        for player in &there {
            self.want(For::Player(player.key.clone()), &player.room, Target::Player(player.key.clone()));
        }
        if there.len() >= 2 {
            self.want(For::Everywhere, EVERYWHERE, Target::Everywhere);
        }
        let is_needed = |purpose: &For| match purpose {
            For::Player(key) => there.iter().any(|player| player.key == *key),
            For::Everywhere => there.len() >= 2,
        };
        self.troubles.retain(|purpose, _| is_needed(purpose));
        for (purpose, shown) in &mut self.sinks {
            if is_needed(purpose) || shown.sink.is_playing() {
                shown.idle_since = None;
            } else if shown.idle_since.is_none() {
                shown.idle_since = Some(Instant::now());
            }
        }
    }

    /// The rooms of a sink whose state is known.
    fn rooms_of(&self, purpose: &For) -> BTreeMap<PlayerKey, RoomState> {
        let there = |key: &PlayerKey| self.players.get(key).is_some_and(is_there);
        let of = |key: &PlayerKey| match purpose {
            For::Player(player) => player == key,
            For::Everywhere => there(key),
        };
        self.rooms.iter().filter(|(key, _)| of(key)).map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    /// Shows the volumes of the rooms at their sinks, but for those that are being moved.
    fn show_volumes(&mut self) {
        for (purpose, shown) in &self.sinks {
            let Some(volume) = GroupState::of(self.rooms_of(purpose).values()) else { continue };
            if shown.moved.get().is_some_and(|moved| moved.elapsed() < HAND) {
                continue;
            }
            shown.moved.set(None);
            shown.fader.borrow_mut().release();
            if let Err(error) = shown.sink.show_volume(volume) {
                self.log.debug(format_args!("the volume of {} cannot be shown: {error}", shown.sink.description));
            }
        }
    }

    /// Somebody has set the volume of a sink's node.
    fn volume_set(&mut self, purpose: &For, set: &NodeVolume) {
        let rooms = self.rooms_of(purpose);
        let (Some(shown), Some(hosted)) = (self.sinks.get(purpose), &self.hosted) else { return };
        // What comes before the room is known, or before its volume was shown, is nobody's wish for this room.
        if *set == NodeVolume::default() || shown.sink.shown().is_none() {
            return self.show_volumes();
        }
        shown.moved.set(Some(Instant::now()));
        let changes = shown.fader.borrow_mut().set(&rooms, wanted(set), set.mute);
        for (key, change) in changes {
            if let Some(Ok(state)) = self.rooms.get(&key).map(|room| room.changed(&change)) {
                self.rooms.insert(key.clone(), state);
                hosted.hub.set(key, change);
            }
        }
        // Once the hand has left it: limits, balances, and what others have done meanwhile.
        let armed = self.hand.as_ref().map(|hand| hand.arm(HAND + Duration::from_millis(5)));
        if let Some(Err(error)) = armed {
            self.log.warn(format_args!("a volume may be shown late: {error}"));
        }
    }

    fn want(&mut self, purpose: For, room: &str, target: Target) {
        let description = self.arguments.description(room);
        if let Some(shown) = self.sinks.get(&purpose) {
            if shown.sink.description == description || shown.sink.is_playing() {
                return;
            }
            // A player at a fixed address has another name now.
            self.sinks.remove(&purpose);
        }
        let Some(hosted) = &self.hosted else { return };
        let node_name = self.node_name(room);
        let volume_set = {
            let (inner, purpose) = (self.this.clone(), purpose.clone());
            move |set: &NodeVolume| on(&inner, |inner| inner.volume_set(&purpose, set))
        };
        match Sink::new(&self.core, &hosted.hub, &self.arguments, &node_name, room, target, volume_set) {
            Ok(sink) => {
                self.log.info(format_args!("\"{description}\" appears"));
                self.troubles.remove(&purpose);
                let shown =
                    Shown { sink, node_name, idle_since: None, moved: Cell::default(), fader: RefCell::default() };
                self.sinks.insert(purpose, shown);
                self.show_volumes();
            }
            Err(error) => {
                let trouble = format!("no sink for \"{description}\": {error}");
                if self.troubles.get(&purpose) != Some(&trouble) {
                    self.log.error(&trouble);
                    self.troubles.insert(purpose, trouble);
                }
            }
        }
    }

    /// The room's name in the graph. Only rooms of one and the same name, at fixed addresses, are told apart by their order.
    fn node_name(&self, room: &str) -> String {
        let base = stable_name(room);
        let taken = |name: &str| self.sinks.values().any(|shown| shown.node_name == name);
        if !taken(&base) {
            return base;
        }
        (2..).map(|count| format!("{base}-{count}")).find(|name| !taken(name)).unwrap_or(base)
    }

    /// Takes away the sinks that nobody has needed for long.
    fn look_again(&mut self) {
        self.match_sinks();
        let log = self.log;
        let mut gone = Vec::new();
        self.sinks.retain(|purpose, shown| {
            let stays = shown.idle_since.is_none_or(|since| since.elapsed() < LINGER);
            if !stays {
                log.info(format_args!("\"{}\" goes", shown.sink.description));
                gone.push(purpose.clone());
            }
            stays
        });
        if let Some(hosted) = &self.hosted {
            for purpose in gone {
                if let For::Player(key) = purpose {
                    hosted.hub.forget(key);
                }
            }
        }
    }
}

/// Whether a player should have a sink. One at a fixed address is nameless until it has been reached.
fn is_there(player: &PlayerInfo) -> bool {
    match player.key {
        PlayerKey::Discovered(_) => player.is_present(),
        PlayerKey::Address(_) | PlayerKey::Caller(..) => player.reach == Reach::Ready,
    }
}

/// A name that stays the same over restarts: desktops remember volume and place under it.
///
/// Rooms whose names differ only in what cannot stand in a node's name are told apart by a hash, not by who came first.
fn stable_name(room: &str) -> String {
    let plain: String = room.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    if room.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '_') {
        return format!("audera.{plain}");
    }
    let hash = fnv1a(room.as_bytes());
    // Folded, as its authors advise, instead of cut.
    format!("audera.{plain}-{:06x}", (hash >> 24) ^ (hash & 0x00ff_ffff))
}

/// The hash FNV-1a with 32 bits, by Fowler, Noll and Vo: the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the test vectors of its authors.
        assert_eq!([fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }

    #[test]
    fn rooms_are_told_apart_by_their_names_alone() {
        assert_eq!(stable_name("Living Room"), "audera.Living_Room");
        assert_eq!(stable_name("Gästezimmer"), "audera.Gästezimmer");
        let (slash, plus) = (stable_name("Bath/WC"), stable_name("Bath+WC"));
        assert!(slash.starts_with("audera.Bath_WC-") && plus.starts_with("audera.Bath_WC-"), "{slash} {plus}");
        assert_ne!(slash, plus);
    }
}

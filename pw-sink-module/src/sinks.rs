//! The sinks there are: one for each room that is there, one for each group, and one for all; each outlives short absences.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use audera_dbus::{names as bus, sink};
use audera_pw::{Core, Error, ModuleHost, NodeVolume, Timer, Topic};
use audera_pw_sender::{Hosted, Objects, SOFTWARE, host_name};
use audera_sender::{
    EVERYWHERE, Fader, GroupState, HubConfig, HubEvent, PlayerInfo, PlayerKey, Reach, RoomState, Target,
};

use crate::arguments::Arguments;
use crate::names;
use crate::sink::Sink;
use crate::volume::wanted;

/// How long a sink stays when its room has gone and nothing plays to it.
const LINGER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After somebody has moved a sink's volume, it is left alone for so long: what the room says meanwhile is older than where the hand is.
const HAND: Duration = Duration::from_millis(120);

/// Groups that have sinks at once. No home has so many; a network that announces more is not to be answered with as many devices.
const MOST_GROUPS: usize = 32;

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
    rooms: BTreeMap<PlayerKey, Room>,
    /// What is on D-Bus of them.
    objects: Option<Objects>,
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
    Group(String),
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

/// The state of a room.
struct Room {
    /// As its player has told it.
    told: RoomState,
    /// As it will be when all that was asked of it is done.
    expected: RoomState,
}

impl Sinks {
    /// Connects to the graph and starts to look for players.
    pub(crate) fn new(host: &ModuleHost, arguments: Arguments) -> Result<Self, Error> {
        let core = host.core(|_| {})?;
        let discovers = arguments.discover;
        let config = HubConfig {
            name: host_name(),
            software: SOFTWARE.to_owned(),
            state_dir: arguments.sender.state_dir.clone(),
            // Once it is known what the user says of it.
            discover: false,
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
            objects: None,
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
        hosted.hub.follow(|_| {});
        if discovers {
            hosted.hub.discover();
        }
        {
            let mut inner = inner.borrow_mut();
            inner.timer = Some(timer);
            inner.hand = Some(hand);
            // Nothing can be told to a sink.
            inner.objects = Some(Objects::start(host, &hosted.hub, bus::SINKS, drop)?);
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
                // A sink of several rooms may have others now.
                self.show_volumes();
            }
            HubEvent::Forgotten(key) => {
                self.players.remove(&key);
                self.rooms.remove(&key);
                self.match_sinks();
            }
            HubEvent::Stream(status) => {
                let shown = self.sinks.values().find(|shown| shown.sink.key() == status.key);
                let Some(shown) = shown else { return };
                if let Err(error) = shown.sink.show(&status) {
                    self.log.debug(format_args!("the state of {} cannot be shown: {error}", shown.sink.description));
                }
                if let Some(objects) = &self.objects {
                    objects.show(bus::sink_path(&shown.node_name), &sink::DEFINITION, shown.sink.on_bus(Some(&status)));
                }
            }
            HubEvent::Room { key, state, settled } => {
                // One that is not settled is older than what was asked for, which is taken as the state meanwhile.
                let expected = match self.rooms.remove(&key) {
                    Some(room) if !settled => room.expected,
                    _ => state.clone(),
                };
                self.rooms.insert(key, Room { told: state, expected });
                if settled {
                    self.show_volumes();
                }
            }
            HubEvent::NotSet { key, why } => {
                self.log.info(format_args!("{key} stays as it is: {why}"));
                if let Some(room) = self.rooms.get_mut(&key) {
                    room.expected = room.told.clone();
                    self.show_volumes();
                }
            }
            HubEvent::Trouble(trouble) => self.log.error(trouble),
        }
    }

    /// Makes the sinks that are missing; marks those nobody needs.
    fn match_sinks(&mut self) {
        let there: Vec<PlayerInfo> = self.players.values().filter(|player| is_there(player)).cloned().collect();
        let groups = self.groups(&there);
        for player in &there {
            let name = self.arguments.description(&player.room);
            let (purpose, target) = (For::Player(player.key.clone()), Target::Player(player.key.clone()));
            self.want(purpose, names::of_room(&player.room), &player.room, name, target);
        }
        for group in &groups {
            // Two sinks of one name would be told apart by nobody.
            let is_room = there.iter().any(|player| player.room == *group);
            let name = self.arguments.description(group) + if is_room { " (group)" } else { "" };
            let (purpose, target) = (For::Group(group.clone()), Target::Group(group.clone()));
            self.want(purpose, names::of_group(group), group, name, target);
        }
        if there.len() >= 2 {
            let name = self.arguments.description(EVERYWHERE);
            self.want(For::Everywhere, names::of_room(EVERYWHERE), EVERYWHERE, name, Target::Everywhere);
        }
        let is_needed = |purpose: &For| match purpose {
            For::Player(key) => there.iter().any(|player| player.key == *key),
            For::Group(group) => groups.contains(group),
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
        // A group without members has not gone for a moment: somebody has taken the last one out.
        let has_members = |group: &String| self.players.values().any(|player| player.groups.contains(group));
        let gone = |purpose: &For, shown: &Shown| match purpose {
            For::Group(group) => shown.idle_since.is_some() && !has_members(group),
            For::Player(_) | For::Everywhere => false,
        };
        self.take_away(self.those(gone));
    }

    /// The groups that are to have sinks: those of the players that are there, as they say it themselves.
    fn groups(&self, there: &[PlayerInfo]) -> BTreeSet<String> {
        let groups: BTreeSet<&String> = there.iter().flat_map(|player| &player.groups).collect();
        // All have one already.
        let groups = groups.into_iter().filter(|group| *group != EVERYWHERE);
        let (shown, new): (Vec<_>, Vec<_>) =
            groups.cloned().partition(|group| self.sinks.contains_key(&For::Group(group.clone())));
        shown.into_iter().chain(new).take(MOST_GROUPS).collect()
    }

    /// The rooms of a sink whose state is known.
    fn rooms_of(&self, purpose: &For) -> BTreeMap<PlayerKey, RoomState> {
        let of = |key: &PlayerKey| match purpose {
            For::Player(player) => player == key,
            For::Group(group) => self.there(key).is_some_and(|player| player.groups.contains(group)),
            For::Everywhere => self.there(key).is_some(),
        };
        let rooms = self.rooms.iter().filter(|(key, _)| of(key));
        rooms.map(|(key, room)| (key.clone(), room.expected.clone())).collect()
    }

    fn there(&self, key: &PlayerKey) -> Option<&PlayerInfo> {
        self.players.get(key).filter(|player| is_there(player))
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
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            if let Ok(state) = room.expected.changed(&change) {
                room.expected = state;
                hosted.hub.set(key, change);
            }
        }
        // Once the hand has left it: limits, balances, and what others have done meanwhile.
        let armed = self.hand.as_ref().map(|hand| hand.arm(HAND + Duration::from_millis(5)));
        if let Some(Err(error)) = armed {
            self.log.warn(format_args!("a volume may be shown late: {error}"));
        }
    }

    fn want(&mut self, purpose: For, node_name: String, room: &str, description: String, target: Target) {
        if let Some(shown) = self.sinks.get(&purpose) {
            if shown.sink.description == description || shown.sink.is_playing() {
                return;
            }
            // A player at a fixed address has another name now.
            let before = self.sinks.remove(&purpose);
            before.iter().for_each(|shown| self.take_off_bus(shown));
        }
        let Some(hosted) = &self.hosted else { return };
        let node_name = self.free_name(node_name);
        let volume_set = {
            let (inner, purpose) = (self.this.clone(), purpose.clone());
            move |set: &NodeVolume| on(&inner, |inner| inner.volume_set(&purpose, set))
        };
        match Sink::new(&self.core, &hosted.hub, &self.arguments, (&node_name, room, &description), target, volume_set)
        {
            Ok(sink) => {
                self.log.info(format_args!("\"{description}\" appears"));
                self.troubles.remove(&purpose);
                if let Some(objects) = &self.objects {
                    objects.show(bus::sink_path(&node_name), &sink::DEFINITION, sink.on_bus(None));
                }
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

    /// A name in the graph that no other sink has. Only rooms of one and the same name, at fixed addresses, are told apart by their order.
    fn free_name(&self, base: String) -> String {
        let taken = |name: &str| self.sinks.values().any(|shown| shown.node_name == name);
        if !taken(&base) {
            return base;
        }
        (2..).map(|count| format!("{base}-{count}")).find(|name| !taken(name)).unwrap_or(base)
    }

    /// Takes away the sinks that nobody has needed for long.
    fn look_again(&mut self) {
        self.match_sinks();
        self.take_away(self.those(|_, shown| shown.idle_since.is_some_and(|since| since.elapsed() >= LINGER)));
    }

    /// The sinks of which this is so.
    fn those(&self, is_so: impl Fn(&For, &Shown) -> bool) -> Vec<For> {
        self.sinks.iter().filter(|(purpose, shown)| is_so(purpose, shown)).map(|(purpose, _)| purpose.clone()).collect()
    }

    fn take_off_bus(&self, shown: &Shown) {
        if let Some(objects) = &self.objects {
            objects.remove(bus::sink_path(&shown.node_name));
        }
    }

    fn take_away(&mut self, gone: Vec<For>) {
        for purpose in gone {
            if let Some(shown) = self.sinks.remove(&purpose) {
                self.log.info(format_args!("\"{}\" goes", shown.sink.description));
                self.take_off_bus(&shown);
            }
            if let (For::Player(key), Some(hosted)) = (purpose, &self.hosted) {
                hosted.hub.forget(key);
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

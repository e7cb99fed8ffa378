//! The sinks there are: one for each room that is there, one for each group, and one for all; each outlives short absences.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use audera_dbus::sink::{self, Order};
use audera_dbus::{Call, Error as Refusal, names as bus};
use audera_pw::{Core, Error, ModuleHost, Node, NodeVolume, Registry, RegistryEvent, Timer, Topic};
use audera_pw_sender::{Hosted, Objects, SOFTWARE, Ticker, host_name};
use audera_sender::{EVERYWHERE, Fader, GroupState, HubConfig, HubEvent, PlayerInfo, PlayerKey, Target, WatchedLevel};

use crate::arguments::Arguments;
use crate::names;
use crate::rooms::Rooms;
use crate::sink::Sink;
use crate::volume::wanted;

/// How long a sink stays when its room has gone and nothing plays to it.
const LINGER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After somebody has moved a sink's volume, it is left alone for so long: what the room says meanwhile is older than where the hand is.
const HAND: Duration = Duration::from_millis(120);

/// Groups that have sinks at once. No home has so many; a network that announces more is not to be answered with as many devices.
const MOST_GROUPS: usize = 32;

/// Characters of an application's name that are told.
const LONGEST_NAME: usize = 64;

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
    rooms: Rooms,
    /// What is on D-Bus of them.
    objects: Option<Objects>,
    hosted: Option<Hosted>,
    timer: Option<Timer>,
    /// Rings when the hand has left a volume.
    hand: Option<Timer>,
    /// Runs while somebody watches a level.
    levels: Option<Ticker>,
    /// For the handlers of the sinks.
    this: Weak<RefCell<Inner>>,
    /// Tells what plays to them.
    registry: Option<Registry>,
    core: Core,
}

/// What a sink is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Player(PlayerKey),
    Group(String),
    Everywhere,
}

impl For {
    /// The rooms behind it.
    fn target(&self) -> Target {
        match self {
            For::Player(key) => Target::Player(key.clone()),
            For::Group(group) => Target::Group(group.clone()),
            For::Everywhere => Target::Everywhere,
        }
    }
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
            rooms: Rooms::default(),
            objects: None,
            hosted: None,
            timer: None,
            hand: None,
            levels: None,
            this: Weak::new(),
            registry: None,
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
        let levels = Ticker::new(host.main_loop(), WatchedLevel::PERIOD, with_inner(Inner::tell_levels))?;
        let weak = Rc::downgrade(&inner);
        let registry =
            Registry::new(&inner.borrow().core, move |event| on(&weak, |inner| inner.graph_changed(&event)))?;
        let weak = Rc::downgrade(&inner);
        let hosted = Hosted::start(host, config, move |event| on(&weak, |inner| inner.heard(event)))?;
        hosted.hub.follow(|_| {});
        if discovers {
            hosted.hub.discover();
        }
        let weak = Rc::downgrade(&inner);
        let objects = Objects::start(host, &hosted.hub, bus::SINKS, move |call| on(&weak, |inner| inner.called(call)))?;
        {
            let mut inner = inner.borrow_mut();
            inner.timer = Some(timer);
            inner.hand = Some(hand);
            inner.registry = Some(registry);
            inner.levels = Some(levels);
            inner.objects = Some(objects);
            inner.hosted = Some(hosted);
        }
        Ok(Sinks { _inner: inner })
    }
}

/// What an application is called, as far as it says so.
fn application(node: &Node) -> Option<String> {
    let said =
        ["application.name", "node.description", "node.name"].into_iter().find_map(|key| node.properties.get(key));
    said.map(|name| name.chars().take(LONGEST_NAME).collect())
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
                self.rooms.met(player);
                self.match_sinks(false);
                // A sink of several rooms may have others now.
                self.show_volumes();
            }
            HubEvent::Forgotten(key) => {
                self.rooms.forgotten(&key);
                self.match_sinks(false);
                self.show_volumes();
            }
            HubEvent::Renamed { was, now } => {
                self.rooms.renamed(&was, &now);
                self.carry_over(was, now);
            }
            HubEvent::Stream(status) => {
                let shown = self.sinks.values().find(|shown| shown.sink.key() == status.key);
                let Some(shown) = shown else { return };
                if let Err(error) = shown.sink.show(&status) {
                    self.log.debug(format_args!("the state of {} cannot be shown: {error}", shown.sink.description));
                }
                self.show(shown);
            }
            HubEvent::Room { key, state, settled } => {
                self.rooms.told(key, state, settled);
                if settled {
                    self.show_volumes();
                }
            }
            HubEvent::NotSet { key, why } => {
                self.log.info(format_args!("{key} stays as it is: {why}"));
                if self.rooms.not_set(&key) {
                    self.show_volumes();
                }
            }
            HubEvent::Trouble(trouble) => self.log.error(trouble),
        }
    }

    /// Makes the sinks that are missing; marks those nobody needs. `settled`: what there is has been so for a moment.
    fn match_sinks(&mut self, settled: bool) {
        let there: Vec<PlayerInfo> = self.rooms.there().cloned().collect();
        let groups = self.groups(&there);
        for player in &there {
            let name = self.arguments.description(&player.room);
            let purpose = For::Player(player.key.clone());
            let node_name = names::of_room(&player.room);
            if self.has_other(&purpose, &node_name) && !self.hand_over(&purpose, &node_name) && !settled {
                // It may be the same room, known in another way, of which the end is about to be told.
                continue;
            }
            self.want(purpose, node_name, &player.room, name);
        }
        for group in &groups {
            // Two sinks of one name would be told apart by nobody.
            let is_room = there.iter().any(|player| player.room == *group);
            let name = self.arguments.description(group) + if is_room { " (group)" } else { "" };
            self.want(For::Group(group.clone()), names::of_group(group), group, name);
        }
        if there.len() >= 2 {
            let name = self.arguments.description(EVERYWHERE);
            self.want(For::Everywhere, names::of_room(EVERYWHERE), EVERYWHERE, name);
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
        let gone = |purpose: &For, shown: &Shown| match purpose {
            For::Group(group) => shown.idle_since.is_some() && !self.rooms.has_members(group),
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

    /// Shows the volumes of the rooms at their sinks, but for those that are being moved. A sink whose rooms are all away shows what was
    /// known last: nobody can move them.
    fn show_volumes(&mut self) {
        for (purpose, shown) in &self.sinks {
            let now = GroupState::of(self.rooms.moved_by(&purpose.target()).values());
            let Some(volume) = now.or(shown.sink.shown()) else { continue };
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
    fn volume_set(&mut self, node_name: &str, set: &NodeVolume) {
        let Some((purpose, shown)) = self.sinks.iter().find(|(_, shown)| shown.node_name == node_name) else { return };
        let (rooms, Some(hosted)) = (self.rooms.moved_by(&purpose.target()), &self.hosted) else { return };
        // What comes before the room is known, or before its volume was shown, is nobody's wish for this room.
        if *set == NodeVolume::default() || shown.sink.shown().is_none() {
            return self.show_volumes();
        }
        shown.moved.set(Some(Instant::now()));
        let changes = shown.fader.borrow_mut().set(&rooms, wanted(set), set.mute);
        for (key, change) in changes {
            if self.rooms.ask(&key, &change) {
                hosted.hub.set(key, change);
            }
        }
        // Once the hand has left it: limits, balances, and what others have done meanwhile.
        let armed = self.hand.as_ref().map(|hand| hand.arm(HAND + Duration::from_millis(5)));
        if let Some(Err(error)) = armed {
            self.log.warn(format_args!("a volume may be shown late: {error}"));
        }
    }

    /// Whether a sink of this name is there already, for another player.
    fn has_other(&self, purpose: &For, node_name: &str) -> bool {
        !self.sinks.contains_key(purpose) && self.sinks.values().any(|shown| shown.node_name == node_name)
    }

    /// Gives a player the sink of this name, if the one that it was for is not kept track of any more: a room that was known by its announcement is known by
    /// its address now, or the other way round. Whether that is so.
    fn hand_over(&mut self, purpose: &For, node_name: &str) -> bool {
        let is_left = |former: &For, shown: &Shown| match former {
            For::Player(key) => shown.node_name == node_name && !self.rooms.knows(key),
            For::Group(_) | For::Everywhere => false,
        };
        let former = self.those(is_left).into_iter().next();
        let Some(mut shown) = former.and_then(|former| self.sinks.remove(&former)) else { return false };
        shown.sink.retarget(purpose.target());
        shown.idle_since = None;
        shown.fader = RefCell::default();
        self.sinks.insert(purpose.clone(), shown);
        self.show_volumes();
        true
    }

    /// Gives the sink of a room that has another name now to the new name: whatever plays to it, or is to, finds it where it was.
    fn carry_over(&mut self, was: PlayerKey, now: PlayerKey) {
        let (was, now) = (For::Player(was), For::Player(now));
        let Some(shown) = self.sinks.remove(&was) else { return };
        // The new name may have been heard of before anybody knew whose it is: of two sinks the one that plays stays, or else the older one.
        if let Some(other) = self.sinks.remove(&now) {
            let rank = |shown: &Shown| (shown.sink.is_playing(), Reverse(shown.sink.key()));
            if rank(&other) > rank(&shown) {
                self.take_off_bus(&shown);
                self.sinks.insert(now, other);
                return;
            }
            self.take_off_bus(&other);
        }
        shown.fader.take();
        self.sinks.insert(now, shown);
    }

    fn want(&mut self, purpose: For, node_name: String, room: &str, description: String) {
        if let Some(shown) = self.sinks.get_mut(&purpose) {
            if shown.sink.description == description {
                return;
            }
            // The node stays as it is named in the graph: applications and desktops would look for that.
            self.log.info(format_args!("\"{}\" is now \"{description}\"", shown.sink.description));
            if let Err(error) = shown.sink.call(room, &description, &self.arguments.sender.properties) {
                self.log.warn(format_args!("the new name \"{description}\" cannot be shown: {error}"));
            }
            return self.sinks.get(&purpose).into_iter().for_each(|shown| self.show(shown));
        }
        let Some(hosted) = &self.hosted else { return };
        let node_name = self.free_name(node_name);
        let target = purpose.target();
        let volume_set = {
            let (inner, node_name) = (self.this.clone(), node_name.clone());
            move |set: &NodeVolume| on(&inner, |inner| inner.volume_set(&node_name, set))
        };
        match Sink::new(&self.core, &hosted.hub, &self.arguments, (&node_name, room, &description), target, volume_set)
        {
            Ok(sink) => {
                self.log.info(format_args!("\"{description}\" appears"));
                self.troubles.remove(&purpose);
                let shown =
                    Shown { sink, node_name, idle_since: None, moved: Cell::default(), fader: RefCell::default() };
                self.show(&shown);
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

    /// A name in the graph that no other sink has. Only rooms of one and the same name, at fixed addresses, are told apart by their order, and a
    /// room that is called as another one was before.
    fn free_name(&self, base: String) -> String {
        let taken = |name: &str| self.sinks.values().any(|shown| shown.node_name == name);
        if !taken(&base) {
            return base;
        }
        (2..).map(|count| format!("{base}-{count}")).find(|name| !taken(name)).unwrap_or(base)
    }

    /// Takes away the sinks that nobody has needed for long.
    fn look_again(&mut self) {
        self.match_sinks(true);
        self.take_away(self.those(|_, shown| shown.idle_since.is_some_and(|since| since.elapsed() >= LINGER)));
    }

    /// The sinks of which this is so.
    fn those(&self, is_so: impl Fn(&For, &Shown) -> bool) -> Vec<For> {
        self.sinks.iter().filter(|(purpose, shown)| is_so(purpose, shown)).map(|(purpose, _)| purpose.clone()).collect()
    }

    /// Something was linked or called otherwise: what plays to the sinks may be something else now.
    fn graph_changed(&self, event: &RegistryEvent) {
        let Some(registry) = &self.registry else { return };
        let links = match event {
            RegistryEvent::LinkAdded(_) | RegistryEvent::LinkRemoved(_) => registry.links(),
            // What the sinks tell of themselves every second is none of it.
            RegistryEvent::NodeAdded(node) | RegistryEvent::NodeChanged(node) => {
                let links = registry.links();
                if !links.iter().any(|link| link.output_node == node.id) {
                    return;
                }
                links
            }
            _ => return,
        };
        for shown in self.sinks.values() {
            let id = shown.sink.node_id();
            let ours = links.iter().filter(|link| Some(link.input_node) == id);
            let names: BTreeSet<String> =
                ours.filter_map(|link| application(&registry.node(link.output_node)?)).collect();
            if shown.sink.is_played_to_by(names.into_iter().collect()) {
                self.show(shown);
            }
        }
    }

    /// Shows a sink on D-Bus as it is now.
    fn show(&self, shown: &Shown) {
        if let Some(objects) = &self.objects {
            objects.show(bus::sink_path(&shown.node_name), &sink::DEFINITION, shown.sink.on_bus());
        }
    }

    /// Somebody on D-Bus wants something of a sink.
    fn called(&mut self, call: Call) {
        let shown = self.sinks.values().find(|shown| bus::sink_path(&shown.node_name) == call.path);
        let done = match (Order::read(&call.request), shown) {
            (Ok(Order::WatchLevel), Some(shown)) => {
                shown.sink.watch_level();
                self.watch_levels(true);
                Ok(())
            }
            (Ok(_), None) => Err(Refusal::NotFound("the sink has gone just now".to_owned())),
            (Err(refusal), _) => Err(refusal),
        };
        call.reply.answer(done);
    }

    /// Tells the levels that somebody watches, for as long as anybody does.
    fn tell_levels(&mut self) {
        let mut watched = false;
        for shown in self.sinks.values() {
            let (changed, further) = shown.sink.tick_level();
            if changed {
                self.show(shown);
            }
            watched |= further;
        }
        self.watch_levels(watched);
    }

    fn watch_levels(&mut self, watched: bool) {
        if let Some(Err(error)) = self.levels.as_ref().map(|levels| levels.run(watched)) {
            self.log.warn(format_args!("levels are not told: {error}"));
        }
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

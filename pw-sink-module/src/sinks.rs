//! The sinks there are: one for each room that is there, and one for all; each outlives short absences.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use audera_pw::{Core, Error, ModuleHost, Timer, Topic};
use audera_pw_sender::{Hosted, SOFTWARE, host_name};
use audera_sender::{EVERYWHERE, HubConfig, HubEvent, PlayerInfo, PlayerKey, Reach, Target};

use crate::arguments::Arguments;
use crate::sink::Sink;

/// How long a sink stays when its room has gone and nothing plays to it.
const LINGER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// All sinks of the module. Dropping it takes them away and joins the network thread.
pub(crate) struct Sinks {
    _inner: Rc<RefCell<Inner>>,
}

struct Inner {
    arguments: Arguments,
    log: &'static Topic,
    /// Sinks go before the hub that serves them.
    sinks: BTreeMap<For, Shown>,
    players: BTreeMap<PlayerKey, PlayerInfo>,
    hosted: Option<Hosted>,
    timer: Option<Timer>,
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
            players: BTreeMap::new(),
            hosted: None,
            timer: None,
            core,
        }));
        let with_inner = |act: fn(&mut Inner)| {
            let weak = Rc::downgrade(&inner);
            move || on(&weak, act)
        };
        let timer = host.main_loop().timer(with_inner(Inner::look_again))?;
        timer.arm_every(LOOK_AGAIN)?;
        let weak = Rc::downgrade(&inner);
        let hosted = Hosted::start(host, config, move |event| on(&weak, |inner| inner.heard(event)))?;
        {
            let mut inner = inner.borrow_mut();
            inner.timer = Some(timer);
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
                self.match_sinks();
            }
            HubEvent::Stream(status) => {
                let shown = self.sinks.values().find(|shown| shown.sink.key() == status.key);
                if let Some((shown, Err(error))) = shown.map(|shown| (shown, shown.sink.show(&status))) {
                    self.log.debug(format_args!("the state of {} cannot be shown: {error}", shown.sink.description));
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
        for (purpose, shown) in &mut self.sinks {
            let needed = match purpose {
                For::Player(key) => there.iter().any(|player| player.key == *key),
                For::Everywhere => there.len() >= 2,
            };
            if needed || shown.sink.is_playing() {
                shown.idle_since = None;
            } else if shown.idle_since.is_none() {
                shown.idle_since = Some(Instant::now());
            }
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
        match Sink::new(&self.core, &hosted.hub, &self.arguments, &node_name, room, target) {
            Ok(sink) => {
                self.log.info(format_args!("\"{description}\" appears"));
                self.sinks.insert(purpose, Shown { sink, node_name, idle_since: None });
            }
            Err(error) => self.log.error(format_args!("no sink for \"{description}\": {error}")),
        }
    }

    /// A name that stays the same over restarts: desktops remember volume and place under it.
    fn node_name(&self, room: &str) -> String {
        let plain: String = room.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let base = format!("audera.{plain}");
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

//! The connection to `auderad`: it is started if it is not there, and given the time to look around then.

use std::time::Duration;

use audera_dbus::group::Group1Proxy;
use audera_dbus::names;
use audera_dbus::player::Player1Proxy;
use tokio::time::{Instant, sleep};
use zbus::fdo::{DBusProxy, ManagedObjects, ObjectManagerProxy};
use zbus::names::WellKnownName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, connection};

use crate::error::Failure;
use crate::house::{Group, House, Room, Target};
use crate::objects::Objects;

/// `auderad` answers after five seconds at the latest what it asks rooms.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long rooms are looked for that are not connected yet, and by an `auderad` that has just been started.
const SEARCH: Duration = Duration::from_secs(4);
/// An `auderad` that has just been started has seen all rooms if no other one has come for so long.
const QUIET: Duration = Duration::from_millis(700);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A connection to `auderad`.
#[derive(Debug, Clone)]
pub struct Desk {
    pub connection: Connection,
    /// Until when rooms may be missing because `auderad` has just been started, by whomever.
    young: Option<Instant>,
}

impl Desk {
    /// Connects, and has the bus start `auderad` if need be.
    ///
    /// # Errors
    /// There is no session bus, or `auderad` cannot be started.
    pub async fn open() -> Result<Self, Failure> {
        let connection = connect().await?;
        let bus = DBusProxy::new(&connection).await?;
        let age = match bus.get_connection_unix_process_id(auderad().into()).await {
            // One whose age cannot be told, as from within a container, has most likely been there for long.
            Ok(process) => age(process).unwrap_or(SEARCH),
            Err(zbus::fdo::Error::NameHasNoOwner(_)) => {
                start(&connection).await?;
                Duration::ZERO
            }
            Err(error) => return Err(error.into()),
        };
        let left = SEARCH.checked_sub(age).filter(|left| !left.is_zero());
        Ok(Desk { connection, young: left.map(|left| Instant::now() + left) })
    }

    /// What `auderad` knows just now.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn look(&self) -> Result<House, Failure> {
        let objects = managed_objects(&self.connection, names::AUDERA).await?;
        Ok(House::new([(names::AUDERA, &objects)].into_iter()))
    }

    /// The same, once an `auderad` that has just been started has looked around.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn look_around(&self) -> Result<House, Failure> {
        let mut quiet = Quiet::new();
        loop {
            let house = self.look().await?;
            let has_looked = quiet.lasts(&house) && !house.rooms.iter().any(Room::is_searched);
            if has_looked || !self.is_young() {
                return Ok(house);
            }
            sleep(LOOK).await;
        }
    }

    /// Whether rooms may be missing because `auderad` has just been started.
    fn is_young(&self) -> bool {
        self.young.is_some_and(|end| Instant::now() < end)
    }

    /// What `pick` finds among what there is, waiting for what may come yet.
    ///
    /// # Errors
    /// What `pick` says at last, or `auderad` does not answer.
    async fn find<T>(&self, mut pick: impl FnMut(&House) -> Result<(T, bool), Failure>) -> Result<T, Failure> {
        let end = Instant::now() + SEARCH;
        loop {
            let found = pick(&self.look().await?);
            let is_over = match &found {
                // Not connected yet.
                Ok((_, ready)) => *ready || Instant::now() >= end,
                Err(Failure::NotFound(_)) => !self.is_young(),
                Err(_) => true,
            };
            if is_over {
                return found.map(|(found, _)| found);
            }
            sleep(LOOK).await;
        }
    }

    /// The room of this name.
    ///
    /// # Errors
    /// There is none.
    pub async fn room(&self, name: &str) -> Result<Room, Failure> {
        self.find(|house| house.room(name).map(|room| (room.clone(), !room.is_searched()))).await
    }

    /// The group of this name.
    ///
    /// # Errors
    /// There is none.
    pub async fn group(&self, name: &str) -> Result<Group, Failure> {
        let mut quiet = Quiet::new();
        self.find(|house| house.group(name).map(|group| (group.clone(), self.is_whole(house, group, &mut quiet)))).await
    }

    /// Whether all rooms of a group are known.
    fn is_whole(&self, house: &House, group: &Group, quiet: &mut Quiet) -> bool {
        let is_quiet = quiet.lasts(house) || !self.is_young();
        is_quiet && !house.is_searched(group)
    }

    /// The room or group of this name, ready to be set.
    ///
    /// # Errors
    /// There is neither.
    pub async fn fader(&self, name: &str) -> Result<Fader, Failure> {
        let mut quiet = Quiet::new();
        let found = self.find(|house| match house.target(name)? {
            Target::Room(room) => Ok((Ok(room.clone()), !room.is_searched())),
            Target::Group(group) => Ok((Err(group.clone()), self.is_whole(house, group, &mut quiet))),
        });
        match found.await? {
            Ok(room) => self.fader_of(Target::Room(&room)).await,
            Err(group) => self.fader_of(Target::Group(&group)).await,
        }
    }

    /// Refuses a room that is not there, and a group of which none is: nobody knows how loud they are.
    ///
    /// # Errors
    /// It is not, and why.
    pub async fn require_there(&self, name: &str) -> Result<(), Failure> {
        let house = self.look().await?;
        match house.target(name)? {
            Target::Room(room) => room.require_there(),
            Target::Group(group) => {
                let is_heard = |room: &&Room| room.is_there() && group.members.contains(&room.name);
                let nobody = || Failure::Unreachable(format!("no room of {} is there", group.name));
                house.rooms.iter().find(is_heard).map(drop).ok_or_else(nobody)
            }
        }
    }

    /// A room or group that is known, ready to be set.
    ///
    /// # Errors
    /// Its path is none.
    pub async fn fader_of(&self, target: Target<'_>) -> Result<Fader, Failure> {
        Ok(match target {
            Target::Room(room) => Fader::Room(self.player(room).await?, room.name.clone()),
            Target::Group(group) => Fader::Group(self.grouping(group).await?, group.name.clone()),
        })
    }

    /// The object of a room.
    ///
    /// # Errors
    /// Its path is none.
    pub async fn player(&self, room: &Room) -> Result<Player1Proxy<'static>, Failure> {
        let builder = Player1Proxy::builder(&self.connection).path(room.path.clone())?;
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }

    /// The object of a group.
    ///
    /// # Errors
    /// Its path is none.
    pub async fn grouping(&self, group: &Group) -> Result<Group1Proxy<'static>, Failure> {
        let builder = Group1Proxy::builder(&self.connection).path(group.path.clone())?;
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }
}

/// For how long no room has come or gone.
#[derive(Debug)]
struct Quiet {
    rooms: Vec<String>,
    since: Instant,
}

impl Quiet {
    fn new() -> Self {
        Quiet { rooms: Vec::new(), since: Instant::now() }
    }

    /// Whether there are rooms, and have been the same for [`QUIET`].
    fn lasts(&mut self, house: &House) -> bool {
        let rooms: Vec<String> = house.rooms.iter().map(|room| room.path.clone()).collect();
        if rooms != self.rooms {
            *self = Quiet { rooms, since: Instant::now() };
        }
        !self.rooms.is_empty() && self.since.elapsed() >= QUIET
    }
}

/// A room or group whose volume is to be moved.
#[derive(Debug, Clone)]
pub enum Fader {
    /// A room and its name.
    Room(Player1Proxy<'static>, String),
    /// A group and its name.
    Group(Group1Proxy<'static>, String),
}

impl Fader {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Room(_, name) | Self::Group(_, name) => name,
        }
    }

    /// Percent.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn volume(&self) -> Result<f64, Failure> {
        Ok(match self {
            Self::Room(room, _) => room.volume().await?,
            Self::Group(group, _) => group.volume().await?,
        })
    }

    /// Sets the volume, percent.
    ///
    /// # Errors
    /// It is not taken.
    pub async fn set_volume(&self, percent: f64) -> Result<(), Failure> {
        let done = match self {
            Self::Room(room, _) => room.set_volume(percent).await,
            Self::Group(group, _) => group.set_volume(percent).await,
        };
        Ok(done?)
    }

    /// Adds percentage points to the volume.
    ///
    /// # Errors
    /// It is not taken.
    pub async fn step(&self, points: f64) -> Result<f64, Failure> {
        Ok(match self {
            Self::Room(room, _) => room.step_volume(points).await?,
            Self::Group(group, _) => group.step_volume(points).await?,
        })
    }

    /// Adds dB to the volume.
    ///
    /// # Errors
    /// It is not taken, as from silence upwards.
    pub async fn step_decibels(&self, decibels: f64) -> Result<f64, Failure> {
        Ok(match self {
            Self::Room(room, _) => room.step_volume_decibels(decibels).await?,
            Self::Group(group, _) => group.step_volume_decibels(decibels).await?,
        })
    }

    /// Whether it is mute.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn is_muted(&self) -> Result<bool, Failure> {
        Ok(match self {
            Self::Room(room, _) => room.muted().await?,
            Self::Group(group, _) => group.muted().await?,
        })
    }

    /// Mutes it, or no longer.
    ///
    /// # Errors
    /// It is not taken.
    pub async fn mute(&self, mute: bool) -> Result<(), Failure> {
        let done = match self {
            Self::Room(room, _) => room.set_muted(mute).await,
            Self::Group(group, _) => group.set_muted(mute).await,
        };
        Ok(done?)
    }
}

/// The name of `auderad`.
pub fn auderad() -> WellKnownName<'static> {
    WellKnownName::from_static_str_unchecked(names::AUDERA)
}

/// How long a process has been running, by proc_pid_stat(5) and proc_uptime(5).
fn age(process: u32) -> Option<Duration> {
    /// In which the kernel tells a process's start to programs, on every architecture that Linux runs on today.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind its name, which may hold anything, comes the third field.
    let (_, fields) = stat.rsplit_once(')')?;
    let started: f64 = fields.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64((uptime - started / TICKS_PER_SECOND).max(0.0)).ok()
}

/// Connects to the session bus.
///
/// # Errors
/// There is none.
pub async fn connect() -> Result<Connection, Failure> {
    let builder = connection::Builder::session().map_err(Failure::NoBus)?;
    builder.method_timeout(PATIENCE).build().await.map_err(Failure::NoBus)
}

/// Has the bus start `auderad`.
///
/// # Errors
/// It cannot.
pub async fn start(connection: &Connection) -> Result<(), Failure> {
    use zbus::fdo::Error as Fdo;
    match DBusProxy::new(connection).await?.start_service_by_name(auderad(), 0).await {
        Ok(_) => Ok(()),
        Err(Fdo::ServiceUnknown(_) | Fdo::NameHasNoOwner(_)) => Err(Failure::NotInstalled),
        // The errors of starting have many names.
        Err(Fdo::ZBus(zbus::Error::MethodError(name, text, _))) => {
            Err(Failure::NotStarting(text.unwrap_or_else(|| name.to_string())))
        }
        Err(error) => Err(Failure::NotStarting(error.to_string())),
    }
}

/// All objects of a name on the bus.
///
/// # Errors
/// It does not answer.
pub async fn managed_objects(connection: &Connection, service: &str) -> Result<Objects, Failure> {
    let service = WellKnownName::try_from(service.to_owned()).map_err(zbus::Error::from)?;
    let manager = ObjectManagerProxy::builder(connection).destination(service)?.path(names::ROOT)?;
    let manager = manager.cache_properties(CacheProperties::No).build().await?;
    let answer: ManagedObjects = manager.get_managed_objects().await?;
    Ok(Objects::new(&answer))
}

/// All names on the bus that begin as `auderad`'s does.
///
/// # Errors
/// The bus does not answer.
pub async fn services(connection: &Connection) -> Result<Vec<String>, Failure> {
    let all = DBusProxy::new(connection).await?.list_names().await?;
    let ours = all.iter().map(|name| name.to_string()).filter(|name| is_ours(name));
    Ok(ours.collect())
}

/// Whether a name on the bus is one of Audera's.
pub fn is_ours(name: &str) -> bool {
    name == names::AUDERA || name.starts_with(&format!("{}.", names::AUDERA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_as_old_as_it_is() {
        let before = Instant::now();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (young, own, first) = (age(child.id()).unwrap(), age(std::process::id()).unwrap(), age(1).unwrap());
        // The kernel's ticks.
        assert!(young <= before.elapsed() + Duration::from_millis(20), "{young:?}");
        assert!(young <= own && own <= first, "{young:?}, {own:?}, {first:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(age(child.id()), None);
    }
}

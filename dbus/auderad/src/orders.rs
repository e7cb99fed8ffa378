//! What becomes of a call: changes of rooms that are waited for, or an answer at once.

use audera_dbus::{Call, Definition, Error, Reply, Request, group, manager, names, player};
use audera_sender::{EVERYWHERE, Hub, PlayerKey, Reach, RoomChange, Volume, Whereabouts, spelled};
use tokio::sync::mpsc::UnboundedSender;
use zbus::zvariant::OwnedObjectPath;

use crate::files::{self, Change, Filed, Files};
use crate::house::{House, MOST_GROUPS, Room};
use crate::jobs::{Answered, Jobs, Outcome};

/// What calls act on.
#[derive(Debug)]
pub struct Desk {
    pub hub: Hub,
    pub house: House,
    pub jobs: Jobs,
    /// What the user has said of where rooms are, as last read.
    pub whereabouts: Whereabouts,
    pub files: Files,
    /// Takes the answers of rooms.
    pub answers: UnboundedSender<Answered>,
}

/// What is to be done for a call, and answered.
struct Plan {
    changes: Vec<(PlayerKey, RoomChange)>,
    outcome: Outcome,
    /// The group that is moved.
    group: Option<String>,
    /// What cannot be done of it.
    error: Option<Error>,
    /// What is to be written.
    writes: Option<Change>,
}

impl Plan {
    fn new(changes: Vec<(PlayerKey, RoomChange)>, outcome: Outcome) -> Self {
        Plan { changes, outcome, group: None, error: None, writes: None }
    }

    /// A change of the file.
    fn writing(change: Change, outcome: Outcome) -> Self {
        Plan { writes: Some(change), ..Plan::new(Vec::new(), outcome) }
    }

    /// Nothing that would have to be waited for.
    fn done() -> Self {
        Plan::new(Vec::new(), Outcome::Done)
    }
}

impl Desk {
    /// Takes a call.
    pub fn take(&mut self, call: Call) {
        let Call { path, interface, request, reply } = call;
        match self.plan(&path, interface, &request).and_then(|plan| self.check(plan)) {
            Ok(plan) => self.carry_out(plan, reply),
            Err(error) => reply.answer::<()>(Err(error)),
        }
    }

    fn plan(&mut self, path: &OwnedObjectPath, interface: &Definition, request: &Request) -> Result<Plan, Error> {
        if interface.name == player::DEFINITION.name {
            let order = player::Order::read(request)?;
            let (key, room) = self.room(path)?;
            if order == player::Order::Identify && room.present().is_none() {
                return Err(self.absent(room));
            }
            Ok(self.plan_for_room(key, order))
        } else if interface.name == group::DEFINITION.name {
            let order = group::Order::read(request)?;
            let group = self.house.group_at(path.as_str()).ok_or_else(|| no_group(path))?;
            self.plan_for_group(group, order)
        } else {
            self.plan_for_all(manager::Order::read(request)?)
        }
    }

    fn plan_for_room(&self, key: PlayerKey, order: player::Order) -> Plan {
        match order {
            player::Order::Change(change) => Plan::new(vec![(key, change)], Outcome::Done),
            player::Order::Step(step) => Plan::new(vec![(key, step)], Outcome::Volume),
            player::Order::Identify => {
                self.hub.identify(key);
                Plan::done()
            }
            player::Order::Forget => {
                self.hub.forget_id(key.clone());
                self.hub.forget(key);
                Plan::done()
            }
        }
    }

    fn plan_for_group(&mut self, group: String, order: group::Order) -> Result<Plan, Error> {
        match order {
            group::Order::Add(path) => {
                let (key, room) = self.room(&path)?;
                let change = joining(room, &group)?;
                Ok(Plan::new(change.map(|change| (key, change)).into_iter().collect(), Outcome::Done))
            }
            group::Order::Remove(path) => {
                let (key, room) = self.room(&path)?;
                let change = leaving(room, &group)?;
                Ok(Plan::new(change.map(|change| (key, change)).into_iter().collect(), Outcome::Done))
            }
            group::Order::Volume(percent) => Ok(self.plan_move(group, Some(percent), None, Outcome::Done)),
            group::Order::Mute(mute) => Ok(self.plan_move(group, None, Some(mute), Outcome::Done)),
            group::Order::Step(points) => {
                let now = self.house.asked_volume(&group).ok_or_else(|| nobody(&group))?;
                let outcome = Outcome::GroupVolume(group.clone());
                Ok(self.plan_move(group, Some((now.percent() + points).clamp(0.0, 100.0)), None, outcome))
            }
            group::Order::StepDecibels(decibels) => {
                let now = self.house.asked_volume(&group).ok_or_else(|| nobody(&group))?;
                if decibels > 0.0 && now == Volume::SILENT {
                    return Err(Error::InvalidValue(format!(
                        "\"{group}\" is silent, and silence has no dB: set a volume in percent first"
                    )));
                }
                let outcome = Outcome::GroupVolume(group.clone());
                Ok(self.plan_move(group, Some(now.louder(decibels).percent()), None, outcome))
            }
        }
    }

    /// Moves the fader of a group.
    fn plan_move(&mut self, group: String, percent: Option<f64>, mute: Option<bool>, outcome: Outcome) -> Plan {
        let present = self.house.present(&group);
        if present.is_empty() {
            return Plan { error: Some(nobody(&group)), ..Plan::done() };
        }
        let Some(fader) = self.house.fader(&group) else {
            return Plan { error: Some(nobody(&group)), ..Plan::done() };
        };
        let changes = fader.set(&present, percent.map(Volume::nearest), mute);
        Plan { group: Some(group), ..Plan::new(changes, outcome) }
    }

    fn plan_for_all(&mut self, order: manager::Order) -> Result<Plan, Error> {
        match order {
            manager::Order::CreateGroup(name, members) => {
                if members.is_empty() {
                    return Err(Error::InvalidValue("a group lives in its rooms: name one at least".to_owned()));
                }
                if !self.house.takes_group(&name) {
                    return Err(Error::InvalidValue(format!(
                        "{MOST_GROUPS} groups are the most that are shown: delete one that is no longer needed"
                    )));
                }
                // Who types a name does not mind its capitals, so two names are not to differ in them alone.
                let means = |other: &str| other.to_lowercase() == name.to_lowercase();
                if self.house.rooms().any(|(_, room)| means(room.name())) {
                    return Err(Error::InvalidValue(format!("\"{name}\" is a room: a group needs another name")));
                }
                if means(EVERYWHERE) && name != EVERYWHERE {
                    return Err(Error::InvalidValue(format!(
                        "\"{EVERYWHERE}\" is all rooms: a group needs another name"
                    )));
                }
                if let Some(other) = self.house.groups().find(|other| means(other) && *other != name) {
                    return Err(Error::InvalidValue(format!(
                        "there is a group \"{other}\": write it like that, or take another name"
                    )));
                }
                let change = |path| {
                    let (key, room) = self.room(path)?;
                    Ok(joining(room, &name)?.map(|change| (key, change)))
                };
                let changes = members.iter().map(change).collect::<Result<Vec<_>, Error>>()?;
                Ok(Plan::new(changes.into_iter().flatten().collect(), Outcome::Object(names::group_path(&name))))
            }
            manager::Order::DeleteGroup(path) => {
                let group = self.house.group_at(path.as_str()).ok_or_else(|| no_group(&path))?;
                let (present, away): (Vec<_>, Vec<_>) =
                    self.house.members(&group).partition(|(_, room)| room.present().is_some());
                let change =
                    |(key, room): (&PlayerKey, &Room)| Ok(leaving(room, &group)?.map(|change| (key.clone(), change)));
                let changes = present.into_iter().map(change).collect::<Result<Vec<_>, Error>>()?;
                let error = away.first().map(|(_, room)| {
                    Error::Unreachable(format!(
                        "{} is not there, and will be in the group again when it is",
                        room.name()
                    ))
                });
                Ok(Plan { error, ..Plan::new(changes.into_iter().flatten().collect(), Outcome::Done) })
            }
            manager::Order::AddAddress(address) => {
                let room = Outcome::RoomAt(spelled(&address));
                Ok(Plan::writing(files::add(address), room))
            }
            manager::Order::RemoveAddress(address) => {
                let room = Outcome::NoRoomAt(spelled(&address));
                Ok(Plan::writing(files::remove(address), room))
            }
            manager::Order::Discover(whether) => Ok(Plan::writing(files::discover(whether), Outcome::Done)),
        }
    }

    /// The room at a path.
    fn room(&self, path: &OwnedObjectPath) -> Result<(PlayerKey, &Room), Error> {
        let room = self.house.room_at(path.as_str());
        room.map(|(key, room)| (key.clone(), room)).ok_or_else(|| Error::NotFound(format!("there is no room {path}")))
    }

    /// Refuses a plan of which a room would refuse its part, or that is for a room which is not there: nothing of it is done.
    fn check(&self, plan: Plan) -> Result<Plan, Error> {
        if plan.writes.is_some() {
            self.files.has_place()?;
        }
        for (key, change) in &plan.changes {
            let room = self.house.room(key).ok_or_else(|| Error::NotFound(format!("{key} is gone")))?;
            let state = room.present().ok_or_else(|| self.absent(room))?;
            state.changed(change).map_err(|refusal| Error::InvalidValue(format!("{}: {refusal}", room.name())))?;
        }
        Ok(plan)
    }

    /// Why a room cannot be asked for anything.
    fn absent(&self, room: &Room) -> Error {
        let name = room.name();
        match &room.info.reach {
            Reach::Refused(reason) => Error::NotPaired(format!(
                "{name}: {reason}; where the room does not know this user and host, add the id {} to its player's trusted.toml",
                self.hub.id()
            )),
            Reach::Away(reason) => Error::Unreachable(format!("{name} is not there: {reason}")),
            Reach::Searching | Reach::Ready => {
                Error::Unreachable(format!("{name} is not connected yet: try again in a moment"))
            }
        }
    }

    fn carry_out(&mut self, plan: Plan, reply: Reply) {
        let Plan { changes, outcome, group, error, writes } = plan;
        if let Some(change) = writes {
            let job = self.jobs.begin_writing(reply, outcome);
            return self.files.change(job, change);
        }
        let rooms = changes.iter().map(|(key, _)| key.clone()).collect();
        let job = self.jobs.begin(reply, outcome, group, rooms, error);
        for (key, change) in changes {
            let (answers, asked) = (self.answers.clone(), key.clone());
            // Nobody takes the answer any more when the program ends.
            self.hub.change(key, change, move |answer| drop(answers.send((job, asked, answer))));
        }
    }

    /// The file was read or written.
    pub fn filed(&mut self, (job, outcome): Filed) {
        let error = match outcome {
            Ok(now) => {
                self.whereabouts = now;
                None
            }
            Err(error) => Some(error),
        };
        if let Some(job) = job {
            // It need not wait for the system to tell it so.
            self.hub.look_again();
            self.jobs.written(job, error);
        }
    }

    /// A room has answered.
    pub fn answered(&mut self, (job, key, answer): Answered) {
        let name = self.house.room(&key).map_or_else(|| key.to_string(), |room| room.name().to_owned());
        let answer = answer.map(|state| {
            let volume = state.volume;
            // Of one that has been renamed meanwhile it is told under the new name.
            self.house.told_state(&key, state);
            volume
        });
        self.jobs.answered(job, &key, &name, answer);
    }

    /// Answers the calls that are over, once what has come of them is shown.
    pub fn answer(&mut self) {
        let waits = |outcome: &Outcome| match outcome {
            Outcome::RoomAt(address) => self.house.room_by(address).is_none_or(Room::is_searched),
            Outcome::NoRoomAt(address) => self.house.room_by(address).is_some(),
            _ => false,
        };
        for (job, result) in self.jobs.take_done(tokio::time::Instant::now(), waits) {
            let moved = job.group.filter(|group| !self.jobs.move_group(group));
            if let Some(fader) = moved.and_then(|group| self.house.fader(&group)) {
                fader.release();
            }
            match job.outcome {
                Outcome::Done | Outcome::NoRoomAt(_) => job.reply.answer(result),
                Outcome::Volume => {
                    let missing = || Error::Unreachable("the room has not told its volume".to_owned());
                    job.reply.answer(result.and_then(|()| job.volume.map(Volume::percent).ok_or_else(missing)));
                }
                Outcome::GroupVolume(group) => {
                    let now = self.house.group_volume(&group).map(|state| state.volume);
                    let missing = || nobody(&group);
                    job.reply.answer(result.and_then(|()| now.map(Volume::percent).ok_or_else(missing)));
                }
                Outcome::Object(path) => job.reply.answer(result.map(|()| path)),
                Outcome::RoomAt(address) => {
                    let gone = || Error::NotFound(format!("{address} was removed meanwhile"));
                    let path = self.house.room_by(&address).map(|room| room.path.clone()).ok_or_else(gone);
                    job.reply.answer(result.and(path));
                }
            }
        }
    }
}

/// The change that puts a room into a group; none if it is away and in it already. A room that is there is told in any case: what is known of
/// its groups may be overtaken.
fn joining(room: &Room, group: &str) -> Result<Option<RoomChange>, Error> {
    refuse_everywhere(group)?;
    let done = room.present().is_none() && room.groups().iter().any(|name| name == group);
    Ok((!done).then(|| RoomChange::join(group)))
}

/// The change that takes a room out of a group.
fn leaving(room: &Room, group: &str) -> Result<Option<RoomChange>, Error> {
    refuse_everywhere(group)?;
    let done = room.present().is_none() && !room.groups().iter().any(|name| name == group);
    Ok((!done).then(|| RoomChange::leave(group)))
}

fn refuse_everywhere(group: &str) -> Result<(), Error> {
    if group != EVERYWHERE {
        return Ok(());
    }
    Err(Error::NotSupported(format!("\"{EVERYWHERE}\" is always all rooms: make a group of another name")))
}

fn no_group(path: &OwnedObjectPath) -> Error {
    Error::NotFound(format!("there is no group {path}"))
}

fn nobody(group: &str) -> Error {
    Error::Unreachable(format!("no room of \"{group}\" is there"))
}

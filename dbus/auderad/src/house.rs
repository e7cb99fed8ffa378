//! What is known of rooms and groups, and what of it is shown.

use std::collections::{BTreeMap, BTreeSet};

use audera_dbus::player::{Player, Presence};
use audera_dbus::{Exporter, group, names, player};
use audera_sender::{EVERYWHERE, Fader, GroupState, PlayerInfo, PlayerKey, Reach, RoomState, Volume};
use audera_wire::PlayerStatus;
use zbus::zvariant::OwnedObjectPath;

/// Groups that are shown at once. No home has so many; players that announce more are not to be answered with as many objects. Rooms are bounded by the
/// hub: 128 that are announced, and 64 addresses.
pub const MOST_GROUPS: usize = 64;

/// All rooms, and the groups that they make.
#[derive(Debug, Default)]
pub struct House {
    rooms: BTreeMap<PlayerKey, Room>,
    /// Those that are shown.
    groups: BTreeMap<String, Fader<PlayerKey>>,
    /// Whether there are more.
    crowded: bool,
    /// Rooms that are not shown as they are.
    stale: BTreeSet<PlayerKey>,
    /// Objects of rooms that are gone.
    gone: Vec<OwnedObjectPath>,
}

/// One room.
#[derive(Debug)]
pub struct Room {
    pub info: PlayerInfo,
    pub path: OwnedObjectPath,
    /// As it was told last; it stays while the room is away.
    pub state: Option<RoomState>,
    status: Option<PlayerStatus>,
    paired: bool,
}

impl Room {
    /// How people know it.
    pub fn name(&self) -> &str {
        self.state.as_ref().map_or(&self.info.room, |state| &state.name)
    }

    /// Its groups, as it told.
    pub fn groups(&self) -> &[String] {
        self.state.as_ref().map_or(&self.info.groups, |state| &state.groups)
    }

    /// Whether it is not known yet whether it is there, and how it is.
    pub fn is_searched(&self) -> bool {
        match self.info.reach {
            Reach::Searching => true,
            // What it is set to comes right behind the connection.
            Reach::Ready => self.state.is_none(),
            Reach::Away(_) | Reach::Refused(_) => false,
        }
    }

    /// Its state, while it is there to be changed.
    pub fn present(&self) -> Option<&RoomState> {
        self.state.as_ref().filter(|_| self.info.is_ready())
    }

    fn shown(&self) -> Player {
        let unknown = || RoomState { groups: self.info.groups.clone(), ..RoomState::new(&self.info.room) };
        let presence = match &self.info.reach {
            Reach::Away(reason) => Presence::Away(reason.clone()),
            Reach::Refused(reason) => Presence::Refused(reason.clone()),
            Reach::Searching | Reach::Ready if self.is_searched() => Presence::Searching,
            Reach::Searching | Reach::Ready => Presence::There,
        };
        Player {
            room: self.state.clone().unwrap_or_else(unknown),
            status: self.status.clone(),
            id: self.info.id.map(|id| id.to_string()).unwrap_or_default(),
            address: self.info.address.map(|address| address.to_string()).unwrap_or_default(),
            software: self.info.software.clone().unwrap_or_default(),
            presence,
            paired: self.paired,
        }
    }
}

impl House {
    /// A room is there, or has changed.
    pub fn heard_of(&mut self, info: PlayerInfo) {
        let key = info.key.clone();
        let path = self.path_for(&info);
        self.stale.insert(key.clone());
        let Some(room) = self.rooms.get_mut(&key) else {
            let paired = info.reach == Reach::Ready;
            let room = Room { info, path, state: None, status: None, paired };
            self.rooms.insert(key, room);
            return;
        };
        match &info.reach {
            Reach::Ready => room.paired = true,
            Reach::Refused(_) => room.paired = false,
            Reach::Searching | Reach::Away(_) => {}
        }
        if info.reach != Reach::Ready {
            room.status = None;
        }
        room.info = info;
        if room.path != path {
            self.gone.push(std::mem::replace(&mut room.path, path));
        }
    }

    /// A room has told its state.
    pub fn told_state(&mut self, key: &PlayerKey, state: RoomState) {
        if let Some(room) = self.rooms.get_mut(key) {
            room.state = Some(state);
            self.stale.insert(key.clone());
        }
    }

    /// A room has told how it fares.
    pub fn told_status(&mut self, key: &PlayerKey, status: PlayerStatus) {
        if let Some(room) = self.rooms.get_mut(key) {
            room.status = Some(status);
            self.stale.insert(key.clone());
        }
    }

    /// A room has another name now: it is told of under that, and is as it was.
    pub fn renamed(&mut self, was: &PlayerKey, now: &PlayerKey) {
        let known = self.rooms.contains_key(now);
        let Some(room) = self.rooms.remove(was) else { return };
        self.stale.remove(was);
        match known {
            true => self.gone.push(room.path),
            false => {
                self.stale.insert(now.clone());
                self.rooms.insert(now.clone(), room);
            }
        }
    }

    /// A room is kept track of no more.
    pub fn forgotten(&mut self, key: &PlayerKey) {
        if let Some(room) = self.rooms.remove(key) {
            self.gone.push(room.path);
        }
        self.stale.remove(key);
    }

    /// The path of a room: by its name; of several with one name, by order.
    fn path_for(&self, info: &PlayerInfo) -> OwnedObjectPath {
        let taken =
            |path: &OwnedObjectPath| self.rooms.iter().any(|(key, room)| *key != info.key && room.path == *path);
        let named = names::player_path(&info.room);
        let numbered = (2u32..).map(|number| names::player_path(&format!("{} {number}", info.room)));
        std::iter::once(named.clone()).chain(numbered).find(|path| !taken(path)).unwrap_or(named)
    }

    /// A room.
    pub fn room(&self, key: &PlayerKey) -> Option<&Room> {
        self.rooms.get(key)
    }

    /// All rooms.
    pub fn rooms(&self) -> impl Iterator<Item = (&PlayerKey, &Room)> {
        self.rooms.iter()
    }

    /// The room to which a fixed address leads.
    pub fn room_by(&self, address: &str) -> Option<&Room> {
        self.rooms.values().find(|room| room.info.addresses.iter().any(|known| known == address))
    }

    /// The room with this object.
    pub fn room_at(&self, path: &str) -> Option<(&PlayerKey, &Room)> {
        self.rooms.iter().find(|(_, room)| room.path.as_str() == path)
    }

    /// The group with this object.
    pub fn group_at(&self, path: &str) -> Option<String> {
        self.groups.keys().find(|name| names::group_path(name).as_str() == path).cloned()
    }

    /// Whether a group is shown, or would be.
    pub fn takes_group(&self, name: &str) -> bool {
        self.groups.contains_key(name) || self.groups.len() < MOST_GROUPS
    }

    /// The groups that are to be shown: those that are, as long as they have rooms, and new ones as far as there is room for them.
    fn groups_to_show(&mut self) -> BTreeSet<String> {
        let all: BTreeSet<String> = self.groups().map(str::to_owned).collect();
        let (shown, new): (Vec<_>, Vec<_>) =
            all.into_iter().filter(|name| name != EVERYWHERE).partition(|name| self.groups.contains_key(name));
        let crowded = shown.len() + new.len() >= MOST_GROUPS;
        if crowded && !std::mem::replace(&mut self.crowded, crowded) {
            tracing::warn!("the rooms are in more than {MOST_GROUPS} groups: no others are shown than those there are");
        }
        self.crowded = crowded;
        [EVERYWHERE.to_owned()].into_iter().chain(shown).chain(new).take(MOST_GROUPS).collect()
    }

    /// All groups in which rooms are.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.rooms.values().flat_map(|room| room.groups().iter().map(String::as_str))
    }

    /// The rooms of a group.
    pub fn members(&self, group: &str) -> impl Iterator<Item = (&PlayerKey, &Room)> {
        self.rooms.iter().filter(move |(_, room)| group == EVERYWHERE || room.groups().iter().any(|name| name == group))
    }

    /// The states of a group's rooms that are there.
    pub fn present(&self, group: &str) -> BTreeMap<PlayerKey, RoomState> {
        self.members(group).filter_map(|(key, room)| Some((key.clone(), room.present()?.clone()))).collect()
    }

    /// The fader of a group that is shown.
    pub fn fader(&mut self, group: &str) -> Option<&mut Fader<PlayerKey>> {
        self.groups.get_mut(group)
    }

    /// The volume at which a group is, or at which it will be.
    pub fn asked_volume(&self, group: &str) -> Option<Volume> {
        let shown = self.group_volume(group)?.volume;
        Some(self.groups.get(group).and_then(|fader| fader.hand()).unwrap_or(shown))
    }

    /// What a group shows; of one whose rooms are all away, silence.
    pub fn group_volume(&self, group: &str) -> Option<GroupState> {
        GroupState::of(self.present(group).values())
    }

    /// Brings the objects in line with what is known.
    pub fn show(&mut self, exporter: &mut Exporter) {
        if self.stale.is_empty() && self.gone.is_empty() {
            return;
        }
        // A path that was given up may be another room's by now.
        let taken: BTreeSet<&str> = self.rooms.values().map(|room| room.path.as_str()).collect();
        for path in self.gone.drain(..) {
            if !taken.contains(path.as_str()) {
                exporter.remove(&path);
            }
        }
        for key in std::mem::take(&mut self.stale) {
            if let Some(room) = self.rooms.get(&key) {
                exporter.show(&room.path, &player::DEFINITION, room.shown().values());
            }
        }
        self.show_groups(exporter);
    }

    /// Brings the objects of the groups in line with what is known.
    pub fn show_groups(&mut self, exporter: &mut Exporter) {
        let names = self.groups_to_show();
        self.groups.retain(|name, _| {
            let stays = names.contains(name);
            if !stays {
                exporter.remove(&names::group_path(name));
            }
            stays
        });
        for name in names {
            let state = self.group_volume(&name);
            let group = group::Group {
                members: self.members(&name).map(|(_, room)| room.path.clone()).collect(),
                volume: state.map_or(0.0, |state| state.volume.percent()),
                muted: state.is_some_and(|state| state.mute),
                name: name.clone(),
            };
            exporter.show(&names::group_path(&name), &group::DEFINITION, group.values());
            self.groups.entry(name).or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(number: usize, groups: &[String]) -> PlayerInfo {
        PlayerInfo {
            key: PlayerKey::Discovered(number.to_string()),
            room: number.to_string(),
            groups: groups.to_vec(),
            id: None,
            address: None,
            addresses: Vec::new(),
            software: None,
            takes: None,
            announced: true,
            reach: Reach::Ready,
        }
    }

    #[test]
    fn groups_are_bounded_and_those_that_are_shown_stay() {
        let mut house = House::default();
        let shown = |house: &mut House| {
            let names = house.groups_to_show();
            house.groups.retain(|name, _| names.contains(name));
            house.groups.extend(names.iter().map(|name| (name.clone(), Fader::default())));
            names
        };
        assert_eq!(shown(&mut house), BTreeSet::from([EVERYWHERE.to_owned()]));
        house.heard_of(room(0, &["Downstairs".to_owned(), "Garden".to_owned()]));
        assert_eq!(shown(&mut house).len(), 3);
        // A hundred rooms that swap thirty-two groups each, whose names come before and behind those there are.
        for turn in 0..20 {
            for number in 1..=100 {
                let groups: Vec<String> =
                    (0..32).map(|group| format!("{}{turn} {number} {group}", ["A", "z"][group % 2])).collect();
                house.heard_of(room(number, &groups));
            }
            let names = shown(&mut house);
            assert_eq!(names.len(), MOST_GROUPS);
            assert!(["Downstairs", "Garden", EVERYWHERE].iter().all(|name| names.contains(*name)));
            assert!(house.crowded && !house.takes_group("New") && house.takes_group("Garden"));
        }
        (1..=100).for_each(|number| house.heard_of(room(number, &[])));
        assert_eq!(shown(&mut house).len(), 3);
        assert!(house.fader("Garden").is_some() && house.fader("A1 1 0").is_none(), "it is not shown any more");
        assert!(!house.crowded && house.takes_group("New"));
    }
}

//! What is known of the rooms: who is there, what their players have told, and what was asked of them since. No sinks and no graph.

use std::collections::BTreeMap;

use audera_sender::{PlayerInfo, PlayerKey, RoomChange, RoomState, Target};

/// All rooms that the network knows.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    players: BTreeMap<PlayerKey, PlayerInfo>,
    /// The state of the rooms, as far as it is known.
    states: BTreeMap<PlayerKey, State>,
}

/// The state of a room.
#[derive(Debug, Clone)]
struct State {
    /// As its player has told it.
    told: RoomState,
    /// As it will be when all that was asked of it is done.
    expected: RoomState,
}

impl Rooms {
    /// A player has appeared, or has changed.
    pub(crate) fn met(&mut self, player: PlayerInfo) {
        self.players.insert(player.key.clone(), player);
    }

    /// A player is kept track of no more.
    pub(crate) fn forgotten(&mut self, key: &PlayerKey) {
        self.players.remove(key);
        self.states.remove(key);
    }

    /// Whether a player is kept track of.
    pub(crate) fn knows(&self, key: &PlayerKey) -> bool {
        self.players.contains_key(key)
    }

    /// A player has another name now. It is there all the while, and so are the groups that it is in.
    pub(crate) fn renamed(&mut self, was: &PlayerKey, now: &PlayerKey) {
        if let Some(player) = self.players.remove(was) {
            self.players.entry(now.clone()).or_insert(PlayerInfo { key: now.clone(), ..player });
        }
        if let Some(state) = self.states.remove(was) {
            self.states.entry(now.clone()).or_insert(state);
        }
    }

    /// A player has told the state of its room. One that is not settled is older than what was asked for, which is taken as the state meanwhile.
    pub(crate) fn told(&mut self, key: PlayerKey, state: RoomState, settled: bool) {
        let expected = match self.states.remove(&key) {
            Some(before) if !settled => before.expected,
            _ => state.clone(),
        };
        self.states.insert(key, State { told: state, expected });
    }

    /// A room stays as it is; whether anything is known of it.
    pub(crate) fn not_set(&mut self, key: &PlayerKey) -> bool {
        let state = self.states.get_mut(key);
        state.map(|state| state.expected = state.told.clone()).is_some()
    }

    /// Notes what is asked of a room from now on; whether the room can be expected to do it.
    pub(crate) fn ask(&mut self, key: &PlayerKey, change: &RoomChange) -> bool {
        let Some(state) = self.states.get_mut(key) else { return false };
        match state.expected.changed(change) {
            Ok(expected) => {
                state.expected = expected;
                true
            }
            Err(_) => false,
        }
    }

    /// The rooms that a fader for `target` moves, as far as their states are known.
    pub(crate) fn moved_by(&self, target: &Target) -> BTreeMap<PlayerKey, RoomState> {
        let moves = |key: &PlayerKey| self.players.get(key).is_some_and(|player| target.moves(player));
        let known = self.states.iter().filter(|(key, _)| moves(key));
        known.map(|(key, state)| (key.clone(), state.expected.clone())).collect()
    }

    /// The players that are to have sinks. One at a fixed address is nameless until it has been reached.
    pub(crate) fn there(&self) -> impl Iterator<Item = &PlayerInfo> {
        self.players.values().filter(|player| match player.key {
            PlayerKey::Discovered(_) => player.is_present(),
            PlayerKey::Address(_) | PlayerKey::Caller(..) => player.is_ready(),
        })
    }

    /// Whether any room there is says that it is in this group, whether or not it is there.
    pub(crate) fn has_members(&self, group: &String) -> bool {
        self.players.values().any(|player| player.groups.contains(group))
    }
}

#[cfg(test)]
mod tests {
    use audera_sender::{Fader, GroupState, Reach, Volume};

    use super::*;

    const GROUP: &str = "Downstairs";

    fn key(room: &str) -> PlayerKey {
        PlayerKey::Discovered(room.to_owned())
    }

    fn player(room: &str, reach: Reach) -> PlayerInfo {
        PlayerInfo {
            address: None,
            addresses: Vec::new(),
            software: None,
            key: key(room),
            room: room.to_owned(),
            groups: vec![GROUP.to_owned()],
            id: None,
            announced: true,
            takes: None,
            reach,
        }
    }

    /// A sink of a group, as far as its volume goes, with players that answer what they are asked.
    struct Sink {
        rooms: Rooms,
        fader: Fader<PlayerKey>,
        target: Target,
    }

    impl Sink {
        fn new(rooms: &[(&str, f64)]) -> Self {
            let mut all = Rooms::default();
            for (room, percent) in rooms {
                all.met(player(room, Reach::Ready));
                all.told(key(room), volume(room, *percent), true);
            }
            Sink { rooms: all, fader: Fader::default(), target: Target::Group(GROUP.to_owned()) }
        }

        /// The hand has come to this percentage.
        fn drag(&mut self, percent: f64) {
            let rooms = self.rooms.moved_by(&self.target);
            for (room, change) in self.fader.set(&rooms, Some(Volume::nearest(percent)), None) {
                if !self.rooms.ask(&room, &change) {
                    continue;
                }
                if self.rooms.players[&room].is_ready() {
                    let done = self.rooms.states[&room].expected.clone();
                    self.rooms.told(room, done, true);
                } else {
                    // As the hub answers for it.
                    assert!(self.rooms.not_set(&room));
                }
            }
        }

        fn percent(&self, room: &str) -> f64 {
            self.rooms.states[&key(room)].expected.volume.percent()
        }

        fn shown(&self) -> Option<f64> {
            GroupState::of(self.rooms.moved_by(&self.target).values()).map(|state| state.volume.percent())
        }
    }

    fn volume(room: &str, percent: f64) -> RoomState {
        RoomState { volume: Volume::nearest(percent), ..RoomState::new(room) }
    }

    #[test]
    fn a_room_that_is_away_takes_no_part() {
        for target in [Target::Group(GROUP.to_owned()), Target::Everywhere] {
            let mut sink = Sink { target, ..Sink::new(&[("Bath", 20.0), ("Kitchen", 40.0), ("Attic", 80.0)]) };
            sink.rooms.met(player("Attic", Reach::Away("it does not answer".to_owned())));
            assert_eq!(sink.shown(), Some(40.0));
            // A hand on its way, a percent at a time, comes to where it goes and back.
            for percent in (10..40).rev().chain(10..=40) {
                sink.drag(f64::from(percent));
            }
            assert_eq!([sink.percent("Bath"), sink.percent("Kitchen"), sink.percent("Attic")], [20.0, 40.0, 80.0]);
            assert!(sink.rooms.there().any(|player| player.room == "Attic"), "it keeps its sink");
            sink.rooms.met(player("Attic", Reach::Ready));
            assert_eq!(sink.shown(), Some(80.0));
        }
    }

    #[test]
    fn a_room_that_others_have_silenced_is_heard_again() {
        let mut sink = Sink { target: Target::Player(key("Kitchen")), ..Sink::new(&[("Kitchen", 80.0)]) };
        sink.drag(50.0);
        let silent = sink.rooms.states[&key("Kitchen")].told.changed(&RoomChange::volume(0.0)).unwrap();
        sink.rooms.told(key("Kitchen"), silent, true);
        sink.fader.release();
        sink.drag(30.0);
        assert_eq!(sink.percent("Kitchen"), 30.0);
    }

    #[test]
    fn what_was_asked_for_counts_until_the_player_has_answered() {
        let mut sink = Sink::new(&[("Kitchen", 80.0)]);
        assert!(sink.rooms.ask(&key("Kitchen"), &RoomChange::volume(30.0)));
        sink.rooms.told(key("Kitchen"), volume("Kitchen", 70.0), false);
        assert_eq!(sink.shown(), Some(30.0));
        assert!(sink.rooms.not_set(&key("Kitchen")) && !sink.rooms.not_set(&key("Bath")));
        assert_eq!(sink.shown(), Some(70.0));
        assert!(!sink.rooms.ask(&key("Kitchen"), &RoomChange::volume(101.0)), "no room does that");
    }

    #[test]
    fn a_room_with_a_new_name_is_as_it_was() {
        let mut sink = Sink::new(&[("Kitchen", 80.0), ("Bath", 20.0)]);
        sink.rooms.renamed(&key("Kitchen"), &key("Galley"));
        sink.rooms.forgotten(&key("Kitchen"));
        // Before it is told of under its new name.
        assert_eq!(sink.shown(), Some(80.0), "the group's slider stays where it is");
        sink.rooms.forgotten(&key("Bath"));
        assert!(sink.rooms.has_members(&GROUP.to_owned()) && sink.rooms.knows(&key("Galley")));
        assert_eq!((sink.shown(), sink.rooms.there().count()), (Some(80.0), 1));
        sink.rooms.met(player("Galley", Reach::Ready));
        assert_eq!(sink.shown(), Some(80.0));
        assert_eq!(sink.rooms.there().map(|player| player.room.as_str()).collect::<Vec<_>>(), ["Galley"]);
        assert!(sink.rooms.has_members(&GROUP.to_owned()));
    }
}

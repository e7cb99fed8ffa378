//! What a mixer shows of its rooms and what has to be set at them when somebody moves it. No ALSA, no network.

use std::collections::BTreeMap;

use audera_sender::{Fader, GroupState, HubEvent, PlayerInfo, PlayerKey, RoomChange, RoomState, Target, Volume};

/// The loudest value of the slider: values are percent.
pub(super) const MOST: i64 = 100;

/// One of the two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// The slider.
    Volume,
    /// 1 while the rooms are not mute.
    Switch,
}

impl Control {
    pub(super) const ALL: [Self; 2] = [Self::Volume, Self::Switch];
}

/// Nobody is there of whom something could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away;

/// A slider and a switch for the rooms of a target.
#[derive(Debug)]
pub(super) struct Desk {
    target: Target,
    players: BTreeMap<PlayerKey, PlayerInfo>,
    rooms: BTreeMap<PlayerKey, RoomState>,
    fader: Fader<PlayerKey>,
    /// As the application knows them; `None` before anything is known.
    shown: Option<Shown>,
    /// Whether the application wants to hear of changes, and of which it has not heard yet.
    listens: bool,
    changed: [bool; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    volume: i64,
    on: bool,
}

impl Shown {
    fn of(rooms: GroupState) -> Self {
        let percent = rooms.volume.percent();
        // The least that is heard is not nought.
        let volume = if percent > 0.0 { (percent.round() as i64).max(1) } else { 0 };
        Self { volume, on: !rooms.mute }
    }
}

impl Desk {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            players: BTreeMap::new(),
            rooms: BTreeMap::new(),
            fader: Fader::default(),
            shown: None,
            listens: false,
            changed: [false; 2],
        }
    }

    /// Takes note of what the hub tells.
    pub(super) fn hear(&mut self, event: &HubEvent) {
        match event {
            HubEvent::Player(player) => self.meet(player),
            HubEvent::Forgotten(key) => {
                self.players.remove(key);
                self.rooms.remove(key);
            }
            HubEvent::Room { key, state, settled } => self.learn(key, state, *settled),
            HubEvent::Renamed { was, now } => self.target.rename(was, now),
            // What is in force is told as a state of the room.
            HubEvent::NotSet { .. } | HubEvent::Stream(_) | HubEvent::Trouble(_) => return,
        }
        self.show();
    }

    /// Takes note of what the hub has told before, of which newer things may have been heard already.
    pub(super) fn catch_up<'a>(
        &mut self,
        players: impl Iterator<Item = &'a PlayerInfo>,
        rooms: impl Iterator<Item = (&'a PlayerKey, &'a RoomState)>,
    ) {
        for player in players.filter(|player| !self.players.contains_key(&player.key)).collect::<Vec<_>>() {
            self.meet(player);
        }
        rooms.for_each(|(key, state)| self.learn(key, state, false));
        self.show();
    }

    fn meet(&mut self, player: &PlayerInfo) {
        self.players.insert(player.key.clone(), player.clone());
    }

    fn learn(&mut self, key: &PlayerKey, state: &RoomState, settled: bool) {
        // One that is not settled is older than what was asked for, which is taken as the state meanwhile.
        if settled || !self.rooms.contains_key(key) {
            self.rooms.insert(key.clone(), state.clone());
        }
    }

    /// The rooms that are there, as far as they are known.
    fn there(&self) -> BTreeMap<PlayerKey, RoomState> {
        let moves = |player: &PlayerInfo| self.target.moves(player);
        let known = self.rooms.iter().filter(|(key, _)| self.players.get(key).is_some_and(moves));
        known.map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    /// Shows the rooms as they are. While none is there the last that was known stays.
    fn show(&mut self) {
        let Some(now) = GroupState::of(self.there().values()).map(Shown::of) else { return };
        if let Some(before) = self.shown {
            self.changed[Control::Volume as usize] |= self.listens && before.volume != now.volume;
            self.changed[Control::Switch as usize] |= self.listens && before.on != now.on;
        }
        self.shown = Some(now);
    }

    /// Whether anything is known of the rooms.
    pub(super) fn is_known(&self) -> bool {
        self.shown.is_some()
    }

    /// The value of an element.
    pub(super) fn value(&self, control: Control) -> i64 {
        match (self.shown, control) {
            (None, _) => 0,
            (Some(shown), Control::Volume) => shown.volume,
            (Some(shown), Control::Switch) => shown.on.into(),
        }
    }

    /// The application has given an element this value. What has to be set at the rooms for it; it counts as set from here on.
    pub(super) fn set(&mut self, control: Control, value: i64) -> Result<Vec<(PlayerKey, RoomChange)>, Away> {
        let rooms = self.there();
        if rooms.is_empty() {
            return Err(Away);
        }
        let changes = match control {
            Control::Volume if self.value(control) == value => Vec::new(),
            Control::Volume => self.fader.set(&rooms, Some(Volume::nearest(value as f64)), None),
            // Room by room: some may be mute while the group is not.
            Control::Switch => {
                let change = RoomChange { mute: Some(value == 0), ..RoomChange::default() };
                let needs = |room: &RoomState| room.mute != (value == 0) && room.changed(&change).is_ok();
                rooms.iter().filter(|(_, room)| needs(room)).map(|(key, _)| (key.clone(), change.clone())).collect()
            }
        };
        if changes.is_empty() && self.value(control) == value {
            return Ok(changes);
        }
        // The application sees at once what has become of it.
        self.fader.release();
        for (key, change) in &changes {
            if let Some(Ok(state)) = rooms.get(key).map(|room| room.changed(change)) {
                self.rooms.insert(key.clone(), state);
            }
        }
        // The application knows what it has set; if that is not what has come of it, as past a limit, it has to hear of it.
        if let Some(shown) = &mut self.shown {
            match control {
                Control::Volume => shown.volume = value,
                Control::Switch => shown.on = value != 0,
            }
        }
        self.show();
        Ok(changes)
    }

    /// Begins or ends to tell of changes.
    pub(super) fn listen(&mut self, listens: bool) {
        self.listens = listens;
        self.changed = [false; 2];
    }

    /// Whether there is a change to be told.
    pub(super) fn has_news(&self) -> bool {
        self.changed.contains(&true)
    }

    /// An element that has changed.
    pub(super) fn news(&mut self) -> Option<Control> {
        Control::ALL.into_iter().find(|control| std::mem::take(&mut self.changed[*control as usize]))
    }
}

#[cfg(test)]
mod tests {
    use audera_sender::Reach;

    use super::*;

    fn key(room: &str) -> PlayerKey {
        PlayerKey::Discovered(room.to_owned())
    }

    fn player(room: &str, reach: Reach) -> HubEvent {
        HubEvent::Player(PlayerInfo {
            address: None,
            addresses: Vec::new(),
            software: None,
            key: key(room),
            room: room.to_owned(),
            groups: vec!["Downstairs".to_owned()],
            id: None,
            announced: true,
            takes: None,
            reach,
        })
    }

    fn room(name: &str, percent: f64, mute: bool) -> RoomState {
        RoomState { volume: Volume::nearest(percent), mute, ..RoomState::new(name) }
    }

    fn told(state: RoomState, settled: bool) -> HubEvent {
        HubEvent::Room { key: key(&state.name), state, settled }
    }

    /// A desk for these rooms, which are there, with an application that listens.
    fn desk(rooms: &[(&str, f64)]) -> Desk {
        let mut desk = Desk::new(Target::Named(vec!["Downstairs".to_owned()]));
        for (name, percent) in rooms {
            desk.hear(&player(name, Reach::Ready));
            desk.hear(&told(room(name, *percent, false), true));
        }
        desk.listen(true);
        desk
    }

    fn values(desk: &Desk) -> [i64; 2] {
        Control::ALL.map(|control| desk.value(control))
    }

    #[test]
    fn what_others_change_is_news_once() {
        let mut desk = desk(&[("Kitchen", 50.0)]);
        assert_eq!((values(&desk), desk.news()), ([50, 1], None));
        desk.hear(&told(room("Kitchen", 20.0, true), true));
        assert_eq!(values(&desk), [20, 0]);
        assert_eq!([desk.news(), desk.news(), desk.news()], [Some(Control::Volume), Some(Control::Switch), None]);
        desk.hear(&told(room("Kitchen", 20.2, true), true));
        assert!(!desk.has_news(), "the slider shows no tenths");
        desk.hear(&told(room("Bath", 90.0, false), true));
        assert!(!desk.has_news(), "a room that nobody has met");
        desk.listen(false);
        desk.hear(&told(room("Kitchen", 60.0, false), true));
        assert_eq!((values(&desk), desk.has_news()), ([60, 1], false));
    }

    #[test]
    fn what_is_set_is_shown_whatever_older_states_say() {
        let mut desk = desk(&[("Kitchen", 50.0)]);
        assert_eq!(desk.set(Control::Volume, 40), Ok(vec![(key("Kitchen"), RoomChange::volume(40.0))]));
        desk.hear(&told(room("Kitchen", 50.0, false), false));
        assert_eq!((values(&desk), desk.has_news()), ([40, 1], false));
        assert_eq!(desk.set(Control::Volume, 40), Ok(Vec::new()));
        assert_eq!(desk.set(Control::Switch, 0).unwrap().len(), 1);
        // It was refused.
        desk.hear(&told(room("Kitchen", 50.0, false), true));
        assert_eq!((values(&desk), desk.has_news()), ([50, 1], true));
    }

    #[test]
    fn past_a_limit_the_application_hears_what_has_become_of_it() {
        let mut desk = desk(&[]);
        desk.hear(&player("Bath", Reach::Ready));
        let limited = RoomState { max_volume: Volume::nearest(60.0), ..room("Bath", 30.0, false) };
        desk.hear(&told(limited, true));
        assert!(!desk.has_news(), "nothing was known before");
        desk.set(Control::Volume, 90).unwrap();
        assert_eq!((desk.value(Control::Volume), desk.news()), (60, Some(Control::Volume)));
    }

    #[test]
    fn a_group_moves_in_proportion() {
        let mut desk = desk(&[("Bath", 20.0), ("Kitchen", 80.0)]);
        assert_eq!(desk.value(Control::Volume), 80);
        let changes = desk.set(Control::Volume, 40).unwrap();
        let expected = [("Bath", 10.0), ("Kitchen", 40.0)];
        assert_eq!(changes, expected.map(|(room, percent)| (key(room), RoomChange::volume(percent))));
        desk.hear(&told(room("Bath", 10.0, true), true));
        assert_eq!(desk.value(Control::Switch), 1, "not all are mute");
        // Nor is any of them after this.
        let unmute = RoomChange { mute: Some(false), ..RoomChange::default() };
        assert_eq!(desk.set(Control::Switch, 1), Ok(vec![(key("Bath"), unmute)]));
        assert_eq!(desk.set(Control::Switch, 1), Ok(Vec::new()));
    }

    #[test]
    fn a_room_that_is_away_shows_what_it_was_and_cannot_be_set() {
        let mut desk = desk(&[("Kitchen", 50.0)]);
        desk.hear(&player("Kitchen", Reach::Away("gone".to_owned())));
        assert_eq!((values(&desk), desk.has_news()), ([50, 1], false));
        assert_eq!(desk.set(Control::Volume, 40), Err(Away));
        desk.hear(&HubEvent::Forgotten(key("Kitchen")));
        assert_eq!(desk.value(Control::Volume), 50);
        desk.hear(&player("Kitchen", Reach::Ready));
        desk.hear(&told(room("Kitchen", 30.0, false), true));
        assert_eq!((desk.value(Control::Volume), desk.news()), (30, Some(Control::Volume)));
    }

    /// As `amixer` does it, after somebody else has silenced the room.
    #[test]
    fn a_room_that_others_have_silenced_is_heard_again() {
        let mut desk = desk(&[("Kitchen", 80.0)]);
        desk.set(Control::Volume, 50).unwrap();
        let silent = room("Kitchen", 50.0, false).changed(&RoomChange::volume(0.0)).unwrap();
        desk.hear(&told(silent, true));
        assert_eq!(desk.value(Control::Volume), 0);
        assert_eq!(desk.set(Control::Volume, 30), Ok(vec![(key("Kitchen"), RoomChange::volume(30.0))]));
        assert_eq!((desk.value(Control::Volume), desk.has_news()), (30, true), "the news is the nought");
    }

    #[test]
    fn a_room_with_a_new_name_is_the_same_one() {
        // The new name is announced before the old one is given up, or is not known until then.
        for is_known in [false, true] {
            let target = Target::Player(key("Kitchen"));
            let mut desk = Desk { target, ..desk(&[("Kitchen", 50.0), ("Bath", 50.0)]) };
            if is_known {
                desk.hear(&player("Galley", Reach::Ready));
            }
            desk.hear(&HubEvent::Renamed { was: key("Kitchen"), now: key("Galley") });
            desk.hear(&HubEvent::Forgotten(key("Kitchen")));
            desk.hear(&player("Galley", Reach::Ready));
            desk.hear(&told(room("Galley", 50.0, false), true));
            assert_eq!(desk.set(Control::Volume, 40), Ok(vec![(key("Galley"), RoomChange::volume(40.0))]));
            // Whoever gets the old name is another one.
            desk.hear(&player("Kitchen", Reach::Ready));
            desk.hear(&told(room("Kitchen", 50.0, false), true));
            assert_eq!(desk.set(Control::Volume, 30), Ok(vec![(key("Galley"), RoomChange::volume(30.0))]));
        }
    }

    #[test]
    fn what_was_told_before_does_not_replace_what_is_newer() {
        let mut desk = Desk::new(Target::Everywhere);
        desk.hear(&player("Kitchen", Reach::Ready));
        desk.hear(&told(room("Kitchen", 50.0, false), true));
        let HubEvent::Player(old) = player("Kitchen", Reach::Searching) else { return };
        let (key, state) = (key("Kitchen"), room("Kitchen", 10.0, true));
        desk.catch_up([&old].into_iter(), [(&key, &state)].into_iter());
        assert_eq!(values(&desk), [50, 1]);
    }

    #[test]
    fn what_is_hardly_heard_is_not_nought() {
        assert_eq!(desk(&[("Kitchen", 0.2)]).value(Control::Volume), 1);
        assert_eq!(desk(&[("Kitchen", 0.0)]).value(Control::Volume), 0);
    }
}

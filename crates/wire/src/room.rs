//! The state that belongs to a room, and changes to it: one definition for the player, which owns it, and for all who see and set it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dnssd::label_fault;
use crate::limits::{MAX_GROUPS, MAX_NAME, MAX_REASON};
use crate::text;
use crate::volume::Volume;

/// Largest delay behind the device that can be made up for, either way, ms.
pub const MAX_OUTPUT_DELAY_MS: f64 = 500.0;

/// Largest step of the volume, either way, dB: from the least volume that is not silence to the full one.
pub const MAX_STEP_DB: f64 = 240.0;
/// The largest step of a volume in percentage points, either way.
const MAX_STEP: f64 = 100.0;

/// Which channel of a stereo stream is heard from which loudspeaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelMode {
    /// As it is.
    #[default]
    Stereo,
    /// The left channel from both loudspeakers.
    Left,
    /// The right channel from both loudspeakers.
    Right,
    /// The mean of all channels from all loudspeakers.
    Mono,
    /// Left and right exchanged.
    Swapped,
}

impl ChannelMode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stereo, Self::Left, Self::Right, Self::Mono, Self::Swapped];

    /// Name on the wire, in configuration and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stereo => "stereo",
            Self::Left => "left",
            Self::Right => "right",
            Self::Mono => "mono",
            Self::Swapped => "swapped",
        }
    }
}

impl fmt::Display for ChannelMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is accepted as a channel mode, for error texts.
const CHANNEL_MODES: &str = "stereo, left, right, mono or swapped";

/// A text that names no channel mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("accepted: {CHANNEL_MODES}")]
pub struct UnknownChannelMode;

impl FromStr for ChannelMode {
    type Err = UnknownChannelMode;

    fn from_str(name: &str) -> Result<Self, UnknownChannelMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or(UnknownChannelMode)
    }
}

/// One part of a room's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoomKey {
    /// Its name.
    Name,
    /// Its volume.
    Volume,
    /// Whether it is mute.
    Mute,
    /// Its channel mode.
    ChannelMode,
    /// Its output delay.
    OutputDelay,
    /// Its groups.
    Groups,
    /// Its largest volume.
    MaxVolume,
    /// Its volume when the player starts.
    StartupVolume,
}

impl RoomKey {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Volume,
        Self::Mute,
        Self::ChannelMode,
        Self::OutputDelay,
        Self::Groups,
        Self::MaxVolume,
        Self::StartupVolume,
    ];

    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Volume => "volume",
            Self::Mute => "mute",
            Self::ChannelMode => "channel_mode",
            Self::OutputDelay => "output_delay_ms",
            Self::Groups => "groups",
            Self::MaxVolume => "max_volume",
            Self::StartupVolume => "startup_volume",
        }
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for RoomKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The state of a room, as its player has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomState {
    /// Name of the room, 1 to [`MAX_NAME`] bytes.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub name: String,
    /// Its volume; `max_volume` at most.
    pub volume: Volume,
    /// While `volume` is 0: how loud the room was when it could be heard last; `None` where nobody knows. Rooms that fell silent together
    /// keep their proportions by it, whoever makes them sound again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audible_volume: Option<Volume>,
    /// Whether it is mute; the volume stays beside it.
    pub mute: bool,
    /// Which channel is heard where.
    #[serde(serialize_with = "write_mode", deserialize_with = "read_mode")]
    pub channel_mode: ChannelMode,
    /// Delay behind the device, by which all is played earlier, ms: -500 to 500.
    pub output_delay_ms: f64,
    /// Groups the room is in, each 1 to [`MAX_NAME`] bytes, [`MAX_GROUPS`] at most.
    #[serde(deserialize_with = "text::texts::<_, MAX_GROUPS, MAX_NAME>")]
    pub groups: Vec<String>,
    /// The volume that is never exceeded, whoever sets it.
    pub max_volume: Volume,
    /// The volume when the player starts; `None`: as it was left.
    #[serde(default)]
    pub startup_volume: Option<Volume>,
    /// What the player's configuration holds fast: it cannot be set.
    #[serde(default, deserialize_with = "read_pinned")]
    pub pinned: Vec<RoomKey>,
}

/// A change of any part of a room's state. What it does not mention stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomChange {
    /// New name.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::optional_text::<_, MAX_REASON>")]
    pub name: Option<String>,
    /// New volume, percent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub volume: Option<f64>,
    /// What is added to the volume, percentage points, after `volume` was set; the sum is kept within 0 and the largest volume. Two
    /// people who press "louder" at once both have their way.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub volume_step: Option<f64>,
    /// What is added to the volume, dB, after `volume` and `volume_step`; what comes of it is kept within 0 and the largest volume. Silence has no
    /// dB: up from there is refused.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub volume_step_db: Option<f64>,
    /// How loud the room is to be known to have been when it could be heard last, percent; it counts if the room is silent after this change.
    /// Without it, that is the volume from before the change.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub audible_volume: Option<f64>,
    /// Mute or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<bool>,
    /// Name of the new channel mode.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::optional_text::<_, MAX_NAME>")]
    pub channel_mode: Option<String>,
    /// New output delay, ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub output_delay_ms: Option<f64>,
    /// All groups from now on.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_groups")]
    pub groups: Option<Vec<String>>,
    /// Groups that the room leaves, after `groups`, whatever other groups it is in. One that it is not in is no matter.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "text::texts::<_, MAX_GROUPS, MAX_NAME>")]
    pub remove_groups: Vec<String>,
    /// Groups that the room joins, after `remove_groups`, whatever other groups it is in. So two people who put a room into a group each both
    /// have their way. All lists of groups have [`MAX_GROUPS`] entries together at most.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "text::texts::<_, MAX_GROUPS, MAX_NAME>")]
    pub add_groups: Vec<String>,
    /// New largest volume, percent. A volume above it comes down with it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text::finite")]
    pub max_volume: Option<f64>,
    /// New volume at the player's start, percent; `Some(None)`, null on the wire: as it was left.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub startup_volume: Option<Option<f64>>,
}

impl RoomChange {
    /// A change of the volume alone.
    #[must_use]
    pub fn volume(percent: f64) -> Self {
        Self { volume: Some(percent), ..Self::default() }
    }

    /// A change of mute alone.
    #[must_use]
    pub fn mute(mute: bool) -> Self {
        Self { mute: Some(mute), ..Self::default() }
    }

    /// A change that puts the room into a group, whatever others it is in.
    #[must_use]
    pub fn join(group: impl Into<String>) -> Self {
        Self { add_groups: vec![group.into()], ..Self::default() }
    }

    /// A change that takes the room out of a group.
    #[must_use]
    pub fn leave(group: impl Into<String>) -> Self {
        Self { remove_groups: vec![group.into()], ..Self::default() }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes a later change in: what both mention is as the later one says, and steps add up.
    ///
    /// Both in one need not do what one after the other would have done, see [`follow`](Self::follow).
    pub fn merge(&mut self, later: Self) {
        if let Some(volume) = later.volume {
            (self.volume, self.volume_step, self.volume_step_db) = (Some(volume), None, None);
        }
        // No further than one step may go: a sum that is too large would be refused, and all else with it.
        let sum = |before: Option<f64>, step: Option<f64>, most: f64| {
            step.map(|step| (before.unwrap_or(0.0) + step).clamp(-most, most)).or(before)
        };
        self.volume_step = sum(self.volume_step, later.volume_step, MAX_STEP);
        self.volume_step_db = sum(self.volume_step_db, later.volume_step_db, MAX_STEP_DB);
        self.audible_volume = later.audible_volume.or(self.audible_volume);
        self.name = later.name.or(self.name.take());
        self.mute = later.mute.or(self.mute);
        self.channel_mode = later.channel_mode.or(self.channel_mode.take());
        self.output_delay_ms = later.output_delay_ms.or(self.output_delay_ms);
        if later.groups.is_some() {
            self.groups = later.groups;
            self.remove_groups.clear();
            self.add_groups.clear();
        }
        for group in later.remove_groups {
            self.add_groups.retain(|added| *added != group);
            put(&mut self.remove_groups, &group);
        }
        for group in later.add_groups {
            self.remove_groups.retain(|removed| *removed != group);
            put(&mut self.add_groups, &group);
        }
        self.max_volume = later.max_volume.or(self.max_volume);
        self.startup_volume = later.startup_volume.or(self.startup_volume);
    }

    /// The same, where the protocol has room for both in one; else all stays as it is. Lists of groups add up.
    ///
    /// # Errors
    /// The first key that both in one have no room for, see [`check_size`](Self::check_size).
    pub fn merge_within(&mut self, later: Self) -> Result<(), RoomRefusal> {
        let mut both = self.clone();
        both.merge(later);
        both.check_size()?;
        *self = both;
        Ok(())
    }

    /// Takes a later change in, if both in one do what one after the other would have done at any room, whatever its limits and whatever
    /// it refuses; else gives it back. Only what a room that falls silent is known to have been may be from a moment before.
    ///
    /// That is so where the later one says anew what this one says, and no more. Steps add up in one direction only: on the way forth and back there
    /// may be a limit. A limit that is taken back would have cut the volume before. Steps in dB are rounded each by itself, and whether a room can join
    /// a group depends on how many it is in: both stay apart.
    #[must_use = "a later change that is given back has to stay one of its own"]
    pub fn follow(&mut self, mut later: Self) -> Option<Self> {
        // One that is refused takes nothing with it that would have been accepted.
        let any = RoomState::new("any");
        let acceptable = any.changed(self).is_ok() && any.changed(&later).is_ok();
        let raised = matches!((self.max_volume, later.max_volume), (Some(before), Some(after)) if after > before);
        let steps = match (self.volume_step, later.volume_step) {
            // What is above the limit counts from the limit.
            (Some(_), Some(_)) if self.volume.is_some() || later.volume.is_some() || self.max_volume.is_some() => None,
            (Some(one), Some(other)) => Some(one + other).filter(|sum| one * other >= 0.0 && sum.abs() <= MAX_STEP),
            (None, Some(_)) if self.volume.is_some() => None,
            _ => Some(later.volume_step.unwrap_or(0.0)),
        };
        let audible_alone = |change: &Self| change.audible_volume.is_some() && change.volume.is_none();
        let apart = [&*self, &later].into_iter().any(|change| {
            let regroups = !change.add_groups.is_empty() || !change.remove_groups.is_empty();
            change.volume_step_db.is_some() || regroups || audible_alone(change)
        });
        let raised = raised && later.volume.is_none();
        let limited = self.max_volume.is_some() && later.volume_step.is_some() && later.volume.is_none();
        match steps {
            Some(steps) if acceptable && self.keys().eq(later.keys()) && !raised && !limited && !apart => {
                later.volume_step = later.volume_step.map(|_| steps);
                later.audible_volume = later.audible_volume.or(self.audible_volume);
                *self = later;
                None
            }
            _ => Some(later),
        }
    }

    /// Whether it says where everything is to be, so that twice is once; steps do not.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        let steps = self.volume_step.is_some() || self.volume_step_db.is_some();
        !steps || self.volume.is_some()
    }

    /// The keys that it sets.
    pub(crate) fn keys(&self) -> impl Iterator<Item = RoomKey> + use<> {
        let volume = [self.volume, self.volume_step, self.volume_step_db, self.audible_volume];
        let set = [
            (RoomKey::Name, self.name.is_some()),
            (RoomKey::Volume, volume.iter().any(Option::is_some)),
            (RoomKey::Mute, self.mute.is_some()),
            (RoomKey::ChannelMode, self.channel_mode.is_some()),
            (RoomKey::OutputDelay, self.output_delay_ms.is_some()),
            (RoomKey::Groups, self.regroups()),
            (RoomKey::MaxVolume, self.max_volume.is_some()),
            (RoomKey::StartupVolume, self.startup_volume.is_some()),
        ];
        set.into_iter().filter_map(|(key, set)| set.then_some(key))
    }

    /// Whether it says anything of groups.
    fn regroups(&self) -> bool {
        self.groups.is_some() || !self.remove_groups.is_empty() || !self.add_groups.is_empty()
    }

    /// All groups that it names.
    fn groups_named(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flatten().chain(&self.remove_groups).chain(&self.add_groups)
    }

    /// Whether the protocol has room for it: what has not would have to be cut.
    ///
    /// # Errors
    /// The first key that it has no room for.
    pub fn check_size(&self) -> Result<(), RoomRefusal> {
        let text = |key: RoomKey, text: Option<&str>, most: usize| match text {
            Some(text) if text.len() > most || text.chars().any(char::is_control) => {
                Err(RoomRefusal::new(key, text, format!("at most {most} bytes without control characters")))
            }
            _ => Ok(()),
        };
        let figure = |key: RoomKey, figure: Option<f64>| match figure {
            Some(figure) if !figure.is_finite() => Err(RoomRefusal::new(key, figure, "finite numbers")),
            _ => Ok(()),
        };
        text(RoomKey::Name, self.name.as_deref(), MAX_REASON)?;
        figure(RoomKey::Volume, self.volume)?;
        figure(RoomKey::Volume, self.volume_step)?;
        figure(RoomKey::Volume, self.volume_step_db)?;
        figure(RoomKey::Volume, self.audible_volume)?;
        text(RoomKey::ChannelMode, self.channel_mode.as_deref(), MAX_NAME)?;
        figure(RoomKey::OutputDelay, self.output_delay_ms)?;
        self.groups_named().try_for_each(|group| text(RoomKey::Groups, Some(group), MAX_NAME))?;
        RoomRefusal::too_many(self.groups_named().count())?;
        figure(RoomKey::MaxVolume, self.max_volume)?;
        figure(RoomKey::StartupVolume, self.startup_volume.flatten())
    }

    /// The same with texts cut so that no peer fails to read it, and with figures that are no numbers left out. Nothing is where
    /// [`check_size`](Self::check_size) has nothing against it.
    pub(crate) fn fit_for_wire(&self) -> Self {
        let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
        // The lists of groups share their room.
        let groups = self.groups.as_deref().map(fit_groups);
        let left = MAX_GROUPS - groups.as_ref().map_or(0, Vec::len);
        let mut remove_groups = fit_groups(&self.remove_groups);
        remove_groups.truncate(left);
        let mut add_groups = fit_groups(&self.add_groups);
        add_groups.truncate(left - remove_groups.len());
        Self {
            name: self.name.as_deref().map(|name| text::clip(name, MAX_REASON)),
            volume: finite(self.volume),
            volume_step: finite(self.volume_step),
            volume_step_db: finite(self.volume_step_db),
            audible_volume: finite(self.audible_volume),
            mute: self.mute,
            channel_mode: self.channel_mode.as_deref().map(|mode| text::clip(mode, MAX_NAME)),
            output_delay_ms: finite(self.output_delay_ms),
            groups,
            remove_groups,
            add_groups,
            max_volume: finite(self.max_volume),
            startup_volume: self.startup_volume.map(finite),
        }
    }
}

/// Changes that wait, one after the other; those that can be one are. So a slider that moves leaves one, however often it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomChanges(VecDeque<RoomChange>);

impl RoomChanges {
    /// The most of them. Whoever piles up more has the last two merged, so that the last word on each key counts and the way to it may not; or is
    /// refused, where the protocol has no room for both in one.
    const MOST: usize = 16;

    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one behind the others.
    ///
    /// # Errors
    /// So many wait already that it would have to be one with the last of them, for which the protocol has no room. Nothing of it is taken.
    pub fn push(&mut self, change: RoomChange) -> Result<(), RoomRefusal> {
        if change.is_empty() {
            return Ok(());
        }
        let full = self.0.len() >= Self::MOST;
        match self.0.back_mut() {
            None => self.0.push_back(change),
            Some(last) => match last.follow(change) {
                None => {}
                Some(change) if full => last.merge_within(change)?,
                Some(change) => self.0.push_back(change),
            },
        }
        Ok(())
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<RoomChange> {
        self.0.pop_front()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a change was not made. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{key} cannot be {value:?}; accepted: {accepted}")]
pub struct RoomRefusal {
    /// The key.
    #[serde(deserialize_with = "text::text::<_, MAX_NAME>")]
    pub key: String,
    /// The value that was to be set.
    #[serde(deserialize_with = "text::text::<_, MAX_REASON>")]
    pub value: String,
    /// What is accepted.
    #[serde(deserialize_with = "text::text::<_, MAX_REASON>")]
    pub accepted: String,
}

impl RoomRefusal {
    /// Why somebody may not make any change, this one for example.
    #[must_use]
    pub fn of_all(change: &RoomChange, why: impl Into<String>) -> Self {
        let key = change.keys().next().unwrap_or(RoomKey::Name);
        Self::new(key, "changed", why)
    }

    fn too_many(groups: usize) -> Result<(), Self> {
        if groups <= MAX_GROUPS {
            return Ok(());
        }
        let accepted = format!("at most {MAX_GROUPS} groups");
        Err(Self::new(RoomKey::Groups, format_args!("{groups} groups"), accepted))
    }

    fn new(key: RoomKey, value: impl fmt::Display, accepted: impl Into<String>) -> Self {
        Self { key: key.name().to_owned(), value: value.to_string(), accepted: accepted.into() }
    }

    pub(crate) fn fit_for_wire(&self) -> Self {
        Self {
            key: text::clip(&self.key, MAX_NAME),
            value: text::clip(&self.value, MAX_REASON),
            accepted: text::clip(&self.accepted, MAX_REASON),
        }
    }
}

impl RoomState {
    /// A room of this name with everything as it is without settings: full volume, which leaves samples as they are.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            volume: Volume::FULL,
            audible_volume: None,
            mute: false,
            channel_mode: ChannelMode::Stereo,
            output_delay_ms: 0.0,
            groups: Vec::new(),
            max_volume: Volume::FULL,
            startup_volume: None,
            pinned: Vec::new(),
        }
    }

    /// How loud the room is, or was when it could be heard last; `None` where nobody knows.
    #[must_use]
    pub fn heard_last(&self) -> Option<Volume> {
        if self.volume == Volume::SILENT { self.audible_volume } else { Some(self.volume) }
    }

    /// The state after a change.
    ///
    /// A volume above the largest one is brought down to it, silently: a slider that is drawn too far stops there.
    ///
    /// # Errors
    /// The first key with a value that is not accepted.
    pub fn changed(&self, change: &RoomChange) -> Result<Self, RoomRefusal> {
        if let Some(key) = change.keys().find(|key| self.pinned.contains(key)) {
            return Err(RoomRefusal::new(key, "changed", "nothing: the player's configuration pins it"));
        }
        let mut new = self.clone();
        if let Some(name) = &change.name {
            if !is_label(name) {
                let accepted = "1 to 63 bytes without control characters, and no blank at either end";
                return Err(RoomRefusal::new(RoomKey::Name, name, accepted));
            }
            new.name.clone_from(name);
        }
        if let Some(max) = change.max_volume {
            new.max_volume = percent(RoomKey::MaxVolume, max)?;
        }
        if let Some(volume) = change.volume {
            new.volume = percent(RoomKey::Volume, volume)?;
        }
        if let Some(step) = change.volume_step {
            if !(-MAX_STEP..=MAX_STEP).contains(&step) {
                return Err(RoomRefusal::new(RoomKey::Volume, format_args!("{step:+}"), "steps of -100 to +100"));
            }
            // Hundredths, so that many steps forth and back end where they began.
            new.volume = Volume::nearest(((new.volume.percent() + step) * 100.0).round() / 100.0);
        }
        if let Some(step) = change.volume_step_db {
            let refused = |accepted| Err(RoomRefusal::new(RoomKey::Volume, format_args!("{step:+} dB"), accepted));
            if !(-MAX_STEP_DB..=MAX_STEP_DB).contains(&step) {
                return refused(format!("steps of -{MAX_STEP_DB} to +{MAX_STEP_DB} dB"));
            }
            if step > 0.0 && new.volume == Volume::SILENT {
                return refused(
                    "steps of dB from a volume above 0 %: silence has none, so set a volume in percent first"
                        .to_owned(),
                );
            }
            new.volume = new.volume.louder(step);
        }
        if let Some(startup) = change.startup_volume {
            new.startup_volume = startup.map(|startup| percent(RoomKey::StartupVolume, startup)).transpose()?;
        }
        new.volume = new.volume.min(new.max_volume);
        let audible = change.audible_volume.map(|audible| percent(RoomKey::Volume, audible)).transpose()?;
        new.audible_volume = match new.volume == Volume::SILENT {
            true => audible.or(self.heard_last()),
            false => None,
        };
        new.mute = change.mute.unwrap_or(new.mute);
        if let Some(mode) = &change.channel_mode {
            new.channel_mode = mode.parse().map_err(|_| RoomRefusal::new(RoomKey::ChannelMode, mode, CHANNEL_MODES))?;
        }
        if let Some(delay) = change.output_delay_ms {
            if !(-MAX_OUTPUT_DELAY_MS..=MAX_OUTPUT_DELAY_MS).contains(&delay) {
                return Err(RoomRefusal::new(RoomKey::OutputDelay, delay, "-500 to 500"));
            }
            new.output_delay_ms = delay;
        }
        if change.regroups() {
            let unfit = |group: &&String| !is_label(group) || group.contains(',');
            if let Some(group) = change.groups_named().find(unfit) {
                let accepted = "1 to 63 bytes without control characters and commas, and no blank at either end";
                return Err(RoomRefusal::new(RoomKey::Groups, group, accepted));
            }
            if let Some(groups) = &change.groups {
                RoomRefusal::too_many(groups.len())?;
                new.groups.clear();
                groups.iter().for_each(|group| put(&mut new.groups, group));
            }
            new.groups.retain(|group| !change.remove_groups.contains(group));
            change.add_groups.iter().for_each(|group| put(&mut new.groups, group));
            RoomRefusal::too_many(new.groups.len())?;
        }
        Ok(new)
    }

    /// The same with texts cut to their limits, and with figures that are no numbers made nought.
    pub(crate) fn fit_for_wire(&self) -> Cow<'_, Self> {
        let fits = |text: &str| text.len() <= MAX_NAME && !text.chars().any(char::is_control);
        let groups_fit = self.groups.len() <= MAX_GROUPS && self.groups.iter().all(|group| fits(group));
        if fits(&self.name) && groups_fit && self.output_delay_ms.is_finite() {
            return Cow::Borrowed(self);
        }
        let output_delay_ms = if self.output_delay_ms.is_finite() { self.output_delay_ms } else { 0.0 };
        let (name, groups) = (text::clip(&self.name, MAX_NAME), fit_groups(&self.groups));
        Cow::Owned(Self { name, groups, output_delay_ms, ..self.clone() })
    }
}

/// Puts a group into a list; the same group twice is one.
fn put(groups: &mut Vec<String>, group: &String) {
    if !groups.contains(group) {
        groups.push(group.clone());
    }
}

fn fit_groups(groups: &[String]) -> Vec<String> {
    groups.iter().take(MAX_GROUPS).map(|group| text::clip(group, MAX_NAME)).collect()
}

fn percent(key: RoomKey, percent: f64) -> Result<Volume, RoomRefusal> {
    Volume::new(percent).ok_or_else(|| RoomRefusal::new(key, percent, "0 to 100 (percent)"))
}

/// Whether a text can name a room, which is a label of DNS-SD.
fn is_label(text: &str) -> bool {
    label_fault(text).is_none()
}

fn write_mode<S: Serializer>(mode: &ChannelMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.name())
}

/// A mode; one of a newer version is shown as stereo.
fn read_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChannelMode, D::Error> {
    Ok(text::text::<D, MAX_NAME>(deserializer)?.parse().unwrap_or_default())
}

/// Keys; those of a newer version are left out.
fn read_pinned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RoomKey>, D::Error> {
    let names = text::texts::<D, MAX_GROUPS, MAX_NAME>(deserializer)?;
    Ok(RoomKey::ALL.into_iter().filter(|key| names.iter().any(|name| name == key.name())).collect())
}

fn read_groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    text::texts::<D, MAX_GROUPS, MAX_NAME>(deserializer).map(Some)
}

/// A number or null, either of which is something.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    text::finite(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kitchen() -> RoomState {
        RoomState { volume: Volume::new(40.0).unwrap(), ..RoomState::new("Kitchen") }
    }

    #[test]
    fn a_change_changes_what_it_mentions() {
        let change = RoomChange {
            name: Some("Salon".into()),
            volume: Some(55.5),
            channel_mode: Some("swapped".into()),
            output_delay_ms: Some(-12.5),
            groups: Some(vec!["Up".into(), "Up".into(), "All of it".into()]),
            startup_volume: Some(Some(20.0)),
            ..RoomChange::default()
        };
        let new = kitchen().changed(&change).unwrap();
        let wanted = RoomState {
            volume: Volume::new(55.5).unwrap(),
            channel_mode: ChannelMode::Swapped,
            output_delay_ms: -12.5,
            groups: vec!["Up".into(), "All of it".into()],
            startup_volume: Volume::new(20.0),
            ..RoomState::new("Salon")
        };
        assert_eq!(new, wanted);
        assert_eq!(kitchen().changed(&RoomChange::default()).unwrap(), kitchen());
        let left = new.changed(&RoomChange { startup_volume: Some(None), ..RoomChange::default() }).unwrap();
        assert_eq!(left.startup_volume, None);
    }

    #[test]
    fn nothing_is_louder_than_the_limit() {
        let limited = kitchen().changed(&RoomChange { max_volume: Some(30.0), ..RoomChange::default() }).unwrap();
        assert_eq!(limited.volume.percent(), 30.0);
        assert_eq!(limited.changed(&RoomChange::volume(90.0)).unwrap().volume.percent(), 30.0);
        let louder = RoomChange { volume_step: Some(5.0), ..RoomChange::default() };
        assert_eq!(limited.changed(&louder).unwrap().volume.percent(), 30.0);
        assert_eq!(
            limited.changed(&RoomChange::volume(10.0)).unwrap().changed(&louder).unwrap().volume.percent(),
            15.0
        );
    }

    #[test]
    fn a_refusal_names_key_value_and_what_is_accepted() {
        let cases = [
            (RoomChange::volume(100.5), "volume cannot be \"100.5\"; accepted: 0 to 100 (percent)"),
            (
                RoomChange { volume_step: Some(101.0), ..RoomChange::default() },
                "volume cannot be \"+101\"; accepted: steps of -100 to +100",
            ),
            (
                RoomChange { channel_mode: Some("both".into()), ..RoomChange::default() },
                "channel_mode cannot be \"both\"; accepted: stereo, left, right, mono or swapped",
            ),
            (
                RoomChange { output_delay_ms: Some(-500.5), ..RoomChange::default() },
                "output_delay_ms cannot be \"-500.5\"; accepted: -500 to 500",
            ),
            (
                RoomChange { groups: Some(vec!["a,b".into()]), ..RoomChange::default() },
                "groups cannot be \"a,b\"; accepted: 1 to 63 bytes without control characters and commas, and no blank at either end",
            ),
            (
                RoomChange { name: Some(" ".into()), mute: Some(true), ..RoomChange::default() },
                "name cannot be \" \"; accepted: 1 to 63 bytes without control characters, and no blank at either end",
            ),
        ];
        for (change, wanted) in cases {
            assert_eq!(kitchen().changed(&change).unwrap_err().to_string(), wanted);
        }
        let pinned = RoomState { pinned: vec![RoomKey::Volume], ..kitchen() };
        let step = RoomChange { volume_step: Some(1.0), ..RoomChange::default() };
        assert!(pinned.changed(&step).unwrap_err().to_string().contains("configuration pins it"));
        assert!(pinned.changed(&RoomChange::mute(true)).unwrap().mute);
    }

    fn step(points: f64) -> RoomChange {
        RoomChange { volume_step: Some(points), ..RoomChange::default() }
    }

    fn step_db(decibels: f64) -> RoomChange {
        RoomChange { volume_step_db: Some(decibels), ..RoomChange::default() }
    }

    #[test]
    fn steps_in_decibels_are_those_of_the_scale() {
        let after = |state: &RoomState, decibels: f64| state.changed(&step_db(decibels)).unwrap();
        let quieter = after(&kitchen(), -3.0);
        assert_eq!((quieter.volume.percent(), after(&quieter, 3.0).volume.percent()), (35.65, 40.0));
        assert_eq!(after(&kitchen(), 60.0).volume, Volume::FULL);
        // After the others, and not past the limit.
        let change = RoomChange { volume: Some(10.0), max_volume: Some(30.0), ..step_db(60.0) };
        assert_eq!(kitchen().changed(&change).unwrap().volume.percent(), 30.0);
        let silent = kitchen().changed(&RoomChange::volume(0.0)).unwrap();
        let refusal = silent.changed(&step_db(3.0)).unwrap_err().to_string();
        assert!(refusal.starts_with("volume cannot be \"+3 dB\"") && refusal.contains("silence has none"), "{refusal}");
        assert_eq!(after(&silent, -3.0), silent);
        assert!(kitchen().changed(&step_db(241.0)).unwrap_err().to_string().contains("-240 to +240 dB"));
        assert!(!step_db(1.0).is_absolute());
    }

    #[test]
    fn a_silent_room_knows_how_loud_it_was() {
        let volume = |percent| Volume::nearest(percent);
        let silent = kitchen().changed(&RoomChange::volume(0.0)).unwrap();
        assert_eq!((kitchen().audible_volume, silent.audible_volume), (None, Some(volume(40.0))));
        assert_eq!(silent.changed(&RoomChange::mute(true)).unwrap().audible_volume, Some(volume(40.0)));
        assert_eq!(silent.changed(&RoomChange::volume(0.0)).unwrap(), silent);
        assert_eq!(silent.changed(&RoomChange::volume(5.0)).unwrap().audible_volume, None);
        // By a step, and by a limit.
        assert_eq!(kitchen().changed(&step(-50.0)).unwrap().audible_volume, Some(volume(40.0)));
        let limit = RoomChange { max_volume: Some(0.0), ..RoomChange::default() };
        assert_eq!(kitchen().changed(&limit).unwrap().audible_volume, Some(volume(40.0)));
        // As somebody knows better.
        let told = RoomChange { audible_volume: Some(80.0), ..RoomChange::volume(0.0) };
        assert_eq!(kitchen().changed(&told).unwrap().audible_volume, Some(volume(80.0)));
        let told = RoomChange { audible_volume: Some(80.0), ..RoomChange::default() };
        assert_eq!(silent.changed(&told).unwrap().audible_volume, Some(volume(80.0)));
        assert_eq!(kitchen().changed(&told).unwrap(), kitchen(), "a room that sounds is as loud as it is");
        let wrong = RoomChange { audible_volume: Some(101.0), ..RoomChange::default() };
        assert!(kitchen().changed(&wrong).is_err());
    }

    #[test]
    fn who_joins_one_group_leaves_no_other() {
        let groups = |state: &RoomState| state.groups.join(",");
        let room = kitchen().changed(&RoomChange::join("Up")).unwrap().changed(&RoomChange::join("Down")).unwrap();
        assert_eq!(groups(&room), "Up,Down");
        assert_eq!(room.changed(&RoomChange::join("Up")).unwrap(), room);
        assert_eq!(groups(&room.changed(&RoomChange::leave("Up")).unwrap()), "Down");
        assert_eq!(room.changed(&RoomChange::leave("None")).unwrap(), room);
        let all = RoomChange { groups: Some(vec!["A".into(), "B".into()]), ..RoomChange::leave("A") };
        assert_eq!(groups(&room.changed(&RoomChange { add_groups: vec!["C".into()], ..all }).unwrap()), "B,C");
        assert!(room.changed(&RoomChange::join("a,b")).is_err());
        let pinned = RoomState { pinned: vec![RoomKey::Groups], ..room.clone() };
        assert!(pinned.changed(&RoomChange::join("New")).unwrap_err().to_string().contains("pins it"));
        let many: Vec<String> = (0..MAX_GROUPS).map(|number| number.to_string()).collect();
        let full = RoomState { groups: many, ..room };
        assert!(full.changed(&RoomChange::join("New")).unwrap_err().to_string().contains("at most 32 groups"));
        assert!(full.changed(&RoomChange::join("7")).is_ok());

        let mut merged = RoomChange::join("A");
        [RoomChange::leave("B"), RoomChange::leave("A"), RoomChange::join("B"), RoomChange::join("C")]
            .into_iter()
            .for_each(|change| merged.merge(change));
        assert_eq!((merged.remove_groups.join(","), merged.add_groups.join(",")), ("A".into(), "B,C".into()));
        merged.merge(RoomChange { groups: Some(Vec::new()), ..RoomChange::default() });
        assert_eq!(merged, RoomChange { groups: Some(Vec::new()), ..RoomChange::default() });
    }

    #[test]
    fn merged_changes_say_what_was_said_last() {
        let turns = [step(5.0), RoomChange::volume(20.0), step(10.0), step(-3.0), RoomChange::mute(true)];
        let mut merged = RoomChange::default();
        turns.into_iter().for_each(|change| merged.merge(change));
        let wanted =
            RoomChange { volume: Some(20.0), volume_step: Some(7.0), mute: Some(true), ..RoomChange::default() };
        assert_eq!(merged, wanted);
        assert!(merged.is_absolute() && !step(5.0).is_absolute());
    }

    #[test]
    fn a_slider_leaves_one_change_and_steps_forth_and_back_two() {
        let mut waiting = RoomChanges::new();
        (0..100).for_each(|percent| waiting.push(RoomChange::volume(f64::from(percent))).unwrap());
        assert_eq!((waiting.pop(), waiting.pop()), (Some(RoomChange::volume(99.0)), None));
        [30.0, 20.0, -50.0, 0.0, -5.0].into_iter().for_each(|points| waiting.push(step(points)).unwrap());
        assert_eq!((waiting.pop(), waiting.pop(), waiting.pop()), (Some(step(50.0)), Some(step(-55.0)), None));
        // However much is piled up.
        for turn in 0..1_000 {
            waiting.push(step(if turn % 2 == 0 { 1.0 } else { -1.0 })).unwrap();
        }
        waiting.push(RoomChange::mute(true)).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert!(all.len() == RoomChanges::MOST && all.last().is_some_and(|last| last.mute == Some(true)), "{all:?}");
    }

    #[test]
    fn a_pile_of_groups_is_refused_and_takes_nothing_else_with_it() {
        let mut waiting = RoomChanges::new();
        let taken = (0..1_000).filter(|number| waiting.push(RoomChange::join(number.to_string())).is_ok()).count();
        assert_eq!(taken, RoomChanges::MOST - 1 + MAX_GROUPS);
        let refusal = waiting.push(RoomChange::join("New")).unwrap_err();
        assert!(refusal.key == "groups" && refusal.accepted.contains("32 groups"), "{refusal}");
        waiting.push(RoomChange::volume(30.0)).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert!(all.iter().all(|change| change.check_size().is_ok() && change.fit_for_wire() == *change), "{all:?}");
        assert_eq!(all.iter().map(|change| change.add_groups.len()).sum::<usize>(), taken, "none is lost untold");
        assert_eq!(all.last().and_then(|last| last.volume), Some(30.0));
    }

    #[test]
    fn what_the_protocol_has_no_room_for_is_refused_by_name() {
        let groups = |groups: Vec<String>| RoomChange { groups: Some(groups), ..RoomChange::default() };
        let cases = [
            (groups(vec!["A".into(); MAX_GROUPS + 1]), "groups", "at most 32 groups"),
            (groups(vec!["A".repeat(MAX_NAME + 1)]), "groups", "at most 63 bytes"),
            (
                RoomChange { add_groups: vec!["A".into()], ..groups(vec!["A".into(); MAX_GROUPS]) },
                "groups",
                "32 groups",
            ),
            (RoomChange::leave("A".repeat(MAX_NAME + 1)), "groups", "at most 63 bytes"),
            (step_db(f64::NAN), "volume", "finite"),
            (RoomChange { name: Some("B\u{7}".into()), ..RoomChange::default() }, "name", "control"),
            (RoomChange::volume(f64::NAN), "volume", "finite"),
            (
                RoomChange { startup_volume: Some(Some(f64::INFINITY)), ..RoomChange::default() },
                "startup_volume",
                "finite",
            ),
        ];
        for (change, key, why) in cases {
            let refusal = change.check_size().unwrap_err();
            assert!(refusal.key == key && refusal.accepted.contains(why), "{refusal}");
        }
        assert_eq!(groups(vec!["A".repeat(MAX_NAME); MAX_GROUPS]).check_size(), Ok(()));
    }

    fn changes() -> impl Strategy<Value = RoomChange> {
        let percent = || prop::option::weighted(0.3, prop::sample::select(vec![0.0, 10.0, 45.0, 90.0, 100.0, 101.0]));
        let step = prop::option::weighted(0.3, prop::sample::select(vec![-101.0, -60.0, -5.0, 0.0, 5.0, 60.0]));
        let step_db = prop::option::weighted(0.1, prop::sample::select(vec![-241.0, -6.0, 3.0]));
        let name = prop::option::weighted(0.2, prop::sample::select(vec!["A", "B", ""]));
        let join = prop::option::weighted(0.1, prop::sample::select(vec!["A", "B", ","]));
        let leave = prop::option::weighted(0.1, prop::sample::select(vec!["A", "B"]));
        let audible = prop::option::weighted(0.1, prop::sample::select(vec![20.0, 101.0]));
        let mute = prop::option::weighted(0.3, any::<bool>());
        (percent(), step, step_db, audible, percent(), mute, name, (join, leave)).prop_map(
            |(volume, volume_step, volume_step_db, audible_volume, max_volume, mute, name, (join, leave))| RoomChange {
                volume,
                volume_step,
                volume_step_db,
                audible_volume,
                max_volume,
                mute,
                name: name.map(str::to_owned),
                add_groups: join.into_iter().map(str::to_owned).collect(),
                remove_groups: leave.into_iter().map(str::to_owned).collect(),
                ..RoomChange::default()
            },
        )
    }

    proptest! {
        #[test]
        fn what_follows_does_what_it_would_do_in_turn(
            changes in prop::collection::vec(changes(), 2..6),
            volume in 0u32..=100,
            limit in 0u32..=100,
            pinned in prop::option::weighted(0.2, prop::sample::select(RoomKey::ALL.to_vec())),
        ) {
            let (volume, max_volume) = (Volume::nearest(f64::from(volume.min(limit))), Volume::nearest(f64::from(limit)));
            let begin = RoomState { volume, max_volume, pinned: pinned.into_iter().collect(), ..RoomState::new("Kitchen") };
            // How loud the room was heard last, or was said to have been, at any time.
            let mut heard = vec![begin.heard_last()];
            // What is refused does nothing.
            let in_turn = changes.iter().fold(begin.clone(), |state, change| {
                let Ok(after) = state.changed(change) else { return state };
                heard.extend(change.audible_volume.map(Volume::new));
                heard.push(after.heard_last());
                after
            });
            let mut waiting = RoomChanges::new();
            changes.iter().cloned().for_each(|change| waiting.push(change).unwrap());
            let fewer: Vec<_> = waiting.0.into();
            let at_once = fewer.iter().fold(begin, |state, change| state.changed(change).unwrap_or(state));
            // Only this may be from a moment before.
            prop_assert!(heard.contains(&at_once.heard_last()), "{:?} is none of {:?} after {:?}", at_once, heard, fewer);
            let all_else = |state| RoomState { audible_volume: None, ..state };
            prop_assert_eq!(all_else(at_once), all_else(in_turn), "{:?}", fewer);
        }
    }
}

//! A change of a room's state: what it says, and when two of them can be one.

use serde::{Deserialize, Deserializer, Serialize};

use super::{RoomKey, RoomRefusal, RoomState, groups};
use crate::limits::{MAX_GROUPS, MAX_NAME, MAX_REASON};
use crate::text;

/// Largest step of the volume, either way, dB: from the least volume that is not silence to the full one.
pub const MAX_STEP_DB: f64 = 240.0;

/// The largest step of a volume in percentage points, either way.
pub(super) const MAX_STEP: f64 = 100.0;

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
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "groups::read_groups")]
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
            groups::put(&mut self.remove_groups, &group);
        }
        for group in later.add_groups {
            self.remove_groups.retain(|removed| *removed != group);
            groups::put(&mut self.add_groups, &group);
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
    pub(super) fn regroups(&self) -> bool {
        self.groups.is_some() || !self.remove_groups.is_empty() || !self.add_groups.is_empty()
    }

    /// All groups that it names.
    pub(super) fn groups_named(&self) -> impl Iterator<Item = &String> {
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
        groups::check_number(self.groups_named().count())?;
        figure(RoomKey::MaxVolume, self.max_volume)?;
        figure(RoomKey::StartupVolume, self.startup_volume.flatten())
    }

    /// The same with texts cut so that no peer fails to read it, and with figures that are no numbers left out. Nothing is where
    /// [`check_size`](Self::check_size) has nothing against it.
    pub(crate) fn fit_for_wire(&self) -> Self {
        let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
        // The lists of groups share their room.
        let all_groups = self.groups.as_deref().map(groups::fit_for_wire);
        let left = MAX_GROUPS - all_groups.as_ref().map_or(0, Vec::len);
        let mut remove_groups = groups::fit_for_wire(&self.remove_groups);
        remove_groups.truncate(left);
        let mut add_groups = groups::fit_for_wire(&self.add_groups);
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
            groups: all_groups,
            remove_groups,
            add_groups,
            max_volume: finite(self.max_volume),
            startup_volume: self.startup_volume.map(finite),
        }
    }
}

/// A number or null, either of which is something.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    text::finite(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::samples::{step, step_db};

    #[test]
    fn merged_lists_of_groups_say_what_was_said_last() {
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
}

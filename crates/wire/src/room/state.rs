//! The state of a room, and what becomes of it by a change.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::change::{MAX_STEP, MAX_STEP_DB};
use super::key::read_pinned;
use super::mode::{CHANNEL_MODES, read_mode, write_mode};
use super::{ChannelMode, RoomChange, RoomKey, RoomRefusal, groups};
use crate::dnssd::label_fault;
use crate::limits::{MAX_GROUPS, MAX_NAME};
use crate::text;
use crate::volume::Volume;

/// Largest delay behind the device that can be made up for, either way, ms.
pub const MAX_OUTPUT_DELAY_MS: f64 = 500.0;

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
            if label_fault(name).is_some() {
                let accepted = "1 to 63 bytes without control characters, and no blank at either end";
                return Err(RoomRefusal::new(RoomKey::Name, name, accepted));
            }
            new.name.clone_from(name);
        }
        if let Some(max) = change.max_volume {
            new.max_volume = percent(RoomKey::MaxVolume, max)?;
        }
        let volume = self.volume_after(change)?;
        if let Some(startup) = change.startup_volume {
            new.startup_volume = startup.map(|startup| percent(RoomKey::StartupVolume, startup)).transpose()?;
        }
        new.volume = volume.min(new.max_volume);
        let audible = change.audible_volume.map(|audible| percent(RoomKey::Volume, audible)).transpose()?;
        new.audible_volume = if new.volume == Volume::SILENT { audible.or(self.heard_last()) } else { None };
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
        new.groups = self.groups_after(change)?;
        Ok(new)
    }

    /// The volume after a change, whatever the largest one is.
    fn volume_after(&self, change: &RoomChange) -> Result<Volume, RoomRefusal> {
        let mut volume = match change.volume {
            Some(volume) => percent(RoomKey::Volume, volume)?,
            None => self.volume,
        };
        if let Some(step) = change.volume_step {
            if !(-MAX_STEP..=MAX_STEP).contains(&step) {
                return Err(RoomRefusal::new(RoomKey::Volume, format_args!("{step:+}"), "steps of -100 to +100"));
            }
            // Hundredths, so that many steps forth and back end where they began.
            volume = Volume::nearest(((volume.percent() + step) * 100.0).round() / 100.0);
        }
        if let Some(step) = change.volume_step_db {
            let refused = |accepted| Err(RoomRefusal::new(RoomKey::Volume, format_args!("{step:+} dB"), accepted));
            if !(-MAX_STEP_DB..=MAX_STEP_DB).contains(&step) {
                return refused(format!("steps of -{MAX_STEP_DB} to +{MAX_STEP_DB} dB"));
            }
            if step > 0.0 && volume == Volume::SILENT {
                return refused(
                    "steps of dB from a volume above 0 %: silence has none, so set a volume in percent first"
                        .to_owned(),
                );
            }
            volume = volume.louder(step);
        }
        Ok(volume)
    }

    /// The groups after a change.
    fn groups_after(&self, change: &RoomChange) -> Result<Vec<String>, RoomRefusal> {
        if !change.regroups() {
            return Ok(self.groups.clone());
        }
        change.groups_named().try_for_each(groups::check_name)?;
        let mut after = self.groups.clone();
        if let Some(all) = &change.groups {
            groups::check_number(all.len())?;
            after.clear();
            all.iter().for_each(|group| groups::put(&mut after, group));
        }
        after.retain(|group| !change.remove_groups.contains(group));
        change.add_groups.iter().for_each(|group| groups::put(&mut after, group));
        groups::check_number(after.len())?;
        Ok(after)
    }

    /// The same with texts cut to their limits, and with figures that are no numbers made nought.
    pub(crate) fn fit_for_wire(&self) -> Cow<'_, Self> {
        let fits = |text: &str| text.len() <= MAX_NAME && !text.chars().any(char::is_control);
        let groups_fit = self.groups.len() <= MAX_GROUPS && self.groups.iter().all(|group| fits(group));
        if fits(&self.name) && groups_fit && self.output_delay_ms.is_finite() {
            return Cow::Borrowed(self);
        }
        let output_delay_ms = if self.output_delay_ms.is_finite() { self.output_delay_ms } else { 0.0 };
        let (name, groups) = (text::clip(&self.name, MAX_NAME), groups::fit_for_wire(&self.groups));
        Cow::Owned(Self { name, groups, output_delay_ms, ..self.clone() })
    }
}

fn percent(key: RoomKey, percent: f64) -> Result<Volume, RoomRefusal> {
    Volume::new(percent).ok_or_else(|| RoomRefusal::new(key, percent, "0 to 100 (percent)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::samples::{kitchen, step, step_db};

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
    }
}

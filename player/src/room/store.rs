//! The room's state: what the configuration says, what was set since, which of the two is in force, and the file that keeps it.
//!
//! What was edited or set last wins, key by key. To know that, the file has, beside each value that is kept, the value that the
//! configuration had then. As long as the configuration says the same, what was set stays in force, over restarts and reloads; once
//! its key is edited, the configuration wins and what was set is forgotten. A pinned key is always as configured.
//!
//! A room never gets loud by itself. So its volume is kept even if nobody has set it, and stays in force when its line is taken out of the
//! configuration, pinned or not; and where a volume was kept but cannot be read any more, the room begins with a low one. A file that cannot be
//! understood is set aside before another takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audera_wire::{RoomChange, RoomKey, RoomRefusal, RoomState, Volume};
use toml::{Table, Value};

use crate::config::Config;

/// The volume at the start where that of before is lost, in percent: loud enough to be noticed, and no shock.
const CAUTIOUS: f64 = 30.0;

/// The state of the room and what is kept of it.
#[derive(Debug)]
pub struct RoomStore {
    configured: RoomState,
    /// Whether the configuration says anything of the volume.
    volume_is_configured: bool,
    /// All peers are told the same.
    state: Arc<RoomState>,
    /// Counts the changes.
    revision: u64,
    kept: BTreeMap<RoomKey, Kept>,
    /// Whether the file had the volume in force when the program started.
    is_kept: bool,
    /// Where it is kept.
    file: PathBuf,
}

/// A value that was set at run time, or that of the volume, however it came about.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    value: Value,
    /// What the configuration said when it was set.
    configured: Value,
}

impl RoomStore {
    /// The state at the start of the program: the start-up volume, if there is one, is in force.
    ///
    /// A file that cannot be read or understood is told of and set aside. If it may have held a volume, the room begins with a low one.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        let file = config.room_file();
        let Found { kept, audible, volume_is_lost } = match fs::read_to_string(&file) {
            Ok(text) => read(&file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            Err(error) => Found::nothing_of(&file, &format!("cannot be read: {error}")),
        };
        let configured = configured(config);
        let mut store = RoomStore {
            state: Arc::new(configured.clone()),
            configured,
            volume_is_configured: config.volume.is_some(),
            revision: 0,
            kept,
            is_kept: false,
            file,
        };
        let kept_before = store.kept.get(&RoomKey::Volume).cloned();
        let volume_is_known = store.settle(audible) && !volume_is_lost;
        // Pinned without a line of its own it is as it was left, like any other.
        if !(store.volume_is_configured && store.configured.pinned.contains(&RoomKey::Volume)) {
            let cautious = Volume::nearest(CAUTIOUS);
            if !volume_is_known && store.state.volume > cautious {
                store.begin_with(cautious);
            }
            if let Some(volume) = store.state.startup_volume {
                store.begin_with(volume);
            }
            if !volume_is_known {
                tracing::warn!("the volume of before is lost: the room begins with {}", store.state.volume);
            }
        }
        store.keep_volume();
        store.is_kept = store.kept.get(&RoomKey::Volume) == kept_before.as_ref();
        store
    }

    /// The state in force.
    #[must_use]
    pub fn state(&self) -> &Arc<RoomState> {
        &self.state
    }

    /// How often it has changed since the program started.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Changes the state; whether there was anything to change.
    ///
    /// # Errors
    /// What is refused; nothing has changed then.
    pub fn set(&mut self, change: &RoomChange) -> Result<bool, RoomRefusal> {
        let new = self.state.changed(change)?;
        let changes = new != *self.state;
        if changes {
            self.take_over(new);
        }
        Ok(changes)
    }

    /// Takes a new configuration: the keys that were edited win over what was set. Whether the state has changed.
    pub fn reconfigure(&mut self, config: &Config) -> bool {
        let before = self.state.clone();
        self.configured = configured(config);
        self.volume_is_configured = config.volume.is_some();
        self.settle(before.heard_last());
        self.keep_volume();
        let changed = before != self.state;
        self.revision += u64::from(changed);
        changed
    }

    /// Makes another state the one in force and keeps what differs.
    fn take_over(&mut self, new: RoomState) {
        for key in RoomKey::ALL {
            let value = value(&new, key);
            if value != self::value(&self.state, key) {
                self.kept.insert(key, Kept { value, configured: self.configured_value(key) });
            }
        }
        self.state = Arc::new(new);
        self.revision += 1;
    }

    /// Puts a volume in force that nobody has asked for now; the configuration may, of a volume that it pins.
    fn begin_with(&mut self, volume: Volume) {
        let free = RoomState { pinned: Vec::new(), ..RoomState::clone(&self.state) };
        if let Ok(begun) = free.changed(&RoomChange::volume(volume.percent())) {
            self.take_over(RoomState { pinned: self.state.pinned.clone(), ..begun });
        }
    }

    /// What the configuration says of a key.
    fn configured_value(&self, key: RoomKey) -> Value {
        match key {
            RoomKey::Volume if !self.volume_is_configured => AS_LEFT.into(),
            _ => value(&self.configured, key),
        }
    }

    /// Keeps the volume in force though nobody has set it, for when its line in the configuration is gone, and what pins it.
    fn keep_volume(&mut self) {
        let kept =
            Kept { value: value(&self.state, RoomKey::Volume), configured: self.configured_value(RoomKey::Volume) };
        self.kept.insert(RoomKey::Volume, kept);
    }

    /// Finds what is in force from what is configured and what is kept, of a room that was so loud when it could be heard last. Whether a
    /// volume that is kept could be used.
    fn settle(&mut self, audible: Option<Volume>) -> bool {
        let mut state = RoomState { pinned: Vec::new(), ..self.configured.clone() };
        // The largest volume first, since the volume is measured by it.
        let order = [RoomKey::MaxVolume].into_iter().chain(RoomKey::ALL).collect::<Vec<_>>();
        let (configured, pinned) = (&self.configured, &self.configured.pinned);
        let is_left = |key: &RoomKey| *key == RoomKey::Volume && !self.volume_is_configured;
        // What pins a volume that is not configured pins it where it was left.
        self.kept
            .retain(|key, kept| is_left(key) || (!pinned.contains(key) && kept.configured == value(configured, *key)));
        let mut volume_is_known = true;
        for key in order {
            let Some(kept) = self.kept.get(&key) else { continue };
            match change(key, &kept.value).map(|change| state.changed(&change)) {
                Some(Ok(changed)) => {
                    state = changed;
                    continue;
                }
                Some(Err(refusal)) => tracing::warn!("{}: {refusal}", self.file.display()),
                None => tracing::warn!("{}: {key} cannot be {}", self.file.display(), kept.value),
            }
            volume_is_known &= key != RoomKey::Volume;
        }
        state.volume = state.volume.min(state.max_volume);
        state.audible_volume = audible.filter(|_| state.volume == Volume::SILENT);
        // What was cut does not come back when the limit is raised: nobody would expect the room to get louder by itself.
        let in_force = value(&state, RoomKey::Volume);
        if let Some(kept) = self.kept.get_mut(&RoomKey::Volume) {
            kept.value = in_force;
        }
        self.state = Arc::new(RoomState { pinned: pinned.clone(), ..state });
        volume_is_known
    }

    /// Where it is kept.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the file, as it was found, lacks what a later start must know: a room that is not at full volume is not to get there by
    /// a line that is taken out of the configuration.
    #[must_use]
    pub fn is_to_be_kept(&self) -> bool {
        self.state.volume < Volume::FULL && !self.is_kept
    }

    /// What is to be in the file.
    #[must_use]
    pub fn to_keep(&self) -> String {
        let mut text =
            "# Kept by audera-player: the volume, what else was set at run time, and what the configuration said then. \
                        A key that is edited in the configuration wins.\n"
                .to_owned();
        for (key, Kept { value, configured }) in &self.kept {
            text += &format!("\n[{key}]\nvalue = {value}\nconfigured = {configured}\n");
            if let Some(audible) = self.state.audible_volume.filter(|_| *key == RoomKey::Volume) {
                text += &format!("{AUDIBLE} = {}\n", Value::from(audible.percent()));
            }
        }
        text
    }
}

/// Puts `text` into the file, whole or not at all, whatever happens meanwhile.
///
/// # Errors
/// What the system says; the file is as it was.
pub fn keep(file: &Path, text: &str) -> io::Result<()> {
    let fresh = file.with_extension("toml.new");
    let written = (|| {
        let mut new = File::create(&fresh)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&fresh, file)?;
        // The new name, too.
        file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    if written.is_err() {
        // A full disk is not to be kept full by what is of no use.
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// The state that the configuration alone would give.
fn configured(config: &Config) -> RoomState {
    RoomState {
        // As it stands there: were it cut to the limit here, editing the limit would look like editing the volume.
        volume: config.volume.unwrap_or(Volume::FULL),
        channel_mode: config.channel_mode,
        output_delay_ms: config.output_delay.as_secs_f64() * 1e3,
        groups: config.groups.iter().map(|group| group.as_str().to_owned()).collect(),
        max_volume: config.max_volume,
        startup_volume: config.startup_volume,
        pinned: config.pin.clone(),
        ..RoomState::new(config.name.as_str())
    }
}

/// Beside a volume of nought: how loud the room was before.
const AUDIBLE: &str = "audible";

/// What stands for a volume, now or at the start, that is not configured: it is as it was left.
const AS_LEFT: &str = "as left";

/// One key's value in a state.
fn value(state: &RoomState, key: RoomKey) -> Value {
    match key {
        RoomKey::Name => Value::from(state.name.as_str()),
        RoomKey::Volume => Value::from(state.volume.percent()),
        RoomKey::Mute => Value::from(state.mute),
        RoomKey::ChannelMode => Value::from(state.channel_mode.name()),
        RoomKey::OutputDelay => Value::from(state.output_delay_ms),
        RoomKey::Groups => Value::from(state.groups.clone()),
        RoomKey::MaxVolume => Value::from(state.max_volume.percent()),
        RoomKey::StartupVolume => state.startup_volume.map_or(AS_LEFT.into(), |volume| volume.percent().into()),
    }
}

/// The change that gives a key this value; `None` when it is of no such type.
fn change(key: RoomKey, value: &Value) -> Option<RoomChange> {
    let mut change = RoomChange::default();
    match key {
        RoomKey::Name => change.name = Some(value.as_str()?.to_owned()),
        RoomKey::Volume => change.volume = Some(value.as_float()?),
        RoomKey::Mute => change.mute = Some(value.as_bool()?),
        RoomKey::ChannelMode => change.channel_mode = Some(value.as_str()?.to_owned()),
        RoomKey::OutputDelay => change.output_delay_ms = Some(value.as_float()?),
        RoomKey::Groups => {
            let texts = value.as_array()?.iter().map(|group| group.as_str().map(str::to_owned));
            change.groups = Some(texts.collect::<Option<_>>()?);
        }
        RoomKey::MaxVolume => change.max_volume = Some(value.as_float()?),
        RoomKey::StartupVolume => {
            change.startup_volume = Some(if value.as_str() == Some(AS_LEFT) { None } else { Some(value.as_float()?) });
        }
    }
    Some(change)
}

/// What a file holds.
#[derive(Debug, Default)]
struct Found {
    kept: BTreeMap<RoomKey, Kept>,
    /// How loud a silent room was.
    audible: Option<Volume>,
    /// Whether there should be a volume, and is none that can be understood.
    volume_is_lost: bool,
}

impl Found {
    /// Nothing, since all of the file is lost, and `why`.
    fn nothing_of(file: &Path, why: &str) -> Self {
        // Not among what is logged: that is only done where somebody wants to read it.
        let kept = set_aside(file);
        tracing::warn!("what was set before is lost: {} {why}; {kept}", file.display());
        Found { volume_is_lost: true, ..Found::default() }
    }
}

/// Reads the file as far as it can be understood.
fn read(file: &Path, text: &str) -> Found {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Found::nothing_of(file, &format!("cannot be understood: {error}")),
    };
    let audible = table.get(RoomKey::Volume.name()).and_then(|volume| volume.get(AUDIBLE)?.as_float());
    let kept = |key: RoomKey| {
        let entry = table.get(key.name())?;
        Some((key, Kept { value: entry.get("value")?.clone(), configured: entry.get("configured")?.clone() }))
    };
    let kept: BTreeMap<_, _> = RoomKey::ALL.into_iter().filter_map(kept).collect();
    let is_lost = |key: &RoomKey| table.contains_key(key.name()) && !kept.contains_key(key);
    // A file that was cut off may have had a volume as well.
    let volume_is_lost = table.is_empty() || is_lost(&RoomKey::Volume);
    let lost: Vec<&str> = RoomKey::ALL.iter().filter(|key| is_lost(key)).map(|key| key.name()).collect();
    if table.is_empty() {
        tracing::warn!("what was set before is lost: {} is empty", file.display());
    } else if !lost.is_empty() {
        let (lost, kept) = (lost.join(", "), set_aside(file));
        tracing::warn!("{} lacks value or configured of {lost}, which is lost; {kept}", file.display());
    }
    Found { kept, audible: audible.and_then(Volume::new), volume_is_lost }
}

/// Keeps a file that cannot be understood from being written over: a person may. What came of that, for the log.
///
/// It gets a second name, if it can, and loses the first when it is written anew: until then, a start finds that there was one.
fn set_aside(file: &Path) -> String {
    let aside = file.with_extension("toml.broken");
    let aside_now = match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::hard_link(file, &aside).or_else(|_| fs::rename(file, &aside)),
    };
    match aside_now {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it cannot be kept as {} either: {error}", aside.display()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use audera_wire::ChannelMode;

    use super::*;
    use crate::cli::Cli;
    use crate::config::Environment;

    /// A player's folder with its configuration.
    pub(in super::super) struct Home(tempfile::TempDir);

    impl Home {
        pub(in super::super) fn new() -> Self {
            Home(tempfile::tempdir().unwrap())
        }

        /// The configuration with this text.
        pub(in super::super) fn config(&self, text: &str) -> Config {
            let file = self.0.path().join("player.toml");
            fs::write(&file, text).unwrap();
            let cli = Cli { config: Some(file), state_dir: Some(self.0.path().to_owned()), ..Cli::default() };
            let environment = Environment { host_name: "box".into(), ..Environment::default() };
            Config::load_in(&environment, &cli).unwrap()
        }

        /// The state when the program starts with this configuration.
        pub(in super::super) fn start(&self, text: &str) -> RoomStore {
            RoomStore::open(&self.config(text))
        }

        fn save(&self, store: &RoomStore) {
            keep(store.file(), &store.to_keep()).unwrap();
        }
    }

    #[test]
    fn what_was_set_is_there_after_a_restart() {
        let home = Home::new();
        let mut store = home.start("");
        assert_eq!(**store.state(), RoomState::new("box"));
        let change = RoomChange {
            name: Some("Kitchen \"1\"".into()),
            volume: Some(33.3),
            mute: Some(true),
            channel_mode: Some("mono".into()),
            output_delay_ms: Some(-7.25),
            groups: Some(vec!["Up".into()]),
            max_volume: Some(80.0),
            startup_volume: Some(None),
            ..RoomChange::default()
        };
        assert_eq!(store.set(&change), Ok(true));
        assert_eq!(store.set(&change), Ok(false));
        assert_eq!(store.revision(), 1);
        home.save(&store);
        assert_eq!(home.start("").state(), store.state());
    }

    #[test]
    fn a_silent_room_knows_after_a_restart_how_loud_it_was() {
        let home = Home::new();
        let mut store = home.start("");
        store.set(&RoomChange::volume(40.0)).unwrap();
        store.set(&RoomChange::volume(0.0)).unwrap();
        assert_eq!(store.state().audible_volume, Volume::new(40.0));
        home.save(&store);
        let mut store = home.start("");
        assert_eq!((store.state().volume, store.state().audible_volume), (Volume::SILENT, Volume::new(40.0)));
        // As it is told from elsewhere, over a reload as well, and no longer than the silence.
        store.set(&RoomChange { audible_volume: Some(33.3), ..RoomChange::default() }).unwrap();
        store.reconfigure(&home.config("channel-mode = \"left\""));
        assert_eq!(store.state().audible_volume, Volume::new(33.3));
        home.save(&store);
        assert_eq!(home.start("").state().audible_volume, Volume::new(33.3));
        store.set(&RoomChange::volume(20.0)).unwrap();
        home.save(&store);
        assert_eq!(home.start("").state().audible_volume, None);
        assert_eq!(home.start("startup-volume = 0").state().audible_volume, Volume::new(20.0));
        // A configuration that silences it.
        store.reconfigure(&home.config("volume = 0"));
        assert_eq!((store.state().volume, store.state().audible_volume), (Volume::SILENT, Volume::new(20.0)));
    }

    #[test]
    fn the_key_that_was_edited_last_wins_and_no_other_does() {
        let home = Home::new();
        let mut store = home.start("volume = 30\ngroups = [\"Up\"]");
        assert_eq!(store.state().volume, Volume::nearest(30.0));
        store.set(&RoomChange { groups: Some(vec!["Down".into()]), ..RoomChange::volume(50.0) }).unwrap();
        // Another key is edited.
        assert!(store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]\nchannel-mode = \"left\"")));
        assert_eq!(store.state().volume, Volume::nearest(50.0));
        assert_eq!(store.state().channel_mode, ChannelMode::Left);
        // This one is.
        store.reconfigure(&home.config("volume = 20\ngroups = [\"Up\"]"));
        assert_eq!((store.state().volume, &store.state().groups[0]), (Volume::nearest(20.0), &"Down".to_owned()));
        // What was set before does not come back with the old line.
        store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]"));
        assert_eq!(store.state().volume, Volume::nearest(30.0));
        assert!(!store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]")), "nothing was edited");
        // Over a restart as over a reload.
        home.save(&store);
        assert_eq!(home.start("volume = 30\ngroups = []").state().groups, Vec::<String>::new());
    }

    #[test]
    fn a_limit_that_is_edited_makes_no_room_louder() {
        let home = Home::new();
        let mut store = home.start("");
        store.set(&RoomChange::volume(20.0)).unwrap();
        store.reconfigure(&home.config("max-volume = 60"));
        assert_eq!(store.state().volume, Volume::nearest(20.0));
        store.reconfigure(&home.config(""));
        assert_eq!(store.state().volume, Volume::nearest(20.0));
        // What a limit has cut stays cut when it is gone, over a restart as well.
        store.set(&RoomChange::volume(85.0)).unwrap();
        store.reconfigure(&home.config("max-volume = 70"));
        assert_eq!(store.state().volume, Volume::nearest(70.0));
        home.save(&store);
        assert_eq!(home.start("").state().volume, Volume::nearest(70.0));
        store.reconfigure(&home.config(""));
        assert_eq!(store.state().volume, Volume::nearest(70.0));
    }

    #[test]
    fn pinned_keys_are_as_configured() {
        let home = Home::new();
        let mut store = home.start("max-volume = 70");
        store.set(&RoomChange { max_volume: Some(90.0), ..RoomChange::volume(85.0) }).unwrap();
        store.reconfigure(&home.config("max-volume = 70\npin = [\"max-volume\"]"));
        assert_eq!(store.state().max_volume, Volume::nearest(70.0));
        assert_eq!(store.state().volume, Volume::nearest(70.0));
        let refusal = store.set(&RoomChange { max_volume: Some(90.0), ..RoomChange::default() }).unwrap_err();
        assert!(refusal.to_string().contains("max_volume") && refusal.to_string().contains("pins"), "{refusal}");
    }

    #[test]
    fn the_start_up_volume_is_for_starts_alone() {
        let home = Home::new();
        let mut store = home.start("startup-volume = 25\nmax-volume = 60");
        assert_eq!(store.state().volume, Volume::nearest(25.0));
        store.set(&RoomChange::volume(55.0)).unwrap();
        store.reconfigure(&home.config("startup-volume = 20\nmax-volume = 60"));
        assert_eq!(store.state().volume, Volume::nearest(55.0));
        home.save(&store);
        assert_eq!(home.start("startup-volume = 20\nmax-volume = 60").state().volume, Volume::nearest(20.0));
        assert_eq!(home.start("startup-volume = 90\nmax-volume = 60").state().volume, Volume::nearest(60.0));
    }

    #[test]
    fn a_line_that_is_taken_out_leaves_the_volume_as_it_is() {
        let home = Home::new();
        // Set at run time, beside what is configured.
        let mut store = home.start("volume = 30");
        store.set(&RoomChange::volume(20.0)).unwrap();
        store.reconfigure(&home.config(""));
        assert_eq!(store.state().volume, Volume::nearest(20.0));
        // Never set.
        let mut store = home.start("volume = 30");
        store.reconfigure(&home.config(""));
        assert_eq!(store.state().volume, Volume::nearest(30.0));
        // Together with what pins it, and while the player does not run.
        let mut store = home.start("volume = 30\npin = [\"volume\"]");
        home.save(&store);
        store.reconfigure(&home.config(""));
        assert_eq!(store.state().volume, Volume::nearest(30.0));
        assert_eq!(home.start("").state().volume, Volume::nearest(30.0));
        fs::remove_file(store.file()).unwrap();
        // While the player does not run.
        let store = home.start("volume = 30");
        assert!(store.is_to_be_kept());
        home.save(&store);
        assert!(!home.start("volume = 30").is_to_be_kept());
        let mut store = home.start("");
        assert_eq!(store.state().volume, Volume::nearest(30.0));
        // What is written there again wins, be it the loudest.
        store.reconfigure(&home.config("volume = 100"));
        assert_eq!(store.state().volume, Volume::FULL);
    }

    #[test]
    fn a_volume_that_is_pinned_but_not_configured_is_as_it_was_left() {
        let home = Home::new();
        let pin = "pin = [\"volume\"]";
        let thirty = Volume::nearest(30.0);
        // Set at run time, and pinned later: by a reload, and while the player does not run.
        let mut store = home.start("");
        store.set(&RoomChange::volume(30.0)).unwrap();
        home.save(&store);
        assert_eq!(home.start(pin).state().volume, thirty);
        store.reconfigure(&home.config(pin));
        assert_eq!(store.state().volume, thirty);
        assert!(store.set(&RoomChange::volume(50.0)).is_err());
        // Configured and pinned, and then its line alone is taken out.
        let pinned = format!("volume = 30\n{pin}");
        let mut store = home.start(&pinned);
        home.save(&store);
        assert_eq!(home.start(pin).state().volume, thirty);
        store.reconfigure(&home.config(pin));
        assert_eq!(store.state().volume, thirty);
        home.save(&store);
        assert_eq!(home.start(pin).state().volume, thirty);
        // What says how loud it is at a start does not count as somebody who sets it.
        let store = home.start(&format!("startup-volume = 25\n{pin}"));
        assert_eq!((store.state().volume, &store.state().pinned[..]), (Volume::nearest(25.0), &[RoomKey::Volume][..]));
        fs::write(store.file(), "[volume").unwrap();
        assert_eq!(home.start(pin).state().volume, Volume::nearest(CAUTIOUS));
    }

    #[test]
    fn a_file_that_is_not_understood_is_set_aside_before_it_is_written_anew() {
        let home = Home::new();
        let mut store = home.start("");
        store.set(&RoomChange { name: Some("Kitchen".into()), ..RoomChange::volume(20.0) }).unwrap();
        home.save(&store);
        let (file, aside) = (home.0.path().join("room.toml"), home.0.path().join("room.toml.broken"));
        let typo = fs::read_to_string(&file).unwrap().replacen("value = ", "value ", 1);
        let lacks = fs::read_to_string(&file).unwrap().replace("value = \"Kitchen\"", "valve = \"Kitchen\"");
        for broken in [typo.as_bytes(), lacks.as_bytes(), &[0xff, 0xfe]] {
            fs::write(&file, broken).unwrap();
            let store = home.start("");
            assert!(file.exists(), "a start without it would find a room whose volume nobody has set");
            assert_eq!(fs::read(&aside).unwrap(), broken);
            home.save(&store);
            assert_eq!(home.start("").state(), store.state());
            assert_eq!(fs::read(&aside).unwrap(), broken, "what is whole takes nothing's place");
        }
    }

    #[test]
    fn a_broken_file_is_as_good_as_none_where_it_is_broken_but_makes_no_room_loud() {
        let home = Home::new();
        let mut store = home.start("");
        store.set(&RoomChange { mute: Some(true), ..RoomChange::volume(50.0) }).unwrap();
        home.save(&store);
        let file = home.0.path().join("room.toml");
        let text = fs::read_to_string(&file).unwrap();
        let low = Volume::nearest(CAUTIOUS);
        fs::write(&file, text.replace("value = 50.0", "value = 5000.0")).unwrap();
        let state = home.start("").state().clone();
        assert_eq!((state.volume, state.mute), (low, true));
        let broken: [&[u8]; 5] =
            [&text.as_bytes()[..text.len() - 8], &[0xff, 0xfe], b"", b"volume = 5", b"[volume]\nvalue = 5.0\n"];
        for broken in broken {
            fs::write(&file, broken).unwrap();
            assert_eq!(**home.start("").state(), RoomState { volume: low, ..RoomState::new("box") });
            // What is configured is no louder, or meant to be.
            assert_eq!(home.start("volume = 10").state().volume, Volume::nearest(10.0));
            assert_eq!(home.start("startup-volume = 60").state().volume, Volume::nearest(60.0));
            assert_eq!(home.start("volume = 80\npin = [\"volume\"]").state().volume, Volume::nearest(80.0));
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(home.start("").state().volume, Volume::FULL, "a room whose volume nobody has set");
    }

    #[test]
    fn a_disk_that_takes_nothing_leaves_the_file_as_it_was() {
        let home = Home::new();
        let file = home.0.path().join("room.toml");
        keep(&file, "first").unwrap();
        // A folder in the way of the new file: it cannot be written.
        fs::create_dir(file.with_extension("toml.new")).unwrap();
        assert!(keep(&file, "second").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
    }
}

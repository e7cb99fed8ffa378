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
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
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
            // What was set aside, and never came to be written anew, may have held a volume.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Found { volume_is_lost: aside(&file).exists(), ..Found::default() }
            }
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
    let is_known = |key: &&String| kept.keys().any(|known| known.name() == key.as_str());
    let lost: Vec<&str> = table.keys().filter(|key| !is_known(key)).map(String::as_str).collect();
    // It always holds one, unless it was cut off or edited.
    let volume_is_lost = !kept.contains_key(&RoomKey::Volume);
    if !lost.is_empty() {
        let (lost, aside) = (lost.join(", "), set_aside(file));
        tracing::warn!("{} has no value and configured of {lost} that can be understood; {aside}", file.display());
    } else if volume_is_lost {
        tracing::warn!("what was set before is lost: {} has been cut off", file.display());
    }
    Found { kept, audible: audible.and_then(Volume::new), volume_is_lost }
}

/// Where a file is that could not be understood.
fn aside(file: &Path) -> PathBuf {
    file.with_extension("toml.broken")
}

/// Keeps a file that cannot be understood from being written over: a person may. What came of that, for the log.
///
/// It gets a second name, or a copy where the file system knows no such thing (FAT), and loses the first when it is written anew: until then, a
/// start finds what of it can be understood.
fn set_aside(file: &Path) -> String {
    set_aside_by(file, |file, aside| fs::hard_link(file, aside))
}

/// The same, where `link` gives a file a second name.
fn set_aside_by(file: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> String {
    let aside = aside(file);
    let aside_now = match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => link(file, &aside).or_else(|_| copy(file, &aside)).or_else(|error| match error.kind() {
            // Nothing of what cannot even be read is in force.
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => fs::rename(file, &aside),
            _ => Err(error),
        }),
    };
    match aside_now {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it cannot be kept as {} either: {error}", aside.display()),
    }
}

/// Copies a file, with who may read it, to where there is none: on the disk when this returns, and not at all if it fails.
fn copy(file: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(file)?;
    let mode = from.metadata()?.permissions().mode();
    let mut copy = File::options().write(true).create_new(true).mode(mode).open(to)?;
    let copied = io::copy(&mut from, &mut copy).and_then(|_| copy.sync_all());
    if copied.is_err() {
        // Part of it is of no use, and would be taken for all there is.
        let _ = fs::remove_file(to);
    }
    copied
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(super) mod tests;

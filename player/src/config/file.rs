//! Reads one configuration file into the keys it sets, refusing what it does not know.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, WrongValue};
use super::value::{
    Accepts, Access, GroupName, ListenAddress, LogLevel, MixerChoice, MixerDevice, Mode, OutputChoice, PinnedKey,
    Policy, RoomName, Subscription,
};

/// The keys of the top level, in the order of the manual.
const KEYS: &[&str] = &[
    "name",
    "output",
    "mixer",
    "mixer-device",
    "listen",
    "access",
    "groups",
    "volume",
    "channel-mode",
    "max-volume",
    "startup-volume",
    "pin",
    "subscribe",
    "state-dir",
    "discovery",
    "policy",
    "idle-release",
    "output-delay",
    "log",
    "alsa",
];

/// The keys of the table `[alsa]`.
const ALSA_KEYS: &[&str] = &["period", "buffer"];

/// What one source of configuration sets; a key it does not mention stays `None`.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub name: Option<RoomName>,
    pub output: Option<OutputChoice>,
    pub mixer: Option<MixerChoice>,
    pub mixer_device: Option<MixerDevice>,
    pub listen: Option<ListenAddress>,
    pub access: Option<Access>,
    pub groups: Option<Vec<GroupName>>,
    /// Percent.
    pub volume: Option<f64>,
    pub channel_mode: Option<Mode>,
    /// Percent.
    pub max_volume: Option<f64>,
    /// Percent.
    pub startup_volume: Option<f64>,
    pub pin: Option<Vec<PinnedKey>>,
    pub subscribe: Option<Vec<Subscription>>,
    pub state_dir: Option<PathBuf>,
    pub discovery: Option<bool>,
    pub policy: Option<Policy>,
    pub idle_release: Option<Duration>,
    /// Milliseconds, signed.
    pub output_delay: Option<f64>,
    pub log: Option<LogLevel>,
    pub alsa_period: Option<Milliseconds>,
    pub alsa_buffer: Option<Milliseconds>,
}

/// A duration whose place is remembered, because it is checked against another key later.
#[derive(Debug, Clone)]
pub(crate) struct Milliseconds {
    pub value: f64,
    pub place: Place,
    pub written: String,
}

impl Layer {
    /// Puts what `upper` sets over what is set here.
    pub fn overlaid(self, upper: Self) -> Self {
        Self {
            name: upper.name.or(self.name),
            output: upper.output.or(self.output),
            mixer: upper.mixer.or(self.mixer),
            mixer_device: upper.mixer_device.or(self.mixer_device),
            listen: upper.listen.or(self.listen),
            access: upper.access.or(self.access),
            groups: upper.groups.or(self.groups),
            volume: upper.volume.or(self.volume),
            channel_mode: upper.channel_mode.or(self.channel_mode),
            max_volume: upper.max_volume.or(self.max_volume),
            startup_volume: upper.startup_volume.or(self.startup_volume),
            pin: upper.pin.or(self.pin),
            subscribe: upper.subscribe.or(self.subscribe),
            state_dir: upper.state_dir.or(self.state_dir),
            discovery: upper.discovery.or(self.discovery),
            policy: upper.policy.or(self.policy),
            idle_release: upper.idle_release.or(self.idle_release),
            output_delay: upper.output_delay.or(self.output_delay),
            log: upper.log.or(self.log),
            alsa_period: upper.alsa_period.or(self.alsa_period),
            alsa_buffer: upper.alsa_buffer.or(self.alsa_buffer),
        }
    }
}

/// Reads `text`, the content of `file`.
pub(super) fn parse(file: &Path, text: &str) -> Result<Layer, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: Place::at(file, text, error.span().map_or(text.len(), |span| span.start)),
        message: error.message().replace('\n', ", "),
    })?;
    let source = Source { file, text };
    let mut layer = Layer::default();
    for entry in source.entries("", table.get_ref(), KEYS)? {
        match entry.name {
            "name" => layer.name = Some(entry.parse()?),
            "output" => layer.output = Some(entry.parse()?),
            "mixer" => layer.mixer = Some(entry.parse()?),
            "mixer-device" => layer.mixer_device = Some(entry.parse()?),
            "listen" => layer.listen = Some(entry.parse()?),
            "access" => layer.access = Some(entry.parse()?),
            "groups" => layer.groups = Some(entry.parse_list()?),
            "volume" => layer.volume = Some(entry.number(0.0, 100.0, "percent")?),
            "channel-mode" => layer.channel_mode = Some(entry.parse()?),
            "max-volume" => layer.max_volume = Some(entry.number(0.0, 100.0, "percent")?),
            "startup-volume" => layer.startup_volume = Some(entry.number(0.0, 100.0, "percent")?),
            "pin" => layer.pin = Some(entry.parse_list()?),
            "subscribe" => layer.subscribe = Some(entry.parse_list()?),
            "state-dir" => layer.state_dir = Some(entry.path()?),
            "discovery" => layer.discovery = Some(entry.boolean()?),
            "policy" => layer.policy = Some(entry.parse()?),
            "idle-release" => {
                layer.idle_release = Some(Duration::from_secs_f64(entry.number(0.0, 86_400.0, "seconds")?));
            }
            "output-delay" => layer.output_delay = Some(entry.number(-500.0, 500.0, "milliseconds")?),
            "log" => layer.log = Some(entry.parse()?),
            "alsa" => {
                for entry in source.entries("alsa.", entry.table()?, ALSA_KEYS)? {
                    match entry.name {
                        "period" => layer.alsa_period = Some(entry.milliseconds(1.0, 100.0)?),
                        _ => layer.alsa_buffer = Some(entry.milliseconds(2.0, 1000.0)?),
                    }
                }
            }
            other => unreachable!("\"{other}\" is in KEYS but not read"),
        }
    }
    Ok(layer)
}

/// The file under the reader's eyes.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    fn place(&self, offset: usize) -> Place {
        Place::at(self.file, self.text, offset)
    }

    /// The entries of `table` in the order they are written; a key outside of `known` is refused.
    fn entries<'t>(
        &self,
        prefix: &'static str,
        table: &'t DeTable<'_>,
        known: &[&'static str],
    ) -> Result<Vec<Entry<'t>>, ConfigError>
    where
        'a: 't,
    {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let written: &str = key.get_ref();
            let Some(name) = known.iter().find(|name| **name == written) else {
                return Err(ConfigError::UnknownKey {
                    place: self.place(key.span().start),
                    key: format!("{prefix}{written}"),
                    suggestion: nearest(written, known).map(|name| format!("{prefix}{name}")),
                    accepted: known.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>().join(", "),
                });
            };
            entries.push(Entry { source: *self, prefix, name, value });
        }
        entries.sort_by_key(|entry| entry.value.span().start);
        Ok(entries)
    }
}

/// One known key with its value.
struct Entry<'a> {
    source: Source<'a>,
    prefix: &'static str,
    name: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// The error for `value`, which is this entry's value or an element of it.
    fn refused(
        &self,
        value: &Spanned<DeValue<'_>>,
        why: impl Into<String>,
        accepted: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value(Box::new(WrongValue {
            place: self.source.place(value.span().start),
            key: format!("{}{}", self.prefix, self.name),
            value: self.written(value),
            why: why.into(),
            accepted: accepted.into(),
        }))
    }

    /// The value as it stands in the file, shortened to one line.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        let whole = self.source.text.get(value.span()).unwrap_or_default();
        let line: String = whole.lines().next().unwrap_or_default().chars().take(80).collect();
        if line.len() < whole.len() { format!("{line}...") } else { line }
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, accepted: impl Into<String>) -> ConfigError {
        self.refused(value, format!("it is of type {}", value.get_ref().type_str()), accepted)
    }

    fn parse_text<T: Accepts>(&self, value: &Spanned<DeValue<'_>>) -> Result<T, ConfigError> {
        let Some(text) = value.get_ref().as_str() else {
            return Err(self.wrong_type(value, T::ACCEPTED));
        };
        text.parse::<T>().map_err(|refused| self.refused(value, refused.why, refused.accepted))
    }

    fn parse<T: Accepts>(&self) -> Result<T, ConfigError> {
        self.parse_text(self.value)
    }

    fn parse_list<T: Accepts>(&self) -> Result<Vec<T>, ConfigError> {
        let Some(array) = self.value.get_ref().as_array() else {
            return Err(self.wrong_type(self.value, format!("a list in [ ]; each element {}", T::ACCEPTED)));
        };
        array.iter().map(|value| self.parse_text(value)).collect()
    }

    fn path(&self) -> Result<PathBuf, ConfigError> {
        match self.value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Ok(PathBuf::from(text)),
            Some(_) => Err(self.refused(self.value, "it is empty", "the path of a folder")),
            None => Err(self.wrong_type(self.value, "the path of a folder")),
        }
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type(self.value, "true or false"))
    }

    /// A number of `unit` in `least..=most`.
    fn number(&self, least: f64, most: f64, unit: &str) -> Result<f64, ConfigError> {
        let accepted = || format!("{least} to {most} ({unit})");
        let number = match self.value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => return Err(self.wrong_type(self.value, accepted())),
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refused(self.value, "it is out of range", accepted())),
        }
    }

    fn milliseconds(&self, least: f64, most: f64) -> Result<Milliseconds, ConfigError> {
        Ok(Milliseconds {
            value: self.number(least, most, "milliseconds")?,
            place: self.source.place(self.value.span().start),
            written: self.written(self.value),
        })
    }

    fn table(&self) -> Result<&'a DeTable<'a>, ConfigError> {
        self.value.get_ref().as_table().ok_or_else(|| {
            self.wrong_type(self.value, format!("a table [{}] with: {}", self.name, ALSA_KEYS.join(", ")))
        })
    }
}

/// The accepted key closest to what was written, if it is close enough to have been meant.
fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let folded = written.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|name| (distance(&folded, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters, after Wagner and Fischer (1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

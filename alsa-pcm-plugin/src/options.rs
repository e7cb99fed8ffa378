//! What a definition and the configuration files say: read, checked, and completed with defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audera_alsa_plugin::{Errno, OpenError, OptionError, Options, Value};
use audera_clock::Span;
use audera_link::Target as Address;
use audera_sender::{CHOSEN_LATENCIES, CodecChoice, Encoding, Latency};

/// The machine's file.
const SYSTEM_FILE: &str = "/etc/audera/alsa.toml";

/// For how long an application plays on without a room unless something else is said.
const PATIENCE: Span = Span::from_secs(30);

/// How long an open may take to fail unless something else is said.
const WAIT: Duration = Duration::from_secs(3);
/// So much of it is for what comes after the search: an open that fails leaves the house, and the last one to do so waits until those rooms
/// that are connected have been told farewell.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What is meant by a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Who is to play: the name of a room or a group, or an address. `None` when nobody has said.
    pub(crate) player: Option<String>,
    /// What is to be recorded: the name of a source, or an address. `None` when nobody has said.
    pub(crate) source: Option<String>,
    /// Codec and packets.
    pub(crate) encoding: Encoding,
    /// From the moment at which a frame leaves the buffer to the loudspeaker.
    pub(crate) latency: Latency,
    /// For how long an application goes on without its room.
    pub(crate) patience: Span,
    /// How long an open may take to fail.
    pub(crate) wait: Duration,
    /// How rooms are found.
    pub(crate) network: Network,
}

/// How rooms are found. PCMs and mixers of one process share one network thread where `state_dir` is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Whether players are looked for with Avahi.
    pub(crate) discover: bool,
    /// Players at fixed addresses.
    pub(crate) players: Vec<String>,
    /// Identity and known players.
    pub(crate) state_dir: PathBuf,
}

impl Settings {
    /// Completes what a definition says from the user's `defaults.audera`, from the configuration files and with defaults. The framework refuses
    /// the keys of the definition that are not asked for here.
    pub(crate) fn read(definition: &mut Options, defaults: &mut Options) -> Result<Settings, OpenError> {
        let said = Layer::read(definition)?.for_either();
        let usual = Layer::read(defaults).and_then(|usual| std::mem::take(defaults).finish().map(|()| usual));
        let usual = usual.map_err(|error| {
            OpenError::refused(Errno::INVAL, format!("defaults.audera of alsa-lib's configuration: {error}"))
        })?;
        let files = user_file().into_iter().chain([PathBuf::from(SYSTEM_FILE)]);
        let layers = files.map(|file| Layer::of_file(&file)).collect::<Result<Vec<_>, _>>()?;
        layers.into_iter().fold(said.or(usual), Layer::or).complete()
    }

    /// For how long an open looks for who is meant.
    pub(crate) fn search(&self) -> Duration {
        self.wait.saturating_sub(AFTERWARDS)
    }
}

/// What one place says; `None` is what it leaves to others.
#[derive(Debug, Default)]
struct Layer {
    player: Option<String>,
    source: Option<String>,
    codec: Option<CodecChoice>,
    bitrate: Option<u32>,
    packet: Option<u16>,
    latency: Option<Latency>,
    patience: Option<Span>,
    wait: Option<Duration>,
    discover: Option<bool>,
    players: Option<Vec<String>>,
    state_dir: Option<PathBuf>,
}

impl Layer {
    fn read(options: &mut Options) -> Result<Layer, OptionError> {
        Ok(Layer {
            player: text(options, "player")?,
            source: text(options, "source")?,
            codec: one_of(
                options,
                "codec",
                &[("auto", CodecChoice::Auto), ("pcm", CodecChoice::Pcm), ("opus", CodecChoice::Opus)],
            )?,
            bitrate: number(options, "bitrate", 64, 320, "64 to 320 (kbit/s)")?.map(|kbps| kbps as u32),
            packet: one_of(options, "packet", &[("5", 5), ("10", 10), ("20", 20)])?,
            latency: latency(options)?,
            patience: number(options, "patience", 0, 86_400, "0 to 86400 (seconds)")?.map(Span::from_secs),
            wait: number(options, "wait", 2_000, 60_000, "2000 to 60000 (ms)")?
                .map(|ms| Duration::from_millis(ms as u64)),
            discover: one_of(
                options,
                "discover",
                &[("yes", true), ("no", false), ("true", true), ("false", false), ("1", true), ("0", false)],
            )?,
            players: addresses(options)?,
            state_dir: text(options, "state_dir")?.map(PathBuf::from),
        })
    }

    /// Reads a file; one that is not there says nothing.
    fn of_file(file: &Path) -> Result<Layer, OpenError> {
        let at = |problem: &dyn std::fmt::Display| {
            OpenError::refused(Errno::INVAL, format!("{}: {problem}", file.display()))
        };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Layer::default()),
            Err(error) => return Err(at(&error)),
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| at(&error.message()))?;
        let mut options: Options = table.into_iter().map(|(key, value)| (key, of_toml(value))).collect();
        Layer::read(&mut options).and_then(|layer| options.finish().map(|()| layer)).map_err(|error| at(&error))
    }

    /// Of a definition, which is of one PCM: its name is that of a source when it records. The default room of a file is no source.
    fn for_either(self) -> Layer {
        let source = self.source.or_else(|| self.player.clone());
        Layer { source, ..self }
    }

    /// What this one does not say is what `other` says.
    fn or(self, other: Layer) -> Layer {
        Layer {
            player: self.player.or(other.player),
            source: self.source.or(other.source),
            codec: self.codec.or(other.codec),
            bitrate: self.bitrate.or(other.bitrate),
            packet: self.packet.or(other.packet),
            latency: self.latency.or(other.latency),
            patience: self.patience.or(other.patience),
            wait: self.wait.or(other.wait),
            discover: self.discover.or(other.discover),
            players: self.players.or(other.players),
            state_dir: self.state_dir.or(other.state_dir),
        }
    }

    fn complete(self) -> Result<Settings, OpenError> {
        let latency = self.latency.unwrap_or_default();
        let usual = latency.usual_packet_msec();
        let encoding = Encoding {
            codec: self.codec.unwrap_or_default(),
            opus_kbps: self.bitrate.unwrap_or(Encoding::default().opus_kbps),
            packet_msec: self.packet.unwrap_or(usual),
        };
        let state_dir = self.state_dir.or_else(default_state_dir).ok_or_else(|| {
            let reason = "no place for this sender's identity: neither XDG_STATE_HOME nor HOME is set; give the option \"state_dir\"";
            OpenError::refused(Errno::INVAL, reason)
        })?;
        Ok(Settings {
            player: self.player,
            source: self.source,
            encoding,
            latency,
            patience: self.patience.unwrap_or(PATIENCE),
            wait: self.wait.unwrap_or(WAIT),
            network: Network {
                discover: self.discover.unwrap_or(true),
                players: self.players.unwrap_or_default(),
                state_dir,
            },
        })
    }
}

/// Text that says something.
fn text(options: &mut Options, key: &str) -> Result<Option<String>, OptionError> {
    Ok(options.text(key)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn one_of<T: Copy>(options: &mut Options, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, OptionError> {
    let Some(text) = text(options, key)? else { return Ok(None) };
    let chosen = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)).map(|(_, choice)| *choice);
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    chosen.map(Some).ok_or_else(|| wrong(key, &text, &names.join(", ")))
}

/// A whole number, or text that is one: arguments of a PCM's name come as text.
fn number(options: &mut Options, key: &str, least: i64, most: i64, expected: &str) -> Result<Option<i64>, OptionError> {
    let Some(text) = text(options, key)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| wrong(key, &text, expected))
}

fn latency(options: &mut Options) -> Result<Option<Latency>, OptionError> {
    let key = "latency";
    let Some(text) = text(options, key)? else { return Ok(None) };
    match text.parse() {
        _ if text.eq_ignore_ascii_case("auto") => Ok(Some(Latency::Auto)),
        Ok(ms) if CHOSEN_LATENCIES.contains(&ms) => Ok(Some(Latency::Fixed(Span::from_millis(ms)))),
        _ => {
            let accepted = format!("auto, or {} to {} (ms)", CHOSEN_LATENCIES.start(), CHOSEN_LATENCIES.end());
            Err(wrong(key, &text, &accepted))
        }
    }
}

fn addresses(options: &mut Options) -> Result<Option<Vec<String>>, OptionError> {
    let key = "players";
    let Some(text) = text(options, key)? else { return Ok(None) };
    let addresses: Vec<String> =
        text.split([',', ' ']).filter(|address| !address.is_empty()).map(str::to_owned).collect();
    match addresses.iter().find(|address| Address::parse(address, audera_wire::PORT).is_err()) {
        None => Ok(Some(addresses)),
        Some(bad) => Err(wrong(key, bad, "addresses such as host, host:port or [IPv6]:port, separated by commas")),
    }
}

fn wrong(key: &str, value: &str, expected: &str) -> OptionError {
    OptionError::Wrong { key: key.to_owned(), value: format!("\"{value}\""), expected: expected.to_owned() }
}

fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::Text(text),
        toml::Value::Integer(number) => Value::Integer(number),
        toml::Value::Float(number) => Value::Real(number),
        toml::Value::Boolean(truth) => Value::Text(if truth { "yes" } else { "no" }.to_owned()),
        // A list of addresses.
        toml::Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                toml::Value::String(text) => Some(text),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map_or(Value::Block, |texts| Value::Text(texts.join(","))),
        toml::Value::Datetime(_) | toml::Value::Table(_) => Value::Block,
    }
}

/// The folder that a variable names; the XDG specification wants relative paths ignored.
fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn user_file() -> Option<PathBuf> {
    let folder = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("audera/alsa.toml"))
}

fn default_state_dir() -> Option<PathBuf> {
    let folder = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(folder.join("audera"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_sender::Hub;

    fn settings(values: &[(&str, &str)]) -> Result<Settings, String> {
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), Value::Text((*value).to_owned()));
        let mut options: Options = values.iter().map(text).chain([text(&("state_dir", "/state"))]).collect();
        let layer = Layer::read(&mut options).map_err(|error| error.to_string())?;
        options.finish().map_err(|error| error.to_string())?;
        layer.complete().map_err(|error| error.to_string())
    }

    #[test]
    fn silence_means_the_documented_defaults() {
        let settings = settings(&[("player", ""), ("codec", ""), ("latency", " ")]).unwrap();
        assert_eq!(settings.player, None);
        assert_eq!(settings.encoding, Encoding { codec: CodecChoice::Auto, opus_kbps: 160, packet_msec: 20 });
        assert_eq!((settings.latency, settings.patience), (Latency::Auto, Span::from_secs(30)));
        assert_eq!(settings.wait, Duration::from_secs(3));
        assert!(settings.network.discover && settings.network.players.is_empty());
    }

    #[test]
    fn what_is_said_counts() {
        let settings = settings(&[
            ("player", "Living Room"),
            ("codec", "PCM"),
            ("latency", "40"),
            ("patience", "5"),
            ("wait", "60000"),
            ("discover", "no"),
            ("players", "a, b:1 [::1]:2"),
        ])
        .unwrap();
        assert_eq!(settings.player.as_deref(), Some("Living Room"));
        assert_eq!(settings.encoding, Encoding { codec: CodecChoice::Pcm, opus_kbps: 160, packet_msec: 5 });
        assert_eq!(settings.latency, Latency::Fixed(Span::from_millis(40)));
        assert_eq!((settings.patience, settings.wait), (Span::from_secs(5), Duration::from_secs(60)));
        assert_eq!((settings.network.discover, &settings.network.players[1][..]), (false, "b:1"));
        assert_eq!(settings.network.players.len(), 3);
    }

    #[test]
    fn an_open_has_failed_in_time() {
        for (said, wait) in [("", 3_000), ("2000", 2_000), ("2500", 2_500), ("60000", 60_000)] {
            let settings = settings(&[("wait", said)]).unwrap();
            let taken = settings.search() + crate::mixer::TELLING + Hub::FAREWELL;
            assert!(taken < Duration::from_millis(wait), "{taken:?}");
            assert!(settings.search() >= Duration::from_millis(wait / 2));
        }
    }

    #[test]
    fn what_is_refused_is_named_with_what_would_do() {
        for (key, value, said) in [
            ("codec", "mp3", "opus"),
            ("latency", "5", "20 to 2000"),
            ("patience", "-1", "0 to 86400"),
            ("wait", "1999", "2000 to 60000"),
            ("players", "a,b:http", "\"b:http\""),
            ("packet", "15", "10"),
            ("colour", "red", "known are player"),
        ] {
            let refusal = settings(&[(key, value)]).unwrap_err();
            assert!(refusal.contains(key) && refusal.contains(said), "{refusal}");
        }
    }

    #[test]
    fn the_default_room_is_not_what_is_recorded() {
        let of = |text: Option<&str>| text.map(str::to_owned);
        let meant = |player: Option<&str>, file: (Option<&str>, Option<&str>)| {
            let said = Layer { player: of(player), state_dir: Some("/state".into()), ..Layer::default() };
            let file = Layer { player: of(file.0), source: of(file.1), ..Layer::default() };
            let settings = said.for_either().or(file).complete().unwrap();
            (settings.player, settings.source)
        };
        assert_eq!(meant(None, (Some("Kitchen"), None)), (of(Some("Kitchen")), None));
        assert_eq!(meant(None, (Some("Kitchen"), Some("Radio"))), (of(Some("Kitchen")), of(Some("Radio"))));
        assert_eq!(meant(Some("TV"), (None, Some("Radio"))), (of(Some("TV")), of(Some("TV"))));
    }

    #[test]
    fn files_say_what_the_definition_leaves_open() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alsa.toml");
        std::fs::write(&file, "player = \"Kitchen\"\nlatency = 100\nplayers = [\"a\", \"b:2\"]\ndiscover = false\n")
            .unwrap();
        let said = Layer { latency: Some(Latency::Auto), state_dir: Some("/state".into()), ..Layer::default() };
        let settings = said.or(Layer::of_file(&file).unwrap()).complete().unwrap();
        assert_eq!((settings.player.as_deref(), settings.latency), (Some("Kitchen"), Latency::Auto));
        assert_eq!((settings.network.players.len(), settings.network.discover), (2, false));
        for (wrong, said) in [("volume = 3", "volume"), ("codec = 7", "opus"), ("codec = [", "alsa.toml")] {
            std::fs::write(&file, wrong).unwrap();
            let refusal = Layer::of_file(&file).unwrap_err().to_string();
            assert!(refusal.contains(said) && refusal.contains("alsa.toml"), "{refusal}");
        }
        assert!(Layer::of_file(&dir.path().join("none")).unwrap().player.is_none());
    }
}

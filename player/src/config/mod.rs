//! The effective configuration: defaults, then the files, then the command line; each overrules the one before, key by key.

mod environment;
mod error;
mod file;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audera_clock::Span;
use audera_wire::{ChannelMode, RoomKey, Volume};

use crate::cli::Cli;
use crate::mixer::MixerName;
pub use environment::Environment;
pub use error::{ConfigError, Place, WrongValue};
pub(crate) use file::Layer;
pub use value::{
    Accepts, Access, GroupName, ListenAddress, LogLevel, MixerChoice, MixerDevice, Mode, OutputChoice, PinnedKey,
    Policy, Refused, RoomName, Subscription,
};

/// The TCP port a player listens on unless told otherwise.
const PORT: u16 = audera_wire::PORT;

/// How long the output stays open without a stream, unless told otherwise.
const IDLE_RELEASE: Duration = Duration::from_secs(5);

/// Everything the player was told, complete and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The room. Default: the machine's pretty name, else its host name.
    pub name: RoomName,
    /// Where the sound goes. Default: PipeWire's default output.
    pub output: OutputChoice,
    /// The element of the card's mixer that has a part in the volume. Default: none, the volume is applied to the samples.
    pub mixer: Option<MixerName>,
    /// Where to listen for senders. Default: `[::]:6528`.
    pub listen: SocketAddr,
    /// Who may play here. Default: paired senders.
    pub access: Access,
    /// The groups this player is in besides "Everywhere". Default: none.
    pub groups: Vec<GroupName>,
    /// The volume of a room whose volume nobody has set. Default: as it was left, or 100 %, which leaves samples as they are, where it
    /// never was another.
    pub volume: Option<Volume>,
    /// The channel mode of a room for which nobody has set one. Default: stereo.
    pub channel_mode: ChannelMode,
    /// What the volume never exceeds, unless another limit is set. Default: 100 %.
    pub max_volume: Volume,
    /// The volume whenever the player starts. Default: as it was left.
    pub startup_volume: Option<Volume>,
    /// What cannot be changed but by configuration. Default: nothing.
    pub pin: Vec<RoomKey>,
    /// The sources to dial. Default: none.
    pub subscribe: Vec<Subscription>,
    /// Where the player keeps its identity and the trusted senders; absolute.
    pub state_dir: PathBuf,
    /// Whether to announce the player and look for sources with Avahi. Default: yes.
    pub discovery: bool,
    /// Who plays when a second stream starts. Default: the newest.
    pub policy: Policy,
    /// How long the output stays open without a stream: 0 s to a day. Default: 5 s.
    pub idle_release: Duration,
    /// How much later than the device says the sound is heard (an amplifier's own delay): -500 to +500 ms. Default: 0.
    pub output_delay: Span,
    /// How much is logged. Default: info.
    pub log: LogLevel,
    /// Timing of an ALSA output.
    pub alsa: AlsaConfig,
    /// The files that were read, in the order in which they were laid over each other.
    pub files: Vec<PathBuf>,
}

/// How an ALSA device is asked to move its data; the device takes the nearest it can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlsaConfig {
    /// Time between two wake-ups: 1 to 100 ms. Default: 8 ms.
    pub period: Duration,
    /// Time the device's buffer holds, at least two periods: 2 to 1000 ms. Default: 32 ms.
    pub buffer: Duration,
}

impl Default for AlsaConfig {
    fn default() -> Self {
        Self { period: Duration::from_millis(8), buffer: Duration::from_millis(32) }
    }
}

impl Config {
    /// Reads the files and puts the command line on top; call it again to reload.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line, column, key and what is accepted.
    pub fn load(cli: &Cli) -> Result<Self, ConfigError> {
        Self::load_in(&Environment::of_this_process(), cli)
    }

    /// Like [`Config::load`], with the surroundings given instead of looked up.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_in(environment: &Environment, cli: &Cli) -> Result<Self, ConfigError> {
        let mut files = Vec::new();
        let mut layer = Layer::default();
        for (path, must_exist) in candidates(environment, cli) {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    layer = layer.overlaid(file::parse(&path, &text)?);
                    files.push(path);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
                Err(source) => return Err(ConfigError::Unreadable { file: path, source }),
            }
        }
        Self::complete(layer.overlaid(cli.layer()), files, environment)
    }

    /// Fills in the defaults and checks what no single key can know.
    fn complete(layer: Layer, files: Vec<PathBuf>, environment: &Environment) -> Result<Self, ConfigError> {
        let alsa = alsa_timing(&layer)?;
        let state_dir = layer.state_dir.or_else(|| environment.state_dir()).ok_or(ConfigError::NoStateDir)?;
        let output = match layer.output.unwrap_or(OutputChoice::PipeWire { target: None }) {
            OutputChoice::File { path } => OutputChoice::File { path: absolute(path)? },
            other => other,
        };
        let mixer = mixer(layer.mixer, layer.mixer_device, &output)?;
        Ok(Self {
            name: layer.name.unwrap_or_else(|| environment.room_name()),
            output,
            mixer,
            listen: layer.listen.map_or(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, PORT)), |listen| listen.0),
            access: layer.access.unwrap_or(Access::Paired),
            groups: layer.groups.unwrap_or_default(),
            volume: layer.volume.map(Volume::nearest),
            channel_mode: layer.channel_mode.map_or(ChannelMode::Stereo, |mode| mode.0),
            max_volume: layer.max_volume.map_or(Volume::FULL, Volume::nearest),
            startup_volume: layer.startup_volume.map(Volume::nearest),
            pin: layer.pin.unwrap_or_default().into_iter().map(|key| key.0).collect(),
            subscribe: layer.subscribe.unwrap_or_default(),
            state_dir: absolute(state_dir)?,
            discovery: layer.discovery.unwrap_or(true),
            policy: layer.policy.unwrap_or(Policy::Newest),
            idle_release: layer.idle_release.unwrap_or(IDLE_RELEASE),
            output_delay: Span::from_secs_f64(layer.output_delay.unwrap_or(0.0) / 1000.0),
            log: layer.log.unwrap_or(LogLevel::Info),
            alsa,
            files,
        })
    }

    /// The list of trusted senders.
    pub fn trusted_file(&self) -> PathBuf {
        self.state_dir.join("trusted.toml")
    }

    /// What is kept of the room's state. Players that share a folder have ports of their own to tell them apart.
    pub fn room_file(&self) -> PathBuf {
        let name = match self.listen.port() {
            PORT => "room.toml".to_owned(),
            port => format!("room-{port}.toml"),
        };
        self.state_dir.join(name)
    }

    /// The keys that differ in `new` and take effect only when the player is started again.
    ///
    /// All others may be taken over by a running player.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        [
            ("output", self.output != new.output),
            ("mixer", self.mixer != new.mixer),
            ("listen", self.listen != new.listen),
            ("subscribe", self.subscribe != new.subscribe),
            ("state-dir", self.state_dir != new.state_dir),
            ("discovery", self.discovery != new.discovery),
            ("alsa", self.alsa != new.alsa),
        ]
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
    }
}

/// The element that is meant, which only the card behind an ALSA output can have.
fn mixer(
    element: Option<MixerChoice>,
    device: Option<MixerDevice>,
    output: &OutputChoice,
) -> Result<Option<MixerName>, ConfigError> {
    match (element, device, output) {
        (None, Some(MixerDevice(device)), _) => Err(ConfigError::MixerWithoutElement { device }),
        (None | Some(MixerChoice::None), _, _) => Ok(None),
        (Some(MixerChoice::Element(element)), device, OutputChoice::Alsa { device: pcm }) => {
            let MixerDevice(device) = device.unwrap_or_else(|| MixerDevice::of_pcm(pcm));
            Ok(Some(MixerName { device, element }))
        }
        (Some(mixer), _, output) => {
            Err(ConfigError::MixerWithoutCard { mixer: mixer.to_string(), output: output.to_string() })
        }
    }
}

/// The files to read, lowest first, and whether each must be there.
fn candidates(environment: &Environment, cli: &Cli) -> Vec<(PathBuf, bool)> {
    match &cli.config {
        Some(path) => vec![(path.clone(), true)],
        None => std::iter::once(&environment.system_config)
            .chain(&environment.user_config)
            .map(|path| (path.clone(), false))
            .collect(),
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(&path).map_err(|source| ConfigError::RelativePath { path, source })
}

/// Period and buffer, which must fit each other whichever files they come from.
fn alsa_timing(layer: &Layer) -> Result<AlsaConfig, ConfigError> {
    let default = AlsaConfig::default();
    let milliseconds = |value: f64| Duration::from_secs_f64(value / 1000.0);
    let period = layer.alsa_period.as_ref().map_or(default.period, |period| milliseconds(period.value));
    let buffer = match &layer.alsa_buffer {
        Some(buffer) => milliseconds(buffer.value),
        None => default.buffer.max(4 * period),
    };
    match &layer.alsa_buffer {
        Some(given) if buffer < 2 * period => Err(ConfigError::Value(Box::new(WrongValue {
            place: given.place.clone(),
            key: "alsa.buffer".into(),
            value: given.written.clone(),
            why: format!("it holds less than two periods of {} ms", period.as_secs_f64() * 1000.0),
            accepted: format!(
                "{} to 1000 (milliseconds), or a shorter alsa.period",
                2.0 * period.as_secs_f64() * 1000.0
            ),
        }))),
        _ => Ok(AlsaConfig { period, buffer }),
    }
}

/// The configuration as a TOML file that yields it again.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| toml::Value::from(items);
        let path = |path: &Path| toml::Value::from(path.display().to_string());
        let milliseconds = |duration: Duration| toml::Value::from(duration.as_secs_f64() * 1000.0);
        for file in &self.files {
            writeln!(f, "# from {}", file.display())?;
        }
        writeln!(f, "# trusted senders: {}", self.trusted_file().display())?;
        writeln!(f, "name = {}", toml::Value::from(self.name.as_str()))?;
        writeln!(f, "output = {}", toml::Value::from(self.output.to_string()))?;
        if let Some(mixer) = &self.mixer {
            writeln!(f, "mixer = {}", toml::Value::from(mixer.element.to_string()))?;
            writeln!(f, "mixer-device = {}", toml::Value::from(mixer.device.as_str()))?;
        }
        writeln!(f, "listen = {}", toml::Value::from(self.listen.to_string()))?;
        writeln!(f, "access = \"{}\"", self.access)?;
        writeln!(f, "groups = {}", list(self.groups.iter().map(ToString::to_string).collect()))?;
        if let Some(volume) = self.volume {
            writeln!(f, "volume = {}", toml::Value::from(volume.percent()))?;
        }
        writeln!(f, "channel-mode = \"{}\"", self.channel_mode)?;
        writeln!(f, "max-volume = {}", toml::Value::from(self.max_volume.percent()))?;
        if let Some(volume) = self.startup_volume {
            writeln!(f, "startup-volume = {}", toml::Value::from(volume.percent()))?;
        }
        writeln!(f, "pin = {}", list(self.pin.iter().map(|key| PinnedKey(*key).to_string()).collect()))?;
        writeln!(f, "subscribe = {}", list(self.subscribe.iter().map(ToString::to_string).collect()))?;
        writeln!(f, "state-dir = {}", path(&self.state_dir))?;
        writeln!(f, "discovery = {}", self.discovery)?;
        writeln!(f, "policy = \"{}\"", self.policy)?;
        writeln!(f, "idle-release = {}", toml::Value::from(self.idle_release.as_secs_f64()))?;
        writeln!(f, "output-delay = {}", toml::Value::from(self.output_delay.as_secs_f64() * 1000.0))?;
        writeln!(f, "log = \"{}\"", self.log)?;
        writeln!(f, "\n[alsa]")?;
        writeln!(f, "period = {}", milliseconds(self.alsa.period))?;
        writeln!(f, "buffer = {}", milliseconds(self.alsa.buffer))
    }
}

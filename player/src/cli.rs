//! The command line of `audera-player`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Access, ListenAddress, LogLevel, MixerChoice, MixerDevice, OutputChoice, RoomName, Subscription};

/// Exit codes of `audera-player`.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The player could not start, or had to give up while running.
    pub const FAILED: u8 = 1;
    /// The command line or the configuration is wrong.
    pub const CONFIG: u8 = 2;
    /// `status`: no player runs there, or it cannot be reached, or it has gone.
    pub const UNREACHABLE: u8 = 3;
    /// `status`: the player does not trust this user and host.
    pub const NOT_TRUSTED: u8 = 4;
}

/// Plays the streams of Audera senders in this room.
///
/// Every option but --config, --check-config and -v is also a key of the configuration files /etc/audera/player.toml and
/// ~/.config/audera/player.toml; the command line wins. See audera-player(1).
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "audera-player", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of playing.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Read this file instead of the machine's and the user's.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Call this room ROOM [default: the machine's name].
    #[arg(long, value_name = "ROOM")]
    pub name: Option<RoomName>,

    /// Play to pipewire[:TARGET], alsa[:DEVICE], file:PATH.wav or null [default: pipewire].
    #[arg(long, value_name = "OUTPUT")]
    pub output: Option<OutputChoice>,

    /// With an ALSA output: have the card's own mixer turn the volume, by this element (such as Digital).
    #[arg(long, value_name = "ELEMENT")]
    pub mixer: Option<MixerChoice>,

    /// Where that element is, as amixer -D takes it [default: the mixer of the output's card].
    #[arg(long, value_name = "MIXER")]
    pub mixer_device: Option<MixerDevice>,

    /// Listen for senders here [default: [::]:6528].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<ListenAddress>,

    /// Who may play here: paired or open [default: paired].
    #[arg(long, value_name = "paired|open")]
    pub access: Option<Access>,

    /// Dial this source and play what it streams; may be given several times.
    #[arg(long, value_name = "NAME|host:port", num_args = 1..)]
    pub subscribe: Vec<Subscription>,

    /// Keep identity and trusted senders here.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Neither announce this player nor look for sources with Avahi.
    #[arg(long)]
    pub no_discovery: bool,

    /// Log error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<LogLevel>,

    /// Log more: -v is --log debug, -vv is --log trace.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "log")]
    pub verbose: u8,

    /// Print the effective configuration and leave: 0 if it is right, 2 if not.
    #[arg(long)]
    pub check_config: bool,
}

/// What the program does besides playing.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Tell how a room fares: how well it plays in time, its clocks, its buffer, and what went wrong.
    ///
    /// Exit status: 0 when it was told, 1 when this user's identity cannot be had, 2 when the command line or the configuration is
    /// wrong, 3 when there is no player or none that can be reached, 4 when the player does not trust this user and host.
    Status(StatusArgs),
    /// Change the state of a room, and print it: its volume, mute, name and so on. Without a setting it is only printed.
    ///
    /// Settings: name=TEXT, volume=40% (also +5%, -5%, +3dB, -3dB), mute=on|off, channel-mode=stereo|left|right|mono|swapped,
    /// output-delay=MS, groups=A,B, max-volume=80%, startup-volume=25%|none.
    ///
    /// Exit status: 0 when all was set, 1 when this user's identity cannot be had, 2 when a setting, the command line or the
    /// configuration is wrong and nothing was set, 3 when there is no player or none that can be reached, 4 when the player does not trust
    /// this user and host.
    Set(SetArgs),
}

/// Arguments of `audera-player set`.
#[derive(Debug, Clone, Default, Args)]
pub struct SetArgs {
    /// The player [default: the one on this machine], then what to set.
    #[arg(value_name = "[HOST[:PORT]] KEY=VALUE")]
    pub words: Vec<String>,

    /// Read this file instead of the machine's and the user's.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Take the identity from here.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl SetArgs {
    /// The command line of a player that reads the same configuration.
    pub(crate) fn as_player(&self) -> Cli {
        Cli { config: self.config.clone(), state_dir: self.state_dir.clone(), ..Cli::default() }
    }
}

/// Arguments of `audera-player status`.
#[derive(Debug, Clone, Default, Args)]
pub struct StatusArgs {
    /// The player to ask [default: the one on this machine].
    #[arg(value_name = "HOST[:PORT]")]
    pub host: Option<String>,

    /// Print JSON: one object, with --watch one on each line.
    #[arg(long)]
    pub json: bool,

    /// Go on until the player ends or Ctrl-C: once a second and when its state changes.
    #[arg(long)]
    pub watch: bool,

    /// Read this file instead of the machine's and the user's.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Take the identity from here.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl StatusArgs {
    /// The command line of a player that reads the same configuration.
    pub(crate) fn as_player(&self) -> Cli {
        Cli { config: self.config.clone(), state_dir: self.state_dir.clone(), ..Cli::default() }
    }
}

impl Cli {
    /// The keys this command line sets.
    pub(crate) fn layer(&self) -> crate::config::Layer {
        crate::config::Layer {
            name: self.name.clone(),
            output: self.output.clone(),
            mixer: self.mixer.clone(),
            mixer_device: self.mixer_device.clone(),
            listen: self.listen,
            access: self.access,
            subscribe: (!self.subscribe.is_empty()).then(|| self.subscribe.clone()),
            state_dir: self.state_dir.clone(),
            discovery: self.no_discovery.then_some(false),
            log: match self.verbose {
                0 => self.log,
                1 => Some(LogLevel::Debug),
                _ => Some(LogLevel::Trace),
            },
            ..Default::default()
        }
    }
}

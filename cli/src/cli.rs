//! The command line of `audera`. Manual pages and completions are made from it.

use std::ffi::OsString;
use std::path::PathBuf;

use audera_dbus::source;
use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::amount::{Amount, Latency, Milliseconds};
use crate::complete;

/// Shows and sets the rooms of this home.
///
/// What plays, how loud, and how well in time; volumes, groups, names; and what this machine plays to rooms. Rooms and groups are
/// called by their names, capital letters or not. auderad, which the session bus starts when it is needed, knows them.
#[derive(Debug, Parser)]
#[command(name = "audera", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Exit status: 0 done, 1 failed, 2 wrong command line or a value that is not accepted, 3 the room or auderad \
                        cannot be reached, 4 the room does not trust this user and host, 5 there is no such room, group, source or input."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all rooms and groups, and what this machine plays to them.
    Status(StatusArgs),
    /// Set the volume of a room or group, or tell it.
    ///
    /// A group's volume is that of its loudest room; setting it moves its rooms in proportion, none past its own limit.
    Volume(VolumeArgs),
    /// Mute a room or group, or no longer.
    Mute(MuteArgs),
    /// Make, change and show groups of rooms.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Give a room another name.
    Rename(RenameArgs),
    /// Set by how much a room plays earlier, or tell it.
    ///
    /// That makes up for what is behind its output, such as a television.
    Delay(DelayArgs),
    /// Choose which channel is heard where in a room, or tell it.
    Channel(ChannelArgs),
    /// Play a short sound in a room, so that one hears which it is: at its volume, but at 40 % at least, as far as its limit allows.
    Identify(RoomArgs),
    /// Start, stop and show the inputs that this machine streams to rooms.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Play a file in a room or group.
    ///
    /// pw-play or paplay plays it to the sink that Audera has for the room on this machine. Where there is none, aplay plays it
    /// through Audera's ALSA plugin.
    Play(PlayArgs),
    /// Tell or set how the programs of this user on this machine find rooms.
    ///
    /// That holds for sinks, sources that look for rooms, programs that play through ALSA and auderad, at once. What else there is to configure has a
    /// place of its own: a room's settings are the room's (audera volume, delay, channel, group), those of sinks and sources are in audera.conf, and
    /// those of ALSA programs in alsa.toml.
    Config(ConfigArgs),
    /// Watch all rooms on a full screen, and turn them up and down.
    ///
    /// Keys: up and down choose a room or group, left and right (or - and +) move its volume by 5 %, m mutes it, i has it play a
    /// short sound, q ends. It shows what plays, by how much the room believes to be out of time and how that was in the last half
    /// minute, its buffer, how well it knows the sender's clock, and what came too late or was lost; the level of what this machine plays there, and
    /// its sources with theirs.
    Top,
    /// Tell a shell's completion what fits.
    #[command(hide = true)]
    Complete(CompleteArgs),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// Arguments of `audera status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Go on until Ctrl-C: a line for each room that has changed, once a second while it plays.
    #[arg(long)]
    pub watch: bool,

    /// Print JSON: one object on one line, with --watch a new one after each change.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `audera volume`.
#[derive(Debug, Args)]
pub struct VolumeArgs {
    /// The room or group.
    #[arg(value_name = "ROOM", add = ArgValueCandidates::new(complete::rooms_and_groups))]
    pub target: String,

    /// 40% or 40, or a step: +5%, -5%, +3dB, -3dB.
    #[arg(value_name = "VOLUME", allow_hyphen_values = true)]
    pub volume: Option<Amount>,
}

/// Arguments of `audera mute`.
#[derive(Debug, Args)]
pub struct MuteArgs {
    /// The room or group.
    #[arg(value_name = "ROOM", add = ArgValueCandidates::new(complete::rooms_and_groups))]
    pub target: String,

    /// Whether it is to be mute.
    #[arg(value_name = "HOW", default_value = "on")]
    pub how: Mute,
}

/// What `audera mute` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mute {
    /// Silence; the volume stays as it is.
    On,
    /// Sound.
    Off,
    /// The other of the two.
    Toggle,
}

/// What `audera group` does.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group of rooms.
    Create(MembersArgs),
    /// Take all rooms out of a group, which is its end.
    Delete(GroupArgs),
    /// Put rooms into a group.
    Add(MembersArgs),
    /// Take rooms out of a group.
    Remove(MembersArgs),
    /// Show the groups and their rooms.
    List(ListArgs),
}

/// A group and rooms.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// The group.
    #[arg(add = ArgValueCandidates::new(complete::groups))]
    pub group: String,

    /// The rooms.
    #[arg(value_name = "ROOM", required = true, add = ArgValueCandidates::new(complete::rooms))]
    pub rooms: Vec<String>,
}

/// A group.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// The group.
    #[arg(add = ArgValueCandidates::new(complete::groups))]
    pub group: String,
}

/// How a list is shown.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print a JSON array on one line.
    #[arg(long)]
    pub json: bool,
}

/// A room.
#[derive(Debug, Args)]
pub struct RoomArgs {
    /// The room.
    #[arg(add = ArgValueCandidates::new(complete::rooms))]
    pub room: String,
}

/// Arguments of `audera rename`.
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// The room.
    #[arg(add = ArgValueCandidates::new(complete::rooms))]
    pub room: String,

    /// Its new name, 1 to 63 bytes.
    pub name: String,
}

/// Arguments of `audera delay`.
#[derive(Debug, Args)]
pub struct DelayArgs {
    /// The room.
    #[arg(add = ArgValueCandidates::new(complete::rooms))]
    pub room: String,

    /// -500 to 500; the more, the earlier it plays.
    #[arg(value_name = "MS", allow_hyphen_values = true)]
    pub delay: Option<Milliseconds>,
}

/// Arguments of `audera channel`.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    /// The room.
    #[arg(add = ArgValueCandidates::new(complete::rooms))]
    pub room: String,

    /// What it is to play.
    pub mode: Option<ChannelMode>,
}

/// Which channel is heard where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChannelMode {
    /// Left on the left, right on the right.
    Stereo,
    /// The left one everywhere.
    Left,
    /// The right one everywhere.
    Right,
    /// The mean of all channels everywhere.
    Mono,
    /// Left on the right, right on the left.
    Swapped,
}

impl ChannelMode {
    /// As D-Bus has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stereo => "stereo",
            Self::Left => "left",
            Self::Right => "right",
            Self::Mono => "mono",
            Self::Swapped => "swapped",
        }
    }
}

/// What `audera source` does.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Show the sources of this machine: what they take in and how loud that is, where they stream it, and how they are.
    List(ListArgs),
    /// Capture another input, or show those there are.
    ///
    /// It is moved as a mixer moves a recording, and kept over restarts. Inputs are called by their names or by their descriptions; that which is captured
    /// is marked with an asterisk.
    Input(InputArgs),
    /// Stream until it is stopped; a source that waits for a signal waits for it again.
    Start(SourceArgs),
    /// Do not stream until it is started.
    Stop(SourceArgs),
    /// Stream to these rooms and groups from now on, or tell to which.
    Target(TargetArgs),
    /// Encode otherwise until the source is loaded anew, or tell how.
    ///
    /// Rooms that get another format by that are silent for a moment.
    Codec(CodecArgs),
    /// Have another latency until the source is loaded anew, or tell which was asked for.
    ///
    /// Rooms that play glide there.
    Latency(LatencyArgs),
}

/// A source.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The source; may be left out where there is one only.
    #[arg(add = ArgValueCandidates::new(complete::sources))]
    pub source: Option<String>,
}

/// Arguments of `audera source input`.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// The source; may be left out where there is one only.
    #[arg(value_name = "SOURCE", add = ArgValueCandidates::new(complete::sources_and_inputs))]
    pub source: Option<String>,

    /// The input.
    #[arg(value_name = "INPUT", add = ArgValueCandidates::new(complete::inputs))]
    pub input: Option<String>,

    /// Capture what is captured where nothing is asked for: what the configuration names, or else the default input.
    #[arg(long, conflicts_with = "input")]
    pub default: bool,

    /// Print the inputs as a JSON array on one line.
    #[arg(long, conflicts_with_all = ["input", "default"])]
    pub json: bool,
}

/// Arguments of `audera source codec`.
#[derive(Debug, Args)]
pub struct CodecArgs {
    /// The source.
    #[arg(add = ArgValueCandidates::new(complete::sources))]
    pub source: String,

    /// What its sound is to be sent as.
    pub codec: Option<Codec>,
}

/// Arguments of `audera source latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// The source.
    #[arg(add = ArgValueCandidates::new(complete::sources))]
    pub source: String,

    /// 20 to 2000, from the input to the loudspeakers; or auto: what the rooms need.
    #[arg(value_name = "MS")]
    pub latency: Option<Latency>,
}

/// Arguments of `audera source target`.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The source.
    #[arg(add = ArgValueCandidates::new(complete::sources))]
    pub source: String,

    /// Rooms and groups by name, and addresses (host:port).
    #[arg(value_name = "ROOM", add = ArgValueCandidates::new(complete::rooms_and_groups))]
    pub rooms: Vec<String>,

    /// Stream to none but those that dial in.
    #[arg(long, conflicts_with = "rooms")]
    pub none: bool,
}

/// What sound is sent as, by its name on D-Bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec(pub source::Codec);

impl ValueEnum for Codec {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Codec; source::Codec::ALL.len()] = {
            let [auto, pcm, opus] = source::Codec::ALL;
            [Codec(auto), Codec(pcm), Codec(opus)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            source::Codec::Auto => "Opus where the stream and the room allow it, PCM elsewhere",
            source::Codec::Pcm => "As it is",
            source::Codec::Opus => "Opus; nothing where that is not possible",
        };
        Some(PossibleValue::new(self.0.name()).help(help))
    }
}

/// Arguments of `audera play`.
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// The file; its formats are those of the program that plays it.
    #[arg(value_hint = clap::ValueHint::FilePath, add = ArgValueCompleter::new(complete::files))]
    pub file: PathBuf,

    /// The room or group [default: Everywhere].
    #[arg(long, value_name = "ROOM", add = ArgValueCandidates::new(complete::rooms_and_groups))]
    pub to: Option<String>,
}

/// Arguments of `audera config`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConfigArgs {
    /// Print a JSON object on one line.
    #[arg(long)]
    pub json: bool,

    /// What to set.
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

/// What `audera config` sets.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Use the room at an address, also where it does not show itself.
    Add {
        /// HOST or HOST:PORT; without a port it is 6528.
        address: String,
    },
    /// Use the room at an address no longer, unless it shows itself.
    Remove {
        /// HOST or HOST:PORT, as it was added.
        address: String,
    },
    /// Look for rooms that show themselves with Avahi, or use none but those that were added.
    Discover {
        /// Whether they are looked for.
        how: Switch,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// Arguments of `audera complete`.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// Whose words these are.
    pub shell: complete::Shell,

    /// The words of the command line as the shell has them, the last one being typed.
    #[arg(last = true)]
    pub words: Vec<OsString>,
}

/// Arguments of `audera manual`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// Where to.
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_step_down_is_a_volume_and_no_option() {
        let volume = |words: &[&str]| match Cli::try_parse_from(words).unwrap().command {
            Command::Volume(args) => args.volume,
            other => panic!("{other:?}"),
        };
        assert_eq!(volume(&["audera", "volume", "Kitchen", "-3dB"]), Some(Amount::Decibels(-3.0)));
        assert_eq!(volume(&["audera", "volume", "Kitchen", "-5%"]), Some(Amount::Step(-5.0)));
        assert_eq!(volume(&["audera", "volume", "Kitchen"]), None);
        assert!(Cli::try_parse_from(["audera", "volume", "Kitchen", "loud"]).is_err());
    }
}

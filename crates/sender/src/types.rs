//! What a user of the hub configures, asks for and is told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use audera_clock::Span;
use audera_link::PeerId;
use audera_wire::{Formats, PlayerStatus, RoomState, StreamFormat};

use crate::change::ChangeError;
use crate::gate::GateConfig;

/// How a hub is set up, once.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// How this sender shows itself to players, for example the host's name.
    pub name: String,
    /// Program and version, for the other end's log.
    pub software: String,
    /// Where the identity and the list of trusted peers live.
    pub state_dir: PathBuf,
    /// Whether players are looked for with Avahi.
    pub discover: bool,
    /// Players at fixed addresses, `host` or `host:port`.
    pub players: Vec<String>,
    /// Lets players dial in.
    pub listen: Option<Listen>,
}

/// How players may dial in.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// Whether any other port will do when this one is taken.
    pub any_port: bool,
    /// Whether strangers are let in; else only players in the list of trusted peers and of this very user.
    pub open: bool,
    /// Whether the source is announced with Avahi under the hub's name.
    pub announce: bool,
}

/// Which codec a stream uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecChoice {
    /// Opus where the player takes it and the stream is 48 kHz mono or stereo, else PCM.
    #[default]
    Auto,
    /// PCM with 24 bits (or the best the player takes).
    Pcm,
    /// Opus; players that do not take it, or streams that are not 48 kHz mono or stereo, are refused.
    Opus,
}

/// How sound is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The codec.
    pub codec: CodecChoice,
    /// Opus bit rate in kb/s, 64..=320.
    pub opus_kbps: u32,
    /// Length of a packet in ms: 5, 10 or 20.
    pub packet_msec: u16,
}

impl Encoding {
    /// The Opus bit rate in bit/s.
    pub(crate) fn opus_bitrate(&self) -> u32 {
        self.opus_kbps * 1000
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Encoding { codec: CodecChoice::Auto, opus_kbps: 160, packet_msec: 10 }
    }
}

/// How long it takes from the graph to the speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latency {
    /// What the players need, and [`AUTO_LEAST`](Self::AUTO_LEAST) at least: it glides.
    #[default]
    Auto,
    /// Always the same, one of [`CHOSEN_LATENCIES`](audera_wire::CHOSEN_LATENCIES).
    Fixed(Span),
}

impl Latency {
    /// What [`Auto`](Self::Auto) begins with, and the least it comes to: enough for wired networks and the usual devices.
    pub const AUTO_LEAST: Span = Span::from_millis(80);

    /// How long packets are if nothing else is said, ms. Below 60 ms their length counts; from 80 ms on, which [`Auto`](Self::Auto) begins with,
    /// long ones cost all sides half as much.
    #[must_use]
    pub fn usual_packet_msec(self) -> u16 {
        match self {
            Latency::Fixed(fixed) if fixed < Span::from_millis(60) => 5,
            Latency::Fixed(fixed) if fixed < Self::AUTO_LEAST => 10,
            Latency::Fixed(_) | Latency::Auto => 20,
        }
    }

    /// What a stream begins with.
    #[must_use]
    pub fn initial(self) -> Span {
        match self {
            Latency::Auto => Self::AUTO_LEAST,
            Latency::Fixed(latency) => latency,
        }
    }
}

/// Which players a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every player this hub knows.
    Everywhere,
    /// One player, also under the name that it gets and by the other ways that lead to it.
    Player(PlayerKey),
    /// The players that say they are in this group.
    Group(String),
    /// Rooms and groups by name, and players at fixed addresses. Where a room and a group have one name, both are meant.
    Named(Vec<String>),
}

/// How one stream is set up.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// What the players are told is playing.
    pub title: String,
    /// Frames per second of the input.
    pub rate: u32,
    /// Channels of the input, 1..=8.
    pub channels: u8,
    /// From the graph to the speaker, the same for all players.
    pub latency: Latency,
    /// Codec and packets.
    pub encoding: Encoding,
    /// The players.
    pub target: Target,
    /// Lets the stream begin and end with the signal; without a gate [`crate::Stream::begin`] and [`crate::Stream::end`] decide.
    pub gate: Option<GateConfig>,
}

/// What names a player to its sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlayerKey {
    /// The DNS-SD instance name, which is the room's name.
    Discovered(String),
    /// A fixed address, as [`spelled`] spells it.
    Address(String),
    /// A player that dialled in.
    Caller(PeerId, String),
}

/// The one spelling of a player's fixed address: in lower case, and without the port where that is the usual one. What is no address stays as it is.
#[must_use]
pub fn spelled(address: &str) -> String {
    let target = audera_link::Target::parse(address, audera_wire::PORT);
    target.map_or_else(|_| address.to_owned(), |target| target.spelling(audera_wire::PORT))
}

impl fmt::Display for PlayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlayerKey::Discovered(room) => f.write_str(room),
            PlayerKey::Address(address) => f.write_str(address),
            PlayerKey::Caller(_, address) => write!(f, "caller {address}"),
        }
    }
}

/// Whether a player can be played to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Known, not connected yet.
    Searching,
    /// Connected and ready to play.
    Ready,
    /// It does not answer; tried again by itself.
    Away(String),
    /// It answers but does not take us, or we do not take it; the text says what to do.
    Refused(String),
}

/// A player as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerInfo {
    /// What names it.
    pub key: PlayerKey,
    /// The room's name; the address until a player at a fixed address has told it.
    pub room: String,
    /// The groups it says it belongs to.
    pub groups: Vec<String>,
    /// Its identity, once connected.
    pub id: Option<PeerId>,
    /// Where it is connected; `None` while it is not.
    pub address: Option<SocketAddr>,
    /// The fixed addresses that lead to it, as [`spelled`] spells them: in the configuration, added by the user, or asked for.
    pub addresses: Vec<String>,
    /// Its program and version, once it has said hello.
    pub software: Option<String>,
    /// What it can be sent, once connected.
    pub takes: Option<Formats>,
    /// Whether it is announced (or configured) now.
    pub announced: bool,
    /// Whether it can be played to.
    pub reach: Reach,
}

impl PlayerInfo {
    pub(crate) fn new(key: PlayerKey, room: String, announced: bool) -> Self {
        let addresses = match &key {
            PlayerKey::Address(address) => vec![address.clone()],
            PlayerKey::Discovered(_) | PlayerKey::Caller(..) => Vec::new(),
        };
        PlayerInfo {
            key,
            room,
            addresses,
            groups: Vec::new(),
            id: None,
            address: None,
            software: None,
            takes: None,
            announced,
            reach: Reach::Searching,
        }
    }

    /// Takes the name that the player gives itself. One that was found by its announced name is bound to it; another name is not believed.
    pub(crate) fn take_name(&mut self, name: &str) {
        if !matches!(self.key, PlayerKey::Discovered(_)) {
            name.clone_into(&mut self.room);
        }
    }

    /// Whether the player can be asked for anything now. Only such rooms count for what a group or all rooms show and are moved by: one that
    /// is away stays announced until Avahi has forgotten it, and would keep the volume of the others from following a hand.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reach == Reach::Ready
    }

    /// Whether anything is known of the player now: it is announced, or connected all the same.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.announced || self.is_ready()
    }
}

/// How far a player has come with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    /// Asked to play.
    Starting,
    /// It plays.
    Playing,
    /// It does not play this stream, and why.
    Refused(String),
    /// A newer stream, of the named sender, took the player.
    Preempted(String),
}

/// One player of a stream.
#[derive(Debug, Clone)]
pub struct Member {
    /// The player.
    pub key: PlayerKey,
    /// Its room.
    pub room: String,
    /// How far it has come.
    pub state: MemberState,
    /// What is sent to it.
    pub format: Option<StreamFormat>,
    /// What it reported last about this stream.
    pub status: Option<PlayerStatus>,
    /// Packets that were too late before they could be sent.
    pub dropped_packets: u64,
}

impl Member {
    /// A player that cannot be a member.
    pub(crate) fn refused(player: &PlayerInfo, reason: &str) -> Member {
        Member {
            key: player.key.clone(),
            room: player.room.clone(),
            state: MemberState::Refused(reason.to_owned()),
            format: None,
            status: None,
            dropped_packets: 0,
        }
    }
}

/// What names a stream of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub(crate) u64);

/// The state of a stream.
#[derive(Debug, Clone)]
pub struct StreamStatus {
    /// The stream.
    pub key: StreamKey,
    /// Whether it plays now (its gate is open, or it was begun).
    pub active: bool,
    /// From the graph to the speaker at this moment, the sound kept from before the signal (see [`GateConfig::preroll`]) included.
    pub latency: Span,
    /// The same when it has come to rest.
    pub latency_target: Span,
    /// Its players while it plays.
    pub members: Vec<Member>,
    /// Frames that were discarded because the network thread was stalled.
    pub discarded_frames: u64,
}

/// What a hub tells its owner, on the network thread.
#[derive(Debug, Clone)]
pub enum HubEvent {
    /// A player appeared or changed.
    Player(PlayerInfo),
    /// The state of a player's room: when it is connected, and whenever it has changed, though not more often than fifty times a second.
    Room {
        /// The player.
        key: PlayerKey,
        /// The state.
        state: RoomState,
        /// Whether all that was asked of this player with [`Hub::set`](crate::Hub::set) is in it, or was refused. While it is not, the state
        /// is older than what was asked for.
        settled: bool,
    },
    /// What was asked of a room with [`Hub::set`](crate::Hub::set) or [`Hub::change`](crate::Hub::change) has not been done. Of a player
    /// that is connected, [`HubEvent::Room`] follows with what is in force.
    NotSet {
        /// The player.
        key: PlayerKey,
        /// Why.
        why: ChangeError,
    },
    /// A player is known by another key now, as it has another name or is reached by another way, and all that belonged to it belongs to the new one:
    /// streams for it are for that already. That the old key is forgotten is told behind it.
    Renamed {
        /// What it was known by.
        was: PlayerKey,
        /// What it is known by.
        now: PlayerKey,
    },
    /// A player is no longer kept track of.
    Forgotten(PlayerKey),
    /// A stream began, ended or changed; once a second while it plays.
    Stream(StreamStatus),
    /// Something the owner must tell its user; the hub goes on.
    Trouble(String),
}

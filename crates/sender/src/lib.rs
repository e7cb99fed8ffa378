//! From an audio thread to any number of Audera players: ring, encoder, fan-out. Shared by everything that streams.
//!
//! A [`Hub`] owns the one network thread of its process. On it live the connections to all players (dialled, or accepted from
//! players that dial in), the list of players from Avahi and from the configuration, and the streams:
//!
//! ```text
//! audio thread            network thread
//! Tap::push ──ring──▶ Pump: frame clock, gate, ──▶ one bounded queue ──▶ TLS connection ──▶ player
//!           ─eventfd▶ one encoder per format        for each player
//! ```
//!
//! An application that writes faster than it is heard has a [`Paced`] in place of the tap: the network thread takes from its buffer what is due.
//!
//! [`Hub::open_stream`] gives a [`Tap`] for the audio thread and a [`Stream`] to control it. A packet is encoded once for each
//! format in use and queued for each player by reference; what is too late for its player is dropped from that player's queue
//! and from no other. What happens is told as [`HubEvent`]s.

#[cfg(test)]
mod by_hand;
mod change;
mod connect;
mod core;
mod demand;
mod discovery;
mod gate;
mod glide;
mod heard;
mod hub;
mod inbound;
mod level;
mod log;
mod mailbox;
mod meter;
mod outlook;
mod paced;
mod player;
mod playing;
mod pump;
mod room;
mod roster;
mod select;
mod signals;
mod stall;
mod stream;
mod taken;
mod tap;
mod types;
mod watch;
mod ways;
mod whereabouts;

pub use audera_link::{Whereabouts, WhereaboutsError};
pub use audera_wire::{
    CHOSEN_LATENCIES, ChannelMode, Fader, GroupState, RoomChange, RoomKey, RoomRefusal, RoomState, Volume,
};
pub use change::ChangeError;
pub use gate::GateConfig;
pub use hub::{Hub, HubError, Stream};
pub use level::WatchedLevel;
pub use log::log_lines;
pub use mailbox::Mailbox;
pub use meter::Level;
pub use paced::Paced;
pub use select::EVERYWHERE;
pub use tap::Tap;
pub use types::{
    CodecChoice, Encoding, HubConfig, HubEvent, Latency, Listen, Member, MemberState, PlayerInfo, PlayerKey, Reach,
    StreamConfig, StreamKey, StreamStatus, Target, spelled,
};

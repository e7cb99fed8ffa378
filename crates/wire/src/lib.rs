//! The Audera protocol without I/O: framing, messages and the session state machine of each end; no socket, clock or thread.
//!
//! The bytes are described for strangers in `docs/protocol.md`; the golden vectors there are tests here.
//!
//! A connection carries one session. The end that sends audio holds a [`SenderSession`], the end that plays a
//! [`PlayerSession`], whoever dialled. Both are driven alike, and time always comes in as an argument:
//!
//! ```
//! use audera_clock::{PlayerTime, SenderTime};
//! use audera_wire::{PlayerHello, PlayerSession, SenderEvent, SenderHello, SenderSession};
//!
//! let mut sender = SenderSession::new(SenderHello::new("desk", "example 1.0"), SenderTime::from_nanos(0));
//! let mut player = PlayerSession::new(PlayerHello::new("Kitchen", "example 1.0"), PlayerTime::from_nanos(0));
//! let mut bytes = Vec::new();
//! player.poll_transmit(PlayerTime::from_nanos(1_000), &mut bytes);
//! sender.receive(SenderTime::from_nanos(2_000), &bytes)?;
//! assert!(matches!(sender.poll_event(), Some(SenderEvent::PlayerReady(hello)) if hello.name == "Kitchen"));
//! # Ok::<(), audera_wire::SessionError>(())
//! ```
//!
//! The loop around a session: feed what was read to `receive`; drain `poll_event`; whenever the transport can take
//! bytes, call `poll_transmit` and write what it gives before any audio; at `next_timeout` call `handle_timeout`.
//! Time is exchanged in datagrams beside the connection where there is a way for them: then `receive_datagram` takes what
//! came and `poll_datagram` gives what is to be sent, at the same moments. Both hellos have to say so.
//! Audio is not queued in the session: the sender writes the bytes of [`encode_audio`], which are the same for every
//! player of a stream, whenever [`SenderSession::is_streaming`] says so.

mod audio;
mod close;
mod datagram;
mod dnssd;
mod format;
mod frame;
mod group;
mod hello;
mod limits;
mod message;
mod room;
mod session;
mod status;
mod stream;
mod text;
mod time;
mod volume;

pub use audio::{AudioError, AudioPacket, encode_audio};
pub use close::{Bye, CloseCode};
pub use datagram::{DATAGRAM_LEN, Datagram, DatagramError};
pub use dnssd::{
    SERVICE_PLAYER, SERVICE_SOURCE, TXT_ACCESS, TXT_ACCESS_OPEN, TXT_ACCESS_PAIRED, TXT_GROUPS, TXT_ID, TXT_VERSION,
    groups_from_txt, groups_to_txt, label_fault,
};
pub use format::{Coding, FormatError, Formats, StreamFormat};
pub use frame::{Frame, FrameError, FrameReader, FrameType, HEADER_LEN};
pub use group::{Fader, GroupState};
pub use hello::{Hello, PlayerHello, Role, SenderHello, Sound};
pub use limits::*;
pub use message::{Message, MessageError};
pub use room::{
    ChannelMode, MAX_OUTPUT_DELAY_MS, MAX_STEP_DB, RoomChange, RoomChanges, RoomKey, RoomRefusal, RoomState,
    UnknownChannelMode,
};
pub use session::{
    Counters, PlayerEvent, PlayerSession, SenderEvent, SenderSession, SessionError, SetError, StartError,
};
pub use status::{PlayerState, PlayerStatus, TimePath};
pub use stream::{Start, StartInvalid, StreamId};
pub use time::{TimeReply, TimeRequest};
pub use volume::Volume;

/// The ALPN protocol name; both ends offer exactly this one.
pub const ALPN: &[u8] = b"audera/1";

/// Default port of players and sources, TCP for the connection and UDP for time exchanges beside it.
pub const PORT: u16 = 6528;

/// Major versions of the protocol spoken by this crate, as offered in a hello.
pub const VERSIONS: &[u16] = &[1];

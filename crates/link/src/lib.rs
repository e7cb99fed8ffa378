//! Identity, trust and TLS transport of Audera: who a peer is, and a byte stream to it; what the bytes mean is not known here.
//!
//! - [`Identity`] is the key pair of a host and user, [`PeerId`] its public name, [`TrustStore`] the file of peers that are known,
//!   [`Whereabouts`] the file that says where others are.
//! - [`Endpoint`] holds the TLS settings of one identity; [`Listener`] and [`dial`] turn it into [`Connection`]s, which are
//!   encrypted and mutually authenticated. Whether a peer is *welcome* is the caller's decision, taken from [`Connection::peer`].
//!
//! - Beside each connection go datagrams, for what must not wait behind it: sealed with keys of the TLS session, on the same port
//!   number, and lost without a word where UDP does not pass. [`drive`] hands them to a [`Protocol`] with the time of their arrival.
//!
//! Nothing here is global: no process-wide TLS provider, no thread of its own (name look-ups excepted, which tokio hands to its
//! blocking pool), no logging. Failures are values; the caller writes the log line.

#![deny(unsafe_code)]

mod admission;
mod beside;
mod connection;
mod datagram;
mod dial;
mod drive;
mod endpoint;
mod identity;
mod limits;
mod line;
mod listener;
mod pause;
mod peer_id;
mod pulse;
mod repeat;
mod socket;
mod state_file;
mod strangers;
mod successor;
mod trust;
mod udp;
mod verifier;
mod whereabouts;

pub use connection::{Connection, HandshakeError, Reader, Writer};
pub use datagram::PAYLOAD_LEN;
pub use dial::{DialError, Stage, Target, TargetError, dial};
pub use drive::{DriveError, Protocol, dismiss, drive};
pub use endpoint::{Endpoint, EndpointError};
pub use identity::{Identity, IdentityError};
pub use limits::Limits;
pub use line::new_line;
pub use listener::{BindError, Cause, Failure, Listener};
pub use pause::{Absence, Pause};
pub use peer_id::{ParsePeerIdError, PeerId};
pub use pulse::Pulse;
pub use state_file::StateFileError;
pub use strangers::Strangers;
pub use successor::successor;
pub use trust::{ChangedId, MET_FILE, PinError, Pinned, TRUSTED_FILE, TrustError, TrustStore, TrustedPeer};
pub use whereabouts::{WHEREABOUTS_FILE, Whereabouts, WhereaboutsError};

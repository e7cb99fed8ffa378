//! What the PipeWire modules that send have in common: the arguments of a sender, its hub behind the host's main loop, its
//! lines in the host's log, its objects on D-Bus, its players' state as a node property, and what its nodes do in the graph's cycles. What is special to sinks or sources is in the modules.

mod arguments;
mod export;
mod host;
mod keeper;
mod log;
mod rooms;
mod tap;
mod ticker;

pub use arguments::{COMMON_KEYS, SenderArguments};
pub use audera_link::StateFile;
pub use export::Objects;
pub use host::{Hosted, SOFTWARE, host_name};
pub use keeper::Keeper;
pub use rooms::{LATENCY_PROPERTY, ROOMS_PROPERTY, RoomReport, latency_text, rooms_json};
pub use tap::to_tap;
pub use ticker::Ticker;

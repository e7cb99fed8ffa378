//! How the rooms fare, as a sender's node tells the graph.

use audera_testkit::Session;
use serde::Deserialize;

/// One room of a stream, from the property `audera.rooms`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Room {
    /// Its name.
    pub room: String,
    /// Such as `playing`.
    pub state: String,
    /// Audio that waits in it, in ms.
    pub buffered_ms: u32,
    /// By its own reckoning, how much later than it should it plays, in us.
    pub sync_error_us: Option<f64>,
    /// The size of that which was not exceeded in 99 % of the last minute, in us.
    pub sync_p99_us: Option<f64>,
    /// By how much it believes the sender's clock to be faster than its own, in ppm.
    pub skew_ppm: Option<f64>,
    /// By how much its card is faster than nominal by its clock, in ppm.
    pub card_ppm: Option<f64>,
    /// By how much packets come earlier than they have to, in ms, if it tells.
    pub spare_ms: Option<f64>,
    /// Frames replaced by silence.
    pub lost_frames: u64,
    /// Frames that came too late.
    pub late_frames: u64,
    /// Times it ran dry.
    pub underruns: u64,
    /// Times it had to jump.
    pub resyncs: u64,
    /// Times its device ran dry.
    pub xruns: u64,
}

/// The rooms to which this node streams; none when it does not, or cannot be read just now.
pub(crate) fn rooms(session: &Session, node: &str) -> Vec<Room> {
    let told = session.graph().ok().and_then(|graph| graph.node(node)?.properties.get("audera.rooms").cloned());
    let mut rooms: Vec<Room> = told.and_then(|told| serde_json::from_str(&told).ok()).unwrap_or_default();
    rooms.sort_by(|a, b| a.room.cmp(&b.room));
    rooms
}

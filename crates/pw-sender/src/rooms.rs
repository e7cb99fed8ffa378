//! The players of a stream as a node property, so that `pw-dump`, `pw-cli info` and scripts can see how the rooms fare.

use audera_sender::{Member, MemberState, StreamStatus};
use serde::Serialize;

/// The node property that holds a JSON array of [`RoomReport`]s; empty while nothing plays.
pub const ROOMS_PROPERTY: &str = "audera.rooms";

/// The node property with the stream's present latency, in ms with three decimals.
pub const LATENCY_PROPERTY: &str = "audera.latency";

/// The value of [`LATENCY_PROPERTY`] for a stream.
#[must_use]
pub fn latency_text(stream: &StreamStatus) -> String {
    format!("{:.3}", stream.latency.as_secs_f64() * 1e3)
}

/// One room of a stream.
#[derive(Debug, Clone, Serialize)]
pub struct RoomReport {
    /// The room's name.
    pub room: String,
    /// `starting`, `playing`, `waiting`, `draining`, `refused` or `preempted`.
    pub state: String,
    /// Why it is refused, or by whom it was preempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Codec of the stream to this room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Audio that waits in the room, in ms.
    pub buffered_ms: u32,
    /// How much less latency would have done for this room in the last second, in ms; negative: how much more it needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spare_ms: Option<f64>,
    /// How much later than it should the room believes to play now, in us; absent while nothing sounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_error_us: Option<f64>,
    /// The size of that which was not exceeded in 99 % of the last minute, in us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_p99_us: Option<f64>,
    /// By how much the room's resampler departs from the nominal rate, in ppm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_ppm: Option<f64>,
    /// What the sender's clock reads, less what the room's host reads, by the room's estimate, in us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_us: Option<f64>,
    /// What the room's clock estimate may be off by, in us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_bound_us: Option<f64>,
    /// The shortest round trip between the two hosts of late, in us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<f64>,
    /// How the room follows the clock: `udp` or `in-band`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_path: Option<&'static str>,
    /// By how much the sender's clock is faster than the room's, by the room's estimate, in ppm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_ppm: Option<f64>,
    /// By how much the room's device is faster than nominal by its host's clock, in ppm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_ppm: Option<f64>,
    /// Standard deviation of `card_ppm`, in ppm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_deviation_ppm: Option<f64>,
    /// Calibrated delay behind the room's device, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_delay_ms: Option<f64>,
    /// Frames that came too late to be heard.
    pub late_frames: u64,
    /// Frames replaced by silence.
    pub lost_frames: u64,
    /// Packets that came too late, in part at least.
    pub late_packets: u64,
    /// Packets that never came.
    pub lost_packets: u64,
    /// Times the room ran dry.
    pub underruns: u64,
    /// Times the room had to jump.
    pub resyncs: u64,
    /// Times the room's device ran dry.
    pub xruns: u64,
    /// Packets that were too late before they could be sent.
    pub dropped_packets: u64,
}

impl From<&Member> for RoomReport {
    fn from(member: &Member) -> Self {
        let status = member.status.clone().unwrap_or_default();
        let (state, reason) = match &member.state {
            MemberState::Starting => ("starting".to_owned(), None),
            MemberState::Playing if member.status.is_some() => (status.state.name().to_owned(), None),
            MemberState::Playing => ("playing".to_owned(), None),
            MemberState::Refused(reason) => ("refused".to_owned(), Some(reason.clone())),
            MemberState::Preempted(by) => ("preempted".to_owned(), Some(by.clone())),
        };
        RoomReport {
            room: member.room.clone(),
            state,
            reason,
            codec: member.format.map(|format| format.coding.name().to_owned()),
            buffered_ms: status.buffered_ms,
            spare_ms: status.spare_ms,
            sync_error_us: status.sync_error_us,
            sync_p99_us: status.sync_p99_us,
            ratio_ppm: status.ratio_ppm,
            clock_offset_us: status.clock_offset_us,
            clock_bound_us: status.clock_bound_us,
            round_trip_us: status.round_trip_us,
            time_path: status.time_path.map(audera_wire::TimePath::name),
            skew_ppm: status.skew_ppm,
            card_ppm: status.card_ppm,
            card_deviation_ppm: status.card_deviation_ppm,
            output_delay_ms: status.output_delay_ms,
            late_frames: status.late_frames,
            lost_frames: status.lost_frames,
            late_packets: status.late_packets,
            lost_packets: status.lost_packets,
            underruns: status.underruns,
            resyncs: status.resyncs,
            xruns: status.xruns,
            dropped_packets: member.dropped_packets,
        }
    }
}

/// The value of [`ROOMS_PROPERTY`] for a stream.
#[must_use]
pub fn rooms_json(stream: &StreamStatus) -> String {
    let rooms: Vec<RoomReport> = stream.members.iter().map(RoomReport::from).collect();
    // Plain structs of text and numbers always serialise.
    serde_json::to_string(&rooms).unwrap_or_default()
}

//! How a stream joins the graph.

use libspa_sys as spa;

use crate::format::{Latency, Offer};

/// Which way the samples of a stream go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the graph to us: a sink that applications play to, or a capture.
    Input,
    /// From us to the graph: playback.
    Output,
}

impl Direction {
    pub(super) fn to_raw(self) -> spa::spa_direction {
        match self {
            Self::Input => spa::SPA_DIRECTION_INPUT,
            Self::Output => spa::SPA_DIRECTION_OUTPUT,
        }
    }
}

/// How a stream is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// What is offered to the graph.
    pub offer: Offer,
    /// The latency to report for this end of the graph, if any.
    pub latency: Option<Latency>,
    /// Have the session manager link the stream (to `target.object`, or by its own choice). A sink wants this too.
    pub autoconnect: bool,
    /// Stay paused until [`Stream::set_active`](super::Stream::set_active).
    pub inactive: bool,
    /// Do not let the session manager move the stream when its target goes away; it fails then.
    pub dont_reconnect: bool,
    /// Offer to drive the graph: the stream then paces it with [`Stream::drive_on`](super::Stream::drive_on).
    pub driver: bool,
    /// The volume of the node is not applied to the samples but told ([`StreamEvent::Volume`](super::StreamEvent::Volume)), since whoever
    /// plays them has the volume.
    pub unscaled: bool,
}

impl Connect {
    /// Offers `offer`, links automatically, starts at once, reports no latency.
    pub fn new(offer: Offer) -> Self {
        Self {
            offer,
            latency: None,
            autoconnect: true,
            inactive: false,
            dont_reconnect: false,
            driver: false,
            unscaled: false,
        }
    }
}

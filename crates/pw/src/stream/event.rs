//! What a stream tells its owner on the main loop.

use pipewire_sys as pw;

use crate::format::Format;
use crate::volume::NodeVolume;

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It failed; the event says why.
    Error,
    /// Not part of a graph.
    Unconnected,
    /// Becoming part of one.
    Connecting,
    /// A node of the graph that is not running: nothing is linked, or it is inactive.
    Paused,
    /// Cycles run.
    Streaming,
}

impl State {
    pub(super) fn from_raw(raw: pw::pw_stream_state) -> Self {
        match raw {
            pw::pw_stream_state_PW_STREAM_STATE_UNCONNECTED => Self::Unconnected,
            pw::pw_stream_state_PW_STREAM_STATE_CONNECTING => Self::Connecting,
            pw::pw_stream_state_PW_STREAM_STATE_PAUSED => Self::Paused,
            pw::pw_stream_state_PW_STREAM_STATE_STREAMING => Self::Streaming,
            _ => Self::Error,
        }
    }
}

/// News of a stream, delivered at the top of the main loop, in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The state has changed.
    State {
        /// What it was.
        old: State,
        /// What it is.
        new: State,
        /// Why, when it is [`State::Error`].
        error: Option<String>,
    },
    /// A format was agreed on, or (`None`) given up: the node is suspended or something else links.
    Format(Option<Format>),
    /// Somebody has set the volume of the node, or its mute: a desktop, or the session manager. Told for streams that were connected with
    /// [`Connect::unscaled`](super::Connect::unscaled); what this end sets itself is not told.
    Volume(NodeVolume),
    /// A driving stream has become the driver of its graph (`true`), or another one has (`false`).
    Driving(bool),
    /// [`Process::process`](super::Process::process) panicked; the stream is silent until it is made anew.
    ProcessPanicked,
    /// The stream no longer exists; drop it.
    Destroyed,
}

//! The data loop's part of every stream that is captured from a graph.

use audera_clock::SenderTime;
use audera_pw::Cycle;
use audera_sender::Tap;

/// What a node does in its cycles: the graph's samples and their time go into the tap.
pub fn to_tap(mut tap: Tap) -> impl FnMut(Cycle<'_>) + Send {
    move |cycle| {
        let at = cycle.timing().input_time();
        tap.push(SenderTime::from_nanos(at.as_nanos()), cycle.input());
    }
}

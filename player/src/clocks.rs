//! What was known of the clocks of peers that are gone, for when they are back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use audera_clock::ClockFilter;
use audera_link::PeerId;

/// Clocks that are remembered, and for how long. Longer than the filter itself remembers is of no use.
const MOST: usize = 8;
const MEMORY: Duration = Duration::from_secs(240);

/// Clocks by the lines of their peers, the newest last.
#[derive(Debug, Default)]
pub struct KnownClocks(VecDeque<Known>);

#[derive(Debug)]
struct Known {
    line: (PeerId, u64),
    until: Instant,
    clock: ClockFilter,
}

impl KnownClocks {
    /// Remembers a clock at `now`. One of which nothing is known is not worth it.
    pub fn keep(&mut self, line: (PeerId, u64), clock: ClockFilter, now: Instant) {
        if clock.estimate().is_none() {
            return;
        }
        self.0.retain(|known| known.line != line);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Known { line, until: now + MEMORY, clock });
    }

    /// Takes what is known of a clock at `now`.
    pub fn take(&mut self, line: (PeerId, u64), now: Instant) -> Option<ClockFilter> {
        self.0.retain(|known| known.until > now);
        let index = self.0.iter().position(|known| known.line == line)?;
        self.0.remove(index).map(|known| known.clock)
    }
}

#[cfg(test)]
mod tests {
    use audera_clock::{Exchange, PlayerTime, SenderTime, Span};

    use super::*;

    fn line(number: u64) -> (PeerId, u64) {
        (PeerId::from([7; 32]), number)
    }

    fn known() -> ClockFilter {
        let mut clock = ClockFilter::new();
        for n in 0..100 {
            let sent = PlayerTime::from_nanos(n * 10_000_000);
            let received = SenderTime::from_nanos(sent.as_nanos()) + Span::from_micros(100);
            let _ =
                clock.update(Exchange { sent, received, replied: received, returned: sent + Span::from_micros(200) });
        }
        clock
    }

    #[test]
    fn a_clock_is_there_once_and_for_a_while() {
        let (mut clocks, now) = (KnownClocks::default(), Instant::now());
        clocks.keep(line(1), known(), now);
        clocks.keep(line(2), ClockFilter::new(), now);
        assert!(clocks.take(line(2), now).is_none(), "nothing was known of it");
        assert!(clocks.take(line(1), now).is_some() && clocks.take(line(1), now).is_none());
        clocks.keep(line(1), known(), now);
        assert!(clocks.take(line(1), now + MEMORY).is_none());
        (0..=MOST as u64).for_each(|number| clocks.keep(line(number), known(), now));
        assert!(clocks.take(line(0), now).is_none() && clocks.take(line(1), now).is_some());
    }
}

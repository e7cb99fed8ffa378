//! A sender's clock as seen from here, over all connections that follow on each other.

use audera_clock::{ClockFilter, Estimate, Exchange, Verdict};

/// What is known of a sender's clock on a connection, and what was known on the one before.
#[derive(Debug, Default)]
pub struct SenderClock {
    filter: ClockFilter,
    /// What was known of the same clock on an earlier connection. It counts once an exchange has confirmed it: since then the peer's
    /// host, or this one, may have been asleep.
    former: Option<ClockFilter>,
}

impl SenderClock {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The peer has told that its clock is the one of an earlier connection, of which this was known.
    pub fn continues(&mut self, former: Option<ClockFilter>) {
        self.former = former;
    }

    /// The clocks were compared.
    pub fn compare(&mut self, exchange: Exchange) {
        if let Some(mut former) = self.former.take() {
            if former.update(exchange) == Verdict::Accepted {
                self.filter = former;
                return;
            }
        }
        // The verdict only matters to whoever watches the filter.
        let _ = self.filter.update(exchange);
    }

    /// The present estimate; `None` before the first exchange on this connection.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        self.filter.estimate()
    }

    /// The filter behind it.
    #[must_use]
    pub fn filter(&self) -> &ClockFilter {
        &self.filter
    }

    /// Takes what is known, for a later connection; `None` when nothing is: a former clock that no exchange has confirmed is not worth
    /// keeping either.
    pub fn take(&mut self) -> Option<ClockFilter> {
        self.filter.estimate().is_some().then(|| std::mem::take(&mut self.filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_clock::{PlayerTime, SenderTime, Span};

    /// Exchange `n`, ten milliseconds after the one before, of a sender whose clock is so far ahead.
    fn exchange(n: i64, ahead: Span) -> Exchange {
        let sent = PlayerTime::from_nanos(n * 10_000_000);
        let received = SenderTime::from_nanos(sent.as_nanos()) + ahead + Span::from_micros(100);
        Exchange { sent, received, replied: received, returned: sent + Span::from_micros(200) }
    }

    #[test]
    fn a_clock_goes_on_over_another_connection_unless_it_has_jumped() {
        let ahead = Span::from_secs(5_000);
        let mut known = ClockFilter::new();
        (0..1_000).for_each(|n| assert_eq!(known.update(exchange(n, ahead)), Verdict::Accepted));
        for (jump, skew_deviation_ppm) in [(Span::ZERO, 0.0..10.0), (Span::from_secs(1), 30.0..f64::INFINITY)] {
            let mut clock = SenderClock::new();
            clock.continues(Some(known.clone()));
            assert_eq!(clock.estimate(), None, "nothing is believed before it is confirmed");
            let now = exchange(1_500, ahead + jump);
            clock.compare(now);
            let estimate = clock.estimate().unwrap();
            let off = estimate.map.to_sender(now.returned) - SenderTime::from_nanos(now.returned.as_nanos()) - ahead;
            assert!((off - jump).abs() <= Span::from_micros(100), "{off}");
            assert!(skew_deviation_ppm.contains(&estimate.skew_deviation_ppm), "{}", estimate.skew_deviation_ppm);
        }
    }
}

//! Simulated networks, crystals and chance for tests under simulated time. Nanoseconds are signed and belong to no clock here:
//! the caller wraps them in its own types.

use std::collections::BTreeMap;

use crate::cable::Line;
pub use crate::crystal::Crystal;

/// A small generator of pseudo-random numbers (SplitMix64 by Steele, Lea and Flood): equal seeds, equal numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly distributed in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether an event of this probability (0 to 1) happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// One direction of a network path, with the packets that are under way on it.
#[derive(Clone, Debug)]
pub struct Path<P> {
    line: Line,
    sent: u64,
    under_way: BTreeMap<(i64, u64), P>,
}

impl<P> Path<P> {
    /// A path over this line.
    #[must_use]
    pub fn over(line: Line) -> Self {
        Self { line, sent: 0, under_way: BTreeMap::new() }
    }

    /// Goes on over another line. What is under way comes as it would have.
    pub fn change(&mut self, line: Line) {
        self.line = line;
    }

    /// Sends a packet of so many bytes at `now`; tells when it will arrive, or `None` when it is lost. Time must not go back.
    pub fn send(&mut self, now: i64, bytes: usize, packet: P) -> Option<i64> {
        let arrival = self.line.carry(now, bytes)?;
        self.under_way.insert((arrival, self.sent), packet);
        self.sent += 1;
        Some(arrival)
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<i64> {
        self.under_way.keys().next().map(|&(arrival, _)| arrival)
    }

    /// The next packet that has arrived at `now`, with its time of arrival.
    pub fn receive(&mut self, now: i64) -> Option<(i64, P)> {
        let next = self.under_way.first_entry()?;
        (next.key().0 <= now).then(|| {
            let ((arrival, _), packet) = next.remove_entry();
            (arrival, packet)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cable::Scenario;

    /// The order in which a thousand packets, one each 100 us, arrive.
    fn arrivals(scenario: &Scenario) -> Vec<i64> {
        let mut path = Path::over(scenario.cable(3).up_line());
        for n in 0..1000 {
            path.send(n * 100_000, 100, n);
        }
        assert_eq!(path.receive(99_999), None, "nothing is faster than its delay");
        let mut last = i64::MIN;
        std::iter::from_fn(|| path.receive(i64::MAX))
            .map(|(arrival, n)| {
                assert!(arrival >= last, "in the order of arrival");
                last = arrival;
                n
            })
            .collect()
    }

    #[test]
    fn packets_overtake_each_other_where_they_may() {
        let jittery = arrivals(&Scenario::JITTER);
        assert!(jittery.is_sorted() && jittery.len() == 1000);
        let mut reordered = arrivals(&Scenario::REORDERING);
        assert!(!reordered.is_sorted());
        reordered.sort_unstable();
        assert_eq!(reordered, jittery);
    }

    #[test]
    fn what_is_under_way_survives_a_change() {
        let mut path = Path::over(Scenario::JITTER.cable(1).down_line());
        let arrival = path.send(0, 100, "first").unwrap();
        path.change(Scenario::CLEAN.cable(1).down_line());
        assert_eq!(path.send(0, 100, "second"), Some(100_000));
        assert_eq!(path.next_arrival(), Some(100_000));
        assert_eq!(path.receive(100_000), Some((100_000, "second")));
        assert_eq!(path.receive(arrival), Some((arrival, "first")));
    }
}

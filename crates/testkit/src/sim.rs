//! Simulated networks, crystals and chance for tests under simulated time. Nanoseconds are signed and belong to no clock here:
//! the caller wraps them in its own types.

use std::collections::BTreeMap;

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

/// A clock that runs at its own speed: true time in, its reading out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crystal {
    /// What it shows at true time nought, in nanoseconds.
    pub start: i64,
    /// By how much it is fast, in parts per million.
    pub ppm: f64,
}

impl Crystal {
    /// The reading at a true time, both in nanoseconds.
    #[must_use]
    pub fn reading(&self, true_time: i64) -> i64 {
        // Only the small part goes through floating point: exact over years.
        self.start + true_time + (true_time as f64 * self.ppm * 1e-6).round() as i64
    }

    /// The true time at which it shows `reading`, to within a nanosecond for errors up to 1000 ppm and a day.
    #[must_use]
    pub fn true_time(&self, reading: i64) -> i64 {
        let elapsed = reading - self.start;
        let excess = self.ppm * 1e-6;
        elapsed - (elapsed as f64 * (excess / (1.0 + excess))).round() as i64
    }
}

/// One direction of a network path: delay, jitter, loss. Packets may overtake each other unless `ordered`.
#[derive(Clone, Debug)]
pub struct Path<P> {
    /// Delay of every packet, in nanoseconds.
    pub delay: i64,
    /// Most that comes on top, evenly distributed, in nanoseconds.
    pub jitter: i64,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Whether packets arrive in the order in which they were sent, as on TCP.
    pub ordered: bool,
    random: Random,
    sent: u64,
    latest: i64,
    under_way: BTreeMap<(i64, u64), P>,
}

impl<P> Path<P> {
    /// A path without loss.
    #[must_use]
    pub fn new(delay: i64, jitter: i64, seed: u64) -> Self {
        Self {
            delay,
            jitter,
            loss: 0.0,
            ordered: false,
            random: Random::new(seed),
            sent: 0,
            latest: i64::MIN,
            under_way: BTreeMap::new(),
        }
    }

    /// Sends a packet at `now`; tells when it will arrive, or `None` when it is lost.
    pub fn send(&mut self, now: i64, packet: P) -> Option<i64> {
        let jitter = (self.random.unit() * self.jitter as f64) as i64;
        // Drawn in any case, so that changing the loss does not change the delays.
        if self.random.happens(self.loss) {
            return None;
        }
        let mut arrival = now + self.delay + jitter;
        if self.ordered {
            arrival = arrival.max(self.latest);
        }
        self.latest = self.latest.max(arrival);
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

    #[test]
    fn a_crystal_can_be_read_backwards() {
        let crystal = Crystal { start: 1_234_567, ppm: -80.0 };
        assert_eq!(crystal.reading(1_000_000_000), 1_234_567 + 999_920_000);
        for true_time in [0, 1, 1_000_000_007, 86_400_000_000_000] {
            let back = crystal.true_time(crystal.reading(true_time));
            assert!((back - true_time).abs() <= 1, "{true_time} came back as {back}");
        }
    }

    #[test]
    fn packets_arrive_within_their_bounds() {
        let mut path = Path::new(1_000, 500, 3);
        for n in 0..1000 {
            let arrival = path.send(n * 10, n).unwrap();
            assert!((n * 10 + 1_000..n * 10 + 1_500).contains(&arrival));
        }
        let mut last = i64::MIN;
        let mut overtaken = 0;
        let mut previous = -1;
        while let Some((arrival, n)) = path.receive(i64::MAX) {
            assert!(arrival >= last);
            overtaken += i32::from(n < previous);
            (last, previous) = (arrival, n);
        }
        assert!(overtaken > 0, "with jitter beyond the spacing some must overtake");
    }

    #[test]
    fn an_ordered_path_keeps_the_order() {
        let mut path = Path::new(1_000, 500, 3);
        path.ordered = true;
        for n in 0..1000 {
            path.send(n * 10, n);
        }
        assert_eq!(path.receive(999), None);
        let got: Vec<i64> = std::iter::from_fn(|| path.receive(i64::MAX)).map(|(_, n)| n).collect();
        assert_eq!(got, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn loss_is_as_frequent_as_asked() {
        let mut path = Path::new(0, 0, 11);
        path.loss = 0.1;
        let lost = (0..10_000).filter(|&n| path.send(n, ()).is_none()).count();
        assert!((900..1100).contains(&lost), "{lost} of 10000 lost");
    }
}

//! Packets of audio as they come, and what stands in for those that do not.

use audera_clock::{SenderTime, Span};

/// Losses up to this many packets are shown to the decoder one by one; more is a gap.
const MAX_CONCEALED: u32 = 5;

/// A packet of audio that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Number of the packet.
    pub seq: u32,
    /// When its first frame is to be heard.
    pub stamp: SenderTime,
    /// By how much its frames together last longer than nominal.
    pub glide: Span,
    /// Coded audio.
    pub payload: &'a [u8],
}

/// What a packet leaves behind for the next one to be compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) seq: u32,
    pub(super) stamp: SenderTime,
    pub(super) glide: Span,
}

impl Last {
    /// Stamps and glides of the packets that were lost between this one and `next`, each `length` long: where both sides glide the same way,
    /// so do they. Nothing where too many are missing to stand in for.
    pub(super) fn lost_before(
        self,
        next: &Arrived<'_>,
        length: Span,
    ) -> impl Iterator<Item = (SenderTime, Span)> + use<> {
        let missing = next.seq.wrapping_sub(self.seq).wrapping_sub(1);
        let missing = i64::from(if missing <= MAX_CONCEALED { missing } else { 0 });
        let between = (next.stamp - self.stamp) - length * (missing + 1) - self.glide;
        let (least, most) = (self.glide.min(next.glide), self.glide.max(next.glide));
        let glide = (between / missing.max(1)).clamp(least, most);
        let stamp = next.stamp;
        (1..=missing).rev().map(move |before| (stamp - (length + glide) * before, glide))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Span = Span::from_millis(10);

    fn at(us: i64) -> SenderTime {
        SenderTime::from_nanos(1_000_000_000) + Span::from_micros(us)
    }

    fn lost(before: (u32, i64, i64), after: (u32, i64, i64)) -> Vec<(SenderTime, Span)> {
        let last = Last { seq: before.0, stamp: at(before.1), glide: Span::from_micros(before.2) };
        let (stamp, glide) = (at(after.1), Span::from_micros(after.2));
        last.lost_before(&Arrived { seq: after.0, stamp, glide, payload: &[] }, LENGTH).collect()
    }

    #[test]
    fn lost_packets_glide_as_those_around_them() {
        assert_eq!(lost((7, 0, 0), (8, 10_000, 0)), []);
        assert_eq!(lost((7, 0, 0), (9, 20_000, 0)), [(at(10_000), Span::ZERO)]);
        let glide = Span::from_micros(200);
        assert_eq!(lost((u32::MAX, 0, 200), (2, 30_600, 200)), [(at(10_200), glide), (at(20_400), glide)]);
        // The glide ends in between: they share what is missing.
        let half = Span::from_micros(100);
        assert_eq!(lost((7, 0, 200), (10, 30_400, 0)), [(at(10_200), half), (at(20_300), half)]);
    }

    #[test]
    fn a_gap_is_no_glide_and_many_lost_packets_are_a_gap() {
        assert_eq!(lost((7, 0, 0), (9, 45_000, 0)), [(at(35_000), Span::ZERO)]);
        assert_eq!(lost((7, 0, 0), (7 + 7, 70_000, 0)), []);
        assert_eq!(lost((7, 0, 0), (7 + 6, 60_000, 0)).len(), 5);
    }
}

//! How large sync errors have been of late: a histogram that the audio thread fills, and the last minute of it as the network thread keeps it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use audera_clock::Span;

/// Errors up to this, ns, share the first bin.
const LEAST: u64 = 128;
/// Bins of equal width to an octave, of which the widest is a sixteenth of what lies in it.
const PARTS: u64 = 16;
/// Up to 130 ms; what is beyond shares the last bin.
const OCTAVES: usize = 20;
const BINS: usize = 1 + OCTAVES * PARTS as usize;
/// Seconds that are kept.
const KEPT: usize = 60;

/// Counts of errors by their size. One thread counts, another one reads; neither waits.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// How often each size was seen since the beginning; wraps.
    bins: [AtomicU32; BINS],
}

impl Histogram {
    pub fn new() -> Self {
        Self { bins: [const { AtomicU32::new(0) }; BINS] }
    }

    /// Counts an error, whichever its sign.
    pub fn count(&self, error: Span) {
        self.bins[bin(error.as_nanos().unsigned_abs())].fetch_add(1, Ordering::Relaxed);
    }
}

/// The bin of an error of so many ns.
fn bin(size: u64) -> usize {
    if size < LEAST {
        return 0;
    }
    let size = size.min(LEAST << OCTAVES);
    let octave = (size / LEAST).ilog2();
    let part = (size - (LEAST << octave)) * PARTS / (LEAST << octave);
    (1 + octave as usize * PARTS as usize + part as usize).min(BINS - 1)
}

/// The size, in ns, that nothing in a bin exceeds; of the last bin, that at which it begins.
fn most(bin: usize) -> u64 {
    let Some(nth) = bin.checked_sub(1) else { return LEAST };
    let (octave, part) = (nth / PARTS as usize, nth as u64 % PARTS);
    let begin = LEAST << octave;
    if bin == BINS - 1 { begin + begin * part / PARTS } else { begin + begin * (part + 1) / PARTS }
}

/// What a [`Histogram`] has counted in each of the last seconds.
#[derive(Debug)]
pub(crate) struct LastMinute {
    seen: Vec<u32>,
    /// What each second has added, oldest first.
    seconds: VecDeque<Vec<u16>>,
    /// The sum of these.
    sum: Vec<u32>,
}

impl LastMinute {
    pub fn new() -> Self {
        Self { seen: vec![0; BINS], seconds: VecDeque::new(), sum: vec![0; BINS] }
    }

    /// Closes a second, and forgets the one that is a minute old.
    pub fn close_second(&mut self, histogram: &Histogram) {
        let mut fresh = if self.seconds.len() < KEPT {
            vec![0; BINS]
        } else {
            let oldest = self.seconds.pop_front().unwrap_or_else(|| vec![0; BINS]);
            self.sum.iter_mut().zip(&oldest).for_each(|(sum, past)| *sum -= u32::from(*past));
            oldest
        };
        for (n, bin) in histogram.bins.iter().enumerate() {
            let now = bin.load(Ordering::Relaxed);
            // A device pulls some thousand times in a second at most.
            fresh[n] = u16::try_from(now.wrapping_sub(self.seen[n])).unwrap_or(u16::MAX);
            self.seen[n] = now;
            self.sum[n] += u32::from(fresh[n]);
        }
        self.seconds.push_back(fresh);
    }

    /// The size that 99 % of the errors do not exceed, rounded up by a sixteenth at most; `None` without any.
    pub fn p99(&self) -> Option<Span> {
        let count: u64 = self.sum.iter().copied().map(u64::from).sum();
        let mut left = count - count / 100;
        let bin = self.sum.iter().position(|&errors| {
            left = left.saturating_sub(u64::from(errors));
            left == 0
        });
        let bin = bin.filter(|_| count > 0)?;
        Some(Span::from_nanos(i64::try_from(most(bin)).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_bin_that_is_a_sixteenth_wide() {
        for size in (0..1_000).chain((1..).map(|n| n * 997).take_while(|size| bin(*size) < BINS - 1)) {
            let most = most(bin(size));
            assert!(size <= most && (most <= LEAST || most <= size + size / PARTS + 1), "{size} is told as {most}");
        }
        assert_eq!((bin(u64::MAX), bin(LEAST << OCTAVES)), (BINS - 1, BINS - 1));
    }

    #[test]
    fn the_last_minute_is_told_and_what_was_before_forgotten() {
        let (histogram, mut minute) = (Histogram::new(), LastMinute::new());
        minute.close_second(&histogram);
        assert_eq!(minute.p99(), None);
        let mut second = |micros: i64, rare: i64| {
            (0..98).for_each(|_| histogram.count(Span::from_micros(micros)));
            (0..2).for_each(|_| histogram.count(Span::from_micros(rare)));
            minute.close_second(&histogram);
            minute.p99().map_or(f64::NAN, |p99| p99.as_secs_f64() * 1e6)
        };
        let is = |told: f64, micros: f64| (micros..micros * 1.07).contains(&told);
        assert!(is(second(-20, 900), 900.0));
        for _ in 0..20 {
            second(20, 20);
        }
        // Two in some thousand are fewer than one in a hundred.
        assert!(is(second(20, 20), 20.0));
        for _ in 0..KEPT {
            second(-5, 5);
        }
        assert!(is(second(5, -5), 5.0));
    }
}

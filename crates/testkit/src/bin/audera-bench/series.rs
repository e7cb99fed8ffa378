//! How far two cards are apart over time, window by window, in true time.

use std::ops::Range;

use audera_testkit::{
    card::{Played, TrueTime},
    measure,
};

/// Frames per second of every recording here.
pub(crate) const RATE: u32 = 48_000;
/// Length of a window in seconds: within it a card that is 200 ppm off drifts by one frame, evenly about the middle.
pub(crate) const WINDOW: f64 = 0.1;
/// How far from where it is expected a sound is looked for, in seconds.
pub(crate) const REACH: f64 = 0.06;
/// Where a room may be behind the application at all, in seconds.
const LATEST: f64 = 3.0;

/// What a window shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sight {
    /// The second plays this many seconds later than the first.
    Apart(f64),
    /// Both play, but not the same within reach.
    Different,
    /// One of them is silent.
    Silent,
}

/// One window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Its middle, in true time.
    pub at: f64,
    pub sight: Sight,
}

/// Windows in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series(pub Vec<Window>);

/// Sizes of offset, in seconds, which shares of the windows do not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// Of the sizes of these; `None` without any.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sizes: Vec<f64> = values.map(f64::abs).collect();
        sizes.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let rank = (share * sizes.len() as f64).ceil() as usize;
            sizes.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50: rank(0.5)?, p95: rank(0.95)?, p99: rank(0.99)?, max: rank(1.0)? })
    }
}

/// Compares two recordings in consecutive windows, the second of which is expected to be later by `later` seconds; the offsets
/// are told without that expectation. The span is in seconds after `zero`, and so are the windows' times.
pub(crate) fn compare(first: &Played, second: &Played, later: f64, zero: TrueTime, span: Range<f64>) -> Series {
    let count = ((span.end - span.start) / WINDOW).floor().max(0.0) as usize;
    let look = |n: usize| {
        let at = span.start + (n as f64 + 0.5) * WINDOW;
        let sight = match look(first, second, after(zero, at), later, WINDOW, REACH) {
            (Some(seconds), _) => Sight::Apart(seconds),
            (None, 0) => Sight::Silent,
            (None, _) => Sight::Different,
        };
        Window { at, sight }
    };
    Series((0..count).map(look).collect())
}

/// By how much the second recording is later than the first at about `at`, searched far and wide.
pub(crate) fn coarse_latency(first: &Played, second: &Played, at: TrueTime) -> Option<f64> {
    look(first, second, at, LATEST / 2.0, WINDOW, LATEST / 2.0 + 0.1).0
}

/// One window about `at`: by how many seconds of true time the second is later, or how many windows (one or none) both had sound
/// in that was not the same.
fn look(first: &Played, second: &Played, at: TrueTime, later: f64, window: f64, reach: f64) -> (Option<f64>, usize) {
    let hertz = f64::from(RATE);
    // Exactly one window and what it may lie off on either side.
    let length = (window * hertz).round() as usize + 2 * (reach * hertz).ceil() as usize;
    let middle = (length / 2) as f64;
    let a = (first.frame_at(at) - middle).round();
    let b = (second.frame_at(after(at, later)) - middle).round();
    let (part, other) = (cut(&first.samples, a as i64, length), cut(&second.samples, b as i64, length));
    let seen = measure::offset_series(&part, &other, RATE, window, reach);
    let apart = seen.offsets.first().map(|offset| {
        let lag = offset.seconds * hertz;
        second.time_of(b + middle + lag).since(first.time_of(a + middle)) as f64 * 1e-9
    });
    (apart, seen.undecided)
}

/// A moment so many seconds after another.
pub(crate) fn after(zero: TrueTime, seconds: f64) -> TrueTime {
    TrueTime::from_nanos(zero.as_nanos() + (seconds * 1e9).round() as i64)
}

/// The frames from `start` on; silence where nothing was recorded.
fn cut(samples: &[f32], start: i64, frames: usize) -> Vec<f32> {
    let sample = |n: i64| usize::try_from(n).ok().and_then(|n| samples.get(n)).copied().unwrap_or(0.0);
    (start..start.saturating_add(frames as i64)).map(sample).collect()
}

impl Series {
    /// The windows within a span.
    pub fn within(&self, span: Range<f64>) -> Self {
        Self(self.0.iter().filter(|window| span.contains(&window.at)).copied().collect())
    }

    /// Windows that show an offset, as `(at, seconds)`.
    pub fn offsets(&self) -> impl Iterator<Item = (f64, f64)> {
        self.0.iter().filter_map(|window| match window.sight {
            Sight::Apart(seconds) => Some((window.at, seconds)),
            Sight::Different | Sight::Silent => None,
        })
    }

    /// The share of windows that show an offset; 0 without windows.
    pub fn decided(&self) -> f64 {
        self.offsets().count() as f64 / self.0.len().max(1) as f64
    }

    /// The spread of the sizes of offset. `None` without any.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.offsets().map(|(_, seconds)| seconds))
    }

    /// The median offset, with its sign.
    pub fn median(&self) -> Option<f64> {
        let mut all: Vec<f64> = self.offsets().map(|(_, seconds)| seconds).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    /// How long after `begin` it took until every further window was within `limit` seconds: the end of the last one that was
    /// not, or that showed no offset. `None` when the last ones are still not.
    pub fn settled(&self, begin: f64, limit: f64) -> Option<f64> {
        /// As many good windows show that it has settled, rather than that the recording ended just then.
        const ENOUGH: usize = 5;
        let after: Vec<&Window> = self.0.iter().filter(|window| window.at >= begin).collect();
        let good = |window: &&&Window| matches!(window.sight, Sight::Apart(seconds) if seconds.abs() <= limit);
        let run = after.iter().rev().take_while(|window| good(window)).count();
        if run < ENOUGH {
            return None;
        }
        let first_good = after[after.len() - run];
        Some((first_good.at - WINDOW / 2.0 - begin).max(0.0))
    }

    /// Places at which the offset changes by more than `step` seconds from one window to the next that shows one, beyond what it glides: when,
    /// and by how much.
    ///
    /// A latency that glides changes as fast in the window before or after. A fast glide shows nothing, as the sound in a window is then too
    /// different from the original; over such a hole the offset may have come as far as a glide can.
    pub fn jumps(&self, step: f64) -> Vec<(f64, f64)> {
        let all: Vec<(f64, f64)> = self.offsets().collect();
        let changes: Vec<_> =
            all.windows(2).map(|pair| (pair[1].0, pair[1].0 - pair[0].0, pair[1].1 - pair[0].1)).collect();
        let glides = |n: usize| {
            let (_, time, change) = changes[n];
            let beside = [n.checked_sub(1), Some(n + 1)].into_iter().flatten().filter_map(|beside| changes.get(beside));
            let same_way = beside.filter(|beside| beside.2 * change > 0.0).map(|beside| (beside.2 / beside.1).abs());
            let hole = time > 1.5 * WINDOW;
            time * if hole { FASTEST_GLIDE } else { same_way.fold(0.0, f64::max).min(FASTEST_GLIDE) }
        };
        let jumps = changes.iter().enumerate().filter(|(n, (_, _, change))| change.abs() > step + glides(*n));
        jumps.map(|(_, (at, _, change))| (*at, *change)).collect()
    }
}

/// Change of a latency for each unit of time.
const FASTEST_GLIDE: f64 = 0.021;

#[cfg(test)]
mod tests {
    use super::*;
    use audera_testkit::{card::SampleClock, sound::noise};

    const ZERO: TrueTime = TrueTime::from_nanos(100_000_000_000);

    fn sound(seconds: f64) -> Vec<f32> {
        noise(RATE, 1, seconds, 0.5, 3).channels.remove(0)
    }

    /// A recording by a card which is `ppm` fast and starts so long after [`ZERO`].
    fn played(samples: Vec<f32>, start: f64, ppm: f64) -> Played {
        Played::by(&SampleClock::new(RATE, after(ZERO, start), ppm), samples)
    }

    /// The same sound as two cards record it that play it at the same true time, but for what their starts differ: it is made
    /// at many times the rate, where a straight line between samples is good enough.
    fn recorded(seconds: f64, ppm: f64) -> Vec<f32> {
        const MORE: u32 = 16;
        let fine = noise(MORE * RATE, 1, seconds, 0.5, 3).channels.remove(0);
        let at = |n: usize| {
            let position = n as f64 * f64::from(MORE) / (1.0 + ppm * 1e-6);
            let whole = position as usize;
            let (a, b) = (*fine.get(whole)?, *fine.get(whole + 1)?);
            Some(a + (b - a) * (position - whole as f64) as f32)
        };
        (0..).map_while(at).collect()
    }

    #[test]
    fn cards_of_other_speed_are_compared_in_true_time() {
        // The faster card takes more frames for the same; it begins 30 us later.
        let slow = played(recorded(5.0, 0.0), 0.0, 0.0);
        let fast = played(recorded(5.0, 160.0), 30e-6, 160.0);
        let series = compare(&slow, &fast, 0.0, ZERO, 0.2..4.7);
        assert_eq!(series.0.len(), 45);
        let worst = series.offsets().map(|(_, seconds)| (seconds - 30e-6).abs()).fold(0.0, f64::max);
        assert!(worst < 0.3e-6 && series.decided() == 1.0, "off by {worst} s");
    }

    #[test]
    fn a_long_latency_is_found_and_then_followed() {
        let sound = sound(12.0);
        let source = played(sound.clone(), 0.0, 0.0);
        let room = played([vec![0.0; 50_000], sound].concat(), 0.0, 0.0);
        let coarse = coarse_latency(&source, &room, after(ZERO, 6.0)).unwrap();
        let series = compare(&source, &room, coarse, ZERO, 4.0..8.0);
        assert!((series.median().unwrap() - 50_000.0 / 48_000.0).abs() < 1e-6);
        assert_eq!(series.jumps(1e-5), []);
    }

    #[test]
    fn what_was_not_recorded_is_silent() {
        assert_eq!(cut(&[1.0, 2.0, 3.0], -1, 5), [0.0, 1.0, 2.0, 3.0, 0.0]);
        let (one, other) = (played(sound(2.0), 0.0, 0.0), played(sound(2.0), 0.0, 0.0));
        let series = compare(&one, &other, 0.0, ZERO, 0.0..4.0);
        assert_eq!(series.0.last().unwrap().sight, Sight::Silent);
        assert_eq!(series.0[10].sight, Sight::Apart(0.0));
    }

    fn series(offsets: &[f64]) -> Series {
        let window = |(n, &us): (usize, &f64)| Window {
            at: (n as f64 + 0.5) * WINDOW,
            sight: if us.is_nan() { Sight::Silent } else { Sight::Apart(us * 1e-6) },
        };
        Series(offsets.iter().enumerate().map(window).collect())
    }

    #[test]
    fn settled_means_for_good() {
        let good = [3.0; 20];
        let with = |start: &[f64]| series(&[start, &good[..]].concat());
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
        assert!(near(with(&[]).settled(0.0, 1e-4), 0.0));
        assert!(near(with(&[5.0, 150.0, 5.0, -150.0]).settled(0.0, 1e-4), 0.4));
        assert!(near(with(&[5.0, f64::NAN]).settled(0.0, 1e-4), 0.2));
        assert!(near(with(&[500.0; 10]).settled(0.5, 1e-4), 0.5), "counted from the beginning given");
        assert_eq!(series(&[3.0, 3.0, 500.0]).settled(0.0, 1e-4), None);
    }

    #[test]
    fn spread_and_jumps() {
        let all: Vec<f64> = (1..=100).map(|n| f64::from(if n % 2 == 0 { n } else { -n })).collect();
        let Spread { p50, p95, p99, max } = series(&all).spread().unwrap();
        for (found, us) in [(p50, 50.0), (p95, 95.0), (p99, 99.0), (max, 100.0)] {
            assert!((found - us * 1e-6).abs() < 1e-12);
        }
        assert_eq!(series(&[f64::NAN]).spread(), None);
        assert_eq!(series(&[0.0, 10.0, 700.0, f64::NAN, 705.0, 0.0]).jumps(500e-6).len(), 2);
        assert_eq!(series(&[0.0, 700.0, 0.0]).jumps(500e-6).len(), 2);
        // Half a per cent, and two.
        assert_eq!(series(&[0.0, 0.0, 300.0, 800.0, 1_300.0, 1_500.0, 1_500.0]).jumps(400e-6), []);
        assert_eq!(
            series(&[0.0, 0.0, -1_000.0, f64::NAN, f64::NAN, f64::NAN, 7_000.0, 7_000.0]).jumps(500e-6).len(),
            1
        );
        assert_eq!(series(&[0.0, 0.0, f64::NAN, f64::NAN, f64::NAN, 8_000.0, 8_000.0]).jumps(500e-6), []);
    }
}

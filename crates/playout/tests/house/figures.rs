//! What the tracks of two rooms say: how far they were apart, and since when for good.

use std::fmt;

use super::play::Track;

/// How far two rooms were apart, in true time.
pub struct Apart {
    /// True time and distance in seconds; infinite while one of them is silent.
    series: Vec<(f64, f64)>,
}

impl Apart {
    /// Compares `a` with `b` at the times of `a`.
    pub fn new(a: &Track, b: &Track) -> Self {
        let mut series = Vec::with_capacity(a.heard.len());
        let mut next = 0;
        for (at, behind) in &a.heard {
            while next < b.heard.len() && b.heard[next].0 < *at {
                next += 1;
            }
            let (Some(later), Some(earlier)) = (b.heard.get(next), next.checked_sub(1).map(|n| b.heard[n])) else {
                continue;
            };
            let part = (at - earlier.0) / (later.0 - earlier.0);
            let other = earlier.1 + part * (later.1 - earlier.1);
            let apart = behind - other;
            series.push((*at, if apart.is_nan() { f64::INFINITY } else { apart.abs() }));
        }
        Self { series }
    }

    /// The figures from the first common sound on, and from `skip` seconds after it.
    pub fn figures(&self, skip: f64) -> Figures {
        let start = self.start();
        let mut values: Vec<f64> =
            self.series.iter().filter(|(at, _)| *at >= start + skip).map(|(_, apart)| apart * 1e6).collect();
        values.sort_by(f64::total_cmp);
        let part = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
        Figures { p50: part(0.5), p95: part(0.95), p99: part(0.99), max: part(1.0) }
    }

    /// The largest 99th part of the distance between two times after the first common sound, in us.
    pub fn p99_between(&self, from: f64, to: f64) -> f64 {
        let start = self.start();
        let within = |at: f64| (start + from..start + to).contains(&at);
        let mut values: Vec<f64> =
            self.series.iter().filter(|(at, _)| within(*at)).map(|(_, apart)| apart * 1e6).collect();
        values.sort_by(f64::total_cmp);
        values[((values.len() - 1) as f64 * 0.99) as usize]
    }

    /// When both sounded first.
    pub fn start(&self) -> f64 {
        self.series.iter().find(|(_, apart)| apart.is_finite()).map_or(f64::INFINITY, |(at, _)| *at)
    }

    /// How long after `since` they were within `limit` seconds for good, looking up to `until`.
    pub fn settled(&self, limit: f64, since: f64, until: f64) -> f64 {
        let spans = self.series.iter().filter(|(at, _)| (since..until).contains(at));
        spans.filter(|(_, apart)| *apart > limit).map(|(at, _)| at - since).fold(0.0, f64::max)
    }
}

/// Microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:6.1}  p95 {:6.1}  p99 {:6.1}  max {:7.1} us", self.p50, self.p95, self.p99, self.max)
    }
}

/// Largest distance of the ratio from its mean after `since`, in ppm.
pub fn ratio_swing(track: &Track, since: f64) -> f64 {
    let late: Vec<f64> =
        track.heard.iter().zip(&track.ratio).filter(|((at, _), _)| *at > since).map(|(_, ratio)| *ratio).collect();
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    late.iter().map(|ratio| (ratio - mean).abs()).fold(0.0, f64::max)
}

/// The value below which `part` of the values lie.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

//! The straight line between two clouds of one-way delays: what a window of exchanges says about offset and skew.
//!
//! All numbers are relative to the newest exchange: times in seconds, offsets in nanoseconds, slopes in ns/s.

/// Time stamps are not steadier than this, in ns: neither are delays, and limits may cross by as much.
const STAMP_NOISE: f64 = 2_000.0;

/// How fast the rates of two crystals in ordinary rooms wander against each other, in ns/s per second. What was seen
/// `age` seconds ago says less about now by half of this times the square of it. Where they wander faster the limits cross in the
/// end, and the filter forgets.
const WANDER: f64 = 0.5;

/// The delays of one way, as they look across the two clocks: `delay + offset` out, `delay - offset` home. They
/// lie above a line, and only those near it tell where it is.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Time and apparent delay.
    points: Vec<(f64, f64)>,
    /// The points a line below all of them can touch, after each was lifted by what it may have wandered since.
    hull: Vec<(f64, f64)>,
    scratch: Vec<f64>,
    /// Mean of the delays above the floor, ns.
    excess: f64,
    /// How many exchanges of today the points are worth, and their mean time.
    weight: f64,
    centre: f64,
}

impl Way {
    pub fn with_capacity(capacity: usize) -> Self {
        let new = || Vec::with_capacity(capacity);
        Self {
            points: new(),
            hull: new(),
            scratch: Vec::with_capacity(capacity),
            excess: 0.0,
            weight: 0.0,
            centre: 0.0,
        }
    }

    /// Takes other points. `round_trip` (ns) is what little is known of the delays before there are many.
    pub fn renew(&mut self, points: impl Iterator<Item = (f64, f64)>, slope: f64, round_trip: f64) {
        self.points.clear();
        self.points.extend(points);
        // Replies overtake a few others at most, which insertion sorts in few steps.
        for index in 1..self.points.len() {
            let mut place = index;
            while place > 0 && self.points[place - 1].0 > self.points[place].0 {
                self.points.swap(place - 1, place);
                place -= 1;
            }
        }
        self.renew_hull();
        self.weigh(slope, round_trip);
    }

    /// Estimates the mean of the delays above the floor along `slope` and what the points are worth.
    pub fn weigh(&mut self, slope: f64, round_trip: f64) {
        let floor = self.floor(slope);
        self.scratch.clear();
        self.scratch.extend(self.points.iter().map(|(time, delay)| (delay - slope * time - floor).max(0.0)));
        let count = self.scratch.len();
        if count == 0 {
            return;
        }
        // From the lower quartile, so that a long tail does not count; that of an exponential distribution is at
        // ln(4/3) of its mean. Half of the round trip stands for what two more would have shown.
        let (_, quartile, _) = self.scratch.select_nth_unstable_by(count / 4, f64::total_cmp);
        let seen = *quartile / 0.2877 * count as f64;
        self.excess = ((seen + round_trip) / (count as f64 + 2.0)).max(STAMP_NOISE);
        let (mut weight, mut moment) = (0.0, 0.0);
        for (time, _) in &self.points {
            let worth = self.excess / (self.excess + wandered(*time));
            weight += worth;
            moment += worth * time;
        }
        self.weight = weight;
        self.centre = moment / weight;
    }

    /// Where the line of this slope that touches the points from below stands at the newest exchange.
    pub fn floor(&self, slope: f64) -> f64 {
        self.hull.iter().map(|(time, delay)| delay - slope * time).fold(f64::INFINITY, f64::min)
    }

    /// The nearest of many exponential delays still lies this far above the floor, give or take as much.
    pub fn shortfall(&self) -> f64 {
        self.excess / self.weight
    }

    /// Logarithm of the likelihood of a line that touches the points at `floor`, up to a constant.
    fn likelihood(&self, floor: f64, slope: f64) -> f64 {
        self.weight * (floor + slope * self.centre) / self.excess
    }

    /// The lower convex hull, by A. Andrew's monotone chain.
    fn renew_hull(&mut self) {
        self.hull.clear();
        for &(time, delay) in &self.points {
            let point = (time, delay + wandered(time));
            while let [.., before, last] = self.hull[..] {
                let turn = (last.0 - before.0) * (point.1 - before.1) - (last.1 - before.1) * (point.0 - before.0);
                if turn > 0.0 {
                    break;
                }
                self.hull.pop();
            }
            self.hull.push(point);
        }
    }
}

fn wandered(time: f64) -> f64 {
    0.5 * WANDER * time * time
}

/// What the two ways say together, as mean and standard deviation of the posterior.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Offset at the newest exchange, ns.
    pub offset: f64,
    pub offset_deviation: f64,
    /// Slope, ns/s.
    pub slope: f64,
    pub slope_deviation: f64,
    /// Distance of the two limits, ns: twice the floor of the delays and what the nearest were above it.
    pub gap: f64,
}

/// The slope that is tried at most, ns/s.
const STEEPEST: f64 = 1e6;

/// Parts into which each side of the mode is cut for integration.
const PARTS: usize = 24;

/// A slope less likely than the best by this power of e does not count.
const UNLIKELY: f64 = 9.0;

impl Line {
    /// Whether there is such a line: hostile numbers may leave none.
    pub fn is_finite(&self) -> bool {
        let all = [self.offset, self.offset_deviation, self.slope, self.slope_deviation, self.gap];
        all.iter().all(|value| value.is_finite())
    }

    /// The mean of the posterior of offset and slope under exponential delays on both ways and a normal prior of
    /// deviation `prior` (ns/s) for the slope.
    pub fn between(outward: &Way, homeward: &Way, prior: f64) -> Self {
        let candidate = |slope: f64| Candidate::of(outward, homeward, slope, prior);
        let best = mode(|slope| candidate(slope).posterior);
        let top = candidate(best).posterior;
        let reach = |side: f64| {
            let mut reach = 0.25;
            while reach < STEEPEST && candidate(best + side * reach).posterior > top - UNLIKELY {
                reach *= 2.0;
            }
            reach
        };
        let steps = [-reach(-1.0), reach(1.0)].map(|reach| reach / PARTS as f64);
        let mut sums = Sums::default();
        for step in steps {
            for part in 0..=PARTS {
                let slope = best + step * part as f64;
                let candidate = candidate(slope);
                let end = if part == 0 || part == PARTS { 0.5 } else { 1.0 };
                sums.add(&candidate, slope - best, end * step.abs() * (candidate.posterior - top).exp());
            }
        }
        let chance = 0.5 * outward.shortfall().hypot(homeward.shortfall());
        sums.conclude(best, chance)
    }
}

/// The line of one slope.
struct Candidate {
    posterior: f64,
    offset: f64,
    gap: f64,
}

impl Candidate {
    fn of(outward: &Way, homeward: &Way, slope: f64, prior: f64) -> Self {
        let (above, below) = (outward.floor(slope), homeward.floor(-slope));
        let gap = above + below;
        let unlikely = slope / prior;
        // Delays are not negative, so the limits do not cross, but for what the time stamps may be off by.
        let crossed = gap.min(0.0) / STAMP_NOISE;
        let posterior = outward.likelihood(above, slope) + homeward.likelihood(below, -slope)
            - 0.5 * (unlikely * unlikely + crossed * crossed);
        let offset = 0.5 * ((above - outward.shortfall()) - (below - homeward.shortfall()));
        Self { posterior, offset, gap }
    }
}

/// Weighted sums over candidates.
#[derive(Default)]
struct Sums {
    weight: f64,
    slope: f64,
    slope_squared: f64,
    offset: f64,
    offset_squared: f64,
    gap: f64,
    /// The first candidate's offset, which the others are summed relative to.
    origin: Option<f64>,
}

impl Sums {
    fn add(&mut self, candidate: &Candidate, slope: f64, weight: f64) {
        let offset = candidate.offset - *self.origin.get_or_insert(candidate.offset);
        self.weight += weight;
        self.slope += weight * slope;
        self.slope_squared += weight * slope * slope;
        self.offset += weight * offset;
        self.offset_squared += weight * offset * offset;
        self.gap += weight * candidate.gap;
    }

    fn conclude(&self, best: f64, chance: f64) -> Line {
        let (slope, offset) = (self.slope / self.weight, self.offset / self.weight);
        let variance = |squared: f64, mean: f64| (squared / self.weight - mean * mean).max(0.0);
        Line {
            offset: offset + self.origin.unwrap_or(0.0),
            offset_deviation: (variance(self.offset_squared, offset) + chance * chance).sqrt(),
            slope: best + slope,
            slope_deviation: variance(self.slope_squared, slope).sqrt(),
            gap: self.gap / self.weight,
        }
    }
}

/// The slope at which the concave `posterior` is greatest, by golden-section search.
fn mode(posterior: impl Fn(f64) -> f64) -> f64 {
    let shrink = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (-STEEPEST, STEEPEST);
    let (mut left, mut right) = (high - shrink * (high - low), low + shrink * (high - low));
    let (mut at_left, mut at_right) = (posterior(left), posterior(right));
    for _ in 0..36 {
        if at_left < at_right {
            low = left;
            (left, at_left) = (right, at_right);
            right = low + shrink * (high - low);
            at_right = posterior(right);
        } else {
            high = right;
            (right, at_right) = (left, at_left);
            left = high - shrink * (high - low);
            at_left = posterior(left);
        }
    }
    0.5 * (low + high)
}

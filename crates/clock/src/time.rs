//! Instants that know whose clock they were read from, and the signed durations between them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::Sum;
use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use std::time::Duration;

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A signed duration in nanoseconds.
///
/// All arithmetic saturates: spans are computed from what a peer sends, and a hostile number may give a useless
/// result but neither a panic nor a wrap-around. The range is about 292 years either way.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span there is.
    pub const MAX: Self = Self(i64::MAX);

    /// A span of so many nanoseconds.
    #[must_use]
    pub const fn from_nanos(ns: i64) -> Self {
        Self(ns)
    }

    /// A span of so many microseconds.
    #[must_use]
    pub const fn from_micros(us: i64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// A span of so many milliseconds.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// A span of so many seconds.
    #[must_use]
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(NANOS_PER_SEC))
    }

    /// A span of `seconds`, rounded to the nearest nanosecond. NaN gives zero.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * NANOS_PER_SEC as f64).round() as i64)
    }

    /// The nominal length of `frames` at `rate` frames per second, rounded to the nearest nanosecond.
    /// A rate of zero gives zero.
    #[must_use]
    pub fn from_frames(frames: i64, rate: u32) -> Self {
        if rate == 0 {
            return Self::ZERO;
        }
        let scaled = i128::from(frames) * i128::from(NANOS_PER_SEC);
        let half = i128::from(rate / 2) * scaled.signum();
        Self(saturate((scaled + half) / i128::from(rate)))
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole microseconds, rounded towards zero.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0 / 1_000
    }

    /// Whole milliseconds, rounded towards zero.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// How many frames of nominal `rate` (frames per second) this span is, with their fraction.
    #[must_use]
    pub fn as_frames(self, rate: u32) -> f64 {
        self.0 as f64 * f64::from(rate) / NANOS_PER_SEC as f64
    }

    /// The same span without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Whether the span is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The span as a standard duration, for timers; below zero becomes zero.
    #[must_use]
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Span {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Mul<i64> for Span {
    type Output = Self;
    fn mul(self, factor: i64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Div<i64> for Span {
    type Output = Self;
    /// Rounds towards zero. Division by zero saturates with the sign of the span.
    fn div(self, divisor: i64) -> Self {
        match (divisor, self.0.signum()) {
            (0, 0) => Self::ZERO,
            (0, -1) => Self(i64::MIN),
            (0, _) => Self::MAX,
            _ => Self(self.0.saturating_div(divisor)),
        }
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Span {
    /// Writes the span in the unit that suits its size: `850 ns`, `-12.5 us`, `80.000 ms`, `3.250 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0.unsigned_abs() {
            0..1_000 => write!(f, "{} ns", self.0),
            1_000..1_000_000 => write!(f, "{:.1} us", ns / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.3} ms", ns / 1e6),
            _ => write!(f, "{:.3} s", ns / 1e9),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Marks the monotonic clock of the host that sends a stream.
#[derive(Debug)]
pub enum Sender {}

/// Marks the monotonic clock of the host that plays a stream.
#[derive(Debug)]
pub enum Player {}

/// An instant of the clock `S`, in nanoseconds since that clock's arbitrary origin.
///
/// Instants of different clocks neither compare nor subtract; [`ClockMap`](crate::ClockMap) converts between them.
/// Arithmetic saturates, as that of [`Span`] does.
pub struct Time<S> {
    ns: i64,
    clock: PhantomData<fn() -> S>,
}

/// An instant of the sender's monotonic clock.
pub type SenderTime = Time<Sender>;

/// An instant of the player's monotonic clock.
pub type PlayerTime = Time<Player>;

impl<S> Time<S> {
    /// The instant `ns` nanoseconds after the clock's origin.
    #[must_use]
    pub const fn from_nanos(ns: i64) -> Self {
        Self { ns, clock: PhantomData }
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.ns
    }
}

impl<S> Clone for Time<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Time<S> {}

impl<S> PartialEq for Time<S> {
    fn eq(&self, other: &Self) -> bool {
        self.ns == other.ns
    }
}

impl<S> Eq for Time<S> {}

impl<S> PartialOrd for Time<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Time<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ns.cmp(&other.ns)
    }
}

impl<S> Hash for Time<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ns.hash(state);
    }
}

impl<S> fmt::Debug for Time<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9} s", self.ns as f64 / NANOS_PER_SEC as f64)
    }
}

impl<S> Add<Span> for Time<S> {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_nanos(self.ns.saturating_add(span.0))
    }
}

impl<S> Sub<Span> for Time<S> {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_nanos(self.ns.saturating_sub(span.0))
    }
}

impl<S> Sub for Time<S> {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span(self.ns.saturating_sub(earlier.ns))
    }
}

impl<S> AddAssign<Span> for Time<S> {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl<S> SubAssign<Span> for Time<S> {
    fn sub_assign(&mut self, span: Span) {
        *self = *self - span;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_to_the_nearest_nanosecond() {
        assert_eq!(Span::from_frames(1, 48_000), Span::from_nanos(20_833));
        assert_eq!(Span::from_frames(2, 48_000), Span::from_nanos(41_667));
        assert_eq!(Span::from_frames(-2, 48_000), Span::from_nanos(-41_667));
        assert_eq!(Span::from_frames(441, 44_100), Span::from_millis(10));
        assert_eq!(Span::from_frames(i64::MAX, 1), Span::MAX);
        assert_eq!(Span::from_frames(1, 0), Span::ZERO);
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let late = SenderTime::from_nanos(i64::MAX);
        let early = SenderTime::from_nanos(i64::MIN);
        assert_eq!(late - early, Span::MAX);
        assert_eq!(late + Span::from_nanos(1), late);
        assert_eq!(-Span::from_nanos(i64::MIN), Span::MAX);
        assert_eq!(Span::from_nanos(i64::MIN).abs(), Span::MAX);
        assert_eq!(Span::from_secs(-1) / 0, Span::from_nanos(i64::MIN));
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
    }

    #[test]
    fn spans_read_well() {
        let shown = |ns| Span::from_nanos(ns).to_string();
        assert_eq!(shown(850), "850 ns");
        assert_eq!(shown(-12_500), "-12.5 us");
        assert_eq!(shown(80_000_000), "80.000 ms");
        assert_eq!(shown(3_250_000_000), "3.250 s");
    }
}

//! How far apart two rooms are in true time, when each has played by a crystal of its own.
//!
//! The second recording is read at the true times of the first one's frames, so that both are what one ear would hear; what
//! two crystals do to a sound between their recordings is gone by then. The rest is the comparison of two channels on one
//! clock ([`offset_series`]).

use super::{Offset, OffsetSeries, interpolate::Interpolator, offset_series};
use crate::card::Played;

/// Frames between two looks into the tables of time; over 10 ms no crystal bends.
const STRIDE: usize = 480;

/// Compares what two rooms have played in consecutive windows of `window` seconds, searching up to `most` seconds either way.
///
/// Times ([`Offset::at`]) are true seconds since frame 0 of `first`. An offset is positive when `second` is later. Windows in
/// which a card itself had missed a cycle are left out, and counted as [`disturbed`](OffsetSeries::disturbed).
#[must_use]
pub fn true_offset_series(first: &Played, second: &Played, window: f64, most: f64) -> OffsetSeries {
    let rate = first.rate();
    let mut series = offset_series(&first.samples, &aligned(first, second), rate, window, most);
    let disturbances = disturbances(first, second);
    let before = series.offsets.len();
    series.offsets.retain(|offset| {
        let (from, to) = (offset.at - window / 2.0, offset.at + window / 2.0);
        let frame = |seconds: f64| seconds * f64::from(rate);
        !disturbances.iter().any(|&(start, end)| start < frame(to) && frame(from) < end)
    });
    series.disturbed = before - series.offsets.len();
    let origin = first.time_of(0.0);
    for offset in &mut series.offsets {
        let frame = offset.at * f64::from(rate);
        let frames = offset.seconds * f64::from(rate);
        // The lag was counted in frames of the first card, and such a frame is not quite what its rate says.
        let seconds = first.time_of(frame + 1.0e6).since(first.time_of(frame)) as f64 * 1e-15 * frames;
        *offset = Offset { at: first.time_of(frame).since(origin) as f64 * 1e-9, seconds, ..*offset };
    }
    series
}

/// What `second` was playing at the true times of the frames of `first`; silence before and after.
fn aligned(first: &Played, second: &Played) -> Vec<f32> {
    let interpolator = Interpolator::new();
    let position = |frame: usize| second.frame_at(first.time_of(frame as f64));
    let mut heard = Vec::with_capacity(first.samples.len());
    let mut from = position(0);
    for start in (0..first.samples.len()).step_by(STRIDE) {
        let to = position(start + STRIDE);
        let step = (to - from) / STRIDE as f64;
        let frames = STRIDE.min(first.samples.len() - start);
        heard.extend((0..frames).map(|n| interpolator.at(&second.samples, from + step * n as f64)));
        from = to;
    }
    heard
}

/// Where either card was silent by its own fault, in frames of the first.
fn disturbances(first: &Played, second: &Played) -> Vec<(f64, f64)> {
    let end = |missed: &crate::card::Missed| (missed.frame + missed.frames) as f64;
    let own = first.missed.iter().map(|missed| (missed.frame as f64, end(missed)));
    let there = |frame: f64| first.frame_at(second.time_of(frame));
    let others = second.missed.iter().map(|missed| (there(missed.frame as f64), there(end(missed))));
    own.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        card::{Missed, SampleClock, TrueTime, Wander},
        measure::fit::shifted,
        sound::noise,
    };

    const RATE: u32 = 48_000;
    const START: i64 = 9_000_000_000;

    /// What a card plays of a noise that begins at frame 0's time, `late` seconds late, when it does everything right: the
    /// noise at the true time of each frame. Interpolated by another method than the measure's.
    fn play(clock: &SampleClock, seconds: f64, late: f64) -> Played {
        let source = noise(RATE, 1, seconds, 0.5, 11).channels.remove(0);
        // Longer by far than any drift over the block: each block is shifted by the offset at its own frames.
        let samples = (0..source.len())
            .map(|n| {
                let heard = clock.time_of(n as f64).since(TrueTime::from_nanos(START)) as f64 * 1e-9;
                (heard - late) * f64::from(RATE)
            })
            .map(|position| crate::measure::fit::sinc(&source, position) as f32)
            .collect();
        Played::by(clock, samples)
    }

    fn clock(ppm: f64, nanos_later: i64) -> SampleClock {
        SampleClock::new(RATE, TrueTime::from_nanos(START + nanos_later), ppm)
    }

    #[test]
    fn known_offsets_between_two_crystals_are_found_to_a_tenth_of_a_microsecond() {
        let wander = Wander { ppm: 5.0, seconds: 4.0, seed: 2 };
        for (late, second) in [
            (0.0, clock(-60.0, 0)),
            (3.7e-6, clock(-60.0, 12_345_678)),
            (-250.4e-6, clock(-60.0, 3_000_001).wandering(wander)),
            (9.9e-3, clock(-100.0, -2_000_000)),
        ] {
            let (first, second) = (play(&clock(80.0, 0), 6.0, 0.0), play(&second, 6.0, late));
            let series = true_offset_series(&first, &second, 0.25, 0.02);
            assert!(series.offsets.len() >= 20, "{series:?}");
            assert_eq!((series.undecided, series.disturbed), (0, 0));
            let worst = series.offsets.iter().map(|offset| (offset.seconds - late).abs()).fold(0.0, f64::max);
            println!("{late:e} s: off by {worst:e} s at most");
            assert!(worst < 0.1e-6, "off by {worst:e} s at {late:e} s");
        }
    }

    #[test]
    fn times_are_true_seconds_since_the_first_frame() {
        let (first, second) = (play(&clock(10_000.0, 0), 2.0, 0.0), play(&clock(0.0, 0), 2.0, 0.0));
        let series = true_offset_series(&first, &second, 0.25, 0.01);
        // Frames that are a hundredth shorter.
        assert!((series.offsets[0].at - (0.01 + 0.125) / 1.01).abs() < 1e-6, "{:?}", series.offsets[0]);
    }

    #[test]
    fn windows_in_which_a_card_missed_a_cycle_are_left_out() {
        let (mut first, mut second) = (play(&clock(80.0, 0), 4.0, 0.0), play(&clock(-60.0, 0), 4.0, 0.0));
        let whole = true_offset_series(&first, &second, 0.25, 0.01);
        for (played, frame) in [(&mut first, 50_000), (&mut second, 100_000)] {
            played.samples[frame..frame + 256].fill(0.0);
            played.missed.push(Missed { frame: frame as u64, frames: 256 });
        }
        let series = true_offset_series(&first, &second, 0.25, 0.01);
        assert_eq!((series.disturbed, series.offsets.len()), (2, whole.offsets.len() - 2));
        assert!(series.percentile(1.0).unwrap() < 0.1e-6);
    }

    #[test]
    fn the_interpolations_agree() {
        let source = noise(RATE, 1, 0.2, 0.5, 3).channels.remove(0);
        let interpolator = Interpolator::new();
        for shift in [0.0, 0.123, 0.5, 0.999] {
            let expected = shifted(&source, shift);
            let worst = (100..9_500)
                .map(|n| (interpolator.at(&source, n as f64 + shift) - expected[n]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-5, "{shift}: {worst}");
        }
    }
}

//! Whether one recording holds what another one held just before: a room what an input did.

use super::{OffsetSeries, offset_series};

/// The length of windows, in seconds, that recognise a sound whose latency glides by 0.5 %: in longer ones it is stretched by too much to be
/// like itself.
pub const GLIDING: f64 = 0.01;

/// In what share of the windows, 0 to 1, of `window` seconds the room holds what the input held up to `longest` seconds before. As much of
/// the recordings' ends is not compared.
#[must_use]
pub fn likeness(input: &[f32], room: &[f32], rate: u32, window: f64, longest: f64) -> f64 {
    let series = offset_series(input, room, rate, window, longest);
    later(&series).count() as f64 / (series.offsets.len() + series.undecided + series.silent).max(1) as f64
}

/// By how many milliseconds the room is later in each window that [`likeness`] counts: what there is to say of one that is not like its input.
#[must_use]
pub fn latencies(input: &[f32], room: &[f32], rate: u32, window: f64, longest: f64) -> Vec<f64> {
    let series = offset_series(input, room, rate, window, longest);
    later(&series).map(|seconds| (1e5 * seconds).round() / 1e2).collect()
}

fn later(series: &OffsetSeries) -> impl Iterator<Item = f64> {
    series.offsets.iter().map(|offset| offset.seconds).filter(|seconds| *seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Interpolator, sound::noise};

    const RATE: u32 = 48_000;
    const LONGEST: f64 = 0.6;

    fn sound(seed: u64) -> Vec<f32> {
        noise(RATE, 1, 4.0, 0.5, seed).channels.remove(0)
    }

    /// The sound this many seconds later, a latency that grows by `slope` seconds a second.
    fn gliding(sound: &[f32], later: f64, slope: f64) -> Vec<f32> {
        let interpolator = Interpolator::new();
        let from = |frame: usize| frame as f64 * (1.0 - slope) - later * f64::from(RATE);
        (0..sound.len()).map(|frame| interpolator.at(sound, from(frame))).collect()
    }

    #[test]
    fn a_room_is_like_its_input_and_like_no_other() {
        let (input, other) = (sound(1), sound(2));
        let room = gliding(&input, 0.3, 0.0);
        for window in [0.25, GLIDING] {
            assert_eq!(likeness(&input, &room, RATE, window, LONGEST), 1.0);
            assert!(likeness(&other, &room, RATE, window, LONGEST) < 0.02);
            assert_eq!(likeness(&room, &input, RATE, window, LONGEST), 0.0, "what comes after is not what was before");
        }
        let told = latencies(&input, &room, RATE, 0.25, LONGEST);
        assert!(told.len() >= 10 && told.iter().all(|latency| *latency == 300.0), "{told:?}");
    }

    #[test]
    fn a_glide_is_recognised_in_short_windows() {
        let (input, other) = (sound(1), sound(2));
        for slope in [0.005, -0.005] {
            let room = gliding(&input, 0.3, slope);
            let [long, short] = [0.25, GLIDING].map(|window| likeness(&input, &room, RATE, window, LONGEST));
            println!("{slope}: {long} in long windows, {short} in short ones");
            assert!(long < 0.1 && short > 0.9, "{slope}: {long}, {short}");
            assert!(likeness(&other, &room, RATE, GLIDING, LONGEST) < 0.02);
        }
    }
}

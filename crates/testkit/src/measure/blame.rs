//! Whose doing a click in a recording is: the machine's, or the product's.
//!
//! The witnesses are the input, recorded beside the room, which breaks where the recorder or the application misses a cycle, and a watch over the
//! machine. A driver that nothing is played to is none: it is silent whatever happens.

use std::ops::Range;

use super::{Click, clicks, holes::is_explained};

/// How far from its cause a click may be found, in seconds.
const NEAR: f64 = 0.05;

/// Those of a room's clicks, given by their frames in the recording, that neither a break of the input explains, which was recorded beside it and
/// is heard up to `latest` seconds later in the room, nor a machine that held programs back: `late` is when it did, in seconds of the recording.
#[must_use]
pub fn unexplained(found: &[Click], input: &[f32], rate: u32, latest: f64, late: &[Range<f64>]) -> Vec<Click> {
    let seconds = |frame: usize| frame as f64 / f64::from(rate);
    // Where the recording ends, the sound in it does, abruptly.
    let end = seconds(input.len()) - NEAR;
    let breaks = clicks(input, rate).into_iter().map(|click| seconds(click.at));
    let breaks: Vec<f64> = breaks.filter(|at| (NEAR..end).contains(at)).collect();
    let is_passed_on = |at: f64| breaks.iter().any(|cause| (at - latest - NEAR..at + NEAR).contains(cause));
    let is_own = |click: &&Click| {
        let at = seconds(click.at);
        !is_passed_on(at) && !is_explained(at..at, late)
    };
    found.iter().filter(is_own).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::CYCLE, sound::noise};

    const RATE: u32 = 48_000;
    const LATEST: f64 = 0.2;
    const DELAY: usize = 4_000;
    /// Where the room's sound is cut off.
    const CUT: usize = 96_000;

    /// An input, and a room that plays it later until it is cut off without a fade.
    fn recorded() -> (Vec<f32>, Vec<f32>) {
        let input = noise(RATE, 1, 3.0, 0.5, 4).channels.remove(0);
        let mut room = [&vec![0.0; DELAY][..], &input[..input.len() - DELAY]].concat();
        room[CUT..].fill(0.0);
        (input, room)
    }

    fn clicks_near(room: &[f32], frame: usize) -> Vec<Click> {
        clicks(room, RATE).into_iter().filter(|click| click.at.abs_diff(frame) < 200).collect()
    }

    #[test]
    fn a_sound_that_is_cut_off_has_no_excuse() {
        let (input, room) = recorded();
        let found = clicks_near(&room, CUT);
        assert_eq!(found.len(), 1);
        assert_eq!(unexplained(&found, &input, RATE, LATEST, &[]), found);
    }

    #[test]
    fn a_cycle_that_recorder_or_application_missed_is_seen_in_the_input() {
        for (at, explains) in [(CUT - 1_000, true), (CUT - DELAY, true), (CUT - 20_000, false), (CUT + 4_000, false)] {
            let (mut input, mut room) = recorded();
            // The recorder's own: both lack it.
            let cycle = at..at + CYCLE;
            input.drain(cycle.clone());
            room.drain(cycle);
            let found = clicks_near(&room, if at < CUT { CUT - CYCLE } else { CUT });
            assert_eq!(found.len(), 1, "{at}");
            assert_eq!(unexplained(&found, &input, RATE, LATEST, &[]).is_empty(), explains, "recorder, {at}");
            // The application's: silence there, and later in the room.
            let (mut input, room) = recorded();
            input[at..at + CYCLE].fill(0.0);
            let found = clicks_near(&room, CUT);
            assert_eq!(unexplained(&found, &input, RATE, LATEST, &[]).is_empty(), explains, "application, {at}");
        }
    }

    #[test]
    fn a_machine_that_held_programs_back_explains_what_is_near() {
        let (input, room) = recorded();
        let found = clicks_near(&room, CUT);
        for (late, explains) in [(1.6..1.9, true), (1.99..2.0, false), (0.2..0.6, false)] {
            assert_eq!(unexplained(&found, &input, RATE, LATEST, &[late]).is_empty(), explains);
        }
    }
}

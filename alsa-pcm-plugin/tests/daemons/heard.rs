//! What was heard of which music, and when.

use std::fmt;

use audera_testkit::measure::residual;

use crate::RATE;

/// Frames that are looked at together: 20 ms.
const WINDOW: usize = RATE as usize / 50;
/// So much is needed to find a place anywhere in the music.
const PROBE: usize = 3 * WINDOW;
/// Below this it is silent.
const SILENT: f32 = 1e-4;
/// What is as like as this is the same, half a frame of shift and a fade included.
const SAME: f64 = 0.8;

/// A stretch of music that was heard without a break.
#[derive(Clone, Copy)]
pub struct Piece {
    /// Which music.
    pub music: usize,
    /// Its place in the recording, in frames.
    pub at: usize,
    /// Its place in the music.
    pub from: usize,
    pub frames: usize,
}

impl Piece {
    /// Where it ends in the recording.
    pub fn end(&self) -> usize {
        self.at + self.frames
    }

    /// Where it ends in the music.
    pub fn to(&self) -> usize {
        self.from + self.frames
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |frames: usize| frames as f64 / f64::from(RATE);
        let (from, to, at) = (seconds(self.from), seconds(self.to()), seconds(self.at));
        write!(f, "music {} from {from:.4} to {to:.4} s at {at:.4} s", self.music)
    }
}

/// All that was heard, in order. What is not silent and no music is an error of the test or of what it tests.
pub fn pieces(recording: &[f32], music: &[&[f32]]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    while at + PROBE <= recording.len() {
        let window = &recording[at..at + WINDOW];
        if window.iter().all(|sample| sample.abs() < SILENT) {
            at += WINDOW;
            continue;
        }
        // It goes on, or begins somewhere; where, shows the part behind the fade.
        if let Some(piece) = pieces.last_mut().filter(|piece| piece.end() == at) {
            if let Some(place) = about(window, music[piece.music], piece.to()) {
                // A rate that is followed makes a frame more or less.
                piece.frames = place + WINDOW - piece.from;
                piece.at = at + WINDOW - piece.frames;
                at += WINDOW;
                continue;
            }
        }
        let probe = &recording[at + WINDOW..at + PROBE];
        match music.iter().enumerate().find_map(|(n, music)| Some((n, place_of(probe, music)?))) {
            Some((n, place)) => {
                // Back to where it began.
                let begin = (0..=2 * WINDOW.min(place)).rev().find(|back| {
                    let (at, place) = ((at + WINDOW).checked_sub(*back), place.checked_sub(*back));
                    at.zip(place).is_some_and(|(at, place)| {
                        likeness(&recording[at..at + WINDOW / 4], &music[n][place..place + WINDOW / 4]) > SAME
                    })
                });
                let back = begin.unwrap_or(0);
                let frames = PROBE - WINDOW + back;
                pieces.push(Piece { music: n, at: at + WINDOW - back, from: place - back, frames });
                at += PROBE;
            }
            None => at += WINDOW,
        }
    }
    pieces.retain(|piece| piece.frames > 2 * PROBE);
    pieces
}

/// The place of a part of a recording, about where it is expected.
fn about(part: &[f32], music: &[f32], expected: usize) -> Option<usize> {
    let alike = |place: usize| music.get(place..place + part.len()).map_or(0.0, |music| likeness(part, music));
    let places = expected.saturating_sub(2)..=expected + 2;
    places
        .map(|place| (place, alike(place)))
        .filter(|found| found.1 > SAME)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|found| found.0)
}

/// The place of a part of a recording anywhere in the music.
fn place_of(part: &[f32], music: &[f32]) -> Option<usize> {
    let found = residual(music, part, RATE, 0.01)?;
    let place = found.delay.round();
    if place < 0.0 { None } else { about(part, music, place as usize) }
}

/// How like two sounds are, 1 at most, whatever the level.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>());
    let power = (dot(a, a) * dot(b, b)).sqrt();
    if power > 0.0 { dot(a, b) / power } else { 0.0 }
}

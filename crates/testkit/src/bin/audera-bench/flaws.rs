//! What can be heard to be wrong with what a room played: silences, jumps and clicks.

use std::ops::Range;

use audera_testkit::{
    card::{Played, TrueTime},
    measure::{self, Click, Gap},
};

use crate::series::{RATE, Series, WINDOW, after};

/// What could be heard to be wrong, in undisturbed times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flaws {
    /// In the order of their kinds.
    pub list: Vec<Flaw>,
    /// How long these were counted, in seconds.
    pub seconds: f64,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flaw {
    pub kind: Kind,
    /// When.
    pub at: f64,
    /// Seconds of a silence or a jump, dB above the usual of a click.
    pub size: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A silence of at least [`GAP`] frames that the application did not make.
    Gap,
    /// The same, but the graph gave the card nothing in time: the machine did not wake the player, or its cycle was late.
    MissedCycle,
    /// A change of latency by more than [`JUMP`].
    Jump,
    /// A place where the waveform is broken beside all silences, such as frames left out or doubled.
    Click,
}

/// A step of latency from one window to the next beyond which it is a jump.
const JUMP: f64 = 500e-6;
/// The shortest run of exact zeros that counts as a gap, in frames.
const GAP: usize = 16;
/// What stands out by less, in dB above the usual beyond 18 kHz, is no click: Opus is heard at 20 now and then, the smallest
/// splice of a frame in noise at 40.
const CLICK: f64 = 30.0;
/// What the edge of a silence, or of what is looked at, does to the waveform is no click, in frames.
const EDGE: usize = 480;
/// What a room played, and what it was to play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub played: &'a Played,
    /// What the card beside the application played.
    pub desk: &'a Played,
    /// By how many seconds the room is later than that card, about; `None` when that could not be found.
    pub later: Option<f64>,
    /// When the time that spans and flaws are told in begins.
    pub begin: TrueTime,
    /// By how much the room is later, window by window.
    pub latency: &'a Series,
}

impl Kind {
    /// Whether nothing was heard.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Gap | Self::MissedCycle)
    }
}

impl Heard<'_> {
    /// All flaws within a span, at times that are calm.
    pub fn flaws(&self, span: Range<f64>, is_calm: impl Fn(f64) -> bool) -> Flaws {
        let Self { played, begin, .. } = *self;
        let frame = |at: f64| (played.frame_at(after(begin, at)).max(0.0) as usize).min(played.samples.len());
        let (from, to) = (frame(span.start), frame(span.end));
        let at_of = |frame: usize| played.time_of((from + frame) as f64).since(begin) as f64 * 1e-9;
        let samples = &played.samples[from..to.max(from)];
        let holes = measure::gaps(samples, GAP);
        let silence = |gap: &Gap| Flaw {
            kind: if self.was_missed(gap, from) { Kind::MissedCycle } else { Kind::Gap },
            at: at_of(gap.start),
            size: gap.frames as f64 / f64::from(RATE),
        };
        let silences = holes.iter().filter(|gap| self.is_own(gap, from)).map(silence);
        let jumps = self.latency.within(span).jumps(JUMP).into_iter();
        let jumps = jumps.map(|(at, size)| Flaw { kind: Kind::Jump, at, size });
        let near_hole = |at: usize| holes.iter().any(|gap| at + EDGE > gap.start && at < gap.start + gap.frames + EDGE);
        let clicks = clicks(samples).into_iter().filter(|click| click.excess_db >= CLICK && !near_hole(click.at));
        let clicks = clicks.map(|click| Flaw { kind: Kind::Click, at: at_of(click.at), size: click.excess_db });
        // A silence that began with an event may outlast what is put down to the event, and end with the next one.
        let counts = |flaw: &Flaw| {
            let length = if flaw.kind.is_silence() { flaw.size } else { 0.0 };
            let looks = (length / WINDOW) as usize + 1;
            (0..=looks).any(|look| is_calm(flaw.at + length * look as f64 / looks as f64))
        };
        let list = silences.chain(jumps).chain(clicks).filter(counts).collect();
        Flaws { list, seconds: samples.len() as f64 / f64::from(RATE) }
    }

    /// Whether the card was given nothing in time during a gap, which counts from frame `from`.
    fn was_missed(&self, gap: &Gap, from: usize) -> bool {
        let (start, end) = ((from + gap.start) as u64, (from + gap.start + gap.frames) as u64);
        self.played.missed.iter().any(|missed| missed.frame < end && missed.frame + missed.frames > start)
    }

    /// Whether the application was heard at that time beside itself, so that the room is to blame for the silence. It is also
    /// when nothing is known of what the application did then.
    fn is_own(&self, gap: &Gap, from: usize) -> bool {
        let Some(later) = self.later else { return true };
        let time = self.played.time_of((from + gap.start) as f64);
        let start = self.desk.frame_at(after(time, -later)).round().max(0.0) as usize;
        let end = (start + gap.frames).min(self.desk.samples.len());
        let Some(meant) = self.desk.samples.get(start..end) else { return false };
        let zeros = meant.iter().filter(|sample| **sample == 0.0).count();
        zeros * 2 < meant.len()
    }
}

/// The clicks in a long recording, but for its ends: piece by piece, as the search takes many times the memory of the samples.
fn clicks(samples: &[f32]) -> Vec<Click> {
    const PIECE: usize = 10 * RATE as usize;
    let mut all = Vec::new();
    let mut start = EDGE;
    while start + EDGE < samples.len() {
        let end = (start + PIECE).min(samples.len() - EDGE);
        let found = measure::clicks(&samples[start - EDGE..end + EDGE], RATE).into_iter();
        let found = found.map(|click| Click { at: click.at + start - EDGE, ..click });
        all.extend(found.filter(|click| (start..end).contains(&click.at)));
        start = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_testkit::sound::noise;

    #[test]
    fn clicks_are_found_once_wherever_a_piece_of_the_search_ends() {
        let mut sound = noise(RATE, 1, 25.0, 0.5, 7).channels.remove(0);
        let places = [100_000, EDGE + 480_000, 1_000_000];
        for &at in places.iter().rev() {
            sound.remove(at);
        }
        let found: Vec<usize> = clicks(&sound).iter().filter(|click| click.excess_db > CLICK).map(|c| c.at).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().zip(places).all(|(found, place)| found.abs_diff(place) < 64), "{found:?}");
    }
}

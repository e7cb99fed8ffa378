//! Pictures: sync error over time, a panel for each system, as measured and, thin, as the rooms tell it.

use audera_testkit::plot::{self, Line, Panel};

use crate::{
    belief::Pair,
    outcome::Outcome,
    series::{Series, Sight},
};

/// One scenario's picture, with a panel for each system that was measured.
pub(crate) fn picture(title: &str, outcomes: &[&Outcome]) -> String {
    let panels: Vec<Panel> = outcomes.iter().map(|outcome| panel(title, outcome)).collect();
    plot::picture(&panels)
}

fn panel(title: &str, outcome: &Outcome) -> Panel {
    let mut lines = Vec::new();
    for (n, room) in outcome.rooms.iter().enumerate().skip(1) {
        let told = told(outcome, n);
        let thin = if told.is_empty() { "" } else { " (thin: as told)" };
        let label = format!("{} against {}{thin}", room.name, outcome.rooms[0].name);
        lines.push(Line { label: Some(label), colour: n - 1, thin: false, strokes: strokes(&room.sync) });
        lines.push(Line { label: None, colour: n - 1, thin: true, strokes: vec![told] });
    }
    lines.iter_mut().for_each(|line| line.strokes.retain(|stroke| !stroke.is_empty()));
    Panel {
        title: format!("{title} - {}", outcome.system),
        seconds: outcome.seconds,
        lines,
        marked: outcome.disturbed.clone(),
    }
}

/// By how much a room is later than the first one, as the two tell it, in seconds and us.
fn told(outcome: &Outcome, nth: usize) -> Vec<(f64, f64)> {
    let first = &outcome.rooms[0].belief;
    let both = |pair: &Pair| {
        // Told in one breath.
        let other = first.iter().find(|other| (other.at - pair.at).abs() < 1e-6)?;
        Some((pair.at, (pair.told - other.told) * 1e6))
    };
    outcome.rooms[nth].belief.iter().filter(|pair| pair.at >= 0.0).filter_map(both).collect()
}

/// The points of a line, in seconds and us, which ends wherever there is no offset.
fn strokes(series: &Series) -> Vec<Vec<(f64, f64)>> {
    let mut all = vec![Vec::new()];
    for window in &series.0 {
        match (window.sight, all.last_mut()) {
            (Sight::Apart(seconds), Some(last)) => last.push((window.at, seconds * 1e6)),
            _ => all.push(Vec::new()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::tests::outcome, series::Window};

    #[test]
    fn a_line_ends_where_there_is_no_offset() {
        let window = |at, sight| Window { at, sight };
        let series = Series(vec![
            window(0.0, Sight::Silent),
            window(0.1, Sight::Apart(1e-6)),
            window(0.2, Sight::Apart(2e-6)),
            window(0.3, Sight::Different),
            window(0.4, Sight::Apart(3e-6)),
        ]);
        let lines: Vec<usize> = strokes(&series).iter().map(Vec::len).filter(|length| *length > 0).collect();
        assert_eq!(lines, [2, 1]);
    }

    #[test]
    fn every_room_but_the_first_has_a_line_and_what_is_told_a_thin_one() {
        let mut one = outcome();
        let drawn = |outcome: &Outcome| {
            let svg = picture("a title", &[outcome]);
            (svg.matches("<polyline").count(), svg.matches("stroke-dasharray").count())
        };
        assert_eq!(drawn(&one), (1, 0));
        let pair = |at, told| Pair { at, told, bound: None, truth: None, ratio_ppm: None };
        one.rooms[0].belief = vec![pair(1.0, 1e-6), pair(2.0, 1e-6)];
        one.rooms[1].belief = vec![pair(1.0, 3e-6), pair(2.0, 4e-6), pair(2.5, 5e-6)];
        let told = told(&one, 1);
        assert_eq!(told.len(), 2, "what only one of them tells says nothing: {told:?}");
        assert!((told[1].1 - 3.0).abs() < 1e-9);
        assert_eq!(drawn(&one), (2, 1));
    }
}

//! Pictures: sync error over time, one line for each room, one panel for each system, as SVG.

use std::fmt::Write as _;

use crate::{
    belief::Pair,
    outcome::Outcome,
    series::{Series, Sight},
};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 230.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
/// Distinguishable also by those who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
/// The scales a panel may have, in us either way.
const SCALES: [f64; 12] = [10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 10e3, 25e3, 60e3];

/// One scenario's picture, with a panel for each system that was measured.
pub(crate) fn picture(title: &str, outcomes: &[&Outcome]) -> String {
    let height = outcomes.len() as f64 * (PANEL + TOP + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (n, outcome) in outcomes.iter().enumerate() {
        let top = n as f64 * (PANEL + TOP + BOTTOM) + TOP;
        panel(&mut svg, top, &format!("{title} - {}", outcome.system), outcome);
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, top: f64, title: &str, outcome: &Outcome) {
    let scale = scale(outcome);
    let seconds = outcome.seconds.max(1.0);
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |us: f64| top + PANEL / 2.0 - us.clamp(-scale, scale) / scale * PANEL / 2.0;
    text(svg, LEFT, top - 28.0, "start", &format!("<tspan font-weight=\"bold\">{}</tspan>", escaped(title)));
    for part in -2..=2 {
        let us = scale * f64::from(part) / 2.0;
        line(svg, [(LEFT, y(us)), (WIDTH - RIGHT, y(us))], if part == 0 { "#888888" } else { "#dddddd" });
        text(svg, LEFT - 6.0, y(us) + 4.0, "end", &micro(us));
    }
    let step =
        [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0].into_iter().find(|step| seconds / step <= 12.0).unwrap_or(300.0);
    let mut at = 0.0;
    while at <= seconds {
        text(svg, x(at), top + PANEL + 16.0, "middle", &format!("{at:.0} s"));
        at += step;
    }
    for (from, to) in &outcome.disturbed {
        let (from, to) = (x(from.max(0.0)), x(to.min(seconds)));
        let width = (to - from).max(2.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\" fill=\"#f0e442\" opacity=\"0.4\"/>"
        );
    }
    for (n, room) in outcome.rooms.iter().enumerate().skip(1) {
        let colour = COLOURS[(n - 1) % COLOURS.len()];
        text(
            svg,
            LEFT + (n - 1) as f64 * 380.0,
            top - 9.0,
            "start",
            &format!(
                "<tspan fill=\"{colour}\">{} against {}{}</tspan>",
                escaped(room.name),
                escaped(outcome.rooms[0].name),
                if room.belief.is_empty() { "" } else { " (thin: as they tell it)" }
            ),
        );
        // As the rooms tell it, thin.
        let told: Vec<String> =
            told(outcome, n).into_iter().map(|(at, us)| format!("{:.1},{:.1}", x(at), y(us))).collect();
        if !told.is_empty() {
            let _ = writeln!(
                svg,
                "<polyline class=\"told\" points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"0.6\" \
                 stroke-dasharray=\"3 2\"/>",
                told.join(" ")
            );
        }
        for points in strokes(&room.sync) {
            let points: Vec<String> = points.iter().map(|&(at, us)| format!("{:.1},{:.1}", x(at), y(us))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>",
                points.join(" ")
            );
        }
    }
}

/// The smallest scale that leaves out a hundredth of the windows at most: what is beyond is drawn at the edge.
fn scale(outcome: &Outcome) -> f64 {
    let mut sizes: Vec<f64> = outcome
        .rooms
        .iter()
        .skip(1)
        .flat_map(|room| room.sync.offsets())
        .map(|(_, seconds)| (seconds * 1e6).abs())
        .collect();
    sizes.sort_by(f64::total_cmp);
    let most = sizes.get((sizes.len() as f64 * 0.99) as usize).or(sizes.last()).copied().unwrap_or(0.0);
    SCALES.into_iter().find(|scale| *scale >= most).unwrap_or(SCALES[SCALES.len() - 1])
}

/// By how much a room is later than the first one, as the two tell it, in seconds and us.
fn told(outcome: &Outcome, nth: usize) -> Vec<(f64, f64)> {
    let first = &outcome.rooms[0].belief;
    let both = |pair: &Pair| {
        // Told in one breath, as far as they are.
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
    all.retain(|points| !points.is_empty());
    all
}

fn micro(us: f64) -> String {
    if us.abs() >= 1000.0 { format!("{:+.2} ms", us / 1000.0) } else { format!("{us:+.0} µs") }
}

fn line(svg: &mut String, [(x1, y1), (x2, y2)]: [(f64, f64); 2], colour: &str) {
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
        let lines = strokes(&series);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn every_system_has_a_panel_and_every_room_but_the_first_a_line() {
        let one = outcome();
        let svg = picture("a < b", &[&one, &one]);
        assert_eq!(svg.matches("<polyline").count(), 2 * (one.rooms.len() - 1));
        assert!(svg.contains("a &lt; b"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_scale_fits_what_is_shown() {
        // 5 us apart.
        assert_eq!(scale(&outcome()), 10.0);
    }
}

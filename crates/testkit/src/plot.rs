//! Pictures of how far rooms are apart over time, as SVG: panels below each other, a line for each room.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 230.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
/// From one legend to the next.
const LEGEND: f64 = 270.0;
/// Distinguishable also by those who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
/// The scales a panel may have, in us either way.
const SCALES: [f64; 12] = [10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 10e3, 25e3, 60e3];

/// A panel: some lines over the same time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What it is about.
    pub title: String,
    /// Up to when it goes; it begins at 0.
    pub seconds: f64,
    /// The lines.
    pub lines: Vec<Line>,
    /// Stretches of time to be marked, in seconds.
    pub marked: Vec<(f64, f64)>,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// For the legend; a line without one belongs to another of the same colour.
    pub label: Option<String>,
    /// Number of the colour; there are four, then they come again.
    pub colour: usize,
    /// Drawn thin and dashed, and nothing that the scale has to show.
    pub thin: bool,
    /// Its points, as seconds and us, in pieces: between two of them it is broken.
    pub strokes: Vec<Vec<(f64, f64)>>,
}

/// The panels as one SVG file.
#[must_use]
pub fn picture(panels: &[Panel]) -> String {
    let height = panels.len() as f64 * (PANEL + TOP + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        draw(&mut svg, n as f64 * (PANEL + TOP + BOTTOM) + TOP, panel);
    }
    svg + "</svg>\n"
}

/// The smallest scale, in us either way, that leaves out a hundredth of these sizes at most; what is
/// beyond is drawn at the edge.
#[must_use]
pub fn scale(us: impl Iterator<Item = f64>) -> f64 {
    let mut sizes: Vec<f64> = us.map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    let most = sizes.get((sizes.len() as f64 * 0.99) as usize).or(sizes.last()).copied().unwrap_or(0.0);
    SCALES.into_iter().find(|scale| *scale >= most).unwrap_or(SCALES[SCALES.len() - 1])
}

fn draw(svg: &mut String, top: f64, panel: &Panel) {
    let thick = panel.lines.iter().any(|line| !line.thin);
    let shown = panel.lines.iter().filter(|line| !line.thin || !thick).flat_map(|line| line.strokes.iter().flatten());
    let scale = scale(shown.map(|point| point.1));
    let seconds = panel.seconds.max(1.0);
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |us: f64| top + PANEL / 2.0 - us.clamp(-scale, scale) / scale * PANEL / 2.0;
    text(svg, LEFT, top - 28.0, "start", &format!("<tspan font-weight=\"bold\">{}</tspan>", escaped(&panel.title)));
    for part in -2..=2 {
        let us = scale * f64::from(part) / 2.0;
        rule(svg, [(LEFT, y(us)), (WIDTH - RIGHT, y(us))], if part == 0 { "#888888" } else { "#dddddd" });
        text(svg, LEFT - 6.0, y(us) + 4.0, "end", &micro(us));
    }
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0];
    let step = steps.into_iter().find(|step| seconds / step <= 12.0).unwrap_or(300.0);
    let mut at = 0.0;
    while at <= seconds {
        text(svg, x(at), top + PANEL + 16.0, "middle", &format!("{at:.0} s"));
        at += step;
    }
    for (from, to) in &panel.marked {
        let (from, to) = (x(from.max(0.0)), x(to.min(seconds)));
        let width = (to - from).max(2.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\" fill=\"#f0e442\" opacity=\"0.4\"/>"
        );
    }
    let labels = panel.lines.iter().filter_map(|line| Some((line, line.label.as_ref()?)));
    for (n, (line, label)) in labels.enumerate() {
        let label = format!("<tspan fill=\"{}\">{}</tspan>", colour(line), escaped(label));
        text(svg, LEFT + n as f64 * LEGEND, top - 9.0, "start", &label);
    }
    for line in &panel.lines {
        let style = if line.thin { "stroke-width=\"0.7\" stroke-dasharray=\"3 2\"" } else { "stroke-width=\"1.2\"" };
        for stroke in &line.strokes {
            let points: Vec<String> = stroke.iter().map(|&(at, us)| format!("{:.1},{:.1}", x(at), y(us))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" {style}/>",
                points.join(" "),
                colour(line)
            );
        }
    }
}

fn colour(line: &Line) -> &'static str {
    COLOURS[line.colour % COLOURS.len()]
}

fn micro(us: f64) -> String {
    if us.abs() >= 1000.0 { format!("{:+.2} ms", us / 1000.0) } else { format!("{us:+.0} µs") }
}

fn rule(svg: &mut String, [(x1, y1), (x2, y2)]: [(f64, f64); 2], colour: &str) {
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

    #[test]
    fn every_stroke_of_every_line_is_drawn_and_labels_are_text() {
        let line = |thin, label: Option<&str>| Line {
            thin,
            label: label.map(str::to_owned),
            colour: 5,
            strokes: vec![vec![(0.0, 1.0), (1.0, 2.0)], vec![(3.0, 1e9)]],
        };
        let lines = vec![line(false, Some("Bath & WC")), line(true, None)];
        let panel = Panel { title: "a < b".into(), seconds: 4.0, lines, marked: vec![(1.0, 2.0)] };
        let svg = picture(&[panel.clone(), panel]);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("stroke-dasharray").count()), (8, 4));
        assert!(svg.contains("a &lt; b") && svg.contains("Bath &amp; WC") && svg.contains(COLOURS[1]));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_scale_fits_what_is_shown() {
        assert_eq!(scale([5.0, -9.0].into_iter()), 10.0);
        assert_eq!(scale([5.0, -11.0].into_iter()), 25.0);
        assert_eq!(scale((0..1_000).map(|n| if n == 7 { 1e6 } else { 30.0 })), 50.0);
        assert_eq!(scale([].into_iter()), 10.0);
    }
}

//! How far the rooms are apart over time, as they tell it and as it was measured: beside the table while they play, and as a picture
//! of the whole evening.

use std::collections::VecDeque;

use audera_testkit::{
    measure::OffsetSeries,
    plot::{self, Line, Panel},
};

use crate::{
    part::Played,
    rooms::Room,
    screen::{Colour, Screen},
    stage::{KITCHEN, LIVING_ROOM},
};

/// Points kept for the table, one a second.
const POINTS: usize = 48;

/// The last minute or so, in us.
#[derive(Debug, Default)]
pub(crate) struct Trend {
    told: VecDeque<Option<f64>>,
    measured: VecDeque<Option<f64>>,
}

/// By how much the second room is later than the first, as the two tell it, in us.
pub(crate) fn apart(told: &[Room]) -> Option<f64> {
    let of = |name: &str| told.iter().find(|room| room.room == name)?.sync_error_us;
    Some(of(LIVING_ROOM)? - of(KITCHEN)?)
}

impl Trend {
    /// A second has passed: by how much the second room is later than the first, as told in us, and as measured in seconds.
    pub fn add(&mut self, told: Option<f64>, measured: Option<f64>) {
        for (points, fresh) in [(&mut self.told, told), (&mut self.measured, measured.map(|offset| offset * 1e6))] {
            points.push_back(fresh);
            if points.len() > POINTS {
                points.pop_front();
            }
        }
    }

    /// Two lines with a column for each second, the lower the nearer, and the scale of both.
    pub fn lines(&self, screen: &Screen) -> Vec<String> {
        let known = || self.told.iter().chain(&self.measured).copied().flatten();
        if known().next().is_none() {
            return Vec::new();
        }
        let scale = plot::scale(known());
        let full =
            if scale < 1e3 { format!("{scale:.0} {}", screen.micro()) } else { format!("{:.1} ms", scale / 1e3) };
        let lines = [("apart (told)", &self.told), ("apart (heard)", &self.measured)];
        let column = |us: &Option<f64>| us.map_or(' ', |us| screen.level(mark(us, scale)));
        let line = |(what, points): (&str, &VecDeque<Option<f64>>)| {
            let columns: String = points.iter().map(column).collect();
            format!("{what:<14}{columns}")
        };
        let mut lines = lines.map(line).to_vec();
        lines[0] += &screen.paint(Colour::Faint, &format!(" full height: {full}"));
        lines.push(String::new());
        lines
    }
}

/// The height of a column, 0 to 1; the smallest is still seen.
fn mark(us: f64, scale: f64) -> f32 {
    const LEAST: f64 = 0.125;
    (us.abs() / scale).clamp(LEAST, 1.0) as f32
}

/// The picture of all parts: what was told and, where both rooms were recorded, what was measured.
pub(crate) fn picture(played: &[Played], measured: &[Option<OffsetSeries>]) -> String {
    let panels = played.iter().zip(measured).map(|(played, measured)| panel(played, measured.as_ref()));
    plot::picture(&panels.collect::<Vec<_>>())
}

fn panel(played: &Played, measured: Option<&OffsetSeries>) -> Panel {
    let told = |figure: fn(&[Room]) -> Option<f64>| -> Vec<(f64, f64)> {
        played.told.iter().filter_map(|(at, rooms)| Some((*at, figure(rooms)?))).collect()
    };
    let label = |label: &str| Some(label.to_owned());
    let line = |label, thin, points: Vec<(f64, f64)>| Line {
        label,
        colour: usize::from(thin),
        thin,
        strokes: if points.is_empty() { Vec::new() } else { vec![points] },
    };
    let both = format!("{LIVING_ROOM} against {KITCHEN}");
    let lines = match measured {
        Some(series) => {
            let points = series.offsets.iter().map(|offset| (offset.at, offset.seconds * 1e6)).collect();
            vec![line(label("as recorded"), false, points), line(label("as the rooms tell"), true, told(apart))]
        }
        None => vec![line(label("as the rooms tell"), true, told(apart))],
    };
    let rate = f64::from(crate::live::RATE);
    Panel {
        title: format!("{both}: {}", played.part.name),
        seconds: played.frames.len() as f64 / rate,
        lines,
        marked: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_low_and_what_is_unknown_is_blank() {
        assert_eq!((mark(0.0, 10.0), mark(-10.0, 10.0), mark(99.0, 10.0)), (0.125, 1.0, 1.0));
        let screen = Screen::new();
        let mut trend = Trend::default();
        assert_eq!(trend.lines(&screen), [] as [String; 0]);
        for second in 0..100 {
            trend.add((second % 2 == 0).then_some(7.0), Some(-20e-6));
        }
        let lines = trend.lines(&screen);
        assert_eq!(lines[1].chars().count(), 14 + POINTS);
        assert_eq!(lines[0].chars().skip(14).take(POINTS).filter(|column| *column == ' ').count(), POINTS / 2);
        assert!(lines[0].contains("25 "), "{lines:?}");
    }
}

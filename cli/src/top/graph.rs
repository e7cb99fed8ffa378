//! Small graphs of one line.

/// What a meter shows, dB: what is quieter is hardly heard beside the rest.
const RANGE: f64 = 60.0;

/// Characters that a terminal can show.
#[derive(Debug, Clone, Copy)]
pub struct Glyphs {
    /// From low to high.
    levels: &'static [char],
    /// A bar: what is full, what is not, what cannot be.
    bar: [char; 3],
    /// The peak on a meter.
    peak: char,
    /// Before a range.
    pub plus_minus: &'static str,
    /// Keys up and down, left and right.
    pub arrows: [&'static str; 2],
}

const UNICODE: Glyphs = Glyphs {
    levels: &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    bar: ['█', '·', ' '],
    peak: '│',
    plus_minus: "±",
    arrows: ["↑↓", "←→"],
};

const ASCII: Glyphs = Glyphs {
    levels: &['_', '.', '-', '~', '^'],
    bar: ['#', '.', ' '],
    peak: '|',
    plus_minus: "+-",
    arrows: ["up/down", "left/right"],
};

impl Default for Glyphs {
    /// Those of the locale.
    fn default() -> Self {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
        let locale = variables.filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { UNICODE } else { ASCII }
    }
}

impl Glyphs {
    /// A bar for percent, of so many cells; what is above `most` percent cannot be reached.
    pub fn bar(&self, percent: f64, most: f64, cells: usize) -> String {
        let reach = |percent: f64| (percent.clamp(0.0, 100.0) / 100.0 * cells as f64).round() as usize;
        let (full, most) = (reach(percent), reach(most));
        let cell = |cell: usize| match cell {
            cell if cell < full => self.bar[0],
            cell if cell < most => self.bar[1],
            _ => self.bar[2],
        };
        (0..cells).map(cell).collect()
    }

    /// A level on a scale of so many cells up to full scale: its RMS is the bar, its peak a mark.
    pub fn meter(&self, rms_dbfs: f64, peak_dbfs: f64, cells: usize) -> String {
        // Cells are filled as far as a level reaches into them.
        let reach = |dbfs: f64| ((1.0 + dbfs / RANGE).clamp(0.0, 1.0) * cells as f64).ceil() as usize;
        let (full, peak) = (reach(rms_dbfs), reach(peak_dbfs));
        let cell = |cell: usize| match cell {
            cell if cell < full => self.bar[0],
            cell if cell + 1 == peak => self.peak,
            _ => self.bar[1],
        };
        (0..cells).map(cell).collect()
    }

    /// Errors around zero, newest last, within plus and minus `range`; a gap where one is not known.
    pub fn errors(&self, errors: impl Iterator<Item = Option<f64>>, range: f64) -> String {
        let top = (self.levels.len() - 1) as f64;
        let level = |error: f64| (((error / range).clamp(-1.0, 1.0) + 1.0) / 2.0 * top).round() as usize;
        errors.map(|error| error.and_then(|error| self.levels.get(level(error)).copied()).unwrap_or(' ')).collect()
    }
}

/// The range that holds all errors: 20, 50, 100, 200, 500 and so on.
pub fn range(errors: impl Iterator<Item = Option<f64>>) -> f64 {
    let most = errors.flatten().map(f64::abs).fold(0.0, f64::max);
    let steps = (1..8).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    steps.filter(|step| *step >= 20.0).find(|step| *step >= most).unwrap_or(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_volume_and_limit() {
        assert_eq!(ASCII.bar(40.0, 100.0, 10), "####......");
        assert_eq!(ASCII.bar(40.0, 60.0, 10), "####..    ");
        assert_eq!(UNICODE.bar(100.0, 100.0, 3), "███");
    }

    #[test]
    fn a_meter_shows_rms_and_peak_up_to_full_scale() {
        assert_eq!(ASCII.meter(-30.0, -12.0, 10), "#####..|..");
        assert_eq!(ASCII.meter(-120.0, -120.0, 10), "..........");
        assert_eq!(ASCII.meter(-59.0, -59.0, 10), "#.........", "anything is seen");
        assert_eq!(ASCII.meter(-3.0, 0.0, 10), "##########");
        assert_eq!(ASCII.meter(-7.0, 6.0, 10), "#########|");
    }

    #[test]
    fn errors_are_around_the_middle() {
        let errors = [Some(-20.0), None, Some(0.0), Some(20.0), Some(500.0)];
        assert_eq!(ASCII.errors(errors.into_iter(), 20.0), "_ -^^");
        assert_eq!(range(errors.into_iter()), 500.0);
        assert_eq!(range([Some(-3.0)].into_iter()), 20.0);
        assert_eq!(range([Some(-51.0)].into_iter()), 100.0);
        assert_eq!(range(std::iter::empty()), 20.0);
    }
}

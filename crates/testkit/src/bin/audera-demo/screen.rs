//! The terminal: a table drawn over itself, or lines where there is no terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Standard output, and what is known about who looks at it.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    colours: bool,
    unicode: bool,
    /// Lines of the table that stands at the end of the output.
    drawn: usize,
}

/// What is to be seen at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Bad,
    Faint,
    Strong,
}

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// A narrow terminal cuts lines off, rather than breaking them: the lines of the table have to stay as many as they are.
const CUT: &str = "\x1b[?7l";
const BREAK: &str = "\x1b[?7h";
const CLEAR: &str = "\x1b[K";

impl Screen {
    pub fn new() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let terminal = io::stdout().is_terminal() && variable("TERM") != "dumb";
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|value| !value.is_empty());
        let unicode = locale.unwrap_or_default().to_uppercase().replace('-', "").contains("UTF8");
        Self { terminal, colours: terminal && variable("NO_COLOR").is_empty(), unicode, drawn: 0 }
    }

    /// Whether a table can be drawn.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A line that stays.
    pub fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.drawn = 0;
        self.write(&format!("{line}\n"))
    }

    /// A line that will be replaced by [`end`](Self::end).
    pub fn begin(&mut self, line: &str) -> Result<(), Failure> {
        if self.terminal { self.write(line) } else { Ok(()) }
    }

    /// Replaces the line of [`begin`](Self::begin).
    pub fn end(&mut self, line: &str) -> Result<(), Failure> {
        let begin = if self.terminal { "\r" } else { "" };
        let clear = if self.terminal { CLEAR } else { "" };
        self.write(&format!("{begin}{line}{clear}\n"))
    }

    /// Draws the table in place of the last one.
    pub fn draw(&mut self, lines: &[String]) -> Result<(), Failure> {
        let mut text = format!("{HIDE_CURSOR}{CUT}");
        if self.drawn > 0 {
            text += &format!("\x1b[{}A", self.drawn);
        }
        for line in lines {
            text += &format!("\r{line}{CLEAR}\n");
        }
        text += "\x1b[J";
        text += BREAK;
        self.drawn = lines.len();
        self.write(&text)
    }

    /// Takes the table away, so that what follows stands in its place.
    pub fn erase(&mut self) -> Result<(), Failure> {
        let up = if self.drawn > 0 { format!("\x1b[{}A\r\x1b[J", self.drawn) } else { String::new() };
        self.drawn = 0;
        self.write(&up)
    }

    /// The text in a colour, where there are colours.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Good => "32",
            Colour::Bad => "31;1",
            Colour::Faint => "2",
            Colour::Strong => "1",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A bar for a level from 0 to 1.
    pub fn level(&self, level: f32) -> char {
        let bars: &[char] = match self.unicode {
            true => &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            false => &[' ', '.', ':', '-', '=', '+', '*', '#', '@'],
        };
        let last = bars.len() - 1;
        bars[((level.clamp(0.0, 1.0) * last as f32).round() as usize).min(last)]
    }

    /// Microseconds, as the terminal can show them.
    pub fn micro(&self) -> &'static str {
        if self.unicode { "µs" } else { "us" }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.terminal {
            // With the terminal gone there is no cursor to be shown.
            drop(self.write(&format!("{BREAK}{SHOW_CURSOR}")));
        }
    }
}

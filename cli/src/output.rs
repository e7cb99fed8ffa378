//! What is written to standard output, and in which colours.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Effects, Style};

use crate::error::Failure;

/// What a text is, where colours may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A heading.
    Heading,
    /// What is well, and plays.
    Good,
    /// What is not as it should be.
    Bad,
    /// What matters less.
    Quiet,
    /// What is chosen.
    Chosen,
    /// All else.
    Plain,
}

/// Puts texts into colours, or leaves them.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// With colours where standard output is a terminal that has them, and nobody has asked for none (<https://no-color.org>).
    pub fn for_output() -> Self {
        let set = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Paint { colours: io::stdout().is_terminal() && !dumb && !set("NO_COLOR") }
    }

    /// The text in the colour of its kind.
    pub fn paint(self, kind: Kind, text: &str) -> String {
        let style = match kind {
            Kind::Heading => Style::new().bold(),
            Kind::Good => AnsiColor::Green.on_default(),
            Kind::Bad => AnsiColor::Red.on_default(),
            Kind::Quiet => Style::new().dimmed(),
            Kind::Chosen => Style::new().effects(Effects::BOLD | Effects::INVERT),
            Kind::Plain => Style::new(),
        };
        if self.colours && kind != Kind::Plain { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Writes a line, at once also where the output is a file or a pipe.
///
/// # Errors
/// It cannot be written.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// A text without what would move a terminal's cursor: names come from other machines.
pub fn harmless(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

//! The terminal: taken over, drawn on, given back as it was, whatever happens.

use std::io::{self, IsTerminal as _, Write as _};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{execute, queue};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::screen::Line;
use crate::error::Failure;
use crate::output::Paint;

/// A terminal that is ours until this is dropped.
#[derive(Debug)]
pub struct Terminal {
    paint: Paint,
    /// What is on the screen, so that only what has changed is written.
    drawn: Vec<String>,
    events: UnboundedReceiver<io::Result<Event>>,
}

impl Terminal {
    /// Whether there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn check() -> Result<(), Failure> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Ok(());
        }
        Err(Failure::Usage("audera top needs a terminal; audera status --watch needs none".to_owned()))
    }

    /// Takes the terminal over.
    ///
    /// # Errors
    /// It does not let itself be taken.
    pub fn open() -> Result<Self, Failure> {
        let (tell, events) = unbounded_channel();
        let terminal = Terminal { paint: Paint::for_output(), drawn: Vec::new(), events };
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        // Reading blocks, so it has a thread of its own, which ends with the program.
        std::thread::spawn(move || {
            loop {
                let event = event::read();
                let over = event.is_err();
                if tell.send(event).is_err() || over {
                    return;
                }
            }
        });
        Ok(terminal)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal does not tell.
    pub fn size(&self) -> Result<(usize, usize), Failure> {
        let (columns, rows) = terminal::size()?;
        Ok((columns.into(), rows.into()))
    }

    /// A key, or another size. May be dropped and called again at any time.
    ///
    /// # Errors
    /// The terminal is gone.
    pub async fn event(&mut self) -> Result<Event, Failure> {
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone");
        Ok(self.events.recv().await.ok_or_else(gone)??)
    }

    /// Nothing that was drawn is where it was.
    pub fn forget(&mut self) {
        self.drawn.clear();
    }

    /// Draws lines from the top; below them the screen is empty.
    ///
    /// # Errors
    /// The terminal does not take them.
    pub fn draw(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        if self.drawn.is_empty() {
            queue!(stdout, Clear(ClearType::All))?;
        }
        let painted: Vec<String> = lines
            .iter()
            .map(|line| line.spans().map(|(kind, text)| self.paint.paint(kind, text)).collect::<String>())
            .collect();
        for (row, line) in (0u16..).zip(&painted) {
            if self.drawn.get(usize::from(row)) != Some(line) {
                queue!(stdout, MoveTo(0, row))?;
                stdout.write_all(line.as_bytes())?;
                queue!(stdout, Clear(ClearType::UntilNewLine))?;
            }
        }
        if painted.len() < self.drawn.len() {
            queue!(
                stdout,
                MoveTo(0, u16::try_from(painted.len()).unwrap_or(u16::MAX)),
                Clear(ClearType::FromCursorDown)
            )?;
        }
        stdout.flush()?;
        self.drawn = painted;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nobody to tell if it fails, and nothing else to try.
        drop(execute!(io::stdout(), Show, LeaveAlternateScreen));
        drop(terminal::disable_raw_mode());
    }
}

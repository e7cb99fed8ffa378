//! The pause between attempts to connect.

use std::time::Duration;

use tokio::time::sleep;

/// Grows from [`Pause::FIRST`] to [`Pause::LONGEST`] with each attempt; a new one begins again.
#[derive(Debug)]
pub struct Pause(Duration);

impl Pause {
    /// Most absences are restarts: soon over.
    pub const FIRST: Duration = Duration::from_millis(250);
    /// Long enough to cost nothing, short enough that nobody reaches for a switch.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// A pause that begins short.
    #[must_use]
    pub const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// Waits, and longer the next time. Waiting that is given up counts as well.
    pub async fn wait(&mut self) {
        let length = self.0;
        self.0 = (length * 2).min(Self::LONGEST);
        sleep(length).await;
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

//! The pause between attempts to connect.

use std::time::Duration;

use tokio::time::sleep;

/// Grows with each attempt; a new one begins again.
#[derive(Debug)]
pub struct Pause {
    next: Duration,
    /// All pauses so far.
    waited: Duration,
}

/// What is known of a peer that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It may come back at any moment, and nobody would tell.
    Unexplained,
    /// It has taken leave, or nothing is known of it: when it is back, that will be told.
    Announced,
}

impl Pause {
    /// Most absences are restarts: soon over.
    pub const FIRST: Duration = Duration::from_millis(250);
    /// While an absence may be a cable that was pulled, or an access point that restarts: short enough that nobody reaches for a switch.
    pub const BRISK: Duration = Duration::from_secs(1);
    /// How long that is.
    pub const PATIENCE: Duration = Duration::from_secs(120);
    /// Later: a device that is switched off, and will take longer to start than this.
    pub const CALM: Duration = Duration::from_secs(10);
    /// For a peer whose return will be told. That may get lost, so it is not relied on alone.
    pub const RARE: Duration = Duration::from_secs(60);

    /// A pause that begins short.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: Self::FIRST, waited: Duration::ZERO }
    }

    /// Waits, and longer the next time. Waiting that is given up counts as well.
    pub async fn wait(&mut self, absence: Absence) {
        sleep(self.take(absence)).await;
    }

    fn take(&mut self, absence: Absence) -> Duration {
        let longest = match absence {
            Absence::Announced => Self::RARE,
            Absence::Unexplained if self.waited < Self::PATIENCE => Self::BRISK,
            Absence::Unexplained => Self::CALM,
        };
        let length = self.next.min(longest);
        self.next = (length * 2).min(Self::RARE);
        self.waited += length;
        length
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(absence: Absence, count: usize) -> Vec<u64> {
        let mut pause = Pause::new();
        (0..count).map(|_| pause.take(absence).as_millis() as u64).collect()
    }

    #[test]
    fn who_may_come_back_unsaid_is_tried_every_second_for_two_minutes() {
        let pauses = pauses(Absence::Unexplained, 200);
        assert_eq!(pauses[..4], [250, 500, 1_000, 1_000]);
        let brisk = pauses.iter().take_while(|pause| **pause <= 1_000).sum::<u64>();
        assert!((120_000..=121_000).contains(&brisk), "{brisk} ms");
        assert_eq!(pauses[190..], [10_000; 10]);
    }

    #[test]
    fn who_will_announce_itself_is_tried_ever_more_rarely() {
        assert_eq!(pauses(Absence::Announced, 11)[..3], [250, 500, 1_000]);
        assert_eq!(pauses(Absence::Announced, 11)[8..], [60_000; 3]);
    }
}

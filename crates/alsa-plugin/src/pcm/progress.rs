//! The two counts of a PCM and what follows from them. Plain arithmetic, no alsa-lib.

use super::{Io, Setup, State, Stream, Tuning};

/// The counts since the PCM was prepared, and the thresholds they meet.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    stream: Stream,
    buffer: u64,
    tuning: Tuning,
    /// At which alsa-lib's own counts start again from nought: a multiple of the buffer.
    boundary: u64,
    /// Frames that the application has given or taken, as alsa-lib last told.
    applied: u64,
    /// The same as alsa-lib counts them.
    told: u64,
    /// Frames given since, which alsa-lib has not counted yet.
    given: u64,
    /// Frames that the plugin has played or recorded.
    position: u64,
    /// How many of them alsa-lib has been told of.
    shown: u64,
    /// That count where alsa-lib's own was last nought.
    origin: u64,
}

/// As long as alsa-lib has not said.
const NO_BOUNDARY: u64 = 1 << 62;

impl Progress {
    pub fn new(stream: Stream) -> Self {
        let tuning = Tuning { wake: 1, start: 1, stop: u64::MAX };
        let (applied, told, given, position, shown, origin) = (0, 0, 0, 0, 0, 0);
        Self { stream, buffer: 0, tuning, boundary: NO_BOUNDARY, applied, told, given, position, shown, origin }
    }

    pub fn set_up(&mut self, setup: &Setup) {
        self.buffer = setup.buffer;
        self.boundary = NO_BOUNDARY;
        self.restart();
    }

    pub fn tune(&mut self, tuning: Tuning, boundary: u64) {
        self.tuning = tuning;
        self.boundary = if boundary == 0 { NO_BOUNDARY } else { boundary };
    }

    /// The PCM is prepared: all counts are nought.
    pub fn restart(&mut self) {
        (self.applied, self.told, self.given) = (0, 0, 0);
        (self.position, self.shown, self.origin) = (0, 0, 0);
    }

    /// Takes alsa-lib's counts of the application and of the plugin, while it holds its lock. Both wrap around, the
    /// application's may have been moved, and both may have been set to nought (`snd_pcm_reset`), which alsa-lib tells
    /// nobody of. Tells whether the application, if it plays, is elsewhere than where the last frames it gave have brought
    /// it.
    pub fn follow(&mut self, told: u64, shown: u64) -> bool {
        let expected = self.applied();
        // alsa-lib's count of the plugin is what it was last told, or else has been set to nought.
        if shown == 0 && self.counted(self.shown) != 0 {
            (self.origin, self.applied, self.told) = (self.shown, self.shown, 0);
        }
        let ahead = (told + self.boundary).wrapping_sub(self.told) % self.boundary;
        self.applied = if ahead > self.boundary / 2 {
            self.applied.saturating_sub(self.boundary - ahead)
        } else {
            self.applied + ahead
        };
        (self.told, self.given) = (told, 0);
        self.stream == Stream::Playback && self.applied != expected
    }

    /// The application has given so many frames, which alsa-lib will count.
    pub fn give(&mut self, frames: u64) {
        self.given += frames;
    }

    /// Frames that the application has given or taken.
    fn applied(&self) -> u64 {
        self.applied + self.given
    }

    /// A position as alsa-lib counts.
    fn counted(&self, position: u64) -> u64 {
        position.wrapping_sub(self.origin) % self.boundary
    }

    /// Takes the plugin's count. It does not go back, and a drain ends with the last frame.
    pub fn move_to(&mut self, position: u64, state: State) {
        let last = if state == State::Draining && self.stream == Stream::Playback { self.applied() } else { u64::MAX };
        self.position = self.position.max(position.min(last));
    }

    /// The plugin's count as alsa-lib wants it, which it takes over.
    pub fn show(&mut self) -> u64 {
        self.shown = self.position;
        self.counted(self.shown)
    }

    /// Frames that the application could transfer.
    fn available(&self) -> u64 {
        let waiting = self.applied().wrapping_sub(self.position) as i64;
        match self.stream {
            Stream::Playback => u64::try_from(self.buffer as i64 - waiting).unwrap_or(0),
            Stream::Capture => u64::try_from(waiting.wrapping_neg()).unwrap_or(0),
        }
    }

    /// Whether it has run dry, or over.
    pub fn has_xrun(&self, state: State) -> bool {
        state == State::Running && self.available() >= self.tuning.stop
    }

    /// Whether the application is to be woken.
    pub fn is_due(&self, state: State) -> bool {
        match state {
            State::Draining if self.stream == Stream::Playback => self.position >= self.applied(),
            _ => self.available() >= self.tuning.wake.min(self.tuning.stop),
        }
    }

    /// The position from which the application is to be woken.
    pub fn wake_at(&self, state: State) -> u64 {
        let applied = self.applied();
        if !state.has_position() {
            return 0;
        }
        let wanted = self.tuning.wake.min(self.tuning.stop);
        match (state, self.stream) {
            (State::Draining, Stream::Playback) => applied,
            (_, Stream::Playback) => applied.saturating_add(wanted).saturating_sub(self.buffer),
            (_, Stream::Capture) => applied.saturating_add(wanted),
        }
    }

    pub fn io(&self, state: State, nonblocking: bool) -> Io {
        Io { state, nonblocking, applied: self.applied(), position: self.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    const BOUNDARY: u64 = 1000 << 20;

    fn progress(stream: Stream) -> Progress {
        let mut progress = Progress::new(stream);
        progress.set_up(&Setup { format: Format::S16, channels: 2, rate: 48_000, period: 250, buffer: 1000 });
        progress.tune(Tuning { wake: 250, start: 1000, stop: 1000 }, BOUNDARY);
        progress
    }

    #[test]
    fn an_application_is_woken_when_there_is_room() {
        let mut progress = progress(Stream::Playback);
        assert!(progress.is_due(State::Prepared));
        progress.follow(1000, 0);
        assert!(!progress.is_due(State::Running));
        assert_eq!(progress.wake_at(State::Running), 250);
        progress.move_to(250, State::Running);
        assert!(progress.is_due(State::Running) && !progress.has_xrun(State::Running));
        // What alsa-lib will only count after the transfer.
        progress.give(250);
        assert_eq!(progress.wake_at(State::Running), 500);
        assert!(!progress.follow(1250, 0));
        assert_eq!(progress.wake_at(State::Running), 500);
        progress.move_to(1250, State::Running);
        assert!(progress.has_xrun(State::Running) && !progress.has_xrun(State::Draining));
    }

    #[test]
    fn one_that_wants_no_xrun_has_none() {
        let mut progress = progress(Stream::Playback);
        progress.tune(Tuning { wake: 250, start: 1000, stop: BOUNDARY }, BOUNDARY);
        progress.follow(1000, 0);
        progress.move_to(5000, State::Running);
        assert!(!progress.has_xrun(State::Running));
        assert_eq!(progress.io(State::Running, false).waiting(Stream::Playback), -4000);
    }

    #[test]
    fn one_that_wants_to_be_woken_only_by_an_xrun_is() {
        let mut progress = progress(Stream::Playback);
        progress.tune(Tuning { wake: BOUNDARY, start: 1000, stop: 1000 }, BOUNDARY);
        progress.follow(400, 0);
        assert_eq!(progress.wake_at(State::Running), 400);
        progress.move_to(400, State::Running);
        assert!(progress.is_due(State::Running));
    }

    #[test]
    fn a_drain_ends_with_the_last_frame() {
        let mut progress = progress(Stream::Playback);
        progress.follow(700, 0);
        progress.move_to(300, State::Running);
        assert_eq!(progress.wake_at(State::Draining), 700);
        assert!(!progress.is_due(State::Draining));
        progress.move_to(900, State::Draining);
        assert_eq!(progress.position, 700);
        assert!(progress.is_due(State::Draining));
    }

    #[test]
    fn a_recording_is_due_when_there_is_enough_of_it() {
        let mut progress = progress(Stream::Capture);
        assert!(!progress.is_due(State::Running));
        assert_eq!(progress.wake_at(State::Running), 250);
        progress.move_to(600, State::Running);
        assert!(progress.is_due(State::Running));
        progress.follow(600, 0);
        assert_eq!(progress.wake_at(State::Running), 850);
        progress.move_to(1600, State::Running);
        assert!(progress.has_xrun(State::Running));
    }

    #[test]
    fn counts_go_on_where_those_of_alsa_lib_begin_anew_and_back_where_they_go_back() {
        let mut progress = progress(Stream::Playback);
        let mut expected = 0;
        // Nine times around, and back a little now and then.
        for step in 0..9 * BOUNDARY / 900 / 1000 {
            expected += 900_000;
            progress.follow(expected % BOUNDARY, 0);
            if step % 5 == 0 {
                expected -= 300;
                progress.follow(expected % BOUNDARY, 0);
            }
            assert_eq!(progress.io(State::Running, false).applied, expected);
        }
        progress.move_to(expected, State::Running);
        assert_eq!(progress.show(), expected % BOUNDARY);
    }

    #[test]
    fn an_application_that_goes_elsewhere_is_noticed() {
        let mut progress = progress(Stream::Playback);
        assert!(progress.follow(900, 0), "skipped, as nothing was given");
        progress.give(100);
        assert!(!progress.follow(1000, 0));
        assert!(progress.follow(600, 0), "taken back");
        assert!(!progress.follow(600, 0));
        assert_eq!(progress.wake_at(State::Running), 0);
        progress.give(50);
        assert!(progress.follow(600, 0), "given and taken back at once");
    }

    #[test]
    fn counts_that_are_set_to_nought_are_told_from_those_that_wrap_around() {
        for (start, wraps) in [(0, false), (BOUNDARY - 700, true)] {
            let mut progress = progress(Stream::Playback);
            for at in (0..start).step_by(BOUNDARY as usize / 4).chain([start, start + 1000]) {
                progress.follow(at % BOUNDARY, 0);
            }
            progress.move_to(start + 700, State::Running);
            let shown = progress.show();
            assert_eq!(shown == 0, wraps);
            assert!(!progress.follow((start + 1000) % BOUNDARY, shown));
            // A reset leaves nothing to be played, from where alsa-lib knew the plugin to be.
            progress.move_to(start + 750, State::Running);
            assert!(progress.follow(0, 0));
            let (io, applied) = (progress.io(State::Running, false), start + 700);
            assert_eq!((io.applied, io.position), (applied, start + 750));
            assert!(progress.has_xrun(State::Running));
            progress.give(200);
            assert!(!progress.follow(200, 0));
            assert_eq!((progress.show(), progress.applied()), (50, start + 900));
            assert!(!progress.follow(200, 50));
        }
    }

    #[test]
    fn what_is_no_device_any_more_wakes_at_once() {
        let mut progress = progress(Stream::Playback);
        progress.follow(1000, 0);
        for state in [State::Setup, State::Xrun, State::Suspended, State::Disconnected] {
            assert_eq!(progress.wake_at(state), 0, "{state:?}");
        }
    }
}

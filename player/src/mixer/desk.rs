//! The thread that speaks with the card's mixer: finds the element, keeps it and the samples where the room is to be, and tells of hands on it.
//!
//! A card that comes is brought to the state of the room before anything is heard, and the samples are silence while there is none. When a
//! card comes, programs of the system put its mixer to where it was some other day (`alsactl restore`); for the first two seconds that is turned back, as it
//! is nobody's wish. After that, who moves the element moves the room.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alsa::poll::{Flags, poll, pollfd};
use audera_wire::{ChannelMode, Volume};
use tokio::sync::watch;

use super::course::{Course, Step, Target, Turn};
use super::element::{Cards, Element};
use super::scale::Scale;
use super::{MixerError, Orders, Turned, Waiting};
use crate::chime;
use crate::level::Level;

/// Between two looks for a card that is not there.
const RETRY: Duration = Duration::from_secs(5);
/// As long after a card has come, the room is not taken along by its mixer.
const SETTLING: Duration = Duration::from_secs(2);
/// Between two looks at an audio thread whose ramp is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// So often in a row the element is looked at because it was moved while steps were taken; a hand is not as fast. An element whose volume and
/// switch move each other would be looked at for ever.
const MOST_LOOKS: usize = 8;
/// What a sample takes at most from a device's buffer to the ear, in the card.
const BEYOND_BUFFER: Duration = Duration::from_millis(20);
/// How much longer than it lasts a chime has room above the music, besides what the device holds.
const CHIME_SPARE: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Desk<C: Cards> {
    cards: C,
    orders: Arc<Orders>,
    level: Arc<Level>,
    turned: watch::Sender<Turned>,
    /// Why the element is not where it should be, while it is not.
    fault: watch::Sender<Option<MixerError>>,
    card: Option<Card<C::Element>>,
    /// When a card is looked for next.
    attempt: Option<Instant>,
    /// What was told of last.
    trouble: Option<MixerError>,
    /// What hands have done that the room has not answered, and how often they have.
    turn: Turn,
    turns: u64,
    mode: ChannelMode,
    /// What a device's buffer holds.
    latency: Duration,
    unheard: Option<Unheard>,
    /// What samples in the buffer may have been multiplied by when a card was lost.
    lost_at: f64,
    chime: Option<Chime>,
    waiting: Vec<Waiting>,
}

/// A card that is there.
struct Card<E> {
    element: E,
    course: Course,
    came: Instant,
    /// It was told that it does not stay where it is put.
    is_unruly: bool,
}

/// What samples are multiplied by was changed, and may not be heard yet.
#[derive(Default)]
struct Unheard {
    /// When the audio thread was seen to have come there.
    arrived: Option<Instant>,
}

/// What is to be done when all work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Then {
    /// Nothing, until the bell rings or somebody has a hand on the element, and so long at most if that is told.
    Sleep(Option<Duration>),
    /// That was the last: the orders are closed.
    End,
}

/// Whether a hand was on the element while steps were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Look {
    Again,
    Done,
}

/// A chime that is to be heard, or has been begun.
struct Chime {
    volume: Volume,
    until: Option<Instant>,
}

impl<C: Cards> Desk<C> {
    pub(super) fn new(
        cards: C,
        orders: Arc<Orders>,
        level: Arc<Level>,
        turned: watch::Sender<Turned>,
        fault: watch::Sender<Option<MixerError>>,
    ) -> Self {
        Desk {
            cards,
            orders,
            level,
            turned,
            fault,
            card: None,
            attempt: None,
            trouble: None,
            turn: Turn::default(),
            turns: 0,
            mode: ChannelMode::Stereo,
            latency: Duration::ZERO,
            unheard: None,
            lost_at: 0.0,
            chime: None,
            waiting: Vec::new(),
        }
    }

    /// Works until the orders are closed; `bell` rings when there are new ones.
    pub(super) fn run(mut self, bell: &UnixStream) {
        while let Then::Sleep(pause) = self.work(Instant::now()) {
            if let Err(error) = self.sleep(bell, pause) {
                self.gone(Instant::now(), error);
            }
        }
    }

    /// Waits for the bell, for hands on the element, or until time is up.
    ///
    /// # Errors
    /// That the card is not there any more.
    fn sleep(&self, mut bell: &UnixStream, pause: Option<Duration>) -> Result<(), MixerError> {
        let mut descriptors = vec![pollfd { fd: bell.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        if let Some(card) = &self.card {
            descriptors.extend(card.element.descriptors()?);
        }
        // Rounded up, so that time is up then.
        let limit = pause.map_or(-1, |pause| i32::try_from(pause.as_millis() + 1).unwrap_or(i32::MAX));
        if poll(&mut descriptors, limit).is_err() {
            // A signal; there is nothing else that could be wrong.
            return Ok(());
        }
        while matches!(bell.read(&mut [0; 64]), Ok(1..)) {}
        let broken = Flags::ERR | Flags::HUP | Flags::NVAL;
        match descriptors[1..].iter().any(|one| Flags::from_bits_truncate(one.revents).intersects(broken)) {
            true => Err(MixerError::Gone),
            false => Ok(()),
        }
    }

    /// The card cannot be watched: it is looked for anew, at once if it had been there for a while.
    fn gone(&mut self, now: Instant, why: MixerError) {
        let Some(card) = &self.card else { return };
        if now.saturating_duration_since(card.came) < RETRY {
            // One that can be opened and not watched would be opened again and again.
            self.attempt = Some(now + RETRY);
            self.tell(&why);
        } else {
            tracing::debug!("{why}");
        }
        self.lose();
    }

    /// Does all that is to be done at this time.
    fn work(&mut self, now: Instant) -> Then {
        let (target, most, mode, answered, ring) = {
            let mut open = self.orders.lock();
            if open.closed {
                return Then::End;
            }
            self.waiting.append(&mut open.waiting);
            (open.target, open.most, open.mode, open.answered, open.ring.take())
        };
        self.mode_is(mode);
        if let Some(waiting) = self.waiting.last() {
            self.latency = waiting.latency.to_duration();
        }
        if let Some(volume) = ring {
            self.chime = Some(Chime { volume, until: None });
        }
        let mut found = self.bring(now, target, most, answered);
        if let (Err(error), true) = (&found, self.card.is_some()) {
            let error = error.clone();
            self.tell(&error);
            self.lose();
            // It may be there again already: somebody is about to play to it.
            found = self.bring(now, target, most, answered);
            if let (Err(error), true) = (&found, self.card.is_some()) {
                let error = error.clone();
                self.tell(&error);
                self.lose();
                self.attempt = Some(now + RETRY);
            }
        }
        match &found {
            Ok(()) if self.trouble.take().is_some() => tracing::info!("the card's mixer is there again"),
            Ok(()) => {}
            // What could not be heard then is not to be heard some day.
            Err(_) => self.chime = None,
        }
        // Before anybody is answered: a device that plays is not to be taken for one whose element is not where it should be.
        let fault = found.as_ref().err();
        self.fault.send_if_modified(|told| {
            let differs = told.as_ref() != fault;
            if differs {
                *told = fault.cloned();
            }
            differs
        });
        let awaits = found.is_ok() && self.awaits();
        if !awaits {
            for waiting in self.waiting.drain(..) {
                // Who does not wait any more does not play.
                let _ = waiting.answer.send(found.clone());
            }
        }
        let until = |then: Option<Instant>| then.map(|then| then.saturating_duration_since(now));
        let heard = self.unheard.as_ref().filter(|_| awaits).map(|unheard| match unheard.arrived {
            Some(arrived) => self.heard_at(arrived).saturating_duration_since(now),
            None => LOOK,
        });
        let chime = self.chime.as_ref().and_then(|chime| until(chime.until));
        Then::Sleep([heard, chime, until(self.attempt)].into_iter().flatten().min())
    }

    /// Brings the element, if there is one, to where it should be, as far as can be done now.
    fn bring(&mut self, now: Instant, target: Target, most: Volume, answered: u64) -> Result<(), MixerError> {
        self.find(now, target)?;
        self.serve(now, target, most, answered)?;
        self.let_through(target, most);
        Ok(())
    }

    /// Has a room heard again that was mute, now that element and samples together are no louder than it is to be.
    fn let_through(&self, target: Target, most: Volume) {
        // Held until that is done: the room may be about to be mute again. And if anything has been ordered since, these two are where it
        // was to be before.
        let open = self.orders.lock();
        if !target.mute && (open.target, open.most) == (target, most) {
            self.level.unmute();
        }
    }

    /// Sees to it that there is a card, if there is one to be had.
    fn find(&mut self, now: Instant, target: Target) -> Result<(), MixerError> {
        if self.card.is_some() {
            return Ok(());
        }
        let due = self.attempt.is_none_or(|attempt| now >= attempt);
        if !due && self.waiting.is_empty() {
            return self.trouble.clone().map_or(Err(MixerError::Gone), Err);
        }
        let buffered = if self.settled(now) { 0.0 } else { self.lost_at };
        let opened = self.cards.open().and_then(|mut element| {
            let (least, most) = element.range();
            let scale = Scale::new(least, most, |raw| element.millibels(raw));
            let position = element.position()?;
            let decibels = scale.has_decibels();
            tracing::debug!(least, most, decibels, switch = position.on.is_some(), "the card's mixer is there");
            Ok(Card { element, course: Course::new(scale, position, target, buffered), came: now, is_unruly: false })
        });
        match opened {
            Ok(card) => {
                (self.card, self.attempt) = (Some(card), None);
                Ok(())
            }
            Err(error) => {
                self.attempt = Some(now + RETRY);
                self.tell(&error);
                Err(error)
            }
        }
    }

    /// The card is gone, or as good as gone: silence, until it has been found again.
    fn lose(&mut self) {
        if let Some(card) = self.card.take() {
            self.lost_at = card.course.buffered();
        }
        self.chime = None;
        self.turn = Turn::default();
        self.put(0.0);
    }

    /// One line for each trouble.
    fn tell(&mut self, error: &MixerError) {
        if self.trouble.as_ref() != Some(error) {
            tracing::error!("nothing can be played: {error}");
            self.trouble = Some(error.clone());
        }
    }

    /// Reads where the element is, tells of hands on it, and goes as far as it can be gone now.
    fn serve(&mut self, now: Instant, target: Target, most: Volume, answered: u64) -> Result<(), MixerError> {
        // What was read here wakes nobody any more, so nothing of it is left for later.
        for _ in 0..MOST_LOOKS {
            if self.look(now, target, most, answered)? == Look::Done {
                return Ok(());
            }
        }
        self.leave(now)
    }

    /// Makes do with where the element is, since it does not stay where it is put.
    fn leave(&mut self, now: Instant) -> Result<(), MixerError> {
        let Some(Card { element, course, is_unruly, .. }) = &mut self.card else { return Ok(()) };
        // By now that is the card's doing, and nobody's wish.
        let _ = course.found(element.position()?);
        course.leave();
        if !std::mem::replace(is_unruly, true) {
            tracing::warn!("volume and switch of the card's mixer move each other; it is left where it is");
        }
        // There is nothing left to do but with the samples.
        let _ = self.follow(now)?;
        Ok(())
    }

    fn look(&mut self, now: Instant, target: Target, most: Volume, answered: u64) -> Result<Look, MixerError> {
        let Some(Card { element, course, came, .. }) = &mut self.card else { return Ok(Look::Done) };
        let turn = course.found(element.position()?);
        // What the card was put to for a chime, or by the system when it came, is no wish of anybody.
        let by_hand = now.saturating_duration_since(*came) >= SETTLING && !course.is_lifted();
        if by_hand && !turn.is_empty() {
            self.turn = self.turn.and(turn);
            self.turns += 1;
            self.turned.send_replace(Turned { number: self.turns, turn: self.turn });
        }
        if answered == self.turns {
            self.turn = Turn::default();
        }
        // As the room will be when it has answered, as far as is known here; the limit need not wait for that.
        course.aim(Target {
            volume: self.turn.volume.unwrap_or(target.volume).min(most),
            mute: self.turn.mute.unwrap_or(target.mute),
        });
        if self.chime.as_ref().is_some_and(|chime| chime.until.is_some_and(|until| now >= until)) {
            self.chime = None;
        }
        self.follow(now)
    }

    /// Takes one step after the other.
    fn follow(&mut self, now: Instant) -> Result<Look, MixerError> {
        loop {
            let settled = self.settled(now);
            let Some(Card { element, course, .. }) = &mut self.card else { return Ok(Look::Done) };
            course.lift(self.chime.as_ref().map(|chime| chime.volume));
            let step = course.next(settled);
            match step {
                Step::Await => return Ok(Look::Done),
                Step::Rest => {
                    if let Some(chime) = self.chime.as_mut().filter(|chime| chime.until.is_none()) {
                        chime.until = Some(now + chime::LENGTH + CHIME_SPARE + self.latency);
                        self.level.ring_at(course.gain_of(chime.volume) as f32);
                    }
                    return Ok(Look::Done);
                }
                Step::Volume(raw) => element.set_volume(raw)?,
                Step::Switch(on) => element.set_switch(on)?,
                Step::Software(_) => {}
            }
            course.taken(step);
            if matches!(step, Step::Volume(_) | Step::Switch(_)) && course.read_back(step, element.position()?) {
                return Ok(Look::Again);
            }
            if let Step::Software(gain) = step {
                self.put(gain);
            }
        }
    }

    /// Has samples multiplied by this.
    fn put(&mut self, gain: f64) {
        self.level.put(gain as f32, self.mode);
        self.unheard = Some(Unheard::default());
    }

    /// Which channel is heard where is the samples' matter alone.
    fn mode_is(&mut self, mode: ChannelMode) {
        if self.mode != mode {
            self.mode = mode;
            self.put(self.card.as_ref().map_or(0.0, |card| card.course.software()));
        }
    }

    /// Whether what samples are multiplied by is heard, and nothing from before.
    fn settled(&mut self, now: Instant) -> bool {
        let Some(unheard) = &mut self.unheard else { return true };
        if self.level.has_leveller() {
            if !self.level.has_arrived() {
                unheard.arrived = None;
                return false;
            }
            let arrived = *unheard.arrived.get_or_insert(now);
            if now < self.heard_at(arrived) {
                return false;
            }
        }
        self.unheard = None;
        true
    }

    fn heard_at(&self, arrived: Instant) -> Instant {
        arrived + self.latency + BEYOND_BUFFER
    }

    /// Whether there is more to do once samples are heard.
    fn awaits(&mut self) -> bool {
        self.unheard.is_some() && self.card.as_mut().is_some_and(|card| card.course.next(false) == Step::Await)
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;

//! The room's volume at the card's own mixer (`mixer = "Digital"`), where an element of the card and the samples share it.
//!
//! `scale` divides a volume between the two, `course` finds the order of steps in which nothing is ever louder than asked for, `element` is the
//! card's side and `desk` the thread `audera-mixer`, which is the only one that speaks with the mixer: a driver may take long to answer, and the
//! audio thread must not wait for it, nor the network thread.
//!
//! Both ways: what the room becomes goes to the desk as [`Orders`], and what somebody does to the element (alsamixer, a knob) comes back as [`Turned`], for the
//! room to take over. The desk turns nothing back before the room has answered, so a hand on a slider meets no echo.

mod course;
mod desk;
mod element;
mod scale;

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use audera_clock::Span;
use audera_wire::{ChannelMode, RoomState, Volume};
use thiserror::Error;
use tokio::sync::watch;

use crate::level::Level;
use course::Target;
pub use course::Turn;
use desk::Desk;
use element::AlsaCards;

/// A card's mixer answers in milliseconds, or its driver hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Where the element is that has a part in the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixerName {
    /// The mixer, as `amixer -D` takes it.
    pub device: String,
    /// The element.
    pub element: ElementName,
}

/// An element of a mixer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementName {
    /// The name that `amixer scontrols` lists.
    pub name: String,
    /// Tells elements of one name apart.
    pub index: u32,
}

/// As the configuration takes it.
impl fmt::Display for ElementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            // What is behind the last comma of a name would be taken for its number.
            0 if !self.name.contains(',') => f.write_str(&self.name),
            index => write!(f, "{},{index}", self.name),
        }
    }
}

/// Why a card's mixer cannot have a part in the volume. Nothing plays then, since nobody knows how loud that would be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MixerError {
    /// The mixer cannot be opened.
    #[error(
        "the mixer {device} cannot be opened ({detail}); `amixer -D {device} scontrols` tells more, and mixer-device names another"
    )]
    NotOpen {
        /// The mixer.
        device: String,
        /// What the system said.
        detail: String,
    },
    /// It has no such element.
    #[error("the mixer {} has no element \"{}\" with a playback volume; those that have one: {there}", name.device, name.element)]
    NoElement {
        /// The element.
        name: MixerName,
        /// Those that there are.
        there: String,
    },
    /// The element fails.
    #[error("the element \"{}\" of the mixer {} fails: {detail}", name.element, name.device)]
    Failed {
        /// The element.
        name: MixerName,
        /// What the system said.
        detail: String,
    },
    /// It has gone.
    #[error("the card's mixer has gone")]
    Gone,
    /// The thread that speaks with it does not answer.
    #[error("the card's mixer has not answered for {} s", ANSWER_LIMIT.as_secs())]
    Slow,
    /// There is no such thread.
    #[error("the card's mixer cannot be watched: {0}")]
    NoThread(String),
}

/// What somebody has done to the card's element since the room last answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Turned {
    /// Counts the times; to be handed back with the answer.
    pub number: u64,
    /// All of it.
    pub turn: Turn,
}

/// What the desk is told, by whichever thread.
#[derive(Debug)]
pub struct Orders {
    open: Mutex<Open>,
    /// Wakes the desk. Never blocks; when it is full, the desk is about to wake anyway.
    bell: UnixStream,
}

/// Orders that are in force, and those not yet looked at.
#[derive(Debug)]
struct Open {
    target: Target,
    most: Volume,
    mode: ChannelMode,
    /// The number of the last turn that the room has answered.
    answered: u64,
    ring: Option<Volume>,
    waiting: Vec<Waiting>,
    closed: bool,
}

/// Somebody waits for the element to be where it should be.
#[derive(Debug)]
struct Waiting {
    latency: Span,
    answer: mpsc::SyncSender<Result<(), MixerError>>,
}

impl Orders {
    /// Orders to bring a room of this state about, and what rings when there are more.
    fn new(state: &RoomState) -> io::Result<(Arc<Self>, UnixStream)> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let open = Open {
            target: Target { volume: state.volume, mute: state.mute },
            most: state.max_volume,
            mode: state.channel_mode,
            answered: 0,
            ring: None,
            waiting: Vec::new(),
            closed: false,
        };
        Ok((Arc::new(Orders { open: Mutex::new(open), bell }), rung))
    }

    /// The room is like this now.
    pub fn aim(&self, state: &RoomState) {
        self.order(|open| open.aim(state));
    }

    /// The room has taken over what of a turn it may, and is like this.
    pub fn answer(&self, number: u64, state: &RoomState) {
        self.order(|open| {
            open.aim(state);
            open.answered = number;
        });
    }

    /// A chime is to be heard this loud.
    pub fn ring(&self, volume: Volume) {
        self.order(|open| open.ring = Some(volume));
    }

    fn order(&self, change: impl FnOnce(&mut Open)) {
        change(&mut self.lock());
        // See the field.
        let _ = (&self.bell).write(&[1]);
    }

    /// What a panic has left behind is whole: each order is a few assignments.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn aim(&mut self, state: &RoomState) {
        self.target = Target { volume: state.volume, mute: state.mute };
        (self.most, self.mode) = (state.max_volume, state.channel_mode);
    }
}

/// What there is when a mixer has been started.
#[derive(Debug)]
pub struct Started {
    /// The mixer.
    pub mixer: Arc<Mixer>,
    /// The level of the samples: silence until the element is where it should be.
    pub level: Arc<Level>,
    /// What hands do to the element.
    pub turns: watch::Receiver<Turned>,
}

/// The card's mixer at work; it is left as it is when this is dropped.
#[derive(Debug)]
pub struct Mixer {
    orders: Arc<Orders>,
    fault: watch::Receiver<Option<MixerError>>,
}

impl Mixer {
    /// Begins to bring the element to the state of the room, in a thread of its own.
    ///
    /// # Errors
    /// [`MixerError::NoThread`]. Whether there is such an element is found out later: the card may be plugged in any time.
    pub fn start(name: MixerName, state: &RoomState) -> Result<Started, MixerError> {
        let failed = |error: io::Error| MixerError::NoThread(error.to_string());
        let (orders, bell) = Orders::new(state).map_err(failed)?;
        let level = Level::behind(orders.clone());
        let (turned, turns) = watch::channel(Turned::default());
        let (tell_fault, fault) = watch::channel(None);
        let desk = Desk::new(AlsaCards(name), orders.clone(), level.clone(), turned, tell_fault);
        // Not joined: a driver that hangs is not to keep the player from ending.
        thread::Builder::new().name("audera-mixer".to_owned()).spawn(move || desk.run(&bell)).map_err(failed)?;
        Ok(Started { mixer: Arc::new(Mixer { orders, fault }), level, turns })
    }

    /// Waits until the element is where it should be, before a device with a buffer of this `latency` makes its first sound.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn ready(&self, latency: Span) -> Result<(), MixerError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.orders.order(|open| open.waiting.push(Waiting { latency, answer }));
        answered.recv_timeout(ANSWER_LIMIT).unwrap_or(Err(MixerError::Slow))
    }

    /// Waits until the element is not where it should be and cannot be brought there; nothing is heard from then on. Cancel-safe.
    pub async fn failed(&self) -> MixerError {
        let mut fault = self.fault.clone();
        let found = fault.wait_for(Option::is_some).await.ok().and_then(|fault| fault.clone());
        match found {
            Some(error) => error,
            // The thread has ended, and the player is about to.
            None => std::future::pending().await,
        }
    }

    /// The room has taken over what of a turn it may, and is like this.
    pub fn answer(&self, number: u64, state: &RoomState) {
        self.orders.answer(number, state);
    }
}

impl Drop for Mixer {
    fn drop(&mut self) {
        self.orders.order(|open| open.closed = true);
    }
}

//! The room's output device between streams: opened when one begins, handed from one to the next, released when idle.
//!
//! Devices may take long to open and close, so that happens on tokio's blocking threads, one step at a time, while the
//! network thread goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audera_clock::Span;
use audera_playout::{Config as PlayoutConfig, Puller, playout};
use audera_wire::RoomState;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, Interval, sleep_until};

use crate::chime;
use crate::handover::{Switch, handover};
use crate::level::{Level, Leveller};
use crate::memory;
use crate::output::{DeviceFormat, Output, OutputError, Playing};

/// A device may take so long to begin, besides its latency, after it was opened for a chime.
const CHIME_BEGINS: Duration = Duration::from_millis(800);
/// Between two looks at how the device fares: often enough for a status each second.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What the device is opened for when it is for the chime alone: the usual stream, so that it can go on with one.
const IDLE: StreamShape = StreamShape { rate: 48_000, channels: 2, latency: Span::from_millis(80) };
/// The most frames a device pulls at once then; the largest quantum of PipeWire.
const IDLE_PULL: usize = 8192;
/// Room for no sound: more than is pulled at once.
const IDLE_CAPACITY: Span = Span::from_millis(200);

struct StreamShape {
    rate: u32,
    channels: u16,
    latency: Span,
}

/// What a stream asks of the device.
enum Order {
    Play {
        rate: u32,
        channels: u16,
        latency: Span,
        puller: Box<Puller>,
        outcome: oneshot::Sender<Result<(), PlayError>>,
    },
    Silence,
    Chime(Box<RoomState>),
    Release {
        done: oneshot::Sender<()>,
    },
    IdleRelease(Duration),
}

/// Why the device does not play a stream.
#[derive(Debug, Error)]
pub enum PlayError {
    /// It cannot be opened.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// It is open and takes no other stream.
    #[error("the output does not pull")]
    Stuck,
    /// Its task is not there any more.
    #[error("the output has ended")]
    Ended,
    /// What has opened it has broken down.
    #[error("the output is lost: {0}")]
    Lost(String),
}

impl PlayError {
    /// Whether the device is there, and only the mixer of its card not where it should be.
    #[must_use]
    pub fn is_of_the_mixer(&self) -> bool {
        matches!(self, PlayError::Output(OutputError::Mixer { .. }))
    }
}

/// How the device fares, for the status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceState {
    /// What the device is called.
    pub name: String,
    /// Whether it is open.
    pub open: bool,
    /// Underruns of the device since the player started.
    pub xruns: u64,
    /// Latency of the device as it says.
    pub latency: Span,
    /// Counts the times the device failed while it was open; the stream that played must ask anew.
    pub failures: u64,
    /// What failed last.
    pub failure: Option<String>,
}

/// Handle to the device's task.
#[derive(Debug, Clone)]
pub struct Speaker {
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<DeviceState>,
    /// A chime is asked for and has not begun: while the device opens, one is enough.
    rung: Arc<AtomicBool>,
}

impl Speaker {
    /// The handle, and the device's task, which serves it as long as there is a clone of it.
    pub fn new(output: Box<dyn Output>, level: Arc<Level>, idle_release: Duration) -> (Self, impl Future<Output = ()>) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let first = DeviceState { name: output.name(), ..DeviceState::default() };
        let (tell, state) = watch::channel(first);
        let rung = Arc::new(AtomicBool::new(false));
        let device = Device {
            output: Some(output),
            level,
            running: None,
            past_xruns: 0,
            idle_release,
            idle_since: None,
            chimes_until: Instant::now(),
            tell,
            rung: rung.clone(),
        };
        (Speaker { orders, state, rung }, device.run(inbox))
    }

    /// Plays a stream that began with this `latency`; what played before is faded out. Resolves when the device plays.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn play(&self, rate: u32, channels: u16, latency: Span, puller: Box<Puller>) -> Result<(), PlayError> {
        let (outcome, answer) = oneshot::channel();
        let order = Order::Play { rate, channels, latency, puller, outcome };
        self.orders.send(order).map_err(|_| PlayError::Ended)?;
        answer.await.map_err(|_| PlayError::Ended)?
    }

    /// Nothing plays any more; the device is released after the idle time.
    pub fn silence(&self) {
        // Without a task there is no device left to be silent.
        let _ = self.orders.send(Order::Silence);
    }

    /// Has the chime sound at the level of this state; a device that is not open is opened for it.
    pub fn chime(&self, state: &RoomState) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            // As in `silence`.
            let _ = self.orders.send(Order::Chime(Box::new(state.clone())));
        }
    }

    /// Changes how long an idle device stays open.
    pub fn set_idle_release(&self, idle_release: Duration) {
        // As in `silence`.
        let _ = self.orders.send(Order::IdleRelease(idle_release));
    }

    /// Releases the device now.
    pub async fn release(&self) {
        let (done, released) = oneshot::channel();
        if self.orders.send(Order::Release { done }).is_ok() {
            // An error means that the task, and with it the device, is gone already.
            let _ = released.await;
        }
    }

    /// How the device fares.
    pub fn state(&self) -> watch::Receiver<DeviceState> {
        self.state.clone()
    }
}

enum Happening {
    Order(Order),
    /// Nobody holds the handle any more.
    Forsaken,
    Idle,
    Died(String),
    Tick,
}

struct Running {
    rate: u32,
    channels: u16,
    /// That of the stream it was opened for: it suits those with more.
    latency: Span,
    switch: Switch,
    playing: Playing,
}

struct Device {
    /// `None` only while a blocking thread has it.
    output: Option<Box<dyn Output>>,
    level: Arc<Level>,
    running: Option<Running>,
    past_xruns: u64,
    idle_release: Duration,
    idle_since: Option<Instant>,
    /// Until then a chime sounds, and the device stays open.
    chimes_until: Instant,
    tell: watch::Sender<DeviceState>,
    rung: Arc<AtomicBool>,
}

impl Device {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            match self.wait(&mut inbox, &mut housekeeping).await {
                Happening::Order(order) => self.obey(order).await,
                Happening::Forsaken => break,
                Happening::Idle => {
                    tracing::debug!("the output is released: nothing played for {:?}", self.idle_release);
                    self.close().await;
                }
                Happening::Died(why) => {
                    tracing::warn!(output = %self.tell.borrow().name, "the output failed: {why}");
                    self.close().await;
                    self.tell.send_modify(|state| {
                        state.failures += 1;
                        state.failure = Some(why);
                    });
                }
                Happening::Tick => self.observe(),
            }
        }
        self.close().await;
    }

    async fn wait(&self, inbox: &mut mpsc::UnboundedReceiver<Order>, housekeeping: &mut Interval) -> Happening {
        let idle = async {
            match self.idle_since {
                Some(since) => sleep_until((since + self.idle_release).max(self.chimes_until)).await,
                None => std::future::pending().await,
            }
        };
        let died = async {
            match &self.running {
                Some(running) => running.playing.died().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = inbox.recv() => order.map_or(Happening::Forsaken, Happening::Order),
            () = idle => Happening::Idle,
            why = died => Happening::Died(why),
            _ = housekeeping.tick() => Happening::Tick,
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Play { rate, channels, latency, puller, outcome } => {
                self.idle_since = None;
                let played = self.play(rate, channels, latency, puller).await;
                // Nobody waits for the outcome any more: then it does not matter.
                let _ = outcome.send(played);
            }
            Order::Silence => {
                if let Some(running) = &mut self.running {
                    // A device that does not pull is as silent as can be.
                    let _ = running.switch.turn_to(None);
                    self.idle_since = Some(Instant::now());
                }
            }
            Order::Chime(state) => {
                self.chime(&state).await;
                self.rung.store(false, Ordering::Relaxed);
            }
            Order::Release { done } => {
                self.close().await;
                let _ = done.send(());
            }
            Order::IdleRelease(time) => self.idle_release = time,
        }
    }

    async fn chime(&mut self, state: &RoomState) {
        if self.running.is_none() {
            if let Err(reason) = self.open_idle().await {
                return tracing::warn!("the room cannot be heard: {reason}");
            }
            self.idle_since = Some(Instant::now());
        }
        self.chimes_until = Instant::now() + CHIME_BEGINS + chime::LENGTH + self.way_of_a_chime();
        self.level.ring(state);
    }

    /// From asking for a chime to its beginning at the ear: what the device holds, and as much before where the card's mixer first waits
    /// until all of that is heard.
    fn way_of_a_chime(&self) -> Duration {
        let latency = self.running.as_ref().map_or(Span::ZERO, |running| {
            // Before the first pull nothing has been measured.
            running.playing.latency().max(running.playing.format().latency)
        });
        2 * latency.to_duration()
    }

    /// Opens the device for nothing but the chime.
    async fn open_idle(&mut self) -> Result<(), String> {
        let StreamShape { rate, channels, latency } = IDLE;
        let config = PlayoutConfig { rate, channels, capacity: IDLE_CAPACITY, max_pull: IDLE_PULL };
        let (_, puller) = playout(config).map_err(|error| error.to_string())?;
        self.play(rate, channels, latency, Box::new(puller)).await.map_err(|error| error.to_string())?;
        if let Some(running) = &mut self.running {
            // A device that does not pull yet does it in its turn.
            let _ = running.switch.turn_to(None);
        }
        Ok(())
    }

    async fn play(&mut self, rate: u32, channels: u16, latency: Span, puller: Box<Puller>) -> Result<(), PlayError> {
        let puller = match &mut self.running {
            Some(running) if running.rate == rate && running.channels == channels && running.latency <= latency => {
                match running.switch.turn_to(Some(puller)) {
                    Ok(()) => return Ok(()),
                    Err(Some(puller)) => puller,
                    Err(None) => return Err(PlayError::Stuck),
                }
            }
            _ => puller,
        };
        self.close().await;
        let Some(mut output) = self.output.take() else {
            return Err(PlayError::Lost("the thread that had it has not come back".to_owned()));
        };
        let level = self.level.clone();
        output.set_latency(latency);
        let opened = spawn_blocking(move || {
            let opened = output.open(rate, channels).and_then(|device| {
                let DeviceFormat { channels, .. } = device.format();
                let (switch, turnstile) =
                    handover(usize::from(channels), Leveller::new(level, channels.into(), rate), puller);
                // What a connection, a stream and a device take while they begin; nothing plays yet that this could hold up.
                memory::give_back();
                let playing = device.start(Box::new(turnstile))?;
                // The device pulls silence: what it was opened for is due some tens of milliseconds from now.
                memory::let_go_of_code();
                Ok((switch, playing))
            });
            (output, opened)
        });
        let (output, opened) = opened.await.map_err(|error: JoinError| PlayError::Lost(error.to_string()))?;
        self.output = Some(output);
        let (switch, playing) = opened?;
        self.running = Some(Running { rate, channels, latency, switch, playing });
        self.observe();
        Ok(())
    }

    async fn close(&mut self) {
        self.idle_since = None;
        let Some(running) = self.running.take() else { return };
        self.past_xruns += running.playing.xruns();
        // The device's audio thread is joined there. It does not panic; if it did, the device is gone as well.
        let _ = spawn_blocking(move || {
            drop(running);
            memory::give_back();
            memory::let_go_of_code();
        })
        .await;
        self.observe();
    }

    fn observe(&mut self) {
        if let Some(running) = &mut self.running {
            running.switch.free_past();
        }
        let open = self.running.is_some();
        let (xruns, latency) = match &self.running {
            Some(running) => (self.past_xruns + running.playing.xruns(), running.playing.latency()),
            None => (self.past_xruns, Span::ZERO),
        };
        self.tell.send_if_modified(|state| {
            let before = state.clone();
            (state.open, state.xruns, state.latency) = (open, xruns, latency);
            *state != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::null::NullOutput;
    use crate::output::{Health, OpenDevice, Pull};

    /// A device that takes so long from a frame to the ear, and never asks for one.
    struct Far(Span);

    impl Output for Far {
        fn name(&self) -> String {
            "far".to_owned()
        }

        fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
            Ok(Box::new(OpenFar(DeviceFormat { rate, channels, max_pull: 480, latency: self.0 })))
        }
    }

    struct OpenFar(DeviceFormat);

    impl OpenDevice for OpenFar {
        fn format(&self) -> DeviceFormat {
            self.0
        }

        fn start(self: Box<Self>, source: Box<dyn Pull>) -> Result<Playing, OutputError> {
            Ok(Playing::new(self.0, Arc::new(Health::default()), source))
        }
    }

    /// How long a device stays open that is opened for a chime, and not kept for anything else.
    async fn open_for_a_chime(output: Box<dyn Output>) -> Duration {
        let room = RoomState::new("Kitchen");
        let (speaker, device) = Speaker::new(output, Level::new(&room), Duration::ZERO);
        let listen = async {
            let mut state = speaker.state();
            speaker.chime(&room);
            state.wait_for(|state| state.open).await.unwrap();
            let begun = Instant::now();
            state.wait_for(|state| !state.open).await.unwrap();
            begun.elapsed()
        };
        tokio::select! {
            () = device => panic!("the device has ended"),
            time = listen => time,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_is_not_kept_stays_open_until_its_chime_was_heard() {
        let near = open_for_a_chime(Box::new(NullOutput)).await;
        assert!((chime::LENGTH..chime::LENGTH + Duration::from_secs(1)).contains(&near), "{near:?}");
        // Heard from a second after it is written, and with a card's mixer written a second after it is asked for.
        let far = open_for_a_chime(Box::new(Far(Span::from_secs(1)))).await;
        let way = Duration::from_secs(2) + chime::LENGTH;
        assert!((way..way + Duration::from_secs(1)).contains(&far), "{far:?}");
    }
}

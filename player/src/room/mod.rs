//! What plays in the room: which stream has the device, and what becomes of the others. The state that belongs to the room is in `settings`.

mod keep;
mod packets;
mod settings;
mod status;
mod store;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_codec::Decoder;
use audera_playout::{Config as PlayoutConfig, Feeder, Puller, State, playout};
use audera_wire::{PlayerHello, RoomChange, RoomRefusal, RoomState, Start, StreamFormat, StreamId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::{Config, Policy};
use crate::connection::Connection;
use crate::level::Level;
use crate::mixer::Turned;
use crate::speaker::Speaker;
pub use packets::Arrived;
use packets::Last;
use settings::Settings;
pub use store::RoomStore;

/// Audio that fits between network and device: the longest latency, to which that of any stream may grow, and what comes early. All of it is
/// written to in turn, so more would be memory in use.
const CAPACITY: Span = Span::from_millis(2500);
/// The most frames a device pulls at once; the largest quantum of PipeWire.
const MAX_PULL: usize = 8192;
/// The least time between two statuses, when the latency does not suffice and the sender is to know at once.
const URGENT_PERIOD: Duration = Duration::from_millis(100);
/// What is buffered has played out by then, or never will.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Between attempts to open a device that failed while a stream plays.
const RETRY_DEVICE: Duration = Duration::from_secs(1);

/// What a stream needs besides a device.
struct Prepared {
    decoder: Decoder,
    feeder: Feeder,
    puller: Puller,
}

impl Prepared {
    /// Decoder and playout for a stream of this format, or why there are none.
    fn new(format: StreamFormat) -> Result<Self, String> {
        let StreamFormat { rate, channels, .. } = format;
        let decoder = Decoder::new(format).map_err(|error| error.to_string())?;
        let config = PlayoutConfig { rate, channels: channels.into(), capacity: CAPACITY, max_pull: MAX_PULL };
        let (feeder, puller) = playout(config).map_err(|error| error.to_string())?;
        Ok(Prepared { decoder, feeder, puller })
    }
}

/// The stream that has the device.
struct NowPlaying {
    connection: Rc<Connection>,
    start: Start,
    decoder: Decoder,
    feeder: Feeder,
    /// The packet that came last.
    last: Option<Last>,
    /// When a status went out last.
    told: Instant,
    /// What of the latency was to spare, as it was told last.
    spare: Option<Span>,
    samples: Vec<f32>,
    /// Tells one attempt to open the device from another.
    attempt: u64,
    /// When it came.
    begun: Instant,
    /// When the sender ended it, or was gone: what is buffered plays out.
    finished: Option<Instant>,
    full_blocks: u64,
    lost_packets: u64,
}

/// The room. Lives on the network thread.
pub struct Room {
    config: RefCell<Config>,
    speaker: Speaker,
    settings: Settings,
    now: RefCell<Option<NowPlaying>>,
    /// Who wants to be told how the room fares, whoever plays.
    watchers: RefCell<Vec<Rc<Connection>>>,
    attempts: Cell<u64>,
    /// The stream and its state, as they were told last.
    told: Cell<Option<(u64, State)>>,
    /// Rung when they have changed.
    changed: Notify,
    /// Rung when there is something new to show.
    news: Notify,
    /// Rung when the stream has been finished: what is buffered plays out.
    finishing: Notify,
}

impl Room {
    /// A silent room.
    pub fn new(config: Config, store: RoomStore, level: Arc<Level>, speaker: Speaker) -> Rc<Self> {
        Rc::new(Room {
            settings: Settings::new(store, level),
            config: RefCell::new(config),
            speaker,
            now: RefCell::default(),
            watchers: RefCell::default(),
            attempts: Cell::new(0),
            told: Cell::new(None),
            changed: Notify::new(),
            news: Notify::new(),
            finishing: Notify::new(),
        })
    }

    /// Tells how the stream fares, frees the device from what has played out, and asks anew for one that failed, for as long as
    /// the player runs.
    pub async fn live(self: Rc<Self>) {
        let room = self.clone();
        tokio::join!(self.clone().report(), self.clone().release_drained(), room.settings.keep(), self.mind_device());
    }

    /// What the room says of itself to a sender.
    pub fn hello(&self) -> PlayerHello {
        let state = self.settings.state();
        let mut hello = PlayerHello::new(&state.name, SOFTWARE);
        hello.groups.clone_from(&state.groups);
        hello
    }

    /// Takes a new configuration; what plays goes on.
    pub fn reconfigure(&self, config: Config) {
        self.speaker.set_idle_release(config.idle_release);
        let changed = self.settings.reconfigure(&config);
        self.config.replace(config);
        if changed {
            self.follow_settings();
        }
    }

    /// A peer has come: it is told the state of the room, now and whenever it changes.
    pub fn joined(&self, connection: &Rc<Connection>) {
        self.settings.joined(connection);
    }

    /// A peer wants the state of the room changed.
    pub fn set(&self, connection: &Rc<Connection>, number: u32, change: &RoomChange) {
        if self.settings.set(connection, number, change) {
            self.follow_settings();
        }
    }

    /// Somebody on this machine wants the state of the room changed.
    ///
    /// # Errors
    /// Why it stays as it is.
    pub fn change(&self, change: &RoomChange) -> Result<(), RoomRefusal> {
        if self.settings.change(change)? {
            self.follow_settings();
        }
        Ok(())
    }

    /// Somebody has had a hand on the card's mixer: the room takes over what it may. Its state then, which is where the mixer is to be.
    pub fn turned(&self, turned: &Turned) -> Arc<RoomState> {
        for change in turned.turn.changes() {
            if let Err(refusal) = self.change(&change) {
                tracing::debug!("the card's mixer is turned back: {refusal}");
            }
        }
        self.state()
    }

    /// The state of the room.
    pub fn state(&self) -> Arc<RoomState> {
        self.settings.state()
    }

    /// Waits for a change of the room's state, or of how it fares. For one who waits.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Lets what plays follow the state that was set.
    fn follow_settings(&self) {
        self.news.notify_one();
        if let Some(now) = &mut *self.now.borrow_mut() {
            now.feeder.set_output_delay(output_delay(&self.settings.state()));
        }
    }

    /// Name and groups as they are to be announced, and each time that they have changed.
    pub fn announced(&self) -> watch::Receiver<(String, Vec<String>)> {
        self.settings.announced()
    }

    /// The configuration in force, with the name and the groups that the room has now.
    pub fn config(&self) -> Config {
        let mut config = self.config.borrow().clone();
        let state = self.settings.state();
        // What is in force would also be taken as configuration.
        if let Ok(name) = state.name.parse() {
            config.name = name;
        }
        config.groups = state.groups.iter().filter_map(|group| group.parse().ok()).collect();
        config
    }

    /// A sender wants to play.
    pub fn start(self: &Rc<Self>, connection: &Rc<Connection>, start: Start) {
        // What plays only gives way to a stream that can be played.
        let prepared =
            Prepared::new(start.format).and_then(|made| self.clear_the_way(connection, &start).map(|()| made));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                // One line for each stream, however often its sender asks.
                if connection.refused.get() != Some(start.id) {
                    tracing::info!(sender = %connection.name.borrow(), "refused: {reason}");
                }
                return connection.refuse(start.id, &reason);
            }
        };
        if connection.refused.get() != Some(start.id) {
            tracing::info!(sender = %connection.name.borrow(), title = %start.title, format = %start.format, latency = %start.latency, "starts to play");
        }
        self.open(connection.clone(), start, prepared, None);
    }

    /// Decides between the stream that plays and a new one.
    fn clear_the_way(&self, connection: &Rc<Connection>, start: &Start) -> Result<(), String> {
        let mut now = self.now.borrow_mut();
        let Some(playing) = now.as_ref().filter(|playing| playing.finished.is_none()) else { return Ok(()) };
        let same_sender = Rc::ptr_eq(&playing.connection, connection);
        if connection.refused.get() == Some(start.id) {
            return Err(format!("{} plays here meanwhile", playing.connection.name.borrow()));
        }
        if self.config.borrow().policy == Policy::First && !same_sender {
            return Err(format!(
                "{} plays here already, and the first stream has the room",
                playing.connection.name.borrow()
            ));
        }
        let by = if same_sender { start.title.clone() } else { connection.name.borrow().clone() };
        tracing::info!(sender = %playing.connection.name.borrow(), "gives way to {by}");
        playing.connection.speak(|session| session.preempt(playing.start.id, &by));
        *now = None;
        Ok(())
    }

    /// Gives the room to a stream and asks for the device. Audio is taken at once: it waits in the playout.
    ///
    /// A device that cannot play at the beginning refuses the stream; one that has played (`again`, when it came) is waited for, since it may be
    /// plugged in again, or its server restarted. A device that is there without its mixer refuses the stream then, too; its sender asks again.
    fn open(self: &Rc<Self>, connection: Rc<Connection>, start: Start, prepared: Prepared, again: Option<Instant>) {
        let StreamFormat { rate, channels, .. } = start.format;
        let latency = start.latency;
        let Prepared { decoder, mut feeder, puller } = prepared;
        feeder.set_output_delay(output_delay(&self.settings.state()));
        if let Some(estimate) = connection.clock.borrow().estimate() {
            feeder.set_estimate(estimate);
        }
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        let id = start.id;
        self.now.replace(Some(NowPlaying {
            connection: connection.clone(),
            start,
            decoder,
            feeder,
            last: None,
            told: Instant::now(),
            spare: None,
            samples: Vec::new(),
            attempt,
            begun: again.unwrap_or_else(Instant::now),
            finished: None,
            full_blocks: 0,
            lost_packets: 0,
        }));
        self.look();
        // Taken now, so that audio comes while the device opens; a device that cannot play is told as soon as that is known.
        connection.speak(|session| session.accept(id));
        let room = self.clone();
        tokio::task::spawn_local(async move {
            let played = room.speaker.play(rate, channels.into(), latency, Box::new(puller)).await;
            let Err(error) = played else { return };
            let reason = error.to_string();
            // One that is there, but not as loud as it should be, is a matter for people, who are to read why.
            if again.is_some() && !error.is_of_the_mixer() {
                tracing::debug!("cannot play yet: {reason}");
                return room.try_again(attempt).await;
            }
            // Otherwise another stream has come meanwhile, and this one has been told all there is to tell.
            if room.plays(attempt) {
                if connection.refused.get() != Some(id) {
                    tracing::warn!("cannot play: {reason}");
                }
                connection.refuse(id, &reason);
                room.fall_silent();
            }
        });
    }

    fn plays(&self, attempt: u64) -> bool {
        self.now.borrow().as_ref().is_some_and(|now| now.attempt == attempt)
    }

    /// Asks for the device anew, unless the stream has ended by then.
    async fn try_again(self: Rc<Self>, attempt: u64) {
        tokio::time::sleep(RETRY_DEVICE).await;
        if !self.plays(attempt) {
            return;
        }
        let Some(now) = self.now.take().filter(|now| now.finished.is_none()) else { return self.fall_silent() };
        match Prepared::new(now.start.format) {
            Ok(prepared) => self.open(now.connection, now.start, prepared, Some(now.begun)),
            Err(reason) => {
                now.connection.refuse(now.start.id, &reason);
                self.fall_silent();
            }
        }
    }

    /// No stream has the device any more: it is released after the idle time, should it be open.
    fn fall_silent(&self) {
        self.now.replace(None);
        self.look();
        self.speaker.silence();
    }

    /// Whether a stream of this connection has the room and has not ended.
    pub fn plays_from(&self, connection: &Rc<Connection>) -> bool {
        let now = self.now.borrow();
        now.as_ref().is_some_and(|now| Rc::ptr_eq(&now.connection, connection) && now.finished.is_none())
    }

    /// A packet of audio came.
    pub fn audio(&self, connection: &Rc<Connection>, id: StreamId, packet: Arrived<'_>) {
        let mut now = self.now.borrow_mut();
        let Some(playing) = now.as_mut().filter(|now| now.is(connection, id)) else { return };
        let Arrived { seq, stamp, glide, payload } = packet;
        if let Some(last) = playing.last {
            playing.lost_packets += u64::from(packet.seq.wrapping_sub(last.seq).wrapping_sub(1));
            let length = playing.start.format.packet_duration();
            last.lost_before(&packet, length).for_each(|(stamp, glide)| playing.decode_at(stamp, glide, None));
        }
        playing.last = Some(Last { seq, stamp, glide });
        playing.decode_at(stamp, glide, Some(payload));
        let short = playing.feeder.spare().is_some_and(Span::is_negative) && playing.told.elapsed() >= URGENT_PERIOD;
        drop(now);
        if short {
            self.tell();
        } else {
            self.look();
        }
    }

    /// The sender has ended a stream: what is buffered plays out.
    pub fn stop(&self, connection: &Rc<Connection>, id: StreamId) {
        if let Some(now) = self.now.borrow_mut().as_mut().filter(|now| now.is(connection, id)) {
            now.finish();
            self.finishing.notify_one();
        }
    }

    /// The clocks were compared.
    pub fn exchange(&self, connection: &Rc<Connection>, exchange: audera_clock::Exchange) {
        connection.clock.borrow_mut().compare(exchange);
        let clock = connection.clock.borrow();
        let mut now = self.now.borrow_mut();
        let Some(now) = now.as_mut().filter(|now| Rc::ptr_eq(&now.connection, connection)) else { return };
        if let Some(estimate) = clock.estimate() {
            now.feeder.set_estimate(estimate);
        }
        let age = i64::try_from(now.begun.elapsed().as_nanos()).map_or(Span::from_secs(60), Span::from_nanos);
        connection.session.borrow_mut().set_pace(clock.filter().pace(age));
    }

    /// A peer wants to hear which room this is.
    pub fn identify(&self, by: &str) {
        tracing::debug!(%by, "is to be heard");
        self.speaker.chime(&self.settings.state());
    }

    /// A connection is gone: what it has sent plays out.
    pub fn gone(&self, connection: &Rc<Connection>) {
        self.watch(connection, false);
        self.settings.gone(connection);
        if let Some(now) = self.now.borrow_mut().as_mut().filter(|now| Rc::ptr_eq(&now.connection, connection)) {
            now.finish();
            self.finishing.notify_one();
        }
    }

    /// Accepts no more changes and has those that it has accepted on the disk.
    pub async fn keep(&self) {
        self.settings.close().await;
    }

    /// Falls silent and gives the device back.
    pub async fn close(&self) {
        self.now.replace(None);
        self.speaker.release().await;
    }

    /// Frees the device from streams that have played out.
    async fn release_drained(self: Rc<Self>) {
        loop {
            self.finishing.notified().await;
            while self.now.borrow().as_ref().is_some_and(|now| now.finished.is_some()) {
                tokio::time::sleep(DRAIN_POLL).await;
                let drained = self.now.borrow_mut().take_if(|now| now.is_drained());
                if let Some(now) = drained {
                    tracing::info!(sender = %now.connection.name.borrow(), "has played out");
                    self.look();
                    self.speaker.silence();
                }
            }
        }
    }

    /// Asks for the device anew when it failed under a stream.
    async fn mind_device(self: Rc<Self>) {
        let mut state = self.speaker.state();
        let mut seen = state.borrow().failures;
        while state.changed().await.is_ok() {
            let failures = state.borrow_and_update().failures;
            if failures == seen {
                continue;
            }
            seen = failures;
            let attempt = self.now.borrow().as_ref().map(|now| now.attempt);
            if let Some(attempt) = attempt {
                self.clone().try_again(attempt).await;
            }
        }
    }
}

impl NowPlaying {
    fn is(&self, connection: &Rc<Connection>, id: StreamId) -> bool {
        Rc::ptr_eq(&self.connection, connection) && self.start.id == id
    }

    /// Decodes a packet, or stands in for a lost one, and hands it to the playout.
    fn decode_at(&mut self, stamp: SenderTime, glide: Span, payload: Option<&[u8]>) {
        self.samples.clear();
        if let Err(error) = self.decoder.decode(payload, &mut self.samples) {
            tracing::debug!(%error, "a packet is left out");
            return;
        }
        if self.feeder.push_gliding(stamp, glide, &self.samples).is_err() {
            self.full_blocks += 1;
            if self.full_blocks.is_power_of_two() {
                tracing::warn!(
                    blocks = self.full_blocks,
                    "audio was discarded: the output does not pull, or the sender is far ahead"
                );
            }
        }
    }

    fn finish(&mut self) {
        self.finished = Some(Instant::now());
        self.feeder.finish();
    }

    fn is_drained(&self) -> bool {
        // Without a device that pulls, or without a clock to play by, nothing would ever play out.
        self.finished.is_some_and(|since| self.feeder.is_drained() || since.elapsed() >= DRAIN_LIMIT)
    }
}

fn output_delay(state: &RoomState) -> Span {
    Span::from_secs_f64(state.output_delay_ms / 1e3)
}

/// Program and version, as senders are told.
pub const SOFTWARE: &str = concat!("audera-player ", env!("CARGO_PKG_VERSION"));

//! What plays in the room: which stream has the device, what becomes of the others, and how it goes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_codec::Decoder;
use audera_playout::{Config as PlayoutConfig, Feeder, Puller, State, playout};
use audera_wire::{PlayerHello, PlayerState, PlayerStatus, Start, StreamFormat, StreamId};
use audera_wire::{RoomChange, RoomState};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::config::{Config, Policy};
use crate::connection::Connection;
use crate::level::Level;
use crate::memory;
use crate::monotonic;
use crate::speaker::Speaker;
use crate::state::{self, RoomStore};

/// Audio that fits between network and device: the longest latency, to which that of any stream may grow, and what comes early. All of it is
/// written to in turn, so more would be memory in use.
const CAPACITY: Span = Span::from_millis(2500);
/// The most frames a device pulls at once; the largest quantum of PipeWire.
const MAX_PULL: usize = 8192;
/// Losses up to this many packets are shown to the decoder one by one; more is a gap.
const MAX_CONCEALED: u32 = 5;
/// Between two statuses while nothing changes.
const STATUS_PERIOD: Duration = Duration::from_secs(1);
/// The least time between two statuses, when the latency does not suffice and the sender is to know at once.
const URGENT_PERIOD: Duration = Duration::from_millis(100);
/// What is buffered has played out by then, or never will.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Between attempts to open a device that failed while a stream plays.
const RETRY_DEVICE: Duration = Duration::from_secs(1);

/// Between two writings of the room's state, while a slider moves.
const KEEP_PAUSE: Duration = Duration::from_secs(1);
/// Before the next attempt to write it where it could not be.
const KEEP_RETRY: Duration = Duration::from_secs(10);

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
    store: RefCell<RoomStore>,
    /// The part of the state that the audio thread applies.
    level: Arc<Level>,
    /// All peers: they are told the state.
    peers: RefCell<Vec<Rc<Connection>>>,
    /// Rung when the state is to be kept.
    unkept: Notify,
    /// Whether the file says less than the state.
    is_unkept: Cell<bool>,
    /// Name and groups, for those who announce them.
    announced: watch::Sender<(String, Vec<String>)>,
    now: RefCell<Option<NowPlaying>>,
    /// Who wants to be told how the room fares, whoever plays.
    watchers: RefCell<Vec<Rc<Connection>>>,
    attempts: Cell<u64>,
    /// The stream and its state, as they were told last.
    told: Cell<Option<(u64, State)>>,
    /// Rung when they have changed.
    changed: Notify,
    /// Rung when the stream has been finished: what is buffered plays out.
    finishing: Notify,
}

impl Room {
    /// A silent room.
    pub fn new(config: Config, store: RoomStore, level: Arc<Level>, speaker: Speaker) -> Rc<Self> {
        let announced = watch::channel(announced_of(store.state())).0;
        level.set(store.state());
        Rc::new(Room {
            store: RefCell::new(store),
            level,
            peers: RefCell::default(),
            unkept: Notify::new(),
            is_unkept: Cell::new(false),
            announced,
            config: RefCell::new(config),
            speaker,
            now: RefCell::default(),
            watchers: RefCell::default(),
            attempts: Cell::new(0),
            told: Cell::new(None),
            changed: Notify::new(),
            finishing: Notify::new(),
        })
    }

    /// Tells how the stream fares, frees the device from what has played out, and asks anew for one that failed, for as long as
    /// the player runs.
    pub async fn live(self: Rc<Self>) {
        tokio::join!(
            self.clone().report(),
            self.clone().release_drained(),
            self.clone().keep_state(),
            self.mind_device()
        );
    }

    /// What the room says of itself to a sender.
    pub fn hello(&self) -> PlayerHello {
        let store = self.store.borrow();
        let mut hello = PlayerHello::new(&store.state().name, SOFTWARE);
        hello.groups.clone_from(&store.state().groups);
        hello
    }

    /// Takes a new configuration; what plays goes on.
    pub fn reconfigure(&self, config: Config) {
        self.speaker.set_idle_release(config.idle_release);
        let changed = self.store.borrow_mut().reconfigure(&config);
        self.config.replace(config);
        if changed {
            self.state_changed();
        }
    }

    /// A peer has come: it is told the state of the room, now and whenever it changes.
    pub fn joined(&self, connection: &Rc<Connection>) {
        self.peers.borrow_mut().push(connection.clone());
        self.tell_state_to(connection);
    }

    /// A peer wants the state of the room changed.
    pub fn set(&self, connection: &Rc<Connection>, number: u32, change: &RoomChange) {
        let outcome = self.store.borrow_mut().set(change);
        match outcome {
            Ok(changes) => {
                tracing::debug!(sender = %connection.name.borrow(), ?change, "sets the room");
                connection.speak(|session| session.changed(number));
                if changes {
                    self.state_changed();
                }
            }
            Err(refusal) => {
                tracing::debug!(sender = %connection.name.borrow(), "refused: {refusal}");
                connection.speak(|session| session.not_changed(number, refusal));
            }
        }
    }

    /// Brings everything in line with the state that has changed.
    fn state_changed(&self) {
        let store = self.store.borrow();
        self.level.set(store.state());
        if let Some(now) = &mut *self.now.borrow_mut() {
            now.feeder.set_output_delay(output_delay(store.state()));
        }
        self.announced.send_if_modified(|before| {
            let now = announced_of(store.state());
            *before != now && {
                *before = now;
                true
            }
        });
        drop(store);
        self.is_unkept.set(true);
        self.unkept.notify_one();
        for peer in self.peers.borrow().iter() {
            self.tell_state_to(peer);
        }
    }

    fn tell_state_to(&self, connection: &Connection) {
        let store = self.store.borrow();
        connection.speak(|session| session.room(store.revision(), store.state().clone()));
    }

    /// Name and groups as they are to be announced, and each time that they have changed.
    pub fn announced(&self) -> watch::Receiver<(String, Vec<String>)> {
        self.announced.subscribe()
    }

    /// Keeps the state: at once, but not more often than once a second.
    async fn keep_state(self: Rc<Self>) {
        let mut trouble = String::new();
        loop {
            self.unkept.notified().await;
            self.is_unkept.set(false);
            let (file, text) = self.store.borrow().to_keep();
            let kept = spawn_blocking({
                let file = file.clone();
                move || state::keep(&file, &text)
            });
            match kept.await.unwrap_or_else(|error| Err(error.into())) {
                Ok(()) => {
                    trouble.clear();
                    tokio::time::sleep(KEEP_PAUSE).await;
                }
                Err(error) => {
                    let now = error.to_string();
                    if now != trouble {
                        tracing::error!(
                            "what is set is in force, but would be lost at the next start: {} cannot be written: {now}; tried again every {} s",
                            file.display(),
                            KEEP_RETRY.as_secs()
                        );
                        trouble = now;
                    }
                    self.is_unkept.set(true);
                    tokio::time::sleep(KEEP_RETRY).await;
                    self.unkept.notify_one();
                }
            }
        }
    }

    /// The configuration in force, with the name and the groups that the room has now.
    pub fn config(&self) -> Config {
        let mut config = self.config.borrow().clone();
        let store = self.store.borrow();
        // What is in force would also be taken as configuration.
        if let Ok(name) = store.state().name.parse() {
            config.name = name;
        }
        config.groups = store.state().groups.iter().filter_map(|group| group.parse().ok()).collect();
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
    /// plugged in again, or its server restarted.
    fn open(self: &Rc<Self>, connection: Rc<Connection>, start: Start, prepared: Prepared, again: Option<Instant>) {
        let StreamFormat { rate, channels, .. } = start.format;
        let latency = start.latency;
        let Prepared { decoder, mut feeder, puller } = prepared;
        feeder.set_output_delay(output_delay(self.store.borrow().state()));
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
            memory::give_back();
            let Err(reason) = played else { return };
            if again.is_some() {
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
        connection.compare(exchange);
        let clock = connection.clock.borrow();
        let mut now = self.now.borrow_mut();
        let Some(now) = now.as_mut().filter(|now| Rc::ptr_eq(&now.connection, connection)) else { return };
        if let Some(estimate) = clock.estimate() {
            now.feeder.set_estimate(estimate);
        }
        let age = i64::try_from(now.begun.elapsed().as_nanos()).map_or(Span::from_secs(60), Span::from_nanos);
        connection.session.borrow_mut().set_pace(clock.pace(age));
    }

    /// A peer wants to be told how the room fares, whoever plays; or no longer.
    pub fn watch(&self, connection: &Rc<Connection>, on: bool) {
        self.watchers.borrow_mut().retain(|watcher| !Rc::ptr_eq(watcher, connection));
        if on {
            self.watchers.borrow_mut().push(connection.clone());
            let status = self.status_for(connection);
            connection.speak(|session| session.status(status));
        }
    }

    /// A peer wants to hear which room this is.
    pub fn identify(&self, connection: &Connection) {
        tracing::debug!(sender = %connection.name.borrow(), "wants to hear the room");
        self.speaker.chime(self.store.borrow().state());
    }

    /// A connection is gone: what it has sent plays out.
    pub fn gone(&self, connection: &Rc<Connection>) {
        self.watch(connection, false);
        self.peers.borrow_mut().retain(|peer| !Rc::ptr_eq(peer, connection));
        if let Some(now) = self.now.borrow_mut().as_mut().filter(|now| Rc::ptr_eq(&now.connection, connection)) {
            now.finish();
            self.finishing.notify_one();
        }
    }

    /// Falls silent and gives the device back.
    pub async fn close(&self) {
        self.now.replace(None);
        if self.is_unkept.get() {
            let (file, text) = self.store.borrow().to_keep();
            if let Ok(Err(error)) = spawn_blocking(move || state::keep(&file, &text)).await {
                tracing::error!("what was set last is lost: the state of the room cannot be written: {error}");
            }
        }
        self.speaker.release().await;
    }

    /// How the room fares.
    pub fn status(&self) -> PlayerStatus {
        let device = self.speaker.state().borrow().clone();
        let mut status = PlayerStatus {
            room: self.store.borrow().state().name.clone(),
            output: device.name,
            xruns: device.xruns,
            ..PlayerStatus::default()
        };
        let now = self.now.borrow();
        let Some(now) = now.as_ref() else { return status };
        let stats = now.feeder.stats();
        status.state = match stats.state {
            State::Playing => PlayerState::Playing,
            State::Draining => PlayerState::Draining,
            State::Waiting | State::Drained => PlayerState::Waiting,
        };
        let micros = |span: Span| span.as_nanos() as f64 / 1e3;
        status.stream = Some(now.start.id);
        status.codec = Some(now.start.format.coding);
        let sounds = matches!(stats.state, State::Playing | State::Draining);
        status.sync_error_us = sounds.then(|| micros(stats.sync_error));
        status.sync_p99_us = stats.sync_p99.map(micros);
        status.ratio_ppm = Some(stats.ratio_ppm);
        if stats.card_deviation_ppm > 0.0 {
            status.card_ppm = Some(stats.card_ppm);
            status.card_deviation_ppm = Some(stats.card_deviation_ppm);
        }
        status.output_delay_ms = Some(self.store.borrow().state().output_delay_ms);
        status.buffered_ms = (stats.buffered.as_nanos() / 1_000_000).max(0) as u32;
        status.played_frames = stats.played_frames;
        status.late_frames = stats.late_frames;
        status.lost_frames = stats.lost_frames;
        status.late_packets = stats.late_packets;
        status.lost_packets = now.lost_packets;
        status.underruns = stats.underruns;
        status.spare_ms = now.spare.map(|spare| spare.as_secs_f64() * 1e3);
        status.resyncs = stats.resyncs;
        status.time_path = Some(now.connection.session.borrow().time_path());
        if let Some(estimate) = now.connection.clock.borrow().estimate() {
            let here = monotonic::now();
            let there = estimate.map.to_sender(here);
            status.clock_offset_us = Some((there.as_nanos() - here.as_nanos()) as f64 / 1e3);
            status.clock_bound_us = Some(micros(estimate.bound));
            status.round_trip_us = Some(micros(estimate.round_trip));
            status.skew_ppm = Some(estimate.skew_ppm);
        }
        status
    }

    /// The status as a peer is told it: whose stream plays is news to the others only, and what the stream is called among the two
    /// concerns nobody else.
    fn status_for(&self, connection: &Rc<Connection>) -> PlayerStatus {
        let mut status = self.status();
        let now = self.now.borrow();
        if let Some(now) = now.as_ref().filter(|now| !Rc::ptr_eq(&now.connection, connection)) {
            status.stream = None;
            status.sender = Some(now.connection.name.borrow().clone());
            status.title = Some(now.start.title.clone());
        }
        status
    }

    /// Tells the sender, and who watches, how the room fares: once a second, and when its state or its stream has changed.
    async fn report(self: Rc<Self>) {
        let mut second = tokio::time::interval(STATUS_PERIOD);
        loop {
            tokio::select! {
                _ = second.tick() => {
                    if let Some(now) = &mut *self.now.borrow_mut() {
                        now.feeder.close_second();
                    }
                }
                () = self.changed.notified() => {}
            }
            self.tell();
        }
    }

    /// Has it told when the stream or its state is another than was told last. Nobody wakes for that: it is looked at when something
    /// else has to be done, and something is with every packet.
    fn look(&self) {
        let present = self.now.borrow().as_ref().map(|now| (now.attempt, now.feeder.state()));
        if present != self.told.get() {
            self.changed.notify_one();
        }
    }

    /// Tells everybody who is to know how the room fares.
    fn tell(&self) {
        self.told.set(self.now.borrow().as_ref().map(|now| (now.attempt, now.feeder.state())));
        let sender = self.now.borrow_mut().as_mut().map(|now| {
            now.told = Instant::now();
            now.spare = now.feeder.take_spare();
            now.connection.clone()
        });
        let mut peers = self.watchers.borrow().clone();
        let watches = |sender: &Rc<Connection>| peers.iter().any(|watcher| Rc::ptr_eq(watcher, sender));
        let sender = sender.filter(|sender| !watches(sender));
        peers.extend(sender);
        for peer in peers {
            let status = self.status_for(&peer);
            peer.speak(|session| session.status(status));
        }
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

/// What is announced of a state.
fn announced_of(state: &RoomState) -> (String, Vec<String>) {
    (state.name.clone(), state.groups.clone())
}

fn output_delay(state: &RoomState) -> Span {
    Span::from_secs_f64(state.output_delay_ms / 1e3)
}

/// A packet of audio that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Number of the packet.
    pub seq: u32,
    /// When its first frame is to be heard.
    pub stamp: SenderTime,
    /// By how much its frames together last longer than nominal.
    pub glide: Span,
    /// Coded audio.
    pub payload: &'a [u8],
}

/// What a packet leaves behind for the next one to be compared with.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: u32,
    stamp: SenderTime,
    glide: Span,
}

impl Last {
    /// Stamps and glides of the packets that were lost between this one and `next`, each `length` long: where both sides glide the same way,
    /// so do they. Nothing where too many are missing to stand in for.
    fn lost_before(self, next: &Arrived<'_>, length: Span) -> impl Iterator<Item = (SenderTime, Span)> + use<> {
        let missing = next.seq.wrapping_sub(self.seq).wrapping_sub(1);
        let missing = i64::from(if missing <= MAX_CONCEALED { missing } else { 0 });
        let between = (next.stamp - self.stamp) - length * (missing + 1) - self.glide;
        let (least, most) = (self.glide.min(next.glide), self.glide.max(next.glide));
        let glide = (between / missing.max(1)).clamp(least, most);
        let stamp = next.stamp;
        (1..=missing).rev().map(move |before| (stamp - (length + glide) * before, glide))
    }
}

/// Program and version, as senders are told.
pub const SOFTWARE: &str = concat!("audera-player ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Span = Span::from_millis(10);

    fn at(us: i64) -> SenderTime {
        SenderTime::from_nanos(1_000_000_000) + Span::from_micros(us)
    }

    fn lost(before: (u32, i64, i64), after: (u32, i64, i64)) -> Vec<(SenderTime, Span)> {
        let last = Last { seq: before.0, stamp: at(before.1), glide: Span::from_micros(before.2) };
        let (stamp, glide) = (at(after.1), Span::from_micros(after.2));
        last.lost_before(&Arrived { seq: after.0, stamp, glide, payload: &[] }, LENGTH).collect()
    }

    #[test]
    fn lost_packets_glide_as_those_around_them() {
        assert_eq!(lost((7, 0, 0), (8, 10_000, 0)), []);
        assert_eq!(lost((7, 0, 0), (9, 20_000, 0)), [(at(10_000), Span::ZERO)]);
        let glide = Span::from_micros(200);
        assert_eq!(lost((u32::MAX, 0, 200), (2, 30_600, 200)), [(at(10_200), glide), (at(20_400), glide)]);
        // The glide ends in between: they share what is missing.
        let half = Span::from_micros(100);
        assert_eq!(lost((7, 0, 200), (10, 30_400, 0)), [(at(10_200), half), (at(20_300), half)]);
    }

    #[test]
    fn a_gap_is_no_glide_and_many_lost_packets_are_a_gap() {
        assert_eq!(lost((7, 0, 0), (9, 45_000, 0)), [(at(35_000), Span::ZERO)]);
        assert_eq!(lost((7, 0, 0), (7 + 7, 70_000, 0)), []);
        assert_eq!(lost((7, 0, 0), (7 + 6, 60_000, 0)).len(), 5);
    }
}

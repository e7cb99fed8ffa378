//! What a recorder and its source say to each other over one connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use audera_clock::{Exchange, PlayerTime, Span};
use audera_codec::Decoder;
use audera_link::PeerId;
use audera_receiver::{Conversation, SenderClock, now};
use audera_wire::{
    CloseCode, PlayerEvent, PlayerHello, PlayerSession, PlayerState, PlayerStatus, RoomRefusal, SenderHello, Sound,
    Start, StreamId,
};
use tokio::sync::Notify;

use super::recorder::Recorder;
use super::reel::Stamped;

/// One connection to a source.
#[derive(Debug)]
pub(super) struct Talk {
    recorder: Rc<Recorder>,
    peer: PeerId,
    session: RefCell<PlayerSession>,
    wake: Notify,
    heard: Notify,
    /// The source's clock as seen from here.
    pub clock: RefCell<SenderClock>,
    is_greeted: Cell<bool>,
    refusal: RefCell<Option<String>>,
    /// What it calls itself.
    name: RefCell<String>,
    /// Streams that wait until it is known by which clock, and onto what, they are recorded.
    waiting: RefCell<Vec<Start>>,
    recorded: RefCell<Option<Recorded>>,
}

/// The stream that is recorded.
#[derive(Debug)]
struct Recorded {
    start: Start,
    decoder: Decoder,
    begun: PlayerTime,
    samples: Vec<f32>,
}

impl Conversation for Talk {
    fn session(&self) -> &RefCell<PlayerSession> {
        &self.session
    }

    fn wake(&self) -> &Notify {
        &self.wake
    }

    fn heard(&self) -> &Notify {
        &self.heard
    }

    fn take(&self, event: PlayerEvent) {
        match event {
            PlayerEvent::SenderReady(hello) => self.greeted(&hello),
            PlayerEvent::Start(start) => {
                let sound = Sound { rate: start.format.rate, channels: start.format.channels };
                self.waiting.borrow_mut().push(start);
                self.recorder.progress.send_modify(|progress| progress.sound = Some(sound));
                self.consider();
            }
            PlayerEvent::Audio { id, seq, stamp, glide, payload } => {
                self.audio(Stamped { stream: id, seq, stamp, glide }, &payload);
            }
            PlayerEvent::Stop(id) => {
                self.waiting.borrow_mut().retain(|start| start.id != id);
                self.recorded.borrow_mut().take_if(|recorded| recorded.start.id == id);
            }
            PlayerEvent::Exchange(exchange) => self.exchange(exchange),
            PlayerEvent::Set { number, .. } => {
                let said = |text: &str| text.to_owned();
                let refusal = RoomRefusal {
                    key: said("state"),
                    value: said("changed"),
                    accepted: said("nothing: this is no room"),
                };
                self.speak(|session| session.not_changed(number, refusal));
            }
            PlayerEvent::Watch(_) | PlayerEvent::TimePath(_) | PlayerEvent::Identify => {}
            PlayerEvent::Closed { code, reason } => {
                tracing::debug!(source = %self.name.borrow(), %code, "the session is over: {reason}");
                if code == CloseCode::NotPaired {
                    self.recorder.progress.send_modify(|progress| progress.refusal = Some(reason.clone()));
                    self.refusal.replace(Some(reason));
                }
            }
        }
    }
}

impl Talk {
    pub fn new(recorder: Rc<Recorder>, peer: PeerId, hello: PlayerHello) -> Rc<Self> {
        Rc::new(Self {
            recorder,
            peer,
            session: RefCell::new(PlayerSession::new(hello, now())),
            wake: Notify::new(),
            heard: Notify::new(),
            clock: RefCell::default(),
            is_greeted: Cell::new(false),
            refusal: RefCell::default(),
            name: RefCell::new(peer.short()),
            waiting: RefCell::default(),
            recorded: RefCell::default(),
        })
    }

    /// Whether the source has said hello.
    pub fn is_greeted(&self) -> bool {
        self.is_greeted.get()
    }

    /// Why the source has sent us away, if it has.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    /// Says farewell.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.speak(|session| session.close(code, reason));
    }

    fn greeted(&self, hello: &SenderHello) {
        tracing::info!(source = %hello.name, software = %hello.software, "connected");
        self.name.replace(hello.name.clone());
        self.is_greeted.set(true);
        let former = self.recorder.greeted(self.peer, hello, now());
        self.clock.borrow_mut().continues(former);
    }

    /// The clocks were compared.
    fn exchange(&self, exchange: Exchange) {
        self.clock.borrow_mut().compare(exchange);
        let clock = self.clock.borrow();
        if let Some(estimate) = clock.estimate() {
            self.recorder.with_reel(|reel| reel.tick(now(), &estimate.map));
        }
        if let Some(recorded) = &*self.recorded.borrow() {
            self.session.borrow_mut().set_pace(clock.filter().pace(now() - recorded.begun));
        }
        drop(clock);
        self.consider();
    }

    /// Takes the streams that wait, if it is known by now how.
    pub fn consider(&self) {
        let Some((rate, channels)) = self.recorder.with_reel(|reel| reel.format()) else { return };
        if self.clock.borrow().estimate().is_none() {
            return;
        }
        for start in self.waiting.take() {
            let format = start.format;
            let id = start.id;
            if (format.rate, usize::from(format.channels)) != (rate, channels) {
                let reason = format!(
                    "the recording has {rate} Hz and {channels} channels, not the {} Hz and {} of the stream",
                    format.rate, format.channels
                );
                self.complain(&reason);
                self.speak(|session| session.refuse(id, &reason));
                continue;
            }
            let decoder = match Decoder::new(format) {
                Ok(decoder) => decoder,
                Err(error) => {
                    self.complain(&error.to_string());
                    self.speak(|session| session.refuse(id, &error.to_string()));
                    continue;
                }
            };
            let recorded = Recorded { start, decoder, begun: now(), samples: Vec::new() };
            // The newest start wins, as in a room.
            if let Some(former) = self.recorded.borrow_mut().replace(recorded) {
                let by = self.name.borrow().clone();
                self.speak(|session| session.preempt(former.start.id, &by));
            }
            self.speak(|session| session.accept(id));
        }
    }

    /// Tells the user, once, that a stream is not recorded.
    fn complain(&self, reason: &str) {
        if self.recorder.complaint.replace(reason.to_owned()) != reason {
            audera_alsa_plugin::log::error(&format!(
                "silence is recorded while \"{}\" streams: {reason}; open the recording anew while it does",
                self.name.borrow()
            ));
        }
    }

    fn audio(&self, packet: Stamped, payload: &[u8]) {
        let mut recorded = self.recorded.borrow_mut();
        let Some(recorded) = recorded.as_mut().filter(|recorded| recorded.start.id == packet.stream) else { return };
        let Some(estimate) = self.clock.borrow().estimate() else { return };
        if let Err(error) = recorded.decoder.decode(Some(payload), &mut recorded.samples) {
            // As if it had not come.
            return tracing::debug!(%error, "a packet is left out");
        }
        self.recorder.with_reel(|reel| reel.take(now(), &estimate.map, packet, &recorded.samples));
    }

    /// Tells the source how the recording fares.
    pub fn tell_status(&self) {
        let recorded = self.recorded.borrow();
        let (Some(recorded), Some(estimate)) = (&*recorded, self.clock.borrow().estimate()) else { return };
        let id: StreamId = recorded.start.id;
        let status = self.recorder.with_reel(|reel| {
            let now = now();
            reel.tick(now, &estimate.map);
            let counts = reel.counts();
            let micros = |span: Span| span.as_nanos() as f64 / 1e3;
            PlayerStatus {
                state: PlayerState::Playing,
                room: self.recorder.name().to_owned(),
                output: "ALSA recording".to_owned(),
                stream: Some(id),
                codec: Some(recorded.start.format.coding),
                clock_offset_us: Some((estimate.map.to_sender(now).as_nanos() - now.as_nanos()) as f64 / 1e3),
                clock_bound_us: Some(micros(estimate.bound)),
                round_trip_us: Some(micros(estimate.round_trip)),
                skew_ppm: Some(estimate.skew_ppm),
                time_path: Some(self.session.borrow().time_path()),
                buffered_ms: reel.buffered(now).as_millis().max(0) as u32,
                spare_ms: reel.take_spare().map(|spare| spare.as_secs_f64() * 1e3),
                played_frames: counts.kept,
                late_frames: counts.late,
                late_packets: counts.late_packets,
                lost_frames: counts.lost,
                lost_packets: counts.lost / u64::from(recorded.start.format.frames.max(1)),
                ..PlayerStatus::default()
            }
        });
        if let Some(status) = status {
            self.speak(|session| session.status(status));
        }
    }
}

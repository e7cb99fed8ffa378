//! Session of the end that plays.

use std::collections::VecDeque;
use std::sync::Arc;

use audera_clock::{Exchange, Player, PlayerTime, SenderTime, Span};

use crate::audio::AudioPacket;
use crate::close::CloseCode;
use crate::datagram::{DATAGRAM_LEN, Datagram};
use crate::format::{Formats, StreamFormat};
use crate::frame::FrameReader;
use crate::hello::{Hello, PlayerHello, Role, SenderHello};
use crate::limits::{MAX_REASON, MAX_STREAMS};
use crate::message::{Message, encode_room};
use crate::room::{RoomChange, RoomRefusal, RoomState};
use crate::session::Counters;
use crate::session::error::SessionError;
use crate::session::life::Life;
use crate::session::requests::{Completed, Requests};
use crate::status::{PlayerStatus, TimePath};
use crate::stream::{Start, StreamId};
use crate::text;

/// What a player learns from its session.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum PlayerEvent {
    /// The sender said hello.
    SenderReady(SenderHello),
    /// The sender announces a stream within what the player's hello takes; answer with [`PlayerSession::accept`] or
    /// [`PlayerSession::refuse`].
    Start(Start),
    /// Audio of an accepted stream, of a length and a glide that its format allows.
    Audio {
        /// Stream.
        id: StreamId,
        /// Number of the packet, always ahead of the last one (modulo 2^32); where numbers are left out, packets are
        /// lost.
        seq: u32,
        /// Presentation time of its first frame.
        stamp: SenderTime,
        /// Time by which its frames together last longer than nominal.
        glide: Span,
        /// Coded audio.
        payload: Vec<u8>,
    },
    /// The stream has ended: play out what is there.
    Stop(StreamId),
    /// The sender wants to be told the status, whoever plays here, at once and from now on; or (`false`) only while its own stream plays.
    Watch(bool),
    /// The sender wants the room's state changed; answer with [`PlayerSession::changed`] or [`PlayerSession::not_changed`].
    Set {
        /// Number of the change.
        number: u32,
        /// The change.
        change: RoomChange,
    },
    /// The sender wants the room to play a short sound.
    Identify,
    /// A time exchange for the clock filter.
    Exchange(Exchange),
    /// Time exchanges take another path from now on; the first time, it is known which one. Does not come when either end takes no
    /// datagrams: then all is in-band.
    TimePath(TimePath),
    /// The session is over; always the last event. The code is the peer's if it said bye, else the own one.
    Closed {
        /// Why.
        code: CloseCode,
        /// The same for people.
        reason: String,
    },
}

/// Session of the end that plays, whoever dialled. See the crate's page for the loop around it.
///
/// `now` is the player's monotonic clock and must not go back.
#[derive(Debug)]
pub struct PlayerSession {
    reader: FrameReader,
    core: Core,
}

#[derive(Debug)]
struct Core {
    life: Life<Player>,
    formats: Formats,
    max_latency: audera_clock::Span,
    /// Whether our transport takes datagrams.
    datagrams: bool,
    sender: Option<SenderHello>,
    streams: Vec<Stream>,
    next_run: u32,
    requests: Option<Requests>,
    /// The newest status that is not written yet; older ones are of no use.
    status: Option<PlayerStatus>,
    /// The state of the room, with its revision, and whether it is still to be told.
    room: Option<(u64, Arc<RoomState>)>,
    room_due: bool,
    /// Number of the next change that the sender asks for, and of the last that is done.
    next_set: u32,
    answers: Option<u32>,
    events: VecDeque<PlayerEvent>,
    counters: Counters,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    run: u32,
    format: StreamFormat,
    accepted: bool,
    last_seq: Option<u32>,
}

impl PlayerSession {
    /// Begins a session on a connection that was made just now.
    #[must_use]
    pub fn new(hello: PlayerHello, now: PlayerTime) -> Self {
        let (formats, max_latency, datagrams) = (hello.formats.clone(), hello.max_latency, hello.datagrams);
        let core = Core {
            life: Life::new(&Hello::Player(hello), now),
            formats,
            max_latency,
            datagrams,
            sender: None,
            streams: Vec::new(),
            next_run: 0,
            requests: None,
            status: None,
            room: None,
            room_due: false,
            next_set: 0,
            answers: None,
            events: VecDeque::new(),
            counters: Counters::default(),
        };
        Self { reader: FrameReader::new(), core }
    }

    /// Takes bytes that arrived at `now`. After the end they are dropped.
    ///
    /// # Errors
    /// The peer broke the rules. The session has closed: drain the events, write what
    /// [`poll_transmit`](Self::poll_transmit) still gives, and end the connection.
    pub fn receive(&mut self, now: PlayerTime, bytes: &[u8]) -> Result<(), SessionError> {
        if bytes.is_empty() || self.core.life.is_closed() {
            return Ok(());
        }
        self.core.life.hear(now);
        self.reader.push(bytes);
        let result = self.read(now);
        if self.core.life.is_closed() || result.is_err() {
            self.reader = FrameReader::new();
        }
        result.map_err(|error| self.core.fail(error))
    }

    fn read(&mut self, now: PlayerTime) -> Result<(), SessionError> {
        while !self.core.life.is_closed() {
            let Some(frame) = self.reader.next()? else {
                break;
            };
            self.core.handle(now, Message::decode(frame)?)?;
        }
        Ok(())
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<PlayerEvent> {
        self.core.events.pop_front()
    }

    /// Appends the bytes to be written now, whole frames; whether there were any.
    ///
    /// A time request that is due is stamped with `now`: call it when the transport can take the bytes at once.
    pub fn poll_transmit(&mut self, now: PlayerTime, out: &mut Vec<u8>) -> bool {
        let mut any = self.core.life.transmit(out);
        if !self.core.life.is_ready() {
            return any;
        }
        if let Some(status) = self.core.status.take() {
            Message::Status(status).encode(out);
            any = true;
        }
        if let Some((revision, state)) = self.core.room.as_ref().filter(|_| self.core.room_due) {
            encode_room(*revision, self.core.answers, state, out);
            self.core.room_due = false;
            any = true;
        }
        let streaming = self.core.is_streaming();
        if let Some(request) = self.core.requests.as_mut().and_then(|requests| requests.take(now, streaming)) {
            Message::TimeRequest(request).encode(out);
            any = true;
        }
        any
    }

    /// Takes the payload of a datagram that the peer has sent, as its transport has proved, and that arrived at `arrived`.
    ///
    /// Datagrams come and go as they like: one that makes no sense is ignored.
    pub fn receive_datagram(&mut self, arrived: PlayerTime, payload: &[u8]) {
        let completed = match (Datagram::decode(payload), &mut self.core.requests) {
            (Ok(Datagram::Reply(reply)), Some(requests)) => requests.complete_datagram(&reply, arrived),
            // It has done its work by coming.
            (Ok(Datagram::Here), Some(_)) => return,
            _ => Completed::Stale,
        };
        self.core.completed(completed);
        self.core.tell_path();
    }

    /// The payload of a datagram to be sent now, if any; to be called whenever `poll_transmit` is, and as long as it gives one.
    ///
    /// It is stamped with `now`: call it when there is a way to the peer, and send at once.
    pub fn poll_datagram(&mut self, now: PlayerTime) -> Option<[u8; DATAGRAM_LEN]> {
        let streaming = self.core.is_streaming();
        let request = self.core.requests.as_mut()?.take_datagram(now, streaming)?;
        Some(Datagram::Request(request).encode())
    }

    /// Sets the time between requests in datagrams while a stream is accepted, as [`ClockFilter::pace`](audera_clock::ClockFilter::pace)
    /// wants it; 10 ms to 1 s.
    pub fn set_pace(&mut self, pace: Span) {
        if let Some(requests) = &mut self.core.requests {
            requests.set_pace(pace);
        }
    }

    /// How the sender's clock is followed.
    #[must_use]
    pub fn time_path(&self) -> TimePath {
        self.core.requests.as_ref().map_or(TimePath::InBand, Requests::path)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, `poll_transmit` and `poll_datagram` after it; `None` after
    /// the end.
    #[must_use]
    pub fn next_timeout(&self) -> Option<PlayerTime> {
        let deadline = self.core.life.deadline()?;
        let request = self.core.requests.as_ref().and_then(|requests| requests.timeout(self.core.is_streaming()));
        Some(request.map_or(deadline, |request| request.min(deadline)))
    }

    /// When the sender is to have been heard again if all is well. From then on something is in the way, and a new connection may be
    /// through sooner than this one; `None` while there is nothing to expect.
    #[must_use]
    pub fn missed_at(&self) -> Option<PlayerTime> {
        self.core.life.missed_at(self.core.is_streaming())
    }

    /// Judges the deadlines at `now` and makes time requests due; calling it early does no harm.
    ///
    /// # Errors
    /// The peer has kept silent for too long; the session has closed, as in [`receive`](Self::receive).
    pub fn handle_timeout(&mut self, now: PlayerTime) -> Result<(), SessionError> {
        self.core.life.check(now).map_err(|error| self.core.fail(error))?;
        let streaming = self.core.is_streaming();
        if let Some(requests) = &mut self.core.requests {
            requests.handle_timeout(now, streaming);
        }
        self.core.tell_path();
        Ok(())
    }

    /// Takes a stream that was announced; its audio will come as events. False when it is over already, or was accepted before.
    pub fn accept(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.core.streams.iter_mut().find(|stream| stream.id == id && !stream.accepted) else {
            return false;
        };
        stream.accepted = true;
        let run = stream.run;
        self.core.send(&Message::Accept { id, run });
        if let Some(requests) = &mut self.core.requests {
            requests.burst();
        }
        true
    }

    /// Does not take a stream, or cannot play it any longer. False when it is over already.
    pub fn refuse(&mut self, id: StreamId, reason: &str) -> bool {
        self.core.end(id, |run| Message::Refuse { id, run, reason: reason.to_owned() })
    }

    /// Ends a stream because the newer one of the sender named `by` plays instead. False when it is over already.
    pub fn preempt(&mut self, id: StreamId, by: &str) -> bool {
        self.core.end(id, |run| Message::Preempt { id, run, by: by.to_owned() })
    }

    /// Tells how the player fares; once a second is usual. It replaces a status that is not written yet.
    pub fn status(&mut self, status: PlayerStatus) {
        if !self.core.life.is_closed() {
            let unsent = self.core.status.take().filter(|unsent| unsent.stream == status.stream);
            let spares = [status.spare_ms, unsent.and_then(|unsent| unsent.spare_ms)];
            let spare_ms = spares.into_iter().flatten().min_by(f64::total_cmp);
            self.core.status = Some(PlayerStatus { spare_ms, ..status });
        }
    }

    /// Tells the state of the room, from the beginning and at each change; `revision` counts the changes. It replaces one that is not
    /// written yet. All sessions of a player share the one state.
    pub fn room(&mut self, revision: u64, state: Arc<RoomState>) {
        self.core.room_due = true;
        self.core.room = Some((revision, state));
    }

    /// A change was made: the state told last by [`room`](Self::room) has it.
    pub fn changed(&mut self, number: u32) {
        self.core.answers = Some(number);
        self.core.room_due = true;
    }

    /// A change was not made.
    pub fn not_changed(&mut self, number: u32, refusal: RoomRefusal) {
        self.core.answers = Some(number);
        self.core.send(&Message::SetRefused { number, refusal });
    }

    /// Says bye. The session is over, its last bytes wait in [`poll_transmit`](Self::poll_transmit). Nothing happens when it is over already.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.core.close(code, reason, true);
    }

    /// Whether the stream is accepted and not over.
    #[must_use]
    pub fn is_streaming(&self, id: StreamId) -> bool {
        self.core.streams.iter().any(|stream| stream.id == id && stream.accepted)
    }

    /// Hello of the sender, once it came.
    #[must_use]
    pub fn sender(&self) -> Option<&SenderHello> {
        self.core.sender.as_ref()
    }

    /// Major version in use, while the session is up.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.core.life.version()
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.life.is_closed()
    }

    /// Harmless oddities so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Bytes held: of an unfinished frame and of messages that wait to be written.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.reader.buffered() + self.core.life.queued()
    }
}

impl Core {
    fn handle(&mut self, now: PlayerTime, message: Message<'_>) -> Result<(), SessionError> {
        let kind = message.kind();
        match message {
            Message::Bye(bye) => self.close(bye.code, &bye.reason, false),
            Message::Hello(_) if self.life.is_ready() => return Err(SessionError::SecondHello),
            Message::Hello(hello) => {
                self.life.greet(&hello)?;
                match hello {
                    Hello::Sender(hello) => {
                        self.requests = Some(Requests::new(now, self.datagrams && hello.datagrams));
                        self.sender = Some(hello.clone());
                        self.events.push_back(PlayerEvent::SenderReady(hello));
                    }
                    Hello::Player(_) => return Err(SessionError::SameRole { role: Role::Player }),
                }
            }
            _ if self.life.is_greeting() => return Err(SessionError::BeforeHello { kind }),
            Message::Start { run, start } => self.started(run, start)?,
            Message::Stop { id, run } => {
                if run >= self.next_run {
                    return Err(SessionError::NeverStarted { kind, id, run });
                }
                match self.streams.iter().position(|stream| stream.id == id && stream.run == run) {
                    Some(index) => {
                        self.streams.swap_remove(index);
                        self.events.push_back(PlayerEvent::Stop(id));
                    }
                    None => self.counters.stale += 1,
                }
            }
            Message::Audio(packet) => self.audio(&packet)?,
            Message::Watch { on } => self.events.push_back(PlayerEvent::Watch(on)),
            Message::Identify => self.events.push_back(PlayerEvent::Identify),
            Message::Set { number, change } => {
                if number != self.next_set {
                    return Err(SessionError::SetOrder { number, expected: self.next_set });
                }
                self.next_set = number.wrapping_add(1);
                self.events.push_back(PlayerEvent::Set { number, change });
            }
            Message::TimeReply(reply) => {
                let requests = self.requests.as_mut().ok_or(SessionError::TimeReply { number: reply.number })?;
                let completed = requests.complete(&reply, now)?;
                self.completed(completed);
            }
            Message::Extension { .. } => self.counters.extensions += 1,
            Message::Accept { .. }
            | Message::Refuse { .. }
            | Message::Preempt { .. }
            | Message::Status(_)
            | Message::Room { .. }
            | Message::SetRefused { .. }
            | Message::TimeRequest(_) => {
                return Err(SessionError::NotForRole { role: Role::Sender, kind });
            }
        }
        Ok(())
    }

    fn started(&mut self, run: u32, start: Start) -> Result<(), SessionError> {
        let Start { id, format, latency, .. } = start;
        if run != self.next_run {
            return Err(SessionError::StartNumber { id, run, expected: self.next_run });
        }
        if self.streams.iter().any(|stream| stream.id == id) {
            return Err(SessionError::StartTwice { id });
        }
        if self.streams.len() == MAX_STREAMS {
            return Err(SessionError::TooManyStreams);
        }
        self.next_run = self.next_run.saturating_add(1);
        if !self.formats.takes(&format) {
            let reason = format!("{format} is not taken, only {}", self.formats);
            self.send(&Message::Refuse { id, run, reason });
            return Ok(());
        }
        if latency > self.max_latency {
            let reason = format!("latency {latency} is more than the {} that the player can hold", self.max_latency);
            self.send(&Message::Refuse { id, run, reason });
            return Ok(());
        }
        self.streams.push(Stream { id, run, format, accepted: false, last_seq: None });
        self.events.push_back(PlayerEvent::Start(start));
        Ok(())
    }

    fn audio(&mut self, packet: &AudioPacket<'_>) -> Result<(), SessionError> {
        let &AudioPacket { id, seq, stamp, glide, payload } = packet;
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id && stream.accepted) else {
            self.counters.ignored_audio += 1;
            return Ok(());
        };
        stream.format.check_payload(payload.len()).map_err(|error| SessionError::AudioLength { id, error })?;
        let most = stream.format.max_glide();
        if glide.abs() > most {
            return Err(SessionError::AudioGlide { id, glide, most });
        }
        if let Some(last) = stream.last_seq {
            // Half of the circle is ahead of a number, the other half behind it.
            if !(1..1 << 31).contains(&seq.wrapping_sub(last)) {
                return Err(SessionError::AudioOrder { id, seq, last });
            }
        }
        stream.last_seq = Some(seq);
        self.events.push_back(PlayerEvent::Audio { id, seq, stamp, glide, payload: payload.to_vec() });
        Ok(())
    }

    fn is_streaming(&self) -> bool {
        self.streams.iter().any(|stream| stream.accepted)
    }

    fn completed(&mut self, completed: Completed) {
        match completed {
            Completed::Exchange(exchange) => self.events.push_back(PlayerEvent::Exchange(exchange)),
            Completed::Heartbeat => {}
            Completed::Stale => self.counters.stale += 1,
        }
    }

    fn tell_path(&mut self) {
        let news = self.requests.as_mut().and_then(Requests::news);
        self.events.extend(news.map(PlayerEvent::TimePath));
    }

    fn end(&mut self, id: StreamId, message: impl FnOnce(u32) -> Message<'static>) -> bool {
        let Some(index) = self.streams.iter().position(|stream| stream.id == id) else {
            return false;
        };
        let run = self.streams.swap_remove(index).run;
        self.send(&message(run));
        true
    }

    fn send(&mut self, message: &Message<'_>) {
        if !self.life.queue(message) {
            self.close(CloseCode::Slow, "peer does not read what it is sent", true);
        }
    }

    fn fail(&mut self, error: SessionError) -> SessionError {
        self.close(error.close_code(), &error.to_string(), true);
        error
    }

    fn close(&mut self, code: CloseCode, reason: &str, bye: bool) {
        if self.life.is_closed() {
            return;
        }
        let reason = text::clip(reason, MAX_REASON);
        self.life.close(bye.then_some((code, reason.as_str())));
        self.streams.clear();
        self.status = None;
        self.room = None;
        self.requests = None;
        self.events.push_back(PlayerEvent::Closed { code, reason });
    }
}

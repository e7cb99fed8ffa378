//! Session of the end that sends audio.

use std::collections::VecDeque;

use audera_clock::{Sender, SenderTime};

use crate::close::CloseCode;
use crate::datagram::DATAGRAM_LEN;
use crate::frame::{FrameReader, FrameType};
use crate::hello::{Hello, PlayerHello, Role, SenderHello};
use crate::limits::{MAX_REASON, MAX_STREAMS, MAX_TIME_PENDING};
use crate::message::Message;
use crate::room::{RoomChange, RoomRefusal, RoomState};
use crate::session::Counters;
use crate::session::answers::Answers;
use crate::session::error::{SessionError, SetError, StartError};
use crate::session::life::Life;
use crate::session::orders::Orders;
use crate::status::PlayerStatus;
use crate::stream::{Start, StreamId};
use crate::text;
use crate::time::{TimeReply, TimeRequest};

/// What a sender learns from its session.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum SenderEvent {
    /// The player said hello; streams may be started.
    PlayerReady(PlayerHello),
    /// The player takes the stream; its audio may be written.
    Accepted(StreamId),
    /// The player does not take the stream, or cannot play it any longer. The stream is over on this connection.
    Refused {
        /// Stream.
        id: StreamId,
        /// Why, for people.
        reason: String,
    },
    /// The newer stream of another sender plays instead. The stream is over on this connection.
    Preempted {
        /// Stream.
        id: StreamId,
        /// Name of the other sender.
        by: String,
    },
    /// How the player fares, once a second and when its state changes.
    Status(PlayerStatus),
    /// The state of the room: after the hello, and when it has changed, whoever changed it.
    Room {
        /// Counts the changes of the state since the player has started.
        revision: u64,
        /// The state.
        state: RoomState,
        /// Whether all own changes are in it, or were refused. While they are not, the state says less than is known already.
        settled: bool,
    },
    /// The player has not made a change that was asked for with [`SenderSession::set`].
    SetRefused(RoomRefusal),
    /// The player has not answered this change within [`SET_LIMIT`](crate::SET_LIMIT): whether it has made it is not known, unless
    /// it still answers.
    SetUnanswered(RoomChange),
    /// The session is over; always the last event. The code is the peer's if it said bye, else the own one.
    Closed {
        /// Why.
        code: CloseCode,
        /// The same for people.
        reason: String,
    },
}

/// Session of the end that sends audio, whoever dialled. See the crate's page for the loop around it.
///
/// `now` is the sender's monotonic clock and must not go back.
#[derive(Debug)]
pub struct SenderSession {
    reader: FrameReader,
    core: Core,
}

#[derive(Debug)]
struct Core {
    life: Life<Sender>,
    /// Whether our transport takes datagrams.
    datagrams: bool,
    /// Answers in datagrams, if both ends take them.
    answers: Option<Answers>,
    player: Option<PlayerHello>,
    streams: Vec<Stream>,
    next_run: u32,
    orders: Orders,
    /// Whether the player has told its room's state.
    room_known: bool,
    /// Requests that wait for their reply, with the time of their arrival.
    asked: VecDeque<(TimeRequest, SenderTime)>,
    events: VecDeque<SenderEvent>,
    counters: Counters,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    run: u32,
    accepted: bool,
}

impl SenderSession {
    /// Begins a session on a connection that was made just now.
    #[must_use]
    pub fn new(hello: SenderHello, now: SenderTime) -> Self {
        let datagrams = hello.datagrams;
        let core = Core {
            life: Life::new(&Hello::Sender(hello), now),
            datagrams,
            answers: None,
            player: None,
            streams: Vec::new(),
            next_run: 0,
            orders: Orders::default(),
            room_known: false,
            asked: VecDeque::new(),
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
    pub fn receive(&mut self, now: SenderTime, bytes: &[u8]) -> Result<(), SessionError> {
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

    fn read(&mut self, now: SenderTime) -> Result<(), SessionError> {
        while !self.core.life.is_closed() {
            let Some(frame) = self.reader.next()? else {
                break;
            };
            self.core.handle(now, Message::decode(frame)?)?;
        }
        Ok(())
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.core.events.pop_front()
    }

    /// Appends the bytes to be written now, whole frames, ahead of any audio; whether there were any.
    ///
    /// Time replies are stamped with `now`: call it when the transport can take the bytes at once.
    pub fn poll_transmit(&mut self, now: SenderTime, out: &mut Vec<u8>) -> bool {
        let mut any = self.core.life.transmit(out);
        if let Some((number, change)) = self.core.take_order(now) {
            Message::Set { number, change }.encode(out);
            any = true;
        }
        for (request, received) in self.core.asked.drain(..) {
            let TimeRequest { number, sent } = request;
            Message::TimeReply(TimeReply { number, sent, received, replied: now.max(received) }).encode(out);
            any = true;
        }
        any
    }

    /// Takes the payload of a datagram that the peer has sent, as its transport has proved, and that arrived at `arrived`.
    ///
    /// Datagrams come and go as they like: one that makes no sense is ignored, and so are requests beyond
    /// [`DATAGRAM_RATE`](crate::DATAGRAM_RATE).
    pub fn receive_datagram(&mut self, arrived: SenderTime, payload: &[u8]) {
        let Some(answers) = &mut self.core.answers else { return };
        if !answers.receive(arrived, payload) {
            self.core.counters.stale += 1;
        }
    }

    /// The payload of a datagram to be sent now, if any; to be called whenever `poll_transmit` is, and as long as it gives one.
    ///
    /// Replies are stamped with `now`: call it when there is a way to the peer, and send at once.
    pub fn poll_datagram(&mut self, now: SenderTime) -> Option<[u8; DATAGRAM_LEN]> {
        Some(self.core.answers.as_mut()?.take(now)?.encode())
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, `poll_transmit` and `poll_datagram` after it; `None` after
    /// the end.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SenderTime> {
        let deadline = self.core.life.deadline()?;
        let sign = self.core.answers.as_ref().and_then(Answers::timeout);
        [sign, self.core.orders.deadline()].into_iter().flatten().chain([deadline]).min()
    }

    /// When the player is to have been heard again if all is well. From then on something is in the way, and a new connection may be
    /// through sooner than this one; `None` while there is nothing to expect.
    #[must_use]
    pub fn missed_at(&self) -> Option<SenderTime> {
        self.core.life.missed_at(self.core.streams.iter().any(|stream| stream.accepted))
    }

    /// Judges the deadlines at `now`; calling it early does no harm.
    ///
    /// # Errors
    /// The peer has kept silent for too long; the session has closed, as in [`receive`](Self::receive).
    pub fn handle_timeout(&mut self, now: SenderTime) -> Result<(), SessionError> {
        self.core.life.check(now).map_err(|error| self.core.fail(error))?;
        if let Some(answers) = &mut self.core.answers {
            answers.handle_timeout(now);
        }
        self.core.events.extend(self.core.orders.expire(now).map(SenderEvent::SetUnanswered));
        Ok(())
    }

    /// Announces a stream. Audio follows after [`SenderEvent::Accepted`].
    ///
    /// # Errors
    /// It cannot be started here and now; nothing is sent.
    pub fn start(&mut self, start: Start) -> Result<(), StartError> {
        self.core.start(start)
    }

    /// Ends a stream; the player plays out what it got. Call it after the last audio was written: what comes later is
    /// ignored by the player. Nothing happens when the stream is over already.
    pub fn stop(&mut self, id: StreamId) {
        if let Some(index) = self.core.streams.iter().position(|stream| stream.id == id) {
            let run = self.core.streams.swap_remove(index).run;
            self.core.send(&Message::Stop { id, run });
        }
    }

    /// Asks to be told how the player fares, whether or not it plays a stream of ours; or no longer. False before the player's hello
    /// and after the end.
    pub fn watch(&mut self, on: bool) -> bool {
        let ready = self.core.life.is_ready();
        if ready {
            self.core.send(&Message::Watch { on });
        }
        ready
    }

    /// Asks the room to play a short sound. False before the player's hello and after the
    /// end.
    pub fn identify(&mut self) -> bool {
        let ready = self.core.life.is_ready();
        if ready {
            self.core.send(&Message::Identify);
        }
        ready
    }

    /// Changes the state of the room. What is asked for while a change is under way waits, see [`RoomChanges`](crate::RoomChanges): the last
    /// word on each key is never lost.
    ///
    /// # Errors
    /// It cannot be asked for here and now; nothing is sent.
    pub fn set(&mut self, change: RoomChange) -> Result<(), SetError> {
        if self.core.life.is_closed() {
            return Err(SetError::Closed);
        }
        if !self.core.room_known {
            return Err(SetError::NotReady);
        }
        change.check_size()?;
        Ok(self.core.orders.add(change)?)
    }

    /// Whether all own changes of the room are done, refused, or given up.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.core.orders.is_settled()
    }

    /// Says bye. The session is over, its last bytes wait in [`poll_transmit`](Self::poll_transmit). Nothing happens when it is over already.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.core.close(code, reason, true);
    }

    /// Whether audio of the stream may be written: accepted, and not over.
    #[must_use]
    pub fn is_streaming(&self, id: StreamId) -> bool {
        self.core.streams.iter().any(|stream| stream.id == id && stream.accepted)
    }

    /// Hello of the player, once it came.
    #[must_use]
    pub fn player(&self) -> Option<&PlayerHello> {
        self.core.player.as_ref()
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
    fn handle(&mut self, now: SenderTime, message: Message<'_>) -> Result<(), SessionError> {
        let kind = message.kind();
        match message {
            Message::Bye(bye) => self.close(bye.code, &bye.reason, false),
            Message::Hello(_) if self.life.is_ready() => return Err(SessionError::SecondHello),
            Message::Hello(hello) => {
                self.life.greet(&hello)?;
                match hello {
                    Hello::Player(hello) => {
                        self.answers = (self.datagrams && hello.datagrams).then(|| Answers::new(now));
                        self.player = Some(hello.clone());
                        self.events.push_back(SenderEvent::PlayerReady(hello));
                    }
                    Hello::Sender(_) => return Err(SessionError::SameRole { role: Role::Sender }),
                }
            }
            _ if self.life.is_greeting() => return Err(SessionError::BeforeHello { kind }),
            Message::Accept { id, run } => {
                if let Some(index) = self.find(kind, id, run)? {
                    if self.streams[index].accepted {
                        return Err(SessionError::AcceptTwice { id });
                    }
                    self.streams[index].accepted = true;
                    self.events.push_back(SenderEvent::Accepted(id));
                }
            }
            Message::Refuse { id, run, reason } => {
                if let Some(index) = self.find(kind, id, run)? {
                    self.streams.swap_remove(index);
                    self.events.push_back(SenderEvent::Refused { id, reason });
                }
            }
            Message::Preempt { id, run, by } => {
                if let Some(index) = self.find(kind, id, run)? {
                    self.streams.swap_remove(index);
                    self.events.push_back(SenderEvent::Preempted { id, by });
                }
            }
            Message::Status(status) => self.events.push_back(SenderEvent::Status(status)),
            Message::Room { revision, answers, state } => {
                if let Some(number) = answers {
                    self.orders.answered(kind, number)?;
                }
                self.room_known = true;
                self.events.push_back(SenderEvent::Room { revision, state, settled: self.orders.is_settled() });
            }
            Message::SetRefused { number, refusal } => {
                self.orders.answered(kind, number)?;
                self.events.push_back(SenderEvent::SetRefused(refusal));
            }
            Message::TimeRequest(request) => {
                // The oldest reply would be the worst one by now.
                if self.asked.len() == MAX_TIME_PENDING {
                    self.asked.pop_front();
                }
                self.asked.push_back((request, now));
            }
            Message::Extension { .. } => self.counters.extensions += 1,
            Message::Start { .. }
            | Message::Stop { .. }
            | Message::Audio(_)
            | Message::TimeReply(_)
            | Message::Set { .. }
            | Message::Identify
            | Message::Watch { .. } => {
                return Err(SessionError::NotForRole { role: Role::Player, kind });
            }
        }
        Ok(())
    }

    /// The stream that a player's message is about; `None` when that run of it is over.
    fn find(&mut self, kind: FrameType, id: StreamId, run: u32) -> Result<Option<usize>, SessionError> {
        if run >= self.next_run {
            return Err(SessionError::NeverStarted { kind, id, run });
        }
        let index = self.streams.iter().position(|stream| stream.id == id && stream.run == run);
        self.counters.stale += u64::from(index.is_none());
        Ok(index)
    }

    fn start(&mut self, start: Start) -> Result<(), StartError> {
        if self.life.is_closed() {
            return Err(StartError::Closed);
        }
        start.validate()?;
        let player = self.player.as_ref().ok_or(StartError::NotReady)?;
        let Start { id, format, latency, .. } = start;
        if !player.formats.takes(&format) {
            return Err(StartError::NotTaken { format, formats: player.formats.clone() });
        }
        if latency > player.max_latency {
            let (us, max_us) = (latency.as_nanos() / 1_000, player.max_latency.as_nanos() / 1_000);
            return Err(StartError::Latency { us, max_us });
        }
        if self.streams.iter().any(|stream| stream.id == id) {
            return Err(StartError::InUse { id });
        }
        let next_run = self.next_run.checked_add(1).ok_or(StartError::TooMany)?;
        if self.streams.len() == MAX_STREAMS {
            return Err(StartError::TooMany);
        }
        let run = std::mem::replace(&mut self.next_run, next_run);
        self.streams.push(Stream { id, run, accepted: false });
        self.send(&Message::Start { run, start });
        Ok(())
    }

    fn take_order(&mut self, now: SenderTime) -> Option<(u32, RoomChange)> {
        if self.life.is_ready() { self.orders.take(now) } else { None }
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
        self.asked.clear();
        self.answers = None;
        self.events.push_back(SenderEvent::Closed { code, reason });
    }
}

//! Oracle of a session whose peer and caller do anything.

use audera_clock::{PlayerTime, SenderTime, Span, Time};
use audera_wire::{
    CloseCode, Datagram, FrameReader, FrameType, HEADER_LEN, Hello, MAX_PAYLOAD, MAX_QUEUED, Message, PlayerEvent,
    PlayerSession, SenderEvent, SenderSession, SessionError,
};

use super::script::Script;

/// Bytes a session may hold: an unfinished frame, and the queue with the message that exceeds it and the bye.
const MAX_HELD: usize = HEADER_LEN + MAX_PAYLOAD + MAX_QUEUED + 2 * 4104;

/// What must hold for a session of either role, gathered while it runs.
#[derive(Default)]
struct Watch {
    closed: bool,
    failed: bool,
    bye: bool,
    first: Option<FrameType>,
}

impl Watch {
    fn event(&mut self, closes: bool) {
        assert!(!self.closed, "an event after the end");
        self.closed = closes;
    }

    fn result(&mut self, result: Result<(), SessionError>) {
        if let Err(error) = result {
            assert!(!self.failed && !self.closed, "a second failure: {error}");
            assert!(!error.to_string().is_empty());
            self.failed = true;
        }
    }

    /// What a session writes is what the protocol allows it to write.
    fn written(&mut self, any: bool, bytes: &[u8], own: &[FrameType]) {
        assert_eq!(any, !bytes.is_empty());
        let mut reader = FrameReader::new();
        reader.push(bytes);
        while let Some(frame) = reader.next().expect("own frames are frames") {
            assert!(!self.bye, "something was written after the bye");
            let kind = frame.kind;
            Message::decode(frame).expect("own messages are messages");
            let first = *self.first.get_or_insert(kind);
            assert!(matches!(first, FrameType::Hello | FrameType::Bye), "{first} came first");
            assert!(
                matches!(kind, FrameType::Hello | FrameType::Bye) || own.contains(&kind),
                "{kind} of the wrong role"
            );
            self.bye = kind == FrameType::Bye;
        }
        assert_eq!(reader.buffered(), 0, "part of a frame was written");
    }

    fn held(&self, bytes: usize) {
        assert!(bytes <= MAX_HELD, "{bytes} bytes are held");
    }
}

/// A sender's session.
pub fn sender(bytes: &[u8]) {
    const OWN: &[FrameType] = &[
        FrameType::Start,
        FrameType::Stop,
        FrameType::TimeReply,
        FrameType::Watch,
        FrameType::Set,
        FrameType::Identify,
    ];
    let mut script = Script::new(bytes);
    let mut now = SenderTime::from_nanos(0);
    let mut session = SenderSession::new(script.sender_hello(), now);
    let mut watch = Watch::default();
    if script.below(4) != 0 {
        watch.result(session.receive(now, &encoded(Hello::Player(script.player_hello()))));
    }
    while !script.is_over() {
        match script.below(15) {
            0..=4 => watch.result(session.receive(now, &script.message())),
            5 => {
                let len = usize::from(script.byte());
                watch.result(session.receive(now, script.bytes(len)));
            }
            6 => now += Span::from_millis(i64::from(script.short()) / 16),
            7 => {
                let id = script.id();
                if session.start(script.start(id)).is_ok() {
                    assert!(!session.is_streaming(id), "no audio before the player accepts");
                }
            }
            8 => {
                let id = script.id();
                session.stop(id);
                assert!(!session.is_streaming(id));
            }
            9 if script.below(8) == 0 => session.close(CloseCode::Shutdown, &script.text()),
            10 => {
                let mut out = Vec::new();
                let any = session.poll_transmit(now, &mut out);
                watch.written(any, &out, OWN);
            }
            11 => session.receive_datagram(before(now, script.short()), &script.datagram()),
            12 => {
                while let Some(payload) = session.poll_datagram(now) {
                    assert!(!session.is_closed(), "a datagram after the end");
                    let datagram = Datagram::decode(&payload).expect("own payloads are payloads");
                    assert!(!matches!(datagram, Datagram::Request(_)));
                }
            }
            13 => {
                let _ = session.set(script.change());
                let on = script.below(2) == 0;
                assert!(!session.watch(on) || session.player().is_some());
            }
            _ => {
                while let Some(event) = session.poll_event() {
                    watch.event(matches!(event, SenderEvent::Closed { .. }));
                }
                assert_eq!(watch.closed, session.is_closed());
            }
        }
        watch.result(session.handle_timeout(now));
        watch.held(session.buffered());
        assert_eq!(session.next_timeout().is_none(), session.is_closed());
        assert!(session.next_timeout().is_none_or(|at| at > now), "a deadline was missed");
        assert!(!watch.failed || session.is_closed(), "a failed session goes on");
    }
    session.close(CloseCode::Shutdown, "the end");
    while let Some(event) = session.poll_event() {
        watch.event(matches!(event, SenderEvent::Closed { .. }));
    }
    assert!(watch.closed, "a session that is over says so");
    let mut out = Vec::new();
    let any = session.poll_transmit(now, &mut out);
    watch.written(any, &out, OWN);
    assert!(!session.poll_transmit(now, &mut out));
}

/// A player's session.
pub fn player(bytes: &[u8]) {
    const OWN: &[FrameType] =
        &[FrameType::Accept, FrameType::Refuse, FrameType::Preempt, FrameType::Status, FrameType::TimeRequest];
    let mut script = Script::new(bytes);
    let mut now = PlayerTime::from_nanos(0);
    let mut session = PlayerSession::new(script.player_hello(), now);
    let mut watch = Watch::default();
    if script.below(4) != 0 {
        watch.result(session.receive(now, &encoded(Hello::Sender(script.sender_hello()))));
    }
    while !script.is_over() {
        match script.below(16) {
            0..=4 => watch.result(session.receive(now, &script.message())),
            5 => {
                let len = usize::from(script.byte());
                watch.result(session.receive(now, script.bytes(len)));
            }
            6 => now += Span::from_millis(i64::from(script.short()) / 16),
            7 | 8 => {
                let id = script.id();
                // Accepting may be the drop that makes the queue overflow, hence the second condition.
                assert!(!session.accept(id) || session.is_streaming(id) || session.is_closed());
            }
            9 => {
                let id = script.id();
                let over = if script.below(2) == 0 { session.refuse(id, "busy") } else { session.preempt(id, "other") };
                assert!(!session.is_streaming(id));
                assert!(!over || !session.accept(id), "a stream that is over was accepted");
            }
            10 => session.status(script.status()),
            11 if script.below(8) == 0 => session.close(CloseCode::Shutdown, &script.text()),
            12 => {
                let mut out = Vec::new();
                let any = session.poll_transmit(now, &mut out);
                watch.written(any, &out, OWN);
            }
            13 => session.receive_datagram(before(now, script.short()), &script.datagram()),
            14 => {
                while let Some(payload) = session.poll_datagram(now) {
                    assert!(!session.is_closed(), "a datagram after the end");
                    let datagram = Datagram::decode(&payload).expect("own payloads are payloads");
                    assert!(matches!(datagram, Datagram::Request(_)));
                }
            }
            _ => {
                while let Some(event) = session.poll_event() {
                    watch.event(matches!(event, PlayerEvent::Closed { .. }));
                }
                assert_eq!(watch.closed, session.is_closed());
            }
        }
        watch.result(session.handle_timeout(now));
        watch.held(session.buffered());
        assert_eq!(session.next_timeout().is_none(), session.is_closed());
        assert!(session.next_timeout().is_none_or(|at| at > now), "a deadline was missed");
        assert!(!watch.failed || session.is_closed(), "a failed session goes on");
    }
    session.close(CloseCode::Shutdown, "the end");
    while let Some(event) = session.poll_event() {
        watch.event(matches!(event, PlayerEvent::Closed { .. }));
    }
    assert!(watch.closed, "a session that is over says so");
    let mut out = Vec::new();
    let any = session.poll_transmit(now, &mut out);
    watch.written(any, &out, OWN);
    assert!(!session.poll_transmit(now, &mut out));
}

fn encoded(hello: Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    bytes
}

/// A little earlier, but not before the clock began.
fn before<S>(now: Time<S>, micros: u16) -> Time<S> {
    Time::from_nanos((now - Span::from_micros(i64::from(micros))).as_nanos().max(0))
}

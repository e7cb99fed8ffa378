//! Sequences of messages that the rules forbid: each ends the session with its own error and a bye that says so.

use audera_clock::{PlayerTime, SenderTime, Span};
use audera_wire::{
    AudioPacket, Bye, CloseCode, Coding, FrameReader, FrameType, Hello, Message, PlayerEvent, PlayerHello,
    PlayerSession, PlayerStatus, RoomChange, RoomRefusal, RoomState, SenderEvent, SenderHello, SenderSession, Start,
    StreamFormat, StreamId, TimeReply, TimeRequest,
};

const ID: StreamId = StreamId(1);
const PLAYER_NOW: PlayerTime = PlayerTime::from_nanos(1_000);
const SENDER_NOW: SenderTime = SenderTime::from_nanos(2_000);

fn start(id: u32, run: u32) -> Message<'static> {
    let format = StreamFormat { coding: Coding::PcmS16le, rate: 48_000, channels: 1, frames: 32 };
    let start = Start { id: StreamId(id), format, latency: Span::from_millis(80), title: String::new() };
    Message::Start { run, start }
}

fn audio(seq: u32, payload: &[u8]) -> Message<'_> {
    Message::Audio(AudioPacket { id: ID, seq, stamp: SENDER_NOW, glide: Span::ZERO, payload })
}

fn gliding(seq: u32, glide: Span, payload: &[u8]) -> Message<'_> {
    Message::Audio(AudioPacket { id: ID, seq, stamp: SENDER_NOW, glide, payload })
}

fn sender_hello() -> Message<'static> {
    Message::Hello(Hello::Sender(SenderHello::new("desk", "test 1")))
}

fn player_hello() -> Message<'static> {
    Message::Hello(Hello::Player(PlayerHello::new("Kitchen", "test 1")))
}

fn room(answers: Option<u32>) -> Message<'static> {
    Message::Room { revision: 0, answers, state: RoomState::new("Kitchen") }
}

fn set(number: u32) -> Message<'static> {
    Message::Set { number, change: RoomChange::volume(40.0) }
}

fn set_refused(number: u32) -> Message<'static> {
    let refusal = RoomRefusal { key: "volume".into(), value: "101".into(), accepted: "0 to 100".into() };
    Message::SetRefused { number, refusal }
}

fn bytes(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes
}

/// The bye at the end of what a session wrote.
fn bye(written: &[u8]) -> (CloseCode, String) {
    let mut reader = FrameReader::new();
    reader.push(written);
    let mut last = None;
    while let Some(frame) = reader.next().unwrap() {
        assert!(last.is_none(), "nothing follows a bye");
        if let Message::Bye(bye) = Message::decode(frame).unwrap() {
            last = Some((bye.code, bye.reason));
        }
    }
    last.expect("a session that fails says bye")
}

/// What a player's session makes of `messages`, after it accepts every stream that it is offered.
fn player_fails(messages: &[Message<'_>]) -> (CloseCode, String) {
    let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
    let mut error = None;
    let mut closed = None;
    for message in messages {
        assert!(error.is_none(), "only the last message is illegal");
        error = session.receive(PLAYER_NOW, &bytes(std::slice::from_ref(message))).err();
        while let Some(event) = session.poll_event() {
            assert_eq!(closed, None);
            match event {
                PlayerEvent::Start(start) => assert!(session.accept(start.id)),
                PlayerEvent::Closed { code, reason } => closed = Some((code, reason)),
                _ => {}
            }
        }
    }
    let error = error.expect("the last message is illegal");
    let mut written = Vec::new();
    session.poll_transmit(PLAYER_NOW, &mut written);
    assert_eq!(closed, Some(bye(&written)));
    assert_eq!(closed, Some((error.close_code(), error.to_string())));
    assert_eq!(session.receive(PLAYER_NOW, &bytes(messages)), Ok(()), "what comes later is dropped");
    assert_eq!(session.poll_event(), None);
    (error.close_code(), error.to_string())
}

/// What a sender's session makes of `messages`, after it started stream 1 as number 0.
fn sender_fails(messages: &[Message<'_>]) -> (CloseCode, String) {
    let mut session = SenderSession::new(SenderHello::new("desk", "test 1"), SENDER_NOW);
    let mut error = None;
    let mut closed = None;
    for message in messages {
        assert!(error.is_none(), "only the last message is illegal");
        error = session.receive(SENDER_NOW, &bytes(std::slice::from_ref(message))).err();
        while let Some(event) = session.poll_event() {
            assert_eq!(closed, None);
            match event {
                SenderEvent::PlayerReady(_) => {
                    let Message::Start { start, .. } = start(1, 0) else { unreachable!() };
                    session.start(start).unwrap();
                }
                SenderEvent::Closed { code, reason } => closed = Some((code, reason)),
                _ => {}
            }
        }
    }
    let error = error.expect("the last message is illegal");
    let mut written = Vec::new();
    session.poll_transmit(SENDER_NOW, &mut written);
    assert_eq!(closed, Some(bye(&written)));
    assert_eq!(session.poll_event(), None);
    (error.close_code(), error.to_string())
}

fn protocol(reason: &str) -> (CloseCode, String) {
    (CloseCode::Protocol, reason.to_owned())
}

#[test]
fn nothing_comes_before_the_hello() {
    assert_eq!(player_fails(&[start(1, 0)]), protocol("peer sent start before its hello"));
    assert_eq!(player_fails(&[audio(0, &[0; 64])]), protocol("peer sent audio before its hello"));
    let early = Message::Extension { byte: 0x80, payload: &[] };
    assert_eq!(sender_fails(&[early]), protocol("peer sent extension 0x80 before its hello"));
    let request = Message::TimeRequest(TimeRequest { number: 0, sent: PLAYER_NOW });
    assert_eq!(sender_fails(&[request]), protocol("peer sent time request before its hello"));
}

#[test]
fn a_hello_comes_once() {
    assert_eq!(player_fails(&[sender_hello(), sender_hello()]), protocol("peer sent a second hello"));
    assert_eq!(sender_fails(&[player_hello(), player_hello()]), protocol("peer sent a second hello"));
}

#[test]
fn a_sender_and_a_player_are_needed() {
    let text =
        |role| format!("both ends are a {role}: a sender and a player are needed, check the address that was dialled");
    assert_eq!(player_fails(&[player_hello()]), (CloseCode::Role, text("player")));
    assert_eq!(sender_fails(&[sender_hello()]), (CloseCode::Role, text("sender")));
}

#[test]
fn a_common_version_is_needed_and_judged_before_the_rest_of_the_hello() {
    // {"role": "choir", "versions": [2, 3]}: a hello of which this version understands nothing else.
    let payload = b"\xa2\x64role\x65choir\x68versions\x82\x02\x03";
    let mut hello = vec![0, 0, 0, u8::try_from(payload.len()).unwrap(), 0x01, 0, 0, 0];
    hello.extend_from_slice(payload);
    let mut session = SenderSession::new(SenderHello::new("desk", "test 1"), SENDER_NOW);
    let error = session.receive(SENDER_NOW, &hello).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Version);
    assert_eq!(error.to_string(), "versions [2, 3] of the peer are not spoken here, only [1]: update the older side");

    let both =
        Message::Hello(Hello::Player(PlayerHello { versions: vec![7, 1, 2], ..PlayerHello::new("Kitchen", "test 9") }));
    let mut session = SenderSession::new(SenderHello::new("desk", "test 1"), SENDER_NOW);
    session.receive(SENDER_NOW, &bytes(&[both])).unwrap();
    assert_eq!(session.version(), Some(1));
}

#[test]
fn each_role_has_its_own_messages() {
    let run = |make: fn(StreamId, u32) -> Message<'static>| make(ID, 0);
    let of_players = [
        run(|id, run| Message::Accept { id, run }),
        run(|id, run| Message::Refuse { id, run, reason: String::new() }),
        run(|id, run| Message::Preempt { id, run, by: String::new() }),
        Message::Status(PlayerStatus::default()),
        room(None),
        set_refused(0),
        Message::TimeRequest(TimeRequest { number: 0, sent: PLAYER_NOW }),
    ];
    for message in of_players {
        let reason = format!("a sender must not send {}", message.kind());
        assert_eq!(player_fails(&[sender_hello(), message]), protocol(&reason));
    }
    let reply = TimeReply { number: 0, sent: PLAYER_NOW, received: SENDER_NOW, replied: SENDER_NOW };
    let of_senders = [
        start(2, 0),
        run(|id, run| Message::Stop { id, run }),
        audio(0, &[0; 64]),
        Message::TimeReply(reply),
        Message::Watch { on: true },
        Message::Identify,
        set(0),
    ];
    for message in of_senders {
        let reason = format!("a player must not send {}", message.kind());
        assert_eq!(sender_fails(&[player_hello(), message]), protocol(&reason));
    }
}

#[test]
fn changes_of_the_room_are_counted_and_answers_are_to_what_was_asked() {
    assert_eq!(player_fails(&[sender_hello(), set(1)]), protocol("peer sent change 1 of the room where 0 is next"));
    let twice = player_fails(&[sender_hello(), set(0), set(0)]);
    assert_eq!(twice, protocol("peer sent change 0 of the room where 1 is next"));
    let reason =
        |kind| format!("peer sent {kind} as an answer to change 3, which was not asked for or is answered already");
    assert_eq!(sender_fails(&[player_hello(), room(None), room(Some(3))]), protocol(&reason("room")));
    assert_eq!(sender_fails(&[player_hello(), set_refused(3)]), protocol(&reason("set refused")));
}

/// {"number": 0, "change": {KEY: VALUE}} as a frame, with the value as CBOR.
fn set_of(key: &str, value: &[u8]) -> Vec<u8> {
    let mut payload = b"\xa2\x66number\x00\x66change\xa1".to_vec();
    payload.push(0x60 + u8::try_from(key.len()).unwrap());
    payload.extend_from_slice(key.as_bytes());
    payload.extend_from_slice(value);
    let mut frame = vec![0, 0, 0, u8::try_from(payload.len()).unwrap(), 0x18, 0, 0, 0];
    frame.extend_from_slice(&payload);
    frame
}

#[test]
fn a_change_of_a_wrong_type_ends_the_session_and_unknown_keys_do_not() {
    let receive = |frame: Vec<u8>| {
        let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
        session.receive(PLAYER_NOW, &bytes(&[sender_hello()])).unwrap();
        session.receive(PLAYER_NOW, &frame).map_err(|error| error.to_string())
    };
    // Text, NaN and a list where a number belongs; a number where a truth belongs; 33 groups; a name too long.
    for (key, value) in [
        ("volume", b"\x62up".to_vec()),
        ("volume", b"\xf9\x7e\x00".to_vec()),
        ("startup_volume", b"\xf9\x7c\x00".to_vec()),
        ("volume_step", b"\x80".to_vec()),
        ("mute", b"\x01".to_vec()),
        ("groups", [&b"\x98\x21"[..], &b"\x61a".repeat(33)].concat()),
    ] {
        assert!(receive(set_of(key, &value)).unwrap_err().starts_with("set message cannot be read: "), "{key}");
    }
    assert_eq!(receive(set_of("colour", b"\x63red")), Ok(()));
    assert_eq!(receive(set_of("startup_volume", b"\xf6")), Ok(()));
}

#[test]
fn starts_are_counted_and_unique() {
    let wrong = player_fails(&[sender_hello(), start(1, 1)]);
    assert_eq!(wrong, protocol("start of stream 1 is number 1 where 0 is next"));
    let twice = player_fails(&[sender_hello(), start(1, 0), start(1, 1)]);
    assert_eq!(twice, protocol("stream 1 is started already"));
    let mut messages = vec![sender_hello()];
    messages.extend((0..17).map(|n| start(n, n)));
    assert_eq!(player_fails(&messages), protocol("peer started more than 16 streams at once"));
}

#[test]
fn messages_are_about_streams_that_were_started() {
    let never = player_fails(&[sender_hello(), start(1, 0), Message::Stop { id: ID, run: 1 }]);
    assert_eq!(never, protocol("peer sent stop for start 1 of stream 1, which never was"));
    let never = sender_fails(&[player_hello(), Message::Accept { id: ID, run: 1 }]);
    assert_eq!(never, protocol("peer sent accept for start 1 of stream 1, which never was"));
    let accept = Message::Accept { id: ID, run: 0 };
    assert_eq!(sender_fails(&[player_hello(), accept.clone(), accept]), protocol("peer accepted stream 1 twice"));
}

#[test]
fn a_stop_of_an_old_start_leaves_the_new_one_alone() {
    let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
    let old = Message::Stop { id: ID, run: 0 };
    session.receive(PLAYER_NOW, &bytes(&[sender_hello(), start(1, 0), old.clone(), start(1, 1)])).unwrap();
    assert!(session.accept(ID));
    assert_eq!(session.receive(PLAYER_NOW, &bytes(&[old])), Ok(()));
    assert!(session.is_streaming(ID));
    assert_eq!(session.counters().stale, 1);
}

#[test]
fn nothing_is_written_to_a_peer_that_said_bye() {
    let bye = Message::Bye(Bye { code: CloseCode::Shutdown, reason: String::new() });
    let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
    session.receive(PLAYER_NOW, &bytes(&[sender_hello(), start(1, 0)])).unwrap();
    assert!(session.accept(ID));
    session.status(PlayerStatus::default());
    session.receive(PLAYER_NOW, &bytes(&[bye])).unwrap();
    let mut written = Vec::new();
    assert!(!session.poll_transmit(PLAYER_NOW, &mut written));
    assert_eq!(written, []);
}

#[test]
fn audio_fits_its_stream_and_goes_forward() {
    let length = player_fails(&[sender_hello(), start(1, 0), audio(0, &[0; 63])]);
    let text = "stream 1: 63 bytes of audio do not fit s16le 48000 Hz 1 ch 32 frames: exactly 64 are expected";
    assert_eq!(length, protocol(text));
    let again = player_fails(&[sender_hello(), start(1, 0), audio(5, &[0; 64]), audio(5, &[0; 64])]);
    assert_eq!(again, protocol("stream 1: packet 5 came after packet 5"));
    let back = player_fails(&[sender_hello(), start(1, 0), audio(0, &[0; 64]), audio(u32::MAX, &[0; 64])]);
    assert_eq!(back, protocol("stream 1: packet 4294967295 came after packet 0"));

    let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
    session.receive(PLAYER_NOW, &bytes(&[sender_hello(), start(1, 0)])).unwrap();
    assert!(session.accept(ID));
    let wrap = [audio(u32::MAX, &[0; 64]), audio(0, &[0; 64]), audio(1_000, &[0; 64])];
    assert_eq!(session.receive(PLAYER_NOW, &bytes(&wrap)), Ok(()), "numbers wrap, and may be left out");

    // 32 frames at 48 kHz last 666667 ns.
    let most = Span::from_nanos(33_333);
    let ways = [gliding(1_001, most, &[0; 64]), gliding(1_002, -most, &[0; 64])];
    assert_eq!(session.receive(PLAYER_NOW, &bytes(&ways)), Ok(()));
    for too_far in [most + Span::from_nanos(1), -most - Span::from_nanos(1)] {
        let (code, text) = player_fails(&[sender_hello(), start(1, 0), gliding(0, too_far, &[0; 64])]);
        assert_eq!(code, CloseCode::Protocol);
        assert!(text.starts_with("stream 1: a glide of "), "{text}");
    }
}

#[test]
fn time_replies_belong_to_requests() {
    let reply = TimeReply { number: 0, sent: PLAYER_NOW, received: SENDER_NOW, replied: SENDER_NOW };
    let unasked = player_fails(&[sender_hello(), Message::TimeReply(reply)]);
    assert_eq!(unasked, protocol("peer answered time request 0, which was not asked like that"));

    let ask = || {
        let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PLAYER_NOW);
        session.receive(PLAYER_NOW, &bytes(&[sender_hello()])).unwrap();
        session.poll_transmit(PLAYER_NOW, &mut Vec::new());
        session
    };
    let mut session = ask();
    let forged = TimeReply { sent: PLAYER_NOW + Span::from_nanos(1), ..reply };
    let error = session.receive(PLAYER_NOW, &bytes(&[Message::TimeReply(forged)])).unwrap_err();
    assert_eq!(error.to_string(), "peer answered time request 0, which was not asked like that");
    let mut session = ask();
    session.receive(PLAYER_NOW, &bytes(&[Message::TimeReply(reply), Message::TimeReply(reply)])).unwrap();
    assert_eq!(session.counters().stale, 1, "a second answer is of no use, but may be that of a lost request");
}

#[test]
fn values_out_of_range_are_named() {
    let mut stop = bytes(&[Message::Stop { id: ID, run: 0 }]);
    stop[3] += 1;
    stop.push(0xf6);
    let raw: [(&[u8], &str); 4] = [
        (&stop, "stop message has 1 bytes after its end"),
        (
            &[0, 0, 0, 12, 0x30, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0],
            "time request message has time stamp -72057594037927936 ns, 0 to 4611686018427387903 is accepted",
        ),
        (&[0, 0, 0, 2, 0x11, 0, 0, 0, 0xa1, 0x62], "stop message cannot be read: it ends early"),
        (&[0, 0, 0, 1, 0x11, 0, 0, 0, 0xff], "stop message cannot be read: invalid type: break, expected map"),
    ];
    for (frame, text) in raw {
        let mut reader = FrameReader::new();
        reader.push(frame);
        let frame = reader.next().unwrap().unwrap();
        assert_eq!(Message::decode(frame).unwrap_err().to_string(), text);
    }
}

#[test]
fn control_messages_are_bounded_and_tolerant() {
    let decode = |payload: &[u8]| {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(&[FrameType::Bye.byte(), 0, 0, 0]);
        frame.extend_from_slice(payload);
        let mut reader = FrameReader::new();
        reader.push(&frame);
        let frame = reader.next().unwrap().unwrap();
        Message::decode(frame).map(|message| format!("{message:?}")).map_err(|error| error.to_string())
    };
    // {"code": "moved", "reason": "x", "to": {"a": [1, h'00', 2.5, null]}}
    let newer = b"\xa3\x64code\x65moved\x66reason\x61x\x62to\xa1\x61a\x84\x01\x41\x00\xf9\x41\x00\xf6";
    assert_eq!(
        decode(newer).unwrap(),
        "Bye(Bye { code: Other, reason: \"x\" })",
        "unknown keys and codes are tolerated"
    );
    let mut deep = b"\xa2\x64code\x65other\x61x".to_vec();
    deep.extend_from_slice(&[0x81; 40]);
    deep.push(0);
    assert_eq!(decode(&deep).unwrap_err(), "bye message cannot be read: it is nested deeper than 8");
    let mut long = b"\xa2\x64code\x65other\x66reason\x79\x01\x01".to_vec();
    long.extend_from_slice(&[b'x'; 257]);
    assert_eq!(
        decode(&long).unwrap_err(),
        "bye message cannot be read: invalid length 257, expected text of at most 256 bytes without control characters"
    );
    let escape = b"\xa2\x64code\x65other\x66reason\x62\x1b[";
    assert!(decode(escape).unwrap_err().contains("without control characters"));
    let huge_list = b"\xa2\x64code\x65other\x61x\x9b\x00\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(decode(huge_list).unwrap_err(), "bye message cannot be read: it ends early");
}

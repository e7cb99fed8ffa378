//! Golden vectors: the bytes of every message, as listed in docs/protocol.md.

use audera_clock::{PlayerTime, SenderTime, Span};
use audera_wire::{
    AudioPacket, Bye, CloseCode, Coding, Datagram, Formats, FrameReader, Hello, Message, PlayerHello, PlayerState,
    PlayerStatus, RoomChange, RoomKey, RoomRefusal, RoomState, SenderHello, Start, StreamFormat, StreamId, TimePath,
    TimeReply, TimeRequest, Volume,
};

const ID: StreamId = StreamId(7);

fn vectors() -> Vec<(&'static str, Message<'static>, &'static str)> {
    let opus = StreamFormat { coding: Coding::Opus, rate: 48_000, channels: 2, frames: 480 };
    let sender_hello = SenderHello { source: Some("Turntable".into()), ..SenderHello::new("desk", "audera 0.1.0") };
    let player_hello = PlayerHello {
        formats: Formats { codings: vec![Coding::Opus, Coding::PcmS16le], max_rate: 48_000, max_channels: 2 },
        groups: vec!["Downstairs".into()],
        datagrams: true,
        ..PlayerHello::new("Kitchen", "audera 0.1.0")
    };
    let status = PlayerStatus {
        state: PlayerState::Playing,
        room: "Kitchen".into(),
        output: "pipewire".into(),
        stream: Some(ID),
        codec: Some(Coding::Opus),
        sender: None,
        title: None,
        sync_error_us: Some(-12.5),
        sync_p99_us: Some(17.5),
        clock_offset_us: Some(-1_024.0),
        clock_bound_us: Some(80.0),
        round_trip_us: Some(160.0),
        time_path: Some(TimePath::Udp),
        skew_ppm: Some(50.25),
        ratio_ppm: Some(-20.0),
        card_ppm: Some(64.0),
        card_deviation_ppm: Some(0.25),
        output_delay_ms: Some(2.5),
        buffered_ms: 75,
        spare_ms: None,
        played_frames: 480_000,
        late_frames: 0,
        lost_frames: 480,
        late_packets: 0,
        lost_packets: 1,
        underruns: 1,
        resyncs: 0,
        xruns: 2,
    };
    let start = Start { id: ID, format: opus, latency: Span::from_millis(80), title: "Radio".into() };
    let sent = PlayerTime::from_nanos(1_000_000_000);
    let received = SenderTime::from_nanos(5_000_000_100);
    let replied = SenderTime::from_nanos(5_000_000_200);
    let stamp = SenderTime::from_nanos(5_080_000_000);
    vec![
        (
            "sender hello",
            Message::Hello(Hello::Sender(sender_hello)),
            "0000004901000000a564726f6c656673656e6465726876657273696f6e738101646e616d65646465736b68736f667477\
             6172656c61756465726120302e312e3066736f75726365695475726e7461626c65",
        ),
        (
            "player hello",
            Message::Hello(Hello::Player(player_hello)),
            "000000a401000000a864726f6c6566706c617965726876657273696f6e738101646e616d65674b69746368656e68736f\
             6674776172656c61756465726120302e312e3067666f726d617473a367636f64696e677382646f707573657331366c65\
             686d61785f7261746519bb806c6d61785f6368616e6e656c73026e6d61785f6c6174656e63795f75731a001e84806667\
             726f757073816a446f776e73746169727369646174616772616d73f5",
        ),
        (
            "bye",
            Message::Bye(Bye { code: CloseCode::NotPaired, reason: "pair first".into() }),
            "0000002302000000a264636f64656a6e6f742d70616972656466726561736f6e6a70616972206669727374",
        ),
        (
            "start",
            Message::Start { run: 0, start },
            "0000005610000000a5626964076372756e0066666f726d6174a466636f64696e67646f707573647261746519bb806863\
             68616e6e656c7302666672616d65731901e06a6c6174656e63795f75731a00013880657469746c6565526164696f",
        ),
        ("stop", Message::Stop { id: ID, run: 0 }, "0000000a11000000a2626964076372756e00"),
        ("accept", Message::Accept { id: ID, run: 0 }, "0000000a12000000a2626964076372756e00"),
        (
            "refuse",
            Message::Refuse { id: ID, run: 0, reason: "output busy".into() },
            "0000001d13000000a3626964076372756e0066726561736f6e6b6f75747075742062757379",
        ),
        (
            "preempt",
            Message::Preempt { id: ID, run: 0, by: "tablet".into() },
            "0000001414000000a3626964076372756e00626279667461626c6574",
        ),
        (
            "status",
            Message::Status(status),
            "0000016615000000b81965737461746567706c6179696e6764726f6f6d674b69746368656e666f757470757468706970\
             65776972656673747265616d0765636f646563646f7075736d73796e635f6572726f725f7573f9ca406b73796e635f70\
             39395f7573f94c606f636c6f636b5f6f66667365745f7573f9e4006e636c6f636b5f626f756e645f7573f955006d726f\
             756e645f747269705f7573f959006974696d655f706174686375647068736b65775f70706df9524869726174696f5f70\
             706df9cd0068636172645f70706df9540072636172645f646576696174696f6e5f70706df934006f6f75747075745f64\
             656c61795f6d73f941006b62756666657265645f6d73184b6d706c617965645f6672616d65731a000753006b6c617465\
             5f6672616d6573006b6c6f73745f6672616d65731901e06c6c6174655f7061636b657473006c6c6f73745f7061636b65\
             74730169756e64657272756e730167726573796e637300657872756e7302",
        ),
        (
            "watching status",
            Message::Status(PlayerStatus {
                room: "Kitchen".into(),
                sender: Some("desk".into()),
                title: Some("Radio".into()),
                ..PlayerStatus::default()
            }),
            "000000a615000000ae6573746174656469646c6564726f6f6d674b69746368656e666f7574707574606673656e646572\
             646465736b657469746c6565526164696f6b62756666657265645f6d73006d706c617965645f6672616d6573006b6c61\
             74655f6672616d6573006b6c6f73745f6672616d6573006c6c6174655f7061636b657473006c6c6f73745f7061636b65\
             74730069756e64657272756e730067726573796e637300657872756e7300",
        ),
        ("watch", Message::Watch { on: true }, "0000000516000000a1626f6ef5"),
        ("identify", Message::Identify, "000000011a000000a0"),
        (
            "room",
            Message::Room {
                revision: 5,
                answers: Some(2),
                state: RoomState {
                    volume: Volume::nearest(40.0),
                    output_delay_ms: -12.5,
                    groups: vec!["Downstairs".into()],
                    max_volume: Volume::nearest(80.0),
                    startup_volume: Volume::new(25.0),
                    pinned: vec![RoomKey::MaxVolume],
                    ..RoomState::new("Kitchen")
                },
            },
            "000000a517000000a3687265766973696f6e0567616e737765727302657374617465a9646e616d65674b69746368656e\
             66766f6c756d65f95100646d757465f46c6368616e6e656c5f6d6f64656673746572656f6f6f75747075745f64656c61\
             795f6d73f9ca406667726f757073816a446f776e7374616972736a6d61785f766f6c756d65f955006e73746172747570\
             5f766f6c756d65f94e406670696e6e6564816a6d61785f766f6c756d65",
        ),
        (
            "set",
            Message::Set {
                number: 2,
                change: RoomChange {
                    volume: Some(40.0),
                    mute: Some(false),
                    channel_mode: Some("mono".into()),
                    startup_volume: Some(None),
                    ..RoomChange::default()
                },
            },
            "0000004318000000a2666e756d62657202666368616e6765a466766f6c756d65f95100646d757465f46c6368616e6e65\
             6c5f6d6f6465646d6f6e6f6e737461727475705f766f6c756d65f6",
        ),
        (
            "room that is silent",
            Message::Room {
                revision: 6,
                answers: None,
                state: RoomState {
                    volume: Volume::SILENT,
                    audible_volume: Volume::new(40.0),
                    ..RoomState::new("Kitchen")
                },
            },
            "0000009617000000a2687265766973696f6e06657374617465aa646e616d65674b69746368656e66766f6c756d65f900\
             006e61756469626c655f766f6c756d65f95100646d757465f46c6368616e6e656c5f6d6f64656673746572656f6f6f75\
             747075745f64656c61795f6d73f900006667726f757073806a6d61785f766f6c756d65f956406e737461727475705f76\
             6f6c756d65f66670696e6e656480",
        ),
        (
            "set of what is relative",
            Message::Set {
                number: 3,
                change: RoomChange {
                    volume_step_db: Some(-3.0),
                    audible_volume: Some(80.0),
                    remove_groups: vec!["Up".into()],
                    add_groups: vec!["Downstairs".into()],
                    ..RoomChange::default()
                },
            },
            "0000005e18000000a2666e756d62657203666368616e6765a46e766f6c756d655f737465705f6462f9c2006e61756469\
             626c655f766f6c756d65f955006d72656d6f76655f67726f757073816255706a6164645f67726f757073816a446f776e\
             737461697273",
        ),
        (
            "set refused",
            Message::SetRefused {
                number: 3,
                refusal: RoomRefusal {
                    key: "volume".into(),
                    value: "101".into(),
                    accepted: "0 to 100 (percent)".into(),
                },
            },
            "0000004319000000a2666e756d62657203677265667573616ca3636b657966766f6c756d656576616c75656331303168\
             6163636570746564723020746f20313030202870657263656e7429",
        ),
        (
            "audio",
            Message::Audio(AudioPacket { id: ID, seq: 42, stamp, glide: Span::ZERO, payload: &[0xfc, 0xff, 0xfe] }),
            "0000001720000000000000070000002a000000012ecaa60000000000fcfffe",
        ),
        (
            "audio in a glide",
            Message::Audio(AudioPacket { id: ID, seq: 43, stamp, glide: Span::from_micros(-5), payload: &[0xfc] }),
            "0000001520000000000000070000002b000000012ecaa600ffffec78fc",
        ),
        (
            "time request",
            Message::TimeRequest(TimeRequest { number: 3, sent }),
            "0000000c3000000000000003000000003b9aca00",
        ),
        (
            "time reply",
            Message::TimeReply(TimeReply { number: 3, sent, received, replied }),
            "0000001c3100000000000003000000003b9aca00000000012a05f264000000012a05f2c8",
        ),
        ("extension", Message::Extension { byte: 0x80, payload: b"hi" }, "00000002800000006869"),
    ]
}

/// Payloads of datagrams.
fn payloads() -> Vec<(&'static str, Datagram, &'static str)> {
    let sent = PlayerTime::from_nanos(1_000_000_000);
    let received = SenderTime::from_nanos(5_000_000_100);
    let replied = SenderTime::from_nanos(5_000_000_200);
    vec![
        (
            "datagram: time request",
            Datagram::Request(TimeRequest { number: 3, sent }),
            "3000000000000003000000003b9aca0000000000000000000000000000000000",
        ),
        (
            "datagram: time reply",
            Datagram::Reply(TimeReply { number: 3, sent, received, replied }),
            "3100000000000003000000003b9aca00000000012a05f264000000012a05f2c8",
        ),
        ("datagram: here", Datagram::Here, "3200000000000000000000000000000000000000000000000000000000000000"),
    ]
}

#[test]
fn payloads_of_datagrams_have_the_bytes_of_the_vectors() {
    for (name, datagram, expected) in payloads() {
        assert_eq!(hex(&datagram.encode()), expected, "{name}");
        assert_eq!(Datagram::decode(&datagram.encode()), Ok(datagram), "{name}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn messages_have_the_bytes_of_the_vectors() {
    for (name, message, expected) in vectors() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(hex(&bytes), expected, "{name}");
    }
}

#[test]
fn vectors_are_read_as_the_messages() {
    for (name, message, expected) in vectors() {
        let bytes: Vec<u8> =
            (0..expected.len()).step_by(2).map(|at| u8::from_str_radix(&expected[at..at + 2], 16).unwrap()).collect();
        let mut reader = FrameReader::new();
        reader.push(&bytes);
        let frame = reader.next().unwrap().expect(name);
        assert_eq!(Message::decode(frame).unwrap(), message, "{name}");
        assert_eq!(reader.next(), Ok(None), "{name}");
    }
}

/// The page shows the vectors in lines of 32 bytes.
#[test]
fn the_protocol_page_lists_the_vectors() {
    let page = include_str!("../../../docs/protocol.md");
    let frames = vectors().into_iter().map(|(name, _, expected)| (name, expected));
    for (name, expected) in frames.chain(payloads().into_iter().map(|(name, _, expected)| (name, expected))) {
        let start = page.find(&format!("\n`{name}`")).unwrap_or_else(|| panic!("{name} is not in docs/protocol.md"));
        let listed = page[start..].split("```").nth(1).unwrap();
        let listed: String = listed.trim_start_matches("text").split_whitespace().collect();
        assert_eq!(listed, expected, "{name} in docs/protocol.md");
    }
}

//! A source for the tests: the product's own hub, listening, with a stream of numbered frames. A program of its own, since it lives on
//! the session's host.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_receiver::now;
use audera_sender::{
    CodecChoice, Encoding, Hub, HubConfig, HubEvent, Latency, Listen, MemberState, StreamConfig, Target,
};

/// Frames in a block are those of so many milliseconds.
const BLOCK_MS: i64 = 10;

/// What its network thread is to do to itself.
static STALL_MS: AtomicU64 = AtomicU64::new(0);
/// Whether anybody records.
static IS_HEARD: AtomicBool = AtomicBool::new(false);

fn setting(key: &str) -> Option<String> {
    std::env::var(format!("AUDERA_TEST_{key}")).ok()
}

/// The value of a frame, as one of 24 bits: its number in the left channel and, negative, in the right one, the channel's number in all others.
pub fn sample(number: u64, channel: usize) -> i32 {
    let number = i32::try_from(number % (1 << 23)).unwrap();
    match channel {
        0 => number,
        1 => -number,
        other => i32::try_from(other).unwrap(),
    }
}

/// Runs until it is killed: plays, and once somebody records does what its script says, such as `play 1000, stall 700, rest 500`
/// (milliseconds).
#[test]
#[ignore = "run by the others, which record it"]
fn a_source() {
    let name = setting("SOURCE").unwrap();
    let number = |key: &str, usual: u32| setting(key).map_or(usual, |text| text.parse().unwrap());
    let (rate, channels) = (number("RATE", 48_000), number("CHANNELS", 2));
    let latency = Span::from_millis(number("LATENCY", 1_000).into());
    let codec = match setting("CODEC").as_deref() {
        Some("opus") => CodecChoice::Opus,
        _ => CodecChoice::Pcm,
    };
    let port = number("PORT", 0) as u16;
    let listen = Listen {
        address: (std::net::Ipv6Addr::UNSPECIFIED, port).into(),
        any_port: true,
        open: setting("ACCESS").is_none_or(|access| access == "open"),
        announce: true,
    };
    let config = HubConfig {
        name: name.clone(),
        software: "test".to_owned(),
        state_dir: setting("STATE").unwrap().into(),
        discover: false,
        players: Vec::new(),
        listen: Some(listen),
    };
    let log = tracing::Dispatch::new(tracing_subscriber::fmt().with_ansi(false).finish());
    let told = Mutex::new(String::new());
    let hub = Hub::start(config, log, move |event| hear(&event, &mut told.lock().unwrap())).unwrap();
    let config = StreamConfig {
        title: name,
        rate,
        channels: u8::try_from(channels).unwrap(),
        latency: Latency::Fixed(latency),
        encoding: Encoding { codec, ..Encoding::default() },
        target: Target::Named(Vec::new()),
        gate: None,
    };
    let (mut tap, stream) = hub.open_stream(config).unwrap();
    let mut script = parse(&setting("SCRIPT").unwrap_or_default()).into_iter();
    if setting("SILENT").is_none() {
        stream.begin();
    }
    let frames = i64::from(rate) * BLOCK_MS / 1000;
    let begun = now();
    // Of the present step of the script, this is left.
    let mut left = 0;
    for block in 0.. {
        let at = begun + Span::from_frames(block * frames, rate);
        sleep((at - now()).to_duration());
        // From one on: nought is silence.
        let first = (block * frames + 1) as u64;
        let samples: Vec<f32> = (first..first + frames as u64)
            .flat_map(|number| (0..channels as usize).map(move |channel| sample(number, channel) as f32 / 8_388_608.0))
            .collect();
        tap.push(SenderTime::from_nanos(at.as_nanos()), &samples);
        if IS_HEARD.load(Ordering::Relaxed) {
            if left > 0 {
                left -= BLOCK_MS;
            } else if let Some((what, ms)) = script.next() {
                println!("script: {what} {ms}");
                match what.as_str() {
                    "play" => stream.begin(),
                    "rest" => stream.end(),
                    "stall" => STALL_MS.store(ms as u64, Ordering::Relaxed),
                    _ => panic!("a script is of play, rest and stall"),
                }
                left = ms;
            }
        }
    }
}

fn parse(script: &str) -> Vec<(String, i64)> {
    let steps = script.split(',').map(str::trim).filter(|step| !step.is_empty());
    let step = |step: &str| {
        let (what, ms) = step.split_once(' ').unwrap();
        (what.to_owned(), ms.parse().unwrap())
    };
    steps.map(step).collect()
}

/// On the network thread, which is held back here if the script says so: what is too late by then is not sent any more.
fn hear(event: &HubEvent, told: &mut String) {
    let HubEvent::Stream(status) = event else { return };
    let members: Vec<String> = status
        .members
        .iter()
        .map(|member| format!("{} {:?} {} dropped", member.room, member.state, member.dropped_packets))
        .collect();
    let members = members.join(", ");
    if members != *told {
        println!("members: {members}");
        *told = members;
    }
    if status.members.iter().any(|member| member.state == MemberState::Playing) {
        IS_HEARD.store(true, Ordering::Relaxed);
    }
    sleep(Duration::from_millis(STALL_MS.swap(0, Ordering::Relaxed)));
}

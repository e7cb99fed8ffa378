//! Peers written for these tests. They run on the session's host, so each is this test program once more.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_link::{Endpoint, Identity, Protocol, Target, dial, drive};
use audera_testkit::{Process, Session};
use audera_wire::{
    Coding, SenderEvent, SenderHello, SenderSession, SessionError, Start, StreamFormat, StreamId, encode_audio,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

/// Starts a peer; what it tells is in its log.
pub fn start(session: &Session, behaviour: &str, address: &str) -> Process {
    let mut command = session.command(std::env::current_exe().unwrap());
    command.args(["--exact", "peer::behave", "--ignored", "--nocapture"]);
    command.env("PEER", behaviour).env("PEER_ADDRESS", address);
    command.env("PEER_STATE", session.dir().join("state/peer"));
    session.spawn(command).unwrap()
}

#[test]
#[ignore = "a peer for the other tests, which start it on their session's host"]
fn behave() {
    let Ok(behaviour) = std::env::var("PEER") else { return };
    let address: SocketAddr = std::env::var("PEER_ADDRESS").unwrap().parse().unwrap();
    match behaviour.as_str() {
        "garbage" => garbage(address),
        "half-open" => half_open(address),
        _ => {
            let state = std::env::var("PEER_STATE").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(speak(&behaviour, address, Path::new(&state)));
        }
    }
}

/// Bytes that are no TLS; then waits to be thrown out.
fn garbage(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[0x5a; 4000]).unwrap();
    let mut answer = Vec::new();
    // Closed or reset, as the system likes.
    let _ = stream.read_to_end(&mut answer);
    println!("thrown out");
}

/// Fifty connections on which nothing is ever said.
fn half_open(address: SocketAddr) {
    let streams: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    println!("all open");
    for mut stream in streams {
        let _ = stream.read(&mut [0; 16]);
    }
    println!("thrown out");
}

/// A peer with an identity, which completes the handshake.
async fn speak(behaviour: &str, address: SocketAddr, state: &Path) {
    let identity = Identity::load_or_create(state).unwrap();
    let endpoint = Endpoint::new(&identity, audera_wire::ALPN).unwrap();
    let connection = dial(&endpoint, &Target::from(address), Duration::from_secs(60)).await.unwrap();
    println!("connected");
    match behaviour {
        "stream" => stream(connection, Peer::new()).await,
        // Half of full scale, on both channels and without end.
        "steady" => stream(connection, Peer::with(vec![0.5; 2 * usize::from(FRAMES)], 2)).await,
        // Tenths of it on the channels of 5.1, in their order.
        "six" => {
            let frame: Vec<f32> = (1_u8..=6).map(|channel| f32::from(channel) / 10.0).collect();
            stream(connection, Peer::with(frame.repeat(2 * usize::from(FRAMES)), 6)).await;
        }
        "oversized" => {
            let peer = Peer::new();
            let (mut reader, mut writer) = connection.into_split();
            let mut out = Vec::new();
            peer.transmit(&mut out);
            // An audio frame that claims four gigabytes.
            out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 0]);
            writer.write_all(&out).await.unwrap();
            writer.flush().await.unwrap();
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer).await;
            println!("thrown out");
        }
        "mute" => {
            let peer = Peer::new();
            let (reader, mut writer) = connection.into_split();
            let mut out = Vec::new();
            peer.transmit(&mut out);
            writer.write_all(&out).await.unwrap();
            writer.flush().await.unwrap();
            std::future::pending::<()>().await;
            drop(reader);
        }
        other => panic!("no peer behaves {other}"),
    }
}

/// Streams without end, paced by the clock, and tells what becomes of it.
async fn stream(connection: audera_link::Connection, peer: Peer) {
    let wake = Notify::new();
    let driving = drive(connection, &peer, &wake);
    let feeding = async {
        let mut tick = tokio::time::interval(PACKET);
        loop {
            tick.tick().await;
            peer.feed();
            wake.notify_one();
        }
    };
    tokio::select! {
        ended = driving => println!("ended {ended:?}"),
        () = feeding => {}
    }
}

const PACKET: Duration = Duration::from_millis(10);
const FRAMES: u16 = 480;

/// A minimal sender.
struct Peer {
    session: std::cell::RefCell<SenderSession>,
    audio: std::cell::RefCell<Vec<u8>>,
    next: std::cell::Cell<(u32, Option<SenderTime>)>,
    /// Interleaved; it comes again and again.
    sound: Vec<f32>,
    channels: u8,
    started: std::cell::Cell<bool>,
}

const ID: StreamId = StreamId(7);

fn now() -> SenderTime {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable, and the clock is one that every Linux has.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    SenderTime::from_nanos(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

impl Peer {
    fn new() -> Self {
        let noise = audera_testkit::sound::noise(48_000, 1, 2.0, 0.5, 99).channels.remove(0);
        Self::with(noise.into_iter().flat_map(|sample| [sample; 2]).collect(), 2)
    }

    fn with(sound: Vec<f32>, channels: u8) -> Self {
        Peer {
            session: SenderSession::new(SenderHello::new("peer", "test 1.0"), now()).into(),
            audio: Vec::new().into(),
            next: (0, None).into(),
            sound,
            channels,
            started: false.into(),
        }
    }

    /// Makes the packets that are due.
    fn feed(&self) {
        if !self.session.borrow().is_streaming(ID) {
            return;
        }
        let (mut seq, at) = self.next.get();
        let ahead = now() + Span::from_millis(100);
        let mut at = at.unwrap_or(ahead);
        while at <= ahead {
            // In frames: every packet begins with the first channel.
            let (frames, channels) = (usize::from(FRAMES), usize::from(self.channels));
            let begin = (seq as usize * frames) % (self.sound.len() / channels - frames + 1);
            let samples = &self.sound[begin * channels..(begin + frames) * channels];
            let payload: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            encode_audio(ID, seq, at, Span::ZERO, &payload, &mut self.audio.borrow_mut()).unwrap();
            (seq, at) = (seq + 1, at + Span::from_frames(i64::from(FRAMES), 48_000));
        }
        self.next.set((seq, Some(at)));
    }
}

impl Protocol for Peer {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut session = self.session.borrow_mut();
        let received = session.receive(now(), bytes);
        while let Some(event) = session.poll_event() {
            match event {
                SenderEvent::Status(_) => {}
                SenderEvent::PlayerReady(_) if !self.started.replace(true) => {
                    let channels = self.channels;
                    let format = StreamFormat { coding: Coding::PcmF32le, rate: 48_000, channels, frames: FRAMES };
                    let latency = Span::from_millis(100);
                    session.start(Start { id: ID, format, latency, title: "noise".to_owned() }).unwrap();
                }
                other => println!("{other:?}"),
            }
        }
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.session.borrow_mut().poll_transmit(now(), out);
        out.append(&mut self.audio.borrow_mut());
    }

    fn next_timeout(&self) -> Option<Duration> {
        Some((self.session.borrow().next_timeout()? - now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        self.session.borrow_mut().handle_timeout(now())
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

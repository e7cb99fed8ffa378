//! Which stream has the room, and what becomes of the device, on an output that never pulls.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use audera_clock::{Exchange, PlayerTime, SenderTime, Span};
use audera_link::PeerId;
use audera_player::cli::Cli;
use audera_player::config::{Config, Environment};
use audera_player::connection::Connection;
use audera_player::level::Level;
use audera_player::monotonic::now;
use audera_player::output::{DeviceFormat, Health, OpenDevice, Output, OutputError, Playing, Pull};
use audera_player::room::{Arrived, Room, RoomStore};
use audera_player::speaker::Speaker;
use audera_wire::{
    Coding, PlayerSession, PlayerStatus, SenderEvent, SenderHello, SenderSession, Start, StreamFormat, StreamId,
};
use clap::Parser;
use tokio::task::LocalSet;

/// Takes streams of 48 kHz and never pulls. With a gate, opening waits until the gate's other end is gone.
struct Deaf {
    gate: Option<Receiver<()>>,
}

impl Output for Deaf {
    fn name(&self) -> String {
        "deaf".to_owned()
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        if let Some(gate) = &self.gate {
            // An error is the opening of the gate.
            let _ = gate.recv();
        }
        if rate != 48_000 {
            return Err(OutputError::Busy { output: self.name() });
        }
        Ok(Box::new(Open(DeviceFormat { rate, channels, max_pull: 480, latency: Span::ZERO })))
    }
}

struct Open(DeviceFormat);

impl OpenDevice for Open {
    fn format(&self) -> DeviceFormat {
        self.0
    }

    fn start(self: Box<Self>, source: Box<dyn Pull>) -> Result<Playing, OutputError> {
        Ok(Playing::new(self.0, Arc::new(Health::default()), source))
    }
}

fn config() -> Config {
    let environment = Environment { user_state: Some("/state".into()), ..Environment::default() };
    let cli = Cli::try_parse_from(["audera-player", "--name", "Kitchen", "--no-discovery"]).unwrap();
    Config::load_in(&environment, &cli).unwrap()
}

/// Hands what it is to pull to the test, which does it.
struct Handed(Sender<Box<dyn Pull>>);

impl Output for Handed {
    fn name(&self) -> String {
        "handed".to_owned()
    }

    fn open(&mut self, rate: u32, channels: u16) -> Result<Box<dyn OpenDevice>, OutputError> {
        let format = DeviceFormat { rate, channels, max_pull: 480, latency: Span::ZERO };
        Ok(Box::new(HandedOpen(format, self.0.clone())))
    }
}

struct HandedOpen(DeviceFormat, Sender<Box<dyn Pull>>);

impl OpenDevice for HandedOpen {
    fn format(&self) -> DeviceFormat {
        self.0
    }

    fn start(self: Box<Self>, source: Box<dyn Pull>) -> Result<Playing, OutputError> {
        // The test may have seen enough.
        let _ = self.1.send(source);
        Ok(Playing::new(self.0, Arc::new(Health::default()), ()))
    }
}

/// A room with its tasks, and a connection to play on.
fn furnish(gate: Option<Receiver<()>>) -> (Rc<Room>, Speaker, Rc<Connection>) {
    furnish_with(Box::new(Deaf { gate }))
}

fn furnish_with(output: Box<dyn Output>) -> (Rc<Room>, Speaker, Rc<Connection>) {
    let config = config();
    let store = RoomStore::open(&config);
    let level = Level::new(store.state());
    let (speaker, device) = Speaker::new(output, level.clone(), config.idle_release);
    let room = Room::new(config, store, level, speaker.clone());
    tokio::task::spawn_local(device);
    tokio::task::spawn_local(room.clone().live());
    let session = PlayerSession::new(room.hello(), now());
    (room, speaker, Connection::new(PeerId::from([7; 32]), session, false))
}

fn start(id: u32, frames: u16) -> Start {
    let format = StreamFormat { coding: Coding::PcmS24le, rate: 48_000, channels: 2, frames };
    Start { id: StreamId(id), format, latency: Span::from_millis(80), title: "title".to_owned() }
}

async fn until(speaker: &Speaker, open: bool) {
    speaker.state().wait_for(|state| state.open == open).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_played_does_not_cost_the_one_that_plays() {
    let home = async {
        let (room, speaker, connection) = furnish(None);
        room.start(&connection, start(1, 480));
        until(&speaker, true).await;
        // No packet has no frames.
        room.start(&connection, start(2, 0));
        assert_eq!(room.status().stream, Some(StreamId(1)));
        assert!(room.plays_from(&connection));
    };
    LocalSet::new().run_until(home).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_device_refuses_leaves_the_room_free_and_the_device_closed() {
    let home = async {
        let (room, speaker, connection) = furnish(None);
        room.start(&connection, start(1, 480));
        until(&speaker, true).await;
        let mut wrong = start(2, 480);
        wrong.format.rate = 96_000;
        room.start(&connection, wrong);
        assert_eq!(room.status().stream, Some(StreamId(2)), "it is taken until the device has been asked");
        until(&speaker, false).await;
        // The refusal is told by the task that asked, once it has its turn.
        while room.status().stream.is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!speaker.state().borrow().open);
        room.start(&connection, start(3, 480));
        until(&speaker, true).await;
    };
    LocalSet::new().run_until(home).await;
}

#[tokio::test]
async fn a_device_that_hangs_while_it_opens_does_not_keep_the_network_thread() {
    let (gate, closed): (Sender<()>, _) = channel();
    let home = async {
        let (room, _speaker, connection) = furnish(Some(closed));
        room.start(&connection, start(1, 480));
        tokio::task::yield_now().await;
        assert!(
            tokio::time::timeout(Duration::from_millis(50), room.close()).await.is_err(),
            "it waits for the device"
        );
        assert!(!room.plays_from(&connection));
        drop(gate);
        room.close().await;
    };
    LocalSet::new().run_until(home).await;
}

/// Who was refused asks again, and gets a room that is free, but takes none from a stream that has begun since.
#[test]
fn a_stream_that_was_refused_takes_the_room_from_nobody_later() {
    LocalSet::new().block_on(&tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(), async {
        let (room, speaker, refused) = furnish(None);
        let mut busy = start(1, 441);
        busy.format.rate = 44_100;
        room.start(&refused, busy.clone());
        while refused.refused.get() != Some(StreamId(1)) {
            tokio::task::yield_now().await;
        }
        let session = PlayerSession::new(room.hello(), now());
        let other = Connection::new(PeerId::from([8; 32]), session, false);
        room.start(&other, start(2, 480));
        until(&speaker, true).await;
        room.start(&refused, busy);
        assert_eq!(room.status().stream, Some(StreamId(2)), "the other stream goes on");
        room.start(&refused, start(3, 480));
        assert_eq!(room.status().stream, Some(StreamId(3)), "a new stream of the same sender is the newest");
    });
}

/// Carries everything between the two ends, and gives the statuses that came.
fn talk(connection: &Connection, sender: &mut SenderSession, at: SenderTime) -> Vec<PlayerStatus> {
    for _ in 0..4 {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        connection.session.borrow_mut().poll_transmit(now(), &mut up);
        sender.receive(at, &up).unwrap();
        sender.poll_transmit(at, &mut down);
        connection.session.borrow_mut().receive(now(), &down).unwrap();
    }
    let events = std::iter::from_fn(|| sender.poll_event());
    events.filter_map(|event| if let SenderEvent::Status(status) = event { Some(status) } else { None }).collect()
}

/// A sender that begins to watch is not told again what it has been told: by then its latency is another.
#[tokio::test(start_paused = true)]
async fn what_was_to_spare_is_told_once() {
    let home = async {
        let (pulls, pulled) = channel();
        let (room, speaker, connection) = furnish_with(Box::new(Handed(pulls)));
        let zero = SenderTime::from_nanos(0);
        let mut sender = SenderSession::new(SenderHello::new("sender", "test"), zero);
        assert!(talk(&connection, &mut sender, zero).is_empty());
        let exchange = |n: i64| {
            let sent = PlayerTime::from_nanos(n * 10_000_000);
            let received = zero + Span::from_micros(10_000 * n + 50);
            Exchange { sent, received, replied: received, returned: sent + Span::from_micros(100) }
        };
        (0..20).for_each(|n| connection.clock.borrow_mut().compare(exchange(n)));
        sender.start(start(1, 480)).unwrap();
        talk(&connection, &mut sender, zero);
        room.start(&connection, start(1, 480));
        until(&speaker, true).await;
        let mut device = pulled.recv().unwrap();
        let mut play = |packets: std::ops::Range<i64>| {
            for n in packets {
                let stamp = zero + Span::from_millis(10 * n + 50);
                let packet = Arrived { seq: n as u32, stamp, glide: Span::ZERO, payload: &[0; 480 * 2 * 3] };
                room.audio(&connection, StreamId(1), packet);
                device.pull(PlayerTime::from_nanos(10_000_000 * n), &mut [0.0; 2 * 480]);
            }
        };
        play(0..20);
        // Its state has changed; the status after that is the one of the second.
        tokio::time::sleep(Duration::from_millis(500)).await;
        play(20..40);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let told = talk(&connection, &mut sender, zero);
        let spare = told.last().and_then(|status| status.spare_ms).expect("a spare");
        assert!((20.0..50.0).contains(&spare) && room.status().spare_ms == Some(spare), "{spare}");
        room.watch(&connection, true);
        let told = talk(&connection, &mut sender, zero);
        assert_eq!(told.iter().map(|status| status.spare_ms).collect::<Vec<_>>(), [None]);

        // Who only watches has not been told.
        let session = PlayerSession::new(room.hello(), now());
        let other = Connection::new(PeerId::from([8; 32]), session, false);
        let mut watcher = SenderSession::new(SenderHello::new("watcher", "test"), zero);
        talk(&other, &mut watcher, zero);
        room.watch(&other, true);
        let told = talk(&other, &mut watcher, zero);
        assert_eq!(told.iter().map(|status| status.spare_ms).collect::<Vec<_>>(), [Some(spare)]);
    };
    LocalSet::new().run_until(home).await;
}

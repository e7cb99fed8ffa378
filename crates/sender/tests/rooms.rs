//! The state of rooms between a hub and a player that floods, that is cut off, or that refuses: over real connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use audera_clock::PlayerTime;
use audera_link::{Connection, Endpoint, Identity, Limits, Listener, Protocol, drive};
use audera_sender::{ChangeError, Hub, HubConfig, HubEvent, PlayerKey, RoomChange, RoomState, Volume};
use audera_wire::{Message, PlayerEvent, PlayerHello, PlayerSession, SessionError};
use tokio::sync::Notify;

/// Only catches what hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// States in a flood.
const FLOOD: u64 = 20_000;

/// What a player does with the changes that it is asked for on its n-th connection.
type Manner = fn(connection: usize, change: &RoomChange) -> Does;

enum Does {
    Sets,
    Refuses,
    /// Reads and says nothing more at all, as if the way back were cut.
    Hangs,
    /// Tells of very many states before the one that answers.
    Floods,
}

/// The player's end of a connection.
struct Scripted {
    session: RefCell<PlayerSession>,
    state: RefCell<(u64, RoomState)>,
    manner: Manner,
    number: usize,
    hangs: Cell<bool>,
    /// Frames that no session would send.
    raw: RefCell<Vec<u8>>,
    asked: Sender<(usize, RoomChange)>,
}

fn now() -> PlayerTime {
    thread_local!(static BEGUN: Instant = Instant::now());
    PlayerTime::from_nanos(BEGUN.with(|begun| begun.elapsed().as_nanos() as i64))
}

impl Scripted {
    fn asked(&self, number: u32, change: &RoomChange) {
        // The test may have seen enough.
        let _ = self.asked.send((self.number, change.clone()));
        let mut session = self.session.borrow_mut();
        let mut state = self.state.borrow_mut();
        match (self.manner)(self.number, change) {
            Does::Hangs => self.hangs.set(true),
            Does::Refuses => {
                let refusal = state.1.changed(&RoomChange::volume(101.0)).unwrap_err();
                session.not_changed(number, refusal);
            }
            does => {
                let new = state.1.changed(change).unwrap();
                let floods = if matches!(does, Does::Floods) { FLOOD } else { 0 };
                for turn in 0..floods {
                    state.0 += 1;
                    let state = (state.0, RoomState { groups: vec![(turn % 7).to_string()], ..new.clone() });
                    Message::Room { revision: state.0, answers: None, state: state.1 }
                        .encode(&mut self.raw.borrow_mut());
                }
                *state = (state.0 + 1, new);
                session.room(state.0, Arc::new(state.1.clone()));
                session.changed(number);
            }
        }
    }
}

impl Protocol for Scripted {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.session.borrow_mut().receive(now(), bytes);
        loop {
            let event = self.session.borrow_mut().poll_event();
            match event {
                Some(PlayerEvent::Set { number, change }) => self.asked(number, &change),
                Some(_) => {}
                None => return received,
            }
        }
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        let mut raw = self.raw.borrow_mut();
        if self.hangs.get() {
        } else if raw.is_empty() {
            self.session.borrow_mut().poll_transmit(now(), out);
        } else {
            let some = raw.len().min(64 * 1024);
            out.extend(raw.drain(..some));
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        let at = self.session.borrow().next_timeout()?;
        Some((at - now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        self.session.borrow_mut().handle_timeout(now())
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

/// A player that behaves like that, for as long as the test runs: where it is, and what it is asked.
fn player(dir: &Path, manner: Manner) -> (SocketAddr, Receiver<(usize, RoomChange)>) {
    let endpoint = Endpoint::new(&Identity::load_or_create(dir).unwrap(), audera_wire::ALPN).unwrap();
    let (asked, asks) = channel();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint, Limits::default()).unwrap();
            tell.send(listener.local_addr()).unwrap();
            for number in 0.. {
                let connection = listener.accept().await.unwrap();
                tokio::task::spawn_local(serve(connection, number, manner, asked.clone()));
            }
        });
    });
    (told.recv().unwrap(), asks)
}

async fn serve(connection: Connection, number: usize, manner: Manner, asked: Sender<(usize, RoomChange)>) {
    let mut session = PlayerSession::new(PlayerHello::new("Kitchen", "scripted"), now());
    let state = RoomState { volume: Volume::nearest(40.0), ..RoomState::new("Kitchen") };
    session.room(0, Arc::new(state.clone()));
    let scripted = Scripted {
        session: RefCell::new(session),
        state: RefCell::new((0, state)),
        manner,
        number,
        hangs: Cell::new(false),
        raw: RefCell::default(),
        asked,
    };
    // How it ends is the other end's matter.
    let _ = drive(connection, &scripted, &Notify::new()).await;
}

struct House {
    hub: Hub,
    key: PlayerKey,
    events: Receiver<HubEvent>,
    asked: Receiver<(usize, RoomChange)>,
    _dirs: tempfile::TempDir,
}

impl House {
    /// A hub that is connected to a player.
    fn new(manner: Manner) -> House {
        let dirs = tempfile::tempdir().unwrap();
        let (address, asked) = player(&dirs.path().join("player"), manner);
        let (tell, events) = channel();
        let config = HubConfig {
            name: "desk".into(),
            software: "test".into(),
            state_dir: dirs.path().join("desk"),
            discover: false,
            players: vec![address.to_string()],
            listen: None,
        };
        let hub = Hub::start(config, tracing::Dispatch::none(), move |event| drop(tell.send(event))).unwrap();
        let house = House { hub, key: PlayerKey::Address(address.to_string()), events, asked, _dirs: dirs };
        house.wait("room", |event| matches!(event, HubEvent::Room { .. }));
        house
    }

    /// All events up to the first of which this is so.
    fn wait(&self, what: &str, is_so: impl Fn(&HubEvent) -> bool) -> Vec<HubEvent> {
        let mut events = Vec::new();
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {what} after {events:?}"));
            let found = is_so(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    fn asked(&self) -> (usize, RoomChange) {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }
}

fn is_room(event: &HubEvent, percent: f64) -> bool {
    matches!(event, HubEvent::Room { state, settled: true, .. } if state.volume == Volume::nearest(percent))
}

fn is_lost(event: &HubEvent) -> bool {
    matches!(event, HubEvent::NotSet { why: ChangeError::NotConnected, .. })
}

fn step(points: f64) -> RoomChange {
    RoomChange { volume_step: Some(points), ..RoomChange::default() }
}

#[test]
fn a_flood_of_states_is_told_at_a_bounded_pace() {
    let house = House::new(|_, _| Does::Floods);
    let begun = Instant::now();
    house.hub.set(house.key.clone(), RoomChange::volume(10.0));
    let events = house.wait("last state", |event| is_room(event, 10.0));
    // Each turn of the hub tells of the player and of its room; a slow machine has more turns.
    let most = 4 + 2 * begun.elapsed().as_millis() as usize / 20;
    println!("{} events, {most} at most", events.len());
    assert!(most < FLOOD as usize, "the flood took too long to say anything");
    assert!(events.len() <= most, "{} events, {most} at most", events.len());
}

#[test]
fn who_asks_for_what_is_refused_is_told_why() {
    let house = House::new(|_, change| if change.name.is_some() { Does::Refuses } else { Does::Sets });
    let (tell, answer) = channel();
    let named = RoomChange { name: Some("Hall".into()), ..RoomChange::default() };
    house.hub.change(house.key.clone(), named, move |outcome| tell.send(outcome).unwrap());
    let refused = answer.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&refused, Err(ChangeError::Refused(refusal)) if refusal.key == "volume"), "{refused:?}");
    house.wait("refusal", |event| matches!(event, HubEvent::NotSet { why: ChangeError::Refused(_), .. }));
    // Whoever shows what was asked for learns what is.
    house.wait("state in force", |event| is_room(event, 40.0));
    let many = RoomChange { groups: Some(vec!["A".into(); 40]), ..RoomChange::default() };
    house.hub.set(house.key.clone(), many);
    let bound =
        |event: &HubEvent| matches!(event, HubEvent::NotSet { why, .. } if why.to_string().contains("at most 32"));
    house.wait("bound", bound);
    house.hub.set(PlayerKey::Discovered("Nowhere".into()), RoomChange::mute(true));
    house.wait("absence", is_lost);
    let (tell, answer) = channel();
    house.hub.change(house.key.clone(), RoomChange::volume(30.0), move |outcome| tell.send(outcome).unwrap());
    assert_eq!(answer.recv_timeout(PATIENCE).unwrap().unwrap().volume, Volume::nearest(30.0));
}

#[test]
fn what_is_asked_of_a_connection_that_hangs_arrives_on_the_next_one_or_is_reported() {
    let house = House::new(|connection, _| if connection == 0 { Does::Hangs } else { Does::Sets });
    house.hub.set(house.key.clone(), step(5.0));
    assert_eq!(house.asked(), (0, step(5.0)));
    house.hub.set(house.key.clone(), RoomChange::volume(20.0));
    house.hub.set(house.key.clone(), RoomChange::mute(true));
    // The one that the player may have made is not made twice.
    house.wait("report of the step", is_lost);
    assert_eq!(house.asked(), (1, RoomChange::volume(20.0)));
    assert_eq!(house.asked(), (1, RoomChange::mute(true)));
    let all = |event: &HubEvent| matches!(event, HubEvent::Room { state, .. } if state.mute);
    house.wait("rest", |event| is_room(event, 20.0) && all(event));
}

//! A player and a source that it dials, over a real connection in one process.

use std::path::Path;

use audera_clock::{Exchange, SenderTime, Span};
use audera_link::{Identity, Limits, PeerId, Protocol, drive};
use audera_receiver::SenderClock;
use audera_wire::{RoomState, SenderEvent, SenderHello, SenderSession, SessionError, Volume};
use clap::Parser;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, yield_now};
use tokio::time::{sleep, timeout};

use super::*;
use crate::cli::Cli;
use crate::config::{Config, Environment};
use crate::level::Level;
use crate::output::null::NullOutput;
use crate::room::RoomStore;
use crate::speaker::Speaker;

/// Only catches what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source's end of a connection: asks for a volume whenever it is told to, and hands on what it hears.
struct Played {
    session: RefCell<SenderSession>,
    heard: UnboundedSender<SenderEvent>,
}

fn sender_now() -> SenderTime {
    SenderTime::from_nanos(now().as_nanos())
}

impl Protocol for Played {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut session = self.session.borrow_mut();
        let received = session.receive(sender_now(), bytes);
        while let Some(event) = session.poll_event() {
            // The test may have heard enough.
            let _ = self.heard.send(event);
        }
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.session.borrow_mut().poll_transmit(sender_now(), out);
    }

    fn next_timeout(&self) -> Option<Duration> {
        let at = self.session.borrow().next_timeout()?;
        Some((at - sender_now()).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        self.session.borrow_mut().handle_timeout(sender_now())
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

struct House {
    network: Rc<Network>,
    /// How the player dials the source, and what that hears.
    subscription: Subscription,
    heard: UnboundedReceiver<SenderEvent>,
    source: PeerId,
    /// Has the source ask for a volume on all its connections.
    ask: Rc<Notify>,
    dirs: tempfile::TempDir,
}

fn endpoint(dir: &Path) -> Endpoint {
    Endpoint::new(&Identity::load_or_create(dir).unwrap(), audera_wire::ALPN).unwrap()
}

impl House {
    fn new() -> House {
        let dirs = tempfile::tempdir().unwrap();
        let state = dirs.path().join("player");
        let cli = Cli::try_parse_from(["audera-player", "--name", "Kitchen", "--no-discovery"]).unwrap();
        let cli = Cli { state_dir: Some(state.clone()), ..cli };
        let config = Config::load_in(&Environment::default(), &cli).unwrap();
        assert_eq!(config.access, Access::Paired);
        let store = RoomStore::open(&config);
        let level = Level::new(store.state());
        let (speaker, device) = Speaker::new(Box::new(NullOutput), level.clone(), config.idle_release);
        let trust = TrustStore::open(config.trusted_file()).unwrap();
        let room = Room::new(config, store, level, speaker);
        spawn_local(device);
        let network = Network::new(room, endpoint(&state), trust);

        let endpoint = endpoint(&dirs.path().join("source"));
        let source = endpoint.id();
        let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint, Limits::default()).unwrap();
        let port = listener.local_addr().port();
        let (tell, heard) = unbounded_channel();
        let ask = Rc::new(Notify::new());
        spawn_local({
            let ask = ask.clone();
            async move {
                loop {
                    let transport = listener.accept().await.unwrap();
                    let hello = SenderHello { line: Some(77), ..SenderHello::new("Tap", "test") };
                    let session = RefCell::new(SenderSession::new(hello, sender_now()));
                    let source = Rc::new(Played { session, heard: tell.clone() });
                    let wake = Rc::new(Notify::new());
                    spawn_local({
                        let (source, wake) = (source.clone(), wake.clone());
                        async move { drive(transport, &*source, &wake).await }
                    });
                    let ask = ask.clone();
                    spawn_local(async move {
                        loop {
                            ask.notified().await;
                            source.session.borrow_mut().set(RoomChange::volume(7.0)).unwrap();
                            wake.notify_one();
                        }
                    });
                }
            }
        });
        let subscription = Subscription(Source::Address { host: "127.0.0.1".into(), port });
        House { network, subscription, heard, source, ask, dirs }
    }

    fn subscribe(&self) {
        spawn_local(self.network.clone().subscribe(self.subscription.clone()));
    }

    /// The next that the source hears of which `pick` makes something.
    async fn hear<T>(&mut self, pick: impl Fn(SenderEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = pick(self.heard.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap()
    }

    async fn hear_room(&mut self) -> RoomState {
        self.hear(|event| match event {
            SenderEvent::Room { state, settled: true, .. } => Some(state),
            _ => None,
        })
        .await
    }

    /// Waits until the n-th connection has compared its clock with the source's.
    async fn compared(&self, number: usize) -> Rc<Connection> {
        let compared = async {
            loop {
                let connection = self.network.connections.borrow().get(number).cloned();
                match connection.filter(|connection| connection.clock.borrow().estimate().is_some()) {
                    Some(connection) => return connection,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(PATIENCE, compared).await.unwrap()
    }
}

#[tokio::test]
async fn a_source_that_was_dialled_plays_and_has_no_say_unless_it_is_trusted() {
    let test = async {
        let mut house = House::new();
        house.subscribe();
        assert_eq!(house.hear_room().await.volume, Volume::FULL);
        house.ask.notify_one();
        let refusal = |event| match event {
            SenderEvent::SetRefused(refusal) => Some(refusal),
            SenderEvent::Room { state, .. } => panic!("it was set: {state:?}"),
            _ => None,
        };
        let refusal = house.hear(refusal).await;
        let id = house.source.to_string();
        assert!(refusal.accepted.contains("trusted.toml") && refusal.accepted.contains(&id), "{refusal}");

        // A reload does not end what this player itself is subscribed to.
        house.network.reload_trust().unwrap();
        house.network.judge_again();
        yield_now().await;
        assert!(house.network.connections.borrow().iter().all(|connection| !connection.session.borrow().is_closed()));

        let list = house.dirs.path().join("player").join(audera_link::TRUSTED_FILE);
        std::fs::write(list, format!("[[peer]]\nname = \"Tap\"\nid = \"{id}\"\n")).unwrap();
        house.network.reload_trust().unwrap();
        house.ask.notify_one();
        assert_eq!(house.hear_room().await.volume, Volume::nearest(7.0));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn two_subscriptions_to_one_source_have_a_clock_each() {
    let test = async {
        let house = House::new();
        house.subscribe();
        let first = house.compared(0).await;
        // The two have one clock, and are as good as ten seconds acquainted.
        let known = |clock: &SenderClock| clock.estimate().map_or(f64::INFINITY, |clock| clock.skew_deviation_ppm);
        for n in (1..=1_000).rev() {
            let sent = now() - Span::from_millis(10 * n);
            let received = SenderTime::from_nanos(sent.as_nanos()) + Span::from_micros(20);
            let returned = sent + Span::from_micros(40);
            first.clock.borrow_mut().compare(Exchange { sent, received, replied: received, returned });
        }
        let before = known(&first.clock.borrow());
        house.subscribe();
        let second = house.compared(1).await;
        assert_eq!((first.line.get(), second.line.get()), (Some(77), Some(77)));
        let after = known(&first.clock.borrow());
        println!("skew known to {before} ppm before, {after} ppm after");
        assert!(after < 2.0 * before, "the second has taken the first one's clock away");
    };
    LocalSet::new().run_until(test).await;
}

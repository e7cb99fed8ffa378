//! Datagrams beside a connection on real sockets, with a relay between the ends that can do what a network does: whoever dialled,
//! time is exchanged over UDP; where that is blocked or forged, in-band.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use audera_clock::{ClockFilter, Exchange, PlayerTime, SenderTime, Span};
use audera_link::{Connection, Endpoint, Identity, Limits, Listener, PAYLOAD_LEN, Protocol, dial, drive};
use audera_wire::{
    Coding, PlayerEvent, PlayerHello, PlayerSession, SenderHello, SenderSession, SessionError, Start, StreamFormat,
    StreamId, TimePath, encode_audio,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

const ALPN: &[u8] = b"audera/1";
const LIMIT: Duration = Duration::from_secs(20);

fn endpoint() -> Endpoint {
    let dir = tempfile::tempdir().unwrap();
    Endpoint::new(&Identity::load_or_create(dir.path()).unwrap(), ALPN).unwrap()
}

/// One monotonic clock serves both ends, so the true offset is 0.
fn nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

struct Sender {
    session: RefCell<SenderSession>,
    /// Audio that waits.
    audio: RefCell<Vec<u8>>,
}

impl Protocol for Sender {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        self.session.borrow_mut().receive(SenderTime::from_nanos(nanos()), bytes)
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.session.borrow_mut().poll_transmit(SenderTime::from_nanos(nanos()), out);
        out.append(&mut self.audio.borrow_mut());
    }

    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        let arrived = SenderTime::from_nanos(nanos()) - Span::from(arrived.elapsed());
        self.session.borrow_mut().receive_datagram(arrived, payload);
    }

    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        self.session.borrow_mut().poll_datagram(SenderTime::from_nanos(nanos()))
    }

    fn next_timeout(&self) -> Option<Duration> {
        Some((self.session.borrow().next_timeout()? - SenderTime::from_nanos(nanos())).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        self.session.borrow_mut().handle_timeout(SenderTime::from_nanos(nanos()))
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

struct Player {
    session: RefCell<PlayerSession>,
    exchanges: RefCell<Vec<Exchange>>,
    clock: RefCell<ClockFilter>,
    /// Rung when something has come.
    news: Notify,
}

impl Player {
    fn note(&self) {
        loop {
            let Some(event) = self.session.borrow_mut().poll_event() else { return };
            match event {
                PlayerEvent::Exchange(exchange) => {
                    self.exchanges.borrow_mut().push(exchange);
                    let _ = self.clock.borrow_mut().update(exchange);
                    self.session.borrow_mut().set_pace(self.clock.borrow().pace(Span::ZERO));
                }
                PlayerEvent::Start(start) => assert!(self.session.borrow_mut().accept(start.id)),
                _ => {}
            }
            self.news.notify_one();
        }
    }

    fn path(&self) -> TimePath {
        self.session.borrow().time_path()
    }

    /// Waits until it is so; what comes first decides whether the test goes on.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                self.news.notified().await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{what} did not come about"));
    }
}

impl Protocol for Player {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.session.borrow_mut().receive(PlayerTime::from_nanos(nanos()), bytes);
        self.note();
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.session.borrow_mut().poll_transmit(PlayerTime::from_nanos(nanos()), out);
    }

    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        let age = Span::from(arrived.elapsed());
        self.session.borrow_mut().receive_datagram(PlayerTime::from_nanos(nanos()) - age, payload);
        self.note();
    }

    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        self.session.borrow_mut().poll_datagram(PlayerTime::from_nanos(nanos()))
    }

    fn next_timeout(&self) -> Option<Duration> {
        Some((self.session.borrow().next_timeout()? - PlayerTime::from_nanos(nanos())).to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        let handled = self.session.borrow_mut().handle_timeout(PlayerTime::from_nanos(nanos()));
        self.note();
        handled
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

/// What a relay does with datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Passes,
    Blocks,
    /// Passes each, and with it some that the ends did not send: changed in one bit, of before, from the other end, of any bytes; and
    /// before each that the listening end is to get, the very same from another host, which would like to have the answers.
    Forges,
}

/// A way to `target` through a port of its own, for TCP and for UDP.
struct Relay {
    addr: SocketAddr,
    network: Rc<Cell<Network>>,
    /// Datagrams that were passed on.
    passed: Rc<Cell<usize>>,
    forged: Rc<Cell<usize>>,
    _tasks: [JoinHandle<()>; 2],
}

impl Relay {
    async fn to(target: SocketAddr, network: Network) -> Self {
        // A port that is free for both.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let addr = tcp.local_addr().unwrap();
        let (network, passed, forged) = (Rc::new(Cell::new(network)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let stream = spawn_local(async move {
            let (mut near, _) = tcp.accept().await.unwrap();
            let mut far = TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        let counts = (network.clone(), passed.clone(), forged.clone());
        let datagrams = spawn_local(relay_datagrams(udp, target, counts));
        Self { addr, network, passed, forged, _tasks: [stream, datagrams] }
    }
}

type Counts = (Rc<Cell<Network>>, Rc<Cell<usize>>, Rc<Cell<usize>>);

async fn relay_datagrams(near: UdpSocket, target: SocketAddr, (network, passed, forged): Counts) {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(target).await.unwrap();
    let elsewhere = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let mut dialler = None;
    let mut old: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut one, mut other) = ([0; 2048], [0; 2048]);
    loop {
        // Refusals of the far port come as errors; the datagram is lost then.
        let (bytes, outward) = tokio::select! {
            Ok((len, from)) = near.recv_from(&mut one) => {
                dialler = Some(from);
                (one[..len].to_vec(), true)
            }
            Ok(len) = far.recv(&mut other) => (other[..len].to_vec(), false),
            else => continue,
        };
        let send = async |bytes: &[u8], outward: bool| match (outward, dialler) {
            (true, _) => drop(far.send(bytes).await),
            (false, Some(dialler)) => drop(near.send_to(bytes, dialler).await),
            (false, None) => {}
        };
        if network.get() == Network::Blocks {
            continue;
        }
        if network.get() == Network::Forges {
            if outward {
                drop(elsewhere.send_to(&bytes, target).await);
            }
            let mut changed = bytes.clone();
            let bit = 8 * 8 + passed.get() * 7 % (8 * (changed.len() - 8));
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut longer = bytes.clone();
            longer.push(0);
            for forgery in [&changed, &longer, &bytes[..63].to_vec(), &vec![0x5a; 64]].into_iter().chain(&old) {
                send(forgery, outward).await;
            }
            // Back to where it came from.
            send(&bytes, !outward).await;
            forged.set(forged.get() + 5 + old.len());
        }
        send(&bytes, outward).await;
        passed.set(passed.get() + 1);
        old.push_back(bytes);
        if old.len() > 4 {
            old.pop_front();
        }
    }
}

/// A sender and a player at the ends of a connection.
struct Ends {
    player: Rc<Player>,
    sender: Rc<Sender>,
    sender_wake: Rc<Notify>,
    _driving: [JoinHandle<()>; 2],
}

fn ends(dialled: Connection, accepted: Connection, sender_dials: bool, datagrams: bool) -> Ends {
    let hello = SenderHello { datagrams, ..SenderHello::new("desk", "test 1") };
    let sender = Rc::new(Sender {
        session: SenderSession::new(hello, SenderTime::from_nanos(nanos())).into(),
        audio: RefCell::default(),
    });
    let hello = PlayerHello { datagrams, ..PlayerHello::new("Kitchen", "test 1") };
    let player = Rc::new(Player {
        session: PlayerSession::new(hello, PlayerTime::from_nanos(nanos())).into(),
        exchanges: RefCell::default(),
        clock: RefCell::default(),
        news: Notify::new(),
    });
    let (to_player, to_sender) = if sender_dials { (dialled, accepted) } else { (accepted, dialled) };
    let sender_wake = Rc::new(Notify::new());
    let driving = [
        drive_on(to_player, sender.clone(), sender_wake.clone()),
        drive_on(to_sender, player.clone(), Rc::new(Notify::new())),
    ];
    Ends { player, sender, sender_wake, _driving: driving }
}

fn drive_on<P: Protocol + 'static>(connection: Connection, protocol: Rc<P>, wake: Rc<Notify>) -> JoinHandle<()> {
    spawn_local(async move { drive(connection, &*protocol, &wake).await.unwrap() })
}

/// Ends that speak through a relay, either of them dialling.
struct Home {
    ends: Ends,
    relay: Relay,
    _listener: Listener,
}

async fn home(network: Network, sender_dials: bool) -> Home {
    let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint(), Limits::default()).unwrap();
    assert!(listener.without_datagrams().is_none());
    let relay = Relay::to(listener.local_addr(), network).await;
    let ours = endpoint();
    let target = relay.addr.into();
    let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert!(dialled.has_datagrams() && accepted.has_datagrams());
    Home { ends: ends(dialled, accepted, sender_dials, true), relay, _listener: listener }
}

/// Runs a test for either end that dials.
fn either_way(test: impl AsyncFn(bool)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for sender_dials in [true, false] {
        LocalSet::new().block_on(&runtime, test(sender_dials));
    }
}

/// Nobody has been told a time that contradicts the one clock which both ends read.
fn all_true(exchanges: &[Exchange]) {
    for exchange in exchanges {
        let order = [
            exchange.sent.as_nanos(),
            exchange.received.as_nanos(),
            exchange.replied.as_nanos(),
            exchange.returned.as_nanos(),
        ];
        // The wall clock, by which the kernel stamps, may run at another rate for as long as a datagram waits.
        let slack = 50_000;
        assert!(order.windows(2).all(|pair| pair[0] <= pair[1] + slack), "{order:?}");
    }
}

#[test]
fn time_is_exchanged_over_udp_whoever_dialled() {
    either_way(async |sender_dials| {
        let home = home(Network::Passes, sender_dials).await;
        let enough = |player: &Player| player.path() == TimePath::Udp && player.exchanges.borrow().len() >= 13;
        home.ends.player.until("exchanges over UDP", enough).await;
        all_true(&home.ends.player.exchanges.borrow());
        // Exchanges of the burst over UDP were as many datagrams each way.
        assert!(home.relay.passed.get() >= 24, "{} datagrams", home.relay.passed.get());
    });
}

#[test]
fn where_udp_is_blocked_time_is_exchanged_in_band_until_it_is_not() {
    either_way(async |sender_dials| {
        let home = home(Network::Blocks, sender_dials).await;
        home.ends.player.until("exchanges in-band", |player| player.exchanges.borrow().len() >= 8).await;
        assert_eq!((home.ends.player.path(), home.relay.passed.get()), (TimePath::InBand, 0));
        all_true(&home.ends.player.exchanges.borrow());
        home.relay.network.set(Network::Passes);
        home.ends.player.until("the way over UDP", |player| player.path() == TimePath::Udp).await;
    });
}

#[test]
fn forged_datagrams_change_nothing() {
    either_way(async |sender_dials| {
        let home = home(Network::Forges, sender_dials).await;
        let enough = |player: &Player| player.path() == TimePath::Udp && player.exchanges.borrow().len() >= 13;
        home.ends.player.until("exchanges over UDP", enough).await;
        all_true(&home.ends.player.exchanges.borrow());
        let (passed, forged) = (home.relay.passed.get(), home.relay.forged.get());
        assert!(forged > 5 * passed, "{forged} beside {passed}");
        // What comes through is given to the sessions once, and nothing else is: nothing that they would have to wonder about.
        let stale =
            (home.ends.sender.session.borrow().counters().stale, home.ends.player.session.borrow().counters().stale);
        assert_eq!(stale, (0, 0));
        assert!(!home.ends.player.is_closed() && !home.ends.sender.is_closed());
    });
}

#[tokio::test]
async fn a_listener_whose_udp_port_is_taken_does_without() {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = Listener::bind(&[udp.local_addr().unwrap()], &endpoint(), Limits::default()) {
            break (udp, tcp);
        }
    };
    let mut listener = tcp;
    assert_eq!(listener.without_datagrams().map(std::io::Error::kind), Some(std::io::ErrorKind::AddrInUse));
    let ours = endpoint();
    let target = udp.local_addr().unwrap().into();
    let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
    assert!(dialled.unwrap().has_datagrams() && !accepted.unwrap().has_datagrams());
}

#[tokio::test]
async fn the_udp_ports_are_given_back_with_listener_and_connections() {
    let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint(), Limits::default()).unwrap();
    let addr = listener.local_addr();
    let ours = endpoint();
    let target = addr.into();
    let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
    assert!(UdpSocket::bind(addr).await.is_err(), "the port is the listener's");
    drop((dialled, accepted, listener));
    // The task that served it ends at its next turn.
    for _ in 0..100 {
        if UdpSocket::bind(addr).await.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{addr} is still held");
}

/// Both ends read one clock, so whatever offset the player finds is its error.
///
/// The figures are printed; `AUDERA_SECONDS` makes it last longer.
#[test]
fn on_either_path_the_clock_is_found_within_the_bound() {
    let seconds = std::env::var("AUDERA_SECONDS").map_or(2, |seconds| seconds.parse().expect("a number of seconds"));
    let run = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for network in [Network::Blocks, Network::Passes] {
        LocalSet::new().block_on(&runtime, async {
            // Straight, as the relay would be part of what is measured.
            let mut listener =
                Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint(), Limits::default()).unwrap();
            let (ours, target) = (endpoint(), listener.local_addr().into());
            let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
            let ends = ends(dialled.unwrap(), accepted.unwrap(), true, network == Network::Passes);
            let id = StreamId(1);
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let (mut bounds, mut errors, begin) = (Vec::new(), Vec::new(), Instant::now());
            for seq in 0.. {
                tick.tick().await;
                if begin.elapsed() > run {
                    break;
                }
                if ends.sender.session.borrow().is_streaming(id) {
                    let stamp = SenderTime::from_nanos(nanos()) + Span::from_millis(80);
                    let audio = &mut ends.sender.audio.borrow_mut();
                    encode_audio(id, seq, stamp, Span::ZERO, &[0x55; 480 * 2 * 3], audio).unwrap();
                } else if ends.sender.session.borrow().player().is_some() && begin.elapsed() < run / 10 {
                    let format = StreamFormat { coding: Coding::PcmS24le, rate: 48_000, channels: 2, frames: 480 };
                    let start = Start { id, format, latency: Span::from_millis(80), title: "noise".into() };
                    // It is started once; further attempts are refused until it is accepted.
                    let _ = ends.sender.session.borrow_mut().start(start);
                }
                ends.sender_wake.notify_one();
                if let Some(estimate) = ends.player.clock.borrow().estimate() {
                    let now = PlayerTime::from_nanos(nanos());
                    errors.push((estimate.map.to_sender(now).as_nanos() - now.as_nanos()).abs());
                    bounds.push(estimate.bound.as_nanos());
                }
            }
            let exchanges = ends.player.exchanges.borrow();
            let (error, bound) = (errors.last().copied().unwrap(), bounds.last().copied().unwrap());
            assert!(
                exchanges.len() >= 8 && error <= bound,
                "{} exchanges, {error} ns off, {bound} ns",
                exchanges.len()
            );
            let trips = exchanges.iter().map(|exchange| exchange.round_trip().as_nanos()).collect();
            let line = |mut figures: Vec<i64>| {
                figures.sort_unstable();
                let at = |share: usize| figures[(figures.len() - 1) * share / 100] as f64 / 1e3;
                format!("least {:.1}, median {:.1}, p95 {:.1}, most {:.1} us", at(0), at(50), at(95), at(100))
            };
            println!("{}: {} exchanges", ends.player.path(), exchanges.len());
            println!("  round trip: {}\n  bound: {}\n  error: {}", line(trips), line(bounds), line(errors));
        });
    }
}

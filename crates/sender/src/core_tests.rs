//! What becomes of audio around the begin and the end of a stream: the network thread by hand, with one player and no network.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use audera_clock::{PlayerTime, Span};
use audera_wire::{
    Coding, PlayerEvent, PlayerHello, PlayerSession, PlayerState, PlayerStatus, SenderHello, SenderSession, StreamId,
};

use super::*;
use crate::by_hand::{self, by_hand};
use crate::discovery::{self, Announcement};
use crate::paced::{LEAD, Paced, paced};
use crate::player::Route;
use crate::pump::{Inflow, Pump};
use crate::tap::{Tap, tap};
use crate::types::{CodecChoice, Encoding, Latency, MemberState, StreamConfig, Target};
use crate::ways;

const RATE: u32 = 48_000;
const KEY: StreamKey = StreamKey(1);
/// Frames of a packet of 10 ms, and of what is handed over at once.
const PACKET: usize = 480;
const BLOCK: usize = 48;

/// A hub with one stream and one player, which takes everything at once.
struct House {
    core: Rc<Core>,
    /// `None` where an application plays.
    tap: Option<Tap>,
    player: Rc<Player>,
    far: PlayerSession,
    /// When the next block passes the graph.
    at: SenderTime,
    came: Vec<Came>,
    /// What it was last asked to play.
    started: Option<StreamId>,
    /// All formats that it was asked to play.
    codings: Vec<Coding>,
    /// What it tells that it does, and whether that is watched.
    does: PlayerState,
    watched: bool,
}

/// What the player was sent.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Came {
    /// A packet, and how many of its frames are sound.
    Sound(usize),
    Stop,
    Farewell,
}

impl House {
    fn new(state_dir: &Path) -> House {
        let (tap, outflow) = tap(1, RATE as usize, RATE).unwrap();
        House::with(state_dir, Some(tap), Inflow::Tap(outflow))
    }

    /// With an application in place of a graph.
    fn paced(state_dir: &Path) -> (House, Paced) {
        let buffer = RATE as usize / 10;
        let (paced, release) = paced(1, RATE, buffer, Span::from_secs(2), Span::from_millis(20)).unwrap();
        (House::with(state_dir, None, Inflow::Paced(release)), paced)
    }

    fn with(state_dir: &Path, tap: Option<Tap>, inflow: Inflow) -> House {
        let core = by_hand::core(state_dir);
        let config = StreamConfig {
            title: String::new(),
            rate: RATE,
            channels: 1,
            latency: Latency::Fixed(Span::from_secs(2)),
            encoding: Encoding { codec: CodecChoice::Pcm, packet_msec: 10, ..Encoding::default() },
            target: Target::Everywhere,
            gate: None,
        };
        let pump = Pump::new(inflow, RATE, config.latency.initial(), None);
        core.obey(Order::Open(KEY, Box::new((pump, config))));
        let key = PlayerKey::Address("kitchen".to_owned());
        let player = core.add_player(key, "Kitchen".to_owned(), Route::Inbound);
        let (does, watched) = (PlayerState::Idle, false);
        let (far, began) = (PlayerSession::new(PlayerHello::new("Kitchen", "test"), PlayerTime::from_nanos(0)), now());
        let (came, codings) = (Vec::new(), Vec::new());
        let mut house = House { core, tap, player, far, at: began, came, started: None, codings, does, watched };
        house.connect();
        house
    }

    /// The player connects, or does so again.
    fn connect(&mut self) {
        self.player.session.replace(Some(SenderSession::new(SenderHello::new("sender", "test"), now())));
        self.far = PlayerSession::new(PlayerHello::new("Kitchen", "test"), PlayerTime::from_nanos(0));
        self.talk();
    }

    /// The states of the stream's members, as its owner is told them.
    fn members(&self) -> Vec<MemberState> {
        let status = self.core.all_streams().remove(0).status();
        status.members.into_iter().map(|member| member.state).collect()
    }

    fn order(&mut self, order: Order) {
        self.core.obey(order);
        self.talk();
    }

    /// Begins to play, and takes what has waited so far out of the network thread's way.
    fn begin(&mut self) {
        self.order(Order::Begin(KEY));
        self.came.clear();
    }

    /// How much sound came in packets, and what came behind them.
    fn came(&self) -> (usize, Vec<Came>) {
        let sound = self.came.iter().map(|came| if let Came::Sound(frames) = came { *frames } else { 0 }).sum();
        let last = self.came.iter().rposition(|came| matches!(came, Came::Sound(_))).map_or(0, |last| last + 1);
        (sound, self.came[last..].to_vec())
    }

    /// Hands over so many frames of sound, of which the network thread is not told.
    fn push(&mut self, frames: usize) {
        for _ in 0..frames / BLOCK {
            self.tap.as_mut().unwrap().push(self.at, &[0.5; BLOCK]);
            self.at += Span::from_frames(BLOCK as i64, RATE);
        }
    }

    /// Carries everything between the two ends.
    fn talk(&mut self) {
        for _ in 0..6 {
            let (mut down, mut up) = (Vec::new(), Vec::new());
            self.player.transmit(now(), &mut down);
            self.far.receive(PlayerTime::from_nanos(0), &down).unwrap();
            while let Some(event) = self.far.poll_event() {
                match event {
                    PlayerEvent::Start(start) => {
                        assert!(self.far.accept(start.id));
                        self.started = Some(start.id);
                        self.codings.push(start.format.coding);
                    }
                    PlayerEvent::Audio { payload, .. } => {
                        self.came.push(Came::Sound(payload.chunks_exact(3).filter(|frame| *frame != [0; 3]).count()));
                    }
                    PlayerEvent::Stop(_) => self.came.push(Came::Stop),
                    PlayerEvent::Closed { .. } => self.came.push(Came::Farewell),
                    PlayerEvent::Watch(on) => {
                        self.watched = on;
                        self.far.status(PlayerStatus { state: self.does, ..PlayerStatus::default() });
                    }
                    _ => {}
                }
            }
            self.far.poll_transmit(PlayerTime::from_nanos(0), &mut up);
            let hear = |session: &mut SenderSession| {
                session.receive(now(), &up).unwrap();
                std::iter::from_fn(|| session.poll_event()).collect::<Vec<_>>()
            };
            let events = self.player.with_session(hear).unwrap();
            for event in events {
                self.core.heard(&self.player, event);
            }
        }
    }
}

#[test]
fn helpers_are_few_and_have_a_name() {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((now, most));
    let names = runtime().unwrap().block_on(async {
        let helps = (0..4 * HELPERS).map(|_| {
            let counts = counts.clone();
            tokio::task::spawn_blocking(move || {
                counts.1.fetch_max(counts.0.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::sleep(Duration::from_millis(10));
                counts.0.fetch_sub(1, SeqCst);
                std::thread::current().name().map(str::to_owned)
            })
        });
        let mut names = Vec::new();
        for help in helps.collect::<Vec<_>>() {
            names.push(help.await.unwrap());
        }
        names
    });
    assert!(names.iter().all(|name| name.as_deref() == Some("audera-helper")), "{names:?}");
    assert!(counts.1.load(SeqCst) <= HELPERS, "{counts:?}");
}

#[test]
fn orders_are_obeyed_while_helpers_are_held_up() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime().unwrap());
    let held: Vec<_> = (0..HELPERS)
        .map(|_| {
            let (release, released) = std::sync::mpsc::channel::<()>();
            runtime.spawn_blocking(move || released.recv());
            release
        })
        .collect();
    let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
    orders.send(Order::Follow(Box::new(|_| {}))).ok().unwrap();
    orders.send(Order::Discover).ok().unwrap();
    orders.send(Order::Shutdown).ok().unwrap();
    let core = by_hand::core(folder.path());
    let ended = LocalSet::new().block_on(&runtime, async {
        // Only catches what hangs.
        tokio::time::timeout(Duration::from_secs(20), core.clone().serve(inbox)).await
    });
    drop(held);
    assert!(ended.is_ok(), "the end is waited for until somebody has read a file");
    assert!(!core.discovery.is_searching(), "the file may say that nobody is to be looked for");
}

#[test]
fn whatever_ends_a_stream_ends_it_behind_what_was_handed_over() {
    let orders: [fn() -> Order; 3] =
        [|| Order::End(KEY), || Order::Forbid(KEY, Some("it hears itself".to_owned())), || Order::Close(KEY)];
    for (number, order) in orders.into_iter().enumerate() {
        by_hand(|state_dir| {
            let mut house = House::new(state_dir);
            house.begin();
            // Ten packets and a half, all of which still waits.
            house.push(PACKET * 10 + PACKET / 2);
            house.order(order());
            assert_eq!(house.came(), (PACKET * 10 + PACKET / 2, vec![Came::Stop]), "order {number}");
        });
    }
}

#[test]
fn a_farewell_comes_behind_what_was_handed_over() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        house.begin();
        house.push(PACKET * 10 + PACKET / 2);
        let (core, mut context) = (house.core.clone(), std::task::Context::from_waker(std::task::Waker::noop()));
        // It waits for the connection to end.
        assert!(std::pin::pin!(core.say_farewell()).poll(&mut context).is_pending());
        house.talk();
        assert_eq!(house.came(), (PACKET * 10 + PACKET / 2, vec![Came::Stop, Came::Farewell]));
    });
}

#[test]
fn a_stream_begins_with_what_comes_from_then_on() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        // The tail of what was played before.
        house.push(PACKET * 3);
        house.begin();
        house.push(PACKET * 4);
        house.order(Order::End(KEY));
        assert_eq!(house.came(), (PACKET * 4, vec![Came::Stop]));
        // The same where it was not allowed to begin when it was asked to.
        house.order(Order::Forbid(KEY, Some("it hears itself".to_owned())));
        house.order(Order::Begin(KEY));
        house.push(PACKET * 3);
        house.came.clear();
        house.order(Order::Forbid(KEY, None));
        house.push(PACKET * 2);
        house.order(Order::End(KEY));
        assert_eq!(house.came(), (PACKET * 2, vec![Came::Stop]));
    });
}

#[test]
fn another_codec_begins_anew_where_the_format_is_another_one_and_nowhere_else() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        house.begin();
        let encode = |codec| Order::Encode(KEY, Encoding { codec, packet_msec: 10, ..Encoding::default() });
        house.push(PACKET * 4);
        house.order(encode(CodecChoice::Pcm));
        assert_eq!((house.codings.as_slice(), house.came()), (&[Coding::PcmS24le][..], (0, vec![])), "as it was");
        house.order(encode(CodecChoice::Opus));
        assert_eq!(house.codings, [Coding::PcmS24le, Coding::Opus]);
        assert_eq!(house.came, [Came::Stop], "what was not sent yet is sent in the new format");
        let stream = house.core.all_streams().remove(0);
        house.push(PACKET * 4);
        house.core.pump(&stream);
        house.talk();
        let packets = house.came.iter().filter(|came| matches!(came, Came::Sound(_))).count();
        assert_eq!(packets, 8, "{:?}", house.came);
        assert_eq!(stream.pump.borrow().formats().count(), 1, "nobody takes the former format");
        // One that no player takes leaves it out, and it is asked again when there is one.
        stream.config.borrow_mut().rate = 44_100;
        house.order(encode(CodecChoice::Opus));
        assert!(!stream.is_heard());
        house.order(encode(CodecChoice::Auto));
        assert!(stream.is_heard());
    });
}

#[test]
fn another_bit_rate_counts_at_once_and_breaks_nothing_off() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        let encode = |opus_kbps| Order::Encode(KEY, Encoding { codec: CodecChoice::Opus, packet_msec: 10, opus_kbps });
        house.order(encode(64));
        house.begin();
        // Noise takes all that the bit rate allows.
        let mut state = 1u32;
        let mut size = |house: &mut House| {
            house.came.clear();
            for _ in 0..PACKET * 50 / BLOCK {
                let noise = [0.0; BLOCK].map(|_: f32| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 24) as f32 - 0.5
                });
                house.tap.as_mut().unwrap().push(house.at, &noise);
                house.at += Span::from_frames(BLOCK as i64, RATE);
                house.core.pump(&house.core.all_streams().remove(0));
                house.talk();
            }
            assert!(!house.came.contains(&Came::Stop), "{:?}", house.came);
            house.came().0
        };
        let small = size(&mut house);
        house.order(encode(320));
        let large = size(&mut house);
        assert!(large > 3 * small, "{small} and {large}");
        assert_eq!(house.codings, [Coding::Opus], "it has not begun anew");
    });
}

#[test]
fn rooms_that_were_lost_in_a_pause_are_given_time_to_open_their_devices_again() {
    by_hand(|state_dir| {
        let (mut house, mut application) = House::paced(state_dir);
        let stream = house.core.all_streams().remove(0);
        // The application's times are so far ahead that all that was opened by now is open by then.
        let (begun, hour) = (now(), Span::from_secs(3_600));
        assert_eq!(application.lead(begun + hour), LEAD, "nothing plays");
        application.start(begun);
        house.core.pump(&stream);
        house.talk();
        assert_eq!(stream.run.borrow().as_ref().map(|run| run.members.len()), Some(1));
        application.hold(begun);
        house.core.pump(&stream);
        assert_eq!(application.lead(begun + hour), Span::ZERO, "the room is kept open");

        // Another sender takes the room.
        assert!(house.far.preempt(house.started.unwrap(), "radio"));
        house.talk();
        assert_eq!(application.lead(begun + hour), LEAD);
        application.start(begun + hour);
        assert_eq!(application.leaves_at(0), Some(begun + hour + LEAD));
        house.core.pump(&stream);
        house.talk();
        // It plays this again.
        application.hold(begun + hour);
        house.core.pump(&stream);
        assert_eq!(application.lead(begun + hour + hour), Span::ZERO);

        // The room is gone.
        house.core.left(&house.player, false);
        assert_eq!(application.lead(begun + hour + hour), LEAD);
    });
}

#[test]
fn a_player_with_a_new_name_plays_on_and_keeps_what_is_for_it() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        house.order(Order::Retarget(KEY, Target::Player(house.player.key())));
        house.begin();
        house.push(PACKET);
        house.core.rename(&house.player, "Galley".to_owned());
        let galley = PlayerKey::Discovered("Galley".to_owned());
        assert!(house.core.player(&galley).is_some() && house.core.all_players().len() == 1);
        house.push(PACKET * 2);
        house.order(Order::End(KEY));
        assert_eq!(house.came(), (PACKET * 3, vec![Came::Stop]));
        house.begin();
        let members = house.core.all_streams()[0].status().members;
        let found: Vec<_> = members.iter().map(|member| (&member.key, member.room.as_str(), &member.state)).collect();
        assert_eq!(found, [(&galley, "Galley", &MemberState::Playing)]);
    });
}

/// Where rooms are named, as a source does it, names mean names.
#[test]
fn a_stream_for_names_is_for_the_rooms_that_are_called_so_now() {
    for (named, plays_before, plays_after) in
        [("Galley", false, true), ("Kitchen", true, false), ("Everywhere", true, true)]
    {
        by_hand(|state_dir| {
            let mut house = House::new(state_dir);
            house.order(Order::Retarget(KEY, Target::Named(vec![named.to_owned()])));
            house.begin();
            let is_playing = |house: &House| house.members() == [MemberState::Playing];
            assert_eq!(is_playing(&house), plays_before, "{named}");
            house.core.rename(&house.player, "Galley".to_owned());
            house.talk();
            assert_eq!(is_playing(&house), plays_after, "{named}: {:?}", house.members());
            assert_eq!(house.came.contains(&Came::Stop), plays_before && !plays_after, "{named}");
        });
    }
}

/// One that is known by its address keeps its key, and is called as it says.
#[test]
fn a_room_at_a_fixed_address_is_meant_by_its_present_name() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        house.order(Order::Retarget(KEY, Target::Named(vec!["Galley".to_owned()])));
        house.begin();
        assert_eq!(house.members(), []);
        house.player.state.replace(Some(audera_wire::RoomState::new("Galley")));
        house.core.tell_state(&house.player);
        house.talk();
        assert_eq!(house.members(), [MemberState::Playing]);
        house.player.state.replace(Some(audera_wire::RoomState::new("Pantry")));
        house.core.tell_state(&house.player);
        assert_eq!(house.members(), []);
        house.order(Order::Retarget(KEY, Target::Everywhere));
        house.player.state.replace(Some(audera_wire::RoomState::new("Larder")));
        house.core.tell_state(&house.player);
        assert_eq!(house.core.all_streams()[0].status().members[0].room, "Larder");
    });
}

#[test]
fn a_player_that_was_met_anew_before_its_old_name_was_gone_takes_its_place() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        let was = PlayerKey::Discovered("Kitchen".to_owned());
        let former = house.core.add_player(was.clone(), "Kitchen".to_owned(), Route::Inbound);
        house.order(Order::Retarget(KEY, Target::Player(was.clone())));
        house.begin();
        house.push(PACKET);
        house.talk();
        assert_eq!(house.came(), (0, Vec::new()), "it is for another one");
        house.core.supersede(&former, &house.player);
        house.talk();
        house.push(PACKET * 2);
        house.order(Order::End(KEY));
        assert!(house.came().0 >= PACKET * 2 && house.core.player(&was).is_none());
    });
}

#[test]
fn a_stream_for_a_player_is_for_it_by_the_way_that_stays() {
    by_hand(|state_dir| {
        let mut house = House::new(state_dir);
        let place: SocketAddr = "192.0.2.7:6528".parse().unwrap();
        let id = PeerId::of_public_key(b"user on host");
        let (name, groups) = ("Hall".to_owned(), Vec::new());
        let announced = Announcement { name: name.clone(), addresses: vec![place], id: Some(id), groups };
        discovery::found(&house.core, announced);
        let was = PlayerKey::Discovered(name);
        house.order(Order::Retarget(KEY, Target::Player(was.clone())));
        // It is away, and is back by an address that was added meanwhile.
        house.core.add_address("hall.local");
        let now = PlayerKey::Address("hall.local".to_owned());
        let player = house.core.player(&now).unwrap();
        player.peer.set(Some(place));
        player.info.borrow_mut().id = Some(id);
        player.hello.replace(Some(PlayerHello::new("Hall", "test")));
        assert!(!ways::unite(&house.core, &player) && house.core.player(&was).is_none());
        assert_eq!(house.core.all_streams()[0].config.borrow().target, Target::Player(now));
    });
}

/// Somebody who merely announces what another player is called must not come by what is for that one.
#[test]
fn only_the_player_itself_gives_itself_another_name() {
    by_hand(|state_dir| {
        let house = House::new(state_dir);
        let place = |port: u16| vec![std::net::SocketAddr::from(([10, 0, 0, 1], port))];
        let id = house.core.endpoint.id();
        let other: PeerId = "0".repeat(64).parse().unwrap();
        house.player.route.replace(Route::Announced(place(6528), Some(id)));
        house.player.called.replace(Some("Galley".to_owned()));
        house.player.info.borrow_mut().announced = true;
        let announced = |name: &str, port: u16, id| {
            discovery::renamed(&house.core, name, &Route::Announced(place(port), id)).is_some()
        };
        assert!(!announced("Attic", 6528, Some(id)), "it does not call itself so");
        assert!(!announced("Galley", 6529, Some(id)), "another player of this user");
        assert!(!announced("Galley", 6528, Some(other)) && !announced("Galley", 6528, None), "another identity");
        let _ = house.core.met.borrow_mut().pin("Galley", &other).unwrap();
        assert!(!announced("Galley", 6528, Some(id)), "another one was met by this name");
        assert!(house.core.met.borrow_mut().forget("Galley").unwrap());
        let former = house.player.key().to_string();
        assert!(announced("Galley", 6528, Some(id)));
        assert_eq!(house.player.key(), PlayerKey::Discovered("Galley".to_owned()));

        // What is left of its former announcement is no other player; somebody else by that name is.
        let (name, groups) = (former.clone(), Vec::new());
        let found = |id| {
            let (name, groups) = (name.clone(), groups.clone());
            discovery::found(&house.core, Announcement { name, addresses: place(6528), id: Some(id), groups });
            house.core.all_players().len()
        };
        assert_eq!((found(id), found(id), found(other)), (1, 1, 2));
    });
}

#[test]
fn a_room_that_was_taken_is_there_until_it_goes_and_is_played_to_again_if_it_comes_back_free() {
    let taken = MemberState::Preempted("radio".to_owned());
    for (does, becomes) in [(PlayerState::Playing, &taken), (PlayerState::Idle, &MemberState::Playing)] {
        by_hand(|state_dir| {
            let mut house = House::new(state_dir);
            house.begin();
            assert!(house.far.preempt(house.started.unwrap(), "radio"));
            house.talk();
            assert_eq!(house.members(), std::slice::from_ref(&taken));
            // Its connection is replaced by another one.
            house.core.left(&house.player, true);
            assert_eq!(house.members(), std::slice::from_ref(&taken));
            house.connect();
            assert_eq!(house.members(), std::slice::from_ref(&taken));
            // It is lost, and there again.
            house.core.left(&house.player, false);
            assert_eq!(house.members(), []);
            house.does = does;
            house.connect();
            assert_eq!((house.members(), house.watched), (vec![becomes.clone()], false), "{does:?}");
        });
    }
}

#[test]
fn a_stream_that_is_not_served_any_more_is_let_go_and_its_players_with_it() {
    by_hand(|state_dir| {
        let (mut house, mut application) = House::paced(state_dir);
        application.start(now());
        house.core.pump(&house.core.all_streams().remove(0));
        house.talk();
        house.core.lose(KEY);
        house.talk();
        assert!(house.core.all_streams().is_empty());
        assert_eq!(house.came(), (0, vec![Came::Stop]));
    });
}

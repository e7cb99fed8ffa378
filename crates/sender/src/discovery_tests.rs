//! Players that get other names, as announcements and connections tell of it in any order, and those who only pretend to.

use audera_wire::{PlayerHello, SenderEvent};

use super::*;
use crate::by_hand::{announce, by_hand, core, id};
use crate::pump::{Inflow, Pump};
use crate::stream::Stream;
use crate::tap::tap;
use crate::types::{Encoding, Latency, StreamConfig, StreamKey, Target};

const PLACE: &str = "192.0.2.7:6528";

fn key(name: &str) -> PlayerKey {
    PlayerKey::Discovered(name.to_owned())
}

/// Who is kept track of.
fn known(core: &Rc<Core>) -> Vec<String> {
    core.all_players().iter().map(|player| player.key().to_string()).collect()
}

/// The player that is announced by this name answers by its key, and says what it is called.
fn answers(core: &Rc<Core>, name: &str, number: u8, called: &str) {
    let player = core.player(&key(name)).unwrap();
    player.info.borrow_mut().id = Some(id(number));
    let _ = core.met.borrow_mut().pin(name, &id(number));
    core.heard(&player, SenderEvent::PlayerReady(PlayerHello::new(called, "test")));
}

/// A connected player has given itself another name.
fn says(core: &Rc<Core>, name: &str, called: &str) {
    core.player(&key(name)).unwrap().called.replace(Some(called.to_owned()));
}

/// The connection is lost, and the announcement with it.
fn goes(core: &Rc<Core>, name: &str) {
    let player = core.player(&key(name)).unwrap();
    core.left(&player, false);
    core.update(&player, |info| info.reach = Reach::Away("gone".to_owned()));
    withdrawn(core, name.to_owned());
}

/// A stream for the player of this name.
fn stream_for(core: &Rc<Core>, name: &str) -> Rc<Stream> {
    let (_tap, outflow) = tap(1, 48_000, 48_000).unwrap();
    let config = StreamConfig {
        title: String::new(),
        rate: 48_000,
        channels: 1,
        latency: Latency::Auto,
        encoding: Encoding::default(),
        target: Target::Player(key(name)),
        gate: None,
    };
    let pump = Pump::new(Inflow::Tap(outflow), 48_000, config.latency.initial(), None);
    core.open(StreamKey(1), config, pump)
}

fn is_for(stream: &Stream, name: &str) -> bool {
    stream.config.borrow().target == Target::Player(key(name))
}

#[test]
fn a_name_that_was_given_up_can_be_taken_again() {
    // A player ends its former announcement first; the news of it may come in another order.
    for ends_first in [true, false] {
        by_hand(|state_dir| {
            let core = core(state_dir);
            announce(&core, "Kitchen", PLACE, 1);
            answers(&core, "Kitchen", 1, "Kitchen");
            says(&core, "Kitchen", "Galley");
            if ends_first {
                withdrawn(&core, "Kitchen".to_owned());
                announce(&core, "Galley", PLACE, 1);
            } else {
                announce(&core, "Galley", PLACE, 1);
                announce(&core, "Kitchen", PLACE, 1);
                assert_eq!(known(&core), ["Galley"], "what is left of the former announcement is nobody");
                withdrawn(&core, "Kitchen".to_owned());
            }
            assert_eq!(known(&core), ["Galley"], "{ends_first}");
            // It is called as before while nobody is connected to it.
            goes(&core, "Galley");
            announce(&core, "Kitchen", PLACE, 1);
            assert!(known(&core).contains(&"Kitchen".to_owned()), "{ends_first}: {:?}", known(&core));
            answers(&core, "Kitchen", 1, "Kitchen");
            assert_eq!(known(&core), ["Kitchen"], "{ends_first}");
        });
    }
}

#[test]
fn what_was_for_a_room_is_for_it_by_the_new_name_that_it_has_come_back_with() {
    // The end of the old announcement comes first, or in between, or last.
    for turn in 0..3 {
        by_hand(|state_dir| {
            let core = core(state_dir);
            announce(&core, "Kitchen", PLACE, 1);
            answers(&core, "Kitchen", 1, "Kitchen");
            let stream = stream_for(&core, "Kitchen");
            let ends = |now| {
                if turn == now {
                    goes(&core, "Kitchen");
                }
            };
            ends(0);
            announce(&core, "Galley", PLACE, 1);
            ends(1);
            assert!(is_for(&stream, "Kitchen"), "{turn}: nobody has proved anything yet");
            answers(&core, "Galley", 1, "Galley");
            ends(2);
            assert!(is_for(&stream, "Galley"), "{turn}");
            assert_eq!(known(&core), ["Galley"], "{turn}");
        });
    }
}

/// An id and a place are public, and so is the end of an announcement.
#[test]
fn what_is_for_a_room_is_not_given_to_who_announces_its_id() {
    by_hand(|state_dir| {
        let core = core(state_dir);
        announce(&core, "Kitchen", PLACE, 1);
        answers(&core, "Kitchen", 1, "Kitchen");
        let stream = stream_for(&core, "Kitchen");
        announce(&core, "Evil", PLACE, 1);
        withdrawn(&core, "Kitchen".to_owned());
        assert!(is_for(&stream, "Kitchen"), "nobody has answered by that name");
        // Whoever is dialled there is the kitchen, and says so.
        answers(&core, "Evil", 1, "Kitchen");
        assert!(is_for(&stream, "Kitchen"));
        core.left(&core.player(&key("Evil")).unwrap(), false);
        announce(&core, "Evil", "192.0.2.66:6528", 2);
        answers(&core, "Evil", 2, "Evil");
        assert!(is_for(&stream, "Kitchen"));
    });
    // The other way round: the kitchen is announced as somebody else is.
    by_hand(|state_dir| {
        let core = core(state_dir);
        announce(&core, "Kitchen", PLACE, 1);
        answers(&core, "Kitchen", 1, "Kitchen");
        let stream = stream_for(&core, "Kitchen");
        announce(&core, "Evil", "192.0.2.66:6528", 2);
        answers(&core, "Evil", 2, "Evil");
        announce(&core, "Kitchen", "192.0.2.66:6528", 2);
        withdrawn(&core, "Kitchen".to_owned());
        assert!(is_for(&stream, "Kitchen"), "another one was met by this name");
    });
}

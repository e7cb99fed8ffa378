//! A room that gets another name is the same room: what plays to it goes on, and its sink is called by the new name.

use audera_testkit::home::{Product, player_port};
use audera_testkit::or_skip;

use crate::desk::*;
use crate::volume::{agree, heard, set, tone};

#[test]
fn a_room_plays_on_under_its_new_name() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen"]);
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let port = player_port(&kitchen).unwrap();
    // Of which it is the only member.
    set(&product, &session, port, &["groups=Downstairs"]);
    let _sinks = product.module(&session, "sink", "audera.codec = pcm").unwrap();
    let sink = wait_for_sink(&session, "audera.Kitchen");
    // The serial number of a node is never given to another one.
    let group = || Some(prop(&node(&session, "audera.group.Downstairs")?, "object.serial"));
    wait_for_sink(&session, "audera.group.Downstairs");
    let first = group();
    let recorder = listen(&session, &["Kitchen"]);
    let play = || {
        let mut command = session.command("pw-play");
        command.args(["--target", "audera.Kitchen"]).arg(tone(&session));
        session.spawn(command).unwrap()
    };
    let playing = play();
    wait_heard(&session, &recorder, &[true]);
    wait_until_playing(&session, "audera.Kitchen", &["Kitchen"]);

    set(&product, &session, port, &["name=Galley"]);
    let called = |name: &str| {
        let described = || {
            let node = node(&session, "audera.Kitchen")?;
            let words = [("node.description", format!("Audera {name}")), ("audera.room", name.to_owned())];
            words.iter().all(|(key, text)| prop(&node, key) == *text).then_some(node["id"].clone())
        };
        if session.poll("the new name", described).is_err() {
            tell_all(&session);
            panic!("the sink is not called {name}");
        }
        assert_eq!(described(), Some(sink["id"].clone()), "it is the same node");
    };
    called("Galley");
    wait_until_playing(&session, "audera.Kitchen", &["Galley"]);
    assert_eq!(group(), first, "nobody has left the group");
    // Its slider is that of the room.
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "50%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 50);
    heard(&session, &recorder, 0, 50.0);
    let starts = |log: &str| log.matches("starts to play").count();
    assert_eq!(starts(&kitchen.output()), 1, "the stream has not been broken off: {}", kitchen.output());

    // What plays next finds the room as well, which has parted from us meanwhile, and so does a room that is silent when it is renamed.
    playing.stop().unwrap();
    wait_heard(&session, &recorder, &[false]);
    let playing = play();
    wait_until_playing(&session, "audera.Kitchen", &["Galley"]);
    heard(&session, &recorder, 0, 50.0);
    playing.stop().unwrap();
    wait_heard(&session, &recorder, &[false]);
    set(&product, &session, port, &["name=Pantry"]);
    called("Pantry");
    let _playing = play();
    wait_until_playing(&session, "audera.Kitchen", &["Pantry"]);
    wait_heard(&session, &recorder, &[true]);
    let objects = objects(&session);
    let mut sinks: Vec<String> = objects
        .iter()
        .filter(|object| prop(object, "media.class") == "Audio/Sink")
        .map(|object| prop(object, "node.name"))
        .filter(|name| name.starts_with("audera."))
        .collect();
    sinks.sort();
    assert_eq!(sinks, ["audera.Kitchen", "audera.group.Downstairs"], "there is no other sink");
    assert_eq!(group(), first);
}

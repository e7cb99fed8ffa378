//! A group is a sink: it comes with its first member and goes with its last, plays to its members, and has one volume for them.

use audera_testkit::home::{Product, player_port};
use audera_testkit::{Session, or_skip};

use crate::desk::*;
use crate::volume::{agree, heard, set, tone};

const GROUP: &str = "audera.group.Upper_Floor";

/// Waits until `pactl` shows this volume at a sink.
fn shows(session: &Session, sink: &str, percent: u32) {
    let mut volume = String::new();
    let shown = session.poll("the volume of the group", || {
        volume = session.run("pactl", &["get-sink-volume", sink]).ok()?;
        (volume.matches(&format!(" {percent}% ")).count() == 2).then_some(())
    });
    assert!(shown.is_ok(), "{percent} % at {sink}: {volume}");
}

#[test]
fn groups_are_sinks() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Bath", "Attic"]);
    let (kitchen, bath) = (player(&product, &session, "Kitchen", &[]), player(&product, &session, "Bath", &[]));
    let _attic = player(&product, &session, "Attic", &[]);
    let (kitchen_port, bath_port) = (player_port(&kitchen).unwrap(), player_port(&bath).unwrap());
    set(&product, &session, kitchen_port, &["volume=40%", "max-volume=60%", "groups=Upper Floor"]);
    set(&product, &session, bath_port, &["volume=50%"]);
    let _sinks = product.module(&session, "sink", "audera.codec = pcm").unwrap();

    // One member is a group, and one more makes no other sink of it.
    let first = wait_for_sink(&session, GROUP);
    assert_eq!(prop(&first, "node.description"), "Audera Upper Floor");
    shows(&session, GROUP, 40);
    set(&product, &session, bath_port, &["groups=Upper Floor"]);
    shows(&session, GROUP, 50);
    let recorder = listen(&session, &["Kitchen", "Bath", "Attic"]);
    let mut command = session.command("pw-play");
    command.args(["--target", GROUP]).arg(tone(&session));
    let playing = session.spawn(command).unwrap();
    wait_heard(&session, &recorder, &[true, true, false]);
    wait_until_playing(&session, GROUP, &["Kitchen", "Bath"]);
    assert_eq!(node(&session, GROUP).unwrap()["id"], first["id"]);

    // In proportion, not past a limit, and back again.
    session.run("pactl", &["set-sink-volume", GROUP, "100%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", kitchen_port, 60);
    agree(&product, &session, "audera.Bath", bath_port, 100);
    heard(&session, &recorder, 0, 60.0);
    heard(&session, &recorder, 1, 100.0);
    session.run("pactl", &["set-sink-volume", GROUP, "50%"]).unwrap();
    agree(&product, &session, "audera.Bath", bath_port, 50);
    agree(&product, &session, "audera.Kitchen", kitchen_port, 40);
    // The other way.
    set(&product, &session, bath_port, &["volume=80%"]);
    shows(&session, GROUP, 80);
    let mute = |wanted: &str| {
        session
            .poll("mute", || session.run("pactl", &["get-sink-mute", GROUP]).ok()?.contains(wanted).then_some(()))
            .unwrap();
    };
    set(&product, &session, bath_port, &["mute=on"]);
    set(&product, &session, kitchen_port, &["mute=on"]);
    mute("yes");
    session.run("pactl", &["set-sink-mute", GROUP, "0"]).unwrap();
    let unmuted = |port| set(&product, &session, port, &[]).contains("mute=off\n").then_some(());
    session.poll("both rooms to sound", || unmuted(kitchen_port).and(unmuted(bath_port))).unwrap();

    // Who leaves the group while it plays falls silent; who is away for a moment takes no sink with it.
    set(&product, &session, bath_port, &["groups="]);
    wait_heard(&session, &recorder, &[true, false, false]);
    shows(&session, GROUP, 40);
    playing.stop().unwrap();
    kitchen.stop().unwrap();
    session.poll("the player's absence", || rooms(&session, GROUP).is_empty().then_some(())).unwrap();
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let kitchen_port = player_port(&kitchen).unwrap();
    agree(&product, &session, "audera.Kitchen", kitchen_port, 40);
    assert_eq!(node(&session, GROUP).unwrap()["id"], first["id"], "the sink has outlived the absence");

    // The last one takes it along. A group that is called as a room is another sink.
    set(&product, &session, kitchen_port, &["groups=Bath,Everywhere", "volume=60%"]);
    wait_until_gone(&session, GROUP);
    let namesake = wait_for_sink(&session, "audera.group.Bath");
    assert_eq!(prop(&namesake, "node.description"), "Audera Bath (group)");
    let playing = pw_play(&session, &["--target", "audera.group.Bath"]);
    wait_heard(&session, &recorder, &[true, false, false]);
    assert!(node(&session, "audera.group.Everywhere").is_none(), "all are everywhere");
    playing.stop().unwrap();
}

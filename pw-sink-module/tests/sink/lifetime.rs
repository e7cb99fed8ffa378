//! Sinks come with their players and go after them, but never from under an application.

use std::time::{Duration, Instant};

use audera_testkit::home::{Product, player_port};
use audera_testkit::or_skip;

use crate::desk::*;

#[test]
fn sinks_follow_their_players() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Living Room"]);
    let _sinks = product.module(&session, "sink", "").unwrap();

    // The player is ready before Avahi has asked whether its name is free: what is measured holds the announcement, too.
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let ready = Instant::now();
    wait_for_sink(&session, "audera.Kitchen");
    let first = ready.elapsed();
    assert!(node(&session, "audera.Everywhere").is_none(), "one room is not everywhere");
    let living = player(&product, &session, "Living Room", &[]);
    let ready = Instant::now();
    wait_for_sink(&session, "audera.Living_Room");
    let second = ready.elapsed();
    wait_for_sink(&session, "audera.Everywhere");
    println!("from the player's readiness to its sink {first:?} and {second:?}, to Everywhere {:?}", ready.elapsed());

    let recorder = listen(&session, &["Kitchen", "Living Room"]);
    let application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_heard(&session, &recorder, &[true, false]);
    let progress = Progress::watch(&session, &application, &recorder);
    kitchen.stop().unwrap();
    let gone = Instant::now();
    living.stop().unwrap();
    wait_heard(&session, &recorder, &[false, false]);
    wait_until_gone(&session, "audera.Living_Room");
    println!("an unused sink goes {:?} after its player", gone.elapsed());
    assert!(gone.elapsed() > Duration::from_secs(10));
    wait_until_gone(&session, "audera.Everywhere");

    // As long again: what plays keeps its sink.
    let_pass(&session, &recorder, 5.0);
    assert_eq!(prop(&node(&session, "audera.Kitchen").unwrap(), "node.description"), "Audera Kitchen");
    progress.check(&recorder);
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let back = Instant::now();
    wait_heard(&session, &recorder, &[true, false]);
    println!("sound is back {:?} after the player's readiness", back.elapsed());
    progress.check(&recorder);

    // The room is known by its address from now on, and keeps its sink.
    let id = node(&session, "audera.Kitchen").unwrap()["id"].clone();
    let by_address = format!("discover = false\naddresses = [ \"127.0.0.1:{}\" ]\n", player_port(&kitchen).unwrap());
    let starts = || kitchen.output().matches("starts to play").count();
    let before = starts();
    std::fs::write(session.dir().join("state/audera/rooms.toml"), by_address).unwrap();
    session.poll("the stream on another way", || (starts() > before).then_some(())).unwrap();
    // What is heard just then may still be the last of the stream before.
    let_pass(&session, &recorder, 0.5);
    wait_heard(&session, &recorder, &[true, false]);
    assert_eq!(node(&session, "audera.Kitchen").unwrap()["id"], id);
    assert!(node(&session, "audera.Kitchen-2").is_none());
    progress.check(&recorder);

    // An idle sink closes its stream at once, and goes with its player.
    application.stop().unwrap();
    session.poll("the stream's end", || rooms(&session, "audera.Kitchen").is_empty().then_some(())).unwrap();
    kitchen.stop().unwrap();
    wait_until_gone(&session, "audera.Kitchen");
}

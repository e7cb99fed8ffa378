//! What alsa-lib's programs list of the rooms, by the definitions that are shipped.

use std::fs;

use audera_testkit::{Daemon, Session, home::Product, or_skip, sound, wav::Samples};

/// The entry `audera` of `aplay -L`: its description, line by line.
fn listed(session: &Session) -> Vec<String> {
    let list = session.run("aplay", &["-L"]).unwrap();
    let after = list.lines().skip_while(|line| *line != "audera").skip(1);
    after.take_while(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn rooms_are_listed_as_they_are_opened() {
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").daemons(&Daemon::DISCOVERY).start()) else { return };
    session.alsa_plugin().unwrap();
    let before = listed(&session);
    assert!(before.len() == 2 && before[1].contains("audera:HOST:PORT"), "{before:?}");

    let names = ["Kitchen", "Hall, \"old\"", "it's"];
    let open = ["--access", "open", "--output", "null"];
    let _players = names.map(|name| product.player(&session, name, &open).unwrap());
    // A program that opens any of them leaves word of all that it has met.
    let all = || {
        session.run("amixer", &["-q", "-D", "audera", "sget", "Master"]).ok()?;
        Some(listed(&session)).filter(|listed| listed.len() == 2 + names.len() + 1)
    };
    let after = session.poll("all rooms on the list", all).unwrap();
    assert_eq!(after[..2], [before[0].clone(), "Rooms of late:".to_owned()]);
    assert!(
        after.contains(&"audera:Kitchen".to_owned()) && after.contains(&"audera:Everywhere".to_owned()),
        "{after:?}"
    );
    for pcm in &after[2..] {
        session.run("amixer", &["-q", "-D", pcm, "sget", "Master"]).unwrap();
    }

    // A broken file keeps nobody from playing.
    let noise = session.dir().join("noise.wav");
    sound::noise(48_000, 2, 0.05, 0.1, 1).write(&noise, Samples::S16).unwrap();
    let file = session.dir().join("state/audera/alsa-rooms.conf");
    for text in ["rooms \"Kit", "}{", "rooms 7", ""] {
        fs::write(&file, text).unwrap();
        assert_eq!(listed(&session).first(), before.first(), "{text}");
        session.run("aplay", &["-q", "-D", "audera:Kitchen", &noise.display().to_string()]).unwrap();
    }
}

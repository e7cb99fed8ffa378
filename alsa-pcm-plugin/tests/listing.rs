//! What alsa-lib's programs list of the rooms, by the definitions that are shipped.

use std::fs;
use std::process::Stdio;

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

    defaults_of_a_user_are_heeded(&session);
    the_default_device_of_the_documentation_records_from_the_card(&session);

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

/// What a user writes into `~/.asoundrc` as defaults holds for the PCM and the mixer, but a default room is no source.
fn defaults_of_a_user_are_heeded(session: &Session) {
    let says = |program: &str, args: &[&str]| {
        let output = session.command(program).args(args).stdin(Stdio::null()).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
    };
    let plays = |pcm: &str| says("aplay", &["-v", "-D", pcm, "-f", "cd", "--samples=100", "/dev/zero"]);
    let records = || {
        session.alsa_options("wait = 2000\n").unwrap();
        let said = says("arecord", &["-D", "audera", "-d", "1", "/dev/null"]);
        session.alsa_options("wait = 20000\n").unwrap();
        said
    };
    let of_all = plays("audera");
    assert!(of_all.contains("Audera to \"Everywhere\""), "{of_all}");
    session.alsa_definitions("defaults.audera.player \"Kitchen\"\ndefaults.audera.latency 200\n").unwrap();
    assert!(plays("audera").contains("Audera to \"Kitchen\""), "{}", plays("audera"));
    assert!(plays("audera:'it\\'s'").contains("Audera to \"it's\""), "{}", plays("audera:'it\\'s'"));
    let mixer = says("amixer", &["-D", "audera", "info"]);
    assert!(mixer.contains("'Kitchen"), "{mixer}");
    // One name is for both.
    let mixer = says("amixer", &["-D", "audera:'it\\'s',pcm,200", "info"]);
    assert!(mixer.contains("'it's"), "{mixer}");
    let recorded = records();
    assert!(recorded.contains("source") && !recorded.contains("Kitchen"), "{recorded}");
    // What was wrong is said, so each of them arrives.
    for (key, value, accepted) in
        [("codec", "mp3", "opus"), ("latency", "5", "20 to 2000"), ("patience", "-1", "86400")]
    {
        session.alsa_definitions(&format!("defaults.audera.{key} {value}\n")).unwrap();
        let refused = plays("audera");
        assert!(refused.contains(value) && refused.contains(accepted), "{refused}");
        // The name of something else as well, which is not to be followed.
        let right = if key == "codec" { "pcm" } else { "200" };
        session.alsa_definitions(&format!("defaults.audera.{key} {right}\n")).unwrap();
    }
    // In place of the options.
    session.alsa_definitions("defaults.!audera \"Kitchen\"\n").unwrap();
    let refused = plays("audera");
    assert!(
        refused.contains("defaults.audera is \"Kitchen\"") && refused.contains("defaults.audera.OPTION"),
        "{refused}"
    );
    let all = "defaults.!audera { player \"Kitchen\" latency 200 source \"Tape\" }\n";
    session.alsa_definitions(all).unwrap();
    let recorded = records();
    assert!(recorded.contains("Tape"), "{recorded}");
}

/// The page's definition of the default device, with silence in place of a card.
fn the_default_device_of_the_documentation_records_from_the_card(session: &Session) {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/alsa.md")).unwrap();
    let from = page.find("    pcm.!default {").expect("a definition of the default device");
    let length = page[from..].find("\n\n").unwrap();
    let definition = &page[from..from + length];
    assert!(definition.contains("plughw:0"), "{definition}");
    let card = "pcm.!plughw { @args [ CARD ] @args.CARD { type string default \"\" } type plug slave.pcm \"null\" }\n";
    session.alsa_definitions(&format!("{card}{definition}\n")).unwrap();
    let played = session.run("aplay", &["-v", "-f", "cd", "--samples=100", "/dev/zero"]);
    assert!(played.is_ok(), "{played:?}");
    let recording = session.dir().join("recording.wav");
    session.run("arecord", &["-q", "-f", "cd", "--samples=100", &recording.display().to_string()]).unwrap();
    assert_eq!(fs::metadata(&recording).unwrap().len(), 44 + 100 * 4, "a recording of the card");
    session.run("amixer", &["-q", "sset", "Master", "40%"]).unwrap();
}

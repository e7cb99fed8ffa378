//! Rooms that play: `audera top` in a terminal, and what status tells.

use audera_testkit::home::{Home, player_port};
use audera_testkit::wav::Samples;
use audera_testkit::{Terminal, or_skip, sound};

use crate::site::*;

#[test]
fn top_shows_what_plays_and_its_keys_are_heard_in_the_room() {
    let _alone = alone();
    let Some(home) = or_skip(Home::start("house", &["Kitchen"])) else { return };
    let session = &home.session;
    activate(session);
    let kitchen = home.room("Kitchen", &["--log", "debug"]).unwrap();
    let address = format!("127.0.0.1:{}", player_port(&kitchen).unwrap());
    let _bath = home.product.player(session, "Bath", &["--output", "null", "--access", "open"]).unwrap();
    let _sinks = home.product.module(session, "sink", "").unwrap();
    session.sink_port("audera.Kitchen", "FL").unwrap();
    let noise = session.dir().join("noise.wav");
    let played = sound::noise(48_000, 2, 120.0, 0.1, 1);
    played.write(&noise, Samples::F32).unwrap();
    // The sink's node is there a little before its object on the bus.
    let sink = || {
        let status = json(&audera(session, &["status", "--json"]).out);
        status["sinks"].as_array()?.iter().find(|sink| sink["target"] == "Kitchen").cloned()
    };
    assert_eq!(session.poll("the sink", sink).unwrap()["node"], "audera.Kitchen");
    let mut play = command(session);
    play.arg("play").arg(&noise).args(["--to", "kitchen"]);
    let playing = session.spawn(play).unwrap();
    let played_by = |names: &[&str]| (sink()?["applications"] == serde_json::json!(names)).then_some(());
    session.poll("what plays to the sink", || played_by(&["pw-play"])).unwrap();

    let program = env!("CARGO_BIN_EXE_audera");
    let line = format!("{program} top; echo ended with $?; read hold; NO_COLOR=1 {program} top; read hold");
    let terminal = Terminal::start(session, &line).unwrap();
    // What is played there, to within half a dB.
    let rms = |sound: &[f32]| {
        (sound.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / sound.len() as f64).sqrt()
    };
    let level = 20.0 * rms(&played.channels[0]).log10();
    let is_told = |line: &str| {
        let told = line.split_whitespace().nth(2).and_then(|told| told.parse::<f64>().ok());
        line.starts_with("  level █") && told.is_some_and(|told| (told - level).abs() <= 0.5)
    };
    let screen = terminal.wait_for("a sync error", |screen| {
        screen.starts_with("Audera  2 rooms, 1 playing\n")
            && screen.contains("> Bath               idle ")
            && screen.contains(" us  buffer ")
            && screen.lines().any(is_told)
    });
    assert!(terminal.is_taken());
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[2].starts_with("> Bath ") && lines[2].contains(" idle "), "{screen}");
    assert!(lines[3].starts_with("  Kitchen ") && lines[3].contains("\"Audera Kitchen\" from "), "{screen}");
    assert!(lines[3].contains("[██████████]  100 %"), "{screen}");
    assert!(lines[4].contains("sync ") && lines[4].contains("  clock ±") && lines[4].contains("  late "), "{screen}");
    assert!(lines[4].contains(|char| ('▁'..='█').contains(&char)), "{screen}");
    assert!(is_told(lines[5]), "{screen}");
    assert_eq!(lines.last(), Some(&"↑↓ choose  ←→ volume  m mute  i identify  q quit"), "{screen}");
    assert!(terminal.screen(&["-e"]).contains("\u{1b}[32m playing"), "playing is green");

    terminal.press(&["Down", "Left", "Left"]);
    terminal.wait_for("a volume", |screen| screen.contains("> Kitchen") && screen.contains("[█████████·]   90 %"));
    assert!(told(&home, &address).contains("volume=90%\n"));
    terminal.press(&["m"]);
    terminal.wait_for("mute", |screen| screen.contains("  mute"));
    assert!(told(&home, &address).contains("mute=on\n"));
    terminal.press(&["i"]);
    terminal.wait_for("what i does", |screen| screen.contains("Kitchen plays a short sound"));
    session.poll("the sound", || kitchen.output().contains("is to be heard").then_some(())).unwrap();
    // Everywhere, below the rooms; and what cannot be done is said below all.
    terminal.press(&["Down", "i"]);
    let screen = terminal.wait_for("a message", |screen| screen.contains("choose a room"));
    assert!(screen.lines().any(|line| line.starts_with("> Everywhere ")), "{screen}");
    terminal.press(&["Right"]);
    terminal.wait_for("the group's volume", |screen| !screen.contains("choose a room"));
    // Another window.
    terminal.resize(50, 8);
    let small =
        terminal.wait_for("a small screen", |screen| screen.lines().count() <= 8 && screen.contains("> Everywhere"));
    assert!(small.lines().all(|line| line.chars().count() <= 50), "{small}");
    terminal.resize(100, 30);
    terminal.wait_for("a large screen", |screen| screen.contains("  clock ±"));

    // What programs are told of the same.
    let status = json(&audera(session, &["status", "--json"]).out);
    let room = &status["rooms"][1];
    assert_eq!((&room["state"], &room["stream"]["codec"]), (&json("\"playing\""), &json("\"opus\"")), "{room}");
    assert!(room["statistics"]["sync_error_us"].is_f64() && room["statistics"]["buffered_ms"].is_u64(), "{room}");
    assert_eq!(sink().unwrap()["state"], "playing");
    drop(playing);
    terminal.wait_for("silence", |screen| screen.starts_with("Audera  2 rooms, 0 playing\n"));
    session.poll("nothing that plays to the sink", || played_by(&[])).unwrap();
    terminal.press(&["q"]);
    terminal.wait_for("the end", |screen| screen.contains("ended with 0"));
    assert!(!terminal.is_taken(), "the terminal is as it was");

    // Without colours, and ended as a terminal that is closed ends it.
    terminal.press(&["Enter"]);
    terminal.wait_for("no colours", |screen| screen.contains("> Bath"));
    let screen = terminal.screen(&["-e"]);
    assert!(!screen.contains("\u{1b}["), "{screen:?}");
    terminal.press(&["C-c"]);
    session.poll("the end", || (!terminal.is_taken()).then_some(())).unwrap();
}

/// What the player says of its room.
fn told(home: &Home, address: &str) -> String {
    let mut command = home.product.command(&home.session);
    command.args(["set", address, "--state-dir"]).arg(home.session.dir().join("state/remote"));
    ended(command.output().unwrap()).out
}

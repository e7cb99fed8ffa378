//! A room is an ordinary sink: visible, the default if somebody wants, a place streams can be moved to, with a known latency.

use std::time::{Duration, Instant};

use audera_testkit::home::Product;
use audera_testkit::{Session, or_skip};
use serde_json::Value;

use crate::desk::*;

#[test]
fn rooms_are_ordinary_sinks() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Living Room"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    let _living = player(&product, &session, "Living Room", &[]);
    let sinks = product.module(&session, "sink", "audera.latency.msec = 150").unwrap();
    let started = Instant::now();
    let kitchen = wait_for_sink(&session, "audera.Kitchen");
    let living = wait_for_sink(&session, "audera.Living_Room");
    wait_for_sink(&session, "audera.Everywhere");
    println!("players that were there before have sinks {:?} after the start of their process", started.elapsed());

    is_visible(&session, &kitchen);
    let recorder = listen(&session, &["Kitchen", "Living Room"]);

    session.run("wpctl", &["set-default", &living["id"].to_string()]).unwrap();
    let playing = pw_play(&session, &[]);
    wait_heard(&session, &recorder, &[false, true]);
    move_to(&session, "pw-play", "audera.Kitchen");
    wait_heard(&session, &recorder, &[true, false]);
    move_to(&session, "pw-play", "audera.Living_Room");
    wait_heard(&session, &recorder, &[false, true]);
    tells_its_latency(&session, 150_000_000);
    let reported = wait_until_playing(&session, "audera.Living_Room", &["Living Room"]);
    assert_eq!(reported[0]["codec"], "opus", "auto takes Opus at 48 kHz stereo");
    playing.stop().unwrap();
    wait_heard(&session, &recorder, &[false, false]);

    let playing = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_heard(&session, &recorder, &[true, false]);
    playing.stop().unwrap();
    let mut command = session.command("paplay");
    command.arg("--device=audera.Everywhere").arg(long_noise(&session));
    let _playing = session.spawn(command).unwrap();
    wait_heard(&session, &recorder, &[true, true]);

    keeps_its_volume(&product, &session, sinks);
}

fn is_visible(session: &Session, kitchen: &Value) {
    for (key, value) in [
        ("media.class", "Audio/Sink"),
        ("node.description", "Audera Kitchen"),
        ("node.nick", "Kitchen"),
        ("node.virtual", "false"),
        ("node.network", "true"),
        ("device.icon-name", "audio-speakers"),
        ("device.form-factor", "speaker"),
    ] {
        assert_eq!(prop(kitchen, key), value, "{key}");
    }
    let status = session.run("wpctl", &["status"]).unwrap();
    let pulse = session.run("pactl", &["list", "sinks"]).unwrap();
    for name in ["Audera Kitchen", "Audera Living Room", "Audera Everywhere"] {
        assert!(status.lines().any(|line| line.contains(&format!(". {name} "))), "{status}");
        assert!(pulse.lines().any(|line| line.trim() == format!("Description: {name}")), "{pulse}");
    }
    // A sink that nobody has played to yet is not shown as turned down.
    let volume = session.run("pactl", &["get-sink-volume", "audera.Kitchen"]).unwrap();
    assert!(volume.contains("front-left: 65536 / 100%") && volume.contains("front-right: 65536 / 100%"), "{volume}");
}

/// Moves a playing stream as pavucontrol and the desktops do.
///
/// WirePlumber 0.4 now and then notes the wish and leaves the stream where it is; so the note is taken back and made again then.
fn move_to(session: &Session, application: &str, sink: &str) {
    let is_there = || session.graph().is_ok_and(|graph| graph.plays_to(application) == [sink]);
    for _ in 0..10 {
        let stream = node(session, application).unwrap();
        session.run("pactl", &["move-sink-input", &prop(&stream, "object.serial"), sink]).unwrap();
        let noted = Instant::now();
        while noted.elapsed() < Duration::from_secs(6) {
            if is_there() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let id = session.graph().unwrap().node(application).unwrap().id.to_string();
        for key in ["target.node", "target.object"] {
            session.run("pw-metadata", &["-d", &id, key]).unwrap();
        }
    }
    panic!("the session manager does not move {application} to {sink}: {:?}", session.graph());
}

/// The application's ports know how long it takes from them to the loudspeaker.
fn tells_its_latency(session: &Session, nanoseconds: u64) {
    let application = node(session, "pw-play").unwrap();
    let is_output = |object: &Value| {
        prop(object, "node.id") == prop(&application, "object.id") && prop(object, "port.direction") == "out"
    };
    let told = |port: &Value| {
        let latencies = port["info"]["params"]["Latency"].as_array()?;
        let ahead = latencies.iter().find(|latency| latency["direction"] == "Input")?;
        Some((ahead["minNs"].as_u64()?, ahead["maxNs"].as_u64()?, ahead["minRate"].as_u64()?))
    };
    let mut seen = Vec::new();
    // It travels through the graph after the move.
    let all_tell = || {
        seen = objects(session).iter().filter(|object| is_output(object)).map(told).collect();
        (seen == [Some((nanoseconds, nanoseconds, 0)); 2]).then_some(())
    };
    let waited = session.poll("the latency at the application's ports", all_tell);
    assert!(waited.is_ok(), "{seen:?}");
}

/// What the user has set at a sink is kept by the room over the module's restart, and by nobody else.
fn keeps_its_volume(product: &Product, session: &Session, sinks: audera_testkit::Process) {
    let is_half = || {
        let volume = session.run("pactl", &["get-sink-volume", "audera.Kitchen"]).ok()?;
        (volume.matches(" 50%").count() == 2).then_some(())
    };
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "50%"]).unwrap();
    session.poll("the volume to be set", is_half).unwrap();
    let state = session.dir().join("state/Kitchen/room-0.toml");
    let kept = || std::fs::read_to_string(&state).ok()?.contains("value = 50.0").then_some(());
    session.poll("the room to write its volume down", kept).unwrap();
    assert!(sinks.stop().unwrap().success());
    wait_until_gone(session, "audera.Kitchen");
    let _sinks = product.module(session, "sink", "").unwrap();
    wait_for_sink(session, "audera.Kitchen");
    session.poll("the volume to be as it was", is_half).unwrap();
    // A file may be on its way to its name.
    let kept = || {
        let files = std::fs::read_dir(session.dir().join("state/wireplumber")).ok()?.flatten();
        let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        (!texts.is_empty()).then_some(texts)
    };
    for text in session.poll("what the desktop keeps", kept).unwrap() {
        // What it keeps of the players' streams, they do not heed.
        let others = text.lines().filter(|line| !line.starts_with("Output/Audio"));
        let volumes = others.filter(|line| line.contains("udera") && line.contains("olume"));
        assert_eq!(volumes.count(), 0, "the desktop keeps a volume of its own: {text}");
    }
}

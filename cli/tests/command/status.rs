//! `audera status`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::site::*;

#[test]
fn status_is_the_same_for_people_and_programs_and_goes_on() {
    let Some(site) = Site::with_auderad() else { return };
    let kitchen = site.room("Kitchen");
    let _bath = site.room("Bath");
    // The first one has auderad started: it has looked around all the same.
    let status = json(&site.ok(&["status", "--json"]));
    let names: Vec<&str> =
        status["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Bath", "Kitchen"]);
    let room = &status["rooms"][1];
    for (key, value) in [
        ("state", "\"idle\""),
        ("reason", "\"\""),
        ("paired", "true"),
        ("volume", "100.0"),
        ("muted", "false"),
        ("channel_mode", "\"stereo\""),
        ("output_delay_ms", "0.0"),
        ("groups", "[]"),
        ("maximum_volume", "100.0"),
        ("startup_volume", "null"),
        ("pinned", "[]"),
        ("output", "\"null\""),
        ("stream", "{}"),
    ] {
        assert_eq!(room.get(key), Some(&json(value)), "{key}: {room}");
    }
    assert!(room["id"].as_str().unwrap().len() == 64 && room["statistics"].is_object(), "{room}");
    assert!(room["software"].as_str().unwrap().starts_with("audera-player ") && room["address"].is_string(), "{room}");
    assert_eq!(
        status["groups"],
        json(r#"[{"name":"Everywhere","members":["Bath","Kitchen"],"volume":100.0,"muted":false}]"#)
    );
    assert_eq!((&status["sinks"], &status["sources"]), (&json("[]"), &json("[]")));
    let table = site.ok(&["status"]);
    assert!(table.starts_with("ROOM     STATE  VOLUME"), "{table}");
    assert!(
        table.contains("\nKitchen  idle   100 %\n") && table.contains("\nEverywhere  100 %   Bath, Kitchen\n"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "no colours where there is no terminal");

    let mut watch = command(&site.session);
    let mut watch = watch.args(["status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |what: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        let found = lines.by_ref().map(|line| json(&line.unwrap())).find(|status| wanted(status));
        assert!(found.is_some(), "{what} is not told");
    };
    until("the beginning", &|status| status["rooms"][1]["volume"] == 100.0);
    site.ok(&["volume", "Kitchen", "30"]);
    until("a volume", &|status| status["rooms"][1]["volume"] == 30.0);
    site.ok(&["group", "create", "Up", "Bath"]);
    until("a group", &|status| status["groups"][1]["members"] == json("[\"Bath\"]"));
    // When it is killed, it is started again, and its rooms are there again.
    site.session
        .run("busctl", &["--user", "call", AUDERA, "/org/audera/Audera1", "org.freedesktop.DBus.Peer", "Ping"])
        .unwrap();
    let bus = "org.freedesktop.DBus";
    let pid = site.session.run(
        "busctl",
        &["--user", "call", bus, "/org/freedesktop/DBus", bus, "GetConnectionUnixProcessID", "s", AUDERA],
    );
    site.session.run("kill", &["-KILL", pid.unwrap().trim_start_matches("u ").trim()]).unwrap();
    // Whoever asks before the bus has noticed is told that there is no answer.
    let again = || (site.audera(&["volume", "Kitchen", "35"]).code == 0).then_some(());
    site.session.poll("auderad", again).unwrap();
    until("a volume after that", &|status| status["rooms"][1]["volume"] == 35.0);
    drop(kitchen);
    until("that a room is gone", &|status| status["rooms"][1]["state"] == "away");
    watch.kill().unwrap();
    watch.wait().unwrap();

    // Whoever reads has seen enough: that is no failure.
    let mut shell = site.session.command("bash");
    shell.args(["-c", "set -o pipefail; \"$0\" status --watch | head -1", env!("CARGO_BIN_EXE_audera")]);
    let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut volume = 0;
    site.session
        .poll("the end of the pipe", || {
            volume = (volume + 1) % 100;
            site.ok(&["volume", "Bath", &volume.to_string()]);
            shell.try_wait().unwrap()
        })
        .unwrap();
    let ended = ended(shell.wait_with_output().unwrap());
    assert!(ended.out.starts_with("ROOM") && ended.error.is_empty() && ended.code == 0, "{ended:?}");
}

//! Sources and sinks of this machine: as its modules show them on the bus.

use std::os::unix::fs::PermissionsExt as _;

use audera_testkit::Process;
use audera_testkit::home::Product;

use crate::site::*;

/// A source "Radio", and sinks for Everywhere and the kitchen.
fn machine(site: &Site, source: &str) -> Process {
    let mut command = site.session.command(Product::program("examples/machine").unwrap());
    command.args([source, "Everywhere=audera.Everywhere", "Kitchen=audera.Kitchen"]);
    let mut process = site.session.spawn(command).unwrap();
    let log = process.log().to_owned();
    process.wait_until("the machine", || std::fs::read_to_string(&log).ok()?.contains("ready").then_some(())).unwrap();
    process
}

#[test]
fn sources_are_started_stopped_and_sent_elsewhere() {
    let Some(site) = Site::start() else { return };
    let _machine = machine(&site, "Radio");
    let source = || json(&site.ok(&["source", "list", "--json"]))[0].clone();
    assert_eq!(
        source(),
        json(
            r#"{"name":"Radio","inputs":[
                    {"name":"alsa_input.line","description":"Line In","kind":"source","profile":"","default":true},
                    {"name":"alsa_input.tv","description":"Television set","kind":"digital","profile":"","default":false},
                    {"name":"alsa_output","description":"Loudspeakers","kind":"monitor","profile":"","default":false}],
                "input":"alsa_input.line","target":["Kitchen"],"state":"idle","reason":"","codec":"auto",
                "latency_ms":100.0,"fixed_latency_ms":null,"level":{"peak_dbfs":-6.0,"rms_dbfs":-9.0},
                "statistics":{"latency_target_ms":0.0,"discarded_frames":0,"rooms":1,"playing_rooms":0,"dropped_packets":0,
                    "late_packets":0,"lost_packets":0,"underruns":0,"resyncs":0},
                "rooms":[{"sync_error_us":1.5}]}"#
        )
    );
    // The only one needs no name.
    assert_eq!(site.ok(&["source", "start"]), "");
    assert_eq!(source()["state"], "playing");
    assert_eq!(site.ok(&["source", "stop", "radio"]), "");
    assert_eq!(source()["state"], "stopped");
    assert_eq!(site.ok(&["source", "target", "Radio", "Living Room", "bath.local:6528"]), "");
    assert_eq!(site.ok(&["source", "target", "Radio"]), "Living Room\nbath.local:6528\n");
    assert_eq!(site.ok(&["source", "target", "Radio", "--none"]), "");
    assert_eq!(source()["target"], json("[]"));
    let table = site.ok(&["source", "list"]);
    assert_eq!(table.lines().nth(1), Some("Radio   stopped  -9.0 dB  auto   100 ms   Line In"), "{table}");

    // Inputs by name, by what people call them, and as it was; the only source may be left out.
    let table = site.ok(&["source", "input"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[1], "*  alsa_input.line  source   Line In (default)", "{table}");
    assert_eq!(rows[3], "   alsa_output      monitor  Loudspeakers", "{table}");
    for (args, captured) in [
        (&["Radio", "alsa_output"][..], "alsa_output"),
        (&["television set"], "alsa_input.tv"),
        (&["--default"], "alsa_input.line"),
        (&["radio", "loudspeakers"], "alsa_output"),
        (&["Radio", "--default"], "alsa_input.line"),
    ] {
        assert_eq!(site.ok(&[&["source", "input"], args].concat()), "");
        assert_eq!(source()["input"], captured, "{args:?}");
    }
    let inputs = json(&site.ok(&["source", "input", "Radio", "--json"]));
    let first = r#"{"name":"alsa_input.line","description":"Line In","kind":"source","profile":"","default":true,"captured":true}"#;
    assert_eq!((&inputs[0], &inputs[1]["captured"]), (&json(first), &json("false")));
    let error = site.refused(5, &["source", "input", "Radio", "Tape"]);
    assert!(error.contains("no input \"Tape\""), "{error}");

    assert_eq!(site.ok(&["source", "codec", "Radio", "opus"]), "");
    assert_eq!(site.ok(&["source", "codec", "radio"]), "Radio: opus\n");
    assert_eq!(site.ok(&["source", "latency", "Radio", "60"]), "");
    assert_eq!(site.ok(&["source", "latency", "Radio"]), "Radio: 60 ms, 100 ms at present\n");
    assert_eq!(source()["fixed_latency_ms"], 60.0);
    assert_eq!(site.ok(&["source", "latency", "Radio", "auto"]), "");
    assert_eq!(site.ok(&["source", "latency", "Radio"]), "Radio: auto, 100 ms at present\n");
    for wrong in [&["codec", "Radio", "mp3"], &["latency", "Radio", "10"]] {
        assert_eq!(site.audera(&[&["source"][..], wrong].concat()).code, 2, "{wrong:?}");
    }
    // Words that fit.
    let words = |args: &[&str]| site.ok(&[&["complete", "fish", "--", "audera", "source"], args].concat());
    assert_eq!(words(&["input", "alsa_input.t"]), "alsa_input.tv\tTelevision set\n");
    assert_eq!(words(&["input", "Radio", "alsa_o"]), "alsa_output\tLoudspeakers\n");
    assert_eq!(words(&["input", "Ra"]), "Radio\tstopped\n");
    assert!(words(&["codec", "Radio", ""]).starts_with("auto\t"));
    let error = site.refused(5, &["source", "start", "Tape"]);
    assert!(error.contains("there is Radio"), "{error}");
    let long = "x".repeat(300);
    let error = site.refused(2, &["source", "target", "Radio", &long]);
    assert!(error.contains("accepted"), "{error}");
    let _other = machine(&site, "Tape");
    let error = site.refused(2, &["source", "start"]);
    assert!(error.contains("say which source: Radio, Tape"), "{error}");
}

#[test]
fn a_file_is_played_to_the_sink_of_the_room() {
    let Some(site) = Site::with_auderad() else { return };
    let _machine = machine(&site, "Radio");
    let _bath = site.room("Bath");
    let file = site.session.dir().join("a file.wav");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    // Programs that say what they are given, one after the other.
    let tools = site.session.dir().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let play = |programs: &[&str], args: &[&str]| {
        for entry in std::fs::read_dir(&tools).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for program in programs {
            let path = tools.join(program);
            std::fs::write(&path, "#!/bin/sh\nprintf '%s|' \"${0##*/}\" \"$@\"\nexit 7\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = command(&site.session);
        command.arg("play").args(args).env("PATH", &tools).env("ALSA_PLUGIN_DIR", &tools);
        ended(command.output().unwrap())
    };
    // It ends as that program ends.
    let played = play(&["pw-play", "paplay"], &[file, "--to", "kitchen"]);
    assert_eq!((played.code, played.out), (7, format!("pw-play|--target|audera.Kitchen|{file}|")));
    let played = play(&["paplay"], &[file]);
    assert_eq!((played.code, played.out), (7, format!("paplay|--device=audera.Everywhere|{file}|")));
    let nothing = play(&[], &[file]);
    assert!(nothing.code == 1 && nothing.error.contains("apt install pipewire-bin"), "{nothing:?}");
    // A room that this machine has no sink for.
    let error = play(&["pw-play"], &[file, "--to", "Bath"]);
    assert!(error.code == 1 && error.error.contains("enable --now audera"), "{error:?}");
    let played = play(&["aplay", "libasound_module_pcm_audera.so"], &[file, "--to", "bath"]);
    assert_eq!((played.code, played.out), (7, format!("aplay|-q|-D|audera:Bath|{file}|")));
    let error = play(&["pw-play"], &[file, "--to", "Cellar"]);
    assert!(error.code == 5 && error.error.contains("there is Bath, Everywhere"), "{error:?}");
}

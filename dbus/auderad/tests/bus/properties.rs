//! Properties and methods of rooms.

use crate::desk::*;

const PLAYER: &str = "org.audera.Player1";

#[test]
fn every_property_is_set_read_back_and_seen_at_the_player() {
    let Some(desk) = Desk::start() else { return };
    let kitchen = desk.room("Kitchen", &[]);
    let bath = desk.room("Bath", &[]);
    let _auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen", "Bath"]);
    for (property, value, shown, told) in [
        ("Volume", &["d", "37.5"][..], "d 37.5", "volume=37.5%"),
        ("Muted", &["b", "true"], "b true", "mute=on"),
        ("Muted", &["b", "false"], "b false", "mute=off"),
        ("ChannelMode", &["s", "swapped"], "s \"swapped\"", "channel-mode=swapped"),
        ("OutputDelay", &["d", "--", "-12.5"], "d -12.5", "output-delay=-12.5ms"),
        ("Groups", &["as", "2", "Up stairs", "Attic"], "as 2 \"Up stairs\" \"Attic\"", "groups=Up stairs,Attic"),
        ("Groups", &["as", "0"], "as 0", "groups="),
        ("StartupVolume", &["d", "25"], "d 25", "startup-volume=25%"),
        ("StartupVolume", &["d", "--", "-1"], "d -1", "startup-volume=none"),
        // Brings the volume down with it.
        ("MaximumVolume", &["d", "30"], "d 30", "max-volume=30%\n"),
    ] {
        // `--` is busctl's, in front of what looks like an option.
        let value: Vec<&str> = value.iter().copied().filter(|word| *word != "--").collect();
        let path = format!("{ROOT}/players/Kitchen");
        desk.busctl_ok(&[&["set-property", "--", AUDERA, &path, PLAYER, property], &value[..]].concat());
        // The answer has come when the room has taken it: nothing is to be waited for.
        assert_eq!(desk.get("/players/Kitchen", PLAYER, property), shown, "{property}");
        assert!(desk.told_by(&kitchen).contains(told), "{told} is not in\n{}", desk.told_by(&kitchen));
    }
    assert_eq!(desk.get("/players/Kitchen", PLAYER, "Volume"), "d 30");
    let other = desk.told_by(&bath);
    assert!(other.contains("volume=100%\nmute=off\nchannel-mode=stereo"), "the other room is as it was: {other}");

    // Several at once, and steps.
    let path = format!("{ROOT}/players/Bath");
    desk.busctl_ok(&["call", AUDERA, &path, PLAYER, "Set", "a{sv}", "2", "Volume", "d", "50", "Muted", "b", "true"]);
    assert!(desk.told_by(&bath).contains("volume=50%\nmute=on"));
    assert_eq!(desk.busctl_ok(&["call", "--", AUDERA, &path, PLAYER, "StepVolume", "d", "-5"]), "d 45");
    // Two at once both count.
    let step = |decibels: &str| {
        let mut command = desk.session.command("busctl");
        command.args(["--user", "call", "--", AUDERA, &path, PLAYER, "StepVolumeDecibels", "d", decibels]);
        desk.session.spawn(command).unwrap()
    };
    let presses = [step("-30"), step("-30")];
    desk.wait_for("/players/Bath", PLAYER, "Volume", "d 4.5");
    presses.into_iter().for_each(|press| drop(press.stop()));
    // What a peer of its own sets is seen here.
    let mut command = desk.product.command(&desk.session);
    command.args(["set", &bath.address, "volume=20%", "--state-dir"]).arg(desk.session.dir().join("state/remote"));
    assert!(command.status().unwrap().success());
    desk.wait_for("/players/Bath", PLAYER, "Volume", "d 20");
    // A room by another name is another object.
    desk.set("/players/Bath", PLAYER, "Name", &["s", "Salle de bain"]);
    desk.wait_for("/players/Salle_20de_20bain", PLAYER, "State", "s \"idle\"");
    assert!(desk.told_by(&bath).contains("name=Salle de bain\n"));

    // What cannot be set.
    for (property, signature) in [("Id", "s"), ("State", "s"), ("Paired", "b"), ("Statistics", "a{sv}")] {
        let value = if signature == "b" { "true" } else { "0" };
        let error = desk.busctl_refused(&[
            "set-property",
            AUDERA,
            &format!("{ROOT}/players/Kitchen"),
            PLAYER,
            property,
            signature,
            value,
        ]);
        assert!(error.contains("can only be read"), "{error}");
    }
    // Which of the host's addresses has answered first is not to be foreseen.
    let (address, port) = (desk.get("/players/Kitchen", PLAYER, "Address"), kitchen.address.replace("127.0.0.1", ""));
    let ours = [format!("s \"{}", desk.session.host().address()), "s \"[fe80::".to_owned()];
    assert!(
        ours.iter().any(|ours| address.starts_with(ours)) && address.ends_with(&format!("{port}\"")),
        "{address} is not {}",
        kitchen.address
    );
    assert_eq!(desk.get("/players/Kitchen", PLAYER, "Paired"), "b true");
    assert_eq!(desk.get("/players/Kitchen", PLAYER, "Output"), "s \"null\"");
}

#[test]
fn errors_have_names_and_say_what_to_do() {
    let Some(desk) = Desk::start() else { return };
    let kitchen = desk.room("Kitchen", &[]);
    // It does not know the user that auderad runs as.
    let _shy = desk.player("Shy", &["--access", "paired"]);
    let _auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen"]);
    desk.wait_for("/players/Shy", PLAYER, "State", "s \"refused\"");
    let refused = |room: &str, property: &str, value: &[&str]| {
        let mut command = desk.session.command("gdbus");
        let path = format!("{ROOT}/players/{room}");
        command.args(["call", "--session", "--dest", AUDERA, "--object-path", &path, "--method"]);
        command.args(["org.freedesktop.DBus.Properties.Set", PLAYER, property]).args(value);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    for (room, property, value, words) in [
        ("Kitchen", "Volume", "<101.0>", ["org.audera.Error.InvalidValue", "0 to 100"]),
        ("Kitchen", "ChannelMode", "<'both'>", ["org.audera.Error.InvalidValue", "swapped"]),
        ("Kitchen", "Name", "<''>", ["org.audera.Error.InvalidValue", "1 to 63 bytes"]),
        ("Kitchen", "Volume", "<'loud'>", ["org.freedesktop.DBus.Error.InvalidArgs", "type d"]),
        ("Kitchen", "Loudness", "<1.0>", ["org.freedesktop.DBus.Error.UnknownProperty", "Loudness"]),
        ("Kitchen", "Id", "<'7'>", ["org.freedesktop.DBus.Error.PropertyReadOnly", "Id"]),
        ("Cellar", "Volume", "<1.0>", ["org.freedesktop.DBus.Error.UnknownObject", "Cellar"]),
        ("Shy", "Volume", "<1.0>", ["org.audera.Error.NotPaired", "trusted.toml"]),
    ] {
        let error = refused(room, property, &[value]);
        assert!(words.iter().all(|word| error.contains(word)), "{room} {property} {value}: {error}");
    }
    let error = desk.busctl_refused(&["call", AUDERA, &format!("{ROOT}/players/Shy"), PLAYER, "Identify"]);
    assert!(error.contains("trusted.toml"), "a chime that nobody hears: {error}");
    let reason = desk.get("/players/Shy", PLAYER, "Reason");
    assert!(reason.contains("paired"), "{reason}");
    drop(kitchen);
    desk.wait_for("/players/Kitchen", PLAYER, "State", "s \"away\"");
    let error = refused("Kitchen", "Volume", &["<1.0>"]);
    assert!(error.contains("org.audera.Error.Unreachable"), "{error}");
    let path = format!("{ROOT}/players/Kitchen");
    // Its announcement may outlive it for a moment, and it is there as long as it is announced.
    let forgotten = || {
        let _ = desk.busctl(&["call", AUDERA, &path, PLAYER, "Forget"]);
        (!desk.busctl_ok(&["tree", "--list", AUDERA]).contains("Kitchen")).then_some(())
    };
    desk.session.poll("the room being forgotten", forgotten).unwrap();
}

#[test]
fn a_room_at_an_added_address_is_there_without_discovery_and_after_a_restart() {
    let Some(desk) = Desk::start() else { return };
    let room = desk.room("Attic", &["--no-discovery"]);
    let start = || {
        let mut command = desk.auderad_command();
        command.arg("--no-discovery");
        let mut process = desk.session.spawn(command).unwrap();
        let log = process.log().to_owned();
        process.wait_until("auderad", || std::fs::read_to_string(&log).ok()?.contains("ready").then_some(())).unwrap();
        process
    };
    let auderad = start();
    let manager = "org.audera.Manager1";
    let path = desk.busctl_ok(&["call", AUDERA, ROOT, manager, "AddAddress", "s", &room.address]);
    assert_eq!(path, format!("o \"{ROOT}/players/Attic\""));
    assert_eq!(desk.get("", manager, "Addresses"), format!("as 1 \"{}\"", room.address));
    desk.set("/players/Attic", PLAYER, "Volume", &["d", "10"]);
    assert!(desk.told_by(&room).contains("volume=10%"));
    drop(auderad);
    let _auderad = start();
    desk.wait_for_rooms(&["Attic"]);
    assert_eq!(desk.get("/players/Attic", PLAYER, "Volume"), "d 10");
    desk.busctl_ok(&["call", AUDERA, ROOT, manager, "RemoveAddress", "s", &room.address]);
    assert!(!desk.busctl_ok(&["tree", "--list", AUDERA]).contains("Attic"));
    let error = desk.busctl_refused(&["call", AUDERA, ROOT, manager, "RemoveAddress", "s", &room.address]);
    assert!(error.contains("was not added"), "{error}");
    let error = desk.busctl_refused(&["call", AUDERA, ROOT, manager, "AddAddress", "s", "no address"]);
    assert!(error.contains("is no address"), "{error}");
}

#[test]
fn what_is_configured_here_counts_for_all_programs_and_one_room_is_one() {
    let Some(desk) = Desk::start() else { return };
    let manager = "org.audera.Manager1";
    let attic = desk.room("Attic", &["--no-discovery"]);
    let _kitchen = desk.room("Kitchen", &[]);
    let auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen"]);
    let port = attic.address.rsplit(':').next().unwrap();
    // Two names of the host, and its spelling: the calls come back when the room is there.
    for address in [format!("127.0.0.1:{port}"), format!("LocalHost:{port}"), format!("localhost:{port}")] {
        let path = desk.busctl_ok(&["call", AUDERA, ROOT, manager, "AddAddress", "s", &address]);
        assert_eq!(path, format!("o \"{ROOT}/players/Attic\""), "{address}");
    }
    assert_eq!(desk.get("", manager, "Addresses"), format!("as 2 \"127.0.0.1:{port}\" \"localhost:{port}\""));
    let players = || desk.busctl_ok(&["tree", "--list", AUDERA]).matches("/players/").count();
    assert_eq!(players(), 2);
    // Programs that are started know it by its name, as ALSA's do.
    desk.session.alsa_plugin().unwrap();
    let amixer = |args: &[&str]| desk.session.run("amixer", &[&["-D", "audera:Attic"], args].concat());
    amixer(&["sset", "Master", "40%"]).unwrap();
    assert!(desk.told_by(&attic).contains("\nvolume=40%\n"));
    // Nobody is looked for any more, and who was added is there.
    desk.set("", manager, "Discover", &["b", "false"]);
    assert_eq!(desk.get("", manager, "Discover"), "b false");
    desk.session.poll("the end of what was announced", || (players() == 1).then_some(())).unwrap();
    amixer(&["sget", "Master"]).unwrap();
    desk.session.alsa_options("wait = 3000\n").unwrap();
    let refusal = desk.session.run("amixer", &["-D", "audera:Kitchen", "sget", "Master"]).unwrap_err().to_string();
    assert!(refusal.contains("there are \"127.0.0.1") && refusal.contains("\"Attic\""), "{refusal}");
    // By hand, and with what is no address in it, which changes nothing.
    let file = desk.session.dir().join("state/audera/rooms.toml");
    std::fs::write(&file, "addresses = [\"host:port\"]\n").unwrap();
    let told = || std::fs::read_to_string(auderad.log()).ok()?.contains("rooms are found as before").then_some(());
    desk.session.poll("word of the file that cannot be read", told).unwrap();
    let addresses = format!("as 2 \"127.0.0.1:{port}\" \"localhost:{port}\"");
    assert_eq!((desk.get("", manager, "Addresses"), players()), (addresses, 1));
    assert_eq!(desk.get("", manager, "Discover"), "b false");
    std::fs::write(&file, format!("addresses = [\"localhost:{port}\"]\n")).unwrap();
    desk.wait_for("", manager, "Discover", "b true");
    desk.wait_for_rooms(&["Kitchen", "Attic"]);
    assert_eq!((desk.get("", manager, "Addresses"), players()), (format!("as 1 \"localhost:{port}\""), 2));
    desk.busctl_ok(&["call", AUDERA, ROOT, manager, "RemoveAddress", "s", &format!("LOCALHOST:{port}")]);
    assert_eq!(players(), 1);
}

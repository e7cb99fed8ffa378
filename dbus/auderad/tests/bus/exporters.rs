//! Those that export themselves: players on either bus, sinks and the source; and a room that is to be heard.

use audera_testkit::home::Home;
use audera_testkit::wav::Samples;
use audera_testkit::{Error, or_skip, sound};

use crate::desk::*;
use crate::interfaces::{file, of_interface};

const PLAYER: &str = "org.audera.Player1";
const OWN: &str = "org.audera.Audera1.Player";

/// The system's bus as distributions have it: nobody owns or calls what no policy allows.
fn strict_bus(listen: &str, policy: &str) -> String {
    format!(
        r#"<busconfig>
  <listen>{listen}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  {policy}
</busconfig>
"#
    )
}

#[test]
fn a_player_in_a_session_exports_itself_there() {
    let Some(desk) = Desk::start() else { return };
    let kitchen = desk.room("Kitchen", &[]);
    let path = format!("{ROOT}/player");
    let there = || desk.busctl(&["get-property", OWN, &path, PLAYER, "Name"]).status.success().then_some(());
    desk.session.poll("the player on the bus", there).unwrap();
    desk.busctl_ok(&["set-property", OWN, &path, PLAYER, "Volume", "d", "35"]);
    assert_eq!(desk.busctl_ok(&["get-property", OWN, &path, PLAYER, "Volume"]), "d 35");
    assert!(desk.told_by(&kitchen).contains("\nvolume=35%\n"));
    assert_eq!(desk.busctl_ok(&["call", OWN, &path, PLAYER, "StepVolume", "d", "7"]), "d 42");
    let error = desk.busctl_refused(&["set-property", OWN, &path, PLAYER, "ChannelMode", "s", "both"]);
    assert!(error.contains("swapped"), "{error}");
    let error = desk.busctl_refused(&["call", OWN, &path, PLAYER, "Forget"]);
    assert!(error.contains("ask auderad"), "{error}");
    // What a peer sets is seen here.
    let mut command = desk.product.command(&desk.session);
    command.args(["set", &kitchen.address, "name=Galley", "--state-dir"]).arg(desk.session.dir().join("state/remote"));
    assert!(command.output().unwrap().status.success());
    let renamed = || (desk.busctl_ok(&["get-property", OWN, &path, PLAYER, "Name"]) == "s \"Galley\"").then_some(());
    desk.session.poll("the new name", renamed).unwrap();
    let told = desk
        .session
        .run("gdbus", &["introspect", "--session", "--dest", OWN, "--object-path", &path, "--xml"])
        .unwrap();
    assert_eq!(of_interface(&told, PLAYER), of_interface(&file("dbus/interfaces/org.audera.Player1.xml"), PLAYER));

    // Another one on the same bus has a name of its own, and gets the common one when the first goes.
    let second = desk.room("Attic", &[]);
    let own = format!("{OWN}.p{}", second.process.pid());
    let there = || desk.busctl(&["get-property", &own, &path, PLAYER, "Name"]).status.success().then_some(());
    desk.session.poll("the second player on the bus", there).unwrap();
    drop(kitchen);
    let heir = || {
        let output = desk.busctl(&["get-property", OWN, &path, PLAYER, "Name"]);
        (output.stdout == b"s \"Attic\"\n").then_some(())
    };
    desk.session.poll("the second player having the name", heir).unwrap();
}

#[test]
fn a_player_without_a_session_exports_itself_on_the_system_bus_as_the_policy_allows() {
    let Some(desk) = Desk::start_with(&[]) else { return };
    let (session, policy) = (&desk.session, file("dbus/etc/org.audera.Audera1.conf"));
    let policy = &policy[policy.find("<busconfig>").unwrap() + 11..policy.find("</busconfig>").unwrap()];
    for (policy, allowed) in [("", false), (policy, true)] {
        let config = session.dir().join("strict.conf");
        let socket = session.runtime_dir().join(format!("strict-{allowed}"));
        let address = format!("unix:path={}", socket.display());
        std::fs::write(&config, strict_bus(&address, policy)).unwrap();
        let mut command = session.command("dbus-daemon");
        command.args(["--nofork", "--nopidfile", "--nosyslog", "--config-file"]).arg(config);
        let mut bus = session.spawn(command).unwrap();
        bus.wait_until("the bus", || socket.exists().then_some(())).unwrap();
        let args = ["--output", "null", "--no-discovery", "-v"];
        let mut command = desk.product.player_command(session, "Kitchen", &args);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).env_remove("DBUS_SESSION_BUS_ADDRESS");
        let mut player = session.spawn(command).unwrap();
        let log = player.log().to_owned();
        let word = if allowed { "on D-Bus name=" } else { "not on D-Bus" };
        player.wait_until(word, || std::fs::read_to_string(&log).ok()?.contains(word).then_some(())).unwrap();
        if allowed {
            let path = format!("{ROOT}/player");
            let mut command = session.command("busctl");
            command.args(["--system", "get-property", OWN, &path, PLAYER, "Name"]);
            let output = command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "s \"Kitchen\"\n");
        }
    }
}

/// Whoever sits at the machine may as well (`at_console`), which only a login manager could tell.
#[test]
fn on_the_system_bus_root_and_the_group_audio_may_and_nobody_else() {
    let Some(desk) = Desk::start_with(&[]) else { return };
    let session = &desk.session;
    const AUDIO: &[&str] = &["--reuid=nobody", "--regid=nogroup", "--groups=audio"];
    const NOBODY: &[&str] = &["--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    // As the system's unit has it: a user of its own, to whom the group is lent.
    const SERVICE: &[&str] = &["--reuid=daemon", "--regid=daemon", "--groups=audio"];
    // The player itself, which may lie in a folder of root's alone.
    let program = desk.product.player_command(session, "Kitchen", &[]).get_program().to_owned();
    let mut probe = session.command("setpriv");
    let output = probe.args(SERVICE).arg("--").arg(&program).arg("--version").output().unwrap();
    let may = if output.status.success() {
        Ok(())
    } else {
        let source = std::io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        Err(Error::Unavailable { what: "running the player as another user", source })
    };
    let Some(()) = or_skip(may) else { return };
    let policy = file("dbus/etc/org.audera.Audera1.conf");
    let policy = &policy[policy.find("<busconfig>").unwrap() + 11..policy.find("</busconfig>").unwrap()];
    let config = session.dir().join("strict.conf");
    // A name of this network and no file, which others could not get at in the session's folder.
    let address = "unix:abstract=audera-test-system-bus";
    std::fs::write(&config, strict_bus(address, policy)).unwrap();
    let mut command = session.command("dbus-daemon");
    command.args(["--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file"]).arg(config);
    let mut bus = session.spawn(command).unwrap();
    let log = bus.log().to_owned();
    let listens = || std::fs::read_to_string(&log).ok()?.contains("unix:").then_some(());
    bus.wait_until("the bus", listens).unwrap();

    let command = |who: &[&str], program: &std::ffi::OsStr| {
        let mut command = session.command("setpriv");
        command.args(who).arg("--").arg(program).env("DBUS_SYSTEM_BUS_ADDRESS", address);
        // Nothing that a service would not have.
        for variable in ["RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "CACHE_HOME", "DATA_HOME"] {
            command.env_remove(format!("XDG_{variable}"));
        }
        command.env_remove("DBUS_SESSION_BUS_ADDRESS").env("HOME", "/");
        command
    };
    let player = |who: &[&str], word: &str| {
        let state = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(state.path(), Some(if who == SERVICE { 1 } else { 65_534 }), None).unwrap();
        let mut command = command(who, &program);
        command.args(["--name", "Kitchen", "--listen", "[::]:0", "--output", "null", "--no-discovery", "-v"]);
        command.arg("--state-dir").arg(state.path());
        let mut player = session.spawn(command).unwrap();
        let log = player.log().to_owned();
        player.wait_until(word, || std::fs::read_to_string(&log).ok()?.contains(word).then_some(())).unwrap();
        (player, state)
    };
    let _room = player(SERVICE, "on D-Bus name=");
    let path = format!("{ROOT}/player");
    let set = |who: &[&str], volume: &str| {
        let mut command = command(who, "busctl".as_ref());
        command.args(["--system", "set-property", OWN, &path, PLAYER, "Volume", "d", volume]).output().unwrap()
    };
    let get = || {
        let mut command = command(&["--reuid=root"], "busctl".as_ref());
        let output = command.args(["--system", "get-property", OWN, &path, PLAYER, "Volume"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (who, volume) in [(&["--reuid=root"][..], "40"), (AUDIO, "50"), (SERVICE, "60")] {
        let output = set(who, volume);
        assert!(output.status.success(), "{who:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(get(), format!("d {volume}\n"));
    }
    let refused = set(NOBODY, "100");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.to_lowercase().contains("access denied"), "{said}");
    assert_eq!(get(), "d 60\n");
    // Nor may a program of theirs be a player there.
    let _stranger = player(NOBODY, "not on D-Bus");
}

#[test]
fn sinks_and_sources_are_on_the_bus_and_a_room_can_be_heard() {
    let _alone = alone();
    let Some(home) = or_skip(Home::start("house", &["Kitchen", "Input"])) else { return };
    let session = &home.session;
    let _kitchen = home.room("Kitchen", &[]).unwrap();
    let busctl = |args: &[&str]| session.run("busctl", &[&["--user"], args].concat());
    let get = |name: &str, path: &str, interface: &str, property: &str| {
        busctl(&["get-property", name, &format!("{ROOT}/{path}"), interface, property])
            .map(|text| text.trim().to_owned())
    };
    let wait = |name: &str, path: &str, interface: &str, property: &str, wanted: &str| {
        let mut last = String::new();
        let found = session.poll(wanted, || {
            last = get(name, path, interface, property).unwrap_or_else(|error| error.to_string());
            last.contains(wanted).then_some(())
        });
        assert!(found.is_ok(), "{property} is {last}, not {wanted}");
    };

    // Heard although nothing plays, and though it is mute.
    let recorder = session.record(&["Kitchen:monitor_FL", "Metronome:monitor_FL"]).unwrap();
    let path = format!("{ROOT}/player");
    session.poll("the player on the bus", || get(OWN, "player", PLAYER, "Name").ok()).unwrap();
    busctl(&["set-property", OWN, &path, PLAYER, "Muted", "b", "true"]).unwrap();
    busctl(&["call", OWN, &path, PLAYER, "Identify"]).unwrap();
    let heard = || recorder.last(48_000).ok()?[0].iter().any(|sample| sample.abs() > 0.01).then_some(());
    session.poll("the sound of the room", heard).unwrap();
    busctl(&["set-property", OWN, &path, PLAYER, "Muted", "b", "false"]).unwrap();

    let sinks = home.product.module(session, "sink", "audera.codec = pcm").unwrap();
    session.sink_port("audera.Kitchen", "FL").unwrap();
    let (name, sink) = (format!("org.audera.Audera1.Sinks.p{}", sinks.pid()), "org.audera.Sink1");
    wait(&name, "sinks/audera_2eKitchen", sink, "Name", "Audera Kitchen");
    assert_eq!(get(&name, "sinks/audera_2eKitchen", sink, "Target").unwrap(), "s \"Kitchen\"");
    let noise = session.dir().join("noise.wav");
    sound::noise(48_000, 2, 60.0, 0.5, 1).write(&noise, Samples::F32).unwrap();
    let playing = session.play(&noise, "audera.Kitchen").unwrap();
    wait(&name, "sinks/audera_2eKitchen", sink, "State", "playing");
    wait(&name, "sinks/audera_2eKitchen", sink, "Rooms", "\"room\" s \"Kitchen\"");
    drop(playing);
    wait(&name, "sinks/audera_2eKitchen", sink, "State", "idle");

    let source = home.tap("Turntable", "Input", "audera.rooms = [ \"Kitchen\" ] audera.start = always").unwrap();
    let (name, turntable) = (format!("org.audera.Audera1.Source.p{}", source.pid()), "org.audera.Source1");
    wait(&name, "source", turntable, "State", "playing");
    wait(&name, "source", turntable, "Input", "Input");
    wait(&name, "source", turntable, "Rooms", "\"state\" s \"playing\"");
    assert_eq!(get(&name, "source", turntable, "Codec").unwrap(), "s \"pcm\"");
    let path = format!("{ROOT}/source");
    busctl(&["call", &name, &path, turntable, "Stop"]).unwrap();
    wait(&name, "source", turntable, "State", "stopped");
    wait(OWN, "player", PLAYER, "State", "idle");
    busctl(&["set-property", &name, &path, turntable, "Target", "as", "1", "Nowhere"]).unwrap();
    busctl(&["call", &name, &path, turntable, "Start"]).unwrap();
    wait(&name, "source", turntable, "State", "playing");
    wait(&name, "source", turntable, "Rooms", "aa{sv} 0");
    busctl(&["set-property", &name, &path, turntable, "Target", "as", "1", "Kitchen"]).unwrap();
    wait(OWN, "player", PLAYER, "State", "playing");
    for (name, path, interface) in [
        (&name, path, turntable),
        (&format!("org.audera.Audera1.Sinks.p{}", sinks.pid()), format!("{ROOT}/sinks/audera_2eKitchen"), sink),
    ] {
        let told = session.run("gdbus", &["introspect", "--session", "--dest", name, "--object-path", &path, "--xml"]);
        let kept = file(&format!("dbus/interfaces/{interface}.xml"));
        assert_eq!(of_interface(&told.unwrap(), interface), of_interface(&kept, interface));
    }
}

//! The player as a service: readiness, reload, and its end.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use audera_testkit::Session;

use crate::{House, address, peer, wait_for_line};

/// What Avahi tells of a room: its TXT record.
fn announced(session: &Session, room: &str) -> Option<String> {
    // The tool waits for ever for the address of a service that goes while it asks.
    let found = session.run("timeout", &["10", "avahi-browse", "-rpt", "_audera._tcp"]).ok()?;
    let line = found.lines().find(|line| line.starts_with("=;") && line.contains(&format!(";{room};")))?.to_owned();
    line.split(';').nth(9).map(str::to_owned)
}

#[test]
fn a_service_tells_when_it_is_ready_reloads_and_ends_promptly_while_it_plays() {
    let Some(house) = House::start(&["Kitchen", "Input"]) else { return };
    let session = &house.session;
    let socket = session.dir().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let until = |word: &str| {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|last: &String| last.contains(word)) {
            heard.push(next());
        }
        heard
    };

    let text = "name = \"Kitchen\"\naccess = \"open\"\noutput = \"pipewire:Kitchen\"\n";
    let config = house.config("service.toml", text);
    let mut command = house.product.player_command(session, "Kitchen", &["--config", &config]);
    // The name is the file's matter here.
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_owned()).collect();
    let without = arguments.iter().position(|argument| argument == "--name").unwrap();
    let mut plain = session.command(command.get_program());
    plain.args(arguments.iter().enumerate().filter(|(nth, _)| *nth != without && *nth != without + 1).map(|(_, a)| a));

    let mut check = session.command(command.get_program());
    check.args(["--check-config", "--config", &config]);
    let checked = check.output().unwrap();
    assert!(checked.status.success());
    assert_eq!(String::from_utf8_lossy(&checked.stdout).lines().last(), Some("ok"));
    command = plain;
    command.env("NOTIFY_SOCKET", &socket);
    let mut player = session.spawn(command).unwrap();
    assert_eq!(until("READY=1").len(), 1, "nothing is told before");
    let txt = session.poll("the announcement", || announced(session, "Kitchen")).unwrap();
    assert!(txt.contains("\"access=open\""), "{txt}");

    let _noise = house.make_noise("Input", 1);
    let _source = house.tap("Tap", "Input", "audera.start = always audera.rooms = [ Everywhere ]").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    // Groups and access are announced anew; what plays goes on.
    std::fs::write(&config, format!("{text}groups = [\"Downstairs\"]\n")).unwrap();
    player.signal(libc::SIGHUP);
    let told = until("READY=1");
    assert!(told[told.len() - 2..].iter().any(|told| told.contains("RELOADING=1")), "{told:?}");
    session
        .poll("the new groups", || announced(session, "Kitchen").filter(|txt| txt.contains("\"groups=Downstairs\"")))
        .unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    assert_eq!(player.output().matches("starts to play").count(), 1, "{}", player.output());

    // A wrong file leaves all as it was.
    std::fs::write(&config, "acess = \"paired\"\n").unwrap();
    player.signal(libc::SIGHUP);
    until("READY=1");
    assert!(player.output().contains("the configuration stays as it was"), "{}", player.output());
    session.poll("the announcement, still there", || announced(session, "Kitchen")).unwrap();

    // Another name.
    std::fs::write(&config, text.replace("Kitchen", "Galley").replace("pipewire:Galley", "pipewire:Kitchen")).unwrap();
    player.signal(libc::SIGHUP);
    until("READY=1");
    session.poll("the new name", || announced(session, "Galley")).unwrap();
    session.poll("the end of the old name", || announced(session, "Kitchen").is_none().then_some(())).unwrap();

    // Access for the paired only: who is not leaves, and others see that beforehand.
    let paired = "name = \"Galley\"\naccess = \"paired\"\noutput = \"pipewire:Kitchen\"\n";
    std::fs::write(&config, paired).unwrap();
    player.signal(libc::SIGHUP);
    until("READY=1");
    session
        .poll("the new access", || announced(session, "Galley").filter(|txt| txt.contains("\"access=paired\"")))
        .unwrap();
    std::fs::write(&config, paired.replace("paired", "open")).unwrap();
    player.signal(libc::SIGHUP);
    until("READY=1");
    session.wait_for_rooms("audera-source.Tap", &["Galley playing"]).unwrap();

    player.signal(libc::SIGTERM);
    until("STOPPING=1");
    let ended = player.wait(Duration::from_secs(30)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", player.output());
    session.poll("the withdrawal", || announced(session, "Galley").is_none().then_some(())).unwrap();
}

#[test]
fn the_end_comes_although_the_device_hangs_and_a_source_is_nowhere() {
    let Some(house) = House::start(&[]) else { return };
    let session = &house.session;
    // To open a pipe for writing waits for somebody who reads it, and nobody does.
    let pipe = session.dir().join("pipe");
    session.run("mkfifo", &[pipe.to_str().unwrap()]).unwrap();
    let pcm = format!("pcm.hangs {{ type file slave.pcm {{ type null }} file \"{}\" format raw }}\n", pipe.display());
    std::fs::write(session.dir().join(".asoundrc"), pcm).unwrap();
    // An address of the network that nobody has, and a name that nobody knows.
    let args =
        ["--access", "open", "--output", "alsa:hangs", "--subscribe", "10.77.0.99:6529", "--subscribe", "nobody"];
    let mut player = house.product.player(session, "Kitchen", &args).unwrap();
    let _peer = peer::start(session, "stream", &address(&player));
    wait_for_line(&mut player, 0, &["starts to play"]);
    player.signal(libc::SIGTERM);
    wait_for_line(&mut player, 0, &["is left as it is"]);
    let ended = player.wait(Duration::from_secs(30)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", player.output());
}

#[test]
fn senders_hear_of_new_groups_while_it_plays_and_strangers_leave_at_once() {
    let Some(house) = House::start(&["Kitchen"]) else { return };
    let session = &house.session;
    let config = house.config("groups.toml", "access = \"open\"\n");
    let args = ["--config", &config, "--output", "pipewire:Kitchen"];
    let mut player = house.product.player(session, "Kitchen", &args).unwrap();
    let _sinks = house.sinks("", &["Kitchen"]);
    let connected = |player: &audera_testkit::Process| player.output().matches(" connected sender=").count();
    let reload = |player: &mut audera_testkit::Process, text: &str| {
        std::fs::write(&config, text).unwrap();
        let said = player.output().len();
        player.signal(libc::SIGHUP);
        wait_for_line(player, said, &["reloaded"]);
        said
    };
    let greeted = |player: &mut audera_testkit::Process, times: usize| {
        session.poll(&format!("greeting {times}"), || (connected(player) == times).then_some(())).unwrap();
    };
    greeted(&mut player, 1);

    // Groups are told on the connections that there are.
    let groups = |player: &audera_testkit::Process, wanted: &str| {
        let tells = || {
            let mut command = house.product.command(session);
            command.args(["set", &address(player), "--state-dir"]).arg(session.dir().join("state/stranger"));
            String::from_utf8_lossy(&command.output().ok()?.stdout).contains(wanted).then_some(())
        };
        session.poll(wanted, tells).unwrap();
    };
    reload(&mut player, "access = \"open\"\ngroups = [\"Downstairs\"]\n");
    groups(&player, "groups=Downstairs\n");
    let noise = house.make_noise("audera.Kitchen", 1);
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    reload(&mut player, "access = \"open\"\ngroups = [\"Upstairs\"]\n");
    groups(&player, "groups=Upstairs\n");
    let from_sinks = |player: &audera_testkit::Process| {
        connected(player)
            - player.output().matches(" connected sender=\"audera-player set\"").count()
            - player.output().matches(" connected sender=audera-player set").count()
    };
    assert_eq!(from_sinks(&player), 1, "what plays goes on: {}", player.output());
    drop(noise);

    let said = reload(&mut player, "access = \"paired\"\ngroups = [\"Upstairs\"]\n");
    wait_for_line(&mut player, said, &["refused a sender that is not paired"]);
    assert_eq!(from_sinks(&player), 1, "{}", player.output());
}

#[test]
fn a_name_that_another_player_has_is_told_with_what_to_do() {
    let Some(house) = House::start(&["Kitchen"]) else { return };
    let player = || house.product.player(&house.session, "Kitchen", &["--output", "pipewire:Kitchen"]).unwrap();
    let _first = player();
    house.session.poll("the announcement", || announced(&house.session, "Kitchen")).unwrap();
    let mut second = player();
    let line = wait_for_line(&mut second, 0, &["WARN", "\"Kitchen\" is taken"]);
    assert!(line.contains("\"Kitchen #2\"") && line.contains("--name"), "{line}");
}

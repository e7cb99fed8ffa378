//! Avahi and PipeWire come late, go and come back.

use audera_testkit::home::{Home, Product};
use audera_testkit::{Daemon, NullSink, Session, or_skip};

use crate::{House, address, alone, peer, wait_for_line};

/// The line in which Avahi tells of a room, on the loopback interface or another.
fn announced(session: &Session, room: &str) -> Option<String> {
    let found = session.run("timeout", &["10", "avahi-browse", "-rpt", "_audera._tcp"]).ok()?;
    found.lines().find(|line| line.starts_with("=;") && line.contains(&format!(";{room};"))).map(str::to_owned)
}

#[test]
fn a_player_works_without_avahi_and_is_announced_when_it_comes_or_comes_back() {
    let Some(mut house) = House::start(&["Kitchen"]) else { return };
    house.home.session.stop_daemon(Daemon::Avahi).unwrap();
    let player = house.room("Kitchen", &[]).unwrap();
    let args = format!("audera.players = [ \"{}\" ]", address(&player));
    let _sinks = house.sinks(&args, &["Kitchen"]);
    let _noise = house.make_noise("audera.Kitchen", 1);
    house.session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();

    house.home.session.start_daemon(Daemon::Avahi).unwrap();
    house.session.poll("the announcement", || announced(&house.session, "Kitchen")).unwrap();
    house.home.session.restart_daemon(Daemon::Avahi).unwrap();
    house.session.poll("the announcement again", || announced(&house.session, "Kitchen")).unwrap();
    house.session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
}

#[test]
fn without_pipewire_a_stream_is_refused_and_sound_comes_back_after_a_restart() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let daemons = [Daemon::SystemBus, Daemon::SessionBus];
    let Some(session) = or_skip(product.session("house").daemons(&daemons).start()) else { return };
    let mut home = Home { session, product };
    let mut player = home.room("Kitchen", &[]).unwrap();
    let address = address(&player);
    let mut early = peer::start(&home.session, "stream", &address);
    let refusal = wait_for_line(&mut early, 0, &["Refused"]);
    println!("{refusal}");
    assert!(refusal.contains("pipewire:Kitchen") && refusal.contains("onnect"), "{refusal}");
    wait_for_line(&mut player, 0, &["cannot play", "pipewire:Kitchen"]);
    early.stop().unwrap();

    let desktop = [Daemon::PipeWire, Daemon::WirePlumber];
    desktop.iter().for_each(|&daemon| home.session.start_daemon(daemon).unwrap());
    home.make_sinks(&["Kitchen"]).unwrap();
    let mut peer = peer::start(&home.session, "stream", &address);
    wait_for_line(&mut peer, 0, &["Accepted"]);
    let heard = |home: &Home| {
        let mut recorder = home.session.record(&["Kitchen:monitor_FL", "Metronome:monitor_FL"]).unwrap();
        recorder.wait_for(1.5).unwrap();
        let recorded = recorder.finish().unwrap();
        recorded.channels[0].iter().filter(|sample| sample.abs() > 0.05).count()
    };
    let linked = |home: &Home| {
        home.session
            .wait_for_graph("the player's link", |graph| {
                (graph.plays_to("audera-player.Kitchen") == ["Kitchen"]).then_some(())
            })
            .unwrap();
    };
    linked(&home);
    assert!(heard(&home) > 10_000);

    home.session.stop_daemon(Daemon::WirePlumber).unwrap();
    home.session.stop_daemon(Daemon::PipeWire).unwrap();
    wait_for_line(&mut player, 0, &["the output failed"]);
    desktop.iter().for_each(|&daemon| home.session.start_daemon(daemon).unwrap());
    home.session.null_sink(&NullSink::new("Metronome").driver()).unwrap();
    home.session.null_sink(&NullSink::new("Kitchen")).unwrap();
    linked(&home);
    assert!(heard(&home) > 10_000, "sound comes back by itself");
    assert!(peer.is_running() && player.is_running());
}

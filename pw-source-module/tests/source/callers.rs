//! A source is announced, and players fetch it.

use audera_testkit::measure;

use crate::{RATE, Studio, assert_alike, part};

#[test]
fn players_dial_in_by_name_and_by_address_and_come_and_go_in_time() {
    let Some(studio) = Studio::start(&["Kitchen", "Bath", "Input"]) else { return };
    let session = &studio.session;
    let _input = studio.make_noise("Input", 1);
    let args = "audera.start = always audera.access = open audera.latency.msec = 300";
    let _source = studio.tap("Turntable", "Input", args).unwrap();

    let (port, txt) = session
        .poll("the announcement", || {
            let found = session.run("timeout", &["10", "avahi-browse", "-rpt", "_audera-source._tcp"]).ok()?;
            let line = found.lines().find(|line| line.starts_with("=;") && line.contains(";Turntable;"))?.to_owned();
            let fields: Vec<&str> = line.split(';').collect();
            Some(((*fields.get(8)?).to_owned(), fields.get(9)?.to_string()))
        })
        .unwrap();
    assert!(txt.contains("\"v=1\"") && txt.contains("\"id="), "{txt}");

    let by_name = ["--subscribe", "Turntable"];
    let address = format!("127.0.0.1:{port}");
    let by_address = ["--subscribe", &address];
    let _kitchen = studio.room("Kitchen", &by_name).unwrap();
    let bath = studio.room("Bath", &by_address).unwrap();
    session.wait_for_rooms("audera-source.Turntable", &["Kitchen playing", "Bath playing"]).unwrap();
    let mut recorder =
        session.record(&["Kitchen:monitor_FL", "Bath:monitor_FL", "Input:monitor_FL", "Metronome:monitor_FL"]).unwrap();
    recorder.wait_for(3.0).unwrap();
    assert!(bath.stop().unwrap().success());
    session.wait_for_rooms("audera-source.Turntable", &["Kitchen playing"]).unwrap();
    let gone = recorder.seconds();
    recorder.wait_for(gone + 1.0).unwrap();

    let args = [&["--access", "open", "--output", "pipewire:Bath"][..], &by_address].concat();
    let _bath = studio.product.player(session, "Bath", &args).unwrap();
    session.wait_for_rooms("audera-source.Turntable", &["Kitchen playing", "Bath playing"]).unwrap();
    let back = recorder.seconds();
    recorder.wait_for(back + 4.0).unwrap();
    let recorded = recorder.finish().unwrap();
    let [kitchen, bath, input] = [0, 1, 2].map(|channel| &recorded.channels[channel][..]);

    // A player that opens its device may change the quantum of the graph, whose clock jumps then.
    assert_alike(true, "Kitchen throughout", measure::GLIDING, input, kitchen);
    for (from, to) in [(1.0, 3.0), (back + 1.0, back + 4.0)] {
        let series = measure::offset_series(part(kitchen, from, to), part(bath, from, to), RATE, 0.25, 0.02);
        println!("from {from:.1} to {to:.1} s: p50 {:?} p99 {:?}", series.p50(), series.p99());
        assert!(series.offsets.len() >= 6, "{series:?}");
        assert!(series.p50().unwrap() < 0.5e-3, "{series:?}");
    }
    let silent = part(bath, gone + 0.5, gone + 1.0);
    assert!(silent.iter().all(|&sample| sample == 0.0), "Bath is silent while it is away");
}

#[test]
fn a_stranger_is_turned_away_until_its_id_is_in_the_list() {
    let Some(studio) = Studio::start(&["Kitchen", "Input"]) else { return };
    let session = &studio.session;
    let _input = studio.make_noise("Input", 1);
    let mut source = studio.tap("Radio", "Input", "audera.start = always").unwrap();
    let mut player =
        studio.product.player(session, "Kitchen", &["--output", "pipewire:Kitchen", "--subscribe", "Radio"]).unwrap();

    let (source_log, player_log) = (source.log().to_owned(), player.log().to_owned());
    let list = session.dir().join("state/source-Radio/trusted.toml");
    let told = source
        .wait_until("the refusal", || {
            let log = std::fs::read_to_string(&source_log).ok()?;
            log.lines().find(|line| line.contains("refused a player that is not paired")).map(str::to_owned)
        })
        .unwrap();
    assert!(told.contains(list.to_str().unwrap()), "{told}");
    let ready = player.output();
    let id = ready.lines().find(|line| line.contains(" ready ")).and_then(|line| line.split("id=").nth(1)).unwrap();
    let id = &id[..64];
    assert!(told.contains(id), "{told}");
    player
        .wait_until("word of the refusal at the player", || {
            std::fs::read_to_string(&player_log).ok()?.contains("is paired and does not know").then_some(())
        })
        .unwrap();

    std::fs::write(&list, format!("[[peer]]\nname = \"Kitchen\"\nid = \"{id}\"\n")).unwrap();
    session.wait_for_rooms("audera-source.Radio", &["Kitchen playing"]).unwrap();
}

/// Who plays to a room has met it; that lets nobody listen in.
#[test]
fn a_player_that_was_met_is_not_thereby_trusted() {
    let Some(studio) = Studio::start(&["Kitchen", "Input"]) else { return };
    let session = &studio.session;
    let _input = studio.make_noise("Input", 1);
    let args = "audera.start = always audera.access = paired audera.rooms = [ Kitchen ]";
    let mut source = studio.tap("Radio", "Input", args).unwrap();
    let first = studio.room("Kitchen", &[]).unwrap();
    session.wait_for_rooms("audera-source.Radio", &["Kitchen playing"]).unwrap();
    let met = session.dir().join("state/source-Radio/met.toml");
    source
        .wait_until("the room among those that were met", || {
            std::fs::read_to_string(&met).ok()?.contains("Kitchen").then_some(())
        })
        .unwrap();
    first.stop().unwrap();

    // The same identity dials in after a restart of both, so that nothing but the files can tell.
    source.stop().unwrap();
    let mut source = studio.tap("Radio", "Input", "audera.start = always audera.access = paired").unwrap();
    let source_log = source.log().to_owned();
    let _again = studio.room("Kitchen", &["--subscribe", "Radio"]).unwrap();
    source
        .wait_until("the refusal", || {
            let log = std::fs::read_to_string(&source_log).ok()?;
            log.contains("refused a player that is not paired").then_some(())
        })
        .unwrap();
    let rooms = session.graph().unwrap().node("audera-source.Radio").map(|node| node.rooms()).unwrap();
    assert!(rooms.is_empty(), "{rooms:?}");
}

//! Which rooms a source plays to: by name, by group, everywhere, by address; and a room that fails does not harm the others.

use audera_testkit::home::player_port;

use audera_testkit::measure;

use crate::{LONGEST_SLOW_WAY, RATE, Studio, WINDOW};

#[test]
fn rooms_groups_everywhere_and_addresses_are_played_to() {
    let Some(studio) = Studio::start(&["Kitchen", "Living Room", "Cellar", "Input"]) else { return };
    let session = &studio.session;
    let config = session.dir().join("kitchen.toml");
    std::fs::write(&config, "groups = [\"Downstairs\", \"Wet rooms\"]\n").unwrap();
    let _kitchen = studio.room("Kitchen", &["--config", config.to_str().unwrap()]).unwrap();
    let _hall = studio.room("Living Room", &[]).unwrap();
    let hidden = studio.room("Cellar", &["--no-discovery"]).unwrap();
    let port = player_port(&hidden).unwrap();
    let _input = studio.make_noise("Input", 1);

    let address = format!("127.0.0.1:{port}");
    let both = format!("audera.rooms = [ \"Living Room\" ] audera.players = [ \"{address}\" ]");
    let everywhere = format!("audera.rooms = [ Everywhere ] audera.players = [ \"{address}\" ]");
    for (targets, expected) in [
        ("audera.rooms = [ \"Living Room\" ]", &["Living Room playing"][..]),
        ("audera.rooms = [ \"Wet rooms\" ]", &["Kitchen playing"]),
        ("audera.rooms = [ Everywhere ]", &["Kitchen playing", "Living Room playing"]),
        (&format!("audera.players = [ \"{address}\" ]"), &["Cellar playing"]),
        (&both, &["Cellar playing", "Living Room playing"]),
        (&everywhere, &["Cellar playing", "Kitchen playing", "Living Room playing"]),
    ] {
        let source = studio.tap("Tap", "Input", &format!("audera.start = always {targets}")).unwrap();
        session.wait_for_rooms("audera-source.Tap", expected).unwrap();
        source.stop().unwrap();
    }
}

/// A room whose player hangs, as on a frozen host, costs its own sound only.
#[test]
fn a_room_that_takes_nothing_is_given_up_and_the_others_play_on() {
    let Some(studio) = Studio::start(&["Kitchen", "Input"]) else { return };
    let session = &studio.session;
    let _kitchen = studio.room("Kitchen", &[]).unwrap();
    // Into a file: a frozen client of the graph would harm the graph itself.
    let output = format!("file:{}", session.dir().join("bath.wav").display());
    let hanging = studio.product.player(session, "Bath", &["--access", "open", "--output", &output]).unwrap();
    let _input = studio.make_noise("Input", 1);
    let mut source = studio
        .tap("Tap", "Input", "audera.latency.msec = 1000 audera.start = always audera.rooms = [ Kitchen, Bath ]")
        .unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing", "Bath playing"]).unwrap();
    let mut recorder = session.record(&["Kitchen:monitor_FL", "Input:monitor_FL", "Metronome:monitor_FL"]).unwrap();
    // PipeWire leaves out some cycles when a recorder comes in, and rooms report once a second.
    recorder.wait_for(3.0).unwrap();
    let mut before = session.wait_for_rooms("audera-source.Tap", &["Kitchen playing", "Bath playing"]).unwrap();
    before.retain(|room| room.room == "Kitchen");
    hanging.signal(libc::SIGSTOP);
    session
        .wait_for_graph("the end of Bath's stream", |graph| {
            let rooms = graph.node("audera-source.Tap")?.rooms();
            rooms.iter().all(|room| room.room != "Bath" || room.state != "playing").then_some(())
        })
        .unwrap();
    assert!(source.is_running());
    recorder.wait_for(recorder.seconds() + 2.0).unwrap();
    let recorded = recorder.finish().unwrap();
    let [kitchen, input] = [&recorded.channels[0], &recorded.channels[1]];
    let alike = measure::likeness(input, kitchen, RATE, WINDOW, LONGEST_SLOW_WAY);
    println!("alike in {alike:.2} of {:.1} s", kitchen.len() as f64 / f64::from(RATE));
    assert!(alike > 0.6, "{alike}");
    println!("gaps of the room {:?}, of the input {:?}", measure::gaps(kitchen, 8), measure::gaps(input, 8));
    // A cycle that the graph leaves out is a gap, too; whether the room had all it needed is what the player counts.
    let rooms = session.wait_for_graph("the rooms", |graph| Some(graph.node("audera-source.Tap")?.rooms())).unwrap();
    let kitchen = rooms.iter().find(|room| room.room == "Kitchen").unwrap();
    let flaws = kitchen.flaws.checked_sub(before[0].flaws).expect("one and the same stream");
    assert!(flaws < u64::from(RATE), "late wake-ups of the machine account for less: {rooms:?}");

    hanging.signal(libc::SIGCONT);
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing", "Bath playing"]).unwrap();
}

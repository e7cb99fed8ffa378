//! Player, sinks and source on one machine: the player's own sound never comes back to it.

use crate::{House, likeness, wait_for_line};

const PLAYER: &str = "audera-player.Kitchen";

/// Waits until the player plays to this sink, and to nothing else.
fn wait_for_target(house: &House, sink: &str) {
    let what = format!("{PLAYER} playing to {sink}");
    house.session.wait_for_graph(&what, |graph| (graph.plays_to(PLAYER) == [sink]).then_some(())).unwrap();
}

fn set_default(house: &House, sink: &str) {
    house.session.run("pactl", &["set-default-sink", sink]).unwrap();
    house
        .session
        .poll("the default", || (house.session.run("pactl", &["get-default-sink"]).ok()?.trim() == sink).then_some(()))
        .unwrap();
}

#[test]
fn whatever_the_default_is_the_player_plays_to_a_real_output() {
    let Some(house) = House::start(&["Input", "Speakers", "Headset"]) else { return };
    let session = &house.session;
    let mut player = house.product.player(session, "Kitchen", &["--access", "open", "--output", "pipewire"]).unwrap();
    let _sinks = house.sinks("", &["Kitchen"]);
    // Every link that is ever made is told here.
    let mut command = session.command("pw-link");
    command.args(["--monitor", "--links", "--output", "--input"]);
    let links = session.spawn(command).unwrap();

    // The desktop's default is the room itself, and an application plays to the default.
    set_default(&house, "audera.Kitchen");
    // Not pw-play: with that of PipeWire 0.3.65, moved to and fro as here, the graph was seen to stand still, its shared memory written
    // over.
    let file = house.long_noise(1);
    let mut command = session.command("paplay");
    command.arg(&file);
    let application = session.spawn(command).unwrap();
    session
        .wait_for_graph("the application's link", |graph| {
            (graph.plays_to("paplay") == ["audera.Kitchen"]).then_some(())
        })
        .unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    let real = session
        .wait_for_graph("a real output", |graph| match graph.plays_to(PLAYER)[..] {
            [sink @ ("Speakers" | "Headset")] => Some(sink.to_owned()),
            _ => None,
        })
        .unwrap();
    println!("with the room as default it plays to {real}");

    // An application that asks for the room by name. WirePlumber lets those follow the default that asked for what was it.
    drop(application);
    set_default(&house, "Speakers");
    let mut command = session.command("paplay");
    command.arg("--device=audera.Kitchen").arg(&file);
    let _application = session.spawn(command).unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    wait_for_target(&house, "Speakers");

    // It follows the default while it plays, unless that is a room.
    for (default, expected) in [("Headset", "Headset"), ("Speakers", "Speakers"), ("audera.Kitchen", &real)] {
        set_default(&house, default);
        wait_for_target(&house, expected);
        session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    }
    // Whatever the ports of the room are called: its monitor's, which the player does not play to, are no inputs.
    let to_room = |line: &str| line.contains("audera.Kitchen:") && !line.contains("audera.Kitchen:monitor");
    let onto_room = |log: &str| log.lines().any(|line| to_room(line) && line.contains(PLAYER));
    assert!(!onto_room(&links.output()), "{}", links.output());

    // Somebody moves its stream onto the room.
    let inputs = session.run("pactl", &["list", "sink-inputs"]).unwrap();
    let ours = inputs.split("Sink Input #").find(|input| input.contains(PLAYER)).expect(&inputs);
    let number = ours.split_whitespace().next().unwrap();
    // The desktop's way, which may be refused, then the session manager's, then none that asks anybody.
    let _ = session.run("pactl", &["move-sink-input", number, "audera.Kitchen"]);
    wait_for_target(&house, &real);
    let node = session.graph().unwrap().node(PLAYER).unwrap().id.to_string();
    session.run("pw-metadata", &["-n", "default", &node, "target.object", "audera.Kitchen"]).unwrap();
    wait_for_target(&house, &real);
    let port = session.sink_port("audera.Kitchen", "FL").unwrap();
    session.link(&format!("{PLAYER}:output_FL"), &port).unwrap();
    wait_for_line(&mut player, 0, &["moved onto an Audera room", "moved back"]);
    wait_for_target(&house, &real);
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();

    // And a source in the same session, to the same room.
    let _noise = house.make_noise("Input", 2);
    let _source = house.tap("Tap", "Input", "audera.start = always audera.rooms = [ Kitchen ]").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    wait_for_target(&house, &real);
    let recorded = house.listen(&[&real, "Input"], 4.0);
    let late = |channel: usize| &recorded.channels[channel][48_000..];
    assert!(likeness(late(1), late(0)) > 0.5);
}

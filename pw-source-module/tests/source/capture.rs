//! What a source captures, and who decides that.

use audera_testkit::Process;
use audera_testkit::measure::GLIDING;

use crate::{RATE, Studio, WINDOW, assert_alike};

/// Makes an input such as a line-in.
pub fn make_input(studio: &Studio, name: &str) {
    let properties = format!(
        "{{ factory.name = support.null-audio-sink, media.class = Audio/Source/Virtual, object.linger = true, \
         node.name = \"{name}\", node.description = \"{name}\", audio.position = [ FL FR ], audio.rate = 48000, \
         node.group = pipewire.dummy, node.pause-on-idle = false, session.suspend-timeout-seconds = 0 }}"
    );
    studio.session.run("pw-cli", &["create-node", "adapter", &properties]).unwrap();
    studio.session.wait_for_ports(&["FL", "FR"].map(|position| format!("{name}:input_{position}"))).unwrap();
}

/// Lets noise be heard in such an input.
pub fn make_noise(studio: &Studio, name: &str, seed: u64) -> Process {
    let session = &studio.session;
    let file = studio.long_noise(seed);
    let mut command = session.command("pw-play");
    command.args(["--target", "0", "--properties", &format!("{{ node.name = into-{name} }}")]).arg(&file);
    let playing = session.spawn(command).unwrap();
    let outputs = ["FL", "FR"].map(|position| format!("into-{name}:output_{position}"));
    session.wait_for_ports(&outputs).unwrap();
    for position in ["FL", "FR"] {
        session.link(&format!("into-{name}:output_{position}"), &format!("{name}:input_{position}")).unwrap();
    }
    playing
}

#[test]
fn the_default_source_a_named_input_and_the_monitor_of_a_sink_are_captured() {
    let Some(studio) = Studio::start(&["Hall", "Kitchen", "Bath", "Speakers"]) else { return };
    let session = &studio.session;
    ["LineIn", "Phono"].iter().for_each(|input| make_input(&studio, input));
    let _players = ["Hall", "Kitchen", "Bath"].map(|room| studio.room(room, &[]).unwrap());
    let _line_in = make_noise(&studio, "LineIn", 1);
    let _phono = make_noise(&studio, "Phono", 2);
    let _speakers = studio.make_noise("Speakers", 3);
    session.run("pactl", &["set-default-source", "LineIn"]).unwrap();

    let always = |room: &str| format!("audera.start = always audera.rooms = [ \"{room}\" ] audera.latency.msec = 300");
    let _default = studio.source("Default", &format!("{} audera.codec = pcm", always("Hall"))).unwrap();
    let named = format!("{} audera.codec = pcm stream.props = {{ target.object = Phono }}", always("Kitchen"));
    let _named = studio.source("Named", &named).unwrap();
    let _monitor = studio.tap("Monitor", "Speakers", &always("Bath")).unwrap();
    for (source, room) in [("Default", "Hall"), ("Named", "Kitchen"), ("Monitor", "Bath")] {
        session.wait_for_rooms(&format!("audera-source.{source}"), &[&format!("{room} playing")]).unwrap();
    }

    let mut recorder = session
        .record(&[
            "Hall:monitor_FL",
            "Kitchen:monitor_FL",
            "Bath:monitor_FL",
            "LineIn:capture_FL",
            "Phono:capture_FL",
            "Speakers:monitor_FL",
            "Metronome:monitor_FL",
        ])
        .unwrap();
    recorder.wait_for(5.0).unwrap();
    let recorded = recorder.finish().unwrap();
    let (rooms, inputs) = recorded.channels.split_at(3);
    for (nth, room) in rooms.iter().enumerate() {
        for (other, input) in inputs[..3].iter().enumerate() {
            assert_alike(
                nth == other,
                &format!("room {nth}, input {other}"),
                WINDOW,
                &input[24_000..],
                &room[24_000..],
            );
        }
    }
}

#[test]
fn it_is_a_recording_that_can_be_moved_with_the_sound_following() {
    let Some(studio) = Studio::start(&["Kitchen", "First", "Second"]) else { return };
    let session = &studio.session;
    let _player = studio.room("Kitchen", &[]).unwrap();
    let _first = studio.make_noise("First", 1);
    let _second = studio.make_noise("Second", 2);
    let args = "audera.start = always audera.rooms = [ Kitchen ] audera.latency.msec = 300";
    let _source = studio.tap("Tap", "First", args).unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    let listed = session.run("pactl", &["list", "source-outputs"]).unwrap();
    assert!(listed.contains("application.name = \"Audera\""), "{listed}");
    assert!(listed.contains("media.name = \"Audera Tap\""), "{listed}");
    let sinks = ["Kitchen", "First", "Second"];
    let recorded = studio.listen(&sinks, 3.0);
    assert_alike(true, "the first input", WINDOW, &recorded.channels[1], &recorded.channels[0]);
    assert_alike(false, "the second one", WINDOW, &recorded.channels[2], &recorded.channels[0]);

    studio.move_recording("Tap", "Second");
    let recorded = studio.listen(&sinks, 5.0);
    let late = |channel: usize| &recorded.channels[channel][2 * RATE as usize..];
    assert_alike(true, "the second input after the move", GLIDING, late(2), late(0));
    assert_alike(false, "the first one after the move", GLIDING, late(1), late(0));
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
}

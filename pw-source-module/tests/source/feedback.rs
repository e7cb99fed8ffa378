//! A source that would capture what its own rooms play does not play.

use audera_testkit::Process;
use audera_testkit::measure::GLIDING;

use crate::{RATE, Studio, assert_alike};

/// Waits for a line in a process's log.
fn wait_for_line(process: &mut Process, text: &str) -> String {
    let log = process.log().to_owned();
    let found = process.wait_until(text, || {
        let log = std::fs::read_to_string(&log).ok()?;
        log.lines().find(|line| line.contains(text)).map(str::to_owned)
    });
    found.unwrap()
}

#[test]
fn a_source_that_taps_its_own_room_is_refused_until_it_captures_something_else() {
    let Some(studio) = Studio::start(&["Kitchen", "Input"]) else { return };
    let session = &studio.session;
    let _player = studio.room("Kitchen", &[]).unwrap();
    let _input = studio.make_noise("Input", 1);

    for rooms in ["Kitchen", "Everywhere"] {
        let args = format!("audera.start = always audera.rooms = [ {rooms} ] audera.latency.msec = 300");
        let mut source = studio.tap("Tap", "Kitchen", &args).unwrap();
        let line = wait_for_line(&mut source, "refused:");
        assert!(line.contains("\"Tap\"") && line.contains("the input \"Kitchen\""), "{line}");
        assert!(line.contains("plays to \"Kitchen\"") && line.contains("capture another input"), "{line}");
        session.wait_for_rooms("audera-source.Tap", &[]).unwrap();
        let recorded = studio.listen(&["Kitchen"], 1.5);
        let last = &recorded.channels[0][48_000..];
        assert!(last.iter().all(|&sample| sample == 0.0), "the room is silent");

        studio.move_recording("Tap", "Input");
        session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
        let recorded = studio.listen(&["Kitchen", "Input"], 4.0);
        let late = |channel: usize| &recorded.channels[channel][RATE as usize..];
        assert_alike(true, "what is captured now", GLIDING, late(1), late(0));

        // And back again.
        studio.move_recording("Tap", "Kitchen");
        session.wait_for_rooms("audera-source.Tap", &[]).unwrap();
        source.stop().unwrap();
    }
}

//! No such source, one that takes nobody, and one that goes.

use audera_testkit::Process;

use crate::recording::Recording;
use crate::{Studio, run, text};

const NODEV: &str = "No such device";

#[test]
fn a_name_that_nobody_has_and_a_source_that_is_paired_are_refused_with_words() {
    let Some(studio) = Studio::start() else { return };
    let _sources = ["Turntable", "Radio"].map(|name| studio.source(name, &[("access", "paired")]));
    // Those that are there are found before the time for finding one is over.
    let refused = run(studio.arecord("audera:Attic", 1, "nothing.raw"));
    let told = text(&refused);
    assert!(!refused.status.success());
    assert!(told.contains("there is no source \"Attic\": there are \"Radio\", \"Turntable\""), "{told}");
    assert!(told.contains(NODEV), "{told}");
    let several = text(&run(studio.arecord("audera", 1, "nothing.raw")));
    assert!(several.contains("there are several sources"), "{several}");
    let paired = text(&run(studio.arecord("audera:Radio", 1, "nothing.raw")));
    assert!(paired.contains("paired and does not know the id") && paired.contains("not permitted"), "{paired}");
    let nowhere = text(&run(studio.arecord("audera:localhost:1", 1, "nothing.raw")));
    assert!(nowhere.contains("nothing listens there"), "{nowhere}");
}

fn wait_for(process: &mut Process, words: &str) {
    let log = process.log().to_owned();
    let told = || std::fs::read_to_string(&log).ok()?.contains(words).then_some(());
    process.wait_until(words, told).unwrap();
}

#[test]
fn a_source_may_be_away_for_a_while_and_not_for_longer() {
    let Some(studio) = Studio::start() else { return };
    let patient = "pcm.patient { type plug slave.pcm { type audera player \"Turntable\" patience 60 } }\n";
    let hasty = "pcm.hasty { type plug slave.pcm { type audera player \"Turntable\" patience 0 } }\n";
    studio.session.alsa_definitions(&format!("{patient}{hasty}")).unwrap();
    let mut source = studio.source("Turntable", &[("latency", "300")]);
    let mut recorders = ["patient", "hasty"].map(|pcm| {
        let command = studio.arecord(pcm, 7, &format!("{pcm}.raw"));
        studio.session.spawn(command).unwrap()
    });
    wait_for(&mut source, "Playing 0 dropped, ");
    let recorded =
        || std::fs::read(studio.session.dir().join("patient.raw")).ok()?.iter().any(|byte| *byte != 0).then_some(());
    studio.session.poll("sound in the recording", recorded).unwrap();
    source.stop().unwrap();
    let [patient, hasty] = &mut recorders;
    wait_for(hasty, NODEV);
    let mut source = studio.source("Turntable", &[]);
    wait_for(&mut source, "Playing");
    let ended = patient.wait(std::time::Duration::from_secs(60)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", patient.output());
    let recording = Recording::read(&studio.session.dir().join("patient.raw"));
    let pieces = recording.pieces();
    println!("{pieces:?}");
    assert_eq!(recording.len(), 7 * 48_000);
    // A source that is new counts anew.
    let shifts: Vec<i64> = pieces.iter().map(|piece| piece.shift()).collect();
    assert!(shifts.iter().any(|shift| (shift - shifts[0]).abs() > 4_800), "{pieces:?}");
}

/// As in `tests/valgrind.rs`, where it is said what is not looked for.
#[test]
fn a_recorder_leaves_nothing_behind() {
    let Some(studio) = Studio::start() else { return };
    let _source = studio.source("Turntable", &[]);
    let mut command = studio.session.command("valgrind");
    command.args(["--quiet", "--error-exitcode=99", "--undef-value-errors=no", "--leak-check=full"]);
    command.args(["--errors-for-leak-kinds=definite,indirect,possible", "--num-callers=30"]);
    command.args(["arecord", "-q", "-D", "audera:Turntable", "-f", "S16_LE", "-c", "1", "-d", "1", "/dev/null"]);
    let output = run(command);
    assert!(output.status.success(), "{}", text(&output));
}

//! What a real source captures: chosen, heard in the room, and its level on the screen.

use audera_testkit::home::Home;
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Terminal, measure, or_skip, sound};

use crate::site::*;

const RATE: u32 = 48_000;
/// Longer than the way from an input to the room, in seconds.
const LONGEST_WAY: f64 = 0.6;

#[test]
fn an_input_is_chosen_and_heard_and_its_level_is_seen() {
    let _alone = alone();
    let Some(home) = or_skip(Home::start("house", &["Kitchen", "Radio", "Turntable"])) else { return };
    let session = &home.session;
    activate(session);
    let _kitchen = home.room("Kitchen", &[]).unwrap();
    let noise = |name: &str, peak: f32, seed: u64| {
        let file = session.dir().join(format!("{name}.wav"));
        let one = sound::noise(RATE, 1, 4.0, peak, seed).channels.remove(0);
        let rms = (one.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / one.len() as f64).sqrt();
        let long = Sound { rate: RATE, channels: vec![one.repeat(30), one.repeat(30)] };
        long.write(&file, Samples::F32).unwrap();
        (session.play(&file, name).unwrap(), 20.0 * rms.log10())
    };
    let (_radio, loud) = noise("Radio", 0.5, 1);
    let (_turntable, quiet) = noise("Turntable", 0.05, 2);
    let _source =
        home.tap("Tap", "Radio", "audera.start = always audera.latency.msec = 300 audera.rooms = [ Kitchen ]").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    let source = || json(&ended(command(session).args(["source", "list", "--json"]).output().unwrap()).out)[0].clone();
    let is_told = |told: f64, wanted: f64| (told - wanted).abs() <= 0.5;
    let level =
        |wanted: f64| move || source()["level"]["rms_dbfs"].as_f64().filter(|told| is_told(*told, wanted)).map(drop);
    session.poll("the level of the input", level(loud)).unwrap();

    let chosen = audera(session, &["source", "input", "Tap", "Turntable"]);
    assert_eq!((chosen.code, chosen.error.as_str()), (0, ""));
    let listed = audera(session, &["source", "input"]).out;
    assert!(listed.contains("\n*  Turntable  monitor  Turntable"), "{listed}");
    session.poll("the level of the other one", level(quiet)).unwrap();
    let ports = ["Kitchen", "Radio", "Turntable", "Metronome"].map(|sink| format!("{sink}:monitor_FL"));
    let mut recorder = session.record(&ports.each_ref().map(String::as_str)).unwrap();
    recorder.wait_for(4.0).unwrap();
    let recorded = recorder.finish().unwrap();
    let late = |channel: usize| &recorded.channels[channel][RATE as usize..];
    let alike = |input: usize| {
        let series = measure::offset_series(late(input), late(0), RATE, 0.1, LONGEST_WAY);
        let later = series.offsets.iter().filter(|offset| offset.seconds > 0.0).count();
        later as f64 / (series.offsets.len() + series.undecided + series.silent).max(1) as f64
    };
    let (radio, turntable) = (alike(1), alike(2));
    assert!(turntable > 0.5 && radio < 0.1, "alike to the new input in {turntable}, to the old one in {radio}");
    let refused = audera(session, &["source", "input", "Tap", "Kitchen"]);
    assert!(refused.code == 2 && refused.error.contains("refused: the input \"Kitchen\""), "{refused:?}");

    let terminal = Terminal::start(session, &format!("{} top", env!("CARGO_BIN_EXE_audera"))).unwrap();
    let meter = |screen: &str| {
        let lines: Vec<&str> = screen.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("  Tap "))?;
        let (source, level) = (lines[at], *lines.get(at + 1)?);
        let told: f64 = level.split_whitespace().nth(2)?.parse().ok()?;
        let seen = source.contains(" playing ") && source.ends_with("Turntable to Kitchen");
        (seen && level.starts_with("  level ████") && level.contains('│') && is_told(told, quiet)).then_some(())
    };
    let screen = terminal.wait_for("the level of the source", |screen| meter(screen).is_some());
    println!("{screen}");
}

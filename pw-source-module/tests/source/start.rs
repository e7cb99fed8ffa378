//! When a source plays: with the signal, always, or not by itself.

use audera_testkit::measure;
use audera_testkit::sound::noise;
use audera_testkit::wav::{Samples, Sound};

use crate::{LONGEST_SLOW_WAY, RATE, Studio, part};

const TAP: &str = "audera-source.Tap";

#[test]
fn with_the_signal_from_its_first_sample_until_the_hold_is_over() {
    let Some(studio) = Studio::start(&["Input"]) else { return };
    let session = &studio.session;
    let config = session.dir().join("kitchen.toml");
    std::fs::write(&config, "idle-release = 0.5\n").unwrap();
    // Into a file, since whatever joins the graph of the input makes it pause for some cycles.
    let file = session.dir().join("kitchen.wav");
    let output = format!("file:{}", file.display());
    let args = ["--access", "open", "-v", "--config", config.to_str().unwrap(), "--output", &output];
    let mut watched = studio.product.player(session, "Kitchen", &args).unwrap();
    // Longer than anything holds this machine back, so that what is missing was lost.
    let args =
        "audera.latency.msec = 1000 audera.rooms = [ Kitchen ] audera.threshold.dbfs = -40 audera.hold.msec = 1500";
    let _source = studio.tap("Tap", "Input", args).unwrap();
    let log = watched.log().to_owned();
    let mut wait_for = |count: usize, words: &str| {
        let counted = || (std::fs::read_to_string(&log).ok()?.matches(words).count() >= count).then_some(());
        watched.wait_until(words, counted).unwrap();
    };
    wait_for(1, " connected ");

    // All in one file: whoever joins the graph makes it pause or hurry for some cycles, so none may join at a beginning.
    let parts = [(2.0, 0.005), (1.0, 0.0), (2.5, 0.5), (8.0, 0.0), (2.5, 0.5), (1.0, 0.0)];
    let mut sound = Vec::new();
    let mut begins = Vec::new();
    for (seed, (seconds, peak)) in parts.into_iter().enumerate() {
        begins.push(sound.len());
        sound.append(&mut noise(RATE, 1, seconds, peak, seed as u64).channels[0]);
    }
    let whole = Sound { rate: RATE, channels: vec![sound.clone(), sound.clone()] };
    whole.write(session.dir().join("bursts.wav"), Samples::F32).unwrap();
    let _playing = session.play(&session.dir().join("bursts.wav"), "Input").unwrap();

    // The room's file goes on where it ended.
    let mut before = 0;
    for (burst, begin) in [(1, begins[2]), (2, begins[4])] {
        wait_for(burst, "starts to play");
        wait_for(burst, "has played out");
        wait_for(burst, "the output is released");

        let played = &sound[begin..begin + RATE as usize * 5 / 2];
        // The file is complete a moment after its release is told.
        let enough = before + RATE as usize * 11 / 2;
        let complete = || Sound::read(&file).ok().filter(|recorded| recorded.frames() > enough);
        let recorded = session.poll("the room's file", complete).unwrap().channels.remove(0);
        let room = &recorded[before..];
        before = recorded.len();
        let series = measure::offset_series(played, room, RATE, 0.25, LONGEST_SLOW_WAY);
        let mut ways: Vec<f64> = series.offsets.iter().map(|offset| offset.seconds).collect();
        ways.sort_by(f64::total_cmp);
        let way = *ways.get(ways.len() / 2).expect("the room plays what the input held");
        println!("burst {burst}: the sound begins {:.1} ms after the room has been woken", way * 1e3);
        assert!((0.05..1.35).contains(&way), "preroll and latency leave the room up to 1300 ms, not {way}");
        // The first 300 ms in windows of 20 ms, which must be there, but for what a cycle costs that the graph has left out.
        let heard = part(room, way - 0.002, way + 0.302);
        let series = measure::offset_series(part(played, 0.0, 0.304), heard, RATE, 0.02, 0.004);
        let missing = series.undecided + series.silent;
        assert!(series.offsets.len() >= 12 && missing <= 3, "{series:?}");
        let begun = room.iter().position(|sample| sample.abs() > 0.01).unwrap() as f64 / f64::from(RATE);
        assert!((begun - way).abs() < 0.01, "it begins at {begun} s: with its first sample, and nothing loud before");
    }
    assert_eq!(watched.output().matches("starts to play").count(), 2, "what is below the threshold is no signal");
}

#[test]
fn always_or_not_by_itself() {
    let Some(studio) = Studio::start(&["Kitchen", "Bath", "Silence", "Input"]) else { return };
    let session = &studio.session;
    let _player = studio.room("Kitchen", &[]).unwrap();
    let always = studio.tap("Tap", "Silence", "audera.start = always audera.rooms = [ Kitchen ]").unwrap();
    session.wait_for_rooms(TAP, &["Kitchen playing"]).unwrap();
    always.stop().unwrap();

    let _input = studio.make_noise("Input", 1);
    let args = "audera.start = manual audera.access = open audera.rooms = [ Kitchen ]";
    let _manual = studio.tap("Tap", "Input", args).unwrap();
    // A room that asks for it gets it; the one that is only named has had as much time by then, and does not.
    let _bath = studio.room("Bath", &["--subscribe", "Tap"]).unwrap();
    session.wait_for_rooms(TAP, &["Bath playing"]).unwrap();
}

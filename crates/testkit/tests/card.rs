//! A virtual card plays what is played to it, by its own crystal, and says when.

use std::time::Duration;

use audera_testkit::{
    Card, Session, measure, or_skip, sound,
    wav::{Samples, Sound},
};

const RATE: u32 = 48_000;
const QUANTUM: usize = 512;

fn play_to_end(session: &Session, file: &std::path::Path, card: &str) {
    let mut player = session.play(file, card).unwrap();
    let ended = player.wait(Duration::from_secs(30)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", player.output());
}

#[test]
fn what_is_played_to_a_card_is_what_it_plays() {
    let Some(session) = or_skip(Session::start("desk")) else { return };
    let file = session.dir().join("noise.wav");
    sound::noise(RATE, 2, 3.25, 0.5, 1).write(&file, Samples::S16).unwrap();
    let expected = Sound::read(&file).unwrap().channels.remove(0);
    let card = session.card(&Card::new("Kitchen").ppm(80.0).quantum(QUANTUM as u32)).unwrap();
    play_to_end(&session, &file, "Kitchen");
    let played = card.finish().unwrap();
    println!("{:?}, missed {:?}", played.report.counts, played.missed);
    assert!(played.report.counts.cycles > 250, "{:?}", played.report.counts);
    // 3 s of the crystal, in true time.
    let nanos = played.time_of(3.0 * f64::from(RATE)).since(played.time_of(0.0)) as f64;
    assert!((nanos - 3e9 / 1.000_08).abs() < 10.0, "{nanos}");

    // Where the player itself is held up, what follows comes a cycle later: no fault of the card, which may change nothing, and lose
    // nothing but in cycles that it says it has missed.
    // Pw-play leaves out the end, somewhere in its last cycle.
    let last = played.samples.iter().rposition(|&sample| sample != 0.0).expect("there is sound");
    let runs = measure::runs(&played.samples[..last / QUANTUM * QUANTUM], &expected, QUANTUM);
    let runs = runs.unwrap_or_else(|frame| panic!("the cycle at frame {frame} is not what was played"));
    let missed =
        |from: usize, to: usize| played.missed.iter().any(|missed| (from..to).contains(&(missed.frame as usize)));
    for pair in runs.windows(2) {
        let (end, next) = (pair[0].at + pair[0].frames, pair[1].at);
        let lost = pair[1].from - (pair[0].from + pair[0].frames);
        assert!(lost == 0 || missed(end, next), "{lost} frames are lost at frame {end}: {runs:?}");
    }
    let frames: usize = runs.iter().map(|run| run.frames).sum();
    assert!(frames as f64 >= 0.8 * 3.0 * f64::from(RATE), "only {frames} frames arrived: {runs:?}");
}

//! A virtual card plays what is played to it, by its own crystal, and says when.

use std::time::Duration;

use audera_testkit::{
    Card, Played, Session, or_skip, sound,
    wav::{Samples, Sound},
};

const RATE: u32 = 48_000;

fn play_to_end(session: &Session, file: &std::path::Path, card: &str) {
    let mut player = session.play(file, card).unwrap();
    let ended = player.wait(Duration::from_secs(30)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", player.output());
}

/// The differences of a recording from its file: frames that are neither the file's nor in what the card says it missed.
fn unexplained(played: &Played, file: &[f32]) -> Option<usize> {
    let begin = find(&played.samples, file)?;
    let explained = |frame: usize| {
        let within = |missed: &audera_testkit::card::Missed| {
            (missed.frame..missed.frame + missed.frames).contains(&(frame as u64))
        };
        played.missed.iter().any(within)
    };
    let heard = played.samples.get(begin..begin + file.len())?;
    Some((0..file.len()).filter(|&n| heard[n] != file[n] && !explained(begin + n)).count())
}

/// Where a file begins in a recording.
fn find(whole: &[f32], part: &[f32]) -> Option<usize> {
    let middle = part.len() / 2;
    let probe = &part[middle..middle + 64];
    whole.windows(probe.len()).position(|window| window == probe)?.checked_sub(middle)
}

#[test]
fn what_is_played_to_a_card_is_what_it_plays() {
    let Some(session) = or_skip(Session::start("desk")) else { return };
    let file = session.dir().join("noise.wav");
    sound::noise(RATE, 2, 3.25, 0.5, 1).write(&file, Samples::S16).unwrap();
    let mut expected = Sound::read(&file).unwrap().channels.remove(0);
    // pw-play leaves out the end.
    expected.truncate(3 * RATE as usize);

    let card = session.card(&Card::new("Kitchen").ppm(80.0).quantum(512)).unwrap();
    play_to_end(&session, &file, "Kitchen");
    let played = card.finish().unwrap();
    println!("{:?}, missed {:?}", played.report.counts, played.missed);
    assert!(played.report.counts.cycles > 250, "{:?}", played.report.counts);
    assert_eq!(unexplained(&played, &expected), Some(0), "missed {:?}", played.missed);
    // 3 s of the crystal, in true time.
    let nanos = played.time_of(3.0 * f64::from(RATE)).since(played.time_of(0.0)) as f64;
    assert!((nanos - 3e9 / 1.000_08).abs() < 10.0, "{nanos}");
}

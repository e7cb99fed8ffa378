//! What is played to null sinks is what is recorded from them, and both are on one clock.

use audera_testkit::{
    NullSink, Session, measure, or_skip, sound,
    wav::{Samples, Sound},
};

const RATE: u32 = 48_000;

fn session() -> Option<Session> {
    let session = or_skip(Session::start("desk"))?;
    session.null_sink(&NullSink::new("Kitchen")).unwrap();
    session.null_sink(&NullSink::new("Office")).unwrap();
    Some(session)
}

/// Where `part` begins in `whole`, to the sample.
fn find_exactly(whole: &[f32], part: &[f32]) -> Option<usize> {
    let first = part.iter().position(|&s| s != 0.0)?;
    let probe = &part[first..first + 64];
    let at = whole.windows(probe.len()).position(|window| window == probe)?;
    let begin = at.checked_sub(first)?;
    (whole.get(begin..begin + part.len())? == part).then_some(begin)
}

#[test]
fn a_recording_holds_bit_for_bit_what_was_played() {
    let Some(session) = session() else { return };
    let file = session.dir().join("noise.wav");
    sound::decorrelated_noise(RATE, 2, 2.25, 0.5, 1).write(&file, Samples::S16).unwrap();
    let mut played = Sound::read(&file).unwrap();
    played.channels.iter_mut().for_each(|channel| channel.truncate(2 * RATE as usize));

    // A machine that is busy elsewhere may miss a cycle, which is a gap and no fault of the chain. A chain that resamples,
    // scales or mixes fails every time.
    let attempts = (0..3).map(|_| {
        let mut recorder = session.record(&["Kitchen:monitor_FL", "Kitchen:monitor_FR"]).unwrap();
        let mut player = session.play(&file, "Kitchen").unwrap();
        let ended = player.wait(std::time::Duration::from_secs(20)).unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{}", player.output());
        // What was played last is on its way to the file.
        recorder.wait_for(recorder.seconds() + 0.5).unwrap();
        recorder.finish().unwrap()
    });
    let mut imperfect = Vec::new();
    for recorded in attempts {
        let places: Vec<_> = played.channels.iter().zip(&recorded.channels).map(|(p, r)| find_exactly(r, p)).collect();
        if places[0].is_some() && places[0] == places[1] {
            return;
        }
        imperfect.push(measure::residual(&recorded.channels[0], &played.channels[0], RATE, 0.5));
    }
    panic!("never without a difference: {imperfect:?}");
}

#[test]
fn two_sinks_recorded_together_are_on_one_clock() {
    let Some(session) = session() else { return };
    let file = session.dir().join("noise.wav");
    sound::noise(RATE, 2, 4.0, 0.5, 2).write(&file, Samples::F32).unwrap();

    let mut recorder = session.record(&["Kitchen:monitor_FL", "Office:monitor_FL"]).unwrap();
    // One player linked to both: what reaches the two sinks is the same sound in the same cycle.
    let mut command = session.command("pw-play");
    command.args(["--target", "0", "--properties", "{ node.name = both }"]).arg(&file);
    let mut player = session.spawn(command).unwrap();
    session.wait_for_ports(&["both:output_FL".into()]).unwrap();
    session.link("both:output_FL", "Kitchen:playback_FL").unwrap();
    session.link("both:output_FL", "Office:playback_FL").unwrap();
    player.wait(std::time::Duration::from_secs(20)).unwrap();
    recorder.wait_for(recorder.seconds() + 0.5).unwrap();
    let recorded = recorder.finish().unwrap();

    let series = measure::offset_series(&recorded.channels[0], &recorded.channels[1], RATE, 0.25, 0.05);
    assert!(series.offsets.len() >= 8, "{series:?}");
    let p99 = series.p99().unwrap();
    println!("{} windows, p50 {:?} s, p99 {p99:e} s", series.offsets.len(), series.p50().unwrap());
    assert!(p99 < 1e-6, "{series:?}");
}

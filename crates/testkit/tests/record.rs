//! What is played to null sinks is what is recorded from them, and both are on one clock.

use std::time::Duration;

use audera_testkit::{
    NullSink, Session, measure, or_skip,
    site::alone,
    sound,
    wav::{Samples, Sound},
};

const RATE: u32 = 48_000;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn session() -> Option<Session> {
    let session = or_skip(Session::start("desk"))?;
    session.null_sink(&NullSink::new("Kitchen")).unwrap();
    session.null_sink(&NullSink::new("Office")).unwrap();
    Some(session)
}

#[test]
fn a_recording_holds_bit_for_bit_what_was_played() {
    let _alone = alone();
    let Some(session) = session() else { return };
    let file = session.dir().join("noise.wav");
    sound::decorrelated_noise(RATE, 2, 4.25, 0.5, 1).write(&file, Samples::S16).unwrap();
    let played = Sound::read(&file).unwrap();

    let mut recorder = session.record(&["Kitchen:monitor_FL", "Kitchen:monitor_FR"]).unwrap();
    let mut player = session.play(&file, "Kitchen").unwrap();
    let ended = player.wait(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", player.output());
    // What was played last is on its way to the file.
    recorder.wait_for(recorder.seconds() + 0.5).unwrap();
    let recorded = recorder.finish().unwrap();

    // Player, sink or recorder may miss a cycle on a machine that is busy elsewhere; what a chain that resamples, scales or mixes
    // lets through is nowhere a stretch of the source.
    let follow = |channel: usize| measure::runs(&recorded.channels[channel], &played.channels[channel], measure::CYCLE);
    let runs = follow(0).unwrap_or_else(|frame| panic!("the cycle at frame {frame} is not what was played"));
    assert_eq!(Ok(&runs), follow(1).as_ref(), "both channels alike");
    println!("{runs:?}");
    let frames: usize = runs.iter().map(|run| run.frames).sum();
    // The player leaves out the end, which the extra quarter of a second is for.
    assert!(frames as f64 >= 0.8 * 4.0 * f64::from(RATE), "only {frames} frames arrived: {runs:?}");
}

#[test]
fn two_sinks_recorded_together_are_on_one_clock() {
    let _alone = alone();
    let Some(session) = session() else { return };
    let file = session.dir().join("noise.wav");
    sound::noise(RATE, 2, 8.0, 0.5, 2).write(&file, Samples::F32).unwrap();

    let mut recorder = session.record(&["Kitchen:monitor_FL", "Office:monitor_FL"]).unwrap();
    // One player linked to both: what reaches the two sinks is the same sound in the same cycle.
    let mut command = session.command("pw-play");
    command.args(["--target", "0", "--properties", "{ node.name = both }"]).arg(&file);
    let mut player = session.spawn(command).unwrap();
    session.wait_for_ports(&["both:output_FL".into()]).unwrap();
    session.link("both:output_FL", "Kitchen:playback_FL").unwrap();
    session.link("both:output_FL", "Office:playback_FL").unwrap();
    assert!(player.wait(PATIENCE).unwrap().is_some(), "{}", player.output());
    recorder.wait_for(recorder.seconds() + 0.5).unwrap();
    let recorded = recorder.finish().unwrap();

    let series = measure::offset_series(&recorded.channels[0], &recorded.channels[1], RATE, 0.25, 0.05);
    assert!(series.offsets.len() >= 8, "{series:?}");
    let p99 = series.p99().unwrap();
    println!("{} windows, p50 {:?} s, p99 {p99:e} s", series.offsets.len(), series.p50().unwrap());
    assert!(p99 < 1e-6, "{series:?}");
}

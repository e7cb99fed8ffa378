//! Formats beyond the ordinary, through the real way.

use std::path::Path;

use audera_testkit::home::Product;
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{measure, or_skip, sound};

/// 192 kHz and eight channels arrive as they are, each channel in its place.
#[test]
fn high_rates_and_many_channels_arrive_in_their_places() {
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("home").start()) else { return };
    let written = session.dir().join("room.wav");
    let output = format!("file:{}", written.display());
    let player = product.player(&session, "Archive", &["--access", "open", "--output", &output]).unwrap();
    let args = "audera.codec = pcm audera.latency.msec = 500 stream.props = { audio.rate = 192000 audio.channels = 8 }";
    let _sinks = product.module(&session, "sink", args).unwrap();
    session.sink_port("audera.Archive", "SR").unwrap();

    let file = session.dir().join("noise.wav");
    let noise = sound::decorrelated_noise(48_000, 8, 6.0, 0.2, 5);
    noise.write(&file, Samples::F32).unwrap();
    let mut command = session.command("pw-play");
    command.args(["--target", "audera.Archive", "--channel-map", "FL,FR,FC,LFE,RL,RR,SL,SR"]).arg(&file);
    let mut playing = session.spawn(command).unwrap();
    playing.wait(std::time::Duration::from_secs(60)).unwrap();
    let log = player.log().to_owned();
    player.stop().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    let heard = Sound::read(Path::new(&written)).unwrap();
    assert_eq!((heard.rate, heard.channels.len()), (192_000, 8), "{log}");
    for (place, heard) in heard.channels.iter().enumerate() {
        // There is nothing above 18 kHz to be folded down.
        let thinned: Vec<f32> = heard.iter().step_by(4).copied().collect();
        let alike =
            |source: usize| measure::offset_series(&noise.channels[source], &thinned, 48_000, 0.25, 1.0).offsets.len();
        let (own, other) = (alike(place), alike((place + 1) % 8));
        println!("channel {place}: {own} windows of its own sound, {other} of another's");
        assert!(own >= 4 && other == 0, "channel {place}: {own} windows of its own sound, {other} of another's\n{log}");
    }
}

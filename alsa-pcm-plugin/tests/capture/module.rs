//! The product's own source: an input of PipeWire's, recorded without PipeWire.

use audera_testkit::home::Home;
use audera_testkit::wav::Samples;
use audera_testkit::{measure, or_skip, sound};

use crate::{run, text};

const RATE: u32 = 48_000;

#[test]
fn an_input_of_pipewire_is_recorded_bit_by_bit() {
    let Some(home) = or_skip(Home::start("studio", &["Input"])) else { return };
    let session = &home.session;
    session.alsa_plugin().unwrap();
    let noise = sound::noise(RATE, 2, 20.0, 0.5, 1);
    let file = session.dir().join("noise.wav");
    noise.write(&file, Samples::F32).unwrap();
    let args = "audera.start = always audera.access = open audera.latency.msec = 1000";
    let _source = home.tap("Turntable", "Input", args).unwrap();
    let _playing = session.play(&file, "Input").unwrap();
    let recorded = session.dir().join("recording.wav");
    let mut command = session.command("arecord");
    command.args(["-q", "-D", "audera:Turntable", "-t", "wav", "-f", "S32_LE", "-c", "2", "-r", "48000"]);
    command.args(["--buffer-time", "1000000", "-d", "4"]).arg(&recorded);
    let output = run(command);
    assert!(output.status.success(), "{}", text(&output));
    let recorded = audera_testkit::wav::Sound::read(&recorded).unwrap();
    let left = &recorded.channels[0];
    let begin = left.iter().position(|sample| *sample != 0.0).expect("there is sound");
    println!("sound from {begin} of {}, gaps {:?}", left.len(), measure::gaps(left, 8));
    let found = measure::residual(&noise.channels[0], &left[begin..], RATE, 0.02).expect("it is the noise");
    let good = found.blocks.iter().filter(|block| block.db < -90.0).count();
    println!("{good} of {} blocks, {:?} at {}", found.blocks.len(), found.breaks, found.delay);
    // Whoever joins the graph may make it leave out a cycle; nothing is resampled, so all else is as it was.
    assert!(found.blocks.len() >= 50 && good * 10 >= found.blocks.len() * 8, "{good} of {}", found.blocks.len());
    assert!(found.drift_ppm.abs() < 0.1, "{} ppm", found.drift_ppm);
}

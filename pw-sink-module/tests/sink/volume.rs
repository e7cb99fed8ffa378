//! The sink's volume is the room's: set anywhere, seen everywhere, heard once; and never lost or too loud.

use std::f32::consts::TAU;
use std::path::PathBuf;
use std::time::Instant;

use audera_testkit::home::{Product, player_port};
use audera_testkit::record::Recorder;
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Session, or_skip};

use crate::desk::*;

/// Peak of the tone that plays.
const PEAK: f32 = 0.5;

/// Minutes of a tone, which has the same level in each second.
pub fn tone(session: &Session) -> PathBuf {
    let file = session.dir().join("tone.wav");
    let wave: Vec<f32> =
        (0..48_000 * 180).map(|n| PEAK * (TAU * 440.0 * (n % 48_000) as f32 / 48_000.0).sin()).collect();
    Sound { rate: 48_000, channels: vec![wave.clone(), wave] }.write(&file, Samples::F32).unwrap();
    file
}

/// Asks the player, as `audera-player set` does, to set this and to tell how the room is then.
pub fn set(product: &Product, session: &Session, port: u16, settings: &[&str]) -> String {
    product.set(session, &format!("127.0.0.1:{port}"), settings).unwrap()
}

/// Waits until the player, `wpctl` and `pactl` tell this volume in percent.
pub fn agree(product: &Product, session: &Session, sink: &str, port: u16, percent: u32) {
    let id = node(session, sink).unwrap()["id"].to_string();
    let mut told = String::new();
    let all = || {
        let player = set(product, session, port, &[]);
        let wpctl = session.run("wpctl", &["get-volume", &id]).ok()?;
        let pactl = session.run("pactl", &["get-sink-volume", sink]).ok()?;
        told = format!("{player}{wpctl}{pactl}");
        let agree = player.contains(&format!("volume={percent}%\n"))
            && wpctl.contains(&format!("{:.2}", f64::from(percent) / 100.0))
            && pactl.matches(&format!(" {percent}% ")).count() == 2;
        agree.then_some(())
    };
    let begun = Instant::now();
    let outcome = session.poll("all to tell one volume", all);
    if outcome.is_err() {
        tell_all(session);
        panic!("{percent} % at {sink}:\n{told}");
    }
    println!("{percent} % is told by all {:?} later", begun.elapsed());
}

/// Waits until the last second of a room is at this volume.
pub fn heard(session: &Session, recorder: &Recorder, room: usize, percent: f64) {
    let wanted = 20.0 * (f64::from(PEAK) / 2f64.sqrt()).log10() + 60.0 * (percent / 100.0).log10();
    let mut level = f64::NAN;
    let outcome = session.poll("the level", || {
        let samples = recorder.last(48_000).ok()?.swap_remove(room);
        let power = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / 48_000.0;
        level = 10.0 * power.log10();
        ((level - wanted).abs() < 0.1).then_some(())
    });
    assert!(outcome.is_ok(), "{level} dB where {wanted} dB are wanted, at {percent} %");
    println!("{percent} %: {level:.3} dB, {:+.3} dB from what is wanted", level - wanted);
}

#[test]
fn the_volume_of_a_sink_is_the_volume_of_its_room() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Bath"]);
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let bath = player(&product, &session, "Bath", &[]);
    let (port, bath_port) = (player_port(&kitchen).unwrap(), player_port(&bath).unwrap());

    // The room has its volume before there is a sink, and the sink comes with it.
    set(&product, &session, port, &["volume=40%"]);
    let _sinks = product.module(&session, "sink", "audera.codec = pcm").unwrap();
    let sink = wait_for_sink(&session, "audera.Kitchen");
    let id = sink["id"].to_string();
    agree(&product, &session, "audera.Kitchen", port, 40);

    let recorder = listen(&session, &["Kitchen", "Bath"]);
    let mut command = session.command("pw-play");
    command.args(["--target", "audera.Kitchen"]).arg(tone(&session));
    let _playing = session.spawn(command).unwrap();
    heard(&session, &recorder, 0, 40.0);

    // By the session manager's tool, by PulseAudio's, and by another peer.
    session.run("wpctl", &["set-volume", &id, "1.0"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 100);
    heard(&session, &recorder, 0, 100.0);
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "50%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 50);
    heard(&session, &recorder, 0, 50.0);
    set(&product, &session, port, &["volume=25%"]);
    agree(&product, &session, "audera.Kitchen", port, 25);
    heard(&session, &recorder, 0, 25.0);

    // Somebody else to nought, and up again from here.
    set(&product, &session, port, &["volume=0%"]);
    agree(&product, &session, "audera.Kitchen", port, 0);
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "35%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 35);

    // A balance is not kept: the louder channel is the room's volume. Nothing is louder than the limit.
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "10%", "60%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 60);
    set(&product, &session, port, &["max-volume=30%"]);
    session.run("pactl", &["set-sink-volume", "audera.Kitchen", "90%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 30);
    heard(&session, &recorder, 0, 30.0);

    // Mute, from the desktop and back from elsewhere.
    session.run("pactl", &["set-sink-mute", "audera.Kitchen", "1"]).unwrap();
    session
        .poll("mute at the player", || set(&product, &session, port, &[]).contains("mute=on\n").then_some(()))
        .unwrap();
    session
        .poll("silence", || recorder.last(24_000).ok()?[0].iter().all(|&sample| sample == 0.0).then_some(()))
        .unwrap();
    set(&product, &session, port, &["mute=off"]);
    session
        .poll("no mute at the sink", || {
            session.run("pactl", &["get-sink-mute", "audera.Kitchen"]).ok()?.contains("no").then_some(())
        })
        .unwrap();
    heard(&session, &recorder, 0, 30.0);

    // All rooms at once, in proportion; the Kitchen stays at its limit.
    set(&product, &session, port, &["volume=20%"]);
    set(&product, &session, bath_port, &["volume=40%"]);
    let everywhere = || {
        let volume = session.run("pactl", &["get-sink-volume", "audera.Everywhere"]).ok()?;
        (volume.matches(" 40% ").count() == 2).then_some(())
    };
    session.poll("the loudest room at Everywhere", everywhere).unwrap();
    session.run("pactl", &["set-sink-volume", "audera.Everywhere", "20%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 10);
    agree(&product, &session, "audera.Bath", bath_port, 20);
    session.run("pactl", &["set-sink-volume", "audera.Everywhere", "100%"]).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 30);
    agree(&product, &session, "audera.Bath", bath_port, 100);
    heard(&session, &recorder, 0, 30.0);

    // Killed: what was set is there again, and no moment is louder.
    let file = session.dir().join("state/Kitchen/room-0.toml");
    let written = || std::fs::read_to_string(&file).ok()?.contains("value = 30.0").then_some(());
    session.poll("the room's state to be written", written).unwrap();
    let from = recorder.seconds();
    kitchen.signal(9);
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let port = player_port(&kitchen).unwrap();
    agree(&product, &session, "audera.Kitchen", port, 30);
    heard(&session, &recorder, 0, 30.0);
    let sound = recorder.finish().unwrap();
    // What the recorder had seen is no later in the file; a second before is the same level.
    let from = ((from - 1.0).max(0.0) * 48_000.0) as usize;
    let loudest = sound.channels[0][from..].iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
    assert!(loudest < PEAK * 0.3f32.powi(3) * 1.05, "{loudest} after the player was killed");
}

//! Outputs other than PipeWire's: ALSA by any name, and files.

use std::path::Path;

use audera_testkit::wav::Sound;
use audera_testkit::{Session, measure};

use crate::{House, RATE, part};

/// Waits until a file has at least so many bytes.
fn wait_for_size(session: &Session, file: &Path, bytes: u64) {
    session
        .poll(&format!("{bytes} bytes in {}", file.display()), || {
            (std::fs::metadata(file).ok()?.len() >= bytes).then_some(())
        })
        .unwrap();
}

#[test]
fn an_alsa_pcm_and_a_file_get_the_samples_that_were_played_at_the_clocks_pace() {
    let Some(house) = House::start(&["Hall"]) else { return };
    let session = &house.session;
    let (pcm, wav) = (session.dir().join("pcm.raw"), session.dir().join("player.wav"));
    let asoundrc = format!(
        "pcm.recorder {{ type file slave.pcm {{ type null }} file \"{}\" format raw }}\n\
         pcm.graph {{ type pipewire playback_node \"Hall\" }}\n",
        pcm.display()
    );
    std::fs::write(session.dir().join(".asoundrc"), asoundrc).unwrap();
    let room = |room: &str, output: &str| {
        house.product.player(session, room, &["--access", "open", "--output", output]).unwrap()
    };
    let alsa = room("Kitchen", "alsa:recorder");
    let file = room("Bath", &format!("file:{}", wav.display()));
    // What is played is the matter here, not how soon: a machine that is held back is not to tear it.
    let _sinks = house.sinks("audera.latency.msec = 1000", &["Everywhere"]);
    let played = house.noise(12.0, 1);
    let _playing = session.play(&played, "audera.Everywhere").unwrap();
    session.wait_for_rooms("audera.Everywhere", &["Kitchen playing", "Bath playing"]).unwrap();
    let second = u64::from(RATE) * 8;
    wait_for_size(session, &pcm, 10 * second);
    wait_for_size(session, &wav, 10 * second);
    // Ending them completes the files.
    assert!(alsa.stop().unwrap().success());
    assert!(file.stop().unwrap().success());

    let source = Sound::read(&played).unwrap();
    let samples: Vec<f32> = std::fs::read(&pcm)
        .unwrap()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let channel = |nth: usize| samples.iter().skip(nth).step_by(2).copied().collect();
    let through_alsa = Sound { rate: RATE, channels: vec![channel(0), channel(1)] };
    for (what, sound) in [("alsa", through_alsa), ("file", Sound::read(&wav).unwrap())] {
        assert_eq!((sound.rate, sound.channels.len()), (RATE, 2));
        assert_eq!(sound.channels[0], sound.channels[1], "{what}");
        // The clocks are still being learned, which bends the rate: in pieces short enough that this is no more than a drift of each.
        // Pw-play leaves out its last cycle.
        let settled = part(&source.channels[0], 2.0, 8.0);
        let residual = measure::residual(&sound.channels[0], settled, RATE, 0.02).unwrap();
        println!("{what}: {residual:?}, gaps {:?}", measure::gaps(part(&sound.channels[0], 0.5, 8.0), 8));
        assert!(residual.blocks.len() >= 200, "{residual:?}");
        assert!(residual.db < -40.0, "{what}: {residual:?}");
        assert!(residual.drift_ppm.abs() < 1100.0 && (residual.gain - 1.0).abs() < 0.03, "{what}: {residual:?}");
        assert_eq!(measure::gaps(part(&sound.channels[0], 0.5, 8.0), 8), [], "{what}");
    }

    // PCMs that lead into the sound server, which could bring the sound back to its room.
    for (room_name, output) in [("Hall", "alsa:graph"), ("Attic", "alsa:plug:graph")] {
        let _room = room(room_name, output);
        let sink = format!("audera.{room_name}");
        session.sink_port(&sink, "FL").unwrap();
        let _noise = house.make_noise(&sink, 2);
        let rooms = session.wait_for_rooms(&sink, &[&format!("{room_name} refused")]).unwrap();
        assert!(rooms[0].reason.contains("PipeWire") && rooms[0].reason.contains("--output pipewire"), "{rooms:?}");
    }
}

#[test]
fn the_volume_of_the_players_stream_is_nobodys_second_volume_of_the_room() {
    let Some(house) = House::start(&["Hall"]) else { return };
    let session = &house.session;
    let _room = house.product.player(session, "Kitchen", &["--access", "open", "--output", "pipewire:Hall"]).unwrap();
    let _sinks = house.sinks("audera.latency.msec = 500", &["Kitchen"]);
    let rms = |samples: &[f32]| (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt();
    let noise = house.long_noise(3);
    let sent = rms(&Sound::read(&noise).unwrap().channels[0]);
    let _playing = session.play(&noise, "audera.Kitchen").unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    house.wait_for_output("Kitchen", true);
    let node = session.graph().unwrap().node("audera-player.Kitchen").unwrap().id.to_string();
    let recorder = house.recorder(&["Hall"]);
    house.wait_until_heard(&recorder, &[true]);
    let as_sent = || {
        let last = recorder.last(RATE as usize / 2).ok()?;
        let heard = rms(last.first().filter(|samples| samples.len() == RATE as usize / 2)?);
        ((heard / sent).log10() * 20.0).abs().le(&0.3).then_some(())
    };
    session.poll("the room as loud as what was sent", as_sent).unwrap();
    let [low, mute, high] = [["set-volume", &node, "0.1"], ["set-mute", &node, "1"], ["set-volume", &node, "1.4"]];
    // What is told may be as of before: that a setting was put back shows at the latest when another of the other kind has been, and the last is here for
    // the one before it.
    for setting in [low, mute, high, mute, low] {
        session.run("wpctl", &setting).unwrap();
        let told = || (session.run("wpctl", &["get-volume", &node]).ok()?.trim() == "Volume: 1.00").then_some(());
        session.poll(&format!("the stream at full volume after {setting:?}"), told).unwrap();
        session.poll(&format!("the room as loud as before {setting:?}"), as_sent).unwrap();
    }
}

//! Rooms on one host, through the real way: application, PipeWire, sink module, TLS, players, PipeWire or a file.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use audera_testkit::home::Product;
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{NullSink, Session, measure, or_skip, sound};

/// What settles may take this long, in seconds.
const SETTLING: f64 = 3.0;

/// One test at a time: what they measure is time, and two graphs at once would disturb each other's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn noise_file(session: &Session, seconds: f64) -> (Sound, std::path::PathBuf) {
    let file = session.dir().join("noise.wav");
    let noise = sound::decorrelated_noise(48_000, 2, seconds, 0.5, 1);
    noise.write(&file, Samples::F32).unwrap();
    (noise, file)
}

/// Two players on one graph stay within 0.5 ms of each other (p99 over 60 s), and play 80 ms after the sink took the sound.
///
/// `AUDERA_MINUTES` makes it last longer.
#[test]
fn everywhere_plays_in_both_rooms_in_time() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("home").start()) else { return };
    // Drives the graph and is recorded for that alone: a driver's own monitor lags behind the others by a cycle.
    session.null_sink(&NullSink::new("Metronome").driver()).unwrap();
    let kitchen = product.room(&session, &NullSink::new("Kitchen"), "Kitchen", &[]).unwrap();
    let living_room = product.room(&session, &NullSink::new("Living Room"), "Living Room", &[]).unwrap();
    let _sinks = product.module(&session, "sink", "").unwrap();
    session.wait_for_ports(&["audera.Everywhere:playback_FL".into()]).unwrap();

    let minutes =
        std::env::var("AUDERA_MINUTES").map_or(1.0, |minutes| minutes.parse().expect("AUDERA_MINUTES is a number"));
    let seconds = 60.0 * minutes;
    let (_, file) = noise_file(&session, seconds + 8.0);
    let _playing = session.play(&file, "audera.Everywhere").unwrap();
    let ports =
        ["Kitchen:monitor_FL", "Living Room:monitor_FL", "audera.Everywhere:monitor_FL", "Metronome:monitor_FL"];
    let mut recorder = session.record(&ports).unwrap();
    recorder.wait_for(SETTLING + seconds + 1.0).unwrap();
    let rooms = session.wait_for_rooms("audera.Everywhere", &["Kitchen playing", "Living Room playing"]).unwrap();
    let log = format!("{}\n{}", kitchen.output(), living_room.output());
    let recorded = recorder.finish().unwrap();
    let [kitchen, living_room, sink, _] = &recorded.channels[..] else { panic!("four channels were recorded") };

    let between = measure::offset_series(kitchen, living_room, 48_000, 0.25, 0.02).since(SETTLING);
    let latency = measure::offset_series(sink, kitchen, 48_000, 0.25, 0.2).since(SETTLING);
    let (p50, p99) = (between.p50().unwrap() * 1e6, between.p99().unwrap() * 1e6);
    let latency_ms = latency.p50().unwrap() * 1e3;
    println!("between the rooms: p50 {p50:.1} us, p99 {p99:.1} us in {} windows", between.offsets.len());
    for (room, heard) in [("Kitchen", kitchen), ("Living Room", living_room)] {
        let settled = &heard[(SETTLING * 48_000.0) as usize..];
        println!("{room}: gaps {:?}", measure::gaps(settled, 16));
    }
    println!("{rooms:?}");
    println!("from the sink to the room: {latency_ms:.2} ms");
    assert!(
        between.offsets.len() >= 220,
        "{} windows could be compared, {} were silent",
        between.offsets.len(),
        between.silent
    );
    assert!(p99 <= 500.0, "the rooms are {p99:.1} us apart (p99)\n{log}");
    assert!((latency_ms - 80.0).abs() < 1.0, "the sound is heard {latency_ms:.2} ms after the sink took it\n{log}");
}

/// With PCM, what a player writes to a file is what was played, to below -80 dB, without gap or click.
#[test]
fn a_file_output_holds_what_was_played() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("home").start()) else { return };
    let written = session.dir().join("room.wav");
    let output = format!("file:{}", written.display());
    let player = product.player(&session, "Archive", &["--access", "open", "--output", &output]).unwrap();
    let _sinks = product.module(&session, "sink", "audera.codec = pcm").unwrap();
    session.wait_for_ports(&["audera.Archive:playback_FL".into()]).unwrap();

    let (noise, file) = noise_file(&session, 22.0);
    let mut playing = session.play(&file, "audera.Archive").unwrap();
    playing.wait(std::time::Duration::from_secs(60)).unwrap();
    let log = player.log().to_owned();
    player.stop().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    let heard = Sound::read(Path::new(&written)).unwrap();
    for (channel, (heard, source)) in heard.channels.iter().zip(&noise.channels).enumerate() {
        let sounding = heard.iter().position(|&sample| sample != 0.0).expect("the sound is there");
        let last = sounding + source.len() - 48_000;
        let gaps = measure::gaps(&heard[sounding + 480..last], 4);
        assert!(gaps.is_empty(), "{gaps:?}\n{log}");
        // The rate is bent while the clocks are learned, by parts in a million that a fixed delay and drift do not describe; so the
        // comparison begins when that is over, and aligns piece by piece.
        let settled = &source[9 * 48_000..source.len() - 48_000];
        let residual = measure::residual(heard, settled, 48_000, 0.02).expect("the sound is there");
        println!("channel {channel}: {residual:?}");
        assert!(residual.db < -80.0, "{residual:?}\n{log}");
        // A click would stand out of its piece.
        assert!(residual.worst_db < -60.0, "{residual:?}\n{log}");
        assert!((residual.gain - 1.0).abs() < 1e-3, "{residual:?}");
    }
}

/// A room that one sink took from another of the same sender goes back when the first one ends: music survives a chime.
#[test]
fn a_room_goes_back_to_the_sink_it_was_taken_from() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("home").start()) else { return };
    let _kitchen = product.room(&session, &NullSink::new("Kitchen"), "Kitchen", &[]).unwrap();
    let _bath = product.room(&session, &NullSink::new("Bath"), "Bath", &[]).unwrap();
    let _sinks = product.module(&session, "sink", "").unwrap();
    let ports = ["audera.Kitchen:playback_FL".into(), "audera.Everywhere:playback_FL".into()];
    session.wait_for_ports(&ports).unwrap();
    let (_, music) = noise_file(&session, 60.0);
    let _music = session.play(&music, "audera.Kitchen").unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
    let chime = session.play(&music, "audera.Everywhere").unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen preempted"]).unwrap();
    session.wait_for_rooms("audera.Everywhere", &["Bath playing", "Kitchen playing"]).unwrap();
    chime.stop().unwrap();
    session.wait_for_rooms("audera.Kitchen", &["Kitchen playing"]).unwrap();
}

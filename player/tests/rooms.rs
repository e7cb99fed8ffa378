//! Rooms on one host, through the real way: application, PipeWire, sink module, TLS, players, PipeWire.

use audera_testkit::home::Product;
use audera_testkit::wav::Samples;
use audera_testkit::{NullSink, measure, or_skip, sound};

#[test]
fn everywhere_plays_in_both_rooms_in_time() {
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("home").start()) else { return };
    // Drives the graph and is recorded for that alone: a driver's own monitor lags behind the others by a cycle.
    session.null_sink(&NullSink::new("Metronome").driver()).unwrap();
    let _kitchen = product.room(&session, &NullSink::new("Kitchen"), "Kitchen", &[]).unwrap();
    let _living = product.room(&session, &NullSink::new("Living Room"), "Living Room", &[]).unwrap();
    let _sinks = product.module(&session, "sink", "").unwrap();
    session.wait_for_ports(&["audera.Everywhere:playback_FL".into()]).unwrap();
    println!("{}", session.run("wpctl", &["status"]).unwrap());

    let file = session.dir().join("noise.wav");
    sound::noise(48_000, 2, 20.0, 0.5, 1).write(&file, Samples::F32).unwrap();
    let _playing = session.play(&file, "audera.Everywhere").unwrap();
    let mut recorder =
        session.record(&["Kitchen:monitor_FL", "Living Room:monitor_FL", "Metronome:monitor_FL"]).unwrap();
    recorder.wait_for(12.0).unwrap();
    println!("{}", session.run("sh", &["-c", "pw-dump | grep audera.rooms"]).unwrap());
    let recorded = recorder.finish().unwrap();
    let series = measure::offset_series(&recorded.channels[0], &recorded.channels[1], 48_000, 0.25, 0.02).since(3.0);
    println!("offsets {:?} silent {} undecided {}", series.offsets.len(), series.silent, series.undecided);
    println!("p50 {:?} p99 {:?}", series.p50(), series.p99());
    assert!(series.p99().unwrap() < 0.5e-3);
}

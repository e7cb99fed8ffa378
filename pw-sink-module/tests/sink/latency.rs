//! The latency grows to what the rooms need while they play, and the graph is told.

use std::fs;

use audera_testkit::home::Product;
use audera_testkit::or_skip;
use serde_json::Value;

use crate::desk::*;

/// What one room's amplifier holds back, in ms: sound has to leave the player earlier by it.
const AMPLIFIER: f64 = 150.0;

#[test]
fn a_room_behind_a_slow_amplifier_is_waited_for() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Living Room"]);
    let config = session.dir().join("living.toml");
    fs::write(&config, format!("output-delay = {AMPLIFIER}\n")).unwrap();
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    let _living = player(&product, &session, "Living Room", &["--config", &config.display().to_string()]);
    let _sinks = product.module(&session, "sink", "").unwrap();
    wait_for_sink(&session, "audera.Everywhere");
    let recorder = listen(&session, &["Kitchen", "Living Room"]);
    let _playing = pw_play(&session, &["--target", "audera.Everywhere"]);

    wait_heard(&session, &recorder, &[true, true]);
    let latency = session
        .poll("a latency that suffices", || {
            latency(&session, "audera.Everywhere").filter(|latency| *latency > AMPLIFIER + 10.0)
        })
        .unwrap();
    println!("it has grown from 80 to {latency} ms");
    let told = || {
        let application = node(&session, "pw-play")?;
        let is_output = |object: &Value| {
            prop(object, "node.id") == prop(&application, "object.id") && prop(object, "port.direction") == "out"
        };
        let longest = |port: &Value| {
            let latencies = port["info"]["params"]["Latency"].as_array()?;
            latencies.iter().find(|latency| latency["direction"] == "Input")?["maxNs"].as_f64()
        };
        let ports = objects(&session);
        let longest = ports.iter().filter(|object| is_output(object)).filter_map(longest).fold(0.0, f64::max);
        (longest * 1e-6 > AMPLIFIER + 10.0).then_some(longest)
    };
    session.poll("the latency at the application's ports", told).unwrap();
}

//! Two hosts whose clocks and cards run apart: the product plays on both at the same true time, and tells what is true.

use std::time::Duration;

use audera_testkit::{
    Network, Process, Session,
    cable::Scenario,
    card::{Card, RunningCard, TrueTime},
    home::Product,
    measure, or_skip, sound,
    wav::Samples,
};
use serde_json::Value;

/// By how much the room believes the sender's clock to be faster than its own, in ppm.
fn skew_told(session: &Session, room: &str) -> Option<f64> {
    let graph = session.graph().ok()?;
    let rooms = graph.node("audera.Everywhere")?.properties.get("audera.rooms")?;
    let rooms: Vec<Value> = serde_json::from_str(rooms).ok()?;
    rooms.iter().find(|told| told["room"] == room)?["skew_ppm"].as_f64()
}

/// A player on a card with this crystal, both called as the room.
fn room(product: &Product, session: &Session, name: &str, ppm: f64) -> (RunningCard, Process) {
    let card = session.card(&Card::new(name).ppm(ppm)).unwrap();
    let output = format!("pipewire:{name}");
    let player = product.player(session, name, &["--access", "open", "--output", &output]).unwrap();
    (card, player)
}

/// Unaware of the clocks' skew of 100 ppm, the second room would drift by 100 us a second; unaware of their offset of hours, it
/// would not play at all. The bounds are wide, since the machine that runs this may be busy: it is the bench that is strict.
#[test]
fn rooms_on_hosts_with_clocks_apart_play_together() {
    let product = Product::find().unwrap();
    let Some(network) = or_skip(Network::new()) else { return };
    let host = |name, ppm, hours: u64, seed| {
        let builder = product.session(name).on(&network).cable(Scenario::CLEAN.cable(seed));
        builder.clock(ppm, Duration::from_secs(hours * 3600)).start()
    };
    let Some(left) = or_skip(host("left", 50.0, 2, 1)) else { return };
    let right = host("right", -50.0, 9, 2).unwrap();
    let (kitchen, kitchen_player) = room(&product, &left, "Kitchen", 100.0);
    let (bath, bath_player) = room(&product, &right, "Bath", -100.0);
    let _sinks = product.module(&left, "sink", "").unwrap();
    left.sink_port("audera.Everywhere", "FL").unwrap();
    let file = left.dir().join("noise.wav");
    sound::decorrelated_noise(48_000, 2, 60.0, 0.5, 1).write(&file, Samples::F32).unwrap();
    let _playing = left.play(&file, "audera.Everywhere").unwrap();
    left.wait_for_rooms("audera.Everywhere", &["Bath playing", "Kitchen playing"]).unwrap();

    let near = |room, skew: f64| {
        let waited = left.poll(&format!("a skew of {skew} ppm in the room {room}"), || {
            skew_told(&left, room).filter(|told| (told - skew).abs() < 25.0)
        });
        let log = format!("{}\n{}", kitchen_player.output(), bath_player.output());
        waited.unwrap_or_else(|error| panic!("{error}; told at last: {:?}\n{log}", skew_told(&left, room)))
    };
    println!("skew in Kitchen {:.2} ppm, in Bath {:.2} ppm", near("Kitchen", 0.0), near("Bath", 100.0));
    let known = TrueTime::now();
    std::thread::sleep(Duration::from_secs(4));

    for session in [&left, &right] {
        println!("{}: {:?}", session.name(), session.host().cable().unwrap().traffic());
    }
    let (kitchen, bath) = (kitchen.finish().unwrap(), bath.finish().unwrap());
    let series = measure::true_offset_series(&kitchen, &bath, 0.25, 0.1);
    let since = known.since(kitchen.time_of(0.0)) as f64 * 1e-9;
    let mut apart: Vec<f64> = series.offsets.iter().filter(|o| o.at > since).map(|o| o.seconds.abs() * 1e6).collect();
    apart.sort_unstable_by(f64::total_cmp);
    println!("us apart in true time, sorted: {apart:.1?}");
    assert!(apart.len() >= 6, "{} windows could be compared: {series:?}", apart.len());
    let median = apart[apart.len() / 2];
    assert!(median < 500.0, "the rooms are {median:.0} us apart");
}

//! The clock of the graph jumps while an application plays to a room: the application is not disturbed, and the room is soon back in time.

use audera_testkit::home::Product;
use audera_testkit::measure::{self, Holes, Reference};
use audera_testkit::or_skip;

use crate::desk::*;

const RATE: u32 = 48_000;
/// The latency that is asked for, in ms.
const LATENCY: f64 = 300.0;
/// How far the room may be from it, in ms: the part of a cycle by which the graph knows the application's sound too early or too late.
const OFF: f64 = 2.0;
/// Windows in which room and application are compared, in seconds.
const WINDOW: f64 = 0.25;
/// Longer than the way from the application to the room, in seconds.
const LONGEST_WAY: f64 = 0.6;
/// So much of the recording the room may take until it is heard without a gap again, in seconds.
const RECOVERY: f64 = 1.0;

/// A recorder, an equaliser, a second sink: what an application is linked to besides the room joins two graphs, and may bring another quantum.
#[test]
fn an_application_that_is_linked_to_something_else_is_soon_heard_in_time_again() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen", "Desk"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    let _sinks =
        product.module(&session, "sink", &format!("audera.codec = pcm audera.latency.msec = {LATENCY}")).unwrap();
    wait_for_sink(&session, "audera.Kitchen");
    let quantum = |frames: u32| {
        session.run("pw-metadata", &["-n", "settings", "0", "clock.force-quantum", &frames.to_string()]).unwrap();
    };
    quantum(2048);
    let recorder = listen(&session, &["Kitchen", "Desk"]);
    let application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_heard(&session, &recorder, &[true, false]);
    let progress = Progress::watch(&session, &application, &recorder);
    let_pass(&session, &recorder, 1.0);

    for side in ["FL", "FR"] {
        session.link(&format!("pw-play:output_{side}"), &format!("Desk:playback_{side}")).unwrap();
    }
    // The null sinks' clock jumps by a part of a cycle when the quantum changes (PipeWire 0.3.65), and the stamps of the stream with it.
    quantum(1024);
    wait_heard(&session, &recorder, &[true, true]);
    let noticed = recorder.seconds() + RECOVERY;
    let mut seen = Vec::new();
    // From less it glides back by 0.5 %. From more it does so by 0.05 %, which takes a minute: that is judged on its way.
    let back = session.poll("the latency that was asked for", || {
        let now = latency(&session, "audera.Kitchen")?;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        (now >= LATENCY && recorder.seconds() > noticed).then_some(now)
    });
    let back = back.unwrap_or_else(|error| panic!("{seen:?}: {error}"));
    let settled = recorder.seconds();
    let_pass(&session, &recorder, 3.0);
    progress.check(&recorder);
    let recorded = recorder.finish().unwrap();
    let [room, desk] = [0, 1].map(|channel| &recorded.channels[channel][..]);
    let joined = desk.iter().position(|sample| *sample != 0.0).unwrap();
    println!("linked at {:.2} s, told {seen:?} until {settled:.2} s", joined as f64 / f64::from(RATE));

    // What the application plays goes on; that a cycle is missed now and then is the machine's doing.
    let application = Holes::find(desk, joined..desk.len(), None);
    assert_eq!(application.fault(RATE), None, "the application: {application:?}");
    let latest = (LONGEST_WAY * f64::from(RATE)) as usize;
    let recovered = joined + (RECOVERY * f64::from(RATE)) as usize;
    let holes = Holes::find(room, recovered..room.len(), Some(Reference::beside(desk, latest)));
    assert_eq!(holes.fault(RATE), None, "the room: {holes:?}");
    let heard = measure::share_heard(&desk[recovered..], &room[recovered..], RATE as usize / 10).unwrap();
    assert!(heard > 0.9, "the room sounds in {heard} of the time");

    // As it is told all the way: while it glides, and when it is back.
    let least = seen.iter().fold(back, |least, told| least.min(*told));
    let most = seen.iter().fold(back, |most, told| most.max(*told));
    for (from, to, window, least) in [
        (recovered, recovered + 2 * RATE as usize, measure::GLIDING, least),
        ((settled * f64::from(RATE)) as usize, room.len(), WINDOW, LATENCY),
    ] {
        let part = |samples: &[f32]| samples[from..to.min(samples.len())].to_vec();
        let (played, heard) = (part(desk), part(room));
        let alike = measure::likeness(&played, &heard, RATE, window, LONGEST_WAY);
        let late = measure::latencies(&played, &heard, RATE, window, LONGEST_WAY);
        println!("alike to {alike}, later by {:?} ... {:?} ms", late.first(), late.last());
        assert!(alike > 0.5, "alike to {alike}: {late:?}");
        let told = least - OFF..most + OFF;
        assert!(late.iter().all(|late| told.contains(late)), "{told:?} ms were told: {late:?}");
    }
}

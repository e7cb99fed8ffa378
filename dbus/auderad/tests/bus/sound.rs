//! What plays is not disturbed, whatever happens on the bus and to `auderad`.

use std::time::{Duration, Instant};

use audera_dbus::player::Player1Proxy;
use audera_testkit::home::Home;
use audera_testkit::wav::Samples;
use audera_testkit::{measure, or_skip, sound};
use zbus::connection::Builder;
use zbus::proxy::CacheProperties;
use zbus::zvariant::Value;

use crate::desk::*;

const RATE: u32 = 48_000;
/// The longest way from what is sent to what is played, in seconds.
const LONGEST_WAY: f64 = 0.6;
/// The machine may hold players back now and then; what is lost for a larger part of the time is lost for another reason.
const ENOUGH: f64 = 0.85;

/// What settles may take this long, in seconds.
const SETTLING: f64 = 2.0;

/// Changes in a second, and for how long.
const RATE_OF_CHANGES: u32 = 1_000;
const SECONDS: u32 = 3;

#[tokio::test]
async fn sound_goes_on_through_a_thousand_changes_a_second_and_the_death_of_auderad() {
    let _alone = alone();
    let Some(home) = or_skip(Home::start("house", &["Kitchen"])) else { return };
    let _kitchen = home.room("Kitchen", &[]).unwrap();
    let _sinks = home.product.module(&home.session, "sink", "audera.codec = pcm").unwrap();
    home.session.sink_port("audera.Kitchen", "FL").unwrap();
    let noise = home.session.dir().join("noise.wav");
    sound::noise(RATE, 2, 120.0, 0.5, 1).write(&noise, Samples::F32).unwrap();
    let _playing = home.session.play(&noise, "audera.Kitchen").unwrap();
    let mut recorder =
        home.session.record(&["audera.Kitchen:monitor_FL", "Kitchen:monitor_FL", "Metronome:monitor_FL"]).unwrap();
    let sounds = || recorder.last(4_800).ok()?[1].iter().any(|sample| *sample != 0.0).then(|| recorder.seconds());
    let begin = home.session.poll("sound", sounds).unwrap() + SETTLING;
    recorder.wait_for(begin).unwrap();

    activate(&home.session);
    let bus = Builder::address(home.session.session_bus().as_str()).unwrap().build().await.unwrap();
    let path = format!("{ROOT}/players/Kitchen");
    // Not from memory: it asks before the room is known.
    let room = Player1Proxy::builder(&bus).path(path).unwrap().cache_properties(CacheProperties::No);
    let room = room.build().await.unwrap();
    let playing = || async { (room.state().await.ok()? == "playing").then_some(()) };
    until(playing).await;

    // Changes that cannot be heard, so that what is heard can be compared.
    let flood = Instant::now();
    let mut changes = tokio::time::interval(Duration::from_secs(1) / RATE_OF_CHANGES);
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..RATE_OF_CHANGES * SECONDS {
        changes.tick().await;
        let room = room.clone();
        under_way.spawn(async move { room.set_startup_volume(f64::from(number % 100)).await });
        while under_way.try_join_next().is_some() {}
    }
    println!("{} changes in {:?}", RATE_OF_CHANGES * SECONDS, flood.elapsed());
    while under_way.join_next().await.is_some() {}
    // The last word counts.
    room.set_startup_volume(50.0).await.unwrap();
    assert_eq!(room.startup_volume().await.unwrap(), 50.0);

    // Killed: nobody hears of it, and whoever asks has it back.
    let killed = owner(&bus).await;
    home.session.run("kill", &["-KILL", &killed.to_string()]).unwrap();
    until(|| async {
        (!std::path::Path::new(&format!("/proc/{killed}/stat")).exists() || is_zombie(killed)).then_some(())
    })
    .await;
    recorder.wait_for(recorder.seconds() + 2.0).unwrap();
    until(playing).await;
    assert_ne!(owner(&bus).await, killed);
    until(|| async { (room.startup_volume().await.ok()? == 50.0).then_some(()) }).await;
    let statistics = room.statistics().await.unwrap();
    assert!(statistics.contains_key("played_frames") && statistics.contains_key("sync_p99_us"), "{statistics:?}");
    assert_eq!(room.stream().await.unwrap()["title"], Value::from("Audera Kitchen").try_into().unwrap());

    let end = recorder.seconds();
    let recorded = recorder.finish().unwrap();
    let frames = (begin * f64::from(RATE)) as usize..(end * f64::from(RATE)) as usize;
    let part =
        |channel: usize| &recorded.channels[channel][frames.start..frames.end.min(recorded.channels[channel].len())];
    let alike = measure::likeness(part(0), part(1), RATE, measure::GLIDING, LONGEST_WAY);
    println!("{:.1} s, {:.1} % alike", end - begin, 100.0 * alike);
    let latencies = || measure::latencies(part(0), part(1), RATE, measure::GLIDING, LONGEST_WAY);
    assert!(alike >= ENOUGH, "{alike}: {:?}", latencies());
}

/// Waits for something, a minute at most.
async fn until<F: Future<Output = Option<()>>>(mut ready: impl FnMut() -> F) {
    let wait = async {
        while ready().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes within a minute");
}

/// The process that has `auderad`'s name.
async fn owner(bus: &zbus::Connection) -> u32 {
    let proxy = zbus::fdo::DBusProxy::new(bus).await.unwrap();
    proxy.get_connection_unix_process_id(AUDERA.try_into().unwrap()).await.unwrap()
}

/// Whether a process has ended and only its parent has not looked.
fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

//! How a room fares, as a person asks for it: from a player that plays, from one that trusts nobody, and from none.

use std::process::Output;

use audera_testkit::{Session, measure};

use crate::{House, RATE, WINDOW, address, wait_for_line};

/// Asks, with the state of the room of this name or of a stranger.
fn ask(session: &Session, state: &str, args: &[&str]) -> Output {
    let mut command = session.command(env!("CARGO_BIN_EXE_audera-player"));
    command.arg("status").args(args).arg("--state-dir").arg(session.dir().join("state").join(state));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[test]
fn whoever_is_trusted_is_told_and_nobody_else() {
    let Some(house) = House::start(&["Kitchen", "Input"]) else { return };
    let session = &house.session;
    let config = house.config("kitchen.toml", "access = \"paired\"\n");
    let args = ["--config", &config, "--output", "pipewire:Kitchen"];
    let mut player = house.product.player(session, "Kitchen", &args).unwrap();
    let host = address(&player);

    // The same user on the same host, without a stream.
    let idle = json(&ask(session, "Kitchen", &[&host, "--json"]));
    assert_eq!((&idle["state"], &idle["room"]), (&"idle".into(), &"Kitchen".into()), "{idle}");
    assert_eq!(idle.get("sender"), None, "{idle}");

    // A stranger, who is told what to do; and then does it.
    let refused = ask(session, "stranger", &[&host]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let id = said(&refused).split("id ").nth(1).unwrap()[..64].to_owned();
    std::fs::write(
        session.dir().join("state/Kitchen/trusted.toml"),
        format!("[[peer]]\nname = \"x\"\nid = \"{id}\"\n"),
    )
    .unwrap();
    player.signal(libc::SIGHUP);
    wait_for_line(&mut player, 0, &["reloaded"]);
    let told = ask(session, "stranger", &[&host]);
    assert_eq!(told.status.code(), Some(0), "{}", said(&told));
    assert!(said(&told).starts_with("room          Kitchen (idle)\n"), "{}", said(&told));

    // What another sender plays.
    std::fs::write(&config, "access = \"open\"\n").unwrap();
    player.signal(libc::SIGHUP);
    let _noise = house.make_noise("Input", 1);
    let _source = house.tap("Tap", "Input", "audera.start = always audera.rooms = [ Kitchen ]").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    // The first seconds are over: p99 is known, and the card's rate.
    let playing = session
        .poll("all figures", || {
            let told = json(&ask(session, "stranger", &[&host, "--json"]));
            let known = |key: &str| told[key].is_number();
            let figures = ["sync_error_us", "sync_p99_us", "clock_offset_us", "clock_bound_us", "skew_ppm", "card_ppm"];
            figures.into_iter().all(known).then_some(told)
        })
        .unwrap();
    println!("{}\n{}", playing, said(&ask(session, "stranger", &[&host])));
    assert_eq!((&playing["state"], &playing["title"]), (&"playing".into(), &"Tap".into()), "{playing}");
    assert!(playing["sender"].is_string() && playing.get("stream").is_none(), "{playing}");
    // One clock for both: the offset is none, but for the estimate's error.
    assert!(playing["clock_offset_us"].as_f64().unwrap().abs() < 10_000.0, "{playing}");
    // It never streams, so nobody gives way.
    assert_eq!(player.output().matches("starts to play").count(), 1, "{}", player.output());
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    // To watch goes on, and ends with the player.
    let mut command = session.command(env!("CARGO_BIN_EXE_audera-player"));
    command.args(["status", &host, "--json", "--watch", "--state-dir"]).arg(session.dir().join("state/stranger"));
    let mut watching = session.spawn(command).unwrap();
    let log = watching.log().to_owned();
    let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    watching.wait_until("the third status", || (lines() >= 3).then_some(())).unwrap();
    player.stop().unwrap();
    let ended = watching.wait(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(3), "{}", watching.output());
    assert!(watching.output().contains("the player shuts down"), "{}", watching.output());
    for line in watching.output().lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }

    let gone = ask(session, "stranger", &[&host]);
    assert_eq!(gone.status.code(), Some(3), "{}", said(&gone));
    let here = ask(session, "stranger", &["--config", &house.config("here.toml", "listen = \"127.0.0.1:7999\"\n")]);
    assert_eq!(here.status.code(), Some(3), "{}", said(&here));
    assert!(said(&here).contains("no player runs on this machine"), "{}", said(&here));
}

#[test]
fn an_output_delay_shifts_the_room_by_just_that_while_it_plays() {
    let Some(house) = House::start(&["Kitchen", "Bath", "Input"]) else { return };
    let session = &house.session;
    let _noise = house.make_noise("Input", 1);
    let config = house.config("bath.toml", "access = \"open\"\n");
    let _kitchen = house.room("Kitchen", &[]).unwrap();
    let mut bath = house.product.player(session, "Bath", &["--config", &config, "--output", "pipewire:Bath"]).unwrap();
    let args = "audera.latency.msec = 300 audera.start = always audera.rooms = [ Everywhere ]";
    let _source = house.tap("Tap", "Input", args).unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Bath playing", "Kitchen playing"]).unwrap();
    for delay in [0.0, 40.0, -25.5] {
        std::fs::write(&config, format!("access = \"open\"\noutput-delay = {delay:?}\n")).unwrap();
        let before = bath.output().len();
        bath.signal(libc::SIGHUP);
        wait_for_line(&mut bath, before, &["reloaded"]);
        let mut recorder = house.recorder(&["Kitchen", "Bath"]);
        house.wait_until_heard(&recorder, &[true, true]);
        let heard = recorder.seconds();
        recorder.wait_for(heard + 4.0).unwrap();
        let recorded = recorder.finish().unwrap();
        let frames = recorded.channels[0].len();
        let part = |channel: usize| &recorded.channels[channel][frames - 2 * RATE as usize..];
        let series = measure::offset_series(part(0), part(1), RATE, WINDOW, 0.1);
        let mut later: Vec<f64> = series.offsets.iter().map(|offset| offset.seconds * 1e3).collect();
        later.sort_by(f64::total_cmp);
        let found = later.get(later.len() / 2).copied();
        println!("output-delay {delay} ms: {found:?} ms later, {}", said(&ask(session, "Bath", &[&address(&bath)])));
        assert!(found.is_some_and(|found| (found + delay).abs() < 1.0), "{found:?} ms at a delay of {delay} ms");
    }
    assert_eq!(bath.output().matches("starts to play").count(), 1, "{}", bath.output());
}

//! Strangers and broken peers on the player's port, while a stream plays on.

use audera_testkit::measure;

use crate::{House, LONGEST_SLOW_WAY, RATE, address, likeness_within, peer, wait_for_line};

#[test]
fn bad_peers_are_closed_with_one_line_each_and_the_room_plays_on() {
    let Some(house) = House::start(&["Kitchen", "Input"]) else { return };
    let session = &house.session;
    let mut player = house.room("Kitchen", &[]).unwrap();
    let address = address(&player);
    let _noise = house.make_noise("Input", 1);
    let _source = house
        .tap("Tap", "Input", "audera.latency.msec = 1000 audera.start = always audera.rooms = [ Kitchen ]")
        .unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    let mut recorder = house.recorder(&["Kitchen", "Input"]);
    // PipeWire leaves out some cycles when a recorder comes in, and rooms report once a second.
    recorder.wait_for(3.0).unwrap();
    let before = session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    let lines = |log: &str, skip: usize| log[skip..].lines().map(str::to_owned).collect::<Vec<_>>();

    let said = player.output().len();
    let mut garbage = peer::start(session, "garbage", &address);
    wait_for_line(&mut garbage, 0, &["thrown out"]);
    wait_for_line(&mut player, said, &["turned away", "does not speak TLS"]);
    assert_eq!(lines(&player.output(), said).len(), 1, "{}", &player.output()[said..]);

    let said = player.output().len();
    let mut command = session.command("openssl");
    command.args(["s_client", "-connect", &address, "-alpn", "h2"]);
    session.spawn(command).unwrap().wait(std::time::Duration::from_secs(20)).unwrap();
    wait_for_line(&mut player, said, &["turned away", "does not speak `audera/1`"]);
    assert_eq!(lines(&player.output(), said).len(), 1, "{}", &player.output()[said..]);

    let said = player.output().len();
    let mut oversized = peer::start(session, "oversized", &address);
    wait_for_line(&mut oversized, 0, &["thrown out"]);
    let line = wait_for_line(&mut player, said, &["connection lost"]);
    println!("{line}");
    assert!(line.contains("4294967295"), "{line}");
    let told = lines(&player.output(), said);
    assert!(told.iter().filter(|line| !line.contains("sender=peer software=")).count() == 1, "{told:?}");

    // A peer that neither reads nor writes any more.
    let said = player.output().len();
    let mut mute = peer::start(session, "mute", &address);
    wait_for_line(&mut mute, 0, &["connected"]);

    let mut many = peer::start(session, "half-open", &address);
    wait_for_line(&mut many, 0, &["thrown out"]);
    let path = player.log().to_owned();
    let log = player
        .wait_until("a line for each", || {
            let log = lines(&std::fs::read_to_string(&path).ok()?, said);
            (log.iter().filter(|line| line.contains("turned away")).count() >= 50).then_some(log)
        })
        .unwrap();
    let turned = |word: &str| log.iter().filter(|line| line.contains("turned away") && line.contains(word)).count();
    println!("{} timed out, {} refused at once", turned("no complete TLS handshake"), turned("refused, because"));
    assert_eq!(turned("no complete TLS handshake") + turned("refused, because"), 50, "{log:#?}");
    // 32 at once have the time for a handshake. Others are refused, but for those that come so late that places are free again.
    assert!(turned("no complete TLS handshake") >= 25 && turned("refused, because") > 0, "{log:#?}");

    wait_for_line(&mut player, said, &["connection lost", "peer"]);

    let seconds = recorder.seconds();
    let recorded = recorder.finish().unwrap();
    let [kitchen, input] = [&recorded.channels[0][..], &recorded.channels[1][..]];
    assert!(likeness_within(input, kitchen, LONGEST_SLOW_WAY) > 0.6, "it plays on, {seconds} s");
    println!(
        "gaps {:?} in {} s, of the input {:?}",
        measure::gaps(kitchen, 8),
        kitchen.len() / RATE as usize,
        measure::gaps(input, 8)
    );
    assert_eq!(player.output().matches("starts to play").count(), 1);
    // A cycle that the graph leaves out is a gap, too; whether the room had all it needed is what the player counts.
    let after = session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    let flaws = after[0].flaws.checked_sub(before[0].flaws).expect("one and the same stream");
    assert!(flaws < u64::from(RATE), "late wake-ups of the machine account for less: {after:?}");
}

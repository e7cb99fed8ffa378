//! Rooms by name, by address and in groups; rooms that are not there, leave, and come back.

use std::path::Path;
use std::time::{Duration, Instant};

use alsa_sys as raw;
use audera_testkit::card::TrueTime;
use audera_testkit::home::player_port;

use crate::alsa::{Pcm, Wish};
use crate::house::{House, Room, clip, heard, is_program, sounds};

const RATE: u32 = 48_000;

/// How long rooms are looked for: where there is none, and where a busy machine is not to be a room that is not there.
const HASTY: &str = "wait = 3000\n";
const PATIENT: &str = "wait = 20000\n";

/// Starts the program `name` of this module on one PCM.
fn program(house: &House, name: &str, pcm: &str) -> audera_testkit::Process {
    house.session.spawn(house.program(&format!("rooms::{name}"), &[("AUDERA_TEST_PCM", pcm)])).unwrap()
}

fn pcm_name() -> Option<String> {
    is_program().then(|| std::env::var("AUDERA_TEST_PCM").unwrap())
}

/// Waits for the end of a program; what it has said.
fn end(mut program: audera_testkit::Process) -> String {
    let ended = program.wait(Duration::from_secs(60)).unwrap();
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}\n{}", program.output());
    program.output()
}

#[test]
#[ignore = "run by the tests below, on the session's host"]
fn opens_in_vain() {
    let Some(name) = pcm_name() else { return };
    let begun = Instant::now();
    let refused = Pcm::open(&name, 0).err();
    println!("refused {refused:?} after {:.3}", begun.elapsed().as_secs_f64());
}

#[test]
#[ignore = "run by the tests below, on the session's host"]
fn plays_a_clip() {
    let Some(name) = pcm_name() else { return };
    let pcm = Pcm::new(&name, Wish::USUAL);
    pcm.write(&clip(31, RATE, 2, 0.5)).unwrap();
    pcm.drain().unwrap();
}

#[test]
#[ignore = "run by the tests below, on the session's host"]
fn plays_until_it_is_told_to_stop() {
    let Some(name) = pcm_name() else { return };
    let pcm = Pcm::new(&name, Wish { period: 2_400, buffer: 24_000, ..Wish::USUAL });
    let noise = clip(32, RATE, 2, 1.0);
    let begun = Instant::now();
    loop {
        match pcm.write(&noise) {
            Ok(()) => println!("wrote"),
            // The machine may hold it up.
            Err(errno) if errno == -libc::EPIPE => drop(pcm.prepare().unwrap()),
            Err(errno) => {
                println!("{errno} after {:.3}, state {}", begun.elapsed().as_secs_f64(), pcm.state());
                println!("over {}", TrueTime::now().as_nanos());
                println!("drain {:?} prepare {:?}", pcm.drain(), pcm.prepare());
                assert_eq!((errno, pcm.state()), (-libc::ENODEV, raw::SND_PCM_STATE_DISCONNECTED));
                return;
            }
        }
    }
}

#[test]
#[ignore = "run by the tests below, on the session's host"]
fn drains_what_takes_long() {
    let Some(name) = pcm_name() else { return };
    let pcm = Pcm::new(&name, Wish { buffer: 8 * u64::from(RATE), ..Wish::USUAL });
    pcm.write(&clip(33, RATE, 2, 8.0)).unwrap();
    println!("wrote");
    println!("drain {:?} state {}", pcm.drain(), pcm.state());
    println!("over {}", TrueTime::now().as_nanos());
}

#[test]
#[ignore = "run by the tests below, on the session's host"]
fn plays_and_sets_up_anew_when_a_file_is_there() {
    let (Some(name), Ok(file)) = (pcm_name(), std::env::var("AUDERA_TEST_FILE")) else { return };
    let mut pcm = Pcm::new(&name, Wish::USUAL);
    pcm.write(&clip(31, RATE, 2, 0.5)).unwrap();
    pcm.drain().unwrap();
    println!("played");
    while !Path::new(&file).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    pcm.set_up(Wish { period: 480, ..Wish::USUAL }).unwrap();
    pcm.write(&clip(34, RATE, 2, 0.5)).unwrap();
    pcm.drain().unwrap();
}

#[test]
fn what_is_open_stays_with_its_room_when_that_gets_another_name() {
    let Some(house) = House::start() else { return };
    let (kitchen, other) = (house.room("Kitchen", &[]), house.room("Attic", &[]));
    let rename = |room: &Room, setting: &str| {
        let address = format!("127.0.0.1:{}", player_port(&room.process).unwrap());
        house.product.set(&house.session, &address, &[setting]).unwrap();
    };
    let file = house.session.dir().join("renamed");
    let variables = [("AUDERA_TEST_PCM", "raw:Kitchen"), ("AUDERA_TEST_FILE", file.to_str().unwrap())];
    let program = house.program("rooms::plays_and_sets_up_anew_when_a_file_is_there", &variables);
    let mut program = house.session.spawn(program).unwrap();
    let log = program.log().to_owned();
    let played = || std::fs::read_to_string(&log).ok().filter(|log| log.contains("played")).map(drop);
    program.wait_until("the first clip to be played", played).unwrap();
    rename(&kitchen, "name=Galley");
    house.wait_for("Galley");
    // Another room has the name now, and nothing that was for the first.
    rename(&other, "name=Kitchen");
    house.wait_for("Kitchen");
    std::fs::write(&file, "").unwrap();
    end(program);
    let recording = kitchen.finish().remove(0);
    for seed in [31, 34] {
        let heard = heard(&recording.channels[0], &clip(seed, RATE, 2, 0.5)[0], RATE);
        assert!(heard.is_some_and(|heard| heard.is_whole()), "{seed}: {heard:?}");
    }
    let strange = other.finish();
    assert!(strange.iter().all(|sound| sounds(&sound.channels[0], RATE).is_empty()), "{}", strange.len());
}

/// When a program was over, ns of the machine's clock.
fn over(said: &str) -> i64 {
    said.lines().find_map(|line| line.strip_prefix("over ")?.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Everything that a room has heard of the clip.
fn hears(room: Room) -> bool {
    let recordings = room.finish();
    let source = clip(31, RATE, 2, 0.5);
    recordings.first().is_some_and(|sound| {
        sound.channels.iter().zip(&source).all(|(channel, source)| {
            let heard = heard(channel, source, RATE);
            println!("{heard:?}");
            heard.is_some_and(|heard| heard.is_whole())
        })
    })
}

#[test]
fn a_name_means_a_room_a_group_or_all_and_nothing_else_is_accepted() {
    let Some(house) = House::start() else { return };
    let config = house.session.dir().join("downstairs.toml");
    std::fs::write(&config, "groups = [\"Downstairs\"]\n").unwrap();
    let downstairs = ["--config", config.to_str().unwrap()];
    let (kitchen, hall) = (house.room("Kitchen", &downstairs), house.room("Hall", &downstairs));
    let attic = house.room("Attic", &[]);

    house.session.alsa_options(HASTY).unwrap();
    let said = end(program(&house, "opens_in_vain", "raw:Cellar"));
    house.session.alsa_options(PATIENT).unwrap();
    println!("{said}");
    let list = "there is no room or group \"Cellar\": there are \"Attic\", \"Downstairs\", \"Everywhere\", \"Hall\", \"Kitchen\"";
    assert!(said.contains(list), "{said}");
    let after = said.split(" after ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    println!("refused after {after:?} s");
    // All but the last second it is looked for; and a machine that is held up is not to be a hang.
    assert!(after.is_some_and(|after| (2.0..12.0).contains(&after)), "{after:?}");
    assert!(said.contains(&format!("refused Some({})", -libc::ENODEV)), "{said}");

    // The group's rooms hear it, another does not.
    end(program(&house, "plays_a_clip", "raw:Downstairs"));
    assert!(hears(kitchen) && hears(hall));
    // By its address.
    let address = format!("127.0.0.1:{}", player_port(&attic.process).unwrap());
    end(program(&house, "plays_a_clip", &format!("raw:\"{address}\"")));
    let recording = attic.finish().remove(0).channels.remove(0);
    let runs = sounds(&recording, RATE);
    assert_eq!(runs.len(), 1, "{runs:?}");
    // And everything is an error once nobody is there.
    house.session.alsa_options(HASTY).unwrap();
    let said = end(program(&house, "opens_in_vain", "raw:Everywhere"));
    assert!(said.contains("no room was found") || said.contains("cannot be played to"), "{said}");
}

#[test]
fn a_room_that_leaves_is_waited_for_and_plays_again_when_it_is_back() {
    let Some(house) = House::start() else { return };
    let kitchen = house.room("Kitchen", &[]);
    let mut application = program(&house, "plays_until_it_is_told_to_stop", "raw:Kitchen");
    let written = |application: &audera_testkit::Process| application.output().matches("wrote").count();
    let wait = |application: &mut audera_testkit::Process, count: usize| {
        let log = application.log().to_owned();
        let enough =
            || std::fs::read_to_string(&log).ok().filter(|log| log.matches("wrote").count() >= count).map(drop);
        application.wait_until("the application writing on", enough).unwrap();
    };
    wait(&mut application, 2);
    let before = kitchen.finish();
    assert!(!sounds(&before[0].channels[0], RATE).is_empty());
    // It leaves for a second or so.
    let count = written(&application);
    wait(&mut application, count + 1);
    let again = house.room("Kitchen", &[]);
    let mut process = again.process;
    let plays_again = |process: &mut audera_testkit::Process| {
        let log = process.log().to_owned();
        let plays = || std::fs::read_to_string(&log).ok().filter(|log| log.contains("starts to play")).map(drop);
        process.wait_until("the room playing again", plays).unwrap();
    };
    plays_again(&mut process);
    let count = written(&application);
    wait(&mut application, count + 1);

    // The program stands still meanwhile, as on a machine that was suspended: all its connections are dead when it goes on.
    application.signal(libc::SIGSTOP);
    process.stop().unwrap();
    let mut process = house.room("Kitchen", &[]).process;
    application.signal(libc::SIGCONT);
    plays_again(&mut process);
    let count = written(&application);
    wait(&mut application, count + 1);
    drop(application);

    // With little patience: another program takes the room, which is there all the same, and then leaves for good.
    let mut taken = program(&house, "plays_until_it_is_told_to_stop", "raw:Kitchen,500,1");
    wait(&mut taken, 2);
    let mut draining = program(&house, "drains_what_takes_long", "raw:Kitchen,500,1");
    wait(&mut draining, 1);
    let count = written(&taken);
    wait(&mut taken, count + 3);
    let leaves = TrueTime::now().as_nanos();
    process.stop().unwrap();
    let left = TrueTime::now().as_nanos();
    let (taken, drained) = (end(taken), end(draining));
    // A drain ends as well, and not as if all had been heard.
    let refused = format!("drain Err({}) state {}", -libc::ENODEV, raw::SND_PCM_STATE_DISCONNECTED);
    assert!(drained.contains(&refused), "{drained}");
    for said in [taken, drained] {
        assert!(said.contains("has been away for too long"), "{said}");
        println!("{}", said.lines().filter(|line| !line.contains("wrote")).collect::<Vec<_>>().join("\n"));
        let (since, after) = ((over(&said) - leaves) as f64 * 1e-9, (over(&said) - left) as f64 * 1e-9);
        println!("over {since:.3} s after the room began to leave, {after:.3} after it had left");
        // As much as was set, and not much more, with time for a machine that is held up.
        assert!(since >= 1.0 && after < 12.0, "{since} {after}");
    }
}

//! The module entry and a sink, in a process of its own beside a real daemon and in the daemon.

use std::fs;
use std::path::Path;

use crate::session::{Session, probe_entry};

/// Noise that no volume, conversion or dither could leave as it is.
fn noise(frames: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..frames * 2)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

fn write_wav(path: &Path, samples: &[f32]) {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let length = u32::try_from(data.len()).expect("a short file");
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + length).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x03\0\x02\0");
    wav.extend(48_000_u32.to_le_bytes());
    wav.extend((48_000_u32 * 8).to_le_bytes());
    wav.extend(b"\x08\0\x20\0data");
    wav.extend(length.to_le_bytes());
    wav.extend(data);
    fs::write(path, wav).expect("a sound file");
}

fn recorded(session: &Session) -> Vec<f32> {
    let bytes = fs::read(session.path("probe/samples.f32")).expect("the probe's recording");
    bytes.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().expect("four bytes"))).collect()
}

fn play(session: &Session, samples: &[f32]) -> std::process::Output {
    let file = session.path("played.wav");
    write_wav(&file, samples);
    session.run("pw-play", &["--target", "audera.probe", file.to_str().expect("UTF-8")])
}

#[test]
fn a_sink_in_its_own_process_gets_every_sample_and_shows_its_latency() {
    let mut session = Session::start("");
    let host = session.host_probe("probe.latency.msec = 123");
    let sink = session.until("the sink has its ports", || {
        session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2)
    });
    let properties = &sink["info"]["props"];
    assert_eq!(properties["media.class"], "Audio/Sink");
    assert_eq!(properties["node.description"], "Audera Probe");
    assert_eq!(properties["node.network"], true);

    // Two minutes, which are not played to their end: reading the graph may take a busy machine its time.
    let played = noise(120 * 48_000);
    let file = session.path("played.wav");
    write_wav(&file, &played);
    let player = session.spawn("pw-play", &["--target", "audera.probe", file.to_str().expect("UTF-8")]);
    session.until("the player's ports show the sink's latency", || {
        let graph = session.dump();
        let player = graph.iter().find(|object| object["info"]["props"]["node.name"] == "pw-play")?;
        graph
            .iter()
            .filter(|object| {
                object["info"]["direction"] == "output" && object["info"]["props"]["node.id"] == player["id"]
            })
            .flat_map(|port| port["info"]["params"]["Latency"].as_array().cloned().unwrap_or_default())
            .any(|latency| {
                latency["direction"] == "Input" && latency["minNs"] == 123_000_000 && latency["maxNs"] == 123_000_000
            })
            .then_some(())
    });
    session.until("three seconds have been played", || (session.offset(player, &file)? > 3 * 48_000 * 8).then_some(()));
    session.noted("first cycle");

    assert!(session.end(host), "the host ends cleanly\n{}", session.logs());
    assert!(session.notes().lines().any(|line| line == "unloaded"), "{}", session.notes());
    let cycles = fs::read_to_string(session.path("probe/cycles.csv")).expect("the probe's cycles");
    let cycles = rows(&cycles);
    assert_cycles_follow_the_driver(&cycles);
    assert_cycles_hold_what_was_played(&cycles, &recorded(&session), &played);
}

/// The columns of the probe's table of cycles.
const COLUMNS: [&str; 7] = ["frames", "now", "ticks", "time", "position", "duration", "broken"];

/// A cycle as the probe saw it.
struct Row {
    frames: i64,
    now: i64,
    ticks: i64,
    time: i64,
    position: i64,
    duration: i64,
    broken: bool,
}

fn rows(csv: &str) -> Vec<Row> {
    let mut lines = csv.lines();
    let heading: Vec<&str> = lines.next().expect("a heading").split(',').collect();
    let places = COLUMNS.map(|name| heading.iter().position(|column| *column == name).expect("a column"));
    let read = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [frames, now, ticks, time, position, duration, broken] = places.map(|place| cells[place]);
        let number = |cell: &str| cell.parse().expect("a number");
        Row {
            frames: number(frames),
            now: number(now),
            ticks: number(ticks),
            time: number(time),
            position: number(position),
            duration: number(duration),
            broken: broken == "true",
        }
    };
    lines.map(read).collect()
}

/// `pw_time` and the driver's clock agree, and the time of each cycle follows from the frames before it. A machine that is busy
/// elsewhere wakes the driver late now and then, whose clocks then disagree for a cycle.
fn assert_cycles_follow_the_driver(rows: &[Row]) {
    assert!(rows.len() > 10, "{} cycles", rows.len());
    assert!(rows[0].broken, "the first cycle follows on from nothing");
    let mut consistent = 0;
    for pair in rows.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(after.frames, after.duration);
        let step = after.position - before.position;
        assert_eq!(after.broken, step != before.duration, "a jump is told, and nothing else is");
        let late = after.now - before.now - step * 1_000_000_000 / 48_000;
        let in_time = after.broken || late.abs() <= 1_000;
        consistent += usize::from(after.now == after.time && after.ticks - before.ticks == step && in_time);
    }
    assert!(consistent * 100 >= 95 * (rows.len() - 1), "{consistent} of {} cycles are consistent", rows.len() - 1);
}

/// Each cycle that is not silent is an exact stretch of what was played, one after the other, and hardly anything is missing.
fn assert_cycles_hold_what_was_played(rows: &[Row], recorded: &[f32], played: &[f32]) {
    let (mut at, mut next, mut first, mut arrived) = (0, 0, None, 0);
    for row in rows {
        let samples = usize::try_from(row.frames).expect("small") * 2;
        let block = &recorded[at..at + samples];
        at += samples;
        if block.iter().all(|&sample| sample == 0.0) {
            continue;
        }
        let is_at = |from: &usize| played.get(*from..*from + samples) == Some(block);
        let found = (next..played.len()).step_by(2).find(is_at);
        let from = found.unwrap_or_else(|| panic!("the cycle at sample {at} is not what was played from {next} on"));
        first.get_or_insert(from);
        next = from + samples;
        arrived += samples;
    }
    let passed = next - first.expect("something was recorded");
    println!("{arrived} of {passed} samples arrived");
    assert!(passed >= 2 * 48_000 * 2 && arrived * 10 >= passed * 8, "{arrived} of {passed} samples arrived");
}

#[test]
fn in_the_daemon_it_unloads_when_told_and_with_the_daemon() {
    for told in [true, false] {
        let dir = tempfile::TempDir::new().expect("a directory");
        let mut session = Session::start(&probe_entry(dir.path(), ""));
        let notes = || fs::read_to_string(dir.path().join("events")).unwrap_or_default();
        session.until("the sink has its ports", || {
            session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2)
        });
        assert!(play(&session, &noise(4_800)).status.success());
        if told {
            let module = session.dump().into_iter().find(|object| {
                object["type"] == "PipeWire:Interface:Module"
                    && object["info"]["name"] == "libpipewire-module-audera-probe-sink"
            });
            let module = module.expect("the module is listed");
            assert_eq!(module["info"]["props"]["module.description"], "Audera's probe");
            // Since PipeWire 0.3.77 no client may destroy a module; there its connection is taken away, without which it unloads itself.
            let mut may = module["permissions"].as_array().expect("permissions").iter();
            let sink = session.node("audera.probe").expect("the sink");
            let object = if may.any(|one| one == "x") { &module["id"] } else { &sink["info"]["props"]["client.id"] };
            session.run("pw-cli", &["destroy", &object.to_string()]);
            session.until("it has unloaded", || notes().contains("unloaded").then_some(()));
            session.until("the sink is gone", || session.node("audera.probe").is_none().then_some(()));
            assert!(session.node("silent").is_some(), "the daemon goes on");
        }
        assert!(session.end(Session::DAEMON), "the daemon ends cleanly\n{}", session.logs());
        assert_eq!(notes().matches("unloaded").count(), 1);
    }
}

#[test]
fn a_lost_daemon_unloads_the_module_and_leaves_its_host() {
    let mut session = Session::start("");
    let host = session.host_probe("");
    session.until("the sink is there", || session.node("audera.probe"));
    assert!(session.end(Session::DAEMON));
    session.noted("core Lost");
    session.noted("unloaded");
    assert!(session.is_running(host), "the host goes on\n{}", session.logs());
    assert!(session.end(host), "and ends cleanly\n{}", session.logs());
}

#[test]
fn a_panic_in_process_silences_the_stream_and_nothing_else() {
    let mut session = Session::start("");
    let host = session.host_probe("probe.panic-after = 5");
    session.until("the sink has its ports", || {
        session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2)
    });
    assert!(play(&session, &noise(48_000)).status.success(), "the application plays on");
    session.noted("ProcessPanicked");
    assert!(play(&session, &noise(4_800)).status.success(), "and may come again");
    assert_eq!(session.notes().matches("ProcessPanicked").count(), 1);
    assert!(session.is_running(host));
    assert!(session.end(host), "{}", session.logs());
}

#[test]
fn refusals_name_what_was_wrong_and_leave_the_host() {
    let mut session = Session::start("");
    for (args, told) in [
        ("probe.latency.msec = soon", "argument probe.latency.msec = soon: expected an integer from 0 to 10000"),
        ("probe.nodes = x", "unknown argument probe.nodes"),
        ("probe.panic-in-init = true", "caught a panic in a module's init"),
    ] {
        let host = session.host_probe(args);
        session.until(told, || session.logs().contains(told).then_some(()));
        assert!(session.is_running(host), "the host goes on after {told}");
        assert!(session.end(host));
    }
    assert!(!session.notes().contains("loaded"));
}

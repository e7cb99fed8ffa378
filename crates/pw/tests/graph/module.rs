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
    // A machine that is busy with something else may miss a cycle of pw-play's; three in a row have another cause.
    assert!((0..3).any(|_| played_bit_for_bit()), "what was recorded is never what was played");
}

/// Plays noise to the sink, checks what does not depend on the machine's load, and tells whether every sample came through.
fn played_bit_for_bit() -> bool {
    let mut session = Session::start("");
    let host = session.host_probe("probe.latency.msec = 123");
    let sink = session.until("the sink has its ports", || {
        session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2)
    });
    let properties = &sink["info"]["props"];
    assert_eq!(properties["media.class"], "Audio/Sink");
    assert_eq!(properties["node.description"], "Audera Probe");
    assert_eq!(properties["node.network"], true);

    let played = noise(96_000);
    let file = session.path("played.wav");
    // pw-play 0.3.65 loses its last, partly filled buffer: silence behind the noise takes that.
    write_wav(&file, &[&played[..], &[0.0; 2 * 8192]].concat());
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
    session.until("pw-play ends", || (!session_running(&session, player)).then_some(()));
    session.noted("first cycle");

    assert!(session.end(host), "the host ends cleanly\n{}", session.logs());
    assert!(session.notes().lines().any(|line| line == "unloaded"), "{}", session.notes());
    let recorded = recorded(&session);
    assert_cycles_follow_the_driver(&fs::read_to_string(session.path("probe/cycles.csv")).expect("the probe's cycles"));
    let start = recorded.iter().position(|&sample| sample != 0.0).expect("something was recorded");
    let start = start - start % 2;
    recorded.get(start..start + played.len()) == Some(&played[..])
}

/// `pw_time` and the driver's clock agree, and the time of each cycle follows from the frames before it.
fn assert_cycles_follow_the_driver(csv: &str) {
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert!(rows.len() > 10, "{csv}");
    let number = |row: &[&str], column: usize| row[column].parse::<i64>().expect("a number");
    let (frames, now, ticks, time, position, duration) = (0, 1, 2, 8, 10, 11);
    assert_eq!(rows[0][14], "true", "the first cycle follows on from nothing");
    for pair in rows.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(number(after, now), number(after, time));
        assert_eq!(number(after, frames), number(after, duration));
        let step = number(after, position) - number(before, position);
        assert_eq!(number(after, ticks) - number(before, ticks), step);
        assert_eq!(after[14] == "true", step != number(before, duration));
        if after[14] == "false" {
            let late = number(after, now) - number(before, now) - step * 1_000_000_000 / 48_000;
            assert!(late.abs() <= 1_000, "the timer of the null driver does not drift: {late} ns");
        }
    }
}

/// `until` holds the session, so ask the system rather than wait for the child.
fn session_running(session: &Session, index: usize) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", session.id(index))).unwrap_or_default();
    !(stat.is_empty() || stat.contains(") Z "))
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
            session.run("pw-cli", &["destroy", &module["id"].to_string()]);
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

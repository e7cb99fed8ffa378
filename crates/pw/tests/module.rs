//! The module entry and a sink, in a process of its own beside a real daemon and in the daemon.

mod session;

use std::fs;
use std::path::Path;

use session::Session;

/// `pipewire -c` needs no more than this to run modules.
fn host_config(module: &str) -> String {
    format!(
        "context.properties = {{ log.level = 3 }}\n\
         context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}\n\
         context.modules = [ {{ name = libpipewire-module-protocol-native }} {{ name = libpipewire-module-client-node }}\n\
         {{ name = libpipewire-module-adapter }} {module} ]\n"
    )
}

/// Runs the probe in a process of its own.
fn host_probe(session: &mut Session, args: &str) -> usize {
    let config = session.path("host.conf");
    fs::write(&config, host_config(&session.probe_entry(args))).expect("configuration");
    session.spawn("pipewire", &["-c".as_ref(), config.as_os_str()])
}

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
    let host = host_probe(&mut session, "probe.latency.msec = 123");
    let sink = session.until("the sink has its ports", || {
        session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2)
    });
    let properties = &sink["info"]["props"];
    assert_eq!(properties["media.class"], "Audio/Sink");
    assert_eq!(properties["node.description"], "Audera Probe");
    assert_eq!(properties["node.network"], true);

    let played = noise(96_000);
    let file = session.path("played.wav");
    write_wav(&file, &played);
    let player = session.spawn("pw-play", &["--target", "audera.probe", file.to_str().expect("UTF-8")]);
    session.until("the player's ports show the sink's latency", || {
        let ports: Vec<_> = session.dump();
        ports
            .iter()
            .filter(|object| object["info"]["direction"] == "output" && object["type"] == "PipeWire:Interface:Port")
            .flat_map(|port| port["info"]["params"]["Latency"].as_array().cloned().unwrap_or_default())
            .any(|latency| latency["direction"] == "Input" && latency["min-ns"] == 123_000_000 && latency["max-ns"] == 123_000_000)
            .then_some(())
    });
    session.until("pw-play ends", || (!session_running(&session, player)).then_some(()));
    session.noted("first cycle");

    assert!(session.end(host), "the host ends cleanly\n{}", session.logs());
    assert!(session.notes().lines().any(|line| line == "unloaded"), "{}", session.notes());
    let recorded = recorded(&session);
    let start = recorded.iter().position(|&sample| sample != 0.0).expect("something was recorded");
    let start = start - start % 2;
    assert_eq!(recorded.get(start..start + played.len()), Some(&played[..]), "bit for bit what was played");
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
        let mut session = Session::start(&session::probe_entry(dir.path(), ""));
        let notes = || fs::read_to_string(dir.path().join("events")).unwrap_or_default();
        session.until("the sink has its ports", || session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2));
        assert!(play(&session, &noise(4_800)).status.success());
        if told {
            let module = session.dump().into_iter().find(|object| {
                object["type"] == "PipeWire:Interface:Module" && object["info"]["name"] == "libpipewire-module-audera-probe-sink"
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
    let host = host_probe(&mut session, "");
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
    let host = host_probe(&mut session, "probe.panic-after = 5");
    session.until("the sink has its ports", || session.node("audera.probe").filter(|node| node["info"]["n-input-ports"] == 2));
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
        let host = host_probe(&mut session, args);
        session.until(told, || session.logs().contains(told).then_some(()));
        assert!(session.is_running(host), "the host goes on after {told}");
        assert!(session.end(host));
    }
    assert!(!session.notes().contains("loaded"));
}

//! What the tests share: a desk with rooms, sound that plays there, and what was heard in the rooms.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audera_testkit::home::Product;
use audera_testkit::record::Recorder;
pub use audera_testkit::site::alone;
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{NullSink, Process, Session, sound};
use serde_json::Value;

/// Frames in a look at what is heard: long enough that noise is never silent by chance, short enough to be now.
const LOOK: usize = 9_600;

/// A command of the session with another before it.
pub fn wrapped(session: &Session, wrap: &[String], words: &[&str]) -> std::process::Command {
    let all: Vec<&str> = wrap.iter().map(String::as_str).chain(words.iter().copied()).collect();
    let mut command = session.command(all[0]);
    command.args(&all[1..]).env("PIPEWIRE_DEBUG", "2,mod.rt:0");
    command
}

/// The rooms' null sinks and the one that drives the graph, which is recorded for that alone.
pub fn furnish(session: &Session, rooms: &[&str]) {
    session.null_sink(&NullSink::new("Metronome").driver()).unwrap();
    for room in rooms {
        session.null_sink(&NullSink::new(room)).unwrap();
    }
}

/// An open player on the null sink of its name.
pub fn player(product: &Product, session: &Session, room: &str, args: &[&str]) -> Process {
    let output = format!("pipewire:{room}");
    let all: Vec<&str> = ["--access", "open", "--output", &output].into_iter().chain(args.iter().copied()).collect();
    product.player(session, room, &all).unwrap()
}

/// Records what the rooms play, by their null sinks; the driver comes last.
pub fn listen(session: &Session, rooms: &[&str]) -> Recorder {
    let ports: Vec<String> = rooms.iter().chain(&["Metronome"]).map(|room| format!("{room}:monitor_FL")).collect();
    session.record(&ports.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

/// Minutes of noise, in a file, which never repeats itself: what was heard tells when it was played.
pub fn long_noise(session: &Session) -> PathBuf {
    let file = session.dir().join("noise.wav");
    if !file.exists() {
        let long: Vec<f32> =
            (1..=60).flat_map(|seed| sound::noise(48_000, 1, 4.0, 0.5, seed).channels.remove(0)).collect();
        // As floats: samples of a 16-bit file were seen all over the graph's shared memory when PipeWire 0.3.65's pw-play played it.
        Sound { rate: 48_000, channels: vec![long.clone(), long] }.write(&file, Samples::F32).unwrap();
    }
    file
}

/// Plays noise with `pw-play` and these further arguments.
pub fn pw_play(session: &Session, args: &[&str]) -> Process {
    let mut command = session.command("pw-play");
    command.args(args).arg(long_noise(session));
    session.spawn(command).unwrap()
}

/// Waits until each room of the recording sounds (`true`) or is silent.
pub fn wait_heard(session: &Session, recorder: &Recorder, wanted: &[bool]) {
    let heard = || {
        let last = recorder.last(LOOK).unwrap();
        let full = last[0].len() == LOOK;
        let sounds = |samples: &Vec<f32>| (samples.iter().map(|s| s * s).sum::<f32>() / LOOK as f32).sqrt();
        let heard: Vec<Option<bool>> = last[..wanted.len()]
            .iter()
            .map(|samples| match sounds(samples) {
                0.0 => Some(false),
                rms if rms > 0.01 => Some(true),
                _ => None,
            })
            .collect();
        (full && heard.iter().zip(wanted).all(|(heard, wanted)| *heard == Some(*wanted))).then_some(())
    };
    if let Err(error) = session.poll(&format!("sound in the rooms as {wanted:?}"), heard) {
        tell_all(session);
        panic!("{error}");
    }
}

/// Waits until the recording is longer by so many seconds: time that passes in the graph.
pub fn let_pass(session: &Session, recorder: &Recorder, seconds: f64) {
    let until = recorder.seconds() + seconds;
    session.poll("time to pass", || (recorder.seconds() > until).then_some(())).unwrap();
}

/// What may explain a failure: the graph and what everybody has said.
pub fn tell_all(session: &Session) {
    println!("{}\n{}", session.run("wpctl", &["status"]).unwrap(), session.run("pw-link", &["-l"]).unwrap());
    for object in objects(session) {
        let (name, rooms) = (prop(&object, "node.name"), prop(&object, "audera.rooms"));
        if !name.is_empty() {
            println!("{name} is {} {rooms}", object["info"]["state"]);
        }
    }
    for entry in fs::read_dir(session.log_dir()).unwrap() {
        let path = entry.unwrap().path();
        println!("--- {}\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default());
    }
}

/// All objects of the graph.
pub fn objects(session: &Session) -> Vec<Value> {
    session.objects().unwrap()
}

/// The node of this name, if there is one.
pub fn node(session: &Session, name: &str) -> Option<Value> {
    objects(session).into_iter().find(|object| prop(object, "node.name") == name)
}

/// A property of an object, as text; empty when it is not there.
pub fn prop(object: &Value, key: &str) -> String {
    match &object["info"]["props"][key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Waits for the sink of this node name and returns it.
pub fn wait_for_sink(session: &Session, name: &str) -> Value {
    session.sink_port(name, "FL").unwrap();
    session.poll(&format!("the node {name}"), || node(session, name)).unwrap()
}

/// Waits until there is no node of this name.
pub fn wait_until_gone(session: &Session, name: &str) {
    session.poll(&format!("end of {name}"), || node(session, name).is_none().then_some(())).unwrap();
}

/// The rooms a sink plays to, as its node tells.
pub fn rooms(session: &Session, name: &str) -> Vec<Value> {
    let text = node(session, name).map(|node| prop(&node, "audera.rooms")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The present latency of a sink as its node tells it, in ms.
pub fn latency(session: &Session, name: &str) -> Option<f64> {
    prop(&node(session, name)?, "audera.latency").parse().ok()
}

/// Waits until a sink says that it plays to these rooms, and returns its report.
pub fn wait_until_playing(session: &Session, name: &str, wanted: &[&str]) -> Vec<Value> {
    session
        .poll(&format!("{name} to play"), || {
            let rooms = rooms(session, name);
            let playing =
                |wanted: &&str| rooms.iter().any(|room| room["room"] == *wanted && room["state"] == "playing");
            (rooms.len() == wanted.len() && wanted.iter().all(playing)).then_some(rooms)
        })
        .unwrap()
}

/// How far an application has read its file, in frames of stereo floats.
pub fn position(application: &Process, file: &Path) -> u64 {
    let pid = application.pid();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let entry = entry.unwrap();
        if fs::read_link(entry.path()).is_ok_and(|target| target == file) {
            let number = entry.file_name().into_string().unwrap();
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
            let line = info.lines().find_map(|line| line.strip_prefix("pos:")).unwrap();
            return line.trim().parse::<u64>().unwrap() / 8;
        }
    }
    panic!("{} is not open in process {pid}", file.display());
}

/// Watches an application over a time: it must go on in its file whatever happens behind the sink.
pub struct Progress<'a> {
    application: &'a Process,
    file: PathBuf,
    position: u64,
    seconds: f64,
}

impl<'a> Progress<'a> {
    pub fn watch(session: &Session, application: &'a Process, recorder: &Recorder) -> Self {
        let file = fs::canonicalize(long_noise(session)).unwrap();
        Progress { position: position(application, &file), application, file, seconds: recorder.seconds() }
    }

    /// Fails when the application stands still, or has played less than half of the time that has passed in the graph of the
    /// recording. That it may have missed cycles, or that graph, is the machine's doing.
    pub fn check(&self, recorder: &Recorder) {
        /// Only catches what hangs.
        const PATIENCE: Duration = Duration::from_secs(60);
        let deadline = Instant::now() + PATIENCE;
        let now = position(self.application, &self.file);
        // A stalled graph asks for nothing: a second more of the file is not what was in some buffer already.
        while position(self.application, &self.file) < now + 48_000 {
            assert!(Instant::now() < deadline, "the application stands still in its file");
            std::thread::sleep(Duration::from_millis(50));
        }
        let played = (position(self.application, &self.file) - self.position) as f64 / 48_000.0;
        let passed = recorder.seconds() - self.seconds;
        println!("the application played {played:.2} s while {passed:.2} s passed");
        assert!(played > 0.5 * passed - 1.0, "the application played {played} s while {passed} s passed");
    }
}

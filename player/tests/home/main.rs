//! The player in real sessions: PipeWire, WirePlumber, Avahi, senders, and peers that misbehave.

mod limits;
mod loops;
mod outputs;
mod peer;
mod service;
mod streams;
mod surroundings;
mod time;
mod trust;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use audera_testkit::home::{Home, player_port};
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Process, measure, or_skip, sound};

const RATE: u32 = 48_000;
/// Length of a window in which two recordings are compared, in seconds.
const WINDOW: f64 = 0.25;
/// Longer than any way from an input to a room here.
const LONGEST_WAY: f64 = 0.6;

/// A session, alone on this machine as far as these tests go: what is heard is not to be disturbed by other tests.
struct House {
    home: Home,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for House {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

/// Waits until no other test is in its session.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    /// With these null sinks, made before anything plays; `None` where sessions are not possible.
    fn start(sinks: &[&str]) -> Option<Self> {
        let alone = alone();
        Some(House { home: or_skip(Home::start("house", sinks))?, _alone: alone })
    }

    /// A configuration file for a player.
    fn config(&self, name: &str, text: &str) -> String {
        let file = self.session.dir().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Noise of its own for each `seed`, as a file.
    fn noise(&self, seconds: f64, seed: u64) -> PathBuf {
        let file = self.session.dir().join(format!("noise-{seed}.wav"));
        sound::noise(RATE, 2, seconds, 0.5, seed).write(&file, Samples::F32).unwrap();
        file
    }

    /// Plays noise to a sink for 40 s.
    fn make_noise(&self, sink: &str, seed: u64) -> Process {
        self.session.play(&self.noise(40.0, seed), sink).unwrap()
    }

    /// Starts the sink module and waits for these rooms' sinks.
    fn sinks(&self, args: &str, rooms: &[&str]) -> Process {
        let process = self.product.module(&self.session, "sink", &format!("audera.codec = pcm {args}")).unwrap();
        let ports: Vec<String> = rooms.iter().map(|room| format!("audera.{room}:playback_FL")).collect();
        self.session.wait_for_ports(&ports).unwrap();
        process
    }

    /// Records these sinks' monitors, and the metronome's, for `seconds`.
    fn listen(&self, sinks: &[&str], seconds: f64) -> Sound {
        let mut recorder = self.recorder(sinks);
        recorder.wait_for(seconds).unwrap();
        recorder.finish().unwrap()
    }

    fn recorder(&self, sinks: &[&str]) -> audera_testkit::record::Recorder {
        let ports: Vec<String> = sinks.iter().chain(&["Metronome"]).map(|sink| format!("{sink}:monitor_FL")).collect();
        self.session.record(&ports.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }

    /// Waits until a player's node is there, or is not.
    fn wait_for_output(&self, room: &str, there: bool) {
        let node = format!("audera-player.{room}");
        let what = format!("{node} {}", if there { "appearing" } else { "disappearing" });
        self.session.wait_for_graph(&what, |graph| (graph.node(&node).is_some() == there).then_some(())).unwrap();
    }
}

/// Where a player of the same host is reached.
fn address(player: &Process) -> String {
    format!("127.0.0.1:{}", player_port(player).unwrap())
}

/// Waits until the log of a process holds these words on one line, after its first `skip` bytes; returns the line.
fn wait_for_line(process: &mut Process, skip: usize, words: &[&str]) -> String {
    let log = process.log().to_owned();
    let found = process.wait_until(&format!("a line with {words:?}"), || {
        let log = std::fs::read(&log).ok()?;
        let log = String::from_utf8_lossy(log.get(skip..)?).into_owned();
        log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    });
    found.unwrap()
}

/// In what share of the windows the second recording holds what the first one held just before.
fn likeness(input: &[f32], room: &[f32]) -> f64 {
    let series = measure::offset_series(input, room, RATE, WINDOW, LONGEST_WAY);
    let later = series.offsets.iter().filter(|offset| offset.seconds > 0.0).count();
    later as f64 / (series.offsets.len() + series.undecided + series.silent).max(1) as f64
}

/// What of a recording lies between two moments, in seconds.
fn part(recording: &[f32], from: f64, to: f64) -> &[f32] {
    let frame = |seconds: f64| ((seconds * f64::from(RATE)) as usize).min(recording.len());
    &recording[frame(from)..frame(to)]
}

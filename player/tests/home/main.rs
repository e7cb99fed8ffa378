//! The player in real sessions: PipeWire, WirePlumber, Avahi, senders, and peers that misbehave.

mod card;
mod cut;
mod limits;
mod loops;
mod outputs;
mod peer;
mod service;
mod status;
mod streams;
mod surroundings;
mod time;
mod trust;

use std::path::PathBuf;

use audera_testkit::home::{Home, player_port};
use audera_testkit::site::{Alone, alone};
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Process, measure, or_skip, sound};

const RATE: u32 = 48_000;
/// Length of a window in which two recordings are compared, in seconds.
const WINDOW: f64 = 0.25;
/// Longer than any way from an input to a room here.
const LONGEST_WAY: f64 = 0.6;
/// The same where a latency of a second is asked for.
const LONGEST_SLOW_WAY: f64 = 1.6;

/// A session, alone on this machine as far as these tests go: what is heard is not to be disturbed by other tests.
struct House {
    home: Home,
    _alone: Alone,
}

impl std::ops::Deref for House {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
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

    /// Noise that goes on for longer than any test, as a file; it comes again every four seconds.
    fn long_noise(&self, seed: u64) -> PathBuf {
        let file = self.session.dir().join(format!("long-noise-{seed}.wav"));
        let one = sound::noise(RATE, 1, 4.0, 0.5, seed).channels.remove(0);
        let long = one.repeat(45);
        // As floats: samples of a 16-bit file were seen all over the graph's shared memory when PipeWire 0.3.65's pw-play played it.
        Sound { rate: RATE, channels: vec![long.clone(), long] }.write(&file, Samples::F32).unwrap();
        file
    }

    /// Plays noise to a sink for minutes.
    fn make_noise(&self, sink: &str, seed: u64) -> Process {
        self.session.play(&self.long_noise(seed), sink).unwrap()
    }

    /// Starts the sink module and waits for these rooms' sinks.
    fn sinks(&self, args: &str, rooms: &[&str]) -> Process {
        let process = self.product.module(&self.session, "sink", &format!("audera.codec = pcm {args}")).unwrap();
        for room in rooms {
            self.session.sink_port(&format!("audera.{room}"), "FL").unwrap();
        }
        process
    }

    /// Records these sinks' monitors, and the metronome's, for `seconds`.
    fn listen(&self, sinks: &[&str], seconds: f64) -> Sound {
        let mut recorder = self.recorder(sinks);
        recorder.wait_for(seconds).unwrap();
        recorder.finish().unwrap()
    }

    /// Waits until what each of these channels of a recording holds last is sound (`true`), or silence.
    fn wait_until_heard(&self, recorder: &audera_testkit::record::Recorder, wanted: &[bool]) {
        let heard = || {
            let last = recorder.last(RATE as usize / 3).ok()?;
            let sounds = |channel: &Vec<f32>| channel.iter().any(|sample| sample.abs() > 0.1);
            let silent = |channel: &Vec<f32>| channel.iter().all(|&sample| sample == 0.0);
            let full = last.first().is_some_and(|channel| channel.len() == RATE as usize / 3);
            let mut channels = last.iter().zip(wanted);
            (full && channels.all(|(channel, &wanted)| if wanted { sounds(channel) } else { silent(channel) }))
                .then_some(())
        };
        self.session.poll(&format!("sound in the recording as {wanted:?}"), heard).unwrap();
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
    likeness_within(input, room, LONGEST_WAY)
}

/// The same with another longest way, in seconds. As much of the recordings' ends cannot be compared.
fn likeness_within(input: &[f32], room: &[f32], longest: f64) -> f64 {
    measure::likeness(input, room, RATE, measure::GLIDING, longest)
}

/// What of a recording lies between two moments, in seconds.
fn part(recording: &[f32], from: f64, to: f64) -> &[f32] {
    let frame = |seconds: f64| ((seconds * f64::from(RATE)) as usize).min(recording.len());
    &recording[frame(from)..frame(to)]
}

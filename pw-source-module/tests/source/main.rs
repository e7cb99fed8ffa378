//! The source module in real sessions: PipeWire, WirePlumber, Avahi, and players in their rooms.

mod bus;
mod callers;
mod capture;
mod feedback;
mod start;
mod targets;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use audera_testkit::home::Home;
use audera_testkit::site::{Alone, alone};
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Process, measure, or_skip, sound};

const RATE: u32 = 48_000;
/// Length of a window in which two recordings are compared, in seconds.
const WINDOW: f64 = 0.25;
/// Longer than any way from an input to a room here: latency, preroll, and some cycles of the graph.
const LONGEST_WAY: f64 = 0.6;
/// The same where a latency of a second is asked for.
const LONGEST_SLOW_WAY: f64 = 1.6;

/// Between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(100);

/// A session, alone on this machine as far as these tests go: what is heard is not to be disturbed by other tests.
struct Studio {
    home: Home,
    _alone: Alone,
}

impl std::ops::Deref for Studio {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Studio {
    /// With these null sinks, made before anything plays; `None` where sessions are not possible.
    fn start(sinks: &[&str]) -> Option<Self> {
        let alone = alone();
        Some(Studio { home: or_skip(Home::start("studio", sinks))?, _alone: alone })
    }

    /// Noise of its own for each `seed`, as a file; it comes again every four seconds.
    fn long_noise(&self, seed: u64) -> PathBuf {
        let file = self.session.dir().join(format!("noise-{seed}.wav"));
        let one = sound::noise(RATE, 1, 4.0, 0.5, seed).channels.remove(0);
        let long = one.repeat(45);
        // As floats: samples of a 16-bit file were seen all over the graph's shared memory when PipeWire 0.3.65's pw-play played it.
        Sound { rate: RATE, channels: vec![long.clone(), long] }.write(&file, Samples::F32).unwrap();
        file
    }

    /// Plays noise to a null sink, whose monitor is then an input with a signal, for minutes.
    fn make_noise(&self, sink: &str, seed: u64) -> Process {
        self.session.play(&self.long_noise(seed), sink).unwrap()
    }

    /// The number of a source in the list of recordings.
    fn recording(&self, source: &str) -> String {
        let node = format!("node.name = \"audera-source.{source}\"");
        let listed = || {
            let listed = self.session.run("pactl", &["list", "source-outputs"]).ok()?;
            let ours = listed.split("Source Output #").find(|output| output.contains(&node))?;
            ours.split_whitespace().next().map(str::to_owned)
        };
        self.session.poll("the source among the recordings", listed).unwrap()
    }

    /// Moves a source's recording to the monitor of a sink, as a mixer does.
    ///
    /// WirePlumber 0.4 now and then notes the wish and leaves the stream where it is; so the note is taken back and made again then.
    fn move_recording(&self, source: &str, sink: &str) {
        let node = format!("audera-source.{source}");
        let is_there = || self.session.graph().is_ok_and(|graph| graph.hears(&node) == [sink]);
        for _ in 0..10 {
            self.session
                .run("pactl", &["move-source-output", &self.recording(source), &format!("{sink}.monitor")])
                .unwrap();
            let noted = Instant::now();
            while noted.elapsed() < Duration::from_secs(6) {
                if is_there() {
                    return;
                }
                std::thread::sleep(LOOK);
            }
            let id = self.session.graph().unwrap().node(&node).unwrap().id.to_string();
            for key in ["target.node", "target.object"] {
                self.session.run("pw-metadata", &["-d", &id, key]).unwrap();
            }
        }
        panic!("the session manager does not move {node} to {sink}: {:?}", self.session.graph());
    }

    /// Records these sinks' monitors, and the metronome's, for `seconds`.
    fn listen(&self, sinks: &[&str], seconds: f64) -> Sound {
        let ports: Vec<String> = sinks.iter().chain(&["Metronome"]).map(|sink| format!("{sink}:monitor_FL")).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let mut recorder = self.session.record(&ports).unwrap();
        recorder.wait_for(seconds).unwrap();
        recorder.finish().unwrap()
    }
}

/// Fails unless the room holds what the input held just before, or nothing of it, whichever is wanted. `window` is [`WINDOW`], or
/// [`GLIDING`](measure::GLIDING) after an input has moved: the graph's clock may have jumped, and the latency glides.
#[track_caller]
fn assert_alike(wanted: bool, what: &str, window: f64, input: &[f32], room: &[f32]) {
    let alike = measure::likeness(input, room, RATE, window, LONGEST_WAY);
    let right = if wanted { alike > 0.5 } else { alike < 0.1 };
    let told = || measure::latencies(input, room, RATE, window, LONGEST_WAY);
    assert!(right, "{what}: alike to {alike}, later by {:?} ms", told());
}

/// What of a recording lies between two moments, in seconds.
fn part(recording: &[f32], from: f64, to: f64) -> &[f32] {
    let frame = |seconds: f64| ((seconds * f64::from(RATE)) as usize).min(recording.len());
    &recording[frame(from)..frame(to)]
}

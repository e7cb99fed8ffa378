//! A source on D-Bus: which inputs there are, which is captured, how it is encoded, how late and how loud it is.

use audera_testkit::Process;
use audera_testkit::measure::GLIDING;
use audera_testkit::wav::{Samples, Sound};

use crate::capture::{make_input, make_noise};
use crate::{RATE, Studio, assert_alike};

const PATH: &str = "/org/audera/Audera1/source";
const INTERFACE: &str = "org.audera.Source1";

/// The object of a source, for busctl.
struct Remote<'a> {
    studio: &'a Studio,
    name: String,
}

impl<'a> Remote<'a> {
    /// Of this process, once it is on the bus.
    fn of(studio: &'a Studio, source: &Process) -> Self {
        let remote = Remote { studio, name: format!("org.audera.Audera1.Source.p{}", source.pid()) };
        studio.session.poll("the source on the bus", || remote.try_get("Name").ok()).unwrap();
        remote
    }

    fn busctl(&self, form: &str, verb: &str, args: &[&str]) -> Result<String, String> {
        let mut command = self.studio.session.command("busctl");
        command.args(["--user", form, verb, "--", &self.name, PATH, INTERFACE]).args(args);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn try_get(&self, property: &str) -> Result<String, String> {
        self.busctl("--json=off", "get-property", &[property])
    }

    fn get(&self, property: &str) -> String {
        self.try_get(property).unwrap()
    }

    fn set(&self, property: &str, kind: &str, value: &str) -> Result<String, String> {
        self.busctl("--json=off", "set-property", &[property, kind, value])
    }

    /// Names and kinds of what could be captured, and whether it is the default.
    fn inputs(&self) -> Vec<String> {
        let told: serde_json::Value =
            serde_json::from_str(&self.busctl("--json=short", "get-property", &["Inputs"]).unwrap()).unwrap();
        let text = |input: &serde_json::Value, key: &str| input[key]["data"].as_str().unwrap().to_owned();
        let input = |input: &serde_json::Value| {
            assert!(!text(input, "description").is_empty() && text(input, "profile").is_empty(), "{input}");
            let default = if input["default"]["data"] == true { " default" } else { "" };
            format!("{} {}{default}", text(input, "name"), text(input, "kind"))
        };
        let mut inputs: Vec<String> = told["data"].as_array().unwrap().iter().map(input).collect();
        inputs.sort_unstable();
        inputs
    }

    /// Waits until a property says this.
    #[track_caller]
    fn wait_for(&self, property: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = self.studio.session.poll(property, || {
            last = self.get(property);
            wanted(&last).then_some(())
        });
        assert!(found.is_ok(), "{property} is {last}");
        last
    }
}

#[test]
fn inputs_are_chosen_heard_and_kept() {
    let Some(studio) = Studio::start(&["Kitchen", "Speakers"]) else { return };
    let session = &studio.session;
    ["LineIn", "Phono"].iter().for_each(|input| make_input(&studio, input));
    let _player = studio.room("Kitchen", &[]).unwrap();
    let _line_in = make_noise(&studio, "LineIn", 1);
    let _phono = make_noise(&studio, "Phono", 2);
    session.run("pactl", &["set-default-source", "LineIn"]).unwrap();
    let args = "audera.start = always audera.rooms = [ Kitchen ] audera.codec = pcm audera.latency.msec = 300";
    let source = studio.source("Tap", args).unwrap();
    let remote = Remote::of(&studio, &source);
    remote.wait_for("Input", |input| input == "s \"LineIn\"");
    // The default is known a little later.
    let told = session.poll("the inputs", || {
        Some(remote.inputs()).filter(|inputs| inputs.contains(&"LineIn virtual default".into()))
    });
    let mut wanted =
        ["LineIn virtual default", "Phono virtual", "Kitchen monitor", "Speakers monitor", "Metronome monitor"];
    wanted.sort_unstable();
    assert_eq!(told.unwrap(), wanted);

    // Answered when it is captured.
    remote.set("Input", "s", "Phono").unwrap();
    assert_eq!(remote.get("Input"), "s \"Phono\"");
    let ports = ["Kitchen:monitor_FL", "LineIn:capture_FL", "Phono:capture_FL", "Metronome:monitor_FL"];
    let mut recorder = session.record(&ports).unwrap();
    recorder.wait_for(5.0).unwrap();
    let recorded = recorder.finish().unwrap();
    let late = |channel: usize| &recorded.channels[channel][2 * RATE as usize..];
    assert_alike(true, "what is captured", GLIDING, late(2), late(0));
    assert_alike(false, "what was captured before", GLIDING, late(1), late(0));
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    // What is not there, and what would go round in a circle, leaves all as it is.
    let error = remote.set("Input", "s", "Tape").unwrap_err();
    assert!(error.contains("no input \"Tape\": there is") && error.contains("LineIn"), "{error}");
    let error = remote.set("Input", "s", "Kitchen").unwrap_err();
    assert!(error.contains("refused") && error.contains("plays to \"Kitchen\""), "{error}");
    assert_eq!((remote.get("Input"), remote.get("State")), ("s \"Phono\"".into(), "s \"playing\"".into()));

    // A mixer's word counts as much, and is kept over a restart.
    studio.move_recording("Tap", "Speakers");
    remote.wait_for("Input", |input| input == "s \"Speakers\"");
    let kept = session.dir().join("state/source-Tap/source-Tap.json");
    let is_kept = |input: &str| std::fs::read_to_string(&kept).ok()?.contains(input).then_some(());
    session.poll("the choice in its file", || is_kept("\"Speakers\"")).unwrap();
    source.stop().unwrap();
    let source = studio.source("Tap", args).unwrap();
    let remote = Remote::of(&studio, &source);
    remote.wait_for("Input", |input| input == "s \"Speakers\"");
    // As a mixer calls it.
    remote.set("Input", "s", "Speakers.monitor").unwrap();
    assert_eq!(remote.get("Input"), "s \"Speakers\"");
    // And back to what is captured without all that.
    remote.set("Input", "s", "").unwrap();
    assert_eq!(remote.get("Input"), "s \"LineIn\"");
    session.poll("no choice in the file", || is_kept("\"input\":null")).unwrap();
}

#[test]
fn codec_latency_and_level_are_what_the_bus_says() {
    let Some(studio) = Studio::start(&["Kitchen", "Input"]) else { return };
    let session = &studio.session;
    let _player = studio.room("Kitchen", &[]).unwrap();
    let tone = session.dir().join("tone.wav");
    let sample = |frame: u32| 0.25 * (std::f32::consts::TAU * 1_000.0 * frame as f32 / RATE as f32).sin();
    let channel: Vec<f32> = (0..RATE * 60).map(sample).collect();
    Sound { rate: RATE, channels: vec![channel.clone(), channel] }.write(&tone, Samples::F32).unwrap();
    let _playing = session.play(&tone, "Input").unwrap();
    let args = "audera.start = always audera.rooms = [ Kitchen ] audera.latency.msec = 100";
    let source = studio.tap("Tap", "Input", args).unwrap();
    let remote = Remote::of(&studio, &source);
    let plays = |codec: &str| {
        let words = [format!("\"codec\" s \"{codec}\""), "\"state\" s \"playing\"".to_owned()];
        remote.wait_for("Rooms", |rooms| words.iter().all(|word| rooms.contains(word)));
    };
    plays("s24le");

    assert_eq!(remote.get("Level"), "(dd) -120 -120", "nobody watches it");
    remote.busctl("--json=off", "call", &["WatchLevel"]).unwrap();
    let near = |told: &str, wanted: f64| told.parse::<f64>().is_ok_and(|told| (told - wanted).abs() <= 0.5);
    let level = remote.wait_for("Level", |level| {
        let words: Vec<&str> = level.split(' ').collect();
        near(words[1], -12.04) && near(words[2], -15.05)
    });
    println!("a tone of -12.04 dB, -15.05 dB RMS, is told as {level}");

    assert_eq!((remote.get("Codec"), remote.get("FixedLatency")), ("s \"pcm\"".into(), "d 100".into()));
    remote.set("Codec", "s", "opus").unwrap();
    assert_eq!(remote.get("Codec"), "s \"opus\"");
    plays("opus");
    let error = remote.set("Codec", "s", "mp3").unwrap_err();
    assert!(error.contains("auto, pcm, opus"), "{error}");

    remote.set("FixedLatency", "d", "90").unwrap();
    // 10 ms at 0.5 % take two seconds.
    remote.wait_for("Latency", |latency| latency == "d 90");
    remote.wait_for("Statistics", |told| {
        told.contains("\"latency_target_ms\" d 90") && told.contains("\"playing_rooms\" t 1")
    });
    plays("opus");
    for wrong in ["10", "2001", "-1", "nan"] {
        let error = remote.set("FixedLatency", "d", wrong).unwrap_err();
        assert!(error.contains("20 to 2000"), "{error}");
    }
    remote.set("FixedLatency", "d", "0").unwrap();
    assert_eq!(remote.get("FixedLatency"), "d 0");
}

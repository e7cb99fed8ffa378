//! The demo from outside: it ends well, leaves two recordings, and when it is interrupted nothing at all.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use audera_testkit::{Session, measure, or_skip, site::alone, sound, wav::Samples, wav::Sound};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running demo which, with all it starts, carries a mark in its environment and keeps its files in a folder of its own.
struct Demo {
    child: Child,
    mark: String,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(name: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("AUDERA_DEMO_TEST={name}-{}", std::process::id());
        let (key, value) = mark.split_once('=').unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_audera-demo"));
        command.args(args).env(key, value).env("TMPDIR", folder.path()).stdout(Stdio::piped()).stdin(Stdio::null());
        Self { child: command.spawn().unwrap(), mark, folder }
    }

    /// The processes that carry the mark, by id and name.
    fn processes(&self) -> Vec<(u32, String)> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let marked = |id: &u32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes())
        };
        let name = |id| fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned();
        ids.filter(marked).map(|id| (id, name(id))).collect()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing is left of it, no process and no file: what it has started is killed, and may take a moment to die.
    fn assert_gone(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path());
            let (running, left): (_, Vec<_>) = (self.processes(), left.collect());
            if running.is_empty() && left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{running:?} {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What it has started dies with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn hosts_are_possible() -> bool {
    or_skip(Session::builder("probe").daemons(&[]).start()).is_some()
}

/// Noise rather than music, as the test is not to depend on what is installed.
fn noise(folder: &Path) -> String {
    let file = folder.join("noise.wav");
    sound::noise(44_100, 2, 20.0, 0.3, 1).write(&file, Samples::S16).unwrap();
    file.display().to_string()
}

#[test]
fn plays_and_keeps_what_each_room_played() {
    let _alone = alone();
    if !hosts_are_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let file = noise(folder.path());
    let args = ["--seconds", "7", "--file", &file, "--wav", kept.to_str().unwrap()];
    let mut demo = Demo::start("whole", &args);
    let told = std::io::read_to_string(demo.child.stdout.take().unwrap()).unwrap();
    let status = demo.wait();
    println!("{told}");
    demo.assert_gone();
    assert!(status.success(), "{told}");
    assert!(told.contains("in time"), "{told}");
    let [kitchen, living_room] = ["Kitchen.wav", "Living-Room.wav"].map(|name| {
        let file = kept.join(name);
        assert!(told.contains(file.to_str().unwrap()), "{told}");
        Sound::read(file).unwrap()
    });
    let picture = fs::read_to_string(kept.join("sync.svg")).unwrap();
    // Of both parts, what was recorded and what was told.
    assert_eq!((picture.matches("<polyline").count(), picture.matches("stroke-dasharray").count()), (4, 2), "{told}");
    assert_eq!((kitchen.channels.len(), living_room.channels.len()), (2, 2));
    assert!(kitchen.seconds() > 13.0, "{} s", kitchen.seconds());
    let apart = measure::offset_series(&kitchen.channels[0], &living_room.channels[0], 48_000, 0.25, 0.02);
    println!("p50 {:?}, p99 {:?} of {} windows", apart.p50(), apart.p99(), apart.offsets.len());
    assert!(apart.offsets.len() >= 20, "{} windows with sound in both", apart.offsets.len());
    assert!(apart.since(3.0).p50().unwrap() < 0.5e-3);
}

#[test]
fn an_interrupt_in_the_middle_leaves_nothing() {
    let _alone = alone();
    if !hosts_are_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = noise(folder.path());
    let mut demo = Demo::start("middle", &["--seconds", "60", "--file", &file]);
    let lines = BufReader::new(demo.child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let playing = lines.into_iter().find(|line| line.contains("Kitchen playing"));
    assert!(playing.is_some(), "never played");
    let running = demo.processes();
    for name in ["pipewire", "wireplumber", "avahi-daemon", "dbus-daemon", "audera-player", "pw-play", "pw-record"] {
        // A process's name may be one of its own making, and is cut at 15 bytes.
        let commands = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        assert!(running.iter().any(|(id, _)| commands(id).contains(name)), "{name} is not among {running:?}");
    }
    demo.signal("-INT");
    assert_eq!(demo.wait().code(), Some(130));
    demo.assert_gone();
}

#[test]
fn a_termination_at_the_beginning_leaves_nothing() {
    let _alone = alone();
    if !hosts_are_possible() {
        return;
    }
    let mut demo = Demo::start("beginning", &["--seconds", "60"]);
    let deadline = Instant::now() + PATIENCE;
    // The first programs run, so signals are heard by now.
    while demo.processes().len() < 3 {
        assert!(Instant::now() < deadline && demo.child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    demo.signal("-TERM");
    let status = demo.wait();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    demo.assert_gone();
}

#[test]
fn refuses_what_is_no_sound_and_leaves_nothing() {
    let _alone = alone();
    if !hosts_are_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    fs::write(&file, "not a sound").unwrap();
    let mut demo = Demo::start("letter", &["--file", file.to_str().unwrap()]);
    let told = std::io::read_to_string(demo.child.stdout.take().unwrap()).unwrap();
    assert_eq!(demo.wait().code(), Some(1), "{told}");
    demo.assert_gone();
}

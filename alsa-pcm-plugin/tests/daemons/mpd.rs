//! The Music Player Daemon, as it is used every day: play, pause, seek, next, stop.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use audera_testkit::Process;

use crate::{FADED, Home, RATE, heard, run};

/// A running daemon that plays to the room.
struct Mpd {
    process: Process,
    socket: String,
}

impl Mpd {
    fn start(home: &Home) -> Self {
        let dir = home.session.dir().join("mpd");
        std::fs::create_dir_all(dir.join("playlists")).unwrap();
        let path = |path: &Path| path.display().to_string();
        let socket = path(&dir.join("socket"));
        let configuration = format!(
            "music_directory \"{}\"\nplaylist_directory \"{}\"\ndb_file \"{}\"\nbind_to_address \"{socket}\"\n\
             zeroconf_enabled \"no\"\n\
             audio_output {{\n    type \"alsa\"\n    name \"Kitchen\"\n    device \"audera:Kitchen\"\n    mixer_type \"none\"\n}}\n",
            path(&home.session.dir().join("music")),
            path(&dir.join("playlists")),
            path(&dir.join("database")),
        );
        let file = dir.join("mpd.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = home.session.command("mpd");
        command.args(["--no-daemon", "--stderr"]).arg(&file);
        let mut process = home.session.spawn(command).unwrap();
        process.wait_until("mpd's socket", || Path::new(&socket).exists().then_some(())).unwrap();
        let mpd = Mpd { process, socket };
        mpd.tell(home, &["update", "--wait"]);
        mpd
    }

    fn tell(&self, home: &Home, words: &[&str]) -> String {
        let mut command = home.session.command("mpc");
        command.arg(format!("--host={}", self.socket)).args(words);
        run(command)
    }
}

/// For so long each of them is heard before the next command is given.
const WHILE: Duration = Duration::from_millis(900);

#[test]
fn mpd_plays_pauses_seeks_skips_and_stops() {
    let Some(mut home) = Home::start() else { return };
    let (_, first) = home.music("first.wav", 6.0, 1);
    let (_, second) = home.music("second.wav", 4.0, 2);
    let mpd = Mpd::start(&home);
    mpd.tell(&home, &["add", "first.wav"]);
    mpd.tell(&home, &["add", "second.wav"]);
    mpd.tell(&home, &["play"]);
    home.wait_for(1, "starts to play");
    sleep(WHILE);
    mpd.tell(&home, &["pause"]);
    home.wait_for(1, "has played out");
    mpd.tell(&home, &["play"]);
    home.wait_for(2, "starts to play");
    sleep(WHILE);
    mpd.tell(&home, &["seek", "0:04"]);
    sleep(WHILE);
    mpd.tell(&home, &["next"]);
    sleep(WHILE);
    mpd.tell(&home, &["stop"]);
    home.wait_for(2, "has played out");
    println!("{}", mpd.process.output());
    mpd.process.stop().unwrap();

    let pieces = heard::pieces(&home.finish(), &[&first, &second]);
    println!("{pieces:#?}");
    let second = pieces.partition_point(|piece| piece.music == 0);
    let (first, second) = pieces.split_at(second);
    let sought = first.iter().position(|piece| piece.from.abs_diff(4 * RATE as usize) < RATE as usize / 20);
    let (before, sought) = first.split_at(sought.expect("it goes on where it was told to"));
    assert!(before[0].from < FADED, "it begins with the first frame");
    // What it has handed over is given up by mpd when it pauses, with every card: its own buffers and that of ALSA, half a second each.
    let pause = before.windows(2).find(|pair| pair[1].at > pair[0].end() + RATE as usize / 4).expect("it pauses");
    let given_up = pause[1].from as i64 - pause[0].to() as i64;
    assert!((-(FADED as i64)..i64::from(RATE) * 3 / 2).contains(&given_up), "{given_up} frames");
    let (seek, last) = (sought[0], before[before.len() - 1]);
    assert!(seek.at < last.end() + RATE as usize / 4, "a seek is no pause");
    assert!(second[0].music == 1 && second[0].from < FADED, "the next song begins with its first frame");
    assert!(second.iter().all(|piece| piece.music == 1 && piece.to() < 3 * RATE as usize), "it stops");
}

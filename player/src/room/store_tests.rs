//! Which of the configuration and what was set is in force, over reloads and restarts.

use audera_wire::ChannelMode;

use super::*;
use crate::cli::Cli;
use crate::config::Environment;

/// A player's folder with its configuration.
pub(in super::super) struct Home(tempfile::TempDir);

impl Home {
    pub(in super::super) fn new() -> Self {
        Home(tempfile::tempdir().unwrap())
    }

    /// The configuration with this text.
    pub(in super::super) fn config(&self, text: &str) -> Config {
        let file = self.0.path().join("player.toml");
        fs::write(&file, text).unwrap();
        let cli = Cli { config: Some(file), state_dir: Some(self.0.path().to_owned()), ..Cli::default() };
        let environment = Environment { host_name: "box".into(), ..Environment::default() };
        Config::load_in(&environment, &cli).unwrap()
    }

    /// The state when the program starts with this configuration.
    pub(in super::super) fn start(&self, text: &str) -> RoomStore {
        RoomStore::open(&self.config(text))
    }

    fn save(&self, store: &RoomStore) {
        keep(store.file(), &store.to_keep()).unwrap();
    }
}

#[test]
fn what_was_set_is_there_after_a_restart() {
    let home = Home::new();
    let mut store = home.start("");
    assert_eq!(**store.state(), RoomState::new("box"));
    let change = RoomChange {
        name: Some("Kitchen \"1\"".into()),
        volume: Some(33.3),
        mute: Some(true),
        channel_mode: Some("mono".into()),
        output_delay_ms: Some(-7.25),
        groups: Some(vec!["Up".into()]),
        max_volume: Some(80.0),
        startup_volume: Some(None),
        ..RoomChange::default()
    };
    assert_eq!(store.set(&change), Ok(true));
    assert_eq!(store.set(&change), Ok(false));
    assert_eq!(store.revision(), 1);
    home.save(&store);
    assert_eq!(home.start("").state(), store.state());
}

#[test]
fn a_silent_room_knows_after_a_restart_how_loud_it_was() {
    let home = Home::new();
    let mut store = home.start("");
    store.set(&RoomChange::volume(40.0)).unwrap();
    store.set(&RoomChange::volume(0.0)).unwrap();
    assert_eq!(store.state().audible_volume, Volume::new(40.0));
    home.save(&store);
    let mut store = home.start("");
    assert_eq!((store.state().volume, store.state().audible_volume), (Volume::SILENT, Volume::new(40.0)));
    // As it is told from elsewhere, over a reload as well, and no longer than the silence.
    store.set(&RoomChange { audible_volume: Some(33.3), ..RoomChange::default() }).unwrap();
    store.reconfigure(&home.config("channel-mode = \"left\""));
    assert_eq!(store.state().audible_volume, Volume::new(33.3));
    home.save(&store);
    assert_eq!(home.start("").state().audible_volume, Volume::new(33.3));
    store.set(&RoomChange::volume(20.0)).unwrap();
    home.save(&store);
    assert_eq!(home.start("").state().audible_volume, None);
    assert_eq!(home.start("startup-volume = 0").state().audible_volume, Volume::new(20.0));
    // A configuration that silences it.
    store.reconfigure(&home.config("volume = 0"));
    assert_eq!((store.state().volume, store.state().audible_volume), (Volume::SILENT, Volume::new(20.0)));
}

#[test]
fn the_key_that_was_edited_last_wins_and_no_other_does() {
    let home = Home::new();
    let mut store = home.start("volume = 30\ngroups = [\"Up\"]");
    assert_eq!(store.state().volume, Volume::nearest(30.0));
    store.set(&RoomChange { groups: Some(vec!["Down".into()]), ..RoomChange::volume(50.0) }).unwrap();
    // Another key is edited.
    assert!(store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]\nchannel-mode = \"left\"")));
    assert_eq!(store.state().volume, Volume::nearest(50.0));
    assert_eq!(store.state().channel_mode, ChannelMode::Left);
    // This one is.
    store.reconfigure(&home.config("volume = 20\ngroups = [\"Up\"]"));
    assert_eq!((store.state().volume, &store.state().groups[0]), (Volume::nearest(20.0), &"Down".to_owned()));
    // What was set before does not come back with the old line.
    store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]"));
    assert_eq!(store.state().volume, Volume::nearest(30.0));
    assert!(!store.reconfigure(&home.config("volume = 30\ngroups = [\"Up\"]")), "nothing was edited");
    // Over a restart as over a reload.
    home.save(&store);
    assert_eq!(home.start("volume = 30\ngroups = []").state().groups, Vec::<String>::new());
}

#[test]
fn a_limit_that_is_edited_makes_no_room_louder() {
    let home = Home::new();
    let mut store = home.start("");
    store.set(&RoomChange::volume(20.0)).unwrap();
    store.reconfigure(&home.config("max-volume = 60"));
    assert_eq!(store.state().volume, Volume::nearest(20.0));
    store.reconfigure(&home.config(""));
    assert_eq!(store.state().volume, Volume::nearest(20.0));
    // What a limit has cut stays cut when it is gone, over a restart as well.
    store.set(&RoomChange::volume(85.0)).unwrap();
    store.reconfigure(&home.config("max-volume = 70"));
    assert_eq!(store.state().volume, Volume::nearest(70.0));
    home.save(&store);
    assert_eq!(home.start("").state().volume, Volume::nearest(70.0));
    store.reconfigure(&home.config(""));
    assert_eq!(store.state().volume, Volume::nearest(70.0));
}

#[test]
fn pinned_keys_are_as_configured() {
    let home = Home::new();
    let mut store = home.start("max-volume = 70");
    store.set(&RoomChange { max_volume: Some(90.0), ..RoomChange::volume(85.0) }).unwrap();
    store.reconfigure(&home.config("max-volume = 70\npin = [\"max-volume\"]"));
    assert_eq!(store.state().max_volume, Volume::nearest(70.0));
    assert_eq!(store.state().volume, Volume::nearest(70.0));
    let refusal = store.set(&RoomChange { max_volume: Some(90.0), ..RoomChange::default() }).unwrap_err();
    assert!(refusal.to_string().contains("max_volume") && refusal.to_string().contains("pins"), "{refusal}");
}

#[test]
fn the_start_up_volume_is_for_starts_alone() {
    let home = Home::new();
    let mut store = home.start("startup-volume = 25\nmax-volume = 60");
    assert_eq!(store.state().volume, Volume::nearest(25.0));
    store.set(&RoomChange::volume(55.0)).unwrap();
    store.reconfigure(&home.config("startup-volume = 20\nmax-volume = 60"));
    assert_eq!(store.state().volume, Volume::nearest(55.0));
    home.save(&store);
    assert_eq!(home.start("startup-volume = 20\nmax-volume = 60").state().volume, Volume::nearest(20.0));
    assert_eq!(home.start("startup-volume = 90\nmax-volume = 60").state().volume, Volume::nearest(60.0));
}

#[test]
fn a_line_that_is_taken_out_leaves_the_volume_as_it_is() {
    let home = Home::new();
    // Set at run time, beside what is configured.
    let mut store = home.start("volume = 30");
    store.set(&RoomChange::volume(20.0)).unwrap();
    store.reconfigure(&home.config(""));
    assert_eq!(store.state().volume, Volume::nearest(20.0));
    // Never set.
    let mut store = home.start("volume = 30");
    store.reconfigure(&home.config(""));
    assert_eq!(store.state().volume, Volume::nearest(30.0));
    // Together with what pins it, and while the player does not run.
    let mut store = home.start("volume = 30\npin = [\"volume\"]");
    home.save(&store);
    store.reconfigure(&home.config(""));
    assert_eq!(store.state().volume, Volume::nearest(30.0));
    assert_eq!(home.start("").state().volume, Volume::nearest(30.0));
    fs::remove_file(store.file()).unwrap();
    // While the player does not run.
    let store = home.start("volume = 30");
    assert!(store.is_to_be_kept());
    home.save(&store);
    assert!(!home.start("volume = 30").is_to_be_kept());
    let mut store = home.start("");
    assert_eq!(store.state().volume, Volume::nearest(30.0));
    // What is written there again wins, be it the loudest.
    store.reconfigure(&home.config("volume = 100"));
    assert_eq!(store.state().volume, Volume::FULL);
}

#[test]
fn a_volume_that_is_pinned_but_not_configured_is_as_it_was_left() {
    let home = Home::new();
    let pin = "pin = [\"volume\"]";
    let thirty = Volume::nearest(30.0);
    // Set at run time, and pinned later: by a reload, and while the player does not run.
    let mut store = home.start("");
    store.set(&RoomChange::volume(30.0)).unwrap();
    home.save(&store);
    assert_eq!(home.start(pin).state().volume, thirty);
    store.reconfigure(&home.config(pin));
    assert_eq!(store.state().volume, thirty);
    assert!(store.set(&RoomChange::volume(50.0)).is_err());
    // Configured and pinned, and then its line alone is taken out.
    let pinned = format!("volume = 30\n{pin}");
    let mut store = home.start(&pinned);
    home.save(&store);
    assert_eq!(home.start(pin).state().volume, thirty);
    store.reconfigure(&home.config(pin));
    assert_eq!(store.state().volume, thirty);
    home.save(&store);
    assert_eq!(home.start(pin).state().volume, thirty);
    // What says how loud it is at a start does not count as somebody who sets it.
    let store = home.start(&format!("startup-volume = 25\n{pin}"));
    assert_eq!((store.state().volume, &store.state().pinned[..]), (Volume::nearest(25.0), &[RoomKey::Volume][..]));
    fs::write(store.file(), "[volume").unwrap();
    assert_eq!(home.start(pin).state().volume, Volume::nearest(CAUTIOUS));
}

#[test]
fn a_file_that_is_not_understood_is_set_aside_before_it_is_written_anew() {
    let home = Home::new();
    let mut store = home.start("");
    store.set(&RoomChange { name: Some("Kitchen".into()), ..RoomChange::volume(20.0) }).unwrap();
    home.save(&store);
    let (file, aside) = (home.0.path().join("room.toml"), home.0.path().join("room.toml.broken"));
    let typo = fs::read_to_string(&file).unwrap().replacen("value = ", "value ", 1);
    let lacks = fs::read_to_string(&file).unwrap().replace("value = \"Kitchen\"", "valve = \"Kitchen\"");
    let other = fs::read_to_string(&file).unwrap().replace("[volume]", "[volum]");
    for broken in [typo.as_bytes(), lacks.as_bytes(), other.as_bytes(), &[0xff, 0xfe]] {
        fs::write(&file, broken).unwrap();
        let store = home.start("");
        assert!(file.exists(), "a start without it would find a room whose volume nobody has set");
        assert_eq!(fs::read(&aside).unwrap(), broken);
        assert!(store.state().volume <= Volume::nearest(CAUTIOUS));
        home.save(&store);
        assert_eq!(home.start("").state(), store.state());
        assert_eq!(fs::read(&aside).unwrap(), broken, "what is whole takes nothing's place");
    }
    // On a disk that takes nothing more, or in a crash, it may be all there is.
    fs::remove_file(&file).unwrap();
    assert_eq!(home.start("").state().volume, Volume::nearest(CAUTIOUS));
}

#[test]
fn a_file_is_set_aside_as_a_copy_where_a_file_has_one_name_only() {
    let home = Home::new();
    let mut store = home.start("");
    store.set(&RoomChange { groups: Some(vec!["Up".into()]), ..RoomChange::volume(60.0) }).unwrap();
    home.save(&store);
    let file = store.file();
    let broken = fs::read_to_string(file).unwrap().replace("value = [\"Up\"]", "valve = [\"Up\"]");
    fs::write(file, &broken).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let fails = |_: &Path, _: &Path| Err(io::Error::from(io::ErrorKind::Unsupported));
    // At each start, and the volume is as it was: it can be understood, so that nothing is written anew.
    for _ in 0..2 {
        let said = set_aside_by(file, fails);
        assert!(said.starts_with("it is kept as"), "{said}");
        for there in [file, &aside(file)] {
            assert_eq!(fs::read_to_string(there).unwrap(), broken);
            assert_eq!(fs::metadata(there).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let store = home.start("");
        assert_eq!((store.state().volume, store.is_to_be_kept()), (Volume::nearest(60.0), false));
    }
    // Where it cannot be copied, it stays where it is.
    fs::remove_file(aside(file)).unwrap();
    let said = set_aside_by(file, |file, aside| fs::copy(file, aside).and_then(|_| fails(file, aside)));
    assert!(said.contains("either"), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), broken);
}

#[test]
fn a_broken_file_is_as_good_as_none_where_it_is_broken_but_makes_no_room_loud() {
    let home = Home::new();
    let mut store = home.start("");
    store.set(&RoomChange { mute: Some(true), ..RoomChange::volume(50.0) }).unwrap();
    home.save(&store);
    let file = home.0.path().join("room.toml");
    let text = fs::read_to_string(&file).unwrap();
    let low = Volume::nearest(CAUTIOUS);
    fs::write(&file, text.replace("value = 50.0", "value = 5000.0")).unwrap();
    let state = home.start("").state().clone();
    assert_eq!((state.volume, state.mute), (low, true));
    let broken: [&[u8]; 5] =
        [&text.as_bytes()[..text.len() - 8], &[0xff, 0xfe], b"", b"volume = 5", b"[volume]\nvalue = 5.0\n"];
    for broken in broken {
        fs::write(&file, broken).unwrap();
        assert_eq!(**home.start("").state(), RoomState { volume: low, ..RoomState::new("box") });
        // What is configured is no louder, or meant to be.
        assert_eq!(home.start("volume = 10").state().volume, Volume::nearest(10.0));
        assert_eq!(home.start("startup-volume = 60").state().volume, Volume::nearest(60.0));
        assert_eq!(home.start("volume = 80\npin = [\"volume\"]").state().volume, Volume::nearest(80.0));
    }
    fs::remove_file(&file).unwrap();
    fs::remove_file(aside(&file)).unwrap();
    assert_eq!(home.start("").state().volume, Volume::FULL, "a room whose volume nobody has set");
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_file_as_it_was() {
    let home = Home::new();
    let file = home.0.path().join("room.toml");
    keep(&file, "first").unwrap();
    // A folder in the way of the new file: it cannot be written.
    fs::create_dir(file.with_extension("toml.new")).unwrap();
    assert!(keep(&file, "second").is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "first");
}

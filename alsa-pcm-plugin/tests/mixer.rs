//! Mixers of rooms through alsa-lib's own programs: real `amixer`, real players, real Avahi.

use std::{
    fs,
    path::Path,
    ptr,
    time::{Duration, Instant},
};

use alsa_sys as raw;
use audera_testkit::{
    Daemon, Error, Process, Session, Terminal,
    home::{Product, player_port},
    or_skip,
};

/// A host with players that nobody hears.
struct House {
    session: Session,
    product: Product,
}

impl House {
    fn start() -> Option<Self> {
        let product = Product::find().unwrap();
        let session = or_skip(product.session("desk").daemons(&Daemon::DISCOVERY).start())?;
        session.alsa_plugin().unwrap();
        Some(Self { session, product })
    }

    /// A player whose room is set like this.
    fn player(&self, room: &str, settings: &[&str]) -> Process {
        let player = self.product.player(&self.session, room, &["--access", "open", "--output", "null"]).unwrap();
        self.room(&player, settings);
        player
    }

    /// Waits until a room is announced under this name.
    fn announced(&self, room: &str) {
        let browsed = || self.session.run("avahi-browse", &["-p", "-t", "_audera._tcp"]).ok();
        let announced = || browsed()?.split([';', '\n']).any(|word| word == room).then_some(());
        self.session.poll(&format!("the announcement of {room}"), announced).unwrap();
    }

    fn amixer(&self, mixer: &str, args: &[&str]) -> Result<String, Error> {
        self.session.run("amixer", &[&["-D", mixer], args].concat())
    }

    /// What `amixer` shows of the slider and the switch, as in `40 [40%] [-23.88dB] [on]`.
    fn master(&self, mixer: &str) -> String {
        playback(&self.amixer(mixer, &["sget", "Master"]).unwrap())
    }

    /// What the room itself says, as another peer of it.
    fn room(&self, player: &Process, settings: &[&str]) -> String {
        let address = format!("localhost:{}", player_port(player).unwrap());
        let output = self.product.command(&self.session).args(["set", &address]).args(settings).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> =
            said.lines().filter(|line| ["volume=", "mute="].iter().any(|key| line.starts_with(key))).collect();
        lines.join(" ")
    }
}

fn playback(shown: &str) -> String {
    let line = shown.lines().find_map(|line| line.trim().strip_prefix("Mono: Playback "));
    line.unwrap_or_else(|| panic!("no playback volume in {shown}")).to_owned()
}

#[test]
fn volume_and_mute_are_those_of_the_room() {
    let Some(house) = House::start() else { return };
    let kitchen = house.player("Kitchen", &["volume=70%"]);
    assert_eq!(house.master("audera:Kitchen"), "70 [70%] [-9.29dB] [on]");
    let shown = house.amixer("audera:Kitchen", &["sset", "Master", "40%"]).unwrap();
    assert_eq!(playback(&shown), "40 [40%] [-23.88dB] [on]");
    assert_eq!(house.room(&kitchen, &[]), "volume=40% mute=off");
    // Two changes at once, and the program ends right after them.
    house.amixer("audera:Kitchen", &["-q", "sset", "Master", "25%", "mute"]).unwrap();
    assert_eq!(house.room(&kitchen, &[]), "volume=25% mute=on");
    house.amixer("audera", &["-q", "sset", "Master", "10%+", "unmute"]).unwrap();
    assert_eq!(house.room(&kitchen, &["volume=+1"]), "volume=36% mute=off");
    assert_eq!(house.master("audera:kitchen"), "36 [36%] [-26.88dB] [on]");
    // Decibels are those of the cubic law.
    house.amixer("audera:Kitchen", &["-q", "sset", "Master", "--", "-18.06dB"]).unwrap();
    assert_eq!(house.room(&kitchen, &[]), "volume=50% mute=off");
    let address = format!("audera:localhost:{}", player_port(&kitchen).unwrap());
    assert_eq!(house.master(&address), "50 [50%] [-18.06dB] [on]");
}

#[test]
fn a_room_that_there_is_not_is_refused_with_those_there_are() {
    let Some(house) = House::start() else { return };
    let _kitchen = house.player("Kitchen", &["groups=Downstairs"]);
    house.session.alsa_options("wait = 3000\n").unwrap();
    let refusal = house.amixer("audera:Attic", &["sget", "Master"]).unwrap_err().to_string();
    assert!(
        refusal.contains("\"Attic\"") && refusal.contains("\"Downstairs\", \"Everywhere\", \"Kitchen\""),
        "{refusal}"
    );
    house.session.alsa_definitions("ctl.odd { type audera player Kitchen colour red }\n").unwrap();
    let refusal = house.amixer("odd", &["sget", "Master"]).unwrap_err().to_string();
    assert!(refusal.contains("no option \"colour\""), "{refusal}");
}

#[test]
fn a_group_moves_in_proportion() {
    let Some(house) = House::start() else { return };
    let bath = house.player("Bath", &["groups=Downstairs", "volume=20%"]);
    let kitchen = house.player("Kitchen", &["groups=Downstairs", "volume=80%"]);
    let attic = house.player("Attic", &["volume=60%"]);
    // Both have to be known before they are moved together.
    let both = || (house.master("audera:Downstairs") == "80 [80%] [-5.81dB] [on]").then_some(());
    house.session.poll("both rooms of the group", both).unwrap();
    house.amixer("audera:Downstairs", &["-q", "sset", "Master", "40%", "mute"]).unwrap();
    assert_eq!(house.room(&bath, &[]), "volume=10% mute=on");
    assert_eq!(house.room(&kitchen, &[]), "volume=40% mute=on");
    assert_eq!(house.room(&attic, &[]), "volume=60% mute=off");
    assert_eq!(house.room(&bath, &["mute=off"]), "volume=10% mute=off");
    assert_eq!(house.master("audera:Downstairs"), "40 [40%] [-23.88dB] [on]", "one of them is heard");
}

/// `amixer events` writes a line for each event, and this many of them are about `element`.
fn events(log: &Path, element: &str) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("event value:") && line.contains(element)).count()
}

const VOLUME: &str = "Master Playback Volume";
const SWITCH: &str = "Master Playback Switch";

#[test]
fn what_others_change_is_told_and_a_player_that_restarts_is_found_again() {
    let Some(house) = House::start() else { return };
    let kitchen = house.player("Kitchen", &["volume=70%"]);
    // Line by line, although its output goes to a file.
    let mut monitor = house.session.command("stdbuf");
    monitor.args(["-oL", "amixer", "-D", "audera:Kitchen", "events"]);
    let mut monitor = house.session.spawn(monitor).unwrap();
    let log = monitor.log().to_owned();
    let events = |element: &str| events(&log, element);
    let ready = || fs::read_to_string(&log).ok().filter(|text| text.contains("Ready to listen"));
    monitor.wait_until("readiness for events", ready).unwrap();
    let mut told = |element: &str, before: usize| {
        monitor.wait_until(element, || (events(element) > before).then_some(())).unwrap();
    };

    house.room(&kitchen, &["volume=30%"]);
    told(VOLUME, 0);
    assert_eq!(events(SWITCH), 0);
    house.room(&kitchen, &["mute=on"]);
    told(SWITCH, 0);
    // Another mixer is another peer.
    let before = events(VOLUME);
    house.amixer("audera:Kitchen", &["-q", "sset", "Master", "55%"]).unwrap();
    told(VOLUME, before);

    kitchen.stop().unwrap();
    let before = (events(VOLUME), events(SWITCH));
    let kitchen = house.player("Kitchen", &[]);
    assert_eq!(house.master("audera:Kitchen"), "55 [55%] [-15.69dB] [off]", "a player keeps its volume");
    house.room(&kitchen, &["volume=20%", "mute=off"]);
    told(VOLUME, before.0);
    told(SWITCH, before.1);
    assert!(monitor.is_running());
}

#[test]
fn alsamixer_moves_the_room_and_shows_who_else_does() {
    let Some(house) = House::start() else { return };
    let kitchen = house.player("Kitchen", &["volume=70%"]);
    let terminal =
        Terminal::start(&house.session, "alsamixer -D audera:Kitchen; echo ended with $?; read hold").unwrap();
    let shows = |value: &str| terminal.wait_for(value, |screen| screen.split_whitespace().any(|word| word == value));
    // What the room says once it says something else.
    let moved = |before: &str| {
        let says = || Some(house.room(&kitchen, &[])).filter(|now| now != before);
        house.session.poll("the room moving", says).unwrap()
    };
    let screen = shows("70");
    assert!(screen.contains("Kitchen") && screen.contains("Master") && screen.contains("-9.29"), "{screen}");
    let percent = |told: &str| told.strip_prefix("volume=").unwrap().split('%').next().unwrap().parse::<u32>().unwrap();
    terminal.press(&["PageUp"]);
    // It steps by what the decibels say, and takes the next value in the direction of its step.
    let louder = moved("volume=70% mute=off");
    assert!((75..=76).contains(&percent(&louder)) && louder.ends_with("mute=off"), "{louder}");
    terminal.press(&["Down"]);
    let now = moved(&louder);
    assert!((1..=2).contains(&(percent(&louder) - percent(&now))), "{louder}, then {now}");
    terminal.press(&["m"]);
    assert_eq!(moved(&now), format!("volume={}% mute=on", percent(&now)));
    terminal.wait_for("its mark for mute", |screen| screen.contains("MM"));
    // Somebody else.
    house.room(&kitchen, &["volume=30%", "mute=off"]);
    shows("30");
    terminal.wait_for("the end of mute", |screen| screen.contains("OO"));
    // It is the same room under another name, of which its mixer may hear later than others.
    house.room(&kitchen, &["name=Galley"]);
    house.announced("Galley");
    let moved = || {
        terminal.press(&["Up"]);
        Some(house.room(&kitchen, &[])).filter(|now| percent(now) > 30)
    };
    house.session.poll("the room moving under its new name", moved).unwrap();
    terminal.press(&["Escape"]);
    terminal.wait_for("its end", |screen| screen.contains("ended with 0"));
}

/// What a process that opens and closes must not gather.
#[derive(Debug, PartialEq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
}

impl Holdings {
    fn now() -> Self {
        let count = |path| fs::read_dir(path).unwrap().count();
        Self { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task") }
    }
}

/// The same once they are what they were `before`, or a while has passed: a helper of the network thread ends behind the application's back.
fn settled(before: &Holdings) -> Holdings {
    let limit = Instant::now() + Duration::from_secs(15);
    while Instant::now() < limit && Holdings::now() != *before {
        std::thread::sleep(Duration::from_millis(5));
    }
    Holdings::now()
}

/// Resident memory in kB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open(name: &std::ffi::CStr) -> *mut raw::snd_ctl_t {
    let mut mixer = ptr::null_mut();
    // SAFETY: a place for the mixer, and a name.
    assert_eq!(unsafe { raw::snd_ctl_open(&raw mut mixer, name.as_ptr(), 0) }, 0);
    mixer
}

/// Reads the slider and closes the mixer.
fn read_and_close(mixer: *mut raw::snd_ctl_t) {
    let mut value = ptr::null_mut();
    // SAFETY: an open mixer, which is not used any more after this, and a value that is freed.
    unsafe {
        assert_eq!(raw::snd_ctl_elem_value_malloc(&raw mut value), 0);
        raw::snd_ctl_elem_value_set_numid(value, 1);
        assert_eq!(raw::snd_ctl_elem_read(mixer, value), 0);
        assert_eq!(raw::snd_ctl_elem_value_get_integer(value, 0), 70);
        raw::snd_ctl_elem_value_free(value);
        assert_eq!(raw::snd_ctl_close(mixer), 0);
    }
}

/// The part in the session: opens and closes so often, each time with a network thread of its own, and then so often beside
/// a mixer that stays open.
#[test]
#[ignore = "run by another, which provides the room"]
fn a_program_that_opens_and_closes() {
    let times = |variable: &str| std::env::var(variable).unwrap().parse::<usize>().unwrap();
    let (alone, beside) = (times("AUDERA_TEST_ALONE"), times("AUDERA_TEST_BESIDE"));
    let name = c"audera:Kitchen";
    // What alsa-lib and the plugin keep for good comes with the first ones.
    (0..5).for_each(|_| read_and_close(open(name)));
    let (before, memory) = (Holdings::now(), resident());
    let begun = Instant::now();
    (0..alone).for_each(|_| read_and_close(open(name)));
    println!("{alone} opened alone: {:?}, {} kB more", begun.elapsed(), resident().saturating_sub(memory));
    assert_eq!(settled(&before), before);
    let kept = open(name);
    let begun = Instant::now();
    (0..beside).for_each(|_| read_and_close(open(name)));
    println!("{beside} opened beside another: {:?}, {} kB more", begun.elapsed(), resident().saturating_sub(memory));
    read_and_close(kept);
    assert_eq!(settled(&before), before);
    // 1 kB each would be a leak of any object at all.
    let gathered = resident().saturating_sub(memory);
    assert!(gathered < 1024 + (alone + beside) / 2, "{gathered} kB more");
    // SAFETY: nothing of alsa-lib is in use any more.
    unsafe { raw::snd_config_update_free_global() };
    read_and_close(open(name));
}

/// `AUDERA_TEST_ALONE=1000` is the full run, some 40 s.
#[test]
fn nothing_is_gathered_by_opening_and_closing() {
    let Some(house) = House::start() else { return };
    let _kitchen = house.player("Kitchen", &["volume=70%"]);
    let mut command = house.session.command(std::env::current_exe().unwrap());
    command.args(["--exact", "a_program_that_opens_and_closes", "--ignored", "--nocapture"]);
    let alone = std::env::var("AUDERA_TEST_ALONE").unwrap_or_else(|_| "25".to_owned());
    command.env("AUDERA_TEST_ALONE", alone).env("AUDERA_TEST_BESIDE", "1000");
    let mut program = house.session.spawn(command).unwrap();
    let ended = program.wait(Duration::from_secs(600)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", program.output());
    println!("{}", program.output());
}

//! The configuration: what overrules what, the defaults, and what a person reads who got it wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audera_clock::Span;
use audera_player::cli::Cli;
use audera_player::config::{Access, AlsaConfig, Config, Environment, LogLevel, OutputChoice, Policy, Subscription};
use audera_receiver::Source;
use audera_wire::{ChannelMode, RoomKey, Volume};
use clap::Parser;

/// A machine with a folder for its files.
struct Machine {
    dir: tempfile::TempDir,
    environment: Environment,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            system_config: dir.path().join("system.toml"),
            user_config: Some(dir.path().join("user.toml")),
            unit_state: None,
            user_state: Some("/home/user/.local/state".into()),
            machine_info: String::new(),
            host_name: "box\n".into(),
        };
        Self { dir, environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn load(&self, arguments: &[&str]) -> Result<Config, String> {
        let cli = Cli::try_parse_from(std::iter::once(&"audera-player").chain(arguments)).map_err(|e| e.to_string())?;
        Config::load_in(&self.environment, &cli).map_err(|error| error.to_string())
    }
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = Machine::new().load(&[]).unwrap();
    assert_eq!(config.name.as_str(), "box");
    assert_eq!(config.output, OutputChoice::PipeWire { target: None });
    assert_eq!(config.listen.to_string(), "[::]:6528");
    assert_eq!(config.access, Access::Paired);
    assert!(config.groups.is_empty() && config.subscribe.is_empty() && config.files.is_empty());
    assert_eq!(config.state_dir, Path::new("/home/user/.local/state/audera"));
    assert_eq!(config.trusted_file(), Path::new("/home/user/.local/state/audera/trusted.toml"));
    assert!(config.discovery);
    assert_eq!(config.policy, Policy::Newest);
    assert_eq!(config.idle_release, Duration::from_secs(5));
    assert_eq!(config.output_delay, Span::from_millis(0));
    assert_eq!(config.log, LogLevel::Info);
    assert_eq!(config.alsa, AlsaConfig { period: Duration::from_millis(8), buffer: Duration::from_millis(32) });
}

const EVERYTHING: &str = r#"
name = "Living Room"
output = "alsa:hw:CARD=DAC,DEV=0"
listen = "192.168.1.7:7000"
access = "open"
groups = ["Upstairs", "Bedrooms"]
subscribe = ["Turntable", "tv.local:6528", "[fe80::1]:6529"]
state-dir = "/var/lib/audera"
discovery = false
policy = "first"
idle-release = 2.5
output-delay = -12.5
volume = 40
channel-mode = "mono"
max-volume = 80
startup-volume = 25
pin = ["max-volume", "groups"]
log = "debug"
[alsa]
period = 5
buffer = 20
"#;

#[test]
fn every_key_is_read_and_printed_so_that_it_can_be_read_again() {
    let machine = Machine::new();
    let file = machine.write("all.toml", EVERYTHING);
    let config = machine.load(&["--config", file.to_str().unwrap()]).unwrap();
    assert_eq!(config.name.as_str(), "Living Room");
    assert_eq!(config.output, OutputChoice::Alsa { device: "hw:CARD=DAC,DEV=0".into() });
    assert_eq!(config.listen.to_string(), "192.168.1.7:7000");
    assert_eq!((config.access, config.policy, config.log), (Access::Open, Policy::First, LogLevel::Debug));
    assert_eq!(config.groups.iter().map(|g| g.as_str()).collect::<Vec<_>>(), ["Upstairs", "Bedrooms"]);
    assert_eq!(config.subscribe[0], Subscription(Source::Named("Turntable".into())));
    assert_eq!(config.subscribe[1], Subscription(Source::Address { host: "tv.local".into(), port: 6528 }));
    assert_eq!(config.subscribe[2], Subscription(Source::Address { host: "fe80::1".into(), port: 6529 }));
    assert_eq!(config.state_dir, Path::new("/var/lib/audera"));
    assert!(!config.discovery);
    assert_eq!(config.idle_release, Duration::from_millis(2500));
    assert_eq!(config.output_delay, Span::from_micros(-12_500));
    assert_eq!((config.volume, config.max_volume.percent()), (Volume::new(40.0), 80.0));
    assert_eq!((config.channel_mode, config.startup_volume), (ChannelMode::Mono, Volume::new(25.0)));
    assert_eq!(config.pin, [RoomKey::MaxVolume, RoomKey::Groups]);
    assert_eq!(config.alsa, AlsaConfig { period: Duration::from_millis(5), buffer: Duration::from_millis(20) });

    let printed = machine.write("all.toml", &config.to_string());
    assert_eq!(machine.load(&["--config", printed.to_str().unwrap()]).unwrap(), config);
}

#[test]
fn the_user_overrules_the_machine_and_the_command_line_both() {
    let machine = Machine::new();
    machine.write("system.toml", "name = \"System\"\naccess = \"open\"\ngroups = [\"a\", \"b\"]\n[alsa]\nperiod = 5");
    machine.write("user.toml", "name = \"User\"\ngroups = [\"c\"]\n[alsa]\nbuffer = 30");
    let config = machine
        .load(&["--name", "Given", "--no-discovery", "-v", "--subscribe", "A", "B", "--subscribe", "C"])
        .unwrap();
    assert_eq!(config.name.as_str(), "Given");
    assert_eq!(config.access, Access::Open, "a key that only the lower file sets stays");
    assert_eq!(config.groups.len(), 1, "a list is replaced, not extended");
    assert_eq!(config.alsa, AlsaConfig { period: Duration::from_millis(5), buffer: Duration::from_millis(30) });
    assert!(!config.discovery);
    assert_eq!(config.log, LogLevel::Debug);
    assert_eq!(config.subscribe.len(), 3);
    assert_eq!(config.files, [machine.path("system.toml"), machine.path("user.toml")]);

    let other = machine.write("other.toml", "policy = \"first\"");
    let config = machine.load(&["--config", other.to_str().unwrap()]).unwrap();
    assert_eq!((config.name.as_str(), config.access, config.policy), ("box", Access::Paired, Policy::First));
    assert_eq!(config.files, [other], "--config replaces both files");
}

#[test]
fn the_room_is_named_after_the_machine() {
    for (machine_info, host, expected) in [
        ("PRETTY_HOSTNAME=\"Lena\\'s \\\"Kitchen\\\"\"\nICON_NAME=computer", "box", "Lena's \"Kitchen\""),
        ("DEPLOYMENT=home\nPRETTY_HOSTNAME=Küche", "box", "Küche"),
        ("PRETTY_HOSTNAME=\"\"", "box\n", "box"),
        ("", "", "Audera"),
    ] {
        let mut machine = Machine::new();
        machine.environment.machine_info = machine_info.into();
        machine.environment.host_name = host.into();
        assert_eq!(machine.load(&[]).unwrap().name.as_str(), expected);
    }
}

#[test]
fn the_state_folder_is_the_units_or_the_users() {
    let mut machine = Machine::new();
    machine.environment.unit_state = Some("/var/lib/audera".into());
    assert_eq!(machine.load(&[]).unwrap().state_dir, Path::new("/var/lib/audera"));
    assert_eq!(machine.load(&["--state-dir", "/tmp/x"]).unwrap().state_dir, Path::new("/tmp/x"));
    (machine.environment.unit_state, machine.environment.user_state) = (None, None);
    let error = machine.load(&[]).unwrap_err();
    assert!(
        error.ends_with("none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set; give --state-dir DIR"),
        "{error}"
    );
}

#[test]
fn the_mixer_is_that_of_the_card_behind_the_output() {
    let machine = Machine::new();
    let mixer = |arguments: &[&str]| {
        let mixer = machine.load(arguments).unwrap().mixer;
        mixer.map(|mixer| (mixer.device.clone(), mixer.element.to_string()))
    };
    assert_eq!(mixer(&[]), None);
    for (pcm, device) in [
        ("hw:0", "hw:0"),
        ("hw:0,1", "hw:0"),
        ("plughw:CARD=sndrpihifiberry,DEV=0", "hw:sndrpihifiberry"),
        ("surround51:DEV=0,CARD=DAC", "hw:DAC"),
        ("kitchen", "kitchen"),
        ("dac:0", "dac:0"),
        ("default", "default"),
    ] {
        let found = mixer(&["--output", &format!("alsa:{pcm}"), "--mixer", "Digital"]);
        assert_eq!(found, Some((device.to_owned(), "Digital".to_owned())), "{pcm}");
    }
    machine.write("system.toml", "output = \"alsa:kitchen\"\nmixer = \"'PCM',1\"\nmixer-device = \"hw:1\"\n");
    assert_eq!(mixer(&[]), Some(("hw:1".into(), "PCM,1".into())));
    let printed = machine.load(&[]).unwrap().to_string();
    assert!(printed.contains("mixer = \"PCM,1\"\nmixer-device = \"hw:1\"\n"), "{printed}");
    // What is printed is read as the same, whatever an element is called.
    for (given, told) in [("A,1,0", "A,1,0"), ("A,1", "A,1"), ("Line, left", "Line, left,0"), ("A,0", "A")] {
        assert_eq!(mixer(&["--mixer", given]), Some(("hw:1".into(), told.into())));
        assert_eq!(mixer(&["--mixer", told]), Some(("hw:1".into(), told.into())));
    }
    assert_eq!(mixer(&["--mixer", "none", "--output", "null"]), None);
    for output in ["pipewire", "file:/tmp/room.wav", "null"] {
        let error = machine.load(&["--output", output]).unwrap_err();
        assert!(
            error.contains(&format!("mixer = \"PCM,1\": the output {output} has no mixer"))
                && error.contains("alsa:hw:0"),
            "{error}"
        );
    }
    machine.write("system.toml", "output = \"alsa:kitchen\"\nmixer-device = \"hw:1\"\n");
    let error = machine.load(&[]).unwrap_err();
    assert!(error.contains("mixer-device = \"hw:1\": of which element?"), "{error}");
}

/// A wrong file, and what is said about it after the file's name.
const WRONG: &[(&str, &str)] = &[
    (
        "outptu = \"alsa\"",
        ":1:1: unknown key \"outptu\" (did you mean \"output\"?); accepted keys: name, output, mixer, mixer-device, listen, access, groups, volume, channel-mode, max-volume, startup-volume, pin, subscribe, state-dir, discovery, policy, idle-release, output-delay, log, alsa",
    ),
    (
        "name = \"A\"\nstate_dir = \"/x\"",
        ":2:1: unknown key \"state_dir\" (did you mean \"state-dir\"?); accepted keys: name,",
    ),
    ("loudness = 3", ":1:1: unknown key \"loudness\"; accepted keys: name,"),
    (
        "[alsa]\nperoid = 8",
        ":2:1: unknown key \"alsa.peroid\" (did you mean \"alsa.period\"?); accepted keys: alsa.period, alsa.buffer",
    ),
    ("[pipewire]\n", ":1:2: unknown key \"pipewire\"; accepted keys: name,"),
    ("name = ", ":1:8: not valid TOML: "),
    ("name = \"A\"\nname = \"B\"", ":2:1: not valid TOML: duplicate key"),
    (
        "name = 7",
        ":1:8: key \"name\" cannot be 7: it is of type integer; accepted: a room name of 1 to 63 bytes without control characters",
    ),
    ("name = \"\"", ":1:8: key \"name\" cannot be \"\": it is empty; accepted: a room name"),
    ("name = \"a\\nb\"", ":1:8: key \"name\" cannot be \"a\\nb\": it holds a control character; accepted: "),
    (
        "name = \"ääääääääääääääääääääääääääääääää\"",
        ":1:8: key \"name\" cannot be \"ääääääääääääääääääääääääääääääää\": it has 64 bytes; accepted: ",
    ),
    ("ä = 1\n", ":1:1: not valid TOML: "),
    (
        "# Küche\n  output   = \"hdmi\"",
        ":2:14: key \"output\" cannot be \"hdmi\": there is no output \"hdmi\"; accepted: \"pipewire[:TARGET]\", \"alsa[:DEVICE]\", \"file:PATH.wav\" or \"null\"",
    ),
    (
        "mixer = \"\"",
        ":1:9: key \"mixer\" cannot be \"\": that names no element (1 to 43 bytes); accepted: the name of an element such as \"Digital\"",
    ),
    ("mixer-device = \"\"", ":1:16: key \"mixer-device\" cannot be \"\": that names no mixer; accepted: "),
    ("output = \"alsa:\"", ":1:10: key \"output\" cannot be \"alsa:\": nothing follows \"alsa:\"; accepted: "),
    (
        "output = \"file:/etc/passwd\"",
        ":1:10: key \"output\" cannot be \"file:/etc/passwd\": the path does not name a .wav file; accepted: ",
    ),
    (
        "listen = \"6528\"",
        ":1:10: key \"listen\" cannot be \"6528\": it is not a numeric address with a port; accepted: ADDRESS:PORT, such as \"[::]:6528\"",
    ),
    (
        "access = \"none\"",
        ":1:10: key \"access\" cannot be \"none\": there is no such value; accepted: \"paired\" or \"open\"",
    ),
    (
        "groups = \"a\"",
        ":1:10: key \"groups\" cannot be \"a\": it is of type string; accepted: a list in [ ]; each element a group name",
    ),
    ("groups = [\"a\",\n  \"b,c\"]", ":2:3: key \"groups\" cannot be \"b,c\": it holds a comma; accepted: "),
    (
        "groups = [\"everywhere\"]",
        ":1:11: key \"groups\" cannot be \"everywhere\": every player is in \"Everywhere\" without being told; accepted: ",
    ),
    (
        "subscribe = [\"tv:70000\"]",
        ":1:14: key \"subscribe\" cannot be \"tv:70000\": port 70000 is not in 1 to 65535; accepted: the name of a source, \"host:port\" or \"[address]:port\"",
    ),
    (
        "subscribe = [\"fe80::1\"]",
        ":1:14: key \"subscribe\" cannot be \"fe80::1\": it has no port (did you mean \"[fe80::1]:6528\"?); accepted: ",
    ),
    ("state-dir = \"\"", ":1:13: key \"state-dir\" cannot be \"\": it is empty; accepted: the path of a folder"),
    ("discovery = \"no\"", ":1:13: key \"discovery\" cannot be \"no\": it is of type string; accepted: true or false"),
    (
        "policy = \"last\"",
        ":1:10: key \"policy\" cannot be \"last\": there is no such value; accepted: \"newest\" or \"first\"",
    ),
    (
        "idle-release = -1",
        ":1:16: key \"idle-release\" cannot be -1: it is out of range; accepted: 0 to 86400 (seconds)",
    ),
    ("idle-release = nan", ":1:16: key \"idle-release\" cannot be nan: it is out of range; accepted: "),
    (
        "output-delay = 501",
        ":1:16: key \"output-delay\" cannot be 501: it is out of range; accepted: -500 to 500 (milliseconds)",
    ),
    (
        "log = \"loud\"",
        ":1:7: key \"log\" cannot be \"loud\": there is no such value; accepted: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    ),
    (
        "alsa = 5",
        ":1:8: key \"alsa\" cannot be 5: it is of type integer; accepted: a table [alsa] with: period, buffer",
    ),
    (
        "[alsa]\nperiod = 0",
        ":2:10: key \"alsa.period\" cannot be 0: it is out of range; accepted: 1 to 100 (milliseconds)",
    ),
    (
        "[alsa]\nbuffer = 12",
        ":2:10: key \"alsa.buffer\" cannot be 12: it holds less than two periods of 8 ms; accepted: 16 to 1000 (milliseconds), or a shorter alsa.period",
    ),
];

#[test]
fn a_mistake_is_shown_with_its_place_and_the_remedy() {
    let machine = Machine::new();
    for (text, expected) in WRONG {
        let file = machine.write("user.toml", text);
        let error = machine.load(&[]).expect_err(text);
        let expected = format!("{}{expected}", file.display());
        assert!(error.starts_with(&expected), "for {text:?}\n  said     {error}\n  expected {expected}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let machine = Machine::new();
    let path = machine.path("nowhere.toml");
    let error = machine.load(&["--config", path.to_str().unwrap()]).unwrap_err();
    assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
    machine.write("user.toml", "");
    std::fs::create_dir(machine.path("system.toml")).unwrap();
    assert!(machine.load(&[]).is_err(), "a folder in place of the file is not passed over");
}

#[test]
fn a_reload_tells_what_needs_a_restart() {
    let machine = Machine::new();
    let before = machine.load(&[]).unwrap();
    machine.write("user.toml", EVERYTHING);
    let after = machine.load(&[]).unwrap();
    assert_eq!(before.needs_restart(&after), ["output", "listen", "subscribe", "state-dir", "discovery", "alsa"]);
    assert!(after.needs_restart(&after).is_empty());
    machine.write("user.toml", "name = \"New\"\ngroups = [\"g\"]\naccess = \"open\"\npolicy = \"first\"\nidle-release = 1\noutput-delay = 3\nlog = \"warn\"");
    assert!(before.needs_restart(&machine.load(&[]).unwrap()).is_empty());
}

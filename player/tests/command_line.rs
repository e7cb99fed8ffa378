//! The program as a person meets it: what it prints and how it ends.

use std::process::{Command, Output};

fn player(home: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_audera-player")).args(arguments).env_clear().env("HOME", home).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_right_configuration_is_printed_and_ok() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".config/audera");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("player.toml");
    std::fs::write(&file, "name = \"Kitchen\"\noutput = \"alsa:hw:0\"\n").unwrap();
    let run = player(home.path(), &["--check-config", "--listen", "127.0.0.1:7001"]);
    let printed = text(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let state = home.path().join(".local/state/audera");
    for line in [
        format!("# from {}", file.display()),
        format!("state-dir = \"{}\"", state.display()),
        "name = \"Kitchen\"".into(),
        "output = \"alsa:hw:0\"".into(),
        "listen = \"127.0.0.1:7001\"".into(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing in\n{printed}");
    }
    assert_eq!(printed.lines().last(), Some("ok"));
    assert!(!state.exists(), "a check leaves no traces");
}

#[test]
fn a_wrong_configuration_ends_with_2_and_the_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("wrong.toml");
    std::fs::write(&file, "name = \"Kitchen\"\nacess = \"open\"\n").unwrap();
    for check in [&["--check-config"][..], &[]] {
        let run = player(home.path(), &[&["--config", file.to_str().unwrap()], check].concat());
        assert_eq!(run.status.code(), Some(2));
        let said = text(&run.stderr);
        let expected = format!(
            "audera-player: {}:2:1: unknown key \"acess\" (did you mean \"access\"?); accepted keys: ",
            file.display()
        );
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(text(&run.stdout), "");
    }
}

#[test]
fn a_wrong_option_ends_with_2_and_what_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["--output", "file:/tmp/x"][..], "\"pipewire[:TARGET]\", \"alsa[:DEVICE]\", \"file:PATH.wav\" or \"null\""),
        (&["--access", "all"], "\"paired\" or \"open\""),
        (&["--listen", "6528"], "ADDRESS:PORT"),
        (&["--nmae", "x"], "--name"),
        (&["status", "--name", "x"], "--name"),
        (&["--name", "x", "status"], "cannot be used with"),
        (&["status", "a b"], "is no address of a peer"),
        (&["-v", "--log", "info"], "cannot be used with"),
    ] {
        let run = player(home.path(), arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        assert!(text(&run.stderr).contains(expected), "{arguments:?}: {}", text(&run.stderr));
    }
}

#[test]
fn the_version_is_told() {
    let run = player(std::path::Path::new("/"), &["--version"]);
    assert_eq!(text(&run.stdout), concat!("audera-player ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// Every option is in the manual, and every key of the manual's table is accepted.
#[test]
fn manual_and_example_are_complete() {
    let manual = include_str!("../man/audera-player.1").replace("\\-", "-");
    let help = player(std::path::Path::new("/"), &["--help"]);
    let options = text(&help.stdout).split_whitespace().filter(|word| word.starts_with("--"));
    let mut count = 0;
    for option in options.map(|word| word.trim_end_matches([',', '.', ';', ':'])) {
        let name = option.trim_start_matches("--");
        assert!(
            manual.lines().any(|line| line.starts_with(".It") && line.contains(&format!("Fl Fl {name}"))),
            "{option} is not in the manual"
        );
        count += 1;
    }
    assert!(count >= 11, "{count} options found in --help");

    let home = tempfile::tempdir().unwrap();
    let example = include_str!("../etc/player.toml");
    let everything: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    for (text, what) in [(example, "as shipped"), (&everything, "with every setting shown")] {
        let file = home.path().join("player.toml");
        std::fs::write(&file, text).unwrap();
        let run = player(home.path(), &["--check-config", "--config", file.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(0), "{what}: {}", String::from_utf8_lossy(&run.stderr));
    }
    for key in everything
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" ="))
        .map(|(key, _)| key)
    {
        let listed = |line: &str| {
            line.strip_prefix(".It Cm ").is_some_and(|names| names.split([' ', ',']).any(|name| name == key))
        };
        assert!(manual.lines().any(listed), "the key {key} is not in the manual");
    }
}

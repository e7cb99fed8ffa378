//! Completions in the shells that they are for.

use std::path::Path;

use audera_testkit::Terminal;

use crate::site::*;

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/completions"))
}

/// Where `audera` is, before all else.
fn path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_audera"));
    format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

#[test]
fn shells_complete_commands_and_the_names_of_rooms_and_groups() {
    let Some(site) = Site::with_auderad() else { return };
    let _rooms = ["Kitchen", "Living Room", "Salle à manger"].map(|name| site.room(name));
    // The first Tab has auderad started.
    let run = |shell: &str, args: &[&str]| {
        let mut command = site.session.command(shell);
        command.args(args).env("PATH", path()).env("LANG", "C.UTF-8").current_dir(site.session.dir());
        let ended = ended(command.output().unwrap());
        assert_eq!((ended.code, ended.error.as_str()), (0, ""), "{shell} {args:?}");
        ended.out
    };
    site.session
        .poll("all rooms", || {
            (run("audera", &["complete", "fish", "--", "audera", "volume", ""]).lines().count() == 4).then_some(())
        })
        .unwrap();
    site.ok(&["group", "create", "Down stairs", "Kitchen"]);
    std::fs::write(site.session.dir().join("music.wav"), "").unwrap();

    // What bash is to insert, of words as it parts them.
    let bash = |words: &str| {
        let drive = "source \"$1/audera.bash\"; eval \"COMP_WORDS=($2)\"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                     _audera 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"";
        run("bash", &["--norc", "-c", drive, "bash", scripts().to_str().unwrap(), words])
    };
    let fish = |line: &str| {
        let drive = format!("source {}/audera.fish; complete --do-complete '{line}'", scripts().display());
        run("fish", &["--no-config", "-c", &drive])
    };
    assert_eq!(bash("audera vol"), "volume\n");
    assert_eq!(bash("audera volume ''"), "Kitchen\nLiving\\ Room\nSalle\\ à\\ manger\nDown\\ stairs\nEverywhere\n");
    assert_eq!(bash("audera volume Liv"), "Living\\ Room\n");
    assert_eq!(bash("audera volume 'Living\\ R'"), "Living\\ Room\n");
    assert_eq!(bash("audera volume '\"Liv'"), "Living Room\n");
    assert_eq!(bash("audera mute 'Living\\ Room' t"), "toggle\n");
    assert_eq!(bash("audera group add Do"), "Down\\ stairs\n");
    assert_eq!(bash("audera group add 'Down\\ stairs' Ki"), "Kitchen\n");
    assert_eq!(bash("audera rename Ev"), "\n", "a group has no name to change");
    assert_eq!(bash("audera channel Kitchen s"), "stereo\nswapped\n");
    assert_eq!(bash("audera play x --to Ev"), "Everywhere\n");
    assert_eq!(bash("audera co"), "config\n", "what is for scripts only is not offered");

    assert!(fish("audera vol").starts_with("volume\tSet the volume"));
    assert_eq!(fish("audera volume L"), "Living Room\tidle\n");
    assert_eq!(fish("audera volume Living\\\\ R"), "Living Room\tidle\n");
    assert_eq!(fish("audera group delete \"\""), "Down stairs\tKitchen\n");
    assert_eq!(fish("audera play mus").trim_end(), "music.wav");

    // zsh, and files in bash, where people press Tab.
    let folder = site.session.dir().join("zsh");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(scripts().join("_audera"), folder.join("_audera")).unwrap();
    let rc = format!("PS1='ready> '\nfpath=({} $fpath)\nautoload -Uz compinit && compinit -u -D\n", folder.display());
    std::fs::write(folder.join(".zshrc"), rc).unwrap();
    let start =
        format!("cd '{}'; PATH='{}' ZDOTDIR='{}' zsh -d", site.session.dir().display(), path(), folder.display());
    let typing = |start: &str, typed: &[(&str, &str)]| {
        let terminal = Terminal::start(&site.session, start).unwrap();
        terminal.wait_for("a prompt", |screen| screen.contains("ready>"));
        for (keys, becomes) in typed {
            terminal.press(&["-l", keys]);
            terminal.press(&["Tab"]);
            terminal.wait_for(becomes, |screen| screen.trim_end().ends_with(becomes));
            terminal.press(&["C-u"]);
            terminal.wait_for("an empty line", |screen| screen.trim_end().ends_with("ready>"));
        }
    };
    typing(
        &start,
        &[
            ("audera volume Liv", "ready> audera volume Living\\ Room"),
            ("audera volume \"Liv", "ready> audera volume \"Living Room\""),
            ("audera group add Down\\ stairs K", "ready> audera group add Down\\ stairs Kitchen"),
            ("audera play mus", "ready> audera play music.wav"),
        ],
    );
    let start = format!("cd '{}'; PATH='{}' PS1='ready> ' bash --norc", site.session.dir().display(), path());
    let source = format!("source {}/audera.bash; clear", scripts().display());
    let terminal = Terminal::start(&site.session, &start).unwrap();
    terminal.wait_for("a prompt", |screen| screen.contains("ready>"));
    terminal.press(&["-l", &source]);
    terminal.press(&["Enter"]);
    terminal.wait_for("an empty screen", |screen| screen.trim() == "ready>");
    for (keys, becomes) in [
        ("audera volume Liv", "ready> audera volume Living\\ Room"),
        ("audera volume \"Liv", "ready> audera volume \"Living Room\""),
        ("audera play mus", "ready> audera play music.wav"),
    ] {
        terminal.press(&["-l", keys]);
        terminal.press(&["Tab"]);
        terminal.wait_for(becomes, |screen| screen.trim_end().ends_with(becomes));
        terminal.press(&["C-u"]);
        terminal.wait_for("an empty line", |screen| screen.trim_end().ends_with("ready>"));
    }
}

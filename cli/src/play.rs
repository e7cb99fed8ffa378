//! `audera play`: finds the sink for a room, and a program that plays a file to it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::PlayArgs;
use crate::desk::{Desk, connect};
use crate::error::Failure;
use crate::house::House;
use crate::live::everything;

/// What is always all rooms.
const EVERYWHERE: &str = "Everywhere";

/// A program with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Player {
    program: PathBuf,
    args: Vec<OsString>,
}

/// Finds what plays the file.
///
/// # Errors
/// There is no such file or room, or nothing that could play it.
pub async fn find(args: &PlayArgs) -> Result<Player, Failure> {
    if let Err(error) = std::fs::File::open(&args.file) {
        return Err(Failure::Failed(format!("{} cannot be read: {error}", args.file.display())));
    }
    let tools = Tools::installed();
    // The sinks are there without auderad, and where it is not installed at all.
    let house = everything(&connect().await?).await?;
    let wanted = args.to.clone().unwrap_or_else(|| everywhere(&house));
    if node(&house, &wanted).is_some() {
        return choose(&house, &wanted, &args.file, &tools);
    }
    // Who knows whether there is such a room at all, and how it is written.
    let desk = Desk::open().await?;
    let fader = desk.fader(&wanted).await?;
    choose(&everything(&desk.connection).await?, fader.name(), &args.file, &tools)
}

/// Becomes that program.
///
/// # Errors
/// It cannot be run.
pub fn run(player: Player) -> Result<(), Failure> {
    let error = Command::new(&player.program).args(&player.args).exec();
    Err(Failure::Failed(format!("{} cannot be run: {error}", player.program.display())))
}

/// All rooms; with a single sink, which is then that of the only room, this room.
fn everywhere(house: &House) -> String {
    match &house.sinks[..] {
        [only] => only.target.clone(),
        _ => EVERYWHERE.to_owned(),
    }
}

/// The node of the sink for a room or group.
fn node<'a>(house: &'a House, target: &str) -> Option<&'a str> {
    let lower = target.to_lowercase();
    let exact = house.sinks.iter().find(|sink| sink.target == target);
    let sink = exact.or_else(|| house.sinks.iter().find(|sink| sink.target.to_lowercase() == lower));
    sink.map(|sink| sink.node.as_str())
}

/// What this machine can play with.
#[derive(Debug, Default)]
struct Tools {
    pw_play: Option<PathBuf>,
    paplay: Option<PathBuf>,
    /// Of use with Audera's ALSA plugin only.
    aplay: Option<PathBuf>,
}

impl Tools {
    fn installed() -> Self {
        let find = |program: &str| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
        };
        let aplay = find("aplay").filter(|_| plugin_is_there());
        Tools { pw_play: find("pw-play"), paplay: find("paplay"), aplay }
    }
}

/// Whether Audera's ALSA plugin is in one of the folders where distributions have alsa-lib look.
fn plugin_is_there() -> bool {
    let below = |folder: &str| {
        let folders = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.chain([PathBuf::from(folder)]).collect::<Vec<_>>()
    };
    let usual = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].into_iter().flat_map(below);
    let named = std::env::var_os("ALSA_PLUGIN_DIR").map(PathBuf::from);
    let plugin = "libasound_module_pcm_audera.so";
    usual.map(|folder| folder.join("alsa-lib")).chain(named).any(|folder| folder.join(plugin).is_file())
}

/// The program: to the sink if there is one, else through the ALSA plugin.
fn choose(house: &House, target: &str, file: &Path, tools: &Tools) -> Result<Player, Failure> {
    // A name that begins with a dash is no option.
    let file = if file.is_absolute() { file.to_owned() } else { Path::new(".").join(file) };
    let player = |program: &PathBuf, args: &[OsString]| Player {
        program: program.clone(),
        args: args.iter().cloned().chain([file.clone().into()]).collect(),
    };
    let node = node(house, target);
    match (node, tools) {
        (Some(node), Tools { pw_play: Some(program), .. }) => Ok(player(program, &["--target".into(), node.into()])),
        (Some(node), Tools { paplay: Some(program), .. }) => Ok(player(program, &[format!("--device={node}").into()])),
        (_, Tools { aplay: Some(program), .. }) => {
            Ok(player(program, &["-q".into(), "-D".into(), format!("audera:{}", alsa_quoted(target)).into()]))
        }
        (Some(_), _) => {
            Err(Failure::Failed("neither pw-play nor paplay is there: apt install pipewire-bin".to_owned()))
        }
        (None, _) => Err(Failure::Failed(format!(
            "this machine has no sink for \"{target}\": systemctl --user enable --now audera makes one for each room; \
             without PipeWire, Audera's ALSA plugin and aplay (apt install alsa-utils) do it as well"
        ))),
    }
}

/// A name as an argument of an ALSA device: commas and spaces are part of it in quotes only.
fn alsa_quoted(name: &str) -> String {
    match name {
        plain if plain.chars().all(char::is_alphanumeric) => plain.to_owned(),
        quoted if !quoted.contains('\'') => format!("'{quoted}'"),
        other => format!("\"{other}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Sink;

    fn house(targets: &[&str]) -> House {
        let sink =
            |target: &&str| Sink { target: (*target).to_owned(), node: format!("audera.{target}"), ..Sink::default() };
        House { sinks: targets.iter().map(sink).collect(), ..House::default() }
    }

    fn words(house: &House, target: &str, tools: &Tools) -> String {
        let player = choose(house, target, Path::new("-a.wav"), tools).unwrap();
        let args: Vec<_> = player.args.iter().map(|word| word.to_str().unwrap()).collect();
        format!("{} {}", player.program.display(), args.join(" "))
    }

    #[test]
    fn what_is_there_plays_to_the_sink_and_else_to_the_plugin() {
        let all =
            || Tools { pw_play: Some("pw-play".into()), paplay: Some("paplay".into()), aplay: Some("aplay".into()) };
        let house = house(&["Everywhere", "Kitchen"]);
        assert_eq!(words(&house, "Kitchen", &all()), "pw-play --target audera.Kitchen ./-a.wav");
        let no_pipewire = Tools { pw_play: None, ..all() };
        assert_eq!(words(&house, "kitchen", &no_pipewire), "paplay --device=audera.Kitchen ./-a.wav");
        assert_eq!(words(&house, "Living Room", &all()), "aplay -q -D audera:'Living Room' ./-a.wav");
        let nothing = choose(&house, "Kitchen", Path::new("a.wav"), &Tools::default()).unwrap_err();
        assert!(nothing.to_string().contains("pipewire-bin"), "{nothing}");
        let no_plugin = choose(&house, "Bath", Path::new("a.wav"), &Tools { aplay: None, ..all() }).unwrap_err();
        assert!(no_plugin.to_string().contains("enable --now audera"), "{no_plugin}");
    }

    #[test]
    fn without_a_room_it_is_everywhere_or_the_only_one() {
        assert_eq!(everywhere(&house(&["Bath", "Everywhere"])), "Everywhere");
        assert_eq!(everywhere(&house(&["Bath"])), "Bath");
    }
}

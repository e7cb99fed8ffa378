//! What fits where a command line is being typed: the scripts in `completions/` ask for it, each in its shell's way.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::engine::{CompletionCandidate, complete};
use tokio::time::timeout;

use crate::cli::{Cli, CompleteArgs};
use crate::desk::{Desk, connect};
use crate::error::Failure;
use crate::house::House;
use crate::live::everything;
use crate::output::{harmless, line};

/// Exit status that tells a script to offer files, which every shell does in its own way.
const FILES: u8 = 10;
/// The candidate that stands for files inside the program; no command line can have it.
const FILE: &str = "\0";
/// How long someone who has pressed Tab waits for names.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Gives words as they are typed, and takes them the same way: with quotes and backslashes.
    Bash,
    /// Gives all words but the last one plain, and takes plain ones with a description behind a tab.
    Zsh,
    /// The same.
    Fish,
}

/// `audera complete`: writes one candidate on each line.
///
/// # Errors
/// They cannot be written.
pub fn run(args: CompleteArgs) -> Result<u8, Failure> {
    let CompleteArgs { shell, mut words } = args;
    let raw = words.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    if shell == Shell::Bash {
        words = words.iter().map(|word| OsString::from(plain(&word.to_string_lossy()))).collect();
    } else if let Some(last) = words.last_mut() {
        *last = OsString::from(plain(&raw));
    }
    let index = words.len().saturating_sub(1);
    let option = words.last().is_some_and(|word| word.to_string_lossy().starts_with('-'));
    let mut command = Cli::command();
    let candidates = complete(&mut command, words, index, None)?;
    if candidates.iter().any(|candidate| candidate.get_value() == OsStr::new(FILE)) {
        return Ok(FILES);
    }
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        // Options only where one is begun: rooms are what people look for.
        if value.starts_with('-') && !option {
            continue;
        }
        match (shell, candidate.get_help()) {
            (Shell::Bash, _) => line(&quoted(&value, &raw))?,
            (_, Some(help)) => line(&format!("{value}\t{}", help.to_string().lines().next().unwrap_or_default()))?,
            (_, None) => line(&value)?,
        }
    }
    Ok(0)
}

/// The rooms.
pub fn rooms() -> Vec<CompletionCandidate> {
    candidates(&auderad(), |house| house.rooms.iter().map(|room| (room.name.as_str(), room.state.clone())).collect())
}

/// The groups that can be changed.
pub fn groups() -> Vec<CompletionCandidate> {
    candidates(&auderad(), |house| {
        let own = house.groups.iter().filter(|group| group.name != "Everywhere");
        own.map(|group| (group.name.as_str(), group.members.join(", "))).collect()
    })
}

/// Rooms and groups.
pub fn rooms_and_groups() -> Vec<CompletionCandidate> {
    candidates(&auderad(), |house| {
        let rooms = house.rooms.iter().map(|room| (room.name.as_str(), room.state.clone()));
        rooms.chain(house.groups.iter().map(|group| (group.name.as_str(), group.members.join(", ")))).collect()
    })
}

/// The sources of this machine.
pub fn sources() -> Vec<CompletionCandidate> {
    let house = ask(async { everything(&connect().await?).await });
    candidates(&house, |house| {
        house.sources.iter().map(|source| (source.name.as_str(), source.state.clone())).collect()
    })
}

/// What the sources of this machine could capture.
pub fn inputs() -> Vec<CompletionCandidate> {
    let house = ask(async { everything(&connect().await?).await });
    candidates(&house, |house| {
        // They are the same for all of them.
        let inputs = house.sources.first().into_iter().flat_map(|source| &source.inputs);
        inputs.map(|input| (input.name.as_str(), input.description.clone())).collect()
    })
}

/// The sources; where there is one only, which may be left out, also its inputs.
pub fn sources_and_inputs() -> Vec<CompletionCandidate> {
    let mut found = sources();
    if found.len() == 1 {
        found.extend(inputs());
    }
    found
}

/// Files, whatever has been typed.
pub fn files(_: &OsStr) -> Vec<CompletionCandidate> {
    vec![CompletionCandidate::new(FILE)]
}

fn auderad() -> House {
    ask(async { Desk::open().await?.look_around().await })
}

/// Asks, and has nothing to offer where that goes wrong: a completion is no place for messages.
fn ask(question: impl Future<Output = Result<House, Failure>>) -> House {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return House::default();
    };
    let answer = runtime.block_on(async { timeout(PATIENCE, question).await });
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

fn candidates<'a>(
    house: &'a House,
    names: impl FnOnce(&'a House) -> Vec<(&'a str, String)>,
) -> Vec<CompletionCandidate> {
    let candidate = |(name, help): (&str, String)| CompletionCandidate::new(name).help(Some(harmless(&help).into()));
    // A name that a terminal would stumble over is not offered.
    let tame = names(house).into_iter().filter(|(name, _)| !name.chars().any(char::is_control));
    tame.map(candidate).collect()
}

/// A word without the quotes and backslashes that a shell takes away, and without those that are not closed yet.
fn plain(word: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', None) => plain.extend(chars.next()),
            ('\\', Some('"')) => match chars.next() {
                Some(special @ ('"' | '\\' | '$' | '`')) => plain.push(special),
                other => plain.extend(['\\'].into_iter().chain(other)),
            },
            ('"' | '\'', None) => quote = Some(char),
            (char, Some(open)) if char == open => quote = None,
            (char, _) => plain.push(char),
        }
    }
    plain
}

/// A candidate as bash inserts it: what was typed says which quotes are open.
fn quoted(candidate: &str, typed: &str) -> String {
    let escape = |special: &dyn Fn(char) -> bool| -> String {
        candidate.chars().flat_map(|char| special(char).then_some('\\').into_iter().chain([char])).collect()
    };
    match typed.chars().next() {
        Some('"') => escape(&|char| matches!(char, '"' | '\\' | '$' | '`')),
        Some('\'') => candidate.replace('\'', r"'\''"),
        // All but what never means anything to a shell, nor parts words for readline.
        _ => escape(&|char| char.is_ascii() && !char.is_ascii_alphanumeric() && !"-_./+%,@".contains(char)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_as_they_are_typed() {
        for (word, means) in [
            ("Kit", "Kit"),
            (r"Living\ R", "Living R"),
            ("\"Living R", "Living R"),
            ("'Living Room'", "Living Room"),
            (r#""a\"b\c"#, r#"a"b\c"#),
            ("\\", ""),
        ] {
            assert_eq!(plain(word), means, "{word}");
        }
    }

    #[test]
    fn names_go_as_they_would_be_typed() {
        assert_eq!(quoted("Living Room", "Liv"), r"Living\ Room");
        assert_eq!(quoted("Living Room", "\"Liv"), "Living Room");
        assert_eq!(quoted("Küche: $HOME", ""), r"Küche\:\ \$HOME");
        assert_eq!(quoted("$HOME", "\""), r"\$HOME");
        assert_eq!(quoted("Tom's", "'T"), r"Tom'\''s");
        for name in ["Living Room", "a'b\"c", "`x` $y", "#~*?[]"] {
            assert_eq!(plain(&quoted(name, "")), name);
        }
    }
}

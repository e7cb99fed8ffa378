//! `audera-player set`: changes the state of a room, this machine's or another's, and prints what it is then. It never streams.

use audera_wire::{RoomChange, RoomRefusal, RoomState, SenderEvent};
use thiserror::Error;

use crate::asking::{AskError, Flow, Question};
use crate::cli::{SetArgs, exit};
use crate::config::Config;

/// Why nothing was set.
#[derive(Debug, Error)]
pub enum SetError {
    /// A word is no setting.
    #[error("\"{word}\" cannot be set: {why}; accepted: {ACCEPTED}")]
    Word {
        /// The word.
        word: String,
        /// What is wrong with it.
        why: String,
    },
    /// The player does not set it.
    #[error("not set: {0}")]
    Refused(RoomRefusal),
    /// The player cannot be asked.
    #[error(transparent)]
    Player(#[from] AskError),
}

/// What can be set, for people.
const ACCEPTED: &str = "name=TEXT, volume=40% (also +5%, -5%, -3dB), mute=on|off, channel-mode=stereo|left|right|mono|swapped, \
                        output-delay=MS, groups=A,B, max-volume=80%, startup-volume=25%|none";

impl SetError {
    /// What the program ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Word { .. } | Self::Refused(_) => exit::CONFIG,
            Self::Player(error) => error.exit_code(),
        }
    }
}

/// Reads `KEY=VALUE`.
fn setting(word: &str) -> Result<RoomChange, SetError> {
    let wrong = |why: &str| SetError::Word { word: word.to_owned(), why: why.to_owned() };
    let (key, value) = word.split_once('=').ok_or_else(|| wrong("it is no KEY=VALUE"))?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let percent = |text: &str| number(text.strip_suffix('%').unwrap_or(text)).ok_or_else(|| wrong("that is no number"));
    let mut change = RoomChange::default();
    match key.replace('_', "-").as_str() {
        "name" => change.name = Some(value.to_owned()),
        "volume" => {
            if let Some(decibels) = value.strip_suffix("dB") {
                let relative = value.starts_with(['+', '-']).then(|| number(decibels)).flatten();
                let step = relative.ok_or_else(|| wrong("dB are added or taken away: +3dB or -3dB"))?;
                change.volume_step_db = Some(step);
            } else if value.starts_with(['+', '-']) {
                change.volume_step = Some(percent(value)?);
            } else {
                change.volume = Some(percent(value)?);
            }
        }
        "mute" => {
            change.mute = Some(match value {
                "on" | "true" | "1" => true,
                "off" | "false" | "0" => false,
                _ => return Err(wrong("mute is on or off")),
            });
        }
        "channel-mode" => change.channel_mode = Some(value.to_owned()),
        "output-delay" | "output-delay-ms" => {
            let delay = number(value.strip_suffix("ms").unwrap_or(value)).ok_or_else(|| wrong("that is no number"))?;
            change.output_delay_ms = Some(delay);
        }
        "groups" => {
            let groups = value.split(',').map(str::trim).filter(|group| !group.is_empty());
            change.groups = Some(groups.map(str::to_owned).collect());
        }
        "max-volume" => change.max_volume = Some(percent(value)?),
        "startup-volume" => change.startup_volume = Some(if value == "none" { None } else { Some(percent(value)?) }),
        _ => return Err(wrong("there is no such key")),
    }
    Ok(change)
}

/// One change of all settings.
fn change(words: &[String]) -> Result<RoomChange, SetError> {
    let mut change = RoomChange::default();
    for word in words {
        let next = setting(word)?;
        // In one change the points come first, whichever was said first.
        if change.volume_step_db.is_some() && next.volume_step.is_some() {
            let why = "after a step in dB it would be taken before that one: say it first".to_owned();
            return Err(SetError::Word { word: word.clone(), why });
        }
        change.merge(next);
    }
    Ok(change)
}

/// Sets and prints.
///
/// # Errors
/// See [`SetError`].
pub fn run(args: &SetArgs) -> Result<(), SetError> {
    // The player on this machine needs no name: then the first word is a setting already.
    let (host, words) = match args.words.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(first), rest),
        _ => (None, &args.words[..]),
    };
    let change = change(words)?;
    let config = Config::load(&args.as_player()).map_err(AskError::from)?;
    let question =
        Question { host: host.map(String::as_str), config: &config, name: "audera-player set", patient: false };
    let mut change = Some(change);
    let outcome = question.ask(|_, session, event| match event {
        SenderEvent::Room { state, settled, .. } => {
            let change = change.take().unwrap_or_default();
            if change.is_empty() {
                return if settled { Flow::Enough(Ok(state)) } else { Flow::Wait };
            }
            match session.set(change) {
                Err(audera_wire::SetError::Refused(refusal)) => Flow::Enough(Err(refusal)),
                // What has closed the session is about to be told.
                Ok(()) | Err(_) => Flow::Wait,
            }
        }
        SenderEvent::SetRefused(refusal) => Flow::Enough(Err(refusal)),
        _ => Flow::Wait,
    })?;
    if let Some(outcome) = outcome {
        print!("{}", shown(&outcome.map_err(SetError::Refused)?));
    }
    Ok(())
}

/// The state for people, and for `audera-player set` again.
fn shown(state: &RoomState) -> String {
    let startup = state.startup_volume.map_or("none".to_owned(), |volume| volume.to_string());
    let pinned: Vec<&str> = state.pinned.iter().map(|key| key.name()).collect();
    let mut text = format!(
        "name={}\nvolume={}\nmute={}\nchannel-mode={}\noutput-delay={}ms\ngroups={}\nmax-volume={}\nstartup-volume={startup}\n",
        state.name,
        state.volume,
        if state.mute { "on" } else { "off" },
        state.channel_mode,
        state.output_delay_ms,
        state.groups.join(","),
        state.max_volume,
    );
    if !pinned.is_empty() {
        text += &format!("# pinned by the player's configuration: {}\n", pinned.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use audera_wire::Volume;

    use super::*;

    fn after(words: &[&str]) -> Result<RoomState, String> {
        let before = RoomState { volume: Volume::nearest(40.0), ..RoomState::new("Kitchen") };
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let change = change(&words).map_err(|error| error.to_string())?;
        before.changed(&change).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let state = after(&[
            "name=Big Room",
            "volume=33.3%",
            "mute=on",
            "channel_mode=mono",
            "output-delay=-12.5ms",
            "groups=Up, Down",
            "max-volume=80",
            "startup-volume=25%",
        ])
        .unwrap();
        let text = shown(&state);
        assert_eq!(after(&text.lines().collect::<Vec<_>>()).unwrap(), state, "{text}");
    }

    #[test]
    fn volumes_are_absolute_or_relative() {
        let percent = |words: &[&str]| after(words).unwrap().volume.percent();
        assert_eq!(percent(&["volume=+5%"]), 45.0);
        assert_eq!(percent(&["volume=-50"]), 0.0);
        assert_eq!(percent(&["volume=20", "volume=+1"]), 21.0);
        let quieter = after(&["volume=-3dB"]).unwrap().volume;
        assert!((quieter.decibels() - Volume::nearest(40.0).decibels() + 3.0).abs() < 0.01, "{quieter}");
        assert_eq!(percent(&["volume=+60dB"]), 100.0);
        assert_eq!(percent(&["volume=+10%", "volume=-60dB"]), 5.0);
        assert!(after(&["volume=-60dB", "volume=+10%"]).unwrap_err().contains("say it first"));
        assert!(after(&["volume=0", "volume=+3dB"]).unwrap_err().contains("silence has none"));
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        for (word, why) in [
            ("loud", "no KEY=VALUE"),
            ("colour=red", "no such key"),
            ("volume=loud", "no number"),
            ("volume=-3.dBdB", "dB are added"),
            ("volume=3dB", "dB are added"),
            ("mute=maybe", "on or off"),
            ("volume=140%", "0 to 100"),
        ] {
            let error = after(&[word]).unwrap_err();
            assert!(error.contains(why) && error.contains("accepted"), "{error}");
        }
    }
}

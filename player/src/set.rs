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

/// One setting of the command line.
#[derive(Debug, Clone, PartialEq)]
enum Setting {
    Plain(RoomChange),
    /// dB to be added to the volume, which has to be known for that.
    Decibels(f64),
}

/// Reads `KEY=VALUE`.
fn setting(word: &str) -> Result<Setting, SetError> {
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
                return relative
                    .map(Setting::Decibels)
                    .ok_or_else(|| wrong("dB are added or taken away: +3dB or -3dB"));
            }
            if value.starts_with(['+', '-']) {
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
    Ok(Setting::Plain(change))
}

/// One change of all settings, for a room in this state.
fn change(settings: &[Setting], state: &RoomState) -> RoomChange {
    let mut change = RoomChange::default();
    for setting in settings {
        match setting {
            Setting::Plain(plain) => change.merge(plain.clone()),
            Setting::Decibels(decibels) => {
                let before = change.volume.unwrap_or(state.volume.percent());
                // The scale has 60 dB for each factor of ten.
                let volume = (before * 10f64.powf(decibels / 60.0)).min(100.0);
                change.merge(RoomChange::volume((volume * 100.0).round() / 100.0));
            }
        }
    }
    change
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
    let settings = words.iter().map(|word| setting(word)).collect::<Result<Vec<_>, _>>()?;
    let config = Config::load(&args.as_player()).map_err(AskError::from)?;
    let question =
        Question { host: host.map(String::as_str), config: &config, name: "audera-player set", patient: false };
    let mut settings = Some(settings);
    let outcome = question.ask(|_, session, event| match event {
        SenderEvent::Room { state, settled, .. } => {
            let change = settings.take().map(|settings| change(&settings, &state)).unwrap_or_default();
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
        let settings: Result<Vec<_>, _> = words.iter().map(|word| setting(word)).collect();
        before
            .changed(&change(&settings.map_err(|error| error.to_string())?, &before))
            .map_err(|error| error.to_string())
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

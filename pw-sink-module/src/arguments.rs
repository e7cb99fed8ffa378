//! The arguments of the module.

use audera_pw::{Args, Error};
use audera_pw_sender::{COMMON_KEYS, SenderArguments};

/// What the module is told.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) sender: SenderArguments,
    /// `audera.discover`.
    pub(crate) discover: bool,
    /// `audera.name.format`: holds one `%s`.
    name_format: String,
}

const KEYS: &[&str] = &["audera.discover", "audera.name.format"];

impl Arguments {
    /// Reads and checks all arguments.
    pub(crate) fn read(args: &Args) -> Result<Self, Error> {
        let known: Vec<&str> = KEYS.iter().chain(COMMON_KEYS).copied().collect();
        args.only(&known)?;
        let name_format = args.string("audera.name.format")?.unwrap_or("Audera %s").to_owned();
        if name_format.matches("%s").count() != 1 || name_format.chars().any(char::is_control) {
            return Err(Error::Argument {
                key: "audera.name.format".to_owned(),
                value: name_format,
                expected: "text with one %s, which stands for the room".to_owned(),
            });
        }
        Ok(Arguments {
            sender: SenderArguments::read(args)?,
            discover: args.boolean("audera.discover")?.unwrap_or(true),
            name_format,
        })
    }

    /// What the sink of `room` is called.
    pub(crate) fn description(&self, room: &str) -> String {
        self.name_format.replace("%s", room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        let text = format!("{{ audera.state.dir = /state {text} }}");
        Arguments::read(&Args::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_room_is_named_by_the_format() {
        assert_eq!(read("").unwrap().description("Kitchen"), "Audera Kitchen");
        assert_eq!(
            read("audera.name.format = \"%s (Audera)\"").unwrap().description("B\u{fc}ro"),
            "B\u{fc}ro (Audera)"
        );
        assert!(read("audera.name.format = rooms").unwrap_err().contains("%s"));
    }

    #[test]
    fn unknown_arguments_are_refused_by_name() {
        let refusal = read("audera.latncy.msec = 40").unwrap_err();
        assert!(refusal.contains("audera.latncy.msec") && refusal.contains("audera.latency.msec"), "{refusal}");
    }
}

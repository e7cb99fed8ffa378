//! The arguments of the module.

use audera_pw::{Args, Error, Properties};
use audera_pw_sender::{COMMON_KEYS, SenderArguments};

/// What the module is told.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) sender: SenderArguments,
    /// `audera.discover`.
    pub(crate) discover: bool,
    /// `audera.name.format`: holds one `%s`.
    name_format: String,
    /// `stream.props` without what is read from it here.
    pub(crate) properties: Properties,
    /// `audio.rate`, Hz.
    pub(crate) rate: u32,
    /// `audio.channels`.
    pub(crate) channels: u8,
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
        let properties = args.properties("stream.props")?;
        Ok(Arguments {
            sender: SenderArguments::read(args)?,
            discover: args.boolean("audera.discover")?.unwrap_or(true),
            name_format,
            rate: number(&properties, "audio.rate", 44_100, 192_000, 48_000)?,
            channels: number(&properties, "audio.channels", 1, 8, 2)? as u8,
            properties,
        })
    }

    /// What the sink of `room` is called.
    pub(crate) fn description(&self, room: &str) -> String {
        self.name_format.replace("%s", room)
    }
}

fn number(properties: &Properties, key: &str, least: u32, most: u32, usual: u32) -> Result<u32, Error> {
    let Some(text) = properties.get(key) else { return Ok(usual) };
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| Error::Argument {
        key: format!("stream.props / {key}"),
        value: text.to_owned(),
        expected: format!("an integer from {least} to {most}"),
    })
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
    fn rate_and_channels_come_from_the_properties() {
        let read_props = read("stream.props = { audio.rate = 96000 audio.channels = 6 node.x = y }").unwrap();
        assert_eq!((read_props.rate, read_props.channels), (96_000, 6));
        assert_eq!(read_props.properties.get("node.x"), Some("y"));
        assert!(read("stream.props = { audio.rate = 8000 }").unwrap_err().contains("44100 to 192000"));
    }

    #[test]
    fn unknown_arguments_are_refused_by_name() {
        let refusal = read("audera.latncy.msec = 40").unwrap_err();
        assert!(refusal.contains("audera.latncy.msec") && refusal.contains("audera.latency.msec"), "{refusal}");
    }
}

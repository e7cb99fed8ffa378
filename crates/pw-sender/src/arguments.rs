//! The arguments that sinks and sources share.

use std::path::PathBuf;

use audera_clock::Span;
use audera_link::Target;
use audera_pw::{Args, Error, Properties};
use audera_sender::{CHOSEN_LATENCIES, CodecChoice, Encoding, Latency};

/// The keys read here.
pub const COMMON_KEYS: &[&str] = &[
    "audera.players",
    "audera.codec",
    "audera.opus.bitrate",
    "audera.opus.frame.msec",
    "audera.latency.msec",
    "audera.state.dir",
    "stream.props",
];

/// What every sender is told.
#[derive(Debug, Clone)]
pub struct SenderArguments {
    /// Players at fixed addresses (`audera.players`).
    pub players: Vec<String>,
    /// Codec and packets (`audera.codec`, `audera.opus.*`).
    pub encoding: Encoding,
    /// Whether the length of packets was given (`audera.opus.frame.msec`): otherwise it follows the latency.
    pub packets_given: bool,
    /// From the graph to the speaker (`audera.latency.msec`).
    pub latency: Latency,
    /// Identity and trusted peers (`audera.state.dir`).
    pub state_dir: PathBuf,
    /// Properties for the nodes (`stream.props`).
    pub properties: Properties,
    /// `audio.rate` in `stream.props`, 44100 to 192000 Hz.
    pub rate: u32,
    /// `audio.channels` in `stream.props`, 1 to 8.
    pub channels: u8,
}

impl SenderArguments {
    /// Reads them, with their defaults.
    ///
    /// # Errors
    /// A value that is not accepted, by key.
    pub fn read(args: &Args) -> Result<Self, Error> {
        let codecs = [("auto", CodecChoice::Auto), ("pcm", CodecChoice::Pcm), ("opus", CodecChoice::Opus)];
        let latency = latency(args)?;
        let packet_msec = latency.usual_packet_msec();
        let usual = Encoding { packet_msec, ..Encoding::default() };
        let given = args.one_of("audera.opus.frame.msec", &[("5", 5), ("10", 10), ("20", 20)])?;
        let encoding = Encoding {
            codec: args.one_of("audera.codec", &codecs)?.unwrap_or(usual.codec),
            opus_kbps: args.integer("audera.opus.bitrate", 64..=320)?.map_or(usual.opus_kbps, |kbps| kbps as u32),
            packet_msec: given.unwrap_or(usual.packet_msec),
        };
        let properties = args.properties("stream.props")?;
        let state_dir = match args.string("audera.state.dir")? {
            Some(dir) => PathBuf::from(dir),
            None => default_state_dir()?,
        };
        Ok(SenderArguments {
            players: players(args)?,
            encoding,
            packets_given: given.is_some(),
            latency,
            state_dir,
            rate: number(&properties, "audio.rate", 44_100, 192_000, 48_000)?,
            channels: number(&properties, "audio.channels", 1, 8, 2)? as u8,
            properties,
        })
    }
}

/// `audera.latency.msec`: a number, or what the rooms need.
fn latency(args: &Args) -> Result<Latency, Error> {
    const KEY: &str = "audera.latency.msec";
    let refused = |value: &str| Error::Argument {
        key: KEY.to_owned(),
        value: value.to_owned(),
        expected: format!("auto, or an integer from {} to {}", CHOSEN_LATENCIES.start(), CHOSEN_LATENCIES.end()),
    };
    match args.string(KEY)? {
        None | Some("auto") => Ok(Latency::Auto),
        Some(text) => match text.parse() {
            Ok(ms) if CHOSEN_LATENCIES.contains(&ms) => Ok(Latency::Fixed(Span::from_millis(ms))),
            _ => Err(refused(text)),
        },
    }
}

/// `audera.players`: a wrong address is better told at the start than looked for in vain.
fn players(args: &Args) -> Result<Vec<String>, Error> {
    let players = args.strings("audera.players")?.unwrap_or_default();
    match players.iter().find(|player| Target::parse(player, audera_wire::PORT).is_err()) {
        None => Ok(players),
        Some(wrong) => Err(Error::Argument {
            key: "audera.players".to_owned(),
            value: format!("[ \"{wrong}\" ]"),
            expected: "host, host:port, IPv4, IPv4:port, IPv6 or [IPv6]:port with a port from 1 to 65535".to_owned(),
        }),
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

/// `$XDG_STATE_HOME/audera`; the XDG specification wants relative paths ignored.
fn default_state_dir() -> Result<PathBuf, Error> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("audera"))
        .ok_or_else(|| Error::Argument {
            key: "audera.state.dir".to_owned(),
            value: "not given".to_owned(),
            expected: "a folder, as neither XDG_STATE_HOME nor HOME is set".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SenderArguments, String> {
        let text = format!("{{ audera.state.dir = /state {text} }}");
        SenderArguments::read(&Args::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn silence_means_the_documented_defaults() {
        let read = read("").unwrap();
        assert_eq!(read.encoding, Encoding { codec: CodecChoice::Auto, opus_kbps: 160, packet_msec: 20 });
        assert_eq!(read.latency, Latency::Auto);
        assert!(read.players.is_empty());
    }

    #[test]
    fn what_is_given_counts() {
        let read = read("audera.codec = opus audera.opus.bitrate = 96 audera.opus.frame.msec = 20 audera.latency.msec = 40 audera.players = [ \"a:1\" ]").unwrap();
        assert_eq!(read.encoding, Encoding { codec: CodecChoice::Opus, opus_kbps: 96, packet_msec: 20 });
        assert_eq!(read.latency, Latency::Fixed(Span::from_millis(40)));
        assert_eq!(read.players, ["a:1"]);
    }

    #[test]
    fn packets_are_as_long_as_the_latency_allows() {
        for (text, ms) in [
            ("audera.latency.msec = 40", 5),
            ("audera.latency.msec = 40 audera.opus.frame.msec = 10", 10),
            ("audera.latency.msec = 60", 10),
            ("audera.latency.msec = 79", 10),
            ("audera.latency.msec = 80", 20),
            ("audera.latency.msec = 500 audera.opus.frame.msec = 5", 5),
            ("audera.latency.msec = auto", 20),
        ] {
            assert_eq!(read(text).unwrap().encoding.packet_msec, ms, "{text}");
        }
    }

    #[test]
    fn rate_and_channels_come_from_the_properties() {
        let read_props = read("stream.props = { audio.rate = 96000 audio.channels = 6 node.x = y }").unwrap();
        assert_eq!((read_props.rate, read_props.channels), (96_000, 6));
        assert_eq!(read_props.properties.get("node.x"), Some("y"));
        assert!(read("stream.props = { audio.rate = 8000 }").unwrap_err().contains("44100 to 192000"));
    }

    #[test]
    fn a_refusal_names_the_key_and_what_would_be_right() {
        for (text, key, accepted) in [
            ("audera.codec = mp3", "audera.codec", "opus"),
            ("audera.opus.bitrate = 32", "audera.opus.bitrate", "64 to 320"),
            ("audera.opus.frame.msec = 15", "audera.opus.frame.msec", "10"),
            ("audera.latency.msec = 5", "audera.latency.msec", "auto, or an integer from 20 to 2000"),
            ("audera.latency.msec = low", "audera.latency.msec", "auto"),
            ("audera.players = host", "audera.players", "array"),
            ("audera.players = [ \"a:1\" \"b:http\" ]", "audera.players = [ \"b:http\" ]", "host:port"),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.contains(key) && refusal.contains(accepted), "{refusal}");
        }
    }
}

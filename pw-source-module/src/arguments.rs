//! The arguments of the module.

use std::net::SocketAddr;

use audera_clock::Span;
use audera_pw::{Args, Error};
use audera_pw_sender::{COMMON_KEYS, SenderArguments, host_name};
use audera_sender::{GateConfig, Listen, Target, spelled};

/// What the module is told.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) sender: SenderArguments,
    /// `audera.name`.
    pub(crate) name: String,
    /// `audera.rooms`, and the addresses of `audera.players`.
    pub(crate) target: Target,
    /// Whether rooms are to be found by name.
    pub(crate) discover: bool,
    /// `audera.start = signal`.
    pub(crate) gate: Option<GateConfig>,
    /// `audera.listen`, `audera.access`, `audera.announce`.
    pub(crate) listen: Listen,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Signal,
    Always,
    Manual,
}

const KEYS: &[&str] = &[
    "audera.name",
    "audera.rooms",
    "audera.start",
    "audera.threshold.dbfs",
    "audera.hold.msec",
    "audera.preroll.msec",
    "audera.announce",
    "audera.listen",
    "audera.access",
];

impl Arguments {
    /// Reads and checks all arguments.
    pub(crate) fn read(args: &Args) -> Result<Self, Error> {
        let known: Vec<&str> = KEYS.iter().chain(COMMON_KEYS).copied().collect();
        args.only(&known)?;
        let sender = SenderArguments::read(args)?;
        let starts = [("signal", Start::Signal), ("always", Start::Always), ("manual", Start::Manual)];
        let start = args.one_of("audera.start", &starts)?.unwrap_or(Start::Signal);
        let threshold = args.number("audera.threshold.dbfs", -90.0..=0.0)?.unwrap_or(-50.0);
        let hold = args.integer("audera.hold.msec", 0..=3_600_000)?.unwrap_or(10_000);
        let preroll = args.integer("audera.preroll.msec", 0..=1900)?.unwrap_or(300);
        let gate = GateConfig {
            threshold_dbfs: threshold as f32,
            hold: Span::from_millis(hold),
            preroll: Span::from_millis(preroll),
        };
        let rooms = args.strings("audera.rooms")?.unwrap_or_default();
        let discover = !rooms.is_empty();
        let players = sender.players.iter().map(|address| spelled(address));
        let taken = if start == Start::Manual { Vec::new() } else { rooms.into_iter().chain(players).collect() };
        Ok(Arguments {
            name: name(args)?,
            target: Target::Named(taken),
            discover,
            gate: (start == Start::Signal).then_some(gate),
            listen: Listen {
                address: address(args)?,
                // Several sources on one host are usual; one that nobody gave a port needs none in particular.
                any_port: args.string("audera.listen")?.is_none(),
                open: args.one_of("audera.access", &[("paired", false), ("open", true)])?.unwrap_or(false),
                announce: args.boolean("audera.announce")?.unwrap_or(true),
            },
            sender,
        })
    }
}

fn name(args: &Args) -> Result<String, Error> {
    let name = args.string("audera.name")?.map_or_else(host_name, str::to_owned);
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        return Err(refused("audera.name", &name, "1 to 63 bytes of text"));
    }
    Ok(name)
}

fn address(args: &Args) -> Result<SocketAddr, Error> {
    let text = args.string("audera.listen")?.unwrap_or("[::]:6529");
    text.parse().map_err(|_| refused("audera.listen", text, "ADDRESS:PORT, such as \"[::]:6529\" or \"192.168.1.2:0\""))
}

fn refused(key: &str, value: &str, expected: &str) -> Error {
    Error::Argument { key: key.to_owned(), value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        let text = format!("{{ audera.state.dir = /state {text} }}");
        Arguments::read(&Args::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn silence_means_the_documented_defaults() {
        let read = read("").unwrap();
        let gate = read.gate.unwrap();
        assert_eq!(gate.threshold_dbfs, -50.0);
        assert_eq!((gate.hold, gate.preroll), (Span::from_secs(10), Span::from_millis(300)));
        assert_eq!(read.target, Target::Named(Vec::new()));
        assert!(!read.discover);
        assert_eq!((read.listen.address.port(), read.listen.open, read.listen.announce), (6529, false, true));
        assert!(read.listen.any_port);
    }

    #[test]
    fn a_port_that_was_chosen_is_that_one_or_none() {
        let listen = read("audera.listen = \"[::]:6529\"").unwrap().listen;
        assert_eq!((listen.address.port(), listen.any_port), (6529, false));
    }

    #[test]
    fn rooms_and_addresses_are_targets_unless_started_by_hand() {
        let both = "audera.rooms = [ \"Kitchen\" ] audera.players = [ \"A:1\" ]";
        let names = vec!["Kitchen".to_owned(), "a:1".to_owned()];
        assert_eq!(read(both).unwrap().target, Target::Named(names));
        let manual = read(&format!("{both} audera.start = manual")).unwrap();
        assert_eq!((manual.target, manual.gate), (Target::Named(Vec::new()), None));
        assert!(read("audera.start = always").unwrap().gate.is_none());
    }

    #[test]
    fn a_refusal_names_the_key_and_what_would_be_right() {
        for (text, key, accepted) in [
            ("audera.start = now", "audera.start", "signal"),
            ("audera.threshold.dbfs = 3", "audera.threshold.dbfs", "-90 to 0"),
            ("audera.listen = 6529", "audera.listen", "ADDRESS:PORT"),
            ("audera.access = all", "audera.access", "paired"),
            ("audera.room = x", "audera.room", "audera.rooms"),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.contains(key) && refusal.contains(accepted), "{refusal}");
        }
    }
}

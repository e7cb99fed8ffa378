//! A session with players, in which the bus starts `auderad`, and `audera` run in it.

use std::process::{Command, Output};

use audera_testkit::home::Product;
use audera_testkit::site::Alone;
pub use audera_testkit::site::{SilentRoom as Room, alone};
use audera_testkit::{Daemon, Session, or_skip};
use serde_json::Value;

pub const AUDERA: &str = "org.audera.Audera1";

/// A session with a bus, and the product.
pub struct Site {
    pub session: Session,
    pub product: Product,
    _alone: Alone,
}

/// What a command has come to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub error: String,
}

impl Site {
    /// With the buses and Avahi only; `None` where sessions are not possible.
    pub fn start() -> Option<Self> {
        let alone = alone();
        let product = Product::find().unwrap();
        let daemons = [Daemon::SystemBus, Daemon::SessionBus, Daemon::Avahi];
        let session = or_skip(product.session("desk").daemons(&daemons).start())?;
        Some(Site { session, product, _alone: alone })
    }

    /// The same, with `auderad` to be started when it is asked for.
    pub fn with_auderad() -> Option<Self> {
        let site = Self::start()?;
        activate(&site.session);
        Some(site)
    }

    /// A player of this room, open to all, that throws its sound away.
    pub fn room(&self, name: &str) -> Room {
        self.player(name, "open")
    }

    /// The same, for `paired` or `open`.
    pub fn player(&self, name: &str, access: &str) -> Room {
        self.product.silent_room(&self.session, name, &["--log", "debug", "--access", access]).unwrap()
    }

    /// `audera` with these arguments, run to its end.
    pub fn audera(&self, args: &[&str]) -> Ended {
        audera(&self.session, args)
    }

    /// The same, which has to go well; gives what it says.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.audera(args);
        assert_eq!(ended.code, 0, "audera {args:?}: {}", ended.error);
        assert_eq!(ended.error, "", "audera {args:?}");
        ended.out
    }

    /// The same, which has to fail with this exit status; gives the message, which has to be one line.
    pub fn refused(&self, code: i32, args: &[&str]) -> String {
        let ended = self.audera(args);
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "audera {args:?}: {}", ended.error);
        assert!(ended.error.starts_with("audera: ") && ended.error.lines().count() == 1, "{}", ended.error);
        ended.error
    }

    /// What a player itself says of its room.
    pub fn told_by(&self, room: &Room) -> String {
        self.product.told_by(&self.session, &room.address).unwrap()
    }

    /// Whether a player says this of its room.
    #[track_caller]
    pub fn assert_told(&self, room: &Room, line: &str) {
        let told = self.told_by(room);
        assert!(told.lines().any(|other| other == line), "{line} is not in\n{told}");
    }

    /// Waits until `audera status --json` has a room of this name in this state.
    pub fn wait_for(&self, room: &str, state: &str) {
        self.session
            .poll(&format!("{room} being {state}"), || {
                let rooms = json(&self.ok(&["status", "--json"]));
                let found = rooms["rooms"].as_array()?.iter().find(|other| other["name"] == room)?.clone();
                (found["state"] == state).then_some(())
            })
            .unwrap();
    }
}

/// Runs `audera` with these arguments.
pub fn audera(session: &Session, args: &[&str]) -> Ended {
    ended(command(session).args(args).output().unwrap())
}

/// `audera`, to be given what it is to do.
pub fn command(session: &Session) -> Command {
    let mut command = session.command(env!("CARGO_BIN_EXE_audera"));
    command.env("LANG", "C.UTF-8").env_remove("NO_COLOR");
    command
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Has the bus start `auderad` when it is asked for.
pub fn activate(session: &Session) {
    session.activate(AUDERA, "auderad").unwrap();
}

//! A session with players and `auderad`, and the tools that people use on a bus.

use std::process::{Command, Output};

use audera_testkit::home::Product;
use audera_testkit::site::Alone;
pub use audera_testkit::site::{SilentRoom as Room, alone};
use audera_testkit::{Daemon, Process, Session, or_skip};

pub const AUDERA: &str = "org.audera.Audera1";
pub const ROOT: &str = "/org/audera/Audera1";

/// A session with a bus, and the product.
pub struct Desk {
    pub session: Session,
    pub product: Product,
    _alone: Alone,
}

impl Desk {
    /// With the buses and Avahi only; `None` where sessions are not possible.
    pub fn start() -> Option<Self> {
        Self::start_with(&[Daemon::SystemBus, Daemon::SessionBus, Daemon::Avahi])
    }

    /// With these daemons only.
    pub fn start_with(daemons: &[Daemon]) -> Option<Self> {
        let alone = alone();
        let product = Product::find().unwrap();
        let session = or_skip(product.session("desk").daemons(daemons).start())?;
        Some(Desk { session, product, _alone: alone })
    }

    /// On a host that has been started.
    pub fn on(session: Session, product: Product, alone: Alone) -> Self {
        Desk { session, product, _alone: alone }
    }

    /// A player of this room that throws its sound away.
    pub fn room(&self, name: &str, args: &[&str]) -> Room {
        self.player(name, &[&["--access", "open"], args].concat())
    }

    /// The same, for those whom it knows.
    pub fn player(&self, name: &str, args: &[&str]) -> Room {
        self.product.silent_room(&self.session, name, args).unwrap()
    }

    /// The command that starts `auderad`.
    pub fn auderad_command(&self) -> Command {
        let mut command = self.session.command(Product::program("auderad").unwrap());
        command.args(["--log", "debug"]);
        command
    }

    /// Starts `auderad` and waits until it has its name.
    pub fn auderad(&self) -> Process {
        self.auderad_on(&self.session)
    }

    /// The same on another host.
    pub fn auderad_on(&self, session: &Session) -> Process {
        let mut command = session.command(Product::program("auderad").unwrap());
        command.args(["--log", "debug"]);
        let mut process = session.spawn(command).unwrap();
        let log = process.log().to_owned();
        process.wait_until("auderad", || std::fs::read_to_string(&log).ok()?.contains("ready").then_some(())).unwrap();
        process
    }

    /// Runs `busctl --user` with these arguments.
    pub fn busctl(&self, args: &[&str]) -> Output {
        let mut command = self.session.command("busctl");
        command.arg("--user").args(args);
        command.output().unwrap()
    }

    /// The same, which has to go well; gives what it says.
    pub fn busctl_ok(&self, args: &[&str]) -> String {
        let output = self.busctl(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "busctl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The same, which has to fail; gives the error.
    pub fn busctl_refused(&self, args: &[&str]) -> String {
        let output = self.busctl(args);
        assert!(!output.status.success(), "busctl {args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap().trim_end().to_owned()
    }

    /// A property of an object of `auderad`, as busctl writes it.
    pub fn get(&self, path: &str, interface: &str, property: &str) -> String {
        self.busctl_ok(&["get-property", AUDERA, &format!("{ROOT}{path}"), interface, property])
    }

    /// Sets one.
    pub fn set(&self, path: &str, interface: &str, property: &str, value: &[&str]) {
        let path = format!("{ROOT}{path}");
        self.busctl_ok(&[&["set-property", AUDERA, &path, interface, property], value].concat());
    }

    /// Waits until a property has this value.
    pub fn wait_for(&self, path: &str, interface: &str, property: &str, value: &str) {
        let mut last = String::new();
        let outcome = self.session.poll(&format!("{property} of {path} being {value}"), || {
            let output = self.busctl(&["get-property", AUDERA, &format!("{ROOT}{path}"), interface, property]);
            last = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned();
            (last == value).then_some(())
        });
        assert!(outcome.is_ok(), "{property} of {path} is {last}, not {value}");
    }

    /// Waits until these rooms are connected.
    pub fn wait_for_rooms(&self, rooms: &[&str]) {
        for room in rooms {
            self.wait_for(&format!("/players/{room}"), "org.audera.Player1", "State", "s \"idle\"");
            // The state comes right behind the connection.
            self.session
                .poll("the state of the room", || {
                    (self.get(&format!("/players/{room}"), "org.audera.Player1", "Output") != "s \"\"").then_some(())
                })
                .unwrap();
        }
    }

    /// What the player itself says of its room.
    pub fn told_by(&self, room: &Room) -> String {
        self.product.told_by(&self.session, &room.address).unwrap()
    }
}

/// Has the bus start `auderad` when it is asked for.
pub fn activate(session: &Session) {
    session.activate(AUDERA, "auderad").unwrap();
}

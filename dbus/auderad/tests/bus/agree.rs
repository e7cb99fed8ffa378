//! Two machines, each with sinks and an `auderad` of its own: they have the same groups, whoever changes them.

use std::time::Duration;

use audera_testkit::home::Product;
use audera_testkit::{Network, Process, Session, or_skip};

use crate::desk::*;

const GROUP: &str = "org.audera.Group1";
const DOWN: &str = "/org/audera/Audera1/groups/Down_20stairs";
const SINK: &str = "audera.group.Down_stairs";

/// Two hosts, and what they all have to agree on.
struct Hosts {
    left: Desk,
    right: Session,
    kitchen: Room,
    bath: Room,
}

impl Hosts {
    fn sessions(&self) -> [&Session; 2] {
        [&self.left.session, &self.right]
    }

    /// Sets the volume of the group's sink on a host.
    fn slide(&self, session: &Session, percent: u32) {
        session.run("pactl", &["set-sink-volume", SINK, &format!("{percent}%")]).unwrap();
    }

    /// Waits until both sinks and both auderads show this volume and these members, and the rooms are at these.
    fn agree(&self, shown: u32, members: &[&str], [kitchen, bath]: [u32; 2]) {
        let members: String =
            members.iter().map(|room| format!(" \"/org/audera/Audera1/players/{room}\"")).collect::<String>();
        let mut told = String::new();
        let outcome = self.left.session.poll("all to agree", || {
            told.clear();
            let mut right = true;
            for session in self.sessions() {
                let sink = session.run("pactl", &["get-sink-volume", SINK]).unwrap_or_default();
                let [volume, rooms] = ["Volume", "Members"].map(|property| {
                    session
                        .run("busctl", &["--user", "get-property", AUDERA, DOWN, GROUP, property])
                        .unwrap_or_default()
                });
                right &= sink.matches(&format!(" {shown}% ")).count() == 2
                    && volume.trim() == format!("d {shown}")
                    && rooms.trim().ends_with(&members)
                    && rooms.matches('/').count() == members.matches('/').count();
                told += &format!("{}: {sink}{volume}{rooms}", session.name());
            }
            for (room, percent) in [(&self.kitchen, kitchen), (&self.bath, bath)] {
                let room = self.left.told_by(room);
                right &= room.contains(&format!("volume={percent}%\n"));
                told += &room;
            }
            right.then_some(())
        });
        assert!(outcome.is_ok(), "{shown} % of{members}, at {kitchen} and {bath} %:\n{told}");
    }
}

/// Asks the auderad of a host, which has to do it.
fn ask(session: &Session, words: &[&str]) -> Process {
    let mut command = session.command("busctl");
    command.args(["--user", "call", "--", AUDERA]).args(words);
    session.spawn(command).unwrap()
}

fn done(mut process: Process) {
    /// Only catches what hangs.
    const PATIENCE: Duration = Duration::from_secs(60);
    let ended = process.wait(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", process.output());
}

#[test]
fn groups_from_two_senders_agree() {
    let alone = alone();
    let product = Product::find().unwrap();
    let Some(network) = or_skip(Network::new()) else { return };
    let Some(left) = or_skip(product.session("left").on(&network).start()) else { return };
    let right = product.session("right").on(&network).start().unwrap();
    let _sinks = [&left, &right].map(|session| product.module(session, "sink", "").unwrap());
    let left = Desk::on(left, product, alone);
    let _auderads = [&left.session, &right].map(|session| left.auderad_on(session));
    let (kitchen, bath) = (left.room("Kitchen", &[]), left.room("Bath", &[]));
    left.wait_for_rooms(&["Kitchen", "Bath"]);
    for room in ["Kitchen", "Bath"] {
        let path = format!("{ROOT}/players/{room}");
        let words = ["--user", "get-property", AUDERA, &path, "org.audera.Player1", "Output"];
        let known = || (right.run("busctl", &words).ok()?.trim() == "s \"null\"").then_some(());
        right.poll("the room on the other host", known).unwrap();
    }
    left.set("/players/Kitchen", "org.audera.Player1", "Volume", &["d", "80"]);
    left.set("/players/Bath", "org.audera.Player1", "Volume", &["d", "20"]);
    let hosts = Hosts { left, right, kitchen, bath };
    let [left, right] = hosts.sessions();
    let path = |room: &str| format!("{ROOT}/players/{room}");

    // Members that come and go, by either.
    let create = ["CreateGroup", "sao", "Down stairs", "1", &path("Kitchen")];
    done(ask(left, &[&[ROOT, "org.audera.Manager1"][..], &create].concat()));
    hosts.agree(80, &["Kitchen"], [80, 20]);
    done(ask(right, &[DOWN, GROUP, "Add", "o", &path("Bath")]));
    hosts.agree(80, &["Bath", "Kitchen"], [80, 20]);

    // The volume, by either's sink and either's auderad; up from a silence that another one has made, too.
    hosts.slide(left, 40);
    hosts.agree(40, &["Bath", "Kitchen"], [40, 10]);
    hosts.slide(right, 0);
    hosts.agree(0, &["Bath", "Kitchen"], [0, 0]);
    hosts.slide(left, 60);
    hosts.agree(60, &["Bath", "Kitchen"], [60, 15]);
    done(ask(left, &[DOWN, GROUP, "StepVolume", "d", "-60"]));
    hosts.agree(0, &["Bath", "Kitchen"], [0, 0]);
    done(ask(right, &[DOWN, GROUP, "StepVolume", "d", "80"]));
    hosts.agree(80, &["Bath", "Kitchen"], [80, 20]);

    // One room into two groups by both at once: neither is lost.
    let join =
        |session, name| ask(session, &[ROOT, "org.audera.Manager1", "CreateGroup", "sao", name, "1", &path("Bath")]);
    let both = [join(left, "Green"), join(right, "Blue")];
    both.into_iter().for_each(done);
    let told = hosts.left.told_by(&hosts.bath);
    let groups = told.lines().find_map(|line| line.strip_prefix("groups=")).unwrap();
    assert!(groups == "Down stairs,Green,Blue" || groups == "Down stairs,Blue,Green", "{groups}");

    done(ask(left, &[DOWN, GROUP, "Remove", "o", &path("Kitchen")]));
    hosts.agree(20, &["Bath"], [80, 20]);
}

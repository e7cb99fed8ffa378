//! The connections of a room are stuck although the network is there, as after a cut: whoever has dialled, they are made anew before
//! they are given up.

use audera_testkit::home::{Product, player_port};
use audera_testkit::{Network, NullSink, Process, Session, or_skip};

use crate::{alone, wait_for_line};

/// How often a player was connected, and whether it has given up a sender.
fn connections(player: &Process) -> (usize, bool) {
    let log = std::fs::read_to_string(player.log()).unwrap();
    (log.matches(" connected sender=").count(), log.contains("nothing heard from the peer"))
}

/// The TCP connections of a session's host with others: the port here, and that of the peer.
fn tcp(session: &Session) -> Vec<(u16, u16)> {
    let listed = session.run("ss", &["-Htn", "state", "established"]).unwrap();
    let port = |address: &str| address.rsplit(':').next()?.parse().ok();
    listed
        .lines()
        .filter_map(|line| {
            let mut addresses = line.split_whitespace().skip(2);
            Some((port(addresses.next()?)?, port(addresses.next()?)?))
        })
        .collect()
}

#[test]
fn rooms_whose_connections_are_stuck_are_connected_anew_whoever_has_dialled() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(network) = or_skip(Network::new()) else { return };
    let Some(desk) = or_skip(product.session("desk").on(&network).start()) else { return };
    let Some(attic) = or_skip(product.session("attic").on(&network).start()) else { return };
    desk.null_sink(&NullSink::new("Metronome").driver()).unwrap();
    desk.null_sink(&NullSink::new("Input")).unwrap();

    let output = |name: &str| format!("file:{}", attic.dir().join(name).display());
    let mut dialled = product.player(&attic, "Dialled", &["--access", "open", "--output", &output("1.wav")]).unwrap();
    let address = format!("{}:{}", attic.host().address(), player_port(&dialled).unwrap());
    let args = format!(
        "stream.props = {{ target.object = Input stream.capture.sink = true }} audera.name = Tap audera.listen = \"[::]:0\" \
         audera.start = always audera.access = open audera.players = [ \"{address}\" ]"
    );
    let _source = product.module(&desk, "source", &args).unwrap();
    let mut dials = product.player(&attic, "Dials", &["--output", &output("2.wav"), "--subscribe", "Tap"]).unwrap();
    for player in [&mut dialled, &mut dials] {
        wait_for_line(player, 0, &["starts to play"]);
    }
    let before = [&dialled, &dials].map(|player| std::fs::read(player.log()).unwrap().len());
    let stuck = tcp(&attic);
    assert_eq!(stuck.len(), 2, "one for each room: {stuck:?}");
    attic.host().sever(&stuck).unwrap();
    for (player, before) in [&mut dialled, &mut dials].into_iter().zip(before) {
        wait_for_line(player, before, &["starts to play"]);
        // Waiting for the end of patience, eight seconds, would do as well, but for the silence.
        assert_eq!(connections(player), (2, false), "{}", player.output());
    }
    wait_for_line(&mut dials, 0, &["nothing came through: connected anew"]);
}

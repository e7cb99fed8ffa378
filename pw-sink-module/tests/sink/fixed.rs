//! Players at fixed addresses need neither Avahi nor a system bus; a room may be called anything; the codec is the user's choice.

use audera_testkit::home::{Product, player_port};
use audera_testkit::{Daemon, or_skip};

use crate::desk::*;

/// Has what configuration files, property lists and node names might stumble over.
const ROOM: &str = "Gäste \"WC\" {1.} OG #2 = \\ 'x', %s";
const NODE: &str = "audera.Gäste__WC___1___OG__2______x____s-881280";

#[test]
fn addresses_do_without_discovery_and_codecs_are_chosen() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let daemons = [Daemon::SessionBus, Daemon::PipeWire, Daemon::WirePlumber, Daemon::Pulse];
    let Some(session) = or_skip(product.session("desk").daemons(&daemons).start()) else { return };
    furnish(&session, &["Output"]);
    let args = ["--access", "open", "--output", "pipewire:Output", "--no-discovery"];
    let room = product.player(&session, ROOM, &args).unwrap();
    let port = player_port(&room).unwrap();
    let recorder = listen(&session, &["Output"]);

    for (arguments, codec) in [
        ("audera.discover = false audera.codec = pcm", "s24le"),
        ("audera.discover = false audera.codec = opus", "opus"),
        // Avahi is looked for in vain, and that is no trouble.
        ("stream.props = { audio.rate = 96000 }", "s24le"),
    ] {
        let arguments = format!("audera.players = [ \"127.0.0.1:{port}\" ] {arguments}");
        let sinks = product.module(&session, "sink", &arguments).unwrap();
        let sink = wait_for_sink(&session, NODE);
        assert_eq!(prop(&sink, "node.description"), format!("Audera {ROOM}"));
        // Not pw-play: PipeWire 0.3.65's was seen to write its samples over the graph's shared clock here, and to crash.
        let mut application = session.command("paplay");
        application.arg(format!("--device={NODE}")).arg(long_noise(&session));
        let application = session.spawn(application).unwrap();
        wait_heard(&session, &recorder, &[true]);
        let report = wait_until_playing(&session, NODE, &[ROOM]);
        assert_eq!(report[0]["codec"], codec, "{arguments}");
        application.stop().unwrap();
        assert!(sinks.stop().unwrap().success());
        wait_until_gone(&session, NODE);
        wait_heard(&session, &recorder, &[false]);
    }

    // One that the user adds while the sinks are there.
    let sinks = product.module(&session, "sink", "audera.discover = false").unwrap();
    let added = session.dir().join("state/audera/rooms.toml");
    std::fs::write(&added, format!("addresses = [ \"127.0.0.1:{port}\" ]\n")).unwrap();
    wait_for_sink(&session, NODE);
    assert!(sinks.stop().unwrap().success());
}

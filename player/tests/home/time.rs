//! How the clocks of senders are followed: over UDP, and in-band where it does not pass.

use audera_testkit::Session;

use crate::{House, address, wait_for_line};

/// Waits until every room of a playing node follows the clock on this path; returns what the node tells of its rooms.
fn wait_for_path(session: &Session, node: &str, rooms: usize, path: &str) -> String {
    let wanted = format!("\"time_path\":\"{path}\"");
    session
        .wait_for_graph(&format!("{rooms} rooms of {node} with {wanted}"), |graph| {
            let told = graph.node(node)?.properties.get("audera.rooms")?;
            (told.matches(&wanted).count() == rooms).then(|| told.clone())
        })
        .unwrap()
}

#[test]
fn clocks_are_followed_over_udp_whoever_dials_and_in_band_where_it_is_blocked() {
    let Some(house) = House::start(&["Kitchen", "Bath", "Input"]) else { return };
    let session = &house.session;
    let _noise = house.make_noise("Input", 1);
    // The source dials the one room, and is dialled by the other.
    let mut kitchen = house.room("Kitchen", &["-v"]).unwrap();
    let args = "audera.start = always audera.access = open";
    let players = format!("audera.players = [ \"{}\" ]", address(&kitchen));
    let _source = house.tap("Tap", "Input", &format!("{args} {players}")).unwrap();
    let mut bath = house.room("Bath", &["-v", "--subscribe", "Tap"]).unwrap();

    let node = "audera-source.Tap";
    session.wait_for_rooms(node, &["Bath playing", "Kitchen playing"]).unwrap();
    println!("over UDP: {}", wait_for_path(session, node, 2, "udp"));
    assert!(!kitchen.output().contains("UDP does not pass") && !bath.output().contains("UDP does not pass"));

    session.host().block_udp(true).unwrap();
    println!("blocked: {}", wait_for_path(session, node, 2, "in-band"));
    for room in [&mut kitchen, &mut bath] {
        wait_for_line(room, 0, &["UDP does not pass", "in-band"]);
    }
    // Who comes while it is blocked is no worse off.
    let output = format!("file:{}", session.dir().join("late.wav").display());
    let args = ["-v", "--output", &output, "--subscribe", "Tap"];
    let mut late = house.product.player(session, "Late", &args).unwrap();
    wait_for_line(&mut late, 0, &["UDP does not pass"]);
    late.stop().unwrap();

    session.host().block_udp(false).unwrap();
    wait_for_path(session, node, 2, "udp");
    session.wait_for_rooms(node, &["Bath playing", "Kitchen playing"]).unwrap();
}

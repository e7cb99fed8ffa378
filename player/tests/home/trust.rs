//! Who may play, and whom a sender takes a room to be.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::{House, wait_for_line};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_stranger_is_refused_until_it_is_trusted() {
    let Some(house) = House::start(&["Kitchen", "Input"]) else { return };
    let session = &house.session;
    let _noise = house.make_noise("Input", 1);
    let mut player = house.product.player(session, "Kitchen", &["-v", "--output", "pipewire:Kitchen"]).unwrap();
    let log = player.log().to_owned();
    let mut source = house.tap("Tap", "Input", "audera.start = always audera.rooms = [ Kitchen ]").unwrap();

    let line = wait_for_line(&mut player, 0, &["refused a sender that is not paired"]);
    let list = session.dir().join("state/Kitchen/trusted.toml");
    assert!(line.contains(list.to_str().unwrap()) && line.contains("reload"), "{line}");
    let id = line.split("id=").nth(1).unwrap()[..64].to_owned();
    let rooms = session.wait_for_rooms("audera-source.Tap", &["Kitchen refused"]).unwrap();
    assert!(rooms[0].reason.contains("is paired") && rooms[0].reason.contains(&id), "{rooms:?}");
    wait_for_line(&mut source, 0, &["refused", "is paired"]);

    // It tries again and again, and there is one line of it for whoever does not ask for more.
    player
        .wait_until("further attempts", || {
            let log = std::fs::read_to_string(session.dir().join(&log)).ok()?;
            (log.matches("refused again").count() >= 3).then_some(())
        })
        .unwrap();
    let warnings = |log: &str| log.lines().filter(|line| line.contains("WARN") && line.contains("refused")).count();
    assert_eq!(warnings(&player.output()), 1, "{}", player.output());
    assert_eq!(source.output().matches("refused").count(), 1, "{}", source.output());

    std::fs::write(&list, format!("[[peer]]\nname = \"desk\"\nid = \"{id}\"\n")).unwrap();
    player.signal(libc::SIGHUP);
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
    for state in ["Kitchen", "source-Tap"] {
        let state = session.dir().join("state").join(state);
        assert_eq!((mode(&state), mode(&state.join("identity.pem"))), (0o700, 0o600), "{}", state.display());
    }

    // And no longer, when it is struck off.
    std::fs::write(&list, "").unwrap();
    player.signal(libc::SIGHUP);
    session.wait_for_rooms("audera-source.Tap", &["Kitchen refused"]).unwrap();
}

#[test]
fn a_room_that_is_not_who_it_was_is_refused_loudly() {
    let Some(house) = House::start(&["Kitchen", "Input"]) else { return };
    let session = &house.session;
    let _noise = house.make_noise("Input", 1);
    let player = house.room("Kitchen", &[]).unwrap();
    let mut source = house.tap("Tap", "Input", "audera.start = always audera.rooms = [ Kitchen ]").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();

    player.stop().unwrap();
    std::fs::remove_file(session.dir().join("state/Kitchen/identity.pem")).unwrap();
    let _impostor = house.room("Kitchen", &[]).unwrap();
    let line = wait_for_line(&mut source, 0, &["IS NOT WHO IT WAS"]);
    let list = session.dir().join("state/source-Tap/met.toml");
    let text = std::fs::read_to_string(&list).unwrap();
    let entry = 1 + text.lines().position(|line| line == "[[peer]]").unwrap();
    assert!(line.contains("\"Kitchen\"") && line.contains(&format!("line {entry} of {}", list.display())), "{line}");
    let rooms = session.wait_for_rooms("audera-source.Tap", &["Kitchen refused"]).unwrap();
    assert!(rooms[0].reason.contains("IS NOT WHO IT WAS"), "{rooms:?}");

    // What the line advises helps, without a restart.
    std::fs::write(&list, "").unwrap();
    session.wait_for_rooms("audera-source.Tap", &["Kitchen playing"]).unwrap();
}

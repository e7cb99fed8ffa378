//! Groups: they live in their rooms, and move them together.

use crate::desk::*;

const GROUP: &str = "org.audera.Group1";
const MANAGER: &str = "org.audera.Manager1";
/// "Down stairs", as its path has it.
const DOWN: &str = "Down_20stairs";

#[test]
fn groups_live_in_their_rooms_and_move_them_in_proportion() {
    let Some(desk) = Desk::start() else { return };
    let auderad = desk.auderad();
    assert_eq!(desk.get("/groups/Everywhere", GROUP, "Members"), "ao 0", "it is always there");
    let kitchen = desk.room("Kitchen", &[]);
    let bath = desk.room("Bath", &[]);
    desk.wait_for_rooms(&["Kitchen", "Bath"]);
    let path = |room: &str| format!("{ROOT}/players/{room}");
    let call = |path: &str, interface: &str, words: &[&str]| {
        desk.busctl_ok(&[&["call", "--", AUDERA, path, interface], words].concat())
    };
    // One by another sender, and one made here.
    let mut command = desk.product.command(&desk.session);
    command.args(["set", &kitchen.address, "groups=Party", "--state-dir"]).arg(desk.session.dir().join("state/remote"));
    assert!(command.status().unwrap().success());
    desk.wait_for("/groups/Party", GROUP, "Members", &format!("ao 1 \"{}\"", path("Kitchen")));
    let made = call(ROOT, MANAGER, &["CreateGroup", "sao", "Down stairs", "2", &path("Kitchen"), &path("Bath")]);
    assert_eq!(made, format!("o \"{ROOT}/groups/Down_20stairs\""));
    assert!(
        desk.told_by(&kitchen).contains("groups=Party,Down stairs\n")
            && desk.told_by(&bath).contains("groups=Down stairs\n")
    );
    assert_eq!(
        desk.get("/groups/Down_20stairs", GROUP, "Members"),
        format!("ao 2 \"{}\" \"{}\"", path("Bath"), path("Kitchen"))
    );

    desk.set("/players/Kitchen", "org.audera.Player1", "Volume", &["d", "80"]);
    desk.set("/players/Bath", "org.audera.Player1", "Volume", &["d", "20"]);
    desk.set("/players/Bath", "org.audera.Player1", "MaximumVolume", &["d", "22"]);
    assert_eq!(desk.get("/groups/Down_20stairs", GROUP, "Volume"), "d 80");
    desk.set("/groups/Down_20stairs", GROUP, "Volume", &["d", "40"]);
    assert!(desk.told_by(&kitchen).contains("volume=40%") && desk.told_by(&bath).contains("volume=10%"));
    let group = format!("{ROOT}/groups/Down_20stairs");
    assert_eq!(call(&group, GROUP, &["StepVolume", "d", "60"]), "d 100");
    assert!(desk.told_by(&bath).contains("volume=22%"), "never past its limit: {}", desk.told_by(&bath));
    // By dB, too, of which silence has none. Another auderad brings the rooms back as they were.
    desk.set(&format!("/groups/{DOWN}"), GROUP, "Volume", &["d", "80"]);
    assert_eq!(call(&group, GROUP, &["StepVolumeDecibels", "d", "-60"]), "d 8");
    assert!(desk.told_by(&kitchen).contains("volume=8%") && desk.told_by(&bath).contains("volume=2%"));
    desk.set(&format!("/groups/{DOWN}"), GROUP, "Volume", &["d", "0"]);
    let error = desk.busctl_refused(&["call", "--", AUDERA, &group, GROUP, "StepVolumeDecibels", "d", "3"]);
    assert!(error.contains("silence has no dB"), "{error}");
    auderad.stop().unwrap();
    let _auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen", "Bath"]);
    desk.set(&format!("/groups/{DOWN}"), GROUP, "Volume", &["d", "80"]);
    assert!(desk.told_by(&kitchen).contains("volume=80%") && desk.told_by(&bath).contains("volume=20%"));

    desk.set("/groups/Everywhere", GROUP, "Muted", &["b", "true"]);
    assert!(desk.told_by(&kitchen).contains("mute=on") && desk.told_by(&bath).contains("mute=on"));
    desk.set("/players/Bath", "org.audera.Player1", "Muted", &["b", "false"]);
    assert_eq!(desk.get("/groups/Everywhere", GROUP, "Muted"), "b false");

    call(&group, GROUP, &["Remove", "o", &path("Bath")]);
    assert_eq!(desk.get("/groups/Down_20stairs", GROUP, "Members"), format!("ao 1 \"{}\"", path("Kitchen")));
    assert!(desk.told_by(&bath).contains("groups=\n"));
    call(&group, GROUP, &["Add", "o", &path("Bath")]);
    assert!(desk.told_by(&bath).contains("groups=Down stairs\n"));
    for (words, why) in [
        (&["call", AUDERA, ROOT, MANAGER, "CreateGroup", "sao", "Kitchen", "1", &path("Bath")][..], "is a room"),
        (
            &["call", AUDERA, ROOT, MANAGER, "CreateGroup", "sao", "down Stairs", "1", &path("Bath")],
            "write it like that",
        ),
        (&["call", AUDERA, ROOT, MANAGER, "CreateGroup", "sao", "New", "0"], "one at least"),
        (&["call", AUDERA, ROOT, MANAGER, "CreateGroup", "sao", "a,b", "1", &path("Bath")], "commas"),
        (&["call", AUDERA, ROOT, MANAGER, "CreateGroup", "sao", "New", "1", "/nobody"], "no room"),
        (
            &["call", AUDERA, ROOT, MANAGER, "DeleteGroup", "o", &format!("{ROOT}/groups/Everywhere")],
            "always all rooms",
        ),
        (&["call", AUDERA, ROOT, MANAGER, "DeleteGroup", "o", &format!("{ROOT}/groups/None")], "no group"),
        (&["set-property", AUDERA, &group, GROUP, "Volume", "d", "101"], "0 to 100"),
    ] {
        let error = desk.busctl_refused(words);
        assert!(error.contains(why), "{words:?}: {error}");
    }
    call(ROOT, MANAGER, &["DeleteGroup", "o", &group]);
    assert!(desk.told_by(&kitchen).contains("groups=Party\n") && desk.told_by(&bath).contains("groups=\n"));
    assert!(!desk.busctl_ok(&["tree", "--list", AUDERA]).contains("Down_20stairs"));
}

//! Every command that sets something, seen at the players.

use crate::site::*;

/// Nobody has started auderad, or somebody else just has.
#[test]
fn the_first_command_of_all_waits_for_all_rooms_of_a_group() {
    for is_started in [false, true] {
        let Some(site) = Site::with_auderad() else { return };
        let rooms = ["Kitchen", "Bath", "Attic"].map(|name| site.room(name));
        if is_started {
            let bus = "org.freedesktop.DBus";
            let start = [&format!("--dest={bus}"), "/", &format!("{bus}.StartServiceByName")];
            let name = ["string:org.audera.Audera1", "uint32:0"];
            let args = [&["--session", "--print-reply"], &start[..], &name].concat();
            site.session.run("dbus-send", &args).unwrap();
        }
        assert_eq!(site.ok(&["volume", "Everywhere", "40%"]), "Everywhere: 40 %\n");
        rooms.iter().for_each(|room| site.assert_told(room, "volume=40%"));
    }
}

#[test]
fn what_is_set_is_seen_at_the_player() {
    let Some(site) = Site::with_auderad() else { return };
    let kitchen = site.room("Kitchen");
    let living = site.room("Living Room");

    // The first one has auderad started, and does not give up because that has not seen any room yet.
    assert_eq!(site.ok(&["volume", "Kitchen", "40%"]), "Kitchen: 40 %\n");
    site.assert_told(&kitchen, "volume=40%");
    site.assert_told(&living, "volume=100%");
    for (args, says, told) in [
        (&["volume", "kitchen", "+5%"][..], "Kitchen: 45 %\n", "volume=45%"),
        (&["volume", "Kitchen", "-15"], "Kitchen: 30 %\n", "volume=30%"),
        // 60 dB are a factor of ten.
        (&["volume", "Kitchen", "-60dB"], "Kitchen: 3 %\n", "volume=3%"),
        (&["volume", "Kitchen", "+30dB"], "Kitchen: 9.5 %\n", "volume=9.49%"),
        (&["volume", "Kitchen", "0"], "Kitchen: 0 %\n", "volume=0%"),
        (&["volume", "Kitchen", "-3dB"], "Kitchen: 0 %\n", "volume=0%"),
        (&["volume", "Kitchen", "50"], "Kitchen: 50 %\n", "volume=50%"),
        (&["volume", "Kitchen"], "Kitchen: 50 %\n", "volume=50%"),
        (&["mute", "Kitchen"], "Kitchen: 50 %, mute\n", "mute=on"),
        (&["mute", "Kitchen", "toggle"], "Kitchen: 50 %\n", "mute=off"),
        (&["mute", "Kitchen", "on"], "Kitchen: 50 %, mute\n", "mute=on"),
        (&["mute", "Kitchen", "off"], "Kitchen: 50 %\n", "mute=off"),
        (&["delay", "Kitchen", "-12.5ms"], "Kitchen: -12.5 ms\n", "output-delay=-12.5ms"),
        (&["delay", "Kitchen", "120"], "Kitchen: 120 ms\n", "output-delay=120ms"),
        (&["delay", "Kitchen"], "Kitchen: 120 ms\n", "output-delay=120ms"),
        (&["channel", "Kitchen", "mono"], "Kitchen: mono\n", "channel-mode=mono"),
        (&["channel", "Kitchen"], "Kitchen: mono\n", "channel-mode=mono"),
    ] {
        assert_eq!(site.ok(args), says, "{args:?}");
        site.assert_told(&kitchen, told);
    }
    assert_eq!(site.ok(&["identify", "Living Room"]), "");
    site.session.poll("the sound", || living.process.output().contains("is to be heard").then_some(())).unwrap();
    assert!(!kitchen.process.output().contains("is to be heard"));

    groups(&site, &kitchen, &living);

    assert_eq!(site.ok(&["rename", "Living Room", "Salle à manger"]), "");
    site.assert_told(&living, "name=Salle à manger");
    site.wait_for("Salle à manger", "idle");
    site.assert_told(&kitchen, "volume=20%");

    // What is not accepted changes nothing.
    for (args, words) in [
        (&["volume", "Kitchen", "101%"][..], "0 to 100"),
        (&["volume", "Kitchen", "loud"], "+3dB"),
        (&["delay", "Kitchen", "501"], "-500 to 500"),
        (&["channel", "Kitchen", "both"], "swapped"),
        (&["rename", "Kitchen", ""], "1 to 63"),
    ] {
        let ended = site.audera(args);
        assert!(ended.code == 2 && ended.error.contains(words), "{args:?}: {ended:?}");
    }
    site.assert_told(&kitchen, "volume=20%");

    // What cannot be done.
    let error = site.refused(5, &["volume", "Kichen", "40%"]);
    assert!(error.contains("\"Kichen\"") && error.contains("Kitchen, Salle à manger, Everywhere"), "{error}");
    let _shy = site.player("Shy", "paired");
    site.wait_for("Shy", "refused");
    let error = site.refused(4, &["volume", "Shy", "40%"]);
    assert!(error.contains("trusted.toml"), "{error}");
    // Nobody knows how loud it is, so nothing is told of it either.
    for words in [&["volume", "Shy"][..], &["delay", "Shy"], &["channel", "Shy"], &["identify", "Shy"]] {
        site.refused(4, words);
    }
    let status = site.ok(&["status"]);
    let shy = status.lines().find(|line| line.starts_with("Shy")).unwrap();
    assert!(shy.contains("refused") && !shy.contains('%'), "{shy}");
    drop(kitchen);
    site.wait_for("Kitchen", "away");
    site.refused(3, &["volume", "Kitchen", "40%"]);
    site.refused(3, &["identify", "Kitchen"]);
}

fn groups(site: &Site, kitchen: &Room, living: &Room) {
    assert_eq!(site.ok(&["group", "create", "Down stairs", "Kitchen"]), "");
    assert_eq!(site.ok(&["group", "add", "Down stairs", "Living Room", "Kitchen"]), "");
    site.assert_told(kitchen, "groups=Down stairs");
    site.assert_told(living, "groups=Down stairs");
    // 100 and 50 percent: both by the same factor.
    assert_eq!(site.ok(&["volume", "Down stairs", "40%"]), "Down stairs: 40 %\n");
    site.assert_told(living, "volume=40%");
    site.assert_told(kitchen, "volume=20%");
    // Room by room to nought, which has no dB, and up again together.
    assert_eq!(site.ok(&["volume", "Kitchen", "0"]), "Kitchen: 0 %\n");
    assert_eq!(site.ok(&["volume", "Living Room", "0"]), "Living Room: 0 %\n");
    for silent in ["Kitchen", "Down stairs", "Everywhere"] {
        let error = site.refused(2, &["volume", silent, "+3dB"]);
        assert!(error.contains("silence has no"), "{error}");
    }
    assert_eq!(site.ok(&["volume", "Down stairs", "+80%"]), "Down stairs: 80 %\n");
    assert_eq!(site.ok(&["volume", "Down stairs", "-18.06dB"]), "Down stairs: 40 %\n");
    site.assert_told(living, "volume=40%");
    site.assert_told(kitchen, "volume=20%");
    assert_eq!(site.ok(&["mute", "everywhere"]), "Everywhere: 40 %, mute\n");
    site.assert_told(living, "mute=on");
    site.assert_told(kitchen, "mute=on");
    assert_eq!(site.ok(&["mute", "Everywhere", "off"]), "Everywhere: 40 %\n");
    let list = site.ok(&["group", "list"]);
    let rows: Vec<Vec<&str>> =
        list.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(
        rows,
        [
            ["GROUP", "VOLUME", "ROOMS"],
            ["Down stairs", "40 %", "Kitchen, Living Room"],
            ["Everywhere", "40 %", "Kitchen, Living Room"]
        ]
    );
    let list = json(&site.ok(&["group", "list", "--json"]));
    assert_eq!(
        list[0],
        json(r#"{"name":"Down stairs","members":["Kitchen","Living Room"],"volume":40.0,"muted":false}"#)
    );
    assert_eq!(site.ok(&["group", "remove", "Down stairs", "Living Room"]), "");
    site.assert_told(living, "groups=");
    assert_eq!(site.ok(&["group", "delete", "Down stairs"]), "");
    site.assert_told(kitchen, "groups=");
    let error = site.refused(5, &["group", "delete", "Down stairs"]);
    assert!(error.contains("there is Everywhere"), "{error}");
    for name in ["Kitchen", "kitchen"] {
        let error = site.refused(2, &["group", "create", name, "Kitchen"]);
        assert!(error.contains("is a room"), "{error}");
    }
    site.ok(&["group", "create", "Garden", "Kitchen"]);
    let error = site.refused(2, &["group", "create", "garden", "Living Room"]);
    assert!(error.contains("there is a group \"Garden\""), "{error}");
    // By somebody who does not mind.
    let mut command = site.product.command(&site.session);
    command.args(["set", &living.address, "groups=garden", "--state-dir"]).arg(site.session.dir().join("state/remote"));
    assert!(command.output().unwrap().status.success());
    let both = || (site.ok(&["group", "list"]).to_lowercase().matches("garden").count() == 2).then_some(());
    site.session.poll("both groups", both).unwrap();
    let error = site.refused(1, &["volume", "GARDEN", "10%"]);
    assert!(error.contains("several groups") && error.contains("Garden") && error.contains("garden"), "{error}");
    assert_eq!(site.ok(&["group", "delete", "garden"]), "");
    assert_eq!(site.ok(&["group", "delete", "Garden"]), "");
    let error = site.refused(2, &["group", "create", "everywhere", "Kitchen"]);
    assert!(error.contains("is all rooms"), "{error}");
    site.refused(5, &["group", "create", "New", "Nowhere"]);
}

//! What is said where there is no `auderad`, no bus, no terminal.

use crate::site::*;

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let Some(site) = Site::start() else { return };
    let error = site.refused(3, &["status"]);
    assert!(error.contains("install Audera whole"), "{error}");
    // Its program cannot be run.
    let file = site.session.dir().join("data/dbus-1/services").join(format!("{AUDERA}.service"));
    std::fs::write(file, format!("[D-BUS Service]\nName={AUDERA}\nExec=/bin/false\n")).unwrap();
    let bus = "org.freedesktop.DBus";
    site.session.run("busctl", &["--user", "call", bus, "/org/freedesktop/DBus", bus, "ReloadConfig"]).unwrap();
    let error = site.refused(3, &["volume", "Kitchen"]);
    assert!(error.contains("auderad does not start") && error.contains("journalctl"), "{error}");
    // No bus at all.
    let mut nowhere = command(&site.session);
    nowhere.args(["status"]).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
    let ended = ended(nowhere.output().unwrap());
    assert!(ended.code == 3 && ended.error.contains("no session bus"), "{ended:?}");
    let error = site.refused(2, &["top"]);
    assert!(error.contains("needs a terminal"), "{error}");
    let error = site.refused(1, &["play", "nothing.wav"]);
    assert!(error.contains("nothing.wav cannot be read"), "{error}");
    assert_eq!(site.audera(&["tune"]).code, 2);
    let error = site.refused(5, &["source", "start"]);
    assert!(error.contains("no source runs on this machine"), "{error}");
    assert_eq!(site.ok(&["source", "list", "--json"]), "[]\n");
}

//! `audera config`: how all programs of this user find rooms.

use crate::site::*;

#[test]
fn a_room_is_added_by_its_address_and_found_by_its_name() {
    let Some(site) = Site::with_auderad() else { return };
    let args = ["--access", "open", "--no-discovery"];
    let attic = site.product.silent_room(&site.session, "Attic", &args).unwrap();
    let told = || json(&site.ok(&["config", "--json"]));
    assert_eq!((&told()["discover"], &told()["addresses"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(site.ok(&["config", "add", &attic.address]), "");
    assert_eq!(told()["addresses"], serde_json::json!([attic.address]));
    assert_eq!(site.ok(&["volume", "attic", "40%"]), "Attic: 40 %\n");
    site.assert_told(&attic, "volume=40%");
    assert_eq!(site.ok(&["config", "discover", "off"]), "");
    let table = site.ok(&["config"]);
    let value = |setting: &str| table.lines().find_map(|line| line.strip_prefix(setting)).map(str::trim);
    assert_eq!((value("discover"), value("addresses")), (Some("off"), Some(attic.address.as_str())), "{table}");
    assert_eq!(value("id").map(str::len), Some(64), "{table}");
    assert!(site.refused(2, &["config", "add", "not an address"]).contains("is no address"));
    // What is not to be used yet is added, and it is said why.
    let args = ["--access", "paired", "--no-discovery"];
    let shy = site.product.silent_room(&site.session, "Shy", &args).unwrap();
    let error = site.refused(4, &["config", "add", &shy.address]);
    let id = told()["id"].as_str().unwrap().to_owned();
    assert!(error.contains("is added") && error.contains(&id) && error.contains("trusted.toml"), "{error}");
    let error = site.refused(3, &["config", "add", "127.0.0.1:9"]);
    assert!(error.contains("127.0.0.1:9 is added") && error.contains("is not there"), "{error}");
    assert_eq!(told()["addresses"], serde_json::json!([attic.address, shy.address, "127.0.0.1:9"]));
    for address in [&shy.address, "127.0.0.1:9"] {
        assert_eq!(site.ok(&["config", "remove", address]), "");
    }
    assert_eq!(site.ok(&["config", "remove", &attic.address]), "");
    assert!(site.refused(5, &["config", "remove", &attic.address]).contains("was not added"));
    site.refused(5, &["volume", "attic", "30%"]);
    assert_eq!(site.ok(&["config", "discover", "on"]), "");
    assert_eq!(told()["discover"], true);
}

//! The introspection XML in the tree is what the running service tells, and what docs/dbus.md shows runs as written.

use std::collections::BTreeSet;
use std::path::Path;

use crate::desk::*;

pub fn file(below: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below)).unwrap()
}

/// The elements of introspection XML, each with its attributes in order and with those around it; comments are left out.
fn elements(xml: &str) -> BTreeSet<String> {
    let mut rest = xml.to_owned();
    while let Some(begin) = rest.find("<!--") {
        let end = rest[begin..].find("-->").unwrap() + begin + 3;
        rest.replace_range(begin..end, "");
    }
    let mut around: Vec<String> = Vec::new();
    let mut all = BTreeSet::new();
    let mut position = 0;
    for tag in rest.split('<').skip(1).map(|tag| tag.split('>').next().unwrap().trim()) {
        if tag.starts_with('!') {
            continue;
        }
        if tag.starts_with('/') {
            around.pop();
            continue;
        }
        let open = tag.trim_end_matches('/').trim();
        let mut words = open.split_whitespace();
        let name = words.next().unwrap();
        let mut attributes: Vec<&str> = words.collect();
        attributes.sort_unstable();
        // The order of arguments counts.
        position += 1;
        let place = if name == "arg" { format!("{position}") } else { String::new() };
        if name != "arg" {
            position = 0;
        }
        let element = format!("{name} {}{place}", attributes.join(" "));
        if name != "node" {
            all.insert(format!("{} / {element}", around.join(" / ")));
        }
        if !tag.ends_with('/') {
            around.push(if name == "node" { String::new() } else { element });
        }
    }
    all
}

/// Those of one interface.
pub fn of_interface(xml: &str, interface: &str) -> BTreeSet<String> {
    let all = elements(xml).into_iter().map(|element| element.trim_start_matches([' ', '/']).to_owned());
    all.filter(|element| element.contains(&format!("interface name=\"{interface}\""))).collect()
}

#[test]
fn the_comparison_sees_what_differs() {
    let one = "<node><!-- <x/> --><interface name=\"a\"><method name=\"m\"><arg name=\"x\" type=\"s\"/><arg name=\"y\" type=\"d\"/></method></interface></node>";
    assert_eq!(of_interface(one, "a").len(), 4);
    for other in
        [one.replace("\"d\"", "\"s\""), one.replace("\"m\"", "\"n\""), one.replace("<arg name=\"x\" type=\"s\"/>", "")]
    {
        assert_ne!(of_interface(one, "a"), of_interface(&other, "a"), "{other}");
    }
    let swapped = one
        .replace("name=\"x\" type=\"s\"", "name=\"z\" type=\"z\"")
        .replace("name=\"y\" type=\"d\"", "name=\"x\" type=\"s\"")
        .replace("name=\"z\" type=\"z\"", "name=\"y\" type=\"d\"");
    assert_ne!(of_interface(one, "a"), of_interface(&swapped, "a"));
}

#[test]
fn definitions_are_those_of_the_files() {
    for definition in audera_dbus::ALL {
        let mut told = String::from("<node>\n");
        definition.introspect(&mut told);
        told += "</node>";
        let kept = of_interface(&file(&format!("dbus/interfaces/{}.xml", definition.name)), definition.name);
        assert!(kept.len() > 1 && kept == of_interface(&told, definition.name), "{}", definition.name);
    }
}

#[test]
fn the_running_service_is_what_the_files_say() {
    let Some(desk) = Desk::start() else { return };
    let _kitchen = desk.room("Kitchen", &[]);
    let _auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen"]);
    for (path, interface) in [
        ("", "org.audera.Manager1"),
        ("/players/Kitchen", "org.audera.Player1"),
        ("/groups/Everywhere", "org.audera.Group1"),
    ] {
        let path = format!("{ROOT}{path}");
        let told = desk
            .session
            .run("gdbus", &["introspect", "--session", "--dest", AUDERA, "--object-path", &path, "--xml"])
            .unwrap();
        let kept = of_interface(&file(&format!("dbus/interfaces/{interface}.xml")), interface);
        assert_eq!(of_interface(&told, interface), kept, "{told}");
        // Every property is there, with its type.
        let all = desk.busctl_ok(&["introspect", AUDERA, &path, interface]);
        let definition = audera_dbus::ALL.into_iter().find(|definition| definition.name == interface).unwrap();
        for property in definition.properties {
            let row: Vec<&str> = all
                .lines()
                .find(|line| line.starts_with(&format!(".{} ", property.name)))
                .unwrap()
                .split_whitespace()
                .collect();
            assert_eq!((row[1], row[2]), ("property", property.signature), "{all}");
            assert_ne!(row[3], "-", "{} has no value: {all}", property.name);
        }
    }
}

/// The blocks of a language in the documentation.
fn blocks(language: &str) -> Vec<String> {
    let text = file("docs/dbus.md");
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_documentation_run_as_written() {
    let Some(desk) = Desk::start() else { return };
    let kitchen = desk.room("Kitchen", &[]);
    let bath = desk.room("Bath", &[]);
    // Nobody has started it: the bus does.
    activate(&desk.session);
    desk.wait_for_rooms(&["Kitchen", "Bath"]);
    let shell = blocks("sh");
    assert!(shell.len() >= 5);
    for block in shell {
        let output = desk.session.command("sh").args(["-e", "-c", &block]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{block}\n{error}");
        println!("{block}{}", String::from_utf8_lossy(&output.stdout));
    }
    let told = desk.told_by(&kitchen);
    assert!(
        told.contains("channel-mode=mono") && told.contains("max-volume=80%") && told.contains("groups=\n"),
        "{told}"
    );
    desk.set("/players/Bath", "org.audera.Player1", "Muted", &["b", "true"]);
    let python = blocks("python");
    assert_eq!(python.len(), 1);
    // Debian's own Python has Debian's packages.
    let output = desk.session.command("/usr/bin/python3").args(["-c", &python[0]]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Kitchen: idle, ") && said.contains("Bath: idle, 30 %\n"), "{said}");
    assert!(desk.told_by(&bath).contains("mute=off"));
}

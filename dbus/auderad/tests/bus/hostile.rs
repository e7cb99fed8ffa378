//! Clients that mean no good: they change nothing that they may not, get no more memory than others, and hold nobody up.

use std::collections::HashMap;
use std::time::Duration;

use audera_dbus::player::Player1Proxy;
use futures_util::StreamExt;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::{Flags, Message, Type};
use zbus::zvariant::{DynamicType, Value};
use zbus::{Connection, MessageStream};

use crate::desk::*;

const PLAYER: &str = "org.audera.Player1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What `auderad` may have grown by, bytes: buffers of the bus connection, and what the allocator keeps.
const GROWTH: u64 = 24 << 20;

async fn connect(desk: &Desk) -> Connection {
    Builder::address(desk.session.session_bus().as_str()).unwrap().build().await.unwrap()
}

/// Sends a call without waiting for its answer.
async fn send<B: serde::Serialize + DynamicType>(
    client: &Connection,
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) {
    let call = Message::method_call(path, member).unwrap().destination(AUDERA).unwrap().interface(interface).unwrap();
    client.send(&call.build(body).unwrap()).await.unwrap();
}

/// Counts the answers to calls, by the name of the error; those that went well have none.
async fn answers(stream: &mut MessageStream, count: usize) -> HashMap<String, usize> {
    let mut all = HashMap::new();
    let mut left = count;
    while left > 0 {
        let message = timeout(PATIENCE, stream.next()).await.expect("all calls are answered").unwrap().unwrap();
        let name = match message.message_type() {
            Type::Error => message.header().error_name().unwrap().to_string(),
            Type::MethodReturn => String::new(),
            _ => continue,
        };
        *all.entry(name).or_insert(0) += 1;
        left -= 1;
    }
    all
}

#[tokio::test]
async fn calls_that_wait_for_auderad_to_be_started_are_all_answered() {
    let Some(desk) = Desk::start() else { return };
    activate(&desk.session);
    let client = connect(&desk).await;
    let mut stream = MessageStream::from(&client);
    const CALLS: usize = 100;
    for _ in 0..CALLS {
        send(&client, ROOT, "org.freedesktop.DBus.Peer", "Ping", &()).await;
    }
    assert_eq!(answers(&mut stream, CALLS).await, HashMap::from([(String::new(), CALLS)]));
}

#[tokio::test]
async fn a_hostile_client_changes_nothing_and_takes_no_memory() {
    let Some(desk) = Desk::start() else { return };
    let kitchen = desk.room("Kitchen", &[]);
    let mut auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen"]);
    let before = desk.told_by(&kitchen);
    let memory = auderad.usage().unwrap().resident;
    let path = format!("{ROOT}/players/Kitchen");
    let hostile = connect(&desk).await;
    let mut stream = MessageStream::from(&hostile);

    // Wrong types, values and names, ten thousand of them.
    const CALLS: usize = 10_000;
    // As many as the bus itself lets one program have under way.
    const AT_ONCE: usize = 100;
    let wrong: Vec<(&str, Value<'_>)> = vec![
        ("Volume", Value::from("loud")),
        ("Volume", Value::from(f64::NAN)),
        ("Volume", Value::from(-1.0)),
        ("Volume", Value::from(f64::INFINITY)),
        ("Name", Value::from("\u{7}")),
        ("Name", Value::from(vec![1u8, 2])),
        ("Groups", Value::from(vec!["a"; 40])),
        ("ChannelMode", Value::from("x".repeat(10_000))),
        ("OutputDelay", Value::from(1e300)),
        ("Id", Value::from("me")),
        ("", Value::from(0u8)),
        ("StartupVolume", Value::from(-2.0)),
    ];
    let mut told = HashMap::new();
    for first in (0..CALLS).step_by(AT_ONCE) {
        for number in first..first + AT_ONCE {
            match number % 4 {
                0 => send(&hostile, &path, PLAYER, "Set", &"not a dictionary").await,
                1 => send(&hostile, &format!("{ROOT}/players/{}", "x".repeat(200)), PLAYER, "Identify", &()).await,
                2 => send(&hostile, &path, "org.audera.Player2", "Identify", &number.to_string()).await,
                _ => {
                    let (property, value) = &wrong[number / 4 % wrong.len()];
                    send(&hostile, &path, PROPERTIES, "Set", &(PLAYER, property, value)).await;
                }
            }
        }
        for (name, count) in answers(&mut stream, AT_ONCE).await {
            *told.entry(name).or_insert(0) += count;
        }
    }
    assert!(!told.contains_key(""), "nothing of it went well: {told:?}");
    assert!(
        told["org.audera.Error.InvalidValue"] > 0 && told["org.freedesktop.DBus.Error.InvalidArgs"] > 0,
        "{told:?}"
    );
    println!("{told:?}");

    // Megabytes in one text, and in one name; more than once, since allocators get used to it.
    for length in [100_000, 8 << 20, 20 << 20, 20 << 20] {
        let text = "x".repeat(length);
        send(&hostile, &path, PROPERTIES, "Set", &(PLAYER, "Name", Value::from(text.as_str()))).await;
        send(&hostile, &path, PROPERTIES, "Get", &(text.as_str(), "Name")).await;
        send(&hostile, &path, PLAYER, text.get(..255).unwrap(), &text).await;
        let told = answers(&mut stream, 3).await;
        assert_eq!(told.get("org.freedesktop.DBus.Error.LimitsExceeded"), Some(&3), "{told:?}");
    }

    // One that wants no answers, and one that does not read those it gets, both of all there is.
    let deaf = connect(&desk).await;
    let unread = MessageStream::from(&deaf);
    for _ in 0..2_000 {
        let call = Message::method_call(ROOT, "GetManagedObjects").unwrap().destination(AUDERA).unwrap();
        let call = call.interface("org.freedesktop.DBus.ObjectManager").unwrap();
        client_sends(&hostile, call.with_flags(Flags::NoReplyExpected).unwrap().build(&()).unwrap()).await;
        send(&deaf, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &()).await;
    }

    // Meanwhile another client is served.
    let friend = connect(&desk).await;
    let room = Player1Proxy::builder(&friend).path(path.as_str()).unwrap().build().await.unwrap();
    timeout(PATIENCE, room.set_volume(33.0)).await.expect("the friend is answered").unwrap();
    assert_eq!(
        desk.told_by(&kitchen),
        before.replace("\nvolume=100%", "\nvolume=33%"),
        "only the friend changed anything"
    );
    drop(unread);

    assert!(auderad.is_running());
    let grown = auderad.usage().unwrap().resident.saturating_sub(memory);
    println!("auderad has grown from {} by {} KiB", memory >> 10, grown >> 10);
    assert!(grown < GROWTH, "by {grown} bytes");
}

async fn client_sends(client: &Connection, message: Message) {
    client.send(&message).await.unwrap();
}

#[tokio::test]
async fn a_room_that_does_not_answer_holds_nobody_up() {
    let Some(desk) = Desk::start() else { return };
    let _kitchen = desk.room("Kitchen", &[]);
    let frozen = desk.room("Bath", &[]);
    let _auderad = desk.auderad();
    desk.wait_for_rooms(&["Kitchen", "Bath"]);
    frozen.process.signal(libc::SIGSTOP);
    let client = connect(&desk).await;
    let mut stream = MessageStream::from(&client);
    // More than may wait for their answers: these are told so at once.
    const CALLS: usize = 40;
    for number in 0..CALLS {
        send(
            &client,
            &format!("{ROOT}/players/Bath"),
            PROPERTIES,
            "Set",
            &(PLAYER, "Volume", Value::from(number as f64)),
        )
        .await;
    }
    let told = answers(&mut stream, 8).await;
    assert_eq!(told.get("org.audera.Error.Busy"), Some(&8), "{told:?}");
    // The other room, asked by another client, is not concerned.
    desk.set("/players/Kitchen", PLAYER, "Volume", &["d", "12"]);
    assert_eq!(desk.get("/players/Kitchen", PLAYER, "Volume"), "d 12");
    let told = answers(&mut stream, CALLS - 8).await;
    assert_eq!(told.get("org.audera.Error.Unreachable"), Some(&(CALLS - 8)), "{told:?}");
}

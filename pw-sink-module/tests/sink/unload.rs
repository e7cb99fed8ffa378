//! The module leaves nothing behind: unloaded while it plays, or at the end of its host, in a process of its own and in the daemon.

use std::fs;

use audera_testkit::home::Product;
use audera_testkit::{Daemon, Process, Session, or_skip};
use serde_json::Value;

use crate::desk::*;
use crate::host::Host;

/// Starts a daemon with the module in it and the session manager; `wrap` goes before the command.
pub fn daemon_with_module(session: &mut Session, wrap: &[String]) -> Process {
    let folder = session.config_dir().join("pipewire/pipewire.conf.d");
    fs::write(
        folder.join("50-audera.conf"),
        "context.modules = [ { name = libpipewire-module-audera-sink flags = [ nofail ] } ]\n",
    )
    .unwrap();
    let mut daemon = session.spawn(wrapped(session, wrap, &["pipewire"])).unwrap();
    daemon.wait_until("the daemon to answer", || session.run("pw-cli", &["info", "0"]).ok()).unwrap();
    session.start_daemon(Daemon::WirePlumber).unwrap();
    daemon
}

fn module(session: &Session) -> Option<Value> {
    objects(session).into_iter().find(|object| object["info"]["name"] == "libpipewire-module-audera-sink")
}

/// Ends the module in the daemon while the daemon goes on. Since PipeWire 0.3.77 no client may destroy a module; there its connection is
/// taken away, without which it unloads itself.
pub fn unload(session: &Session) {
    let module = module(session).unwrap();
    let may_destroy = module["permissions"].as_array().unwrap().iter().any(|permission| permission == "x");
    let object = if may_destroy {
        module["id"].to_string()
    } else {
        prop(&node(session, "audera.Kitchen").unwrap(), "client.id")
    };
    session.run("pw-cli", &["destroy", &object]).unwrap();
}

/// Names of a process's threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|c| c.trim().to_owned())
        .collect()
}

/// What a process's descriptors are, without numbers: `socket`, `anon_inode:[eventfd]`, files by path.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut all: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .map(|target| target.split(":[").next().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn in_the_daemon_it_is_unloaded_while_it_plays() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let builder = product.session("desk").daemons(&[Daemon::SystemBus, Daemon::SessionBus, Daemon::Avahi]);
    let Some(mut session) = or_skip(builder.start()) else { return };
    let mut daemon = daemon_with_module(&mut session, &[]);
    furnish(&session, &["Kitchen"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    wait_for_sink(&session, "audera.Kitchen");
    let recorder = listen(&session, &["Kitchen"]);
    let application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_heard(&session, &recorder, &[true]);
    let progress = Progress::watch(&session, &application, &recorder);
    assert!(threads(daemon.pid()).contains(&"audera-net".to_owned()));

    unload(&session);
    wait_until_gone(&session, "audera.Kitchen");
    session.poll("the module's end", || module(&session).is_none().then_some(())).unwrap();
    let pid = daemon.pid();
    let ended = || (!threads(pid).contains(&"audera-net".to_owned())).then_some(());
    session.poll("the end of the network thread", ended).unwrap();
    // The session manager moves the application to another sink; neither it nor the daemon has come to harm.
    let_pass(&session, &recorder, 1.0);
    progress.check(&recorder);
    assert!(daemon.is_running());
    drop(recorder);
    drop(application);

    let ended = daemon.stop().unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn hosts_end_while_it_plays() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let builder = product.session("desk").daemons(&[Daemon::SystemBus, Daemon::SessionBus, Daemon::Avahi]);
    let Some(mut session) = or_skip(builder.start()) else { return };
    let daemon = daemon_with_module(&mut session, &[]);
    furnish(&session, &["Kitchen"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    wait_for_sink(&session, "audera.Kitchen");
    // A process of its own beside it, with other names.
    let mut own = product.module(&session, "sink", "audera.name.format = \"Own %s\"").unwrap();
    session
        .poll("both sinks", || {
            let all = objects(&session);
            all.iter().any(|object| prop(object, "node.description") == "Own Kitchen").then_some(())
        })
        .unwrap();
    let recorder = listen(&session, &["Kitchen"]);
    let _application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_heard(&session, &recorder, &[true]);
    // With the daemon the other module loses its connection: it unloads itself, and its host stays.
    let ended = daemon.stop().unwrap();
    assert!(ended.success(), "{ended}");
    let pid = own.pid();
    own.wait_until("the end of the module's thread", || {
        (!threads(pid).contains(&"audera-net".to_owned())).then_some(())
    })
    .unwrap();
    assert!(own.is_running());
    assert!(own.stop().unwrap().success());
}

#[test]
fn threads_and_descriptors_go_back() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    let recorder = listen(&session, &["Kitchen"]);
    let mut host = Host::start(&session, &[]);
    let pid = host.pid();
    let mut before = (threads(pid), descriptors(pid));
    // Once it has run, tokio keeps a pair of sockets for signals, one for the life of the process.
    before.1.extend(["socket".to_owned(), "socket".to_owned()]);
    before.1.sort();
    for round in 0..3 {
        host.say("load");
        wait_for_sink(&session, "audera.Kitchen");
        let application = pw_play(&session, &["--target", "audera.Kitchen"]);
        wait_heard(&session, &recorder, &[true]);
        println!(
            "round {round}: {} threads, {} descriptors while it plays",
            threads(pid).len(),
            descriptors(pid).len()
        );
        host.say("unload");
        wait_until_gone(&session, "audera.Kitchen");
        drop(application);
        wait_heard(&session, &recorder, &[false]);
        // A thread that looks up a name, or writes a file, ends when it is done.
        let mut after = before.clone();
        let as_before = || {
            after = (threads(pid), descriptors(pid));
            (before == after).then_some(())
        };
        let waited = session.poll("threads and descriptors as before", as_before);
        assert!(waited.is_ok(), "round {round}: {before:?} have become {after:?}");
    }
    assert!(host.end().success());
}

//! Memory under valgrind: loading, playing, unloading and every way to end, without invalid access and without leaks of ours.

use std::fs;
use std::path::Path;

use audera_testkit::home::Product;
use audera_testkit::{Daemon, or_skip};

use crate::desk::*;
use crate::host::Host;
use crate::unload::{daemon_with_module, unload};

/// valgrind as the command before a command; its findings go to `log`. Nothing is suppressed.
///
/// Only the use of undefined values is not looked for: memcheck cannot follow how ring's assembly makes a cipher's output,
/// and takes all that was ever decrypted for undefined.
fn valgrind(log: &Path) -> Vec<String> {
    ["valgrind", "--quiet", "--undef-value-errors=no", "--error-exitcode=99", "--num-callers=40", "--fair-sched=yes"]
        .into_iter()
        .map(str::to_owned)
        .chain(
            ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"].map(str::to_owned),
        )
        .chain([format!("--log-file={}", log.display())])
        .collect()
}

fn findings(log: &Path) -> String {
    fs::read_to_string(log).unwrap()
}

#[test]
fn the_daemon_with_the_module_is_clean() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let builder = product.session("desk").daemons(&[Daemon::SystemBus, Daemon::SessionBus, Daemon::Avahi]);
    let Some(mut session) = or_skip(builder.start()) else { return };
    let log = session.dir().join("valgrind");
    let daemon = daemon_with_module(&mut session, &valgrind(&log));
    furnish(&session, &["Kitchen"]);
    let _kitchen = player(&product, &session, "Kitchen", &[]);
    wait_for_sink(&session, "audera.Kitchen");
    let application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_until_playing(&session, "audera.Kitchen", &["Kitchen"]);
    unload(&session);
    wait_until_gone(&session, "audera.Kitchen");
    drop(application);
    let ended = daemon.stop().unwrap();
    assert!(ended.success(), "{ended}: {}", findings(&log));
}

#[test]
fn a_process_of_its_own_is_clean() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    furnish(&session, &["Kitchen"]);
    let kitchen = player(&product, &session, "Kitchen", &[]);
    let log = session.dir().join("valgrind");
    let mut host = Host::start(&session, &valgrind(&log));
    for _ in 0..2 {
        host.say("load");
        wait_for_sink(&session, "audera.Kitchen");
        let _application = pw_play(&session, &["--target", "audera.Kitchen"]);
        wait_until_playing(&session, "audera.Kitchen", &["Kitchen"]);
        host.say("unload");
        wait_until_gone(&session, "audera.Kitchen");
    }
    // The end of the host with the module still loaded and playing, and its player gone.
    host.say("load");
    wait_for_sink(&session, "audera.Kitchen");
    let _application = pw_play(&session, &["--target", "audera.Kitchen"]);
    wait_until_playing(&session, "audera.Kitchen", &["Kitchen"]);
    kitchen.signal(libc::SIGKILL);
    session.poll("the player to be missed", || rooms(&session, "audera.Kitchen").is_empty().then_some(())).unwrap();
    let ended = host.end();
    assert!(ended.success(), "{ended}: {}", findings(&log));
}

#[test]
fn a_leak_would_be_found() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").daemons(&[]).start()) else { return };
    let log = session.dir().join("valgrind");
    let mut host = Host::start(&session, &valgrind(&log));
    host.say("leak");
    assert_eq!(host.end().code(), Some(99));
    assert!(findings(&log).contains("definitely lost"));
}

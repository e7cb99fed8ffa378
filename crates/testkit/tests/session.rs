//! The session itself: comes up, has what it should, and leaves nothing behind.

use std::time::Instant;

use audera_testkit::{Daemon, NullSink, Session, or_skip};

#[test]
fn comes_up_and_shows_null_sinks() {
    let begin = Instant::now();
    let Some(session) = or_skip(Session::start("desk")) else { return };
    println!("session up after {:?}", begin.elapsed());
    session.null_sink(&NullSink::new("Kitchen")).unwrap();
    session.null_sink(&NullSink::new("Living Room")).unwrap();
    println!("two sinks after {:?}", begin.elapsed());
    let status = session.run("wpctl", &["status"]).unwrap();
    assert!(status.contains("Kitchen") && status.contains("Living Room"), "{status}");
    let sinks = session.run("pactl", &["list", "short", "sinks"]).unwrap();
    assert_eq!(sinks.lines().count(), 2, "{sinks}");
    for daemon in Daemon::ALL {
        let log = std::fs::read_to_string(session.log_of(daemon)).unwrap();
        println!("--- {daemon:?}\n{log}");
    }
}

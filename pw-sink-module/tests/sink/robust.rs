//! Whatever breaks behind a sink, the application plays on, the other rooms play on, and sound comes back by itself.

use audera_testkit::home::Product;
use audera_testkit::record::Recorder;
use audera_testkit::{Daemon, Network, Process, Session, measure, or_skip};

use crate::desk::*;

/// Long enough that a test machine which wakes late now and then makes no gaps of its own.
const ARGUMENTS: &str = "audera.latency.msec = 400 audera.codec = pcm";

struct Home {
    product: Product,
    desk: Session,
    flat: Session,
}

impl Home {
    fn new() -> Option<Self> {
        let product = Product::find().unwrap();
        let network = or_skip(Network::new())?;
        let desk = product.session("desk").on(&network).start().unwrap();
        let flat = product.session("flat").on(&network).start().unwrap();
        furnish(&flat, &["Kitchen", "Living Room"]);
        Some(Home { product, desk, flat })
    }

    fn room(&self, name: &str) -> Process {
        player(&self.product, &self.flat, name, &[])
    }

    fn listen(&self) -> Recorder {
        listen(&self.flat, &["Kitchen", "Living Room"])
    }

    fn wait_heard(&self, recorder: &Recorder, wanted: &[bool]) {
        wait_heard(&self.flat, recorder, wanted);
    }

    /// Lets time pass in the graph.
    fn pass(&self, recorder: &Recorder, seconds: f64) {
        let until = recorder.seconds() + seconds;
        self.flat.poll("time to pass", || (recorder.seconds() > until).then_some(())).unwrap();
    }
}

/// Fails if a channel that sounded all the time was interrupted. A cycle that the graph itself did not run on time is not
/// counted: it is missing in all channels alike, and not filled with silence.
fn assert_unbroken(recorder: Recorder, channel: usize, what: &str) {
    let recorded = recorder.finish().unwrap();
    let gaps = measure::gaps(&recorded.channels[channel], 8);
    assert!(recorded.seconds() > 2.0 && gaps.is_empty(), "{what}: {gaps:?} in {} s", recorded.seconds());
    println!("{what}: no gap in {:.1} s", recorded.seconds());
}

#[test]
fn network_and_players_fail_and_come_back() {
    let _alone = alone();
    let Some(home) = Home::new() else { return };
    let _sinks = home.product.module(&home.desk, "sink", ARGUMENTS).unwrap();
    let kitchen = home.room("Kitchen");
    let _living = home.room("Living Room");
    wait_for_sink(&home.desk, "audera.Everywhere");
    let recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[true, true]);
    let progress = Progress::watch(&home.desk, &application, &recorder);

    home.flat.host().cut().unwrap();
    home.wait_heard(&recorder, &[false, false]);
    home.pass(&recorder, 3.0);
    progress.check(&recorder);
    let before = recorder.seconds();
    home.flat.host().join().unwrap();
    home.wait_heard(&recorder, &[true, true]);
    println!("both rooms sound {:.1} s after the cable", recorder.seconds() - before);
    progress.check(&recorder);

    let other = home.listen();
    home.pass(&recorder, 1.0);
    kitchen.signal(libc::SIGKILL);
    home.wait_heard(&recorder, &[false, true]);
    drop(kitchen);
    let _kitchen = home.room("Kitchen");
    let before = recorder.seconds();
    home.wait_heard(&recorder, &[true, true]);
    println!("the killed room sounds {:.1} s after it is ready again", recorder.seconds() - before);
    home.pass(&recorder, 1.0);
    progress.check(&recorder);
    assert_unbroken(other, 1, "Living Room, while the player in the kitchen is killed and started again");
}

#[test]
fn a_player_that_reads_nothing_does_not_disturb_the_others() {
    let _alone = alone();
    let Some(home) = Home::new() else { return };
    let _sinks = home.product.module(&home.desk, "sink", ARGUMENTS).unwrap();
    let _living = home.room("Living Room");
    // Not in the graph, which a stopped process would hold up, and nobody's fault.
    let output = format!("file:{}", home.flat.dir().join("cellar.wav").display());
    let cellar = home.product.player(&home.flat, "Cellar", &["--access", "open", "--output", &output]).unwrap();
    wait_for_sink(&home.desk, "audera.Everywhere");
    let recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[false, true]);
    wait_until_playing(&home.desk, "audera.Everywhere", &["Cellar", "Living Room"]);
    let progress = Progress::watch(&home.desk, &application, &recorder);

    let other = home.listen();
    cellar.signal(libc::SIGSTOP);
    // Its connection is given up after some seconds, which must not be noticed either.
    home.desk
        .poll("the stopped room to be given up", || (rooms(&home.desk, "audera.Everywhere").len() == 1).then_some(()))
        .unwrap();
    home.pass(&recorder, 1.0);
    cellar.signal(libc::SIGCONT);
    wait_until_playing(&home.desk, "audera.Everywhere", &["Cellar", "Living Room"]);
    assert_unbroken(other, 1, "Living Room, while the player in the cellar is stopped and goes on");
    progress.check(&recorder);
}

#[test]
fn discovery_fails_and_comes_back() {
    let _alone = alone();
    let Some(mut home) = Home::new() else { return };
    let _sinks = home.product.module(&home.desk, "sink", ARGUMENTS).unwrap();
    let _kitchen = home.room("Kitchen");
    let _living = home.room("Living Room");
    wait_for_sink(&home.desk, "audera.Everywhere");
    let recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[true, true]);
    let progress = Progress::watch(&home.desk, &application, &recorder);
    let other = home.listen();
    let id = node(&home.desk, "audera.Kitchen").unwrap()["id"].clone();

    home.desk.stop_daemon(Daemon::Avahi).unwrap();
    // Longer than a sink without its player stays.
    home.pass(&recorder, 12.0);
    assert_eq!(node(&home.desk, "audera.Kitchen").unwrap()["id"], id);
    home.desk.start_daemon(Daemon::Avahi).unwrap();
    home.pass(&recorder, 2.0);
    home.desk.stop_daemon(Daemon::Avahi).unwrap();
    home.desk.stop_daemon(Daemon::SystemBus).unwrap();
    home.pass(&recorder, 12.0);
    home.desk.start_daemon(Daemon::SystemBus).unwrap();
    home.desk.start_daemon(Daemon::Avahi).unwrap();

    // Discovery works again: it finds one more.
    let output = format!("file:{}", home.flat.dir().join("cellar.wav").display());
    let _cellar = home.product.player(&home.flat, "Cellar", &["--access", "open", "--output", &output]).unwrap();
    wait_for_sink(&home.desk, "audera.Cellar");
    home.pass(&recorder, 11.0);
    assert_eq!(node(&home.desk, "audera.Kitchen").unwrap()["id"], id, "the sink has stayed the same");
    assert_unbroken(other, 0, "Kitchen, while Avahi and the bus come and go");
    progress.check(&recorder);
}

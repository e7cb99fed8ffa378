//! Whatever breaks behind a sink, the application plays on, the other rooms play on, and sound comes back by itself.

use audera_testkit::home::Product;
use audera_testkit::measure::{Holes, Reference};
use audera_testkit::record::Recorder;
use audera_testkit::{Daemon, Network, Process, Session, or_skip};

use crate::desk::*;

/// Long enough that a test machine which holds programs back now and then makes no gaps of its own.
const ARGUMENTS: &str = "audera.latency.msec = 1000 audera.codec = pcm";

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

    /// Listens to the rooms, and to what is played to all of them.
    fn watch(&self) -> Watched {
        let meant = self.desk.record(&["audera.Everywhere:monitor_FL"]).unwrap();
        Watched { heard: self.listen(), meant }
    }
}

/// Lets time pass in the graph.
fn pass(recorder: &mut Recorder, seconds: f64) {
    recorder.wait_for(recorder.seconds() + seconds).unwrap();
}

/// Rooms that are not to notice something.
struct Watched {
    heard: Recorder,
    meant: Recorder,
}

impl Watched {
    /// Fails if a room that sounded all the time was interrupted. What the graphs on either side missed is told apart: whole
    /// cycles of the room's graph, and what is missing at the sink's own monitor too.
    fn assert_unbroken(self, channel: usize, what: &str) {
        let (heard, meant) = (self.heard.finish().unwrap(), self.meant.finish().unwrap());
        let room = &heard.channels[channel];
        let holes = Holes::find(room, 0..room.len(), Some(Reference::elsewhere(&meant.channels[0])));
        println!("{what}, {:.1} s: {:.2} % excused, {holes:?}", heard.seconds(), holes.excused_share() * 100.0);
        assert_eq!(holes.fault(heard.rate), None, "{what}: {holes:?} in {} s", heard.seconds());
        let windows = room.chunks_exact(heard.rate as usize / 4);
        let silent = windows.filter(|window| window.iter().all(|&sample| sample == 0.0)).count();
        assert!(heard.seconds() > 2.0 && silent <= 1, "{what}: silent for {silent} quarters of a second");
    }
}

#[test]
fn network_and_players_fail_and_come_back() {
    let _alone = alone();
    let Some(home) = Home::new() else { return };
    let _sinks = home.product.module(&home.desk, "sink", ARGUMENTS).unwrap();
    let kitchen = home.room("Kitchen");
    let _living = home.room("Living Room");
    wait_for_sink(&home.desk, "audera.Everywhere");
    let mut recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[true, true]);
    let progress = Progress::watch(&home.desk, &application, &recorder);

    home.flat.host().cut().unwrap();
    home.wait_heard(&recorder, &[false, false]);
    pass(&mut recorder, 3.0);
    progress.check(&recorder);
    let before = recorder.seconds();
    home.flat.host().join().unwrap();
    home.wait_heard(&recorder, &[true, true]);
    println!("both rooms sound {:.1} s after the cable", recorder.seconds() - before);
    progress.check(&recorder);

    let other = home.watch();
    pass(&mut recorder, 1.0);
    kitchen.signal(libc::SIGKILL);
    home.wait_heard(&recorder, &[false, true]);
    drop(kitchen);
    let _kitchen = home.room("Kitchen");
    let before = recorder.seconds();
    home.wait_heard(&recorder, &[true, true]);
    println!("the killed room sounds {:.1} s after it is ready again", recorder.seconds() - before);
    pass(&mut recorder, 1.0);
    progress.check(&recorder);
    other.assert_unbroken(1, "Living Room, while the player in the kitchen is killed and started again");
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
    let mut recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[false, true]);
    wait_until_playing(&home.desk, "audera.Everywhere", &["Cellar", "Living Room"]);
    let progress = Progress::watch(&home.desk, &application, &recorder);

    let other = home.watch();
    cellar.signal(libc::SIGSTOP);
    // Its connection is given up after some seconds, which must not be noticed either.
    home.desk
        .poll("the stopped room to be given up", || (rooms(&home.desk, "audera.Everywhere").len() == 1).then_some(()))
        .unwrap();
    pass(&mut recorder, 1.0);
    cellar.signal(libc::SIGCONT);
    wait_until_playing(&home.desk, "audera.Everywhere", &["Cellar", "Living Room"]);
    other.assert_unbroken(1, "Living Room, while the player in the cellar is stopped and goes on");
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
    let mut recorder = home.listen();
    let application = pw_play(&home.desk, &["--target", "audera.Everywhere"]);
    home.wait_heard(&recorder, &[true, true]);
    let progress = Progress::watch(&home.desk, &application, &recorder);
    let other = home.watch();
    let id = node(&home.desk, "audera.Kitchen").unwrap()["id"].clone();

    home.desk.stop_daemon(Daemon::Avahi).unwrap();
    // Longer than a sink without its player stays.
    pass(&mut recorder, 12.0);
    assert_eq!(node(&home.desk, "audera.Kitchen").unwrap()["id"], id);
    home.desk.start_daemon(Daemon::Avahi).unwrap();
    pass(&mut recorder, 2.0);
    home.desk.stop_daemon(Daemon::Avahi).unwrap();
    home.desk.stop_daemon(Daemon::SystemBus).unwrap();
    pass(&mut recorder, 12.0);
    home.desk.start_daemon(Daemon::SystemBus).unwrap();
    home.desk.start_daemon(Daemon::Avahi).unwrap();

    // Discovery works again: it finds one more.
    let output = format!("file:{}", home.flat.dir().join("cellar.wav").display());
    let _cellar = home.product.player(&home.flat, "Cellar", &["--access", "open", "--output", &output]).unwrap();
    wait_for_sink(&home.desk, "audera.Cellar");
    pass(&mut recorder, 11.0);
    assert_eq!(node(&home.desk, "audera.Kitchen").unwrap()["id"], id, "the sink has stayed the same");
    other.assert_unbroken(0, "Kitchen, while Avahi and the bus come and go");
    progress.check(&recorder);
}

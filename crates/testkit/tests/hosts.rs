//! Simulated hosts on one network: they see each other, and their cables can be cut.

use audera_testkit::{Daemon, Network, Process, Session, or_skip};

fn pair() -> Option<[Session; 2]> {
    let network = or_skip(Network::new())?;
    let start = |name| Session::builder(name).on(&network).daemons(&Daemon::DISCOVERY).start().unwrap();
    Some([start("kitchen"), start("office")])
}

const PING: &str = env!("CARGO_BIN_EXE_udp-ping");

/// Serves pings on a host until dropped.
fn serve(on: &Session) -> Process {
    let mut command = on.command(PING);
    command.args(["serve", "0.0.0.0:7007"]);
    let server = on.spawn(command).unwrap();
    on.poll("the server", || server.output().contains("serving").then_some(())).unwrap();
    server
}

/// How many of so many packets come back.
fn returned(from: &Session, to: &Session, count: u32) -> u32 {
    let address = format!("{}:7007", to.host().address());
    from.run(PING, &[&address, &count.to_string()]).unwrap().trim().parse().unwrap()
}

#[test]
fn a_published_service_is_seen_by_the_other_host() {
    let Some([kitchen, office]) = pair() else { return };
    let mut command = kitchen.command("avahi-publish");
    command.args(["-s", "Kitchen", "_audera._tcp", "6528", "v=1"]);
    let _announced = kitchen.spawn(command).unwrap();
    let line = office
        .poll("the other host's service", || {
            let text = office.run("timeout", &["10", "avahi-browse", "-rpt", "_audera._tcp"]).ok()?;
            text.lines().find(|line| line.starts_with("=;eth0;IPv4;Kitchen;")).map(str::to_owned)
        })
        .unwrap();
    assert!(line.contains("kitchen.local;10.77.0.1;6528") && line.contains("v=1"), "{line}");
}

#[test]
fn cables_are_cut_and_lossy() {
    let Some([kitchen, office]) = pair() else { return };
    let _server = serve(&kitchen);
    kitchen.poll("the way there", || (returned(&office, &kitchen, 10) == 10).then_some(())).unwrap();
    kitchen.host().cut().unwrap();
    assert_eq!(returned(&office, &kitchen, 1), 0);
    kitchen.host().join().unwrap();
    // The first packets may be lost while the neighbour is looked for.
    kitchen.poll("the way back", || (returned(&office, &kitchen, 10) == 10).then_some(())).unwrap();
    kitchen.host().lose(1.0).unwrap();
    assert_eq!(returned(&office, &kitchen, 1), 0);
    kitchen.host().lose(0.3).unwrap();
    // Each way loses 0.3, so 0.49 return, give or take 0.035 (one sigma): six sigma either way.
    let share = f64::from(returned(&office, &kitchen, 200)) / 200.0;
    assert!((0.28..0.70).contains(&share), "{share} returned");
    kitchen.host().lose(0.0).unwrap();
    kitchen.poll("a way without loss", || (returned(&office, &kitchen, 10) == 10).then_some(())).unwrap();
}

#[test]
fn a_session_leaves_no_process_behind() {
    let Some([kitchen, office]) = pair() else { return };
    let mut command = kitchen.command("sh");
    command.args(["-c", "sleep 1000 & echo $! ; wait"]);
    let shell = kitchen.spawn(command).unwrap();
    let sleeper: u32 = kitchen.poll("the child's id", || shell.output().trim().parse().ok()).unwrap();
    let daemon = office.daemon(Daemon::Avahi).unwrap().pid();
    let dir = office.dir().to_owned();
    let runs = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie waits for its reaper and does nothing any more.
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    assert!(runs(sleeper) && runs(daemon));
    drop(shell);
    kitchen.poll("the grandchild's end", || (!runs(sleeper)).then_some(())).unwrap();
    drop(office);
    assert!(!runs(daemon));
    assert!(!dir.exists());
}

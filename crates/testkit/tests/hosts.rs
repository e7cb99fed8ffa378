//! Simulated hosts on one network: they see each other, and their cables can be cut.

use audera_testkit::{Daemon, Network, Session, or_skip};

fn pair() -> Option<[Session; 2]> {
    let network = or_skip(Network::new())?;
    let start = |name| Session::builder(name).on(&network).daemons(&Daemon::DISCOVERY).start().unwrap();
    Some([start("kitchen"), start("office")])
}

fn reaches(from: &Session, to: &Session) -> bool {
    // One packet and half a second for its answer, which takes a tenth of a millisecond.
    from.run("ping", &["-c", "1", "-W", "0.5", &to.host().address().to_string()]).is_ok()
}

#[test]
fn a_published_service_is_seen_by_the_other_host() {
    let Some([kitchen, office]) = pair() else { return };
    let mut command = kitchen.command("avahi-publish");
    command.args(["-s", "Kitchen", "_audera._tcp", "6528", "v=1"]);
    let _announced = kitchen.spawn(command).unwrap();
    let line = office
        .poll("the other host's service", || {
            let text = office.run("avahi-browse", &["-rpt", "_audera._tcp"]).ok()?;
            text.lines().find(|line| line.starts_with("=;eth0;IPv4;Kitchen;")).map(str::to_owned)
        })
        .unwrap();
    assert!(line.contains("kitchen.local;10.77.0.1;6528") && line.contains("v=1"), "{line}");
}

#[test]
fn cables_are_cut_and_lossy() {
    let Some([kitchen, office]) = pair() else { return };
    assert!(reaches(&office, &kitchen));
    kitchen.host().cut().unwrap();
    assert!(!reaches(&office, &kitchen));
    kitchen.host().join().unwrap();
    assert!(reaches(&office, &kitchen));
    kitchen.host().lose(1.0).unwrap();
    assert!(!reaches(&office, &kitchen));
    kitchen.host().lose(0.3).unwrap();
    let address = kitchen.host().address().to_string();
    let text = office
        .poll("some packets to pass", || office.run("ping", &["-c", "100", "-i", "0.002", "-W", "0.5", &address]).ok())
        .unwrap();
    // Both ways lose 0.3, so 0.49 pass: 100 packets stay between 25 and 75 but for one run in a million.
    let passed: usize =
        text.split(" received").next().and_then(|t| t.split_whitespace().last()).unwrap().parse().unwrap();
    assert!((25..=75).contains(&passed), "{passed} of 100 passed");
    kitchen.host().lose(0.0).unwrap();
    assert!(reaches(&office, &kitchen));
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

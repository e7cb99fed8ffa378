//! Cables with delays and losses between real hosts do what their model says.

use audera_testkit::{
    Daemon, Network, Session,
    cable::{Cable, Profile, Scenario, Spells},
    or_skip,
};
use std::time::Duration;

const PROBE: &str = env!("CARGO_BIN_EXE_cable-probe");
const MS: i64 = 1_000_000;

/// A host on this cable, and one beside it without.
fn pair(cable: &Cable, daemons: &[Daemon]) -> Option<[Session; 2]> {
    let network = or_skip(Network::new())?;
    let far = or_skip(Session::builder("far").on(&network).cable(cable.clone()).daemons(daemons).start())?;
    let near = Session::builder("near").on(&network).daemons(daemons).start().unwrap();
    Some([far, near])
}

/// A packet that has come.
#[derive(Clone, Copy, Debug)]
struct Seen {
    number: i64,
    sent: i64,
    received: i64,
}

impl Seen {
    fn delay(&self) -> i64 {
        self.received - self.sent
    }
}

/// How many more packets are sent than looked at, so that one of them will come and show that the others are through.
const TAIL: u32 = 100;

/// Sends packets, one each two milliseconds, and tells which came.
fn send(from: &Session, to: &Session, count: u32) -> Vec<Seen> {
    let mut command = to.command(PROBE);
    command.args(["receive", "0.0.0.0:7008"]);
    let receiver = to.spawn(command).unwrap();
    to.poll("the receiver", || receiver.output().contains("ready").then_some(())).unwrap();
    let address = format!("{}:7008", to.host().address());
    // The neighbour is looked for first. These numbers do not count.
    from.run(PROBE, &["send", &address, "1000000", "5", "100000"]).unwrap();
    from.run(PROBE, &["send", &address, "0", &(count + TAIL).to_string(), "2000"]).unwrap();
    let seen = || -> Vec<Seen> {
        let text = receiver.output();
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let packet = |line: &str| {
            let fields: Vec<i64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
            Seen { number: fields[0], sent: fields[1], received: fields[2] }
        };
        whole.lines().skip(1).map(packet).filter(|packet| packet.number < 1_000_000).collect()
    };
    let last = i64::from(count + TAIL) - 20;
    to.poll("the last packets", || seen().iter().any(|packet| packet.number >= last).then_some(())).unwrap();
    seen().into_iter().filter(|packet| packet.number < i64::from(count)).collect()
}

fn quantile(delays: impl Iterator<Item = i64>, share: f64) -> f64 {
    let mut delays: Vec<i64> = delays.collect();
    delays.sort_unstable();
    delays[(delays.len() as f64 * share) as usize] as f64 / 1e6
}

/// Delays are spread as the same model says for the same packets under simulated time.
#[test]
fn delays_are_those_of_the_model() {
    let cable = Scenario::JITTER.cable(11);
    let Some([far, near]) = pair(&cable, &[]) else { return };
    let mut medians = Vec::new();
    for (way, from, to, mut line) in [("up", &far, &near, cable.up_line()), ("down", &near, &far, cable.down_line())] {
        let seen = send(from, to, 600);
        assert_eq!(seen.len(), 600, "nothing is lost");
        assert!(seen.is_sorted_by_key(|packet| packet.number), "nothing is overtaken");
        let least = seen.iter().map(Seen::delay).min().unwrap();
        assert!(least >= 500_000, "{way}: {least} ns is faster than the cable");
        let model: Vec<i64> = (0..100_000).map(|n| line.carry(n * 2 * MS, 58).unwrap() - n * 2 * MS).collect();
        for share in [0.1, 0.5] {
            let (measured, expected) =
                (quantile(seen.iter().map(Seen::delay), share), quantile(model.iter().copied(), share));
            println!("{way}, quantile {share}: {measured:.2} ms, by the model {expected:.2} ms");
            // Half a millisecond to two of chance, and what the machine adds.
            assert!((measured - expected).abs() < 4.0, "{way}, quantile {share}: {measured} and {expected} ms");
        }
        medians.push(quantile(seen.iter().map(Seen::delay), 0.5));
    }
    assert!(medians[1] - medians[0] > 4.0, "asymmetric: {medians:?}");
    let traffic = far.host().cable().unwrap().traffic();
    println!("{traffic:?}");
    assert!(traffic.up.frames >= 600 && traffic.down.frames >= 600 && traffic.up.lost + traffic.down.lost == 0);
}

#[test]
fn stalls_hold_packets_which_then_come_at_once() {
    let (shortest, longest) = (Duration::from_millis(30), Duration::from_millis(100));
    let stalls = Some(Spells { every: Duration::from_millis(300), shortest, longest });
    let cable = Cable::symmetric(&Profile { stalls, ..Profile::CLEAN }, 5);
    let Some([far, near]) = pair(&cable, &[]) else { return };
    let seen = send(&far, &near, 1000);
    assert_eq!(seen.len(), 1000);
    // Two seconds with a stall each 0.365 s: five or so. What comes within a millisecond comes at once.
    let bursts: Vec<usize> =
        seen.chunk_by(|a, b| b.received - a.received < MS).map(<[Seen]>::len).filter(|length| *length >= 8).collect();
    println!("packets that came at once: {bursts:?}");
    assert!(bursts.len() >= 2, "{bursts:?}");
    let held = seen.iter().filter(|packet| packet.delay() > 5 * MS).count();
    assert!((60..500).contains(&held), "{held} of 1000 were held up");
}

#[test]
fn losses_are_those_of_the_model() {
    let cable = Cable::symmetric(&Profile { loss: 0.1, ..Profile::CLEAN }, 5);
    let Some([far, near]) = pair(&cable, &[]) else { return };
    let before = far.host().cable().unwrap().traffic().up;
    let seen = send(&far, &near, 1000);
    let after = far.host().cable().unwrap().traffic().up;
    let lost = 1000 - seen.len();
    println!("{lost} of 1000 lost, {} of all by the cable", after.lost - before.lost);
    // 100, give or take 9.5: six sigma either way.
    assert!((43..157).contains(&lost), "{lost} of 1000 lost");
    assert!(lost as u64 <= after.lost - before.lost, "no packet is lost elsewhere");
    // And then none any more.
    far.host().cable().unwrap().change(&Cable::symmetric(&Profile::CLEAN, 5));
    assert_eq!(send(&far, &near, 100).len(), 100);
}

#[test]
fn discovery_and_connections_cross_a_bad_network() {
    let Some([far, near]) = pair(&Scenario::WIFI.cable(2), &Daemon::DISCOVERY) else { return };
    let mut command = far.command("avahi-publish");
    command.args(["-s", "Kitchen", "_audera._tcp", "6528"]);
    let _announced = far.spawn(command).unwrap();
    near.poll("the service behind the cable", || {
        let text = near.run("avahi-browse", &["-rpt", "_audera._tcp"]).ok()?;
        text.lines().any(|line| line.starts_with("=;eth0;IPv4;Kitchen;")).then_some(())
    })
    .unwrap();
    let mut command = near.command(PROBE);
    command.args(["take", "0.0.0.0:7009"]);
    let taker = near.spawn(command).unwrap();
    near.poll("the taker", || taker.output().contains("ready").then_some(())).unwrap();
    far.run(PROBE, &["give", &format!("{}:7009", near.host().address()), "300000"]).unwrap();
    near.poll("all bytes", || taker.output().lines().any(|line| line == "300000").then_some(())).unwrap();
}

#[test]
fn a_pulled_cable_shows() {
    let Some([far, near]) = pair(&Cable::symmetric(&Profile::CLEAN, 1), &[]) else { return };
    let carrier = || far.run("ip", &["link", "show", "eth0"]).unwrap().contains("LOWER_UP");
    far.poll("the carrier", || carrier().then_some(())).unwrap();
    far.host().cut().unwrap();
    far.poll("the loss of the carrier", || (!carrier()).then_some(())).unwrap();
    far.host().join().unwrap();
    far.poll("the carrier again", || carrier().then_some(())).unwrap();
    assert_eq!(send(&near, &far, 50).len(), 50);
}

//! One sender and many players on one machine: what each further one costs, and whether all of them get their sound in time.
//!
//! The players are the real ones, with an output to nowhere and at fixed addresses, so that neither a graph nor Avahi has its share.
//! What the network of the one machine does on their behalf is mostly charged to the sender: the loopback device hands packets over in the
//! context of who sends them.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use audera_testkit::{
    Error, Process, Session, Usage,
    home::{Home, player_port},
};

use crate::{failure::Failure, meter, noise, outcome::SETTLING, stage::DESK_QUANTUM};

const SINK: &str = "audera.Everywhere";

/// The counters of a room that ought to stay where they are.
const COUNTERS: [&str; 5] = ["late_frames", "lost_frames", "underruns", "resyncs", "dropped_packets"];

/// How many players, for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Crowd {
    /// Numbers of players, one run each; the first is what the others are compared with.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "2,100", value_parser = clap::value_parser!(u16).range(2..=500))]
    pub players: Vec<u16>,
    /// Latency of the stream in ms.
    #[arg(long, value_name = "MS", default_value_t = 80, value_parser = clap::value_parser!(u32).range(20..=2000))]
    pub latency: u32,
}

/// One run.
#[derive(Debug)]
struct Outcome {
    players: usize,
    /// Shares of a core and bytes.
    sender: (f64, u64),
    /// Mean share of a core and most bytes of a player.
    player: (f64, u64),
    /// By how much each counter of [`COUNTERS`] has grown, all players together.
    grown: [u64; COUNTERS.len()],
    /// Players of which any counter has grown.
    flawed: usize,
    load: f64,
}

/// Runs all of it and writes the table to `crowd.md` in a folder.
pub(crate) fn run(crowd: &Crowd, seconds: u32, out: &Path) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|source| Failure::Write { path: std::env::temp_dir(), source })?;
    let file = folder.path().join("noise.wav");
    // The rooms' coming takes its time as well.
    noise(f64::from(seconds) + 90.0).write(&file, audera_testkit::wav::Samples::S16)?;
    let mut outcomes = Vec::new();
    for &players in &crowd.players {
        println!("{players} players, latency {} ms", crowd.latency);
        outcomes.push(measure(usize::from(players), crowd.latency, seconds, &file)?);
        let text = table(&outcomes);
        println!("{text}");
        let path = out.join("crowd.md");
        fs::create_dir_all(out)
            .and_then(|()| fs::write(&path, &text))
            .map_err(|source| Failure::Write { path, source })?;
    }
    Ok(())
}

fn measure(count: usize, latency: u32, seconds: u32, file: &Path) -> Result<Outcome, Failure> {
    let home = Home::start("crowd", &[])?;
    let session = &home.session;
    // The application would have a quantum many times as long, which hands packets to the sender by the handful.
    session.run("pw-metadata", &["-n", "settings", "0", "clock.force-quantum", &DESK_QUANTUM.to_string()])?;
    let settings = session.dir().join("player.toml");
    fs::write(&settings, "").map_err(|source| Error::File { path: settings.clone(), source })?;
    let settings = settings.display().to_string();
    let args = ["--access", "open", "--no-discovery", "--output", "null", "--config", &settings];
    let mut players = Vec::new();
    for n in 1..=count {
        players.push(session.spawn(home.product.player_command(session, &format!("Room {n}"), &args))?);
    }
    let mut addresses = String::new();
    for player in &mut players {
        let log = player.log().to_owned();
        player
            .wait_until("readiness of a player", || fs::read_to_string(&log).ok()?.contains(" ready ").then_some(()))?;
        if let Some(port) = player_port(player) {
            let _ = write!(addresses, " \"127.0.0.1:{port}\"");
        }
    }
    let args = format!("audera.discover = false audera.latency.msec = {latency} audera.players = [{addresses} ]");
    let module = home.product.module(session, "sink", &args)?;
    session.sink_port(SINK, "FL")?;
    // The module connects as soon as it runs; a stream that begins meanwhile takes in who is there, and who comes later.
    let _application = session.play(file, SINK)?;
    let playing = |rooms: &[serde_json::Value]| rooms.iter().filter(|room| room["state"] == "playing").count();
    session.poll(&format!("{count} rooms that play"), || {
        thread::sleep(Duration::from_millis(500));
        (playing(&rooms(session)?) == count).then_some(())
    })?;
    thread::sleep(Duration::from_secs_f64(SETTLING));

    let (before, first, began) = (rooms(session).unwrap_or_default(), usages(&module, &players), Instant::now());
    thread::sleep(Duration::from_secs(u64::from(seconds)));
    let (last, elapsed) = (usages(&module, &players), began.elapsed().as_secs_f64());
    let load = meter::load();
    let after = rooms(session).unwrap_or_default();
    if playing(&after) != count {
        return Err(Failure::Fewer { playing: playing(&after), players: count });
    }

    let mut used = first.iter().zip(&last).map(|(first, last)| match (first, last) {
        (Some(first), Some(last)) => (last.cpu.saturating_sub(first.cpu).as_secs_f64() / elapsed, last.resident),
        _ => (f64::NAN, 0),
    });
    let sender = used.next().unwrap_or_default();
    let players: Vec<(f64, u64)> = used.collect();
    let grown = |room: &serde_json::Value| {
        let old = before.iter().find(|old| old["room"] == room["room"]);
        COUNTERS.map(|name| {
            let count = |room: &serde_json::Value| room[name].as_u64().unwrap_or(0);
            count(room).saturating_sub(old.map_or(0, count))
        })
    };
    let grown: Vec<_> = after.iter().map(grown).collect();
    Ok(Outcome {
        players: count,
        sender,
        player: (
            players.iter().map(|(cpu, _)| cpu).sum::<f64>() / count as f64,
            players.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0),
        ),
        grown: std::array::from_fn(|n| grown.iter().map(|counts| counts[n]).sum()),
        flawed: grown.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count(),
        load,
    })
}

/// What the sink tells of its rooms.
fn rooms(session: &Session) -> Option<Vec<serde_json::Value>> {
    serde_json::from_str(session.graph().ok()?.node(SINK)?.properties.get("audera.rooms")?).ok()
}

/// The sender's process first.
fn usages(module: &Process, players: &[Process]) -> Vec<Option<Usage>> {
    std::iter::once(module).chain(players).map(Process::usage).collect()
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| players | sender: CPU | memory | each further player | player: CPU | memory | late frames | lost frames | underruns \
                    | resyncs | dropped packets | players with any | load |\n\
                    |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for outcome in outcomes {
        let Outcome { players, sender, player, grown, flawed, load } = outcome;
        let further = outcomes.first().filter(|first| first.players < *players).map_or("-".to_owned(), |first| {
            let slope = (sender.0 - first.sender.0) / (players - first.players) as f64;
            format!("{:.2} %", slope * 100.0)
        });
        let counts = grown.map(|count| count.to_string()).join(" | ");
        let _ = writeln!(
            text,
            "| {players} | {:.1} % | {:.1} MB | {further} | {:.2} % | {:.1} MB | {counts} | {flawed} | {load:.1} |",
            sender.0 * 100.0,
            sender.1 as f64 / 1e6,
            player.0 * 100.0,
            player.1 as f64 / 1e6,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_told_against_the_first_run() {
        let outcome = |players, cpu| Outcome {
            players,
            sender: (cpu, 14_000_000),
            player: (0.01, 12_000_000),
            grown: [0, 7, 0, 0, 0],
            flawed: 1,
            load: 0.5,
        };
        let text = table(&[outcome(2, 0.015), outcome(100, 0.113)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("| 2 | 1.5 % | 14.0 MB | - | 1.00 % | 12.0 MB | 0 | 7 |"), "{text}");
        assert!(lines[3].contains("| 100 | 11.3 % | 14.0 MB | 0.10 % |"), "{text}");
        assert_eq!(lines[0].matches('|').count(), lines[3].matches('|').count());
    }
}

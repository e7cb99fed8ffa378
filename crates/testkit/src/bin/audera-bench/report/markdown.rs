//! The table to read, as Markdown.

use std::fmt::Write as _;

use super::Entry;
use crate::{
    belief::Belief,
    flaws::Kind,
    outcome::{Outcome, Role, SETTLING, System},
    scenario::Event,
};

/// Under what circumstances it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    /// Length of each run.
    pub seconds: u32,
    /// The processor's name, as it tells it.
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub pipewire: String,
    /// Empty where it is not installed.
    pub snapcast: String,
    /// Whether Audera was built without optimisation.
    pub debug: bool,
}

/// All of it.
pub(crate) fn report(entries: &[Entry], circumstances: &Circumstances) -> String {
    let mut text = String::new();
    let Circumstances { seconds, processor, cores, kernel, pipewire, snapcast, debug } = circumstances;
    let _ = writeln!(
        text,
        "# Measured\n\n{cores} cores ({processor}), Linux {kernel}, PipeWire {pipewire}; {seconds} s each."
    );
    if snapcast.is_empty() {
        text += "Snapcast is not installed here and was left out (`apt install snapserver snapclient`).\n";
    } else {
        let _ = writeln!(text, "Snapcast {snapcast} with a buffer of 1000 ms, FLAC, ALSA.");
    }
    if *debug {
        text += "Audera was built without optimisation: its share of the processor means little.\n";
    }
    text += "\n## In time\n\n";
    let _ = writeln!(
        text,
        "Undisturbed rooms against each other in true time, from {SETTLING:.0} s on, in µs.\n\n\
         | scenario | system | p50 | p95 | p99 | max | within 100 µs after | back after | target |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---|"
    );
    for entry in entries {
        let cells = match &entry.result {
            Ok(outcome) => in_time(entry, outcome),
            Err(_) => ["-", "-", "-", "-", "-", "-", "did not run, see below"].map(str::to_owned),
        };
        let _ = writeln!(text, "| {} | {} | {} |", entry.scenario.title, entry.system, cells.join(" | "));
    }
    text += "\n## Without flaw\n\n";
    text += "| scenario | system | jumps | gaps | missed cycles | silence | clicks a minute | resyncs told | compared | \
             late wakes | standstills | load |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for (entry, outcome) in ran(entries) {
        let cells = [
            with_those_of_the_machine(outcome, Kind::Jump),
            with_those_of_the_machine(outcome, Kind::Gap),
            outcome.count(Kind::MissedCycle).to_string(),
            format!("{:.0} ms", outcome.silence() * 1e3),
            format!("{:.0}", outcome.clicks_per_minute()),
            outcome.resyncs_told.map_or("-".to_owned(), |count| count.to_string()),
            format!("{:.0} %", outcome.compared * 100.0),
            outcome.instrument_late.to_string(),
            match outcome.standstills.0.len() {
                0 => "0".to_owned(),
                count => format!("{count} ({:.0} ms)", outcome.standstills.length() * 1e3),
            },
            format!("{:.1}", outcome.load),
        ];
        let _ = writeln!(text, "| {} | {} | {} |", entry.scenario.title, entry.system, cells.join(" | "));
    }
    text += "\n## Belief and truth\n\n";
    let _ = writeln!(
        text,
        "What undisturbed rooms tell of their sync error once a second, against what was measured in the last \
         second and a half, from {SETTLING:.0} s on: the size of the difference, in µs, and its median with the sign.\n\n\
         | scenario | p50 | p99 | median | within bound | ratio moves | residual |\n\
         |---|---:|---:|---:|---:|---:|---:|"
    );
    for (entry, outcome) in ran(entries).filter(|(entry, _)| entry.system == System::Audera) {
        let belief = |cell: fn(&Belief) -> String| outcome.belief.as_ref().map_or("-".to_owned(), cell);
        let cells = [
            belief(|belief| format!("{:.1}", belief.apart.p50 * 1e6)),
            belief(|belief| format!("{:.1}", belief.apart.p99 * 1e6)),
            belief(|belief| format!("{:+.1}", belief.bias * 1e6)),
            belief(|belief| format!("{:.0} %", belief.covered * 100.0)),
            outcome.ratio_moves.map_or("-".to_owned(), |ppm| format!("{ppm:.1} ppm")),
            outcome.residual_db.map_or("-".to_owned(), |(db, worst)| format!("{db:.0} ({worst:.0}) dB")),
        ];
        let _ = writeln!(text, "| {} | {} |", entry.scenario.title, cells.join(" | "));
    }
    text += "\n## Cost\n\n";
    text += "| scenario | system | latency | sent | sender: CPU | memory | player: CPU | memory |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n";
    for (entry, outcome) in ran(entries) {
        let [sender, player] = [Role::Sender, Role::Player].map(|role| outcome.most(role));
        let cpu = |used: Option<(f64, u64)>| used.map_or("-".to_owned(), |(cpu, _)| format!("{:.1} %", cpu * 100.0));
        let memory = |used: Option<(f64, u64)>| {
            used.map_or("-".to_owned(), |(_, bytes)| format!("{:.1} MB", bytes as f64 / 1e6))
        };
        let cells = [
            outcome.latency.map_or("-".to_owned(), |latency| format!("{:.1} ms", latency * 1e3)),
            format!("{:.0} kbit/s", outcome.wire_bits_per_second / 1e3),
            cpu(sender),
            memory(sender),
            cpu(player),
            memory(player),
        ];
        let _ = writeln!(text, "| {} | {} | {} |", entry.scenario.title, entry.system, cells.join(" | "));
    }
    let failed: Vec<(&Entry, &String)> =
        entries.iter().filter_map(|entry| Some((entry, entry.result.as_ref().err()?))).collect();
    if !failed.is_empty() {
        text += "\n## Did not run\n\n";
        for (entry, why) in failed {
            let first = why.lines().next().unwrap_or_default();
            let _ = writeln!(text, "- {}, {}: {first}", entry.scenario.title, entry.system);
        }
    }
    text
}

/// How many flaws of a kind there were, and how many of them while the machine stood still.
fn with_those_of_the_machine(outcome: &Outcome, kind: Kind) -> String {
    let all = outcome.count(kind);
    match all - outcome.count_own(kind) {
        0 => all.to_string(),
        then => format!("{all} ({then} at standstills)"),
    }
}

/// A few words on a run.
pub(super) fn in_short(entry: &Entry) -> String {
    match &entry.result {
        Ok(outcome) => {
            let [p50, p95, p99, max, settled, back, target] = in_time(entry, outcome);
            let back = if back == "-" { String::new() } else { format!(", back after {back}") };
            format!(
                "p50 {p50}, p95 {p95}, p99 {p99}, max {max} µs, within 100 µs after {settled}{back}, {} gaps{}",
                with_those_of_the_machine(outcome, Kind::Gap),
                if target.is_empty() { String::new() } else { format!("; target: {target}") }
            )
        }
        Err(why) => format!("did not run: {why}"),
    }
}

fn ran(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &Outcome)> {
    entries.iter().filter_map(|entry| Some((entry, entry.result.as_ref().ok()?)))
}

fn in_time(entry: &Entry, outcome: &Outcome) -> [String; 7] {
    let micro = |seconds: Option<f64>| {
        seconds.map_or("-".to_owned(), |seconds| {
            let us = seconds * 1e6;
            if us < 100.0 { format!("{us:.1}") } else { format!("{us:.0}") }
        })
    };
    let spread = outcome.spread;
    let after = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s"));
    let misses = outcome.misses(entry.scenario);
    let target = match (entry.system, misses.is_empty()) {
        // Targets are ours.
        (System::Snapcast, _) => String::new(),
        (System::Audera, true) => "reached".to_owned(),
        (System::Audera, false) => format!("**missed**: {}", misses.join(", ")),
    };
    [
        micro(spread.map(|spread| spread.p50)),
        micro(spread.map(|spread| spread.p95)),
        micro(spread.map(|spread| spread.p99)),
        micro(spread.map(|spread| spread.max)),
        after(outcome.settled),
        if entry.scenario.event == Event::None { "-".to_owned() } else { after(outcome.back) },
        target,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::tests::outcome, scenario::SCENARIOS};

    #[test]
    fn every_row_has_as_many_cells_as_its_heading() {
        let entry = |system, result| Entry { scenario: &SCENARIOS[0], system, result };
        let entries = [
            entry(System::Audera, Ok(outcome())),
            entry(System::Snapcast, Err("snapserver has ended\nfor a reason".to_owned())),
        ];
        let text = report(&entries, &Circumstances { seconds: 30, ..Circumstances::default() });
        let mut columns = 0;
        for line in text.lines() {
            if line.starts_with('|') {
                let count = line.matches('|').count();
                assert!(columns == 0 || count == columns, "{line}");
                columns = count;
            } else {
                columns = 0;
            }
        }
        assert!(text.contains("| 5.0 | 5.0 | 5.0 | 5.0 | 0.0 s | - | reached |"), "{text}");
        assert!(text.contains("- one host, cards +80/-60 ppm, Snapcast: snapserver has ended\n"), "{text}");
    }
}

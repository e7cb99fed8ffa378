//! The raw data as comma-separated values.

use std::fmt::Write as _;

use crate::{
    belief::Belief,
    flaws::Kind,
    outcome::Outcome,
    series::{Sight, Spread},
};

/// Every window of every room: by how much it is later than the first room, and than the application; and what it believed.
pub(crate) fn windows(outcomes: &[&Outcome]) -> String {
    let mut csv = String::from("scenario,system,room,kind,at_s,offset_us\n");
    for outcome in outcomes {
        for (n, room) in outcome.rooms.iter().enumerate() {
            // The first room is not compared with itself.
            let kinds = [("sync", &room.sync), ("latency", &room.latency)].into_iter().skip(usize::from(n == 0));
            for (kind, series) in kinds {
                for window in &series.0 {
                    let offset = match window.sight {
                        Sight::Apart(seconds) => format!("{:.3}", seconds * 1e6),
                        Sight::Different => "different".to_owned(),
                        Sight::Silent => "silent".to_owned(),
                    };
                    let at = window.at;
                    let _ =
                        writeln!(csv, "{},{},{},{kind},{at:.2},{offset}", outcome.scenario, outcome.system, room.name);
                }
            }
            for pair in &room.belief {
                let kinds = [("told", Some(pair.told)), ("told bound", pair.bound), ("true", pair.truth)];
                for (kind, seconds) in kinds.into_iter().filter_map(|(kind, seconds)| Some((kind, seconds?))) {
                    let (at, us) = (pair.at, seconds * 1e6);
                    let _ =
                        writeln!(csv, "{},{},{},{kind},{at:.2},{us:.3}", outcome.scenario, outcome.system, room.name);
                }
            }
        }
    }
    csv
}

/// Every flaw that was heard.
pub(crate) fn flaws(outcomes: &[&Outcome]) -> String {
    let mut csv = String::from("scenario,system,room,kind,at_s,size_ms_or_db,machine_stood_still\n");
    for outcome in outcomes {
        for room in &outcome.rooms {
            for flaw in &room.flaws.list {
                let (kind, size) = match flaw.kind {
                    Kind::Gap => ("gap", flaw.size * 1e3),
                    Kind::MissedCycle => ("missed cycle", flaw.size * 1e3),
                    Kind::Jump => ("jump", flaw.size * 1e3),
                    Kind::Click => ("click", flaw.size),
                };
                let _ = writeln!(
                    csv,
                    "{},{},{},{kind},{:.3},{size:.3},{}",
                    outcome.scenario,
                    outcome.system,
                    room.name,
                    flaw.at,
                    outcome.is_explained(flaw)
                );
            }
        }
    }
    csv
}

/// What each process used.
pub(crate) fn processes(outcomes: &[&Outcome]) -> String {
    let mut csv = String::from("scenario,system,process,cpu_percent_of_a_core,resident_bytes\n");
    for outcome in outcomes {
        for process in &outcome.processes {
            let _ = writeln!(
                csv,
                "{},{},{},{:.2},{}",
                outcome.scenario,
                outcome.system,
                process.name,
                process.cpu * 100.0,
                process.resident
            );
        }
    }
    csv
}

/// One line for each run.
pub(crate) fn summary(outcomes: &[&Outcome]) -> String {
    let mut csv = String::from(
        "scenario,system,p50_us,p95_us,p99_us,max_us,compared,settled_s,back_s,jumps,clicks_per_minute,gaps,\
         missed_cycles,silent_ms,latency_ms,wire_kbit_s,resyncs_told,belief_p50_us,belief_p99_us,belief_bias_us,covered,\
         ratio_moves_ppm,residual_db,residual_worst_db,instrument_late,standstills,standstill_ms,gaps_then,jumps_then,load\n",
    );
    let or_empty = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    for outcome in outcomes {
        let belief = |pick: fn(&Belief) -> f64| or_empty(outcome.belief.as_ref().map(pick), 3);
        let spread = |pick: fn(&Spread) -> f64| or_empty(outcome.spread.as_ref().map(|s| pick(s) * 1e6), 2);
        let cells = [
            outcome.scenario.to_owned(),
            outcome.system.to_string(),
            spread(|s| s.p50),
            spread(|s| s.p95),
            spread(|s| s.p99),
            spread(|s| s.max),
            format!("{:.3}", outcome.compared),
            or_empty(outcome.settled, 2),
            or_empty(outcome.back, 2),
            outcome.count(Kind::Jump).to_string(),
            format!("{:.1}", outcome.clicks_per_minute()),
            outcome.count(Kind::Gap).to_string(),
            outcome.count(Kind::MissedCycle).to_string(),
            format!("{:.1}", outcome.silence() * 1e3),
            or_empty(outcome.latency.map(|latency| latency * 1e3), 2),
            format!("{:.0}", outcome.wire_bits_per_second / 1e3),
            outcome.resyncs_told.map_or(String::new(), |count| count.to_string()),
            belief(|belief| belief.apart.p50 * 1e6),
            belief(|belief| belief.apart.p99 * 1e6),
            belief(|belief| belief.bias * 1e6),
            belief(|belief| belief.covered),
            or_empty(outcome.ratio_moves, 2),
            or_empty(outcome.residual_db.map(|(whole, _)| whole), 1),
            or_empty(outcome.residual_db.map(|(_, worst)| worst), 1),
            outcome.instrument_late.to_string(),
            outcome.standstills.0.len().to_string(),
            format!("{:.0}", outcome.standstills.length() * 1e3),
            (outcome.count(Kind::Gap) - outcome.count_own(Kind::Gap)).to_string(),
            (outcome.count(Kind::Jump) - outcome.count_own(Kind::Jump)).to_string(),
            format!("{:.1}", outcome.load),
        ];
        csv += &(cells.join(",") + "\n");
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn every_line_has_all_columns() {
        let one = outcome();
        let all = [&one, &one];
        for csv in [windows(&all), processes(&all), summary(&all), flaws(&all)] {
            let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
            assert!(columns.iter().all(|count| *count == columns[0]), "{csv}");
        }
    }
}

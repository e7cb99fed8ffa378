//! The results: a table to read, raw data, and pictures.

mod csv;
mod markdown;
mod svg;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::Failure,
    outcome::{Outcome, System},
    scenario::Scenario,
};

pub(crate) use markdown::Circumstances;

/// A run and what came of it.
pub(crate) struct Entry {
    pub scenario: &'static Scenario,
    pub system: System,
    /// The figures, or why there are none.
    pub result: Result<Outcome, String>,
}

/// Writes everything that is known so far and gives the files.
pub(crate) fn write(folder: &Path, entries: &[Entry], circumstances: &Circumstances) -> Result<Vec<PathBuf>, Failure> {
    let outcomes: Vec<&Outcome> = entries.iter().filter_map(|entry| entry.result.as_ref().ok()).collect();
    let mut files = vec![
        ("report.md".to_owned(), markdown::report(entries, circumstances)),
        ("summary.csv".to_owned(), csv::summary(&outcomes)),
        ("windows.csv".to_owned(), csv::windows(&outcomes)),
        ("flaws.csv".to_owned(), csv::flaws(&outcomes)),
        ("processes.csv".to_owned(), csv::processes(&outcomes)),
    ];
    let mut scenarios: Vec<&Scenario> = entries.iter().map(|entry| entry.scenario).collect();
    scenarios.dedup_by_key(|scenario| scenario.name);
    for scenario in scenarios {
        let own: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.scenario == scenario.name).copied().collect();
        if !own.is_empty() {
            files.push((format!("{}.svg", scenario.name), svg::picture(scenario.title, &own)));
        }
    }
    let write = |(name, text): (String, String)| {
        let path = folder.join(name);
        fs::write(&path, text).map(|()| path.clone()).map_err(|source| Failure::Write { path, source })
    };
    fs::create_dir_all(folder).map_err(|source| Failure::Write { path: folder.to_owned(), source })?;
    files.into_iter().map(write).collect()
}

/// A few words on a run for the terminal.
pub(crate) fn in_short(entry: &Entry) -> String {
    markdown::in_short(entry)
}

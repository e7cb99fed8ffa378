//! The command line.

use std::path::PathBuf;

use crate::crowd::Crowd;

/// Measures how well rooms play in time: Audera, and Snapcast where it is installed, in the same scenarios one after the other.
///
/// Everything runs in sessions of their own, on virtual sound cards and networks; nothing of it is left when it ends but the
/// results: a table, raw data and pictures.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Length of each run, 20 to 3600 s; what is to be reached is meant for 600.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(20..=3600))]
    pub seconds: u32,
    /// Run only these scenarios, by name, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How long the network is cut in the scenario of that name, 1 to 300 s.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub cut: u32,
    /// Measure only this system.
    #[arg(long, value_name = "SYSTEM", value_parser = ["audera", "snapcast"])]
    pub system: Option<String>,
    /// Where to put the results.
    #[arg(long, value_name = "FOLDER", default_value = "build/bench")]
    pub out: PathBuf,
    /// Keep the programs' logs of every run in the results' folder.
    #[arg(long)]
    pub logs: bool,
    /// Tell the scenarios and end.
    #[arg(long)]
    pub list: bool,
    #[command(subcommand)]
    pub instead: Option<Instead>,
}

/// What is measured instead of the scenarios.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Instead {
    /// One sender and many players on one machine: what they cost, and whether any packet comes too late. Give --seconds and --out before it.
    Crowd(Crowd),
}

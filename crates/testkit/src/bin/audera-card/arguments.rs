//! The command line.

use std::path::PathBuf;

use audera_testkit::card::Wander;
use clap::Parser;

/// A virtual sound card for PipeWire, with a crystal of its own.
///
/// It is a sink that drives its graph at RATE * (1 + PPM) of true time and records what it plays into a folder: played.f32
/// (raw 32-bit floats), times.csv (the true time of every 0.1 s), missed.csv (silence for want of sound), xruns.csv and
/// card.json. It ends with SIGTERM or SIGINT; SIGUSR1 is an xrun of 20 ms.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Node name and description
    #[arg(long)]
    pub name: String,
    /// By how much the crystal is fast, in parts per million
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_parser = ppm)]
    pub ppm: f64,
    /// Have it wander by up to PPM to either side, the slowest wave taking so many SECONDS
    #[arg(long, value_name = "PPM:SECONDS", value_parser = wander)]
    pub wander: Option<Wander>,
    /// Which course the wandering takes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Insist on so many frames a cycle; else the graph chooses
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub quantum: Option<u32>,
    /// Frames a second, nominally; the graph must run at that rate
    #[arg(long, default_value_t = 48_000, value_parser = clap::value_parser!(u32).range(8_000..=192_000))]
    pub rate: u32,
    /// priority.driver: of cards linked to each other the highest drives
    #[arg(long, default_value_t = 1_000)]
    pub priority: u32,
    /// Folder for the recording; made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

fn ppm(text: &str) -> Result<f64, String> {
    let ppm: f64 = text.parse().map_err(|_| "a number of parts per million is expected".to_owned())?;
    if ppm.abs() <= 10_000.0 { Ok(ppm) } else { Err("between -10000 and 10000 is expected".to_owned()) }
}

fn wander(text: &str) -> Result<Wander, String> {
    let (bound, seconds) = text.split_once(':').ok_or("PPM:SECONDS is expected, such as 5:600")?;
    let bound = ppm(bound)?.abs();
    let seconds: f64 = seconds.parse().map_err(|_| "the seconds are no number".to_owned())?;
    if seconds >= 1.0 && seconds.is_finite() {
        Ok(Wander { ppm: bound, seconds, seed: 0 })
    } else {
        Err("a second or more is expected behind the colon".to_owned())
    }
}

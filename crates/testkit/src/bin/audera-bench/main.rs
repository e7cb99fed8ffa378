//! Measures how well rooms play in time: a table of scenarios, for Audera and for Snapcast, on virtual cards, hosts and networks.

mod arguments;
mod audera;
mod belief;
mod crowd;
mod failure;
mod flaws;
mod meter;
mod outcome;
mod report;
mod rig;
mod run;
mod scenario;
mod series;
mod snapcast;
mod stage;

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use audera_testkit::{
    sound,
    wav::{Samples, Sound},
};
use clap::Parser as _;

use arguments::{Arguments, Instead};
use failure::Failure;
use outcome::{Outcome, System};
use report::{Circumstances, Entry};
use scenario::{SCENARIOS, Scenario};
use series::RATE;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in SCENARIOS {
            println!("{:<10} {}", scenario.name, scenario.title);
        }
        return ExitCode::SUCCESS;
    }
    let outcome = match &arguments.instead {
        Some(Instead::Crowd(crowd)) => crowd::run(crowd, arguments.seconds, &arguments.out),
        None => bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("audera-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<(), Failure> {
    let scenarios = chosen(&arguments.only)?;
    let mut systems = vec![System::Audera];
    let snapcast = snapcast::is_installed();
    if snapcast {
        systems.push(System::Snapcast);
    } else {
        println!("Snapcast is not installed and is left out (apt install snapserver snapclient).");
    }
    systems.retain(|system| arguments.system.as_ref().is_none_or(|only| *only == system.to_string().to_lowercase()));
    let circumstances = circumstances(arguments.seconds, snapcast);
    let seconds = f64::from(arguments.seconds);
    let cut = Duration::from_secs(arguments.cut.into());
    // Deleted at the end, whatever happens.
    let folder = tempfile::tempdir().map_err(|source| Failure::Write { path: std::env::temp_dir(), source })?;
    let file = folder.path().join("noise.wav");
    noise(seconds + cut.as_secs_f64() + 10.0).write(&file, Samples::S16)?;
    let logs = arguments.logs.then(|| arguments.out.join("logs"));
    let mut entries = Vec::new();
    let mut files = Vec::new();
    for scenario in scenarios {
        println!("{}: {}", scenario.name, scenario.title);
        for &system in &systems {
            let result = measure(scenario, system, &file, (seconds, cut), logs.as_deref());
            let entry = Entry { scenario, system, result: result.map_err(|failure| failure.to_string()) };
            println!("  {system:<9} {}", report::in_short(&entry));
            entries.push(entry);
            // After each, so that who interrupts it has what has been measured.
            files = report::write(&arguments.out, &entries, &circumstances)?;
        }
    }
    println!("\nResults:");
    files.iter().for_each(|file| println!("  {}", file.display()));
    Ok(())
}

fn measure(
    scenario: &'static Scenario,
    system: System,
    file: &Path,
    lengths: (f64, Duration),
    logs: Option<&Path>,
) -> Result<Outcome, Failure> {
    let take = run::run(scenario, system, file, lengths, logs)?;
    Outcome::of(scenario, take).ok_or(Failure::Silent)
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    let find = |name: &String| {
        SCENARIOS.iter().find(|scenario| scenario.name == name).ok_or_else(|| Failure::Unknown {
            name: name.clone(),
            known: SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", "),
        })
    };
    if only.is_empty() { Ok(SCENARIOS.iter().collect()) } else { only.iter().map(find).collect() }
}

/// Noise that goes on as if without end: a period of a power of two, which is how it is made, repeats without a seam.
fn noise(seconds: f64) -> Sound {
    const PERIOD: u32 = 1 << 20;
    let period = sound::decorrelated_noise(RATE, 2, f64::from(PERIOD) / f64::from(RATE), 0.5, 1);
    let frames = (seconds * f64::from(RATE)) as usize;
    let again = |channel: Vec<f32>| channel.iter().copied().cycle().take(frames).collect();
    Sound { rate: RATE, channels: period.channels.into_iter().map(again).collect() }
}

fn circumstances(seconds: u32, snapcast: bool) -> Circumstances {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let number = |text: &str| {
        let words = text.split_whitespace().rev().map(|word| word.trim_start_matches('v'));
        let mut numbers = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        numbers.next().unwrap_or_default().to_owned()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Circumstances {
        seconds,
        processor: processor.map_or("unknown".to_owned(), |(_, name)| name.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        kernel: said("uname", &["-r"]).trim().to_owned(),
        pipewire: number(&said("pipewire", &["--version"])),
        snapcast: if snapcast {
            number(said("snapserver", &["--version"]).lines().next().unwrap_or_default())
        } else {
            String::new()
        },
        debug: cfg!(debug_assertions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), SCENARIOS.len());
        let two = chosen(&["wifi".into(), "cards".into()]).unwrap();
        assert_eq!([two[0].name, two[1].name], ["wifi", "cards"]);
        assert!(chosen(&["dial-up".into()]).unwrap_err().to_string().contains("wifi"));
    }

    #[test]
    fn the_noise_repeats_without_a_seam() {
        let noise = noise(45.0);
        assert_eq!(noise.frames(), 45 * 48_000);
        let clicks = audera_testkit::measure::clicks(&noise.channels[0][..2_000_000], RATE);
        let inner = clicks.iter().filter(|click| (500..1_999_500).contains(&click.at)).count();
        assert_eq!(inner, 0, "{clicks:?}");
    }
}

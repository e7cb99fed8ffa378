//! Plays two rooms on this machine, in a session of their own, shows how they fare, and measures what they played.

mod arguments;
mod failure;
mod interrupt;
mod live;
mod music;
mod part;
mod rooms;
mod screen;
mod stage;
mod summary;
mod trend;
mod verdict;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use audera_testkit::{
    Error,
    lateness::Watch,
    measure::OffsetSeries,
    wav::{Samples, Sound},
};
use clap::Parser as _;

use arguments::Arguments;
use failure::Failure;
use interrupt::Interrupt;
use music::Music;
use part::{Part, Played};
use screen::Screen;
use stage::{Channel, Stage};
use verdict::Verdict;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut screen = Screen::new();
    let outcome = Interrupt::listen().and_then(|mut interrupt| {
        let outcome = demo(&arguments, &mut screen, &mut interrupt);
        // Ctrl-C reaches the programs that were just run as well: what fails after it has failed because of it.
        if interrupt.came() { Err(Failure::Interrupted) } else { outcome }
    });
    drop(screen);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => {
            eprintln!("\naudera-demo: stopped; everything it had started is gone");
            ExitCode::from(130)
        }
        // Whoever read the output has heard enough.
        Err(Failure::Output(_)) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("\naudera-demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The whole evening. When it returns, however it does, nothing of it runs any more.
fn demo(arguments: &Arguments, screen: &mut Screen, interrupt: &mut Interrupt) -> Result<(), Failure> {
    screen.say("Audera demo")?;
    let mut stage = Stage::build(arguments, screen, interrupt)?;
    let music = Music::choose(arguments.file.as_deref(), stage.session().dir())?;
    let mut recorder = stage.record()?;
    let watch = Watch::begin();
    let mut played = Vec::new();
    for part in [Part::application(), Part::input()] {
        played.push(part.play(&mut stage, &music, arguments.seconds, &mut recorder, screen, interrupt)?);
    }
    let (end, seconds) = (Instant::now(), recorder.seconds());
    let load = watch.end();
    let late = load.in_recording(end, seconds);
    screen.say("")?;
    screen.begin("Measuring what was recorded ...")?;
    let recorded = recorder.finish()?;
    drop(stage);
    let heard = Heard { recorded, played, both: arguments.output.is_none() };
    let verdicts: Vec<Verdict> = heard.played.iter().map(|part| Verdict::of(&heard, part, &load, &late)).collect();
    summary::show(screen, &heard, &verdicts, &load)?;
    let failed: Vec<String> = verdicts.iter().flat_map(|verdict| verdict.failures.clone()).collect();
    if !failed.is_empty() {
        return Err(Failure::Heard(failed));
    }
    // A Ctrl-C that comes this late still leaves nothing behind.
    if interrupt.came() {
        return Err(Failure::Interrupted);
    }
    let measured: Vec<_> = verdicts.into_iter().map(|verdict| verdict.apart).collect();
    summary::show_files(screen, &keep(&heard, &measured, arguments.wav.clone())?)
}

/// What was recorded, and when what was played in it.
struct Heard {
    recorded: Sound,
    played: Vec<Played>,
    /// Whether both rooms were recorded: the machine's real output is not.
    both: bool,
}

impl Heard {
    /// The rooms that were recorded, each with its left and right channel.
    fn rooms(&self) -> &'static [(&'static str, [Channel; 2])] {
        if self.both { &stage::RECORDED } else { &stage::RECORDED[..1] }
    }
}

/// Writes one file for each recorded room, from the first sound on, and the picture of their sync.
fn keep(heard: &Heard, measured: &[Option<OffsetSeries>], folder: Option<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let kept = |path: PathBuf| move |source| Failure::from(Error::File { path, source });
    let folder = match folder {
        Some(folder) => {
            std::fs::create_dir_all(&folder).map_err(kept(folder.clone()))?;
            folder
        }
        None => {
            let made = tempfile::Builder::new().prefix("audera-demo-").tempdir().map_err(kept(std::env::temp_dir()))?;
            made.keep()
        }
    };
    let begin = heard.played.first().map_or(0, |part| part.frames.start);
    let end = heard.played.last().map_or(0, |part| part.frames.end);
    let mut files = Vec::new();
    for (room, channels) in heard.rooms() {
        let file = folder.join(format!("{}.wav", room.replace(' ', "-")));
        let cut = |channel: &Channel| verdict::part(&heard.recorded, *channel, &(begin..end)).to_vec();
        let sound = Sound { rate: heard.recorded.rate, channels: channels.iter().map(cut).collect() };
        sound.write(&file, Samples::S16)?;
        files.push(file);
    }
    let picture = folder.join("sync.svg");
    std::fs::write(&picture, trend::picture(&heard.played, measured)).map_err(kept(picture.clone()))?;
    files.push(picture);
    Ok(files)
}

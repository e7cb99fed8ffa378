//! `audera`: reads what it is told, has it done over D-Bus, and says what has come of it.

mod amount;
mod cli;
mod complete;
mod config;
mod desk;
mod error;
mod figures;
mod group;
mod house;
mod live;
mod manual;
mod objects;
mod output;
mod play;
mod room;
mod source;
mod status;
mod top;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::error::{Failure, exit};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        // Whoever read has seen enough: `audera status --watch | head -1`.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(exit::OK),
        Err(failure) => {
            eprintln!("audera: {}", output::harmless(&failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Complete(args) => return complete::run(args),
        Command::Manual(args) => manual::write(&args.folder)?,
        Command::Status(args) => wait_for(status::run(&args))?,
        Command::Volume(args) => wait_for(room::volume(&args))?,
        Command::Mute(args) => wait_for(room::mute(&args))?,
        Command::Group(command) => wait_for(group::run(&command))?,
        Command::Rename(args) => wait_for(room::rename(&args))?,
        Command::Delay(args) => wait_for(room::delay(&args))?,
        Command::Channel(args) => wait_for(room::channel(&args))?,
        Command::Identify(args) => wait_for(room::identify(&args))?,
        Command::Source(command) => wait_for(source::run(&command))?,
        Command::Play(args) => {
            let player = wait_for(play::find(&args))?;
            play::run(player)?;
        }
        Command::Config(args) => wait_for(config::run(&args))?,
        Command::Top => wait_for(top::run())?,
    }
    Ok(exit::OK)
}

/// Runs what speaks D-Bus to its end.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

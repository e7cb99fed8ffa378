//! `audera-player`: reads what it is told and runs the player.

use std::process::ExitCode;

use audera_player::cli::{Cli, Command, exit};
use audera_player::config::Config;
use audera_player::{log, memory, run, set, status};
use clap::Parser;

fn main() -> ExitCode {
    memory::be_sparing();
    let cli = Cli::parse();
    let asked = match &cli.command {
        Some(Command::Status(args)) => Some(status::run(args).map_err(|error| (error.exit_code(), error.to_string()))),
        Some(Command::Set(args)) => Some(set::run(args).map_err(|error| (error.exit_code(), error.to_string()))),
        None => None,
    };
    if let Some(outcome) = asked {
        return match outcome {
            Ok(()) => ExitCode::from(exit::OK),
            Err((code, why)) => {
                eprintln!("audera-player: {why}");
                ExitCode::from(code)
            }
        };
    }
    let config = match Config::load(&cli) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("audera-player: {error}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    if cli.check_config {
        print!("{config}");
        println!("ok");
        return ExitCode::from(exit::OK);
    }
    let outcome = match log::start(config.log) {
        Ok(log) => run::run(&cli, config, &log),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("audera-player: {error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

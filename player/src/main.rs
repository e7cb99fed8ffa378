//! `audera-player`: reads what it is told and runs the player.

use std::process::ExitCode;

use audera_player::cli::{Cli, Command, exit};
use audera_player::config::Config;
use audera_player::{log, memory, run, status};
use clap::Parser;

fn main() -> ExitCode {
    memory::be_sparing();
    let cli = Cli::parse();
    if let Some(Command::Status(args)) = &cli.command {
        return match status::run(args) {
            Ok(()) => ExitCode::from(exit::OK),
            Err(error) => {
                eprintln!("audera-player: {error}");
                ExitCode::from(error.exit_code())
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

//! `audera-player status`: asks a player how it fares, and shows what it tells. It never streams.

mod show;

use std::io::{self, IsTerminal, Write};

use audera_wire::SenderEvent;

use crate::asking::{AskError, Flow, Question};
use crate::cli::StatusArgs;
use crate::config::Config;
use show::Shown;

/// Asks and shows.
///
/// # Errors
/// See [`AskError`]. That nobody reads the output any more is none.
pub fn run(args: &StatusArgs) -> Result<(), AskError> {
    let config = Config::load(&args.as_player())?;
    let name = host_name();
    let question = Question { host: args.host.as_deref(), config: &config, name: &name, patient: args.watch };
    let mut out = io::stdout();
    let terminal = out.is_terminal();
    let (mut hello, mut drawn) = (None, 0);
    let outcome = question.ask(|answerer, session, event| {
        let status = match event {
            SenderEvent::PlayerReady(said) => {
                hello = Some(said);
                session.watch(true);
                return Flow::Wait;
            }
            SenderEvent::Status(status) => status,
            // Of streams, which there are none of, and of the room's state, which `set` tells better.
            _ => return Flow::Wait,
        };
        let Some(hello) = &hello else { return Flow::Wait };
        let shown = Shown { address: answerer.address, id: answerer.id, hello, status: &status };
        let text = if args.json {
            shown.json() + "\n"
        } else if args.watch && !terminal {
            shown.line() + "\n"
        } else {
            shown.table()
        };
        let redraw = args.watch && !args.json && terminal;
        let up = if redraw && drawn > 0 { format!("\x1b[{drawn}A\r\x1b[J") } else { String::new() };
        drawn = text.lines().count();
        match out.write_all((up + &text).as_bytes()).and_then(|()| out.flush()) {
            Ok(()) if args.watch => Flow::GoOn,
            // Shown, or there is nobody any more to show it to.
            _ => Flow::Enough(()),
        }
    });
    outcome.map(|_shown_or_interrupted| ())
}

/// What this host is called, for the player's log.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "somebody".to_owned() } else { name.to_owned() }
}

//! Manual pages, made of the definitions of the command line.

use std::io::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::error::Failure;

/// When what the pages say has changed last.
const DATE: &str = "2026-11-23";

/// What every page says of exit status, surroundings and where to read on.
const TAIL: &str = r#".SH "EXIT STATUS"
.TP
0
It was done.
.TP
1
It failed for another reason than those below.
.TP
2
The command line is wrong, or a value is not accepted.
.TP
3
The room or auderad is not there, or does not answer.
.TP
4
The room does not trust this user and host.
.TP
5
There is no such room, group, source or input.
.SH ENVIRONMENT
.TP
NO_COLOR
If it is set and not empty, nothing is coloured. Colours are used on a terminal only.
.TP
DBUS_SESSION_BUS_ADDRESS
The session bus on which auderad is asked.
"#;

/// Writes a page for the program and one for each of its commands.
///
/// # Errors
/// They cannot be written.
pub fn write(folder: &Path) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let pages = names(&command);
    write_pages(&command, &pages, folder)
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The names of all pages, such as `audera-group-create`.
fn names(command: &Command) -> Vec<String> {
    std::iter::once(page_name(command)).chain(shown(command).flat_map(names)).collect()
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

fn write_pages(command: &Command, all: &[String], folder: &Path) -> Result<(), Failure> {
    let name = page_name(command);
    let version = concat!("audera ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(DATE).source(version).manual("Audera");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if shown(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut page = without_doubled_breaks(&String::from_utf8_lossy(&page)).into_bytes();
    page.write_all(TAIL.as_bytes())?;
    writeln!(page, ".SH \"SEE ALSO\"")?;
    for other in all.iter().filter(|other| **other != name) {
        writeln!(page, ".BR {} (1),", other.replace('-', "\\-"))?;
    }
    writeln!(page, ".BR audera\\-player (1)")?;
    std::fs::write(folder.join(format!("{name}.1")), page)?;
    shown(command).try_for_each(|command| write_pages(command, all, folder))
}

/// A page without the line breaks beside blank lines, which `clap_mangen` writes around lists of values, and formatters complain of.
fn without_doubled_breaks(page: &str) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let is_blank = |index: Option<usize>| index.and_then(|index| lines.get(index)).is_some_and(|line| line.is_empty());
    let mut kept = String::new();
    for (index, line) in lines.iter().enumerate() {
        match *line {
            ".br" if is_blank(index.checked_sub(1)) || is_blank(Some(index + 1)) => {}
            "" => kept.push_str(".sp\n"),
            line => kept.extend([line, "\n"]),
        }
    }
    kept
}

//! Tables for people, and lines for one room or group.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use crate::error::Failure;
use crate::figures::{percent, plays, signed_us, us};
use crate::house::{Group, Input, Level, Room, Sink, Source};
use crate::output::{self, Kind, Paint, harmless};

/// Cells under headings.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<(Kind, Vec<String>)>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Table { headings: headings.iter().map(|heading| (*heading).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, kind: Kind, cells: &[&str]) {
        self.rows.push((kind, cells.iter().map(|cell| harmless(cell)).collect()));
    }

    /// Its lines, without trailing spaces.
    fn lines(&self) -> Vec<(Kind, String)> {
        let all = || std::iter::once(&self.headings).chain(self.rows.iter().map(|(_, row)| row));
        let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |row: &[String]| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell}{:1$}", "", width - cell.width() + 2);
            }
            line.trim_end().to_owned()
        };
        let heading = (Kind::Heading, line(&self.headings));
        std::iter::once(heading).chain(self.rows.iter().map(|(kind, row)| (*kind, line(row)))).collect()
    }

    /// Prints it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn print(&self, paint: Paint) -> Result<(), Failure> {
        self.lines().iter().try_for_each(|(kind, line)| output::line(&paint.paint(*kind, line)))
    }
}

/// How well a room is.
pub fn kind(room: &Room) -> Kind {
    match room.state.as_str() {
        "playing" => Kind::Good,
        "refused" => Kind::Bad,
        "away" | "searching" => Kind::Quiet,
        _ => Kind::Plain,
    }
}

/// Its volume: `40 %`, `mute`, or nothing while it is not known.
pub fn volume(room: &Room) -> String {
    match (room.is_known(), room.muted) {
        (false, _) => String::new(),
        (true, true) => format!("{}, mute", percent(room.volume)),
        (true, false) => percent(room.volume),
    }
}

/// What plays in a room, or why nothing can.
pub fn plays_or_reason(room: &Room) -> String {
    if room.is_there() { plays(&room.stream) } else { room.reason.clone() }
}

/// All rooms.
pub fn rooms(rooms: &[Room]) -> Table {
    let mut table = Table::new(&["ROOM", "STATE", "VOLUME", "SYNC", "BUFFER", "PLAYS"]);
    for room in rooms {
        let figures = &room.statistics;
        let sync = figures.number("sync_error_us").map(signed_us).unwrap_or_default();
        let buffer = figures.number("buffered_ms").filter(|_| room.state != "idle");
        let buffer = buffer.map(|ms| format!("{ms:.0} ms")).unwrap_or_default();
        table.row(kind(room), &[&room.name, &room.state, &volume(room), &sync, &buffer, &plays_or_reason(room)]);
    }
    table
}

/// All groups.
pub fn groups(groups: &[Group]) -> Table {
    let mut table = Table::new(&["GROUP", "VOLUME", "ROOMS"]);
    for group in groups {
        table.row(Kind::Plain, &[&group.name, &group_volume(group), &group.members.join(", ")]);
    }
    table
}

/// The sinks of this machine.
pub fn sinks(sinks: &[Sink]) -> Table {
    let mut table = Table::new(&["SINK", "STATE", "LATENCY", "PLAYS TO", "PLAYED BY"]);
    for sink in sinks {
        let latency = format!("{:.0} ms", sink.latency);
        table.row(
            state_kind(&sink.state),
            &[&sink.name, &sink.state, &latency, &sink.target, &sink.applications.join(", ")],
        );
    }
    table
}

/// The sources of this machine.
pub fn sources(sources: &[Source]) -> Table {
    let mut table = Table::new(&["SOURCE", "STATE", "LEVEL", "CODEC", "LATENCY", "INPUT", "STREAMS TO"]);
    for source in sources {
        let latency = format!("{:.0} ms", source.latency);
        let level = source.level.map(level).unwrap_or_default();
        let to = if source.reason.is_empty() { source.target.join(", ") } else { source.reason.clone() };
        let cells = [&source.name, &source.state, &level, &source.codec, &latency, source.input_description(), &to];
        table.row(state_kind(&source.state), &cells);
    }
    table
}

/// A level in few words, by its RMS.
pub fn level(level: Level) -> String {
    if level.is_silent() { "silent".to_owned() } else { format!("{:.1} dB", level.rms_dbfs) }
}

/// What can be captured, with a mark at what is.
pub fn inputs(inputs: &[Input], captured: &str) -> Table {
    let mut table = Table::new(&["", "INPUT", "KIND", "DESCRIPTION"]);
    for input in inputs {
        let (kind, mark) = if input.name == captured { (Kind::Good, "*") } else { (Kind::Plain, "") };
        let mut description = input.description.clone();
        if !input.profile.is_empty() && !description.contains(&input.profile) {
            let _ = write!(description, ", {}", input.profile);
        }
        if input.default {
            description.push_str(" (default)");
        }
        table.row(kind, &[mark, &input.name, &input.kind, &description]);
    }
    table
}

/// How well a sink or source is.
pub fn state_kind(state: &str) -> Kind {
    match state {
        "playing" => Kind::Good,
        "refused" => Kind::Bad,
        "stopped" => Kind::Quiet,
        _ => Kind::Plain,
    }
}

fn group_volume(group: &Group) -> String {
    if group.muted { format!("{}, mute", percent(group.volume)) } else { percent(group.volume) }
}

/// A room in a line.
pub fn room_line(room: &Room) -> String {
    let figures = &room.statistics;
    let mut line = format!("{}: {}", harmless(&room.name), room.state);
    let mut add = |what: &str, text: String| {
        if !text.is_empty() {
            let _ = write!(line, ", {what}{text}");
        }
    };
    add("", volume(room));
    add("", plays_or_reason(room));
    add("sync ", figures.number("sync_error_us").map(signed_us).unwrap_or_default());
    add("p99 ", figures.number("sync_p99_us").map(us).unwrap_or_default());
    let buffer = figures.number("buffered_ms").filter(|_| room.state != "idle");
    add("buffer ", buffer.map(|ms| format!("{ms:.0} ms")).unwrap_or_default());
    for (what, key) in [("late ", "late_packets"), ("lost ", "lost_packets")] {
        let count = figures.count(key).filter(|count| *count > 0);
        add(what, count.map(|count| count.to_string()).unwrap_or_default());
    }
    harmless(&line)
}

/// A group in a line.
pub fn group_line(group: &Group) -> String {
    harmless(&format!("{}: {}, {}", group.name, group_volume(group), group.members.join(" + ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_seen() {
        let mut table = Table::new(&["ROOM", "STATE"]);
        table.row(Kind::Plain, &["Küche", "idle"]);
        table.row(Kind::Plain, &["浴室", ""]);
        table.row(Kind::Plain, &["a\u{1b}b", "away"]);
        let lines: Vec<String> = table.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["ROOM   STATE", "Küche  idle", "浴室", "a\u{fffd}b    away"]);
    }

    #[test]
    fn nothing_is_told_of_a_room_that_was_never_reached() {
        let room = Room { name: "Bath".into(), state: "searching".into(), volume: 100.0, ..Room::default() };
        assert_eq!(room_line(&room), "Bath: searching");
        let there = Room { state: "idle".into(), muted: true, volume: 40.0, ..room };
        assert_eq!(room_line(&there), "Bath: idle, 40 %, mute");
    }
}

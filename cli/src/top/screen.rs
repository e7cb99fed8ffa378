//! What is on the screen: lines of text, made of what is known.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value as Json};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::graph::{Glyphs, range};
use crate::figures::{Figures, percent, signed_us, us};
use crate::house::{Group, Level, Meter, Room, Source};
use crate::live::View;
use crate::output::{Kind, harmless};
use crate::status::table::{kind, level, plays_or_reason, state_kind};

/// How many sync errors are kept for the graph: one a second.
const KEPT: usize = 60;
/// Cells of a volume's bar.
const BAR: usize = 10;
/// Columns of a name.
const NAME: usize = 18;
/// The fewest and the most cells of a meter.
const METER: (usize, usize) = (10, 60);

/// A line: texts one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(Vec<(Kind, String)>);

impl Line {
    /// Its texts, and what they are.
    pub fn spans(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.0.iter().map(|(kind, text)| (*kind, text.as_str()))
    }

    fn add(&mut self, kind: Kind, text: impl Into<String>) {
        self.0.push((kind, text.into()));
    }

    /// Cuts it off at so many columns.
    fn cut(mut self, columns: usize) -> Self {
        let mut left = columns;
        for (_, text) in &mut self.0 {
            *text = cut(text, left);
            left -= text.width();
        }
        self
    }
}

/// What has been chosen.
#[derive(Debug, Clone)]
pub enum Chosen {
    Room(Box<Room>),
    Group(Group),
}

/// What the screen shows, and what of it is chosen.
#[derive(Debug, Default)]
pub struct Screen {
    view: View,
    glyphs: Glyphs,
    /// The path of what is chosen; nothing is only when there is nothing.
    chosen: Option<String>,
    /// Sync errors by the path of the room, us, with the figures that the last one came with.
    errors: BTreeMap<String, (Figures, VecDeque<Option<f64>>)>,
    message: Option<(Kind, String)>,
}

impl Screen {
    /// Shows what is now.
    pub fn show(&mut self, view: View) {
        let before = self.paths();
        let place = self.chosen.as_ref().and_then(|path| before.iter().position(|other| other == path));
        self.view = view;
        self.errors.retain(|path, _| self.view.house.rooms.iter().any(|room| room.path == *path));
        for room in &self.view.house.rooms {
            let (figures, errors) = self.errors.entry(room.path.clone()).or_default();
            if *figures == room.statistics {
                continue;
            }
            figures.clone_from(&room.statistics);
            errors.push_back(figures.number("sync_error_us"));
            if errors.len() > KEPT {
                errors.pop_front();
            }
        }
        let paths = self.paths();
        if self.chosen.as_ref().is_none_or(|path| !paths.contains(path)) {
            // What takes the place of what is gone.
            self.chosen = paths.get(place.unwrap_or(0)).or(paths.last()).cloned();
        }
    }

    /// Says what has come of something.
    pub fn tell(&mut self, outcome: Result<String, String>) {
        self.message = match outcome {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some((Kind::Plain, harmless(&text))),
            Err(text) => Some((Kind::Bad, harmless(&text))),
        };
    }

    /// Chooses what is so many rows further down.
    pub fn choose(&mut self, by: isize) {
        let paths = self.paths();
        let now = self.chosen.as_ref().and_then(|path| paths.iter().position(|other| other == path)).unwrap_or(0);
        let then = now.saturating_add_signed(by).min(paths.len().saturating_sub(1));
        self.chosen = paths.get(then).cloned();
        self.message = None;
    }

    /// What is chosen.
    pub fn chosen(&self) -> Option<Chosen> {
        let path = self.chosen.as_ref()?;
        let room = self.view.house.rooms.iter().find(|room| room.path == *path);
        let group = || self.groups().find(|group| group.path == *path);
        room.map(|room| Chosen::Room(Box::new(room.clone()))).or_else(|| group().cloned().map(Chosen::Group))
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.view.house.groups.iter().filter(|group| !group.members.is_empty())
    }

    /// What has a level that is of interest.
    pub fn levels(&self) -> Vec<Meter> {
        self.view.house.levels()
    }

    /// How loud what this machine plays to a room is, if it does.
    fn level_of(&self, room: &Room) -> Option<Level> {
        let is_of = |report: &Map<String, Json>| {
            let is = |key: &str, text: &str| report.get(key).and_then(Json::as_str) == Some(text);
            is("room", &room.name) && !is("state", "refused") && !is("state", "preempted")
        };
        let sinks = self.view.house.sinks.iter().filter(|sink| sink.state == "playing");
        sinks.filter(|sink| sink.rooms.iter().any(is_of)).find_map(|sink| sink.level)
    }

    /// All that can be chosen, from top to bottom.
    fn paths(&self) -> Vec<String> {
        let rooms = self.view.house.rooms.iter().map(|room| room.path.clone());
        rooms.chain(self.groups().map(|group| group.path.clone())).collect()
    }

    /// All lines, for a terminal of so many columns and rows.
    pub fn lines(&self, columns: usize, rows: usize) -> Vec<Line> {
        let mut body = Vec::new();
        let mut chosen = 0..0;
        for room in &self.view.house.rooms {
            let begin = body.len();
            body.push(self.room_line(room));
            if room.statistics.number("sync_error_us").is_some() || room.state != "idle" && room.is_there() {
                body.push(self.figures_line(room, columns));
            }
            body.extend(self.level_of(room).map(|level| self.level_line(level, columns)));
            if self.is_chosen(&room.path) {
                chosen = begin..body.len();
            }
        }
        for (index, group) in self.groups().enumerate() {
            if index == 0 {
                body.push(Line::default());
            }
            if self.is_chosen(&group.path) {
                chosen = body.len()..body.len() + 1;
            }
            body.push(self.group_line(group));
        }
        for (index, source) in self.view.house.sources.iter().enumerate() {
            if index == 0 {
                body.push(Line::default());
            }
            body.push(source_line(source));
            body.extend(source.level.map(|level| self.level_line(level, columns)));
        }
        // Heading above, message below; what is chosen is to be seen between.
        let space = rows.saturating_sub(3).max(1);
        let skipped = chosen.end.saturating_sub(space);
        let mut lines = vec![self.heading(), Line::default()];
        lines.extend(body.into_iter().skip(skipped).take(space));
        lines.resize(rows.saturating_sub(1).max(lines.len()), Line::default());
        lines.push(self.footing());
        lines.truncate(rows.max(1));
        lines.into_iter().map(|line| line.cut(columns)).collect()
    }

    fn heading(&self) -> Line {
        let rooms = &self.view.house.rooms;
        let playing = rooms.iter().filter(|room| room.state == "playing").count();
        let mut line = Line::default();
        line.add(Kind::Heading, "Audera");
        let count = match (self.view.auderad, rooms.len()) {
            (false, _) => "  auderad is gone, and comes back when it can".to_owned(),
            (true, 0) => "  no room is to be seen yet".to_owned(),
            (true, 1) => format!("  1 room, {playing} playing"),
            (true, rooms) => format!("  {rooms} rooms, {playing} playing"),
        };
        line.add(Kind::Quiet, count);
        line
    }

    fn footing(&self) -> Line {
        let mut line = Line::default();
        match &self.message {
            Some((kind, text)) => line.add(*kind, text.clone()),
            None => {
                let [choose, volume] = self.glyphs.arrows;
                line.add(Kind::Quiet, format!("{choose} choose  {volume} volume  m mute  i identify  q quit"));
            }
        }
        line
    }

    fn is_chosen(&self, path: &str) -> bool {
        self.chosen.as_deref() == Some(path)
    }

    /// The beginning of a line that can be chosen.
    fn name(&self, path: &str, name: &str) -> Line {
        let chosen = self.is_chosen(path);
        let mut line = Line::default();
        line.add(Kind::Plain, if chosen { "> " } else { "  " });
        line.add(if chosen { Kind::Chosen } else { Kind::Plain }, fill(&harmless(name), NAME));
        line
    }

    fn volume(&self, line: &mut Line, volume: f64, most: f64, muted: bool) {
        let (kind, shown) = if muted { (Kind::Bad, "mute".to_owned()) } else { (Kind::Plain, percent(volume)) };
        line.add(if muted { Kind::Quiet } else { Kind::Plain }, format!(" [{}]", self.glyphs.bar(volume, most, BAR)));
        line.add(kind, format!(" {shown:>6}"));
    }

    fn room_line(&self, room: &Room) -> Line {
        let mut line = self.name(&room.path, &room.name);
        line.add(kind(room), format!(" {}", fill(&room.state, 9)));
        if room.is_known() {
            self.volume(&mut line, room.volume, room.maximum_volume, room.muted);
        } else {
            line.add(Kind::Plain, " ".repeat(BAR + 10));
        }
        line.add(Kind::Plain, format!("  {}", harmless(&plays_or_reason(room))));
        line
    }

    fn group_line(&self, group: &Group) -> Line {
        let mut line = self.name(&group.path, &group.name);
        line.add(Kind::Quiet, format!(" {}", fill("group", 9)));
        self.volume(&mut line, group.volume, 100.0, group.muted);
        line.add(Kind::Quiet, format!("  {}", harmless(&group.members.join(", "))));
        line
    }

    /// A meter, as wide as the terminal allows.
    fn level_line(&self, shown: Level, columns: usize) -> Line {
        let cells = columns.saturating_sub(40).clamp(METER.0, METER.1);
        let mut line = Line::default();
        line.add(Kind::Plain, "  level ");
        // At full scale something is cut off, here or soon.
        let kind = if shown.peak_dbfs >= 0.0 { Kind::Bad } else { Kind::Good };
        line.add(kind, self.glyphs.meter(shown.rms_dbfs, shown.peak_dbfs, cells));
        line.add(Kind::Plain, format!(" {:>8}", level(shown)));
        if !shown.is_silent() {
            line.add(Kind::Quiet, format!("  peak {:.1} dB", shown.peak_dbfs));
        }
        line
    }

    /// How well a room plays: some 70 columns, and the graph in what is left.
    fn figures_line(&self, room: &Room, columns: usize) -> Line {
        let figures = &room.statistics;
        let known = || self.errors.get(&room.path).into_iter().flat_map(|(_, errors)| errors.iter().copied());
        let cells = columns.saturating_sub(72).clamp(8, KEPT);
        let skipped = known().count().saturating_sub(cells);
        let range = range(known().skip(skipped));
        let graph = self.glyphs.errors(known().skip(skipped), range);
        let plus_minus = self.glyphs.plus_minus;
        let mut line = Line::default();
        let sync = figures.number("sync_error_us").map_or_else(|| "-".to_owned(), signed_us);
        line.add(Kind::Plain, format!("  sync {sync:>9} "));
        line.add(Kind::Good, fill(&graph, cells));
        line.add(Kind::Quiet, format!(" {plus_minus}{range:.0} us"));
        let buffer = figures.number("buffered_ms").map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        line.add(Kind::Plain, format!("  buffer {buffer}"));
        let clock = figures.number("clock_bound_us").map_or_else(|| "-".to_owned(), |bound| format!("{bound:.0} us"));
        line.add(Kind::Plain, format!("  clock {plus_minus}{clock}"));
        for (what, key) in [("late", "late_packets"), ("lost", "lost_packets")] {
            let count = figures.count(key).unwrap_or(0);
            line.add(if count > 0 { Kind::Bad } else { Kind::Plain }, format!("  {what} {count}"));
        }
        if let Some(most) = figures.number("sync_p99_us") {
            line.add(Kind::Quiet, format!("  p99 {}", us(most)));
        }
        line
    }
}

/// A source of this machine.
fn source_line(source: &Source) -> Line {
    let mut line = Line::default();
    line.add(Kind::Plain, format!("  {}", fill(&harmless(&source.name), NAME)));
    line.add(state_kind(&source.state), format!(" {}", fill(&source.state, 9)));
    let to = if source.target.is_empty() { "who asks".to_owned() } else { source.target.join(", ") };
    let text = if source.reason.is_empty() {
        format!("{} to {to}", source.input_description())
    } else {
        source.reason.clone()
    };
    line.add(Kind::Plain, format!("  {}", harmless(&text)));
    line
}

/// As much of a text as so many columns hold.
fn cut(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |char: &char| {
        let width = char.width().unwrap_or(0);
        let fits = width <= left;
        left -= if fits { width } else { left };
        fits
    };
    text.chars().take_while(fits).collect()
}

/// The same, and spaces up to so many columns.
fn fill(text: &str, columns: usize) -> String {
    let cut = cut(text, columns);
    let missing = columns - cut.width();
    cut + &" ".repeat(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{House, Sink};

    fn room(name: &str, statistics: &str) -> Room {
        let state = if statistics == "{}" { "idle" } else { "playing" };
        Room {
            path: format!("/{name}"),
            name: name.into(),
            id: "7".into(),
            state: state.into(),
            volume: 40.0,
            maximum_volume: 100.0,
            statistics: serde_json::from_str(statistics).unwrap(),
            ..Room::default()
        }
    }

    fn view(rooms: Vec<Room>) -> View {
        View { house: House { rooms, ..House::default() }, auderad: true }
    }

    fn text(screen: &Screen, columns: usize, rows: usize) -> Vec<String> {
        let line = |line: &Line| line.spans().map(|(_, text)| text).collect::<String>().trim_end().to_owned();
        screen.lines(columns, rows).iter().map(line).collect()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_too_many() {
        let figures =
            r#"{"sync_error_us":-3.5,"buffered_ms":70,"clock_bound_us":25.0,"late_packets":0,"lost_packets":2}"#;
        let mut screen = Screen::default();
        screen.show(view((0..9).map(|number| room(&format!("浴室 {number} with a long name"), figures)).collect()));
        for (columns, rows) in [(80, 24), (20, 5), (200, 60), (1, 1), (7, 2)] {
            let lines = text(&screen, columns, rows);
            assert!(lines.len() <= rows && lines.iter().all(|line| line.width() <= columns), "{lines:#?}");
        }
        let line = &text(&screen, 80, 24)[3];
        assert!(line.contains("sync   -3.5 us") && line.contains("buffer 70 ms") && line.ends_with("lost 2"), "{line}");
    }

    #[test]
    fn what_is_chosen_stays_chosen_and_is_to_be_seen() {
        let mut screen = Screen::default();
        screen.show(view(["A", "B", "C", "D"].map(|name| room(name, "{}")).into()));
        screen.choose(2);
        let chosen = |screen: &Screen, rows| text(screen, 80, rows).iter().any(|line| line.starts_with("> C"));
        assert!(chosen(&screen, 24) && chosen(&screen, 4));
        screen.show(view(["B", "C", "D"].map(|name| room(name, "{}")).into()));
        assert!(chosen(&screen, 24));
        screen.show(view(["B", "D"].map(|name| room(name, "{}")).into()));
        assert!(text(&screen, 80, 24).iter().any(|line| line.starts_with("> D")));
        screen.choose(-9);
        assert!(matches!(screen.chosen(), Some(Chosen::Room(room)) if room.name == "B"));
        screen.show(view(Vec::new()));
        assert!(screen.chosen().is_none());
        screen.choose(1);
    }

    #[test]
    fn levels_are_below_the_rooms_that_this_machine_plays_to_and_below_sources() {
        let level = |rms_dbfs: f64| {
            let peak_dbfs = if rms_dbfs > -100.0 { rms_dbfs + 10.0 } else { rms_dbfs };
            Some(Level { peak_dbfs, rms_dbfs })
        };
        let reports = |text: &str| serde_json::from_str(text).unwrap();
        let sink =
            |state: &str, level, rooms| Sink { state: state.into(), level, rooms: reports(rooms), ..Sink::default() };
        let source = Source {
            name: "Radio".into(),
            state: "idle".into(),
            input: "line".into(),
            level: level(-120.0),
            ..Source::default()
        };
        let sinks = vec![
            sink("idle", level(-3.0), r#"[{"room":"A","state":"playing"}]"#),
            sink("playing", level(-20.0), r#"[{"room":"A","state":"preempted"},{"room":"B","state":"playing"}]"#),
        ];
        let rooms = ["A", "B"].map(|name| room(name, r#"{"sync_error_us":1.0}"#)).into();
        let mut screen = Screen::default();
        screen.show(View { house: House { rooms, sinks, sources: vec![source], ..House::default() }, auderad: true });
        let lines = text(&screen, 80, 24);
        let meters: Vec<usize> = (0..lines.len()).filter(|line| lines[*line].starts_with("  level ")).collect();
        assert_eq!(meters, [6, 9], "{lines:#?}");
        assert!(lines[4].starts_with("  B ") && lines[6].ends_with(" -20.0 dB  peak -10.0 dB"), "{lines:#?}");
        assert!(lines[8].starts_with("  Radio ") && lines[8].ends_with("line to who asks"), "{lines:#?}");
        assert!(lines[9].ends_with("  silent"), "{lines:#?}");
        assert_eq!(screen.levels().len(), 2, "of the sink that plays, and of the source");
    }

    #[test]
    fn the_graph_has_one_cell_for_each_time_that_figures_were_told() {
        let mut screen = Screen::default();
        let told = |error: &str| view(vec![room("A", &format!(r#"{{"sync_error_us":{error}}}"#))]);
        for error in ["-20.0", "-20.0", "20.0"] {
            screen.show(told(error));
        }
        assert_eq!(screen.errors["/A"].1, [Some(-20.0), Some(20.0)]);
    }
}

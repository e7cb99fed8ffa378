//! What is on the screen: lines of text, made of what is known.

use std::collections::{BTreeMap, VecDeque};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::graph::{Glyphs, range};
use crate::figures::{Figures, percent, signed_us, us};
use crate::house::{Group, Room};
use crate::live::View;
use crate::output::{Kind, harmless};
use crate::status::table::{kind, plays_or_reason};

/// How many sync errors are kept for the graph: one a second.
const KEPT: usize = 60;
/// Cells of a volume's bar.
const BAR: usize = 10;
/// Columns of a name.
const NAME: usize = 18;

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
    use crate::house::House;

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
    fn the_graph_has_one_cell_for_each_time_that_figures_were_told() {
        let mut screen = Screen::default();
        let told = |error: &str| view(vec![room("A", &format!(r#"{{"sync_error_us":{error}}}"#))]);
        for error in ["-20.0", "-20.0", "20.0"] {
            screen.show(told(error));
        }
        assert_eq!(screen.errors["/A"].1, [Some(-20.0), Some(20.0)]);
    }
}

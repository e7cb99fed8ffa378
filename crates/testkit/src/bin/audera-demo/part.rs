//! One part of the demo: something plays, the rooms follow, the table shows how.

use std::{ops::Range, time::Duration, time::Instant};

use audera_testkit::{Process, Usage, record::Recorder};

use crate::{
    failure::Failure,
    interrupt::Interrupt,
    live::{Gauge, Now, RATE, Share, share},
    music::Music,
    rooms::{Room, rooms},
    screen::{Colour, Screen},
    stage::{APPLICATION, Channel, EVERYWHERE, KITCHEN, LIVING_ROOM, Stage, TURNTABLE},
    trend::{Trend, apart},
};

/// What plays where.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// For headings.
    pub name: &'static str,
    number: u32,
    way: &'static str,
    /// The sink which the music is played to first.
    target: &'static str,
    /// The node that streams to the rooms.
    sender: String,
    /// What the rooms are to play.
    pub reference: Channel,
    taps: bool,
}

/// A part that has been played.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub part: Part,
    /// Where it is in the recording.
    pub frames: Range<usize>,
    /// What the rooms told, and when, in seconds from the beginning.
    pub told: Vec<(f64, Vec<Room>)>,
    /// What the rooms told last, their counts from when they had settled.
    pub rooms: Vec<Room>,
    /// What the processes used after the first seconds.
    pub shares: Vec<(&'static str, Share)>,
}

/// What settles may take this long, in seconds.
pub(crate) const SETTLING: f64 = 3.0;
/// The shortest file that can be judged, in seconds.
const SHORTEST: f64 = SETTLING + 2.5;

impl Part {
    /// An application plays to all rooms.
    pub fn application() -> Self {
        Self {
            name: "application",
            number: 1,
            way: "pw-play, linked to \"Audera Everywhere\" -> TLS -> two players",
            target: APPLICATION,
            sender: EVERYWHERE.to_owned(),
            reference: Channel::Application,
            taps: false,
        }
    }

    /// What a "Turntable" plays is tapped and streamed.
    pub fn input() -> Self {
        Self {
            name: "tapped input",
            number: 2,
            way: "\"Turntable\" -> source module -> TLS -> two players",
            target: TURNTABLE,
            sender: format!("audera-source.{TURNTABLE}"),
            reference: Channel::Turntable,
            taps: true,
        }
    }

    /// Plays it for this long, or to the end of the file.
    pub fn play(
        &self,
        stage: &mut Stage,
        music: &Music,
        seconds: u32,
        recorder: &mut Recorder,
        screen: &mut Screen,
        interrupt: &mut Interrupt,
    ) -> Result<Played, Failure> {
        if self.taps {
            stage.tap()?;
        }
        interrupt.check()?;
        let mut table =
            Table { part: self, music, total: f64::from(seconds), gauge: Gauge::default(), trend: Trend::default() };
        let mut history = Vec::new();
        if !screen.is_terminal() {
            screen.say(&format!("part {}: {}, {}", self.number, self.way, music.title))?;
        }
        let begin = recorder.seconds();
        let mut playing = stage.session().play(&music.file, self.target)?;
        let unplayable = |playing: &Process| Failure::Unplayable { file: music.file.clone(), said: playing.output() };
        if !self.taps {
            stage
                .lead_to_rooms(&mut playing)
                .map_err(|failure| if playing.is_running() { failure } else { unplayable(&playing) })?;
        }
        let mut told = Vec::new();
        let mut settled: Option<Settled> = None;
        let mut elapsed = 0.0;
        loop {
            interrupt.pause(Duration::from_secs_f64((table.total - elapsed).clamp(0.05, 1.0)))?;
            // Time passes in the recording; one that stands still is an error.
            recorder.wait_for(recorder.seconds() + 0.01)?;
            elapsed = recorder.seconds() - begin;
            let ended = playing.wait(Duration::ZERO)?;
            if ended.is_some_and(|status| !status.success()) {
                return Err(unplayable(&playing));
            }
            if ended.is_some() || elapsed >= table.total {
                break;
            }
            let now = table.gauge.look(recorder, self.reference, stage.both_recorded())?;
            let fresh = rooms(stage.session(), &self.sender);
            if !fresh.is_empty() {
                history.push((elapsed, fresh.clone()));
                told = fresh;
            }
            table.trend.add(apart(&told), now.offset);
            if settled.is_none() && elapsed >= SETTLING {
                let used = |(name, process): (_, &Process)| Some((name, Instant::now(), process.usage()?));
                settled = Some(Settled { rooms: told.clone(), usage: stage.processes().filter_map(used).collect() });
            }
            table.show(screen, stage, &told, &now, elapsed)?;
        }
        if elapsed < SHORTEST {
            return Err(Failure::TooShort { file: music.file.clone(), seconds: elapsed });
        }
        let used = |(name, process): (&'static str, &Process)| {
            let (_, at, first) = *settled.as_ref()?.usage.iter().find(|(other, ..)| *other == name)?;
            Some((name, share(&(at, first), &(Instant::now(), process.usage()?))?))
        };
        let shares = stage.processes().filter_map(used).collect();
        drop(playing);
        stage.untap();
        if screen.is_terminal() {
            screen.erase()?;
            screen.say(&format!("  part {}, {}: {elapsed:.0} s", self.number, self.name))?;
        }
        let frame = |seconds: f64| (seconds * f64::from(RATE)) as usize;
        Ok(Played {
            part: self.clone(),
            frames: frame(begin)..frame(begin + elapsed),
            told: history,
            rooms: since(told, settled),
            shares,
        })
    }
}

/// How things stood after the first seconds.
struct Settled {
    rooms: Vec<Room>,
    usage: Vec<(&'static str, Instant, Usage)>,
}

/// The rooms with only those counts that are of the time after.
fn since(mut rooms: Vec<Room>, settled: Option<Settled>) -> Vec<Room> {
    for then in settled.into_iter().flat_map(|settled| settled.rooms) {
        if let Some(now) = rooms.iter_mut().find(|room| room.room == then.room) {
            now.lost_frames = now.lost_frames.saturating_sub(then.lost_frames);
            now.late_frames = now.late_frames.saturating_sub(then.late_frames);
            now.underruns = now.underruns.saturating_sub(then.underruns);
            now.resyncs = now.resyncs.saturating_sub(then.resyncs);
            now.xruns = now.xruns.saturating_sub(then.xruns);
        }
    }
    rooms
}

/// The table of a part.
struct Table<'a> {
    part: &'a Part,
    music: &'a Music,
    total: f64,
    gauge: Gauge,
    trend: Trend,
}

/// The cells of a row.
#[derive(Default)]
struct Row {
    name: String,
    state: String,
    sync: String,
    p99: String,
    skew: String,
    card: String,
    buffer: String,
    spare: String,
    latency: String,
    offset: String,
    cpu: String,
}

impl Row {
    /// In columns, less than 80 wide altogether.
    fn line(&self) -> String {
        let Row { name, state, sync, p99, skew, card, buffer, spare, latency, offset, cpu } = self;
        let told = format!("{sync:>7} {p99:>6} {skew:>6} {card:>6} {buffer:>6} {spare:>6}");
        format!("{name:<12}{state:<8}{told} {latency:>7} {offset:>6} {cpu:>5}")
    }

    /// The same for where there are no columns: what is known, with its name.
    fn words(&self, micro: &str) -> String {
        let Row { name, state, sync, p99, skew, card, buffer, spare, latency, offset, cpu } = self;
        let figures = [
            ("sync", sync, micro),
            ("p99", p99, micro),
            ("skew", skew, "ppm"),
            ("card", card, "ppm"),
            ("buffer", buffer, "ms"),
            ("spare", spare, "ms"),
            ("latency", latency, "ms"),
            ("offset", offset, micro),
            ("CPU", cpu, "%"),
        ];
        let known = figures.into_iter().filter(|(_, figure, _)| !figure.is_empty());
        let known: Vec<String> = known.map(|(what, figure, unit)| format!("{what} {figure} {unit}")).collect();
        format!("{name} {state} {}", known.join(", ")).replace("  ", " ")
    }

    /// What the columns hold, and in what unit.
    fn headings(micro: &str) -> [Self; 2] {
        let row = |cells: [&str; 11]| {
            let [name, state, sync, p99, skew, card, buffer, spare, latency, offset, cpu] = cells.map(str::to_owned);
            Row { name, state, sync, p99, skew, card, buffer, spare, latency, offset, cpu }
        };
        [
            row(["room", "state", "sync", "p99", "skew", "card", "buffer", "spare", "latency", "offset", "CPU"]),
            row(["", "", micro, micro, "ppm", "ppm", "ms", "ms", "ms", micro, "%"]),
        ]
    }
}

impl Table<'_> {
    fn show(
        &mut self,
        screen: &mut Screen,
        stage: &Stage,
        told: &[Room],
        now: &Now,
        elapsed: f64,
    ) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for (name, process) in stage.processes() {
            let share = self.gauge.share(name, process);
            rows.push((self.row(name, told, now, share), self.is_good(name, told, now)));
        }
        if screen.is_terminal() {
            let lines = self.lines(screen, &rows, elapsed);
            return screen.draw(&lines);
        }
        let all: Vec<String> = rows.iter().map(|(row, _)| row.words(screen.micro())).collect();
        screen.say(&format!("{elapsed:>4.0} s  {}", all.join(" | ")))
    }

    fn row(&self, name: &str, told: &[Room], now: &Now, share: Option<Share>) -> Row {
        let cell = |figure: Option<f64>, digits: usize| figure.map_or_else(String::new, |f| format!("{f:.digits$}"));
        let signed = |figure: Option<f64>, digits: usize| figure.map_or_else(String::new, |f| format!("{f:+.digits$}"));
        let mut row =
            Row { name: name.to_owned(), cpu: cell(share.map(|share| share.cpu * 100.0), 1), ..Row::default() };
        let Some(at) = [KITCHEN, LIVING_ROOM].iter().position(|room| *room == name) else { return row };
        row.state = "waiting".to_owned();
        row.latency = cell(now.latency[at].map(|latency| latency * 1e3), 2);
        if at == 1 {
            row.offset = signed(now.offset.map(|offset| offset * 1e6), 0);
        }
        if let Some(room) = told.iter().find(|room| room.room == name) {
            row.state = room.state.clone();
            row.sync = signed(room.sync_error_us, 1);
            row.p99 = cell(room.sync_p99_us, 0);
            row.skew = signed(room.skew_ppm, 1);
            row.card = signed(room.card_ppm, 1);
            row.buffer = room.buffered_ms.to_string();
            row.spare = cell(room.spare_ms, 0);
        }
        row
    }

    /// Whether a room plays, and in time as far as that is known.
    fn is_good(&self, name: &str, told: &[Room], now: &Now) -> Option<bool> {
        let room = told.iter().find(|room| room.room == name)?;
        let in_time = now.offset.is_none_or(|offset| offset.abs() <= crate::verdict::ALLOWED);
        Some(room.state == "playing" && (name != LIVING_ROOM || in_time))
    }

    fn lines(&self, screen: &Screen, rows: &[(Row, Option<bool>)], elapsed: f64) -> Vec<String> {
        let heading = format!("Part {} of 2: {}", self.part.number, self.part.way);
        let mut lines = vec![
            String::new(),
            screen.paint(Colour::Strong, &heading),
            screen.paint(Colour::Faint, &self.music.title),
            String::new(),
        ];
        lines.extend(Row::headings(screen.micro()).map(|row| screen.paint(Colour::Faint, &row.line())));
        for (row, good) in rows {
            let colour = match good {
                Some(true) => Colour::Good,
                Some(false) => Colour::Bad,
                None => Colour::Faint,
            };
            lines.push(screen.paint(colour, &row.line()));
        }
        lines.push(
            screen
                .paint(Colour::Faint, "sync, p99, skew, card, buffer: as the rooms tell; latency, offset: as recorded"),
        );
        lines.push(String::new());
        for (at, room) in [KITCHEN, LIVING_ROOM].iter().enumerate() {
            let mut levels = self.gauge.levels(at).map(|level| screen.level(level)).peekable();
            if levels.peek().is_some() {
                lines.push(format!("{room:<14}{}", levels.collect::<String>()));
            }
        }
        lines.push(String::new());
        lines.extend(self.trend.lines(screen));
        let width = 62;
        let done = ((elapsed / self.total).clamp(0.0, 1.0) * width as f64) as usize;
        lines.push(format!(
            "{:<14}{}{}",
            format!("{elapsed:.0} of {:.0} s", self.total),
            "=".repeat(done),
            screen.paint(Colour::Faint, &"-".repeat(width - done)),
        ));
        lines
    }
}

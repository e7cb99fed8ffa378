//! What the rooms believe of themselves, as the sink tells it once a second, and how that compares with what was measured.

use std::{
    fs::File,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use audera_testkit::{Error, Process, Session, card::TrueTime};
use serde::Deserialize;

use crate::series::{Series, Spread};

/// Between two looks whether something was told.
const LOOK: Duration = Duration::from_millis(10);
/// What is told now was true of the last second, and may be a second old by the sink's own period, in seconds.
const AGE: f64 = 1.5;
/// The least number of windows whose median counts as the truth.
const ENOUGH: usize = 5;
/// How long the latency must have been told as the same, in seconds: the age of what is told, and a period of telling before it.
const STEADY: f64 = AGE + 1.1;
/// Told latencies that differ by no more are the same, in seconds: they are told to the microsecond.
const SAME: f64 = 1.5e-6;

/// What one room told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// When it was seen.
    pub at: TrueTime,
    pub room: String,
    /// From the node to the loudspeakers by the sink's account, in seconds of its clock.
    pub latency: Option<f64>,
    /// By how much it believes to play too late, in seconds, if it plays.
    pub error: Option<f64>,
    /// What its idea of the sender's clock may be off by, in seconds.
    pub bound: Option<f64>,
    /// By how much its resampler departs from the nominal rate.
    pub ratio_ppm: Option<f64>,
}

/// Listens to what a sink tells of its rooms, all the time.
#[derive(Debug)]
pub(crate) struct Ear {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Told>>,
    // Its end is the end of what can be heard.
    _monitor: Process,
}

impl Ear {
    /// Listens to a node of a session.
    pub fn listen(session: &Session, node: &'static str) -> Result<Self, Error> {
        // Without it, what is told would wait in a buffer until there is more.
        let mut command = session.command_in_true_time("stdbuf");
        command.args(["-o0", "pw-dump", "--monitor", "--no-colors"]);
        let monitor = session.spawn(command)?;
        let path = monitor.log().to_owned();
        let mut log = File::open(&path).map_err(|source| Error::File { path, source })?;
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = thread::spawn(move || {
            let (mut text, mut all, mut last) = (Vec::new(), Vec::new(), String::new());
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                let before = text.len();
                if log.read_to_end(&mut text).is_err() || text.len() == before {
                    continue;
                }
                for (latency, rooms) in take_rooms(&mut text, node) {
                    // An object is dumped whole for whatever changes of it.
                    if rooms != last {
                        all.extend(read_rooms(&rooms, latency, TrueTime::now()));
                        last = rooms;
                    }
                }
            }
            all
        });
        Ok(Self { end, thread, _monitor: monitor })
    }

    /// All that was told.
    pub fn finish(self) -> Vec<Told> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Takes the whole dumps off the beginning of what was written, and gives the latency and the rooms of a node out of them.
fn take_rooms(text: &mut Vec<u8>, node: &str) -> Vec<(Option<f64>, String)> {
    let mut dumps = serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>();
    let (mut rooms, mut taken) = (Vec::new(), 0);
    while let Some(Ok(dump)) = dumps.next() {
        taken = dumps.byte_offset();
        let properties = dump.as_array().into_iter().flatten().map(|object| &object["info"]["props"]);
        let of_node = properties.filter(|properties| properties["node.name"] == node);
        rooms.extend(of_node.filter_map(|properties| {
            let told = &properties["audera.latency"];
            // pw-dump writes what looks like a number as one.
            let milliseconds = told.as_f64().or_else(|| told.as_str()?.parse().ok());
            Some((milliseconds.map(|ms| ms * 1e-3), properties["audera.rooms"].as_str()?.to_owned()))
        }));
    }
    text.drain(..taken);
    rooms
}

fn read_rooms(rooms: &str, latency: Option<f64>, at: TrueTime) -> Vec<Told> {
    #[derive(Deserialize)]
    struct Room {
        room: String,
        sync_error_us: Option<f64>,
        clock_bound_us: Option<f64>,
        ratio_ppm: Option<f64>,
    }
    let seconds = |us: f64| us * 1e-6;
    let told = |room: Room| Told {
        at,
        room: room.room,
        latency,
        error: room.sync_error_us.map(seconds),
        bound: room.clock_bound_us.map(seconds),
        ratio_ppm: room.ratio_ppm,
    };
    serde_json::from_str::<Vec<Room>>(rooms).unwrap_or_default().into_iter().map(told).collect()
}

/// What a room believed at a time, beside what was true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    /// When, in seconds as those of windows.
    pub at: f64,
    /// By how much it believed to play too late, in seconds.
    pub told: f64,
    /// What it said its idea of the clock may be off by.
    pub bound: Option<f64>,
    /// By how much it did play too late; `None` where that could not be measured.
    pub truth: Option<f64>,
    pub ratio_ppm: Option<f64>,
}

/// The pairs of a room, from what was told and `behind`, the series of how much later it played than it was sent. What it should have been
/// later by is the latency that the sink told, whose seconds are those of a clock at `pace`; while that changes, nothing can be compared.
pub(crate) fn pairs<'a>(
    told: impl Iterator<Item = &'a Told>,
    behind: &Series,
    pace: f64,
    since: impl Fn(TrueTime) -> f64,
) -> Vec<Pair> {
    let (mut held, mut from) = (None::<f64>, f64::NEG_INFINITY);
    let pair = |told: &Told| {
        let at = since(told.at);
        let same = held.zip(told.latency).is_some_and(|(held, now)| (held - now).abs() <= SAME);
        if !same {
            (held, from) = (told.latency, at);
        }
        let meant = held.filter(|_| at - from >= STEADY).map(|latency| latency / pace);
        let measured = behind.within(at - AGE..at);
        let median = measured.median().filter(|_| measured.offsets().count() >= ENOUGH);
        let truth = median.zip(meant).map(|(behind, meant)| behind - meant);
        Some(Pair { at, told: told.error?, bound: told.bound, truth, ratio_ppm: told.ratio_ppm })
    };
    told.filter_map(pair).collect()
}

/// How belief and truth compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Belief {
    /// The spread of |told - true|, in seconds.
    pub apart: Spread,
    /// The median of told - true, with its sign.
    pub bias: f64,
    /// In what share |true| <= told bound + |told|.
    pub covered: f64,
}

impl Belief {
    /// Of all these; `None` when nothing could be compared.
    pub fn of(pairs: &[Pair]) -> Option<Self> {
        let compared: Vec<(&Pair, f64)> = pairs.iter().filter_map(|pair| Some((pair, pair.truth?))).collect();
        let apart = Spread::of(compared.iter().map(|(pair, truth)| pair.told - truth))?;
        let mut signed: Vec<f64> = compared.iter().map(|(pair, truth)| pair.told - truth).collect();
        signed.sort_by(f64::total_cmp);
        let covered = |(pair, truth): &&(&Pair, f64)| truth.abs() <= pair.told.abs() + pair.bound.unwrap_or(0.0);
        let covered = compared.iter().filter(covered).count() as f64 / compared.len() as f64;
        Some(Self { apart, bias: signed[signed.len() / 2], covered })
    }
}

/// By how much the resampling ratio moves around its mean at most, in ppm.
pub(crate) fn ratio_moves(pairs: &[Pair]) -> Option<f64> {
    let ratios: Vec<f64> = pairs.iter().filter_map(|pair| pair.ratio_ppm).collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    ratios.iter().map(|ratio| (ratio - mean).abs()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Sight, WINDOW, Window};

    #[test]
    fn rooms_are_read_out_of_a_growing_dump() {
        let rooms = r#"[{\"room\":\"Bath\",\"state\":\"playing\",\"sync_error_us\":-2.5,\"clock_bound_us\":40.0}]"#;
        let object = |latency: &str| {
            let props = format!(r#"{{"node.name":"sink","audera.latency":{latency},"audera.rooms":"{rooms}"}}"#);
            format!(r#"[{{"id":7,"info":{{"props":{props}}}}}]"#)
        };
        let whole = format!("[{{\"id\":1,\"type\":\"core\"}}]\n{}\n", object("92.125"));
        let (mut text, mut found) = (Vec::new(), Vec::new());
        for byte in whole.bytes() {
            text.push(byte);
            found.extend(take_rooms(&mut text, "sink"));
        }
        assert_eq!(found.len(), 1);
        let (latency, rooms) = &found[0];
        let told = read_rooms(rooms, *latency, TrueTime::from_nanos(5));
        let [Told { room, latency: Some(latency), error: Some(error), bound: Some(bound), ratio_ppm: None, .. }] =
            &told[..]
        else {
            panic!("{told:?}")
        };
        assert!((latency - 0.092_125).abs() < 1e-12);
        assert!(room == "Bath" && (error + 2.5e-6).abs() < 1e-12 && (bound - 40e-6).abs() < 1e-12, "{told:?}");
        assert_eq!(take_rooms(&mut whole.clone().into_bytes(), "other"), []);
        let as_text = take_rooms(&mut object("\"92.125\"").into_bytes(), "sink");
        assert_eq!(as_text, found);
    }

    #[test]
    fn belief_is_held_against_the_windows_before() {
        // Later by a microsecond each second; silent from 20 s on. At 12 s the latency becomes 10 ms longer, by the clock of a host that is fast.
        let pace = 1.0 + 50e-6;
        let latency = |at: f64| if at < 12.0 { 0.08 } else { 0.09 };
        let window = |n: usize| {
            let at = (n as f64 + 0.5) * WINDOW;
            let behind = latency(at) / pace + at * 1e-6;
            Window { at, sight: if at < 20.0 { Sight::Apart(behind) } else { Sight::Silent } }
        };
        let behind = Series((0..300).map(window).collect());
        let told = |n: i64| Told {
            at: TrueTime::from_nanos(n * 1_000_000_000),
            room: String::new(),
            latency: Some(latency(n as f64)),
            error: Some(n as f64 * 1e-6 + 4e-6),
            bound: Some(0.0),
            ratio_ppm: Some(if n == 10 { 30.0 } else { 20.0 }),
        };
        let all: Vec<Told> = (5..30).map(told).collect();
        let pairs = pairs(all.iter(), &behind, pace, |at| at.as_nanos() as f64 * 1e-9);
        let compared: Vec<f64> = pairs.iter().filter(|pair| pair.truth.is_some()).map(|pair| pair.at.round()).collect();
        // Not in the first seconds, nor in the first with another latency, nor after the end.
        assert_eq!((pairs.len(), compared), (25, [8..12, 15..22].into_iter().flatten().map(f64::from).collect()));
        let Belief { apart, bias, covered } = Belief::of(&pairs).unwrap();
        // The windows are 0.75 s old on average.
        assert!((bias - 4.75e-6).abs() < 0.1e-6 && (apart.max - 4.75e-6).abs() < 0.6e-6, "{apart:?}, {bias}");
        assert_eq!(covered, 1.0);
        assert!((ratio_moves(&pairs).unwrap() - 9.6).abs() < 1e-9);
        assert_eq!(Belief::of(&[]), None);
    }
}

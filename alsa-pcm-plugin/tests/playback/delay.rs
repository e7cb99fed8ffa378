//! What `snd_pcm_delay` tells is when it is heard: at a card that knows the true time.

use std::fmt::Write as _;

use alsa_sys as raw;
use audera_testkit::card::TrueTime;
use audera_testkit::{Card, measure};

use crate::alsa::{Pcm, Wish};
use crate::house::{House, clip, is_program, low_clip};

/// A program, by what it plays.
struct Way {
    /// Arguments of the PCM behind the room's name.
    args: &'static str,
    pcm: &'static str,
    rate: u32,
    source: fn(u64, u32, usize, f64) -> Vec<Vec<f32>>,
}

const WAYS: [Way; 3] = [
    Way { args: "auto", pcm: "raw", rate: 48_000, source: clip },
    Way { args: "300,60,auto", pcm: "audera", rate: 44_100, source: clip },
    Way { args: "auto,60,opus", pcm: "raw", rate: 48_000, source: low_clip },
];

const SECONDS: f64 = 2.5;
/// The delay is to be true to that.
const MOST_WRONG: f64 = 0.005;

impl Way {
    fn source(&self) -> Vec<Vec<f32>> {
        (self.source)(42, self.rate, 2, SECONDS)
    }
}

/// The program: plays, and notes when which frame is to be heard.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn program() {
    if !is_program() {
        return;
    }
    let way = &WAYS[std::env::var("AUDERA_TEST_WAY").unwrap().parse::<usize>().unwrap()];
    let source = way.source();
    let bytes = Wish::USUAL.bytes(&source);
    let opened = TrueTime::now();
    let name = std::env::var("AUDERA_TEST_PCM").unwrap();
    let pcm = Pcm::new(&name, Wish { rate: way.rate, period: 1_000, buffer: 24_000, ..Wish::USUAL });
    let open = TrueTime::now();
    let frames = source[0].len() as u64;
    let (mut at, mut text) = (0, String::new());
    // Before it is started, the delay does not tell when it will be.
    while at < frames {
        at += pcm.write_once(&bytes, at, (frames - at).min(pcm.period)).unwrap();
        let status = pcm.status();
        if status.state == raw::SND_PCM_STATE_RUNNING {
            writeln!(text, "{at},{},{}", status.delay, status.stamp).unwrap();
        }
    }
    // And in the middle of a drain.
    pcm.set_nonblocking(true);
    while pcm.drain() == Err(-libc::EAGAIN) {
        let status = pcm.status();
        writeln!(text, "{at},{},{}", status.delay, status.stamp).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    writeln!(text, "drained {}", TrueTime::now().as_nanos()).unwrap();
    writeln!(text, "opened {} {}", opened.as_nanos(), open.as_nanos()).unwrap();
    std::fs::write(std::env::var_os("AUDERA_TEST_TOLD").unwrap(), text).unwrap();
}

#[test]
fn the_delay_is_when_it_is_heard() {
    let Some(house) = House::start_alone() else { return };
    // All at once: each has a card, a player and a program.
    let rooms: Vec<_> = (0..WAYS.len())
        .map(|n| {
            let name = format!("Room {n}");
            let card = house.session.alsa_card(&Card::new(&name).ppm(40.0).rate(WAYS[n].rate)).unwrap();
            let output = format!("alsa:{}", card.pcm());
            let player =
                house.product.player(&house.session, &name, &["--access", "open", "--output", &output]).unwrap();
            house.wait_for(&name);
            (card, player)
        })
        .collect();
    let told = |n: usize| house.session.dir().join(format!("told-{n}.csv"));
    std::thread::scope(|scope| {
        for (n, way) in WAYS.iter().enumerate() {
            let (told, pcm, number) = (told(n), format!("{}:Room {n},{}", way.pcm, way.args), n.to_string());
            let variables =
                [("AUDERA_TEST_TOLD", told.to_str().unwrap()), ("AUDERA_TEST_PCM", &pcm), ("AUDERA_TEST_WAY", &number)];
            let command = house.program("delay::program", &variables);
            let house = &house;
            scope.spawn(move || house.run(command));
        }
    });
    for (n, (card, player)) in rooms.into_iter().enumerate() {
        let (way, rate) = (&WAYS[n], WAYS[n].rate);
        player.stop().unwrap();
        let played = card.finish().unwrap();
        let source = way.source().remove(0);
        let text = std::fs::read_to_string(told(n)).unwrap();
        let numbers = |line: &str| line.split([',', ' ']).filter_map(|n| n.parse().ok()).collect::<Vec<i64>>();
        let heard = Heard::new(&played, &source, rate);
        let mut errors = Vec::new();
        for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
            let [at, delay, stamp] = numbers(line)[..] else { panic!("{line}") };
            let Some(time) = heard.time_of(at) else { continue };
            let expected = stamp as f64 + delay as f64 * 1e9 / f64::from(rate);
            errors.push((expected - time) * 1e-9);
        }
        let line = |word: &str| numbers(text.lines().find(|line| line.starts_with(word)).unwrap());
        let (drained, opened) = (line("drained")[0], line("opened"));
        let (first, last) = (heard.time_of(0), heard.time_of(source.len() as i64));
        errors.sort_by(f64::total_cmp);
        println!(
            "{} {}: delay is wrong by {:.3} to {:.3} ms (median {:.3}, {} looks)",
            way.pcm,
            way.args,
            errors[0] * 1e3,
            errors[errors.len() - 1] * 1e3,
            errors[errors.len() / 2] * 1e3,
            errors.len(),
        );
        println!(
            "open in {:.0} ms, first sound {:?} ms after that, drained {:?} ms after the last frame",
            (opened[1] - opened[0]) as f64 * 1e-6,
            first.map(|first| (first - opened[1] as f64) * 1e-6),
            last.map(|last| (drained as f64 - last) * 1e-6),
        );
        assert!(errors.len() > 50, "{}", errors.len());
        assert!(errors.iter().all(|error| error.abs() < MOST_WRONG), "{errors:?}");
        if let Some(last) = last {
            assert!(drained as f64 > last - MOST_WRONG * 1e9, "the last frame was heard when the drain ended");
        }
    }
}

/// How many pieces there are in a second of the source, each of which is looked for as a whole.
const PIECES: u32 = 2;

/// What a card has played of the source, piece by piece.
struct Heard<'a> {
    played: &'a audera_testkit::Played,
    /// Where each piece begins in the recording; `None` for one that was disturbed.
    pieces: Vec<Option<f64>>,
    /// Frames in each.
    piece: usize,
}

impl<'a> Heard<'a> {
    fn new(played: &'a audera_testkit::Played, source: &[f32], rate: u32) -> Heard<'a> {
        let piece = (rate / PIECES) as usize;
        let found = |piece: &[f32]| {
            let residual = measure::residual(&played.samples, piece, rate, 0.1)?;
            (residual.db < -20.0).then_some(residual.delay)
        };
        Heard { played, pieces: source.chunks_exact(piece).map(found).collect(), piece }
    }

    /// The true time at which frame `at` of the source was heard, ns: by where the sound around it is in the recording.
    fn time_of(&self, at: i64) -> Option<f64> {
        let piece = (at as usize / self.piece).min(self.pieces.len() - 1);
        let begin = self.pieces[piece]?;
        Some(self.played.time_of(begin + (at as f64 - (piece * self.piece) as f64)).as_nanos() as f64)
    }
}

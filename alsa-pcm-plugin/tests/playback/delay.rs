//! What `snd_pcm_delay` tells is when it is heard: at a card that knows the true time.

use std::fmt::Write as _;

use alsa_sys as raw;
use audera_testkit::card::TrueTime;
use audera_testkit::{Card, measure};

use crate::alsa::{Pcm, Wish};
use crate::house::{House, clip, is_program};

const RATE: u32 = 48_000;
const SECONDS: f64 = 2.5;
/// The delay is to be true to that.
const MOST_WRONG: f64 = 0.005;

/// Before the application starts, and how late it is told that sound begins.
fn source() -> Vec<Vec<f32>> {
    clip(42, RATE, 2, SECONDS)
}

/// The program: plays, and notes when which frame is to be heard.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn program() {
    if !is_program() {
        return;
    }
    let source = source();
    let bytes = Wish::USUAL.bytes(&source);
    let opened = TrueTime::now();
    let pcm = Pcm::new("raw:Kitchen", Wish { period: 1_000, buffer: 24_000, ..Wish::USUAL });
    let open = TrueTime::now();
    let frames = source[0].len() as u64;
    let (mut at, mut text) = (0, String::new());
    // Before it starts, the delay does not tell when it will.
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
    for latency in ["auto", "300"] {
        let Some(house) = House::start_alone(&format!("codec pcm latency {latency}")) else { return };
        let card = house.session.alsa_card(&Card::new("Kitchen").ppm(40.0)).unwrap();
        let output = format!("alsa:{}", card.pcm());
        let player =
            house.product.player(&house.session, "Kitchen", &["--access", "open", "--output", &output]).unwrap();
        house.wait_for("Kitchen");
        let told = house.session.dir().join("told.csv");
        house.run(house.program("delay::program", &[("AUDERA_TEST_TOLD", told.to_str().unwrap())]));
        player.stop().unwrap();
        let played = card.finish().unwrap();
        let source = source().remove(0);
        let text = std::fs::read_to_string(&told).unwrap();
        let numbers = |line: &str| line.split([',', ' ']).filter_map(|n| n.parse().ok()).collect::<Vec<i64>>();
        // Second by second, as the card's frames are a little shorter than the source's.
        let mut errors = Vec::new();
        for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
            let [at, delay, stamp] = numbers(line)[..] else { panic!("{line}") };
            let Some(heard) = heard_at(&played, &source, at) else { continue };
            let expected = stamp as f64 + delay as f64 * 1e9 / f64::from(RATE);
            errors.push((expected - heard) * 1e-9);
        }
        let line = |word: &str| numbers(text.lines().find(|line| line.starts_with(word)).unwrap());
        let (drained, opened) = (line("drained")[0], line("opened"));
        let first = heard_at(&played, &source, 0).unwrap();
        let last = heard_at(&played, &source, source.len() as i64).unwrap();
        errors.sort_by(f64::total_cmp);
        println!(
            "latency {latency}: delay is wrong by {:.3} to {:.3} ms (median {:.3}, {} looks); open in {:.0} ms, first sound {:.0} ms after that; \
             drained {:.1} ms after the last frame",
            errors[0] * 1e3,
            errors[errors.len() - 1] * 1e3,
            errors[errors.len() / 2] * 1e3,
            errors.len(),
            (opened[1] - opened[0]) as f64 * 1e-6,
            (first - opened[1] as f64) * 1e-6,
            (drained as f64 - last) * 1e-6,
        );
        assert!(errors.len() > 100, "{}", errors.len());
        assert!(errors.iter().all(|error| error.abs() < MOST_WRONG), "{errors:?}");
        assert!(drained as f64 > last - MOST_WRONG * 1e9, "the last frame was heard when the drain ended");
    }
}

/// The true time at which frame `at` of the source was heard, ns: by where the sound around it is in the recording.
fn heard_at(played: &audera_testkit::Played, source: &[f32], at: i64) -> Option<f64> {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    thread_local! {
        static FOUND: RefCell<BTreeMap<(usize, usize), Option<(f64, usize)>>> = const { RefCell::new(BTreeMap::new()) };
    }
    const PIECE: usize = RATE as usize / 2;
    let from = (at as usize / PIECE * PIECE).min(source.len() - PIECE);
    let found = FOUND.with_borrow_mut(|found| {
        *found.entry((played.samples.len(), from)).or_insert_with(|| {
            let residual = measure::residual(&played.samples, &source[from..from + PIECE], RATE, 0.1)?;
            (residual.db < -20.0).then_some((residual.delay, from))
        })
    });
    let (delay, from) = found?;
    Some(played.time_of(delay + (at as f64 - from as f64)).as_nanos() as f64)
}

//! What a stream that plays is told of its device's time, against when the device really plays, by a card of which that is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use audera_pw::{Connect, Context, Cycle, Direction, Offer, Properties, Stream, Thread, Timing};
use audera_testkit::{Card, Played, RunningCard, Session, or_skip};

const RATE: u32 = 48_000;
/// A sample tells its number: one step of 24 bits each.
const STEP: f32 = 1.0 / 16_777_216.0;

/// What a probe was told: for each cycle the number of its first sample, and its times.
type Told = Arc<Mutex<Vec<(u64, Timing)>>>;

/// A stream that plays numbered samples.
struct Probe {
    thread: Thread<Stream>,
    told: Told,
}

impl Probe {
    fn start(session: &Session, target: &str, quantum: u32) -> Self {
        let told = Told::default();
        let remote = session.runtime_dir().join("pipewire-0").display().to_string();
        let node = Properties::new()
            .with("media.class", "Stream/Output/Audio")
            .with("node.name", "probe")
            .with("node.latency", format!("{quantum}/{RATE}"))
            .with("state.restore-props", "false")
            .with("target.object", target);
        let properties = Properties::new().with("config.name", "client-rt.conf");
        let log = told.clone();
        let setup = move |context: &Context| {
            let core = context.connect(&Properties::new().with("remote.name", remote), |_| {})?;
            let mut number = 0_u64;
            // A lock is no place for an audio thread; nobody else holds this one for longer than a glance.
            let process = move |mut cycle: Cycle<'_>| {
                log.lock().unwrap().push((number, *cycle.timing()));
                for frame in cycle.output().chunks_exact_mut(2) {
                    number += 1;
                    frame.fill(number as f32 * STEP);
                }
            };
            let stream = Stream::new(&core, "probe", Direction::Output, &node, process, |_| {})?;
            stream.connect(&Connect::new(Offer::stereo(RATE)))?;
            Ok(stream)
        };
        Self { thread: Thread::spawn("probe", properties, setup).unwrap(), told }
    }

    /// Waits for so many more cycles.
    fn wait(&self, session: &Session, cycles: usize) {
        let wanted = self.told.lock().unwrap().len() + cycles;
        session.poll("cycles of the probe", || (self.told.lock().unwrap().len() >= wanted).then_some(())).unwrap();
    }

    /// Ends the stream, and the card behind it. How much later than told each cycle was heard, in nanoseconds of true time, for
    /// those of which the card has played the first sample.
    fn finish(self, card: RunningCard) -> (Played, Vec<(i64, Timing)>) {
        drop(self.thread);
        let played = card.finish().unwrap();
        let sounding = played.samples.iter().enumerate().filter(|(_, sample)| **sample != 0.0);
        let number_of = |sample: f32| (sample / STEP).round() as u64 - 1;
        let frames: HashMap<u64, usize> = sounding.map(|(frame, &sample)| (number_of(sample), frame)).collect();
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let heard = told.iter().filter_map(|(number, timing)| {
            let frame = *frames.get(number)?;
            let heard = played.time_of(frame as f64).as_nanos();
            Some((heard - timing.output_time().as_nanos(), *timing))
        });
        let heard = heard.collect();
        (played, heard)
    }
}

fn force_quantum(session: &Session, frames: u32) {
    let frames = frames.to_string();
    session.run("pw-metadata", &["-n", "settings", "0", "clock.force-quantum", &frames]).unwrap();
}

/// The latencies of the ports are whole frames and whole nanoseconds; reading two clocks one after the other errs by some tens
/// of nanoseconds, and by some hundreds where the processor is taken away in between.
const TOLD_WELL: i64 = 2_000;

#[test]
fn what_is_told_is_when_it_is_heard_at_every_quantum_and_between_them() {
    let Some(session) = or_skip(Session::start("desk")) else { return };
    let card = session.card(&Card::new("Kitchen").ppm(80.0)).unwrap();
    let probe = Probe::start(&session, "Kitchen", 512);
    probe.wait(&session, 50);
    for (quantum, cycles) in [(128, 200), (2048, 12), (256, 100), (1024, 25)] {
        force_quantum(&session, quantum);
        probe.wait(&session, cycles);
    }
    let (played, heard) = probe.finish(card);
    println!("{:?}", played.report.counts);
    let quanta: Vec<u64> = heard.iter().filter_map(|(_, timing)| Some(timing.clock?.duration)).collect();
    for quantum in [128, 2048, 256, 1024] {
        assert!(quanta.contains(&quantum), "the quantum never was {quantum}");
    }
    let wrong: Vec<_> = heard.iter().filter(|(late, _)| late.abs() > TOLD_WELL).collect();
    let worst = heard.iter().map(|(late, _)| late.abs()).max();
    println!("{} cycles, told at most {worst:?} ns off", heard.len());
    assert!(wrong.is_empty(), "{} of {} cycles, such as {:?}", wrong.len(), heard.len(), wrong[0]);
}

#[test]
fn an_xrun_is_told_within_a_cycle() {
    let Some(session) = or_skip(Session::start("desk")) else { return };
    let card = session.card(&Card::new("Kitchen").ppm(-60.0)).unwrap();
    let probe = Probe::start(&session, "Kitchen", 256);
    probe.wait(&session, 50);
    card.xrun();
    probe.wait(&session, 100);
    let (played, heard) = probe.finish(card);
    let [xrun] = played.xruns[..] else { panic!("{:?}", played.xruns) };
    assert!(played.samples[xrun.frame as usize..][..xrun.frames as usize].iter().all(|&sample| sample == 0.0));
    // One cycle was on its way when the device stood still.
    let wrong = heard.iter().filter(|(late, _)| late.abs() > TOLD_WELL).count();
    println!("{} cycles, {wrong} of them told wrong", heard.len());
    assert!(wrong <= 1, "{wrong} cycles were told wrong");
}

//! Hosts with a clock of their own: it runs as it should, whatever waits by it wakes, and a desktop's sound works under it.

use std::{collections::HashMap, time::Duration};

use audera_testkit::{
    NullSink, Session,
    measure::{self, Residual},
    or_skip, sound,
    wav::{Samples, Sound},
};

const PROBE: &str = env!("CARGO_BIN_EXE_clock-probe");
const HOURS: Duration = Duration::from_secs(3 * 3600 + 1234);

/// A reading of the host's clock between two of the machine's.
#[derive(Clone, Copy, Debug)]
struct Reading {
    before: i64,
    shown: i64,
    after: i64,
}

/// Reads each of a host's clocks often.
fn read(session: &Session) -> HashMap<i64, Vec<Reading>> {
    let mut readings = HashMap::<_, Vec<Reading>>::new();
    for line in session.run(PROBE, &["read", "300"]).unwrap().lines() {
        let fields: Vec<i64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        let [clock, before, shown, after] = fields[..] else { panic!("{line}") };
        readings.entry(clock).or_default().push(Reading { before, shown, after });
    }
    readings
}

/// Each reading lies between what the model says for just before and for just after: not one is off by a nanosecond more than
/// reading takes. And seen without the model, it is as fast as it should be to within 1 ppm.
#[test]
fn the_clock_runs_as_its_crystal_says() {
    for ppm in [50.0, -80.0] {
        let Some(session) = or_skip(Session::builder("desk").clock(ppm, HOURS).daemons(&[]).start()) else { return };
        let crystal = session.crystal();
        let begin = read(&session);
        std::thread::sleep(Duration::from_secs(1));
        let end = read(&session);
        assert_eq!(begin.len(), 3, "monotonic, raw and since boot");
        for (clock, first) in &begin {
            let last = &end[clock];
            for reading in first.iter().chain(last) {
                let model = crystal.reading(reading.before)..=crystal.reading(reading.after);
                assert!(
                    model.contains(&reading.shown),
                    "{ppm} ppm, clock {clock}: {reading:?}, by the model {model:?}"
                );
            }
            let quickest = |readings: &[Reading]| *readings.iter().min_by_key(|r| r.after - r.before).unwrap();
            let (first, last) = (quickest(first), quickest(last));
            let middle = |reading: Reading| (reading.before + reading.after) as f64 / 2.0;
            let true_span = middle(last) - middle(first);
            let seen = ((last.shown - first.shown) as f64 / true_span - 1.0) * 1e6;
            let doubt = (last.after - last.before + first.after - first.before) as f64 / 2.0 / true_span * 1e6;
            println!("clock {clock}: {seen:.3} ppm, give or take {doubt:.3}");
            assert!((seen - ppm).abs() < 1.0f64.max(doubt), "clock {clock}: {seen} ppm instead of {ppm}");
        }
    }
}

/// Nothing wakes early, and nothing hangs, though the clock is hours ahead of the machine's.
#[test]
fn every_way_to_wait_ends_in_time() {
    for ppm in [1000.0, -1000.0] {
        let Some(session) = or_skip(Session::builder("desk").clock(ppm, HOURS).daemons(&[]).start()) else { return };
        let mut command = session.command(PROBE);
        command.args(["wait", "50"]);
        let mut probe = session.spawn(command).unwrap();
        let ended = probe.wait(Duration::from_secs(30)).unwrap();
        let told = probe.output();
        assert!(ended.is_some_and(|status| status.success()), "{ended:?} after:\n{told}");
        let mut ways = 0;
        for line in told.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields[..] {
                [name, host, machine] => {
                    let (host, machine): (i64, i64) = (host.parse().unwrap(), machine.parse().unwrap());
                    // What ends on the machine's own clock lasts its time on that.
                    let by = if name.ends_with("realtime") { machine } else { host };
                    assert!(by >= 50_000_000, "{line} at {ppm} ppm");
                    ways += 1;
                }
                [name, left] => {
                    let left: f64 = left.parse::<f64>().unwrap() / 1e9;
                    assert!((900.0..=1_000.000_001).contains(&left), "{name}: {left} s are left of 1000 s");
                    ways += 1;
                }
                _ => panic!("{line}"),
            }
        }
        assert_eq!(ways, 17, "{told}");
    }
}

#[test]
fn a_wrong_clock_ends_the_process() {
    let Some(session) = or_skip(Session::builder("desk").clock(5000.0, HOURS).daemons(&[]).start()) else { return };
    let refused = session.run("true", &[]).unwrap_err().to_string();
    assert!(refused.contains("AUDERA_CLOCK_PPM=5000 is no number in the range"), "{refused}");
}

#[test]
fn instruments_can_have_true_time() {
    let Some(session) = or_skip(Session::builder("desk").clock(50.0, HOURS).daemons(&[]).start()) else { return };
    let output = session.command_in_true_time(PROBE).args(["read", "1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<i64> = text.lines().next().unwrap().split(' ').map(|field| field.parse().unwrap()).collect();
    assert!((fields[1]..=fields[3]).contains(&fields[2]), "{text}");
}

/// A whole desktop comes up, plays and records, with not a bit changed.
#[test]
fn sound_plays_on_such_a_host() {
    let Some(session) = or_skip(Session::builder("desk").clock(-50.0, HOURS).start()) else { return };
    session.null_sink(&NullSink::new("Speaker")).unwrap();
    let file = session.dir().join("noise.wav");
    let noise = sound::decorrelated_noise(48_000, 2, 3.0, 0.5, 1);
    noise.write(&file, Samples::F32).unwrap();
    let mut playing = session.play(&file, "Speaker").unwrap();
    let mut recorder = session.record(&["Speaker:monitor_FL"]).unwrap();
    assert!(playing.wait(Duration::from_secs(20)).unwrap().is_some(), "the file ends:\n{}", playing.output());
    recorder.wait_for(1.0).unwrap();
    let heard: Sound = recorder.finish().unwrap();
    // Where the recording has begun, the file may have been playing for a while. Pieces, as a machine that is busy may skip some.
    let pieces = noise.channels[0][96_000..134_400].chunks(4_800);
    let residuals: Vec<Option<Residual>> =
        pieces.map(|piece| measure::residual(&heard.channels[0], piece, 48_000, 0.02)).collect();
    let whole = residuals.iter().flatten().filter(|residual| residual.db < -100.0).count();
    assert!(whole >= 4, "{whole} of 8 pieces are as they were: {residuals:?}");
}

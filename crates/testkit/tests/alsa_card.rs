//! An ALSA card plays what is written to it, by its own crystal, and tells the program when, by the clock of the program's
//! host.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use alsa::{
    Direction, ValueOr,
    pcm::{Access, Format, HwParams, PCM, TstampType},
};
use audera_testkit::{
    Card, Played, Process, Session,
    card::{CardMixer, TrueTime, Wander},
    home::Home,
    measure, or_skip, sound,
    wav::{Samples, Sound},
};

const RATE: u32 = 48_000;
const PERIOD: i64 = 384;
/// A sample tells its number: so many steps of 32 bits each, which is one of 24.
const STEP: i32 = 256;

/// What a program was told in one status: the count of the next frame written, the delay, and the time stamp.
#[derive(Clone, Copy, Debug)]
struct Told {
    written: i64,
    delay: i64,
    stamp: i64,
}

/// The part in the session: alsa-lib reads its configuration once per process, so it is one of its own. It writes numbered
/// samples, and what it is told, until it has been told so often.
#[test]
#[ignore = "run by the others, which provide the card"]
fn a_program_that_plays() {
    let pcm = std::env::var("AUDERA_TEST_PCM").unwrap();
    let told = play(&pcm, std::env::var("AUDERA_TEST_PERIODS").unwrap().parse().unwrap());
    let mut text = String::new();
    for Told { written, delay, stamp } in told {
        writeln!(text, "{written},{delay},{stamp}").unwrap();
    }
    fs::write(std::env::var_os("AUDERA_TEST_TOLD").unwrap(), text).unwrap();
}

fn play(name: &str, periods: usize) -> Vec<Told> {
    let pcm = PCM::new(name, Direction::Playback, false).unwrap();
    assert!(PCM::new(name, Direction::Playback, false).is_err(), "the card is open already");
    let hw = HwParams::any(&pcm).unwrap();
    hw.set_access(Access::RWInterleaved).unwrap();
    hw.set_format(Format::S32LE).unwrap();
    hw.set_channels(2).unwrap();
    assert!(hw.set_rate(44_100, ValueOr::Nearest).is_err());
    hw.set_rate(RATE, ValueOr::Nearest).unwrap();
    hw.set_period_size(PERIOD, ValueOr::Nearest).unwrap();
    // Half a second: on a busy machine too it is not late.
    hw.set_buffer_size(64 * PERIOD).unwrap();
    pcm.hw_params(&hw).unwrap();
    drop(hw);
    let sw = pcm.sw_params_current().unwrap();
    sw.set_avail_min(PERIOD).unwrap();
    sw.set_start_threshold(64 * PERIOD).unwrap();
    sw.set_tstamp_mode(true).unwrap();
    sw.set_tstamp_type(TstampType::Monotonic).unwrap();
    pcm.sw_params(&sw).unwrap();
    drop(sw);
    let io = pcm.io_i32().unwrap();
    let mut number = 0_i32;
    let mut told = Vec::new();
    while told.len() < periods {
        let frames: Vec<i32> = (0..PERIOD as i32).flat_map(|n| [(number + n + 1) * STEP; 2]).collect();
        assert_eq!(io.writei(&frames).unwrap(), PERIOD as usize);
        number += PERIOD as i32;
        if i64::from(number) > 64 * PERIOD {
            let status = pcm.status().unwrap();
            let stamp = status.get_htstamp();
            let stamp = stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec;
            told.push(Told { written: i64::from(number), delay: status.get_delay(), stamp });
        }
    }
    pcm.drain().unwrap();
    told
}

/// Runs the part in the session to its end.
fn run(session: &Session, pcm: &str, periods: usize) -> Vec<Told> {
    let file = session.dir().join("told.csv");
    let mut command = session.command(std::env::current_exe().unwrap());
    command.args(["--exact", "a_program_that_plays", "--ignored", "--nocapture"]);
    command.env("AUDERA_TEST_PCM", pcm).env("AUDERA_TEST_PERIODS", periods.to_string()).env("AUDERA_TEST_TOLD", &file);
    let mut program: Process = session.spawn(command).unwrap();
    let ended = program.wait(Duration::from_secs(60)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", program.output());
    let lines = fs::read_to_string(&file).unwrap();
    let told = lines.lines().map(|line| {
        let numbers: Vec<i64> = line.split(',').map(|number| number.parse().unwrap()).collect();
        Told { written: numbers[0], delay: numbers[1], stamp: numbers[2] }
    });
    told.collect()
}

/// The frame of the card that played the sample of number nought; every sample is in its place after it.
fn first_frame(played: &Played) -> f64 {
    let first = played.first_sound().expect("there is sound");
    for (n, &sample) in played.samples[first..].iter().enumerate().take_while(|(_, sample)| **sample != 0.0) {
        assert_eq!(f64::from(sample), (n as f64 + 1.0) * f64::from(STEP) / 2_147_483_648.0, "sample {n}");
    }
    first as f64
}

/// How much earlier, in frames, the card plays at each stamp than it told; a fraction of a frame is lost by rounding.
fn earlier(session: &Session, played: &Played, told: &[Told]) -> Vec<f64> {
    let (first, crystal) = (first_frame(played), session.crystal());
    let earlier = told.iter().map(|told| {
        let heard = played.frame_at(TrueTime::from_nanos(crystal.true_time(told.stamp))) - first;
        heard - (told.written - told.delay) as f64
    });
    earlier.collect()
}

/// 1 us in frames.
const MICROSECOND: f64 = RATE as f64 * 1e-6;

#[test]
fn what_a_status_tells_is_when_it_is_heard() {
    let host = Session::builder("desk").daemons(&[]).clock(50.0, Duration::from_secs(3600));
    let Some(session) = or_skip(host.start()) else { return };
    let wander = Wander { ppm: 5.0, seconds: 2.0, seed: 4 };
    let card = session.alsa_card(&Card::new("Living Room").ppm(80.0).wander(wander)).unwrap();
    let before = TrueTime::now();
    let told = run(&session, card.pcm(), 250);
    let after = TrueTime::now();
    let played = card.finish().unwrap();
    println!("{:?}", played.report.counts);
    assert!(played.report.complete && played.missed.is_empty());
    assert_eq!((played.report.counts.late_frames, played.report.counts.unrecorded_frames), (0, 0));
    let last = played.samples.iter().rposition(|&sample| sample != 0.0).unwrap() as f64;
    assert!(before < played.time_of(first_frame(&played)) && played.time_of(last) < after);
    assert_eq!(last - first_frame(&played) + 1.0, (64 + 250) as f64 * PERIOD as f64, "a drain plays all there is");

    let mut earlier = earlier(&session, &played, &told);
    earlier.sort_unstable_by(f64::total_cmp);
    let (least, median, most) = (earlier[0], earlier[earlier.len() / 2], earlier[earlier.len() - 1]);
    println!("told {least:.4} to {most:.4} frames late, median {median:.4}, of {} times", earlier.len());
    // A stamp is taken after the position, so it is never early; how late depends on the machine, but mostly it is not.
    assert!(least > -MICROSECOND, "{least} frames");
    let close = earlier.iter().filter(|frames| **frames < 1.0 + MICROSECOND).count();
    assert!(close * 10 >= earlier.len() * 9, "only {close} of {} are right to 1 us: {earlier:.3?}", earlier.len());
}

#[test]
fn a_coarse_card_tells_whole_periods() {
    let Some(session) = or_skip(Session::builder("desk").daemons(&[]).start()) else { return };
    let card = session.alsa_card(&Card::new("Bath").ppm(-60.0).pointer_step(0)).unwrap();
    let told = run(&session, card.pcm(), 50);
    assert!(told.iter().all(|told| told.delay % PERIOD == 0), "{told:?}");
    let earlier = earlier(&session, &card.finish().unwrap(), &told);
    assert!(earlier.iter().all(|&frames| frames > -MICROSECOND), "{earlier:?}");
}

/// The right sound comes through alsa-lib's own tools as well, which know nothing of the card; once by another way of
/// access.
#[test]
fn other_programs_play_to_it_one_after_the_other() {
    let Some(session) = or_skip(Session::builder("desk").daemons(&[]).start()) else { return };
    let card = session.alsa_card(&Card::new("Kitchen")).unwrap();
    let file = session.dir().join("noise.wav");
    let noise = sound::noise(RATE, 2, 1.0, 0.5, 1);
    noise.write(&file, Samples::S16).unwrap();
    let file = file.display().to_string();
    for access in [&[][..], &["--mmap"]] {
        let args = [&["-q", "-D", card.pcm(), "--buffer-size", "24000"], access, &[&file]].concat();
        session.run("aplay", &args).unwrap();
    }
    let listed = session.run("aplay", &["-L"]).unwrap();
    assert!(listed.contains(&format!("{}\n    Kitchen\n", card.pcm())), "{listed}");
    let played = card.finish().unwrap();
    let expected = Sound::read(Path::new(&file)).unwrap().channels.remove(0);
    let sounding: Vec<f32> = played.samples.iter().copied().filter(|&sample| sample != 0.0).collect();
    let expected: Vec<f32> = expected.iter().copied().filter(|&sample| sample != 0.0).collect();
    assert_eq!(sounding.len(), 2 * expected.len());
    assert!(sounding == [expected.clone(), expected].concat());
}

#[test]
fn a_mixer_turns_what_is_heard_and_tells_its_decibels() {
    let Some(session) = or_skip(Session::builder("desk").daemons(&[]).start()) else { return };
    let card = session.alsa_card(&Card::new("Kitchen").mixer(CardMixer::digital())).unwrap();
    let mixer = |words: &[&str]| session.run("amixer", &[&["-D", card.pcm()], words].concat()).unwrap();
    assert!(mixer(&["sget", "Digital"]).contains("Front Left: Playback 207 [100%] [0.00dB] [on]"));
    let told = mixer(&["sset", "Digital", "167,187"]);
    assert!(told.contains("Left: Playback 167 [81%] [-20.00dB]") && told.contains("[-10.00dB]"), "{told}");
    mixer(&["--", "sset", "Digital", "-20dB"]);
    assert_eq!(card.knobs().unwrap().setting().volume, [167; 2]);

    let file = session.dir().join("steady.wav");
    let channel = vec![0.5; RATE as usize / 2];
    Sound { rate: RATE, channels: vec![channel.clone(), channel] }.write(&file, Samples::S16).unwrap();
    let play = || session.run("aplay", &["-q", "-D", card.pcm(), &file.display().to_string()]).unwrap();
    play();
    mixer(&["sset", "Digital", "mute"]);
    play();
    mixer(&["sset", "Digital", "unmute", "100%"]);
    play();
    let played = card.finish().unwrap();
    let mut levels: Vec<f32> = played.samples.iter().copied().filter(|sample| *sample != 0.0).collect();
    levels.dedup();
    let is = |level: f32, wanted: f32| (level - wanted).abs() < wanted * 1e-3;
    assert!(levels.len() == 2 && is(levels[0], 0.05) && is(levels[1], 0.5), "20 dB less, nothing, all: {levels:?}");
}

fn room(home: &Home, name: &str, ppm: f64) -> (audera_testkit::RunningAlsaCard, Process) {
    let card = home.session.alsa_card(&Card::new(name).ppm(ppm)).unwrap();
    let output = format!("alsa:{}", card.pcm());
    let player = home.product.player(&home.session, name, &["--access", "open", "--output", &output]).unwrap();
    (card, player)
}

/// Unaware of its card's crystal, a room would drift by 140 us a second. The bounds are wide, since the machine that runs
/// this may be busy: it is the bench that is strict.
#[test]
fn rooms_on_alsa_cards_play_together() {
    let Some(home) = or_skip(Home::start("desk", &[])) else { return };
    let (kitchen, kitchen_player) = room(&home, "Kitchen", 80.0);
    let (bath, bath_player) = room(&home, "Bath", -60.0);
    let _sinks = home.product.module(&home.session, "sink", "").unwrap();
    home.session.sink_port("audera.Everywhere", "FL").unwrap();
    let file = home.session.dir().join("noise.wav");
    sound::decorrelated_noise(RATE, 2, 60.0, 0.5, 1).write(&file, Samples::F32).unwrap();
    let _playing = home.session.play(&file, "audera.Everywhere").unwrap();
    home.session.wait_for_rooms("audera.Everywhere", &["Bath playing", "Kitchen playing"]).unwrap();
    let known = TrueTime::now();
    std::thread::sleep(Duration::from_secs(10));
    let logs = format!("{}\n{}", kitchen_player.output(), bath_player.output());
    for player in [kitchen_player, bath_player] {
        player.stop().unwrap();
    }

    let (kitchen, bath) = (kitchen.finish().unwrap(), bath.finish().unwrap());
    println!("{:?}\n{:?}", kitchen.report.counts, bath.report.counts);
    let series = measure::true_offset_series(&kitchen, &bath, 0.25, 0.1);
    let since = known.since(kitchen.time_of(0.0)) as f64 * 1e-9 + 3.0;
    let mut apart: Vec<f64> = series.offsets.iter().filter(|o| o.at > since).map(|o| o.seconds.abs() * 1e6).collect();
    apart.sort_unstable_by(f64::total_cmp);
    println!("us apart in true time, sorted: {apart:.1?}");
    assert!(apart.len() >= 10, "{} windows could be compared: {series:?}\n{logs}", apart.len());
    println!("p99 {:.1} us", apart[apart.len() - 1 - apart.len() / 100]);
    let median = apart[apart.len() / 2];
    assert!(median < 500.0, "the rooms are {median:.0} us apart\n{logs}");
}

//! A program that does not want to wait, and polls.

use std::io::Write as _;
use std::time::Duration;

use alsa::pcm::{Access, Format, HwParams, PCM};
use alsa::poll::{Descriptors, poll};
use alsa::{Direction, ValueOr};
use audera_testkit::Process;

use crate::Studio;
use crate::recording::Recording;

const RATE: u32 = 48_000;
const PERIOD: i64 = 1_000;
/// No multiple of the period.
const BUFFER: i64 = 40_500;

/// The part in the session: alsa-lib reads its configuration once per process, so it is one of its own.
#[test]
#[ignore = "run by the other, which provides the source"]
fn a_program_that_polls() {
    let pcm = PCM::new(&std::env::var("AUDERA_TEST_PCM").unwrap(), Direction::Capture, true).unwrap();
    let hw = HwParams::any(&pcm).unwrap();
    hw.set_access(Access::RWInterleaved).unwrap();
    hw.set_format(Format::S32LE).unwrap();
    hw.set_channels(2).unwrap();
    hw.set_rate(RATE, ValueOr::Nearest).unwrap();
    hw.set_period_size(PERIOD, ValueOr::Nearest).unwrap();
    hw.set_buffer_size(BUFFER).unwrap();
    pcm.hw_params(&hw).unwrap();
    drop(hw);
    let sw = pcm.sw_params_current().unwrap();
    sw.set_avail_min(PERIOD).unwrap();
    pcm.sw_params(&sw).unwrap();
    drop(sw);
    let io = pcm.io_i32().unwrap();
    let mut file = std::fs::File::create(std::env::var_os("AUDERA_TEST_FILE").unwrap()).unwrap();
    let mut descriptors = pcm.get().unwrap();
    assert_eq!(poll(&mut descriptors, 0).unwrap(), 0, "nothing is recorded before the start");
    pcm.start().unwrap();
    let mut frames = vec![0; 2 * PERIOD as usize];
    // All there is, until it would have to wait.
    let mut take = || {
        let mut taken = 0;
        loop {
            match io.readi(&mut frames) {
                Ok(count) => {
                    let bytes: Vec<u8> = frames[..2 * count].iter().flat_map(|sample| sample.to_le_bytes()).collect();
                    file.write_all(&bytes).unwrap();
                    taken += count;
                }
                Err(error) => {
                    assert_eq!(error.errno(), libc::EAGAIN);
                    return taken;
                }
            }
        }
    };
    let mut recorded = take();
    let mut early = 0;
    while recorded < 3 * RATE as usize {
        poll(&mut descriptors, -1).unwrap();
        let events = pcm.revents(&descriptors).unwrap();
        assert!(!events.contains(alsa::poll::Flags::ERR), "{events:?}");
        if !events.contains(alsa::poll::Flags::IN) {
            early += 1;
            continue;
        }
        let waiting = pcm.avail_update().unwrap();
        assert!(waiting >= PERIOD, "woken for {waiting} frames");
        let delay = pcm.delay().unwrap();
        assert!(delay >= waiting, "{delay} {waiting}");
        recorded += take();
    }
    println!("{recorded} frames, woken early {early} times");
    assert!(early * 10 <= recorded / PERIOD as usize, "woken early {early} times");
}

/// What this process holds: threads, and descriptors.
fn held() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Another part in the session.
#[test]
#[ignore = "run by the other, which provides the source"]
fn a_program_that_opens_often() {
    let open = || PCM::new(&std::env::var("AUDERA_TEST_PCM").unwrap(), Direction::Capture, false).unwrap();
    drop(open());
    let before = held();
    for _ in 0..20 {
        let both = [open(), open()];
        // One network thread, however many there are.
        assert!(held().0 <= before.0 + 2, "{:?} {before:?}", held());
        drop(both);
    }
    assert_eq!(held(), before);
}

/// Runs a part in the session.
pub fn begin(studio: &Studio, part: &str, pcm: &str) -> Process {
    let mut command = studio.session.command(std::env::current_exe().unwrap());
    command.args(["--exact", part, "--ignored", "--nocapture"]);
    command.env("AUDERA_TEST_PCM", pcm).env("AUDERA_TEST_FILE", studio.session.dir().join("polled.raw"));
    studio.session.spawn(command).unwrap()
}

/// Waits until it has ended.
pub fn finish(mut program: Process) {
    let ended = program.wait(Duration::from_secs(60)).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{}", program.output());
}

/// What the one that polls has recorded.
pub fn recording(studio: &Studio) -> Recording {
    Recording::read(&studio.session.dir().join("polled.raw"))
}

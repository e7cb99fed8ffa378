//! The plugin as a guest: what it leaves behind in a process, and what a process may do to it.

use std::time::{Duration, Instant};
use std::{fs, thread};

use alsa_sys as raw;

use crate::alsa::{Pcm, Wish};
use crate::house::{House, clip, is_program};

/// Bytes that this process has allocated and not freed. The C library counts what a thread keeps in a cache of its own as well, so that has to be
/// switched off ([`NO_CACHES`]).
fn allocated() -> i64 {
    // SAFETY: takes nothing.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as i64
}

/// Less than this an open and close may leave behind on average: the least that malloc gives for anything, so less than any object that could be
/// forgotten.
const MOST_LEFT: i64 = 32;
/// Memory in KiB that may be taken for good, of which what is written to by chance is most: pages are not given back one by one.
const MOST_TAKEN: u64 = 4_096;

/// What keeps the C library from such caches. With them the main thread kept 14 kB in twenty lives of the network thread, 26 kB in a hundred.
const NO_CACHES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// Does something so often that what is set up once is set up, and then so many `times` in two rounds. What is left behind each time: in the round that
/// leaves less, since now and then something is set up late, and once.
/// Streams close behind the application's back: `held` is what is held once they have.
fn left_by(times: i64, held: (usize, usize, u64), mut what: impl FnMut(i64)) -> i64 {
    (0..times / 4).for_each(&mut what);
    settled(held);
    let mut round = || {
        let before = allocated();
        (0..times / 2).for_each(&mut what);
        settled(held);
        let after = allocated();
        println!("{} times: {before} bytes before, {after} after", times / 2);
        (after - before) / (times / 2)
    };
    round().min(round())
}

/// Threads, descriptors and resident memory in KiB of this process. Helpers do not count, which come and go.
fn usage() -> (usize, usize, u64) {
    let entries = |path: &str| fs::read_dir(path).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = resident.split_whitespace().next().unwrap().parse().unwrap();
    let threads = threads().iter().filter(|(name, _)| name != HELPER).count();
    (threads, entries("/proc/self/fd"), resident)
}

/// The same once threads and descriptors have been as many for a while: the first time that a room is met, it is written down by a thread which
/// may end a little later.
fn calm() -> (usize, usize, u64) {
    let (mut last, mut since) = (usage(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        thread::sleep(Duration::from_millis(5));
        let now = usage();
        if (now.0, now.1) != (last.0, last.1) {
            since = Instant::now();
        }
        last = now;
    }
    last
}

/// The same once threads and descriptors are what they were `before` and no helper is left, or a while has passed: streams close behind the
/// application's back, and helpers stay for a moment.
fn settled(before: (usize, usize, u64)) -> (usize, usize, u64) {
    let limit = Instant::now() + Duration::from_secs(15);
    let helps = || our_threads().iter().any(|(name, _)| name == HELPER);
    while Instant::now() < limit && ((usage().0, usage().1) != (before.0, before.1) || helps()) {
        thread::sleep(Duration::from_millis(5));
    }
    usage()
}

/// The network thread.
const NETWORK: &str = "audera-net";
/// A thread that does for it what takes time.
const HELPER: &str = "audera-helper";

/// The threads of this process, and the signals that each has blocked.
fn threads() -> Vec<(String, u64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let read = |path: &std::path::Path, what: &str| fs::read_to_string(path.join(what)).unwrap_or_default();
    tasks
        .map(|task| task.path())
        .map(|path| {
            let status = read(&path, "status");
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or("0").trim();
            (read(&path, "comm").trim().to_owned(), u64::from_str_radix(blocked, 16).unwrap())
        })
        .collect()
}

/// Those that are ours: the network thread, and its helpers for as long as they have something to do.
fn our_threads() -> Vec<(String, u64)> {
    threads().into_iter().filter(|(name, _)| name.starts_with("audera")).collect()
}

/// How many of them are network threads. A helper that has just been made is called like the one that has made it, for a moment.
fn networks() -> usize {
    let count = || our_threads().iter().filter(|(name, _)| name == NETWORK).count();
    let limit = Instant::now() + Duration::from_secs(15);
    while Instant::now() < limit && count() > 1 {
        thread::sleep(Duration::from_millis(5));
    }
    count()
}

/// Waits until none of them is left: a helper ends behind the application's back, and the kernel shows a thread for a moment after its end.
fn are_gone() -> bool {
    let limit = Instant::now() + Duration::from_secs(15);
    while Instant::now() < limit && !our_threads().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    our_threads().is_empty()
}

/// The program: everything in one process that a guest must survive.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn program() {
    if !is_program() {
        return;
    }
    let foreign = threads().len();
    let begun = Instant::now();
    drop(Pcm::new("raw:Kitchen", Wish::USUAL));
    println!("the first open and close take {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    assert!(are_gone(), "{:?} when nothing is open", our_threads());
    let nothing = calm();

    // Whole lives of the network thread.
    let begun = Instant::now();
    let lives = std::env::var("AUDERA_TEST_LIVES").map_or(20, |lives| lives.parse().unwrap());
    let left = left_by(lives, nothing, |_| drop(Pcm::new("raw:Kitchen", Wish::USUAL)));
    let after = settled(nothing);
    println!("{lives} and a quarter in {:.2} s: {nothing:?} before, {after:?} after", begun.elapsed().as_secs_f64());
    assert_eq!((nothing.0, nothing.1), (after.0, after.1), "threads, descriptors");
    assert!(left < MOST_LEFT, "{left} bytes are left by each life");
    assert!(after.2 < nothing.2 + MOST_TAKEN, "memory");

    // Many opens beside one that stays: they share its thread.
    let stays = Pcm::new("raw:Kitchen", Wish::USUAL);
    assert_eq!(threads().iter().filter(|(name, _)| !name.starts_with("audera")).count(), foreign, "{:?}", threads());
    // All but SIGKILL and SIGSTOP, which cannot be, and the two that the C library keeps for itself.
    let must: u64 = !(1 << (libc::SIGKILL - 1)) & !(1 << (libc::SIGSTOP - 1)) & !(0b11 << 31);
    for (name, blocked) in our_threads() {
        assert_eq!(blocked & must, must, "{name}: {blocked:x}");
    }
    let before = usage();
    let begun = Instant::now();
    let left = left_by(800, before, |n| {
        let pcm = Pcm::new("raw:Kitchen", Wish::USUAL);
        if n % 100 == 0 {
            pcm.write(&[vec![0.1; 480], vec![0.1; 480]]).unwrap();
            pcm.start().unwrap();
        }
    });
    let after = settled(before);
    println!(
        "1000 opens beside one that stays in {:.2} s: {before:?} before, {after:?} after",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!((before.0, before.1), (after.0, after.1), "threads, descriptors");
    assert!(left < MOST_LEFT, "{left} bytes are left by each open");
    assert!(after.2 < before.2 + MOST_TAKEN, "memory");

    // Many at once. What they take is given back, or at least taken again.
    let at_once = || {
        let many: Vec<Pcm> = (0..32).map(|_| Pcm::new("raw:Kitchen", Wish::USUAL)).collect();
        assert_eq!(networks(), 1);
        drop(many);
        settled(before)
    };
    let (first, second) = (at_once(), at_once());
    println!("32 at once: {first:?} after, {second:?} after they were there again");
    assert_eq!((first.0, first.1), (second.0, second.1), "threads, descriptors");
    assert!(second.2 < first.2 + MOST_TAKEN, "memory");

    // What other definitions look for, the same thread does.
    let elsewhere = Pcm::new("elsewhere:Kitchen", Wish::USUAL);
    assert_eq!(networks(), 1);
    drop(elsewhere);

    // Configuration that is freed takes nothing away that still runs.
    // SAFETY: takes nothing; alsa-lib loads the configuration again when it needs it.
    unsafe { assert_eq!(raw::snd_config_update_free_global(), 0) };
    stays.write(&clip(51, 48_000, 2, 0.3)).unwrap();
    fork(&stays);
    stays.drain().unwrap();
    // In place of a panic that leaves the plugin.
    drop(stays);
    // SAFETY: as above.
    unsafe { raw::snd_config_update_free_global() };
    assert!(are_gone(), "{:?}", our_threads());
}

/// A child has its parent's PCM, and nothing of what is behind it; its own it may open.
fn fork(parents: &Pcm) {
    // SAFETY: the child does what is said below and leaves without unwinding.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let written = parents.write(&[vec![0.0; 480], vec![0.0; 480]]);
        let (drained, state) = (parents.drain(), parents.state());
        let own = Pcm::open("raw:Kitchen", 0).is_ok();
        let threads = our_threads();
        println!(
            "a child is told {written:?}, {drained:?}, state {state}; opens its own: {own}, and then has {threads:?}"
        );
        let refused = written == Err(-libc::ENODEV) && drained.is_err() && state == raw::SND_PCM_STATE_DISCONNECTED;
        let good = refused && own && threads.is_empty();
        // SAFETY: ends this process and nothing else.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child's number and a place for how it ended.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child");
}

/// `AUDERA_TEST_LIVES=1000` has the network thread live so often, which takes a minute or two.
#[test]
fn nothing_is_left_behind_and_nothing_is_in_the_way() {
    let Some(house) = House::start() else { return };
    let _room = house.room("Kitchen", &[]);
    let said = house.run(house.program("guest::program", &[NO_CACHES]));
    println!("{said}");
    // Standard output and error are one log: the test harness's own lines and those of the program are all there is.
    let foreign: Vec<&str> = said.lines().filter(|line| line.contains("ALSA") || line.contains("audera:")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

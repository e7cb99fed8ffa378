//! Every way in which an application can write, with every format, several rates, and one to eight channels: after the plan of alsa-lib's own
//! `test/pcm.c`, whose methods are named here as there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alsa_sys as raw;

use crate::alsa::{FLOAT, MMAP, MMAP_PLANES, Pcm, RW, RW_PLANES, S16, S24, S24_3, S32, Wish};
use crate::house::{House, clip, heard, is_program};

/// How an application writes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    /// Blocking calls.
    Write,
    /// Non-blocking calls, after polling the PCM's descriptors.
    WriteAndPoll,
    /// Into the mapped buffer, waiting with `snd_pcm_wait`.
    Direct,
    /// Into the mapped buffer, after polling.
    DirectAndPoll,
    /// Blocking calls that write into the mapped buffer.
    DirectWrite,
}
use Method::{Direct, DirectAndPoll, DirectWrite, Write, WriteAndPoll};

/// One way.
#[derive(Clone, Copy, Debug)]
struct Way {
    pcm: &'static str,
    method: Method,
    wish: Wish,
}

const fn way(pcm: &'static str, method: Method, access: u32, sound: (i32, u32, u32), period: u64, buffer: u64) -> Way {
    let (format, rate, channels) = sound;
    Way { pcm, method, wish: Wish { access, format, channels, rate, period, buffer, start: None } }
}

/// For each room, what is played to it, one after the other, while the others are played to as well. Periods and buffers are what programs
/// ask for, and what divides nothing.
const ROOMS: [&[Way]; 4] = [
    &[
        way("audera", Write, RW, (S16, 48_000, 2), 5_512, 22_050),
        way("audera", WriteAndPoll, RW, (S16, 44_100, 2), 1_024, 4_096),
        way("audera", Direct, MMAP, (S16, 48_000, 2), 960, 3_840),
        way("audera", DirectAndPoll, MMAP_PLANES, (S16, 44_100, 2), 1_000, 7_777),
        way("audera", Write, RW_PLANES, (FLOAT, 48_000, 2), 999, 5_000),
    ],
    &[
        way("raw", Write, RW, (S24, 48_000, 2), 1_024, 4_096),
        way("raw", WriteAndPoll, RW, (S24_3, 96_000, 2), 4_000, 16_001),
        way("raw", Direct, MMAP, (S32, 44_100, 2), 1_000, 9_000),
        way("raw", DirectAndPoll, MMAP, (FLOAT, 96_000, 2), 2_048, 8_192),
        way("raw", DirectWrite, MMAP, (S16, 44_100, 2), 441, 4_410),
    ],
    &[
        way("raw", Write, RW, (S16, 48_000, 1), 1_024, 8_192),
        way("raw", Write, RW, (S16, 48_000, 6), 1_024, 8_192),
        way("raw", Direct, MMAP, (S24, 48_000, 8), 1_024, 8_192),
        way("audera", Write, RW_PLANES, (S32, 44_100, 5), 1_024, 8_192),
        way("raw", WriteAndPoll, RW, (FLOAT, 96_000, 7), 1_024, 16_384),
    ],
    &[
        way("audera", DirectWrite, MMAP_PLANES, (S24_3, 48_000, 4), 700, 9_999),
        way("raw", Write, RW, (S24_3, 44_100, 3), 1_024, 8_192),
        way("audera", Write, RW, (S16, 192_000, 2), 9_600, 48_000),
        way("audera", WriteAndPoll, RW_PLANES, (S24, 88_200, 1), 2_000, 20_000),
        way("raw", DirectAndPoll, MMAP, (S32, 48_000, 2), 64, 4_800),
    ],
];

const SECONDS: f64 = 0.5;

/// A machine that is held up for longer than a buffer lasts makes an xrun, which is not what this is about: then it is tried again.
const ATTEMPTS: u64 = 6;

fn seed(room: usize, way: usize, attempt: u64) -> u64 {
    1 + (room as u64 * 100 + way as u64) * 10 + attempt
}

fn source(seed: u64, wish: &Wish) -> Vec<Vec<f32>> {
    clip(seed, wish.rate, wish.channels as usize, SECONDS)
}

/// How late a thread that has nothing else to do was woken, and when: what this machine has done to all threads.
struct Witness(Mutex<Vec<(Instant, Duration)>>);

impl Witness {
    const PAUSE: Duration = Duration::from_millis(5);

    fn watch(&self, until: &AtomicBool) {
        while !until.load(Ordering::Relaxed) {
            let slept = Instant::now();
            thread::sleep(Self::PAUSE);
            let late = slept.elapsed() - Self::PAUSE;
            if late > Self::PAUSE {
                self.0.lock().unwrap().push((Instant::now(), late));
            }
        }
    }

    /// The worst since then.
    fn worst_since(&self, begun: Instant) -> Duration {
        let late = self.0.lock().unwrap();
        late.iter().filter(|(woken, _)| *woken >= begun).map(|(_, late)| *late).max().unwrap_or_default()
    }
}

/// A way whose buffer lasts so many times as long as the witness was late is not excused by that.
const EXCUSED: u32 = 8;
/// So many ways are to go through at once, or to have been held up. The witness does not see all that befalls others.
const AT_ONCE: usize = 15;

/// The program: plays all ways in all rooms, and says at which attempt each went through, and whether the machine has held up those before.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn program() {
    if !is_program() {
        return;
    }
    let (witness, done) = (Witness(Mutex::default()), AtomicBool::new(false));
    let play_all = |room: usize| {
        for (n, way) in ROOMS[room].iter().enumerate() {
            let lasts = Duration::from_secs_f64(way.wish.buffer as f64 / f64::from(way.wish.rate));
            let mut held_up = true;
            let through = (0..ATTEMPTS).find(|attempt| {
                let (name, begun) = (format!("{}:Room {room}", way.pcm), Instant::now());
                let source = source(seed(room, n, *attempt), &way.wish);
                let through = play(&Pcm::new(&name, way.wish), way.method, &source);
                held_up &= through || witness.worst_since(begun) * EXCUSED > lasts;
                through
            });
            let through = through.unwrap_or_else(|| panic!("{way:?} never went through"));
            println!("way {room} {n} {through} {}", u8::from(held_up));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| witness.watch(&done));
        let rooms: Vec<_> = (0..ROOMS.len())
            .map(|room| {
                scope.spawn({
                    let play_all = &play_all;
                    move || play_all(room)
                })
            })
            .collect();
        let ended: Vec<_> = rooms.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
}

/// Plays and drains; whether it went through without an xrun.
fn play(pcm: &Pcm, method: Method, channels: &[Vec<f32>]) -> bool {
    let bytes = pcm.wish.bytes(channels);
    let frames = channels[0].len() as u64;
    pcm.set_nonblocking(matches!(method, WriteAndPoll | DirectAndPoll));
    let mut at = 0;
    while at < frames {
        if pcm.state() == raw::SND_PCM_STATE_XRUN {
            return false;
        }
        let running = pcm.state() == raw::SND_PCM_STATE_RUNNING;
        // Applications wait before they have started as well: there is room, so it does not take long.
        match method {
            WriteAndPoll | DirectAndPoll if pcm.poll() & libc::POLLERR != 0 => return false,
            Direct if running && pcm.wait().is_err() => return false,
            _ => {}
        }
        let most = (frames - at).min(pcm.period);
        let done = match method {
            Write | WriteAndPoll => pcm.write_once(&bytes, at, most),
            DirectWrite => {
                let frame = pcm.wish.width() * pcm.wish.channels as usize;
                if bytes.len() == 1 {
                    let from = bytes[0][at as usize * frame..].as_ptr();
                    // SAFETY: so many frames are there.
                    crate::alsa::count(unsafe { raw::snd_pcm_mmap_writei(pcm.raw, from.cast(), most) })
                } else {
                    let width = pcm.wish.width();
                    let mut planes: Vec<_> =
                        bytes.iter().map(|plane| plane[at as usize * width..].as_ptr().cast_mut().cast()).collect();
                    // SAFETY: so many frames are in each plane.
                    crate::alsa::count(unsafe { raw::snd_pcm_mmap_writen(pcm.raw, planes.as_mut_ptr(), most) })
                }
            }
            Direct | DirectAndPoll => pcm.avail().and_then(|_| pcm.mmap_once(&bytes, at, most)),
        };
        match done {
            Ok(0) if matches!(method, Direct | DirectAndPoll) => {
                // Full: who writes into the buffer has to start it.
                if pcm.state() == raw::SND_PCM_STATE_PREPARED {
                    pcm.start().unwrap();
                }
            }
            Ok(done) => at += done,
            Err(errno) if errno == -libc::EAGAIN => {}
            Err(errno) if errno == -libc::EPIPE => return false,
            Err(errno) => panic!("{method:?} {:?}: {errno}", pcm.wish),
        }
        let full = pcm.state() == raw::SND_PCM_STATE_PREPARED && at + pcm.period > pcm.buffer;
        if full && matches!(method, Direct | DirectAndPoll) {
            pcm.start().unwrap();
        }
    }
    pcm.set_nonblocking(false);
    pcm.drain().unwrap();
    pcm.state() == raw::SND_PCM_STATE_SETUP
}

#[test]
fn everything_that_is_written_is_heard_however_it_is_written() {
    let Some(house) = House::start() else { return };
    let rooms: Vec<_> = (0..ROOMS.len()).map(|n| house.room(&format!("Room {n}"), &[])).collect();
    let said = house.run(house.program("matrix::program", &[]));
    let attempts: Vec<Vec<u64>> = said
        .lines()
        .filter_map(|line| line.strip_prefix("way "))
        .map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect())
        .collect();
    assert_eq!(attempts.len(), ROOMS.iter().map(|ways| ways.len()).sum::<usize>(), "{said}");
    let (first, excused): (Vec<_>, Vec<_>) =
        attempts.iter().filter(|way| way[2] == 0 || way[3] == 1).partition(|way| way[2] == 0);
    println!("{} of {} ways went through at once; {} were held up", first.len(), attempts.len(), excused.len());
    assert!(first.len() + excused.len() >= AT_ONCE, "{said}");
    // Of each method one at least: a method that never goes through is not to hide among the others.
    for method in [Write, WriteAndPoll, Direct, DirectAndPoll, DirectWrite] {
        let is_of = |way: &&&Vec<u64>| ROOMS[way[0] as usize][way[1] as usize].method == method;
        assert!(first.iter().chain(&excused).any(|way| is_of(&way)), "{method:?}: {said}");
    }
    for (room, recording) in rooms.into_iter().enumerate() {
        let sounds = recording.finish();
        for attempt in attempts.iter().filter(|attempt| attempt[0] == room as u64) {
            let (n, attempt) = (attempt[1] as usize, attempt[2]);
            let way = ROOMS[room][n];
            let source = source(seed(room, n, attempt), &way.wish);
            let (rate, count) = (way.wish.rate, source.len());
            let of_format = sounds.iter().filter(|sound| sound.rate == rate && sound.channels.len() == count);
            for (channel, source) in source.iter().enumerate() {
                let place = place_in_stream(channel, count);
                let found = of_format.clone().filter_map(|sound| heard(&sound.channels[place], source, rate));
                let best = found.max_by(|a, b| a.worst.total_cmp(&b.worst));
                println!("room {room} way {n} attempt {attempt} channel {channel}: {best:?}");
                assert!(best.is_some_and(|heard| heard.is_whole()), "{way:?} channel {channel}: {best:?}");
            }
        }
    }
}

/// Which channel of a stream is that of an application that writes them in the usual order of ALSA.
fn place_in_stream(channel: usize, channels: usize) -> usize {
    let places: &[usize] = match channels {
        5 => &[0, 1, 3, 4, 2],
        6 => &[0, 1, 4, 5, 2, 3],
        7 => &[0, 1, 5, 6, 2, 3, 4],
        8 => &[0, 1, 4, 5, 2, 3, 6, 7],
        _ => return channel,
    };
    places[channel]
}

//! A PCM in every state: what applications are told, and what becomes of the sound.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use alsa_sys as raw;

use crate::alsa::{Pcm, S16, Wish};
use crate::house::{House, Room, clip, heard, is_program, low_clip, sounds};

const RATE: u32 = 48_000;
/// The frames of a packet at this latency: 20 ms.
const PACKET: i64 = RATE as i64 / 50;
/// For how long it is paused.
const PAUSE: Duration = Duration::from_millis(120);

/// What is played in one state; each has a room of its own, in which its clips are looked for.
struct Act {
    name: &'static str,
    play: fn(&str),
    hear: fn(Room),
}

const ACTS: [Act; 12] = [
    Act { name: "threshold", play: play_threshold, hear: |room| hear_all(room, &[1]) },
    Act { name: "pause", play: play_pause, hear: hear_pause },
    Act { name: "drop", play: play_drop, hear: hear_drop },
    Act { name: "xrun", play: play_xrun, hear: |room| hear_until_broken_off(room, &[7, 8], 1) },
    Act { name: "nonblock", play: play_nonblock, hear: hear_nonblock },
    Act { name: "short", play: play_short, hear: |room| hear_all(room, &[11, 12]) },
    Act { name: "rewind", play: play_rewind, hear: hear_rewind },
    Act { name: "take back", play: play_take_back, hear: hear_take_back },
    Act { name: "endless", play: play_endless, hear: |room| hear_all(room, &[15, 16]) },
    Act { name: "drop a drain", play: play_drop_a_drain, hear: |room| drop(room.finish()) },
    Act { name: "channels", play: play_channels, hear: hear_channels },
    Act { name: "opus", play: play_opus, hear: hear_opus },
];

fn sound(seed: u64, seconds: f64) -> Vec<Vec<f32>> {
    clip(seed, RATE, 2, seconds)
}

/// Length of most clips, in seconds.
const USUAL: f64 = 0.4;
/// Of one that is longer than the buffer it goes through.
const LONG: f64 = 0.9;

/// The program: all acts at once, each in its own room.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn program() {
    if !is_program() {
        return;
    }
    let acts = ACTS.iter().map(|act| thread::spawn(|| (act.play)(&format!("raw:{}", act.name))));
    acts.collect::<Vec<_>>().into_iter().for_each(|act| act.join().unwrap());
}

#[test]
fn a_pcm_does_in_every_state_what_applications_expect() {
    let Some(house) = House::start() else { return };
    let rooms: Vec<Room> = ACTS.iter().map(|act| house.room(act.name, &[])).collect();
    house.run(house.program("states::program", &[]));
    for (act, room) in ACTS.iter().zip(rooms) {
        println!("{}", act.name);
        (act.hear)(room);
    }
}

/// All clips are there whole, in their order, with both channels.
fn hear_all(room: Room, seeds: &[u64]) {
    hear_until_broken_off(room, seeds, 0);
}

/// The same, but that nothing followed the first so many clips in time: of these the player fades out the last 3 ms.
fn hear_until_broken_off(room: Room, seeds: &[u64], broken_off: usize) {
    const FADE: usize = 144;
    let sounds = room.finish();
    let mut last = 0;
    for (nth, seed) in seeds.iter().enumerate() {
        for (channel, mut source) in sound(*seed, USUAL).into_iter().enumerate() {
            if nth < broken_off {
                let end = source.iter_mut().rev().take(FADE).enumerate();
                end.for_each(|(left, sample)| *sample *= left as f32 / FADE as f32);
            }
            let heard = heard(&sounds[0].channels[channel], &source, RATE);
            println!("clip {seed} channel {channel}: {heard:?}");
            let heard =
                heard.filter(crate::house::Heard::is_whole).unwrap_or_else(|| panic!("clip {seed} is not whole"));
            assert!(heard.at >= last, "clip {seed} comes too early");
            last = heard.at;
        }
    }
}

/// It starts by itself when the threshold is reached, and not before; htimestamps follow each other.
fn play_threshold(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(9_600), ..Wish::USUAL });
    let clip = sound(1, USUAL);
    let part = |from: usize, to: usize| clip.iter().map(|channel| channel[from..to].to_vec()).collect::<Vec<_>>();
    assert_eq!((pcm.state(), pcm.avail()), (raw::SND_PCM_STATE_PREPARED, Ok(pcm.buffer)));
    pcm.write(&part(0, 9_599)).unwrap();
    thread::sleep(PAUSE);
    assert_eq!((pcm.state(), pcm.avail()), (raw::SND_PCM_STATE_PREPARED, Ok(pcm.buffer - 9_599)));
    pcm.write(&part(9_599, 9_600)).unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_RUNNING);
    pcm.write(&part(9_600, clip[0].len())).unwrap();
    let mut last = pcm.status();
    let (mut looks, mut agreeing) = (0, 0);
    while last.avail < pcm.buffer - 2_400 {
        thread::sleep(Duration::from_millis(1));
        let status = pcm.status();
        assert!(status.stamp >= last.stamp && status.avail >= last.avail, "{last:?} {status:?}");
        // Between two statuses as much has been heard as there was time, to half a millisecond.
        let heard = last.delay - status.delay;
        let passed = (status.stamp - last.stamp) as f64 * 1e-9 * f64::from(RATE);
        // Unless this thread was held up between a position and its time stamp.
        looks += 1;
        agreeing += i32::from((heard as f64 - passed).abs() < 24.0);
        last = status;
    }
    assert!(looks > 10 && agreeing * 10 >= looks * 9, "{agreeing} of {looks}");
    pcm.drain().unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_SETUP);
}

/// A pause keeps everything as it is, and nothing is lost by it.
fn play_pause(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(1), ..Wish::USUAL });
    pcm.write(&sound(3, USUAL)).unwrap();
    until(&pcm, 0.15);
    pcm.pause(true).unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_PAUSED);
    let (avail, held) = (pcm.avail(), pcm.delay().unwrap());
    thread::sleep(PAUSE);
    let delay = pcm.delay();
    // What the last packets are filled with is heard meanwhile: that which was under way, and one for what an encoder keeps back.
    let filled = held - delay.unwrap();
    assert!((0..=2 * PACKET).contains(&filled), "{filled} frames less to be waited for in a pause");
    thread::sleep(PAUSE / 10);
    assert_eq!((pcm.avail(), pcm.delay()), (avail, delay));
    pcm.pause(false).unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_RUNNING);
    pcm.drain().unwrap();
    // From a pause everything can be dropped too.
    pcm.prepare().unwrap();
    pcm.write(&sound(4, USUAL)).unwrap();
    // Held for a moment only: what the last packet lasts until is waited for, and told before.
    until(&pcm, 0.05);
    pcm.pause(true).unwrap();
    let (looked, held) = (Instant::now(), pcm.delay().unwrap());
    pcm.pause(false).unwrap();
    let released = pcm.delay().unwrap();
    let passed = (looked.elapsed().as_secs_f64() * f64::from(RATE)) as i64;
    assert!((held - passed - 240..held + 240).contains(&released), "{held} and then {released}, {passed} frames later");
    pcm.pause(true).unwrap();
    pcm.stop().unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_SETUP);
}

fn hear_pause(room: Room) {
    let recording = room.finish().remove(0).channels.remove(0);
    let source = sound(3, USUAL).remove(0);
    let parts = sounds(&recording, RATE);
    println!("{parts:?}");
    let [first, second, ..] = &parts[..] else { panic!("two parts: {parts:?}") };
    let length = first.len() + second.len();
    // Each part begins and ends with the resampler's ringing, and is stretched a little.
    assert!(length.abs_diff(source.len()) < 300, "{length} of {} frames are heard", source.len());
    let silence = second.start - first.end;
    assert!(silence as f64 >= PAUSE.as_secs_f64() * f64::from(RATE) - 200.0, "{silence} frames of silence");
    let cut = first.len().min(source.len() - 1_000);
    for (part, from) in [(first, 0), (second, cut)] {
        let to = (from + part.len() - 480).min(source.len() - 480);
        // The second part's first frame is known to some frames only.
        let found = (from.saturating_sub(150)..=from + 150)
            .map(|from| {
                crate::house::likeness(
                    &recording,
                    (part.start + 480) as isize,
                    &source[from + 480..to.min(from + 3_000)],
                )
            })
            .fold(0.0, f64::max);
        assert!(found > 0.9, "from {from}: {found}");
    }
}

/// Waits until so many seconds have left the buffer.
fn until(pcm: &Pcm, seconds: f64) {
    let limit = Instant::now() + Duration::from_secs(20);
    let begun = pcm.avail().unwrap();
    while pcm.avail().unwrap() < begun + (seconds * f64::from(RATE)) as u64 {
        assert!(Instant::now() < limit, "it stands still");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What is dropped is not heard, and what comes after it is heard whole.
fn play_drop(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(1), ..Wish::USUAL });
    pcm.write(&sound(5, USUAL)).unwrap();
    until(&pcm, 0.1);
    pcm.stop().unwrap();
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_SETUP);
    thread::sleep(PAUSE);
    pcm.prepare().unwrap();
    pcm.write(&sound(6, USUAL)).unwrap();
    pcm.drain().unwrap();
    // And it may be set up anew.
    let mut pcm = pcm;
    pcm.set_up(Wish { start: Some(1), period: 1_000, buffer: 30_000, ..Wish::USUAL }).unwrap();
    pcm.write(&sound(20, USUAL)).unwrap();
    pcm.drain().unwrap();
}

fn hear_drop(room: Room) {
    let recording = room.finish().remove(0);
    let length = sounds(&recording.channels[0], RATE)[0].len();
    // The program looks once in a millisecond, if the machine lets it.
    assert!((4_700..19_000).contains(&length), "{length} frames of what was dropped after a tenth of a second");
    for seed in [6, 20] {
        let heard = heard(&recording.channels[0], &sound(seed, USUAL)[0], RATE);
        assert!(heard.is_some_and(|heard| heard.is_whole()), "clip {seed}: {heard:?}");
    }
}

/// Who does not write has an xrun, is woken and told, and can go on.
fn play_xrun(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(1), ..Wish::USUAL });
    pcm.write(&sound(7, USUAL)).unwrap();
    while pcm.state() == raw::SND_PCM_STATE_RUNNING {
        // There is room soon, and in the end the error.
        pcm.poll();
    }
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_XRUN);
    assert_ne!(pcm.poll() & libc::POLLERR, 0);
    assert_eq!(pcm.write(&sound(8, USUAL)), Err(-libc::EPIPE));
    pcm.prepare().unwrap();
    pcm.write(&sound(8, USUAL)).unwrap();
    pcm.drain().unwrap();
}

/// Nothing waits that was told not to.
fn play_nonblock(name: &str) {
    let mut pcm = Pcm::open(name, raw::SND_PCM_NONBLOCK).unwrap();
    pcm.set_up(Wish { period: 1_000, buffer: 24_000, ..Wish::USUAL }).unwrap();
    let bytes = pcm.wish.bytes(&sound(9, LONG));
    let frames = (LONG * f64::from(RATE)) as u64;
    assert_eq!(pcm.write_once(&bytes, 0, frames), Ok(24_000), "as much as there is room for");
    let full = pcm.write_once(&bytes, 24_000, frames - 24_000);
    assert!(full == Err(-libc::EAGAIN) || full.is_ok_and(|frames| frames < 12_000), "{full:?}");
    let mut at = 24_000 + full.unwrap_or(0);
    while at < frames {
        assert_eq!(pcm.poll(), libc::POLLOUT, "the buffer lasts half a second");
        at += pcm.write_once(&bytes, at, frames - at).unwrap();
    }
    assert_eq!(pcm.drain(), Err(-libc::EAGAIN));
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_DRAINING);
    while pcm.drain() == Err(-libc::EAGAIN) {
        pcm.poll();
    }
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_SETUP);
}

fn hear_nonblock(room: Room) {
    let recording = room.finish().remove(0);
    for (channel, source) in sound(9, LONG).iter().enumerate() {
        let heard = heard(&recording.channels[channel], source, RATE);
        assert!(heard.is_some_and(|heard| heard.is_whole()), "{heard:?}");
    }
}

/// What does not reach the threshold is heard by draining; and draining twice is nothing.
fn play_short(name: &str) {
    let pcm = Pcm::new(name, Wish::USUAL);
    for seed in [11, 12] {
        pcm.write(&sound(seed, USUAL)).unwrap();
        assert_eq!(pcm.state(), raw::SND_PCM_STATE_PREPARED);
        pcm.drain().unwrap();
        assert_eq!(pcm.state(), raw::SND_PCM_STATE_SETUP);
        pcm.prepare().unwrap();
    }
    pcm.drain().unwrap();
}

/// What has not left the buffer can be taken back and replaced.
fn play_rewind(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(48_000), ..Wish::USUAL });
    pcm.write(&sound(13, USUAL)).unwrap();
    assert_eq!(pcm.rewind(9_600), Ok(9_600));
    pcm.write(&sound(14, USUAL)).unwrap();
    pcm.start().unwrap();
    pcm.drain().unwrap();
    // Taken back, and nothing in its place.
    pcm.prepare().unwrap();
    pcm.write(&sound(18, USUAL)).unwrap();
    pcm.write(&sound(13, USUAL)).unwrap();
    let frames = (USUAL * f64::from(RATE)) as u64;
    assert_eq!(pcm.rewind(frames), Ok(frames));
    pcm.drain().unwrap();
}

fn hear_rewind(room: Room) {
    let recording = room.finish().remove(0);
    for channel in 0..2 {
        let mut expected = sound(13, USUAL)[channel][..9_600].to_vec();
        expected.extend(&sound(14, USUAL)[channel]);
        let found = heard(&recording.channels[channel], &expected, RATE);
        assert!(found.is_some_and(|heard| heard.is_whole()), "{found:?}");
        let last = heard(&recording.channels[channel], &sound(18, USUAL)[channel], RATE);
        assert!(last.is_some_and(|heard| heard.is_whole()), "{last:?}");
        let sounds = sounds(&recording.channels[channel], RATE);
        assert!(sounds.len() == 2 && sounds[1].len() < 20_000, "what was taken back is heard: {sounds:?}");
    }
}

/// What is taken back is not heard, also when nothing comes in its place.
fn play_take_back(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(48_000), ..Wish::USUAL });
    pcm.write(&sound(18, USUAL)).unwrap();
    assert_eq!(pcm.rewind(9_600), Ok(9_600));
    pcm.start().unwrap();
    pcm.drain().unwrap();
}

fn hear_take_back(room: Room) {
    let recording = room.finish().remove(0);
    let played = &recording.channels[0];
    let heard = heard(played, &sound(18, USUAL)[0][..9_600], RATE);
    assert!(heard.as_ref().is_some_and(crate::house::Heard::is_whole), "{heard:?}");
    let sounding: usize = sounds(played, RATE).into_iter().map(|sound| sound.len()).sum();
    assert!((9_500..10_000).contains(&sounding), "{sounding} frames are heard");
}

/// Who wants no xrun has none: what is missing is silence, and what comes is heard when it is due.
fn play_endless(name: &str) {
    let pcm = Pcm::new(name, Wish { start: Some(1), ..Wish::USUAL });
    pcm.set_endless();
    pcm.write(&sound(15, USUAL)).unwrap();
    let frames = (USUAL * f64::from(RATE)) as i64;
    while pcm.delay().unwrap() > frames - i64::from(RATE) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pcm.state(), raw::SND_PCM_STATE_RUNNING);
    // Behind by now; an application catches up by what it is behind, and some more.
    let behind = pcm.avail().unwrap().saturating_sub(pcm.buffer);
    let silence = vec![vec![0.0; behind as usize + 9_600]; 2];
    pcm.write(&silence).unwrap();
    pcm.write(&sound(16, USUAL)).unwrap();
    pcm.drain().unwrap();
}

/// A drop ends a drain that another thread waits in.
fn play_drop_a_drain(name: &str) {
    let pcm = Arc::new(Pcm::new(name, Wish { buffer: 200_000, ..Wish::USUAL }));
    pcm.write(&sound(17, 4.0)).unwrap();
    let draining = thread::spawn({
        let pcm = pcm.clone();
        move || pcm.drain()
    });
    while pcm.state() != raw::SND_PCM_STATE_DRAINING {
        thread::sleep(Duration::from_millis(1));
    }
    let dropped = Instant::now();
    pcm.stop().unwrap();
    let _ = draining.join().unwrap();
    // A drain would have taken four seconds.
    assert!(dropped.elapsed() < Duration::from_secs(3), "{:?}", dropped.elapsed());
}

/// The maps that are offered, and a stereo that was swapped.
fn play_channels(name: &str) {
    let pcm = Pcm::new(name, Wish { format: S16, ..Wish::USUAL });
    // SAFETY: a live PCM; what it gives is read as alsa-lib documents it, and freed.
    unsafe {
        let maps = raw::snd_pcm_query_chmaps(pcm.raw);
        assert!(!maps.is_null());
        let offered: Vec<u32> =
            (0..).map(|n| *maps.add(n)).take_while(|map| !map.is_null()).map(|map| (*map).map.channels).collect();
        assert_eq!(offered, [1, 2, 3, 4, 5, 6, 7, 8]);
        raw::snd_pcm_free_chmaps(maps);
        assert_eq!(map(&pcm), [raw::SND_CHMAP_FL, raw::SND_CHMAP_FR]);
        let mut swapped = [2, raw::SND_CHMAP_FR, raw::SND_CHMAP_FL];
        assert_eq!(raw::snd_pcm_set_chmap(pcm.raw, swapped.as_mut_ptr().cast()), 0);
        assert_eq!(map(&pcm), [raw::SND_CHMAP_FR, raw::SND_CHMAP_FL]);
        let mut wrong = [2, raw::SND_CHMAP_FL, raw::SND_CHMAP_LFE];
        assert_eq!(raw::snd_pcm_set_chmap(pcm.raw, wrong.as_mut_ptr().cast()), -libc::EINVAL);
    }
    pcm.write(&sound(19, USUAL)).unwrap();
    pcm.drain().unwrap();
}

/// What Opus keeps back for itself is heard as well when a drain has ended.
fn play_opus(name: &str) {
    let pcm = Pcm::new(&format!("{name},500,60,opus"), Wish::USUAL);
    for seed in [21, 22] {
        pcm.write(&low_clip(seed, RATE, 2, USUAL)).unwrap();
        pcm.drain().unwrap();
        pcm.prepare().unwrap();
    }
    // Of nothing else.
    assert_eq!(
        Pcm::open(&format!("{name},500,60,opus"), 0).unwrap().set_up(Wish { rate: 44_100, ..Wish::USUAL }),
        Err(-libc::EINVAL)
    );
}

fn hear_opus(room: Room) {
    let recording = room.finish().remove(0);
    for seed in [21, 22] {
        for (channel, source) in low_clip(seed, RATE, 2, USUAL).iter().enumerate() {
            let heard = heard(&recording.channels[channel], source, RATE);
            println!("clip {seed} channel {channel}: {heard:?}");
            assert!(heard.is_some_and(|heard| heard.is_whole()), "clip {seed}: {heard:?}");
        }
    }
}

fn map(pcm: &Pcm) -> Vec<u32> {
    // SAFETY: a live PCM; a number and so many positions, to be freed.
    unsafe {
        let map = raw::snd_pcm_get_chmap(pcm.raw).cast::<u32>();
        let positions = std::slice::from_raw_parts(map.add(1), *map as usize).to_vec();
        libc::free(map.cast());
        positions
    }
}

fn hear_channels(room: Room) {
    let recording = room.finish().remove(0);
    for (channel, source) in sound(19, USUAL).iter().enumerate() {
        let heard = heard(&recording.channels[1 - channel], source, RATE);
        assert!(heard.is_some_and(|heard| heard.is_whole()), "{heard:?}");
    }
}

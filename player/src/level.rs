//! Volume, mute and channel mode on the samples, in the audio thread: from one setting to the next by a short ramp.
//!
//! A room at full volume in stereo has its samples left as they are, bit by bit. Where the card's own mixer has a part in the volume, `mixer` says
//! what samples are multiplied by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use audera_wire::{ChannelMode, RoomState, Volume};

use crate::chime::Chime;
use crate::mixer::Orders;

/// Length of a ramp, s: long enough to be no click, short enough to follow a hand on a slider.
const RAMP: f64 = 0.025;

/// What the room's loudness is to be; the audio threads look at it once in each block.
#[derive(Debug)]
pub struct Level {
    packed: AtomicU64,
    /// Silence, whatever word and card's mixer have come to: a driver that hangs is not to keep a room from being mute. Set by who sets the
    /// room, cleared by who speaks with the mixer.
    muted: AtomicBool,
    /// The word whose ramp is over.
    reached: AtomicU64,
    /// Audio threads that look, or are about to.
    levellers: AtomicUsize,
    /// How often the chime was rung, above the bits of its gain.
    chimes: AtomicU64,
    /// Who shares the volume with us, if anybody does.
    mixer: Option<Arc<Orders>>,
}

/// The least volume of a chime in percent, where the room's largest volume allows it: who looks for a room that is mute is to hear it as well.
pub(crate) const LEAST_CHIME: f64 = 40.0;

impl Level {
    /// The level of a state.
    #[must_use]
    pub fn new(state: &RoomState) -> Arc<Self> {
        Self::at(packed(gain_of(state), state.channel_mode), None)
    }

    /// Silence, until the card's mixer has been set, by these orders, and knows what there is left to do.
    #[must_use]
    pub fn behind(mixer: Arc<Orders>) -> Arc<Self> {
        Self::at(packed(0.0, ChannelMode::Stereo), Some(mixer))
    }

    fn at(packed: u64, mixer: Option<Arc<Orders>>) -> Arc<Self> {
        Arc::new(Level {
            packed: AtomicU64::new(packed),
            muted: AtomicBool::new(false),
            reached: AtomicU64::new(packed),
            levellers: AtomicUsize::new(0),
            chimes: AtomicU64::new(0),
            mixer,
        })
    }

    /// Takes the level of another state.
    pub fn set(&self, state: &RoomState) {
        match &self.mixer {
            None => self.put(gain_of(state), state.channel_mode),
            Some(mixer) => {
                // In this order: from here on the desk does not clear the flag, which it does under the orders' lock and by what they say.
                mixer.aim(state);
                if state.mute {
                    self.muted.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Has the chime sound in the room of this state. One that sounds already goes on instead.
    pub fn ring(&self, state: &RoomState) {
        let volume = state.volume.max(Volume::nearest(LEAST_CHIME)).min(state.max_volume);
        match &self.mixer {
            None => self.ring_at(volume.gain()),
            Some(mixer) => mixer.ring(volume),
        }
    }

    /// Has samples multiplied by `gain` from now on. For one thread only.
    pub(crate) fn put(&self, gain: f32, mode: ChannelMode) {
        // One word, so that a gain is never seen with the mode of another. In one order with the number of levellers: who comes now either sees
        // this word or is counted by `has_leveller`.
        let number = (self.packed.load(Ordering::Relaxed) >> NUMBER_SHIFT).wrapping_add(1);
        self.packed.store(packed(gain, mode) | number << NUMBER_SHIFT, Ordering::SeqCst);
    }

    /// Has samples of a room that was mute multiplied by what was put last. Only under the lock of orders that do not say it is mute.
    pub(crate) fn unmute(&self) {
        // Who sees this sees what was put before.
        self.muted.store(false, Ordering::Release);
    }

    /// Has the chime sound, multiplied by `gain`. For one thread only.
    pub(crate) fn ring_at(&self, gain: f32) {
        let rung = (self.chimes.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.chimes.store(rung << 32 | u64::from(gain.to_bits()), Ordering::Relaxed);
    }

    /// Whether an audio thread is there to be heard.
    pub(crate) fn has_leveller(&self) -> bool {
        self.levellers.load(Ordering::SeqCst) > 0
    }

    /// Whether the audio thread multiplies by what was put last; what it has written before is still in its device's buffer.
    pub(crate) fn has_arrived(&self) -> bool {
        self.reached.load(Ordering::Acquire) == self.packed.load(Ordering::Relaxed)
    }
}

/// What samples are multiplied by in this state where software alone does it.
fn gain_of(state: &RoomState) -> f32 {
    if state.mute { 0.0 } else { state.volume.gain() }
}

/// Above the channel mode, each word has a number: a gain that is put again, after another, is another word.
const NUMBER_SHIFT: u32 = 40;

/// Gain in the lower half, channel mode in the eight bits above it.
fn packed(gain: f32, mode: ChannelMode) -> u64 {
    let mode = ChannelMode::ALL.iter().position(|known| *known == mode).unwrap_or(0);
    (mode as u64) << 32 | u64::from(gain.to_bits())
}

/// How channels become channels. With two: left from left, left from right, right from left, right from right. With any other
/// number: each from itself, and each from the mean of all.
type Matrix = [f32; 4];

const SILENCE: Matrix = [0.0; 4];

/// What a word of a [`Level`] means for a device with so many channels.
fn matrix(packed: u64, channels: usize) -> Matrix {
    let gain = f32::from_bits(packed as u32);
    let mode = ChannelMode::ALL.get(usize::from((packed >> 32) as u8)).copied().unwrap_or_default();
    match (channels, mode) {
        (2, ChannelMode::Stereo) => [gain, 0.0, 0.0, gain],
        (2, ChannelMode::Left) => [gain, 0.0, gain, 0.0],
        (2, ChannelMode::Right) => [0.0, gain, 0.0, gain],
        (2, ChannelMode::Mono) => [gain / 2.0; 4],
        (2, ChannelMode::Swapped) => [0.0, gain, gain, 0.0],
        // There is no left and no right to choose among more or fewer.
        (3.., ChannelMode::Mono) => [0.0, gain, 0.0, 0.0],
        _ => [gain, 0.0, 0.0, 0.0],
    }
}

/// The audio thread's end, one for each time that a device is opened.
#[derive(Debug)]
pub struct Leveller {
    level: Arc<Level>,
    channels: usize,
    seen: u64,
    muted: bool,
    now: Matrix,
    goal: Matrix,
    /// Frames until `now` is `goal`.
    left: u32,
    ramp: u32,
    rate: u32,
    /// The word of the chime that sounds, or sounded last.
    rung: u64,
    chime: Option<Chime>,
}

impl Leveller {
    /// For a device with `channels` channels and `rate` frames a second. It begins at the level as it is, without a ramp: nothing was
    /// heard before.
    #[must_use]
    pub fn new(level: Arc<Level>, channels: usize, rate: u32) -> Self {
        level.levellers.fetch_add(1, Ordering::SeqCst);
        let muted = level.muted.load(Ordering::Acquire);
        let seen = level.packed.load(Ordering::SeqCst);
        level.reached.store(seen, Ordering::Release);
        let rung = level.chimes.load(Ordering::Relaxed);
        let now = if muted { SILENCE } else { matrix(seen, channels) };
        let ramp = ((f64::from(rate) * RAMP) as u32).max(1);
        Leveller {
            level,
            channels: channels.max(1),
            seen,
            muted,
            now,
            goal: now,
            left: 0,
            ramp,
            rate,
            rung,
            chime: None,
        }
    }

    /// Brings interleaved samples to the level, and adds the chime while it sounds.
    pub fn apply(&mut self, samples: &mut [f32]) {
        self.scale(samples);
        let rung = self.level.chimes.load(Ordering::Relaxed);
        if rung != self.rung {
            self.rung = rung;
            // One that sounds is not cut off for another.
            self.chime.get_or_insert_with(|| Chime::new(self.rate, f32::from_bits(rung as u32)));
        }
        if self.chime.as_mut().is_some_and(|chime| !chime.add_to(samples, self.channels)) {
            self.chime = None;
        }
    }

    fn scale(&mut self, samples: &mut [f32]) {
        // In this order: the word of a room that is not mute any more is not one from before it was.
        let muted = self.level.muted.load(Ordering::Acquire);
        let wanted = self.level.packed.load(Ordering::Relaxed);
        if (wanted, muted) != (self.seen, self.muted) {
            (self.seen, self.muted) = (wanted, muted);
            let goal = if muted { SILENCE } else { matrix(wanted, self.channels) };
            if goal != self.goal {
                // From wherever a ramp under way has come to.
                self.goal = goal;
                self.left = self.ramp;
            }
        }
        let ramped = (self.left as usize).min(samples.len() / self.channels);
        let (ramp, rest) = samples.split_at_mut(ramped * self.channels);
        for frame in ramp.chunks_exact_mut(self.channels) {
            let part = 1.0 / self.left as f32;
            for (now, goal) in self.now.iter_mut().zip(self.goal) {
                *now += (goal - *now) * part;
            }
            self.left -= 1;
            transform(&self.now, frame);
        }
        // While the room is mute, samples are multiplied by less than the word says, never by more.
        if self.left == 0 {
            self.level.reached.store(self.seen, Ordering::Release);
        }
        if rest.is_empty() {
            return;
        }
        // Rounding must not leave the ramp a hair beside its goal for ever.
        self.now = self.goal;
        match self.now {
            [1.0, 0.0, 0.0, 1.0] if self.channels == 2 => {}
            [1.0, 0.0, 0.0, 0.0] if self.channels != 2 => {}
            [0.0, 0.0, 0.0, 0.0] => rest.fill(0.0),
            now => rest.chunks_exact_mut(self.channels).for_each(|frame| transform(&now, frame)),
        }
    }
}

impl Drop for Leveller {
    fn drop(&mut self) {
        self.level.levellers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn transform(matrix: &Matrix, frame: &mut [f32]) {
    let [a, b, c, d] = *matrix;
    if let [left, right] = frame {
        (*left, *right) = (a * *left + b * *right, c * *left + d * *right);
        return;
    }
    let mean = frame.iter().sum::<f32>() / frame.len() as f32;
    for sample in frame {
        *sample = a * *sample + b * mean;
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;
    use audera_wire::Volume;

    use super::*;

    const RATE: u32 = 48_000;

    fn room(percent: f64) -> RoomState {
        RoomState { volume: Volume::nearest(percent), ..RoomState::new("Kitchen") }
    }

    /// Frames whose channels are 1, 2, 3...
    fn frames(channels: usize, count: usize) -> Vec<f32> {
        (0..count).flat_map(|_| (1..=channels).map(|channel| channel as f32)).collect()
    }

    /// What becomes of the last frame of a second.
    fn settled(state: &RoomState, channels: usize) -> Vec<f32> {
        let level = Level::new(&RoomState::new("before"));
        let mut leveller = Leveller::new(level.clone(), channels, RATE);
        level.set(state);
        let mut samples = frames(channels, RATE as usize);
        samples.chunks_mut(64 * channels).for_each(|block| assert_no_alloc(|| leveller.apply(block)));
        samples.split_off(samples.len() - channels)
    }

    #[test]
    fn full_volume_leaves_every_bit_as_it_is() {
        let mut leveller = Leveller::new(Level::new(&room(100.0)), 2, RATE);
        let odd = [f32::MIN_POSITIVE / 3.0, -0.0, f32::NAN, 1.0e30, -1.0, 0.333];
        let mut samples = odd;
        leveller.apply(&mut samples);
        assert_eq!(samples.map(f32::to_bits), odd.map(f32::to_bits));
        // Also after it was elsewhere.
        let level = Level::new(&room(30.0));
        let mut leveller = Leveller::new(level.clone(), 2, RATE);
        level.set(&room(100.0));
        leveller.apply(&mut vec![0.5; 4_800]);
        let mut samples = odd;
        leveller.apply(&mut samples);
        assert_eq!(samples.map(f32::to_bits), odd.map(f32::to_bits));
    }

    #[test]
    fn a_volume_is_its_gain_and_mute_is_silence() {
        let gain = Volume::nearest(40.0).gain();
        assert_eq!(settled(&room(40.0), 2), [gain, 2.0 * gain]);
        assert_eq!(settled(&room(40.0), 1), [gain]);
        assert_eq!(settled(&room(40.0), 3), [gain, 2.0 * gain, 3.0 * gain]);
        assert_eq!(settled(&RoomState { mute: true, ..room(40.0) }, 2), [0.0, 0.0]);
        assert_eq!(settled(&room(0.0), 6), [0.0; 6]);
    }

    #[test]
    fn channel_modes_are_what_they_are_called() {
        let heard = |mode, channels| settled(&RoomState { channel_mode: mode, ..room(100.0) }, channels);
        assert_eq!(heard(ChannelMode::Stereo, 2), [1.0, 2.0]);
        assert_eq!(heard(ChannelMode::Left, 2), [1.0, 1.0]);
        assert_eq!(heard(ChannelMode::Right, 2), [2.0, 2.0]);
        assert_eq!(heard(ChannelMode::Mono, 2), [1.5, 1.5]);
        assert_eq!(heard(ChannelMode::Swapped, 2), [2.0, 1.0]);
        // More or fewer channels have no left and right to choose from.
        assert_eq!(heard(ChannelMode::Swapped, 4), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(heard(ChannelMode::Left, 1), [1.0]);
        assert_eq!(heard(ChannelMode::Mono, 4), [2.5; 4]);
        assert_eq!(heard(ChannelMode::Mono, 1), [1.0]);
    }

    #[test]
    fn a_change_is_a_ramp_of_25_ms_whatever_the_blocks_are() {
        for block in [1, 7, 256, 4_800] {
            let level = Level::new(&room(100.0));
            let mut leveller = Leveller::new(level.clone(), 2, RATE);
            level.set(&RoomState { mute: true, ..room(100.0) });
            let mut samples = vec![1.0; 2 * 4_800];
            samples.chunks_mut(2 * block).for_each(|block| leveller.apply(block));
            let left: Vec<f32> = samples.chunks(2).map(|frame| frame[0]).collect();
            assert!(left[1_198] > 0.0 && left[1_200..].iter().all(|&sample| sample == 0.0), "not 25 ms");
            let steepest = left.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(steepest < 1.01 / 1_200.0, "a step of {steepest} with blocks of {block}");
        }
    }

    #[test]
    fn a_hand_on_a_slider_makes_no_steps() {
        let level = Level::new(&room(0.0));
        let mut leveller = Leveller::new(level.clone(), 2, RATE);
        let mut heard = Vec::new();
        // A hundred times a second, up and down between silence and full.
        for turn in 0..200 {
            level.set(&room(if turn % 20 < 10 { 100.0 } else { 0.0 }));
            let mut samples = vec![1.0; 2 * 480];
            leveller.apply(&mut samples);
            heard.extend(samples.chunks(2).map(|frame| frame[0]));
        }
        let steepest = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 1.01 / 1_200.0, "a step of {steepest}");
    }

    #[test]
    fn it_is_known_when_a_ramp_is_over() {
        let level = Level::new(&room(100.0));
        assert!(!level.has_leveller() && level.has_arrived());
        let mut leveller = Leveller::new(level.clone(), 2, RATE);
        level.set(&room(40.0));
        for _ in 0..3 {
            assert!(level.has_leveller() && !level.has_arrived());
            leveller.apply(&mut [1.0; 2 * 400]);
        }
        assert!(level.has_arrived());
        // There and back within a ramp is not there yet.
        level.set(&room(80.0));
        leveller.apply(&mut [1.0; 2 * 400]);
        level.set(&room(40.0));
        for _ in 0..3 {
            assert!(!level.has_arrived());
            leveller.apply(&mut [1.0; 2 * 400]);
        }
        assert!(level.has_arrived());
        level.set(&room(50.0));
        drop(leveller);
        assert!(!level.has_leveller());
        // Another one begins where it should.
        let _leveller = Leveller::new(level.clone(), 2, RATE);
        assert!(level.has_arrived());
    }

    #[test]
    fn a_chime_is_heard_over_what_plays_also_in_a_mute_room_but_not_past_the_limit() {
        let loudest = |state: &RoomState| {
            let level = Level::new(state);
            let mut leveller = Leveller::new(level.clone(), 2, RATE);
            let mut before = vec![0.0; 512];
            leveller.apply(&mut before);
            level.ring(state);
            let mut samples = vec![0.0; 2 * RATE as usize];
            samples.chunks_mut(512).for_each(|block| assert_no_alloc(|| leveller.apply(block)));
            assert!(before.iter().all(|&sample| sample == 0.0));
            samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()))
        };
        let full = loudest(&room(100.0));
        let mute = loudest(&RoomState { mute: true, ..room(10.0) });
        let limited = loudest(&RoomState { max_volume: Volume::nearest(30.0), ..room(10.0) });
        let ratio = |percent| Volume::nearest(percent).gain();
        assert!(full > 0.1 && (mute / full - ratio(LEAST_CHIME)).abs() < 1e-3, "{full} {mute}");
        assert!((limited / full - ratio(30.0)).abs() < 1e-3, "{limited}");
    }

    #[test]
    fn it_begins_without_a_ramp() {
        let mut leveller = Leveller::new(Level::new(&room(10.0)), 2, RATE);
        let mut samples = vec![1.0; 4];
        leveller.apply(&mut samples);
        assert!(samples.iter().all(|&sample| sample == Volume::nearest(10.0).gain()), "{samples:?}");
    }
}

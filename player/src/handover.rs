//! Passes the device from one stream's playout to the next without stopping it.

use audera_clock::PlayerTime;
use audera_playout::Puller;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::level::Leveller;
use crate::output::Pull;

/// Successors that may wait: streams do not follow each other faster than the device pulls.
const WAITING: usize = 8;
/// Length of the ramp under which a stream that is cut off goes silent, in frames of its last block at most.
const RAMP_FRAMES: usize = 256;

/// The network thread's end: names the next playout, and frees the ones before.
#[derive(Debug)]
pub struct Switch {
    next: Producer<Option<Box<Puller>>>,
    past: Consumer<Box<Puller>>,
}

/// The device's end: pulls from whichever playout is its turn, or is silent.
#[derive(Debug)]
pub struct Turnstile {
    channels: usize,
    leveller: Leveller,
    now: Option<Box<Puller>>,
    next: Consumer<Option<Box<Puller>>>,
    past: Producer<Box<Puller>>,
}

/// Makes both ends for a device with `channels` channels, with `first` already at its turn; what it plays comes to the device at the level
/// of `leveller`.
pub fn handover(channels: usize, leveller: Leveller, first: Box<Puller>) -> (Switch, Turnstile) {
    let (next_in, next_out) = RingBuffer::new(WAITING);
    // Holds all that can be handed over before the network thread frees any.
    let (past_in, past_out) = RingBuffer::new(WAITING + 1);
    let turnstile = Turnstile { channels, leveller, now: Some(first), next: next_out, past: past_in };
    (Switch { next: next_in, past: past_out }, turnstile)
}

impl Switch {
    /// Hands the device to `puller`, or to silence. What plays now is faded out.
    ///
    /// # Errors
    /// Gives `puller` back if the device has not pulled for a long time.
    pub fn turn_to(&mut self, puller: Option<Box<Puller>>) -> Result<(), Option<Box<Puller>>> {
        self.free_past();
        self.next.push(puller).map_err(|PushError::Full(puller)| puller)
    }

    /// Frees the playouts that the device is done with.
    pub fn free_past(&mut self) {
        while self.past.pop().is_ok() {}
    }
}

impl Pull for Turnstile {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        // One turn for each pull, so that the one who leaves has a block to fade in. A full ring of the past postpones the turn.
        if self.past.is_full() {
            self.play(at, out);
            return;
        }
        match self.next.pop() {
            Ok(next) => {
                self.play(at, out);
                fade_out(out, self.channels);
                if let Some(before) = std::mem::replace(&mut self.now, next) {
                    // There is room: this is the only producer, and it was checked above.
                    if let Err(PushError::Full(before)) = self.past.push(before) {
                        std::mem::forget(before);
                    }
                }
            }
            Err(_) => self.play(at, out),
        }
    }

    fn device_reset(&mut self) {
        if let Some(now) = &mut self.now {
            now.device_reset();
        }
    }
}

impl Turnstile {
    fn play(&mut self, at: PlayerTime, out: &mut [f32]) {
        match &mut self.now {
            Some(now) => {
                // How it went is in the feeder's statistics.
                let _ = now.pull(at, out);
            }
            None => out.fill(0.0),
        }
        self.leveller.apply(out);
    }
}

/// Ramps the beginning of a block down to silence.
fn fade_out(out: &mut [f32], channels: usize) {
    let frames = out.len() / channels.max(1);
    let ramp = frames.min(RAMP_FRAMES);
    for (index, frame) in out.chunks_mut(channels.max(1)).enumerate() {
        let gain = if index < ramp { 1.0 - (index + 1) as f32 / ramp as f32 } else { 0.0 };
        for sample in frame {
            *sample *= gain;
        }
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;
    use audera_clock::{ClockMap, Player, PlayerTime, SenderTime, Span, Time};
    use audera_playout::{Config, Feeder, Puller, playout};

    use audera_wire::RoomState;

    use super::*;
    use crate::level::Level;

    const RATE: u32 = 48_000;
    const BLOCK: usize = 480;

    /// A playout that plays `level` from time 0 on, for a second.
    fn playing(level: f32) -> (Feeder, Box<Puller>) {
        let config = Config { rate: RATE, channels: 1, capacity: Span::from_secs(2), max_pull: BLOCK };
        let (mut feeder, puller) = playout(config).unwrap();
        feeder.set_clock(ClockMap::new(SenderTime::from_nanos(0), Time::<Player>::from_nanos(0), 0.0));
        feeder.push(SenderTime::from_nanos(0), &vec![level; RATE as usize]).unwrap();
        (feeder, Box::new(puller))
    }

    fn full() -> Leveller {
        Leveller::new(Level::new(&RoomState::new("Kitchen")), 1, RATE)
    }

    fn pull(turnstile: &mut Turnstile, block: i64) -> Vec<f32> {
        let mut out = vec![0.0; BLOCK];
        let at = PlayerTime::from_nanos(0) + Span::from_frames(block * BLOCK as i64, RATE);
        assert_no_alloc(|| turnstile.pull(at, &mut out));
        out
    }

    #[test]
    fn the_device_goes_from_one_stream_to_the_next_and_to_silence_without_a_step() {
        let (_first_feeder, first) = playing(0.5);
        let (_second_feeder, second) = playing(-0.25);
        let (mut switch, mut turnstile) = handover(1, full(), first);
        let mut heard = Vec::new();
        for block in 0..30 {
            match block {
                10 => assert!(switch.turn_to(None).is_ok()),
                20 => assert!(turnstile.now.is_none()),
                _ => {}
            }
            heard.extend(pull(&mut turnstile, block));
        }
        assert!((heard[9 * BLOCK] - 0.5).abs() < 0.01);
        assert!(heard[11 * BLOCK..].iter().all(|&sample| sample == 0.0));
        assert!(switch.turn_to(Some(second)).is_ok());
        for block in 30..50 {
            heard.extend(pull(&mut turnstile, block));
        }
        assert!((heard[45 * BLOCK] + 0.25).abs() < 0.01);
        let steepest = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "a step of {steepest}");
    }

    #[test]
    fn a_device_that_does_not_pull_gives_the_playouts_back() {
        let (_feeder, first) = playing(0.5);
        let (mut switch, _turnstile) = handover(1, full(), first);
        let (taken, refused): (Vec<_>, Vec<_>) =
            (0..WAITING + 1).map(|_| switch.turn_to(None)).partition(Result::is_ok);
        assert_eq!((taken.len(), refused.len()), (WAITING, 1));
    }

    #[test]
    fn a_cut_off_block_ends_in_silence_without_a_step() {
        let mut block = [1.0f32; 2 * 512];
        fade_out(&mut block, 2);
        assert!(block[0] > 0.99);
        assert!(block.chunks(2).zip(block.chunks(2).skip(1)).all(|(a, b)| a[0] - b[0] < 0.005 && b[0] <= a[0]));
        assert!(block[2 * 256..].iter().all(|&sample| sample == 0.0));
    }
}

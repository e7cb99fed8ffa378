//! A card in a graph that another one drives: what comes by the driver's crystal is resampled to its own.
//!
//! It is modelled on PipeWire's ALSA sink, which keeps as much in the card's buffer as it would if it drove: a cycle is heard one
//! cycle after it began, by the driver's clock. A real one steers by what the buffer holds and errs by some tens of microseconds;
//! this one does not err, so that what is measured with it is the error of whoever plays.
//!
//! No clock of its own: all times come in as arguments.

use super::{SampleClock, TrueTime};
use crate::measure::{Interpolator, REACH};

/// Where the driver's time goes on with less than this difference, in nanoseconds, it is the same run.
const JUMP: i64 = 1_000_000;

/// Frames of the graph at most that one cycle brings.
const LONGEST: usize = 8_192;

/// See the module.
pub struct Follower {
    clock: SampleClock,
    interpolator: Interpolator,
    /// What came last, a channel each.
    heard: Vec<Vec<f32>>,
    run: Option<Run>,
    out: Vec<f32>,
}

/// From the first cycle to a jump of the driver.
struct Run {
    /// When the frame after the last one that came is heard.
    next: TrueTime,
    /// The first frame of the card that has not been played.
    write: u64,
}

/// What a cycle has brought: interleaved samples from a frame of the card on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Followed<'a> {
    /// The card's frame that the first sample is of.
    pub at: u64,
    /// Interleaved.
    pub samples: &'a [f32],
}

impl Follower {
    /// A card that has this crystal.
    #[must_use]
    pub fn new(clock: SampleClock, channels: usize) -> Self {
        let heard = vec![Vec::with_capacity(LONGEST + 2 * REACH); channels];
        // Crystals differ by a percent at most.
        let out = Vec::with_capacity((LONGEST + LONGEST / 50 + 2 * REACH) * channels);
        Self { clock, interpolator: Interpolator::new(), heard, run: None, out }
    }

    /// Takes the interleaved samples of a cycle whose first frame is heard at `heard`, each frame lasting `frame` nanoseconds by the
    /// driver. Does not allocate. Nothing is played before the frames around it are known, nor twice, nor before the frame
    /// `earliest`.
    pub fn play(&mut self, heard: TrueTime, frame: f64, samples: &[f32], earliest: u64) -> Followed<'_> {
        let channels = self.heard.len();
        let frames = (samples.len() / channels).min(LONGEST);
        let goes_on = self.run.as_ref().is_some_and(|run| heard.since(run.next).abs() < JUMP);
        if !goes_on {
            self.heard.iter_mut().for_each(|channel| {
                channel.clear();
                channel.resize(2 * REACH, 0.0);
            });
            let first = self.clock.frame_at(heard).max(0.0).ceil() as u64;
            self.run = Some(Run { next: heard, write: first });
        }
        for (n, channel) in self.heard.iter_mut().enumerate() {
            let old = channel.len().saturating_sub(2 * REACH);
            channel.drain(..old);
            channel.extend(samples.chunks_exact(channels).take(frames).map(|frame| frame[n]));
        }
        self.out.clear();
        let Some(run) = &mut self.run else { return Followed { at: 0, samples: &[] } };
        run.write = run.write.max(earliest);
        let at = run.write;
        let known = 2 * REACH + frames;
        loop {
            let position = 2.0 * REACH as f64 + self.clock.time_of(run.write as f64).since(heard) as f64 / frame;
            if position + REACH as f64 >= known as f64 || self.out.len() + channels > self.out.capacity() {
                break;
            }
            self.out.extend(self.heard.iter().map(|channel| self.interpolator.at(channel, position)));
            run.write += 1;
        }
        run.next = TrueTime::from_nanos(heard.as_nanos() + (frames as f64 * frame).round() as i64);
        Followed { at, samples: &self.out }
    }

    /// The card drives itself, or its graph pauses: what comes next is another run.
    pub fn stop(&mut self) {
        self.run = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const START: TrueTime = TrueTime::from_nanos(1_000_000_000);

    #[test]
    fn what_the_driver_times_is_heard_at_that_time() {
        let own = SampleClock::new(48_000, START, 80.0);
        let driver = SampleClock::new(48_000, TrueTime::from_nanos(1_234_567_891), -60.0);
        let frame = 1e9 / (48_000.0 * (1.0 - 60e-6));
        let mut follower = Follower::new(own, 2);
        // By the driver's frames; slow enough that a frame more or less is seen.
        let tone = |position: f64| (TAU * 997.0 * position / 48_000.0).sin();
        let (mut played, mut end) = (0, None);
        for n in 0..100_usize {
            let first = n * 512;
            let samples: Vec<f32> =
                (first..first + 512).flat_map(|n| [tone(n as f64) as f32, -tone(n as f64) as f32]).collect();
            let followed = follower.play(driver.time_of(first as f64), frame, &samples, 0);
            assert!(end.is_none_or(|end| end == followed.at), "without a seam");
            for (n, pair) in followed.samples.chunks_exact(2).enumerate() {
                let position = driver.frame_at(own.time_of((followed.at + n as u64) as f64));
                // The beginning stands beside silence.
                if position > 64.0 {
                    assert!((f64::from(pair[0]) - tone(position)).abs() < 1e-4, "at frame {position}");
                    assert_eq!(pair[0], -pair[1]);
                    played += 1;
                }
            }
            end = Some(followed.at + followed.samples.len() as u64 / 2);
        }
        assert!(played > 51_000, "{played}");
    }

    #[test]
    fn a_jump_is_a_new_run_and_nothing_is_played_twice() {
        let mut follower = Follower::new(SampleClock::new(48_000, START, 0.0), 1);
        let frame = 1e9 / 48_000.0;
        let at = |frames: f64| TrueTime::from_nanos(START.as_nanos() + (frames * frame).round() as i64);
        let first = follower.play(at(1_000.0), frame, &[0.5; 512], 0);
        assert_eq!((first.at, first.samples.len()), (1_000, 512 - REACH));
        let later = follower.play(at(9_000.0), frame, &[0.5; 512], 0);
        assert_eq!(later.at, 9_000);
        let barred = follower.play(at(9_512.0), frame, &[0.5; 512], 9_800);
        assert_eq!((barred.at, barred.samples.len()), (9_800, 9_512 + 512 - REACH - 9_800));
    }
}

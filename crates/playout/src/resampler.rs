//! The fractional resampler: a windowed-sinc interpolator whose place in the stream is known exactly at all times.

pub(crate) mod kernel;

use crate::source::{Position, Source};
use kernel::{Kernel, Stretch, TAPS};

/// The most that a frame may be away from the one before, in frames of the stream, and the reciprocal of the least. Glides of the latency stay
/// within 5 %, corrections within 0.1 %.
const MAX_STEP: f64 = 1.1;

/// In frames: sums of steps are not exact, and a sound that starts on a frame must not seem to start before it.
const HAIR: f64 = 1e-9;

/// Samples of a channel that a chunk can ask for.
const ROOM: usize = (Resampler::CHUNK as f64 * MAX_STEP) as usize + TAPS + 8;

/// Resamples a [`Source`] to the device's frames.
pub(crate) struct Resampler {
    kernel: Kernel,
    /// Where the frame made last lies.
    last: Position,
    /// Index in the stream of the first buffered frame.
    begin: i64,
    /// How many frames are buffered.
    count: usize,
    /// The buffered frames, channel by channel, `ROOM` for each.
    channels: Vec<f32>,
    /// Frames as they come from the source.
    interleaved: Vec<f32>,
    width: usize,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Resampler {
    /// Most frames that are made in one go.
    pub const CHUNK: usize = 256;

    /// How many frames beyond the one that is played the filter looks ahead.
    pub const LOOK_AHEAD: i64 = (TAPS / 2 + 2) as i64;

    /// A resampler for frames of `width` samples.
    pub fn new(width: usize) -> Self {
        // Zeros would come from the kernel, when they are touched first: by the audio thread.
        let touched = || vec![f32::MIN_POSITIVE; ROOM * width];
        let (channels, interleaved) = (touched(), touched());
        Self { kernel: Kernel::new(), last: Position::of(0), begin: 0, count: 0, channels, interleaved, width }
    }

    /// Where in the stream the next frame lies if it is made at `step` stream frames per output frame.
    pub fn position(&self, step: f64) -> Position {
        self.last.plus(step + HAIR)
    }

    /// Begins anew so that the next frame, made at `step`, lies exactly at `position`. Frames before `position`
    /// that are still buffered become the filter's past; frames that are not count as silence.
    pub fn start(&mut self, position: Position, step: f64, source: &mut Source, end: i64) {
        self.last = position.plus(-step);
        self.begin = window(position);
        self.count = 0;
        // So that nobody else takes the past meanwhile.
        self.read_to(position.frame, source, end);
    }

    /// Makes as many frames as `out` holds, at most [`CHUNK`](Self::CHUNK), each `step` behind the one before. The stream is taken to end
    /// before frame `end`.
    pub fn process(&mut self, out: &mut [f32], step: f64, source: &mut Source, end: i64) {
        let frames = out.len() / self.width;
        if frames == 0 {
            return;
        }
        // A step beyond comes from nobody; should one come all the same, the sound is off for a moment, and no more.
        let step = if (1.0 / MAX_STEP..=MAX_STEP).contains(&step) { step } else { 1.0 };
        let first = self.position(step);
        let last = self.last.plus(frames as f64 * step);
        self.read_to(last.plus(HAIR).frame + (TAPS / 2) as i64 + 1, source, end);
        let begin = Position::of(self.begin + (TAPS / 2 - 1) as i64);
        let stretch = Stretch { samples: &self.channels, length: ROOM, first: first.minus(begin), step };
        self.kernel.apply(stretch, out);
        self.last = last;
        self.forget();
    }

    /// Buffers the stream up to before frame `until`, as far as there is room.
    fn read_to(&mut self, until: i64, source: &mut Source, end: i64) {
        let next = self.begin + self.count as i64;
        let missing = usize::try_from(until - next).unwrap_or(0).min(ROOM - self.count);
        let interleaved = &mut self.interleaved[..missing * self.width];
        source.read(next, end, interleaved);
        for (n, channel) in self.channels.chunks_exact_mut(ROOM).enumerate() {
            let new = interleaved.iter().skip(n).step_by(self.width);
            channel[self.count..].iter_mut().zip(new).for_each(|(to, from)| *to = *from);
        }
        self.count += missing;
    }

    /// Drops what no later frame needs.
    fn forget(&mut self) {
        let done = usize::try_from(window(self.last) - self.begin).unwrap_or(0).min(self.count);
        for channel in self.channels.chunks_exact_mut(ROOM) {
            channel.copy_within(done..self.count, 0);
        }
        self.begin += done as i64;
        self.count -= done;
    }
}

/// The first frame that the filter weighs for one at `position`.
fn window(position: Position) -> i64 {
    position.frame - (TAPS / 2 - 1) as i64
}

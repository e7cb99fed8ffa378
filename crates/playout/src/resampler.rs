//! The fractional resampler: a windowed-sinc interpolator whose place in the stream is known exactly at all times.
//!
//! rubato does the arithmetic. It reports how many frames it takes, but not where between two of them it stands; since
//! it is driven without ramps, its phase is a plain sum, which is kept here beside it.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler as _, ResamplerConstructionError, Resizable, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use crate::source::{Position, Source};

/// Length of the interpolation filter in frames.
const TAPS: usize = 128;

/// Tabulated phases of the filter, between which is interpolated linearly: with so many the error lies at -114 dB. A quarter of them
/// under cubic interpolation gives -117 dB for half as much work again. A power of two, so that finding a phase is exact in binary arithmetic.
const PHASES: usize = 512;

/// The largest change of rate, up or down. Glides of the latency stay within 5 %, corrections within 0.1 %; starting on a fraction of a
/// frame takes up to one part in `TAPS`.
const MAX_RATE: f64 = 1.06;

/// Where rubato's first output lies after its read index: half of the filter, less the phase its table begins at.
const CENTRE: f64 = (TAPS / 2 - 1) as f64 + 1.0 / PHASES as f64;

/// rubato's read index after a reset.
const RESET_INDEX: f64 = 1.0 - TAPS as f64;

/// In frames: sums of steps are not exact, and a sound that starts on a frame must not seem to start before it.
const HAIR: f64 = 1e-9;

/// Resamples a [`Source`] to the device's frames.
pub(crate) struct Resampler {
    inner: Async<f32>,
    /// Index in the stream of the next frame to be read.
    next_input: i64,
    /// Read index relative to that frame.
    index: f64,
    input: Vec<f32>,
    output: Vec<f32>,
    width: usize,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("position", &self.position(1.0)).finish_non_exhaustive()
    }
}

impl Resampler {
    /// Most frames that are made in one go.
    pub const CHUNK: usize = 256;

    /// How many frames beyond the one that is played the filter looks ahead.
    pub const LOOK_AHEAD: i64 = (TAPS / 2 + 2) as i64;

    /// A resampler for frames of `width` samples.
    pub fn new(width: usize) -> Result<Self, ResamplerConstructionError> {
        let parameters = SincInterpolationParameters {
            sinc_len: TAPS,
            // Input and output differ by parts per million, so images are the only thing to suppress. With the
            // cut-off on the Nyquist frequency the filter is transparent at a standstill, flat to 15/16 of the band,
            // and rejects the images of all that.
            f_cutoff: Some(1.0),
            oversampling_factor: PHASES,
            interpolation: SincInterpolationType::Linear,
            window: WindowFunction::BlackmanHarris,
        };
        let inner = Async::new_sinc(1.0, MAX_RATE, &parameters, Self::CHUNK, width, FixedAsync::Output)?;
        let input = vec![0.0; inner.input_frames_max() * width];
        let output = vec![0.0; Self::CHUNK * width];
        Ok(Self { inner, next_input: 0, index: RESET_INDEX, input, output, width })
    }

    /// Where in the stream the next frame lies if it is made at `step` stream frames per output frame.
    pub fn position(&self, step: f64) -> Position {
        Position::of(self.next_input).plus(self.index + step + CENTRE + HAIR)
    }

    /// Begins anew so that the next frame, made at `step`, lies exactly at `position`. Frames before `position`
    /// that are still buffered become the filter's past; frames that are not count as silence.
    pub fn start(&mut self, position: Position, step: f64, source: &mut Source, end: i64) {
        let origin = position.plus(-step - CENTRE - 1.0);
        self.inner.reset();
        self.next_input = origin.frame;
        self.index = RESET_INDEX;
        // One filter length of output is thrown away: it fills the filter, and its rate, a trifle above one, puts
        // the read index on the wanted fraction.
        let advance = 1.0 + origin.part / TAPS as f64;
        self.run(TAPS, advance, source, end, None);
    }

    /// Makes as many frames as `out` holds, at most [`CHUNK`](Self::CHUNK). The stream is taken to end before frame
    /// `end`.
    pub fn process(&mut self, out: &mut [f32], step: f64, source: &mut Source, end: i64) {
        self.run(out.len() / self.width, step, source, end, Some(out));
    }

    fn run(&mut self, frames: usize, step: f64, source: &mut Source, end: i64, out: Option<&mut [f32]>) {
        let ratio = 1.0 / step;
        let set = self.inner.set_resample_ratio(ratio, false).and_then(|()| self.inner.set_chunk_size(frames));
        let needed = self.inner.input_frames_next();
        let length = needed * self.width;
        let out = out.unwrap_or(&mut self.output[..frames * self.width]);
        let made = match (set, self.input.get_mut(..length)) {
            (Ok(()), Some(input)) => {
                source.read(self.next_input, end, input);
                let input = InterleavedSlice::new(&*input, self.width, needed);
                let output = InterleavedSlice::new_mut(out, self.width, frames);
                match (input, output) {
                    (Ok(input), Ok(mut output)) => self.inner.process_into_buffer(&input, &mut output, None).is_ok(),
                    _ => false,
                }
            }
            _ => false,
        };
        if !made {
            // Sizes and rates are within what the resampler was made for, so this is not reached; on an audio
            // thread silence is the answer that harms least.
            out.fill(0.0);
        }
        self.next_input += needed as i64;
        self.index += frames as f64 / ratio - needed as f64;
    }
}

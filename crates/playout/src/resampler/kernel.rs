//! The interpolation filter: a sinc under a Kaiser window, tabulated, and its application to sound; pure arithmetic without state.
//!
//! Between tabulated phases each tap is a parabola: with 64 of them it deviates from the true filter by less than the rounding of the samples, where
//! linear interpolation would take a table ten times as large. Interpolating the taps, once per frame for all channels, takes less than
//! filtering every channel with both neighbouring phases.

use std::f64::consts::PI;

/// Length of the filter in frames. The band to which it is flat and beyond whose mirror image it rejects ends at 0.45 of the rate:
/// 21.6 kHz at 48 kHz, 19.9 kHz at 44.1 kHz.
pub(crate) const TAPS: usize = 64;

/// Tabulated phases. A power of two, so that finding a phase is exact in binary arithmetic.
const PHASES: usize = 64;

/// Shape of the Kaiser window: side lobes at some -100 dB (J. F. Kaiser, 1974: A = beta / 0.1102 + 8.7).
const BETA: f64 = 10.0;

/// Sums that are kept apart, so that a compiler can do as many at once as there are in a register, and in several registers.
const LANES: usize = 8;

/// The taps from one phase to the next, as polynomials in what lies between, 0 to 1.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Phase {
    value: [f32; TAPS],
    slope: [f32; TAPS],
    curve: [f32; TAPS],
}

/// The tabulated filter.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    phases: Vec<Phase>,
    apply: Apply,
}

/// Filters all channels of some frames.
type Apply = fn(&[Phase], Stretch<'_>, &mut [f32]);

/// Where frames are to be made, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch<'a> {
    /// The channels one after the other, each `length` samples.
    pub samples: &'a [f32],
    pub length: usize,
    /// Where the first frame lies: so far behind the middle of the first `TAPS` samples of a channel, at least 0.
    pub first: f64,
    /// From one frame to the next.
    pub step: f64,
}

impl Kernel {
    /// The table, and the way to apply it that suits this processor.
    pub fn new() -> Self {
        Self { phases: table(), apply: best() }
    }

    /// Makes the interleaved frames that `out`, of `width` channels, has room for.
    ///
    /// A frame needs the `TAPS` samples from that on which lies before it by `TAPS` / 2 - 1. Where they are not there it is silent.
    pub fn apply(&self, stretch: Stretch<'_>, out: &mut [f32]) {
        (self.apply)(&self.phases, stretch, out);
    }
}

/// The filter at `t` frames from its middle.
fn tap(t: f64) -> f64 {
    let x = t / (TAPS as f64 / 2.0);
    if x.abs() >= 1.0 {
        return 0.0;
    }
    let sinc = if t == 0.0 { 1.0 } else { (PI * t).sin() / (PI * t) };
    sinc * bessel_i0(BETA * (1.0 - x * x).sqrt()) / bessel_i0(BETA)
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..100 {
        term *= quarter / f64::from(n * n);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

fn table() -> Vec<Phase> {
    // At the phases and halfway between them.
    let node = |half_phases: usize| -> [f64; TAPS] {
        let part = half_phases as f64 / (2 * PHASES) as f64;
        std::array::from_fn(|n| tap(n as f64 - (TAPS / 2 - 1) as f64 - part))
    };
    let nodes: Vec<[f64; TAPS]> = (0..=2 * PHASES).map(node).collect();
    let phase = |n: usize| {
        let (begin, middle, end) = (&nodes[2 * n], &nodes[2 * n + 1], &nodes[2 * n + 2]);
        Phase {
            value: std::array::from_fn(|k| begin[k] as f32),
            slope: std::array::from_fn(|k| (4.0 * middle[k] - 3.0 * begin[k] - end[k]) as f32),
            curve: std::array::from_fn(|k| (2.0 * (begin[k] + end[k]) - 4.0 * middle[k]) as f32),
        }
    };
    (0..PHASES).map(phase).collect()
}

/// The one loop there is, compiled several times: `fma` is `a * b + c` the way that is fast on the processor it is for.
#[inline(always)]
fn convolve(phases: &[Phase], stretch: Stretch<'_>, out: &mut [f32], fma: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let Stretch { samples, length, first, step } = stretch;
    let width = samples.len() / length.max(1);
    let mut taps = [0.0; TAPS];
    for (n, frame) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let at = first + n as f64 * step;
        let whole = at as usize;
        let phase = (at - whole as f64) * PHASES as f64;
        let nearest = phase as usize;
        let part = (phase - nearest as f64) as f32;
        let Some(Phase { value, slope, curve }) = phases.get(nearest) else {
            frame.fill(0.0);
            continue;
        };
        for (k, tap) in taps.iter_mut().enumerate() {
            *tap = fma(fma(curve[k], part, slope[k]), part, value[k]);
        }
        for (channel, sample) in samples.chunks_exact(length.max(1)).zip(frame) {
            let window = channel.get(whole..).and_then(|rest| rest.first_chunk::<TAPS>());
            *sample = window.map_or(0.0, |window| dot(&taps, window, fma));
        }
    }
}

#[inline(always)]
fn dot(taps: &[f32; TAPS], window: &[f32; TAPS], fma: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    for (taps, window) in taps.chunks_exact(LANES).zip(window.chunks_exact(LANES)) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum = fma(taps[lane], window[lane], *sum);
        }
    }
    // Seen as one expression with what follows, the sums would be taken apart again: they are to be finished first.
    let sums = std::hint::black_box(sums);
    let [mut even, mut odd] = [0.0; 2];
    for pair in sums.chunks_exact(2) {
        even += pair[0];
        odd += pair[1];
    }
    even + odd
}

/// For every processor of the architecture the program is built for.
fn portable(phases: &[Phase], stretch: Stretch<'_>, out: &mut [f32]) {
    if cfg!(target_arch = "aarch64") {
        // Every one of them has it; elsewhere it may be a call.
        convolve(phases, stretch, out, f32::mul_add);
    } else {
        convolve(phases, stretch, out, |a, b, c| a * b + c);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same loop for processors with registers of eight samples and fused multiplication and addition.
    #![expect(unsafe_code, reason = "a function for certain processors only may be called on these only")]

    use super::{Apply, Phase, Stretch, convolve, portable};

    pub(super) fn best() -> Apply {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { with_avx2 } else { portable }
    }

    fn with_avx2(phases: &[Phase], stretch: Stretch<'_>, out: &mut [f32]) {
        // SAFETY: this function is private to the module, and given away by `best` alone, after the processor was seen to have both
        // features. The function called needs nothing else; it is safe code.
        unsafe { compiled_for_avx2(phases, stretch, out) }
    }

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn compiled_for_avx2(phases: &[Phase], stretch: Stretch<'_>, out: &mut [f32]) {
        convolve(phases, stretch, out, f32::mul_add);
    }
}

#[cfg(target_arch = "x86_64")]
use x86::best;

#[cfg(not(target_arch = "x86_64"))]
fn best() -> Apply {
    portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_filter_wherever_it_is_asked() {
        let kernel = Kernel::new();
        let mut worst = 0.0_f64;
        for n in 0..2_000 {
            let at = (f64::from(n) * 0.618_033_988_75).fract();
            // An impulse in each place shows the tap that weighs it.
            for place in 0..TAPS {
                let mut samples = [0.0; TAPS + 1];
                samples[place] = 1.0;
                let mut out = [f32::NAN];
                kernel.apply(Stretch { samples: &samples, length: TAPS + 1, first: at, step: 1.0 }, &mut out);
                let wanted = tap(place as f64 - (TAPS / 2 - 1) as f64 - at);
                worst = worst.max((f64::from(out[0]) - wanted).abs());
            }
        }
        assert!(worst < 3e-7, "{worst:e}");
    }

    #[test]
    fn on_a_frame_it_is_the_frame() {
        let samples: Vec<f32> = (0..80).map(|n| (n as f32 * 0.7).sin()).collect();
        let mut out = [0.0; 10];
        Kernel::new().apply(Stretch { samples: &samples, length: 80, first: 3.0, step: 1.0 }, &mut out);
        for (n, sample) in out.iter().enumerate() {
            let frame = samples[3 + n + TAPS / 2 - 1];
            assert!((sample - frame).abs() < 1e-6, "{n}: {sample} for {frame}");
        }
    }

    #[test]
    fn all_processors_do_the_same() {
        let samples: Vec<f32> = (0..3 * 200).map(|n| (n as f32 * n as f32 * 0.01).sin()).collect();
        let kernel = Kernel::new();
        let stretch = Stretch { samples: &samples, length: 200, first: 0.25, step: 1.000_1 };
        let (mut here, mut anywhere) = ([0.0; 3 * 100], [0.0; 3 * 100]);
        kernel.apply(stretch, &mut here);
        portable(&kernel.phases, stretch, &mut anywhere);
        for (here, anywhere) in here.iter().zip(&anywhere) {
            assert!((here - anywhere).abs() < 2e-6, "{here} {anywhere}");
        }
        assert!(here.iter().any(|sample| sample.abs() > 0.1));
    }

    #[test]
    fn beyond_the_samples_there_is_silence() {
        let samples = [1.0; 2 * 70];
        for first in [7.0, 1e18, f64::INFINITY] {
            let mut out = [0.5; 2 * 4];
            Kernel::new().apply(Stretch { samples: &samples, length: 70, first, step: 1.0 }, &mut out);
            assert_eq!(out, [0.0; 2 * 4], "{first}");
        }
    }
}

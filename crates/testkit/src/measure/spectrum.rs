//! Transforms of blocks of samples, shared by the measures.

use std::sync::Arc;

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};

/// The forward and inverse transform of one length.
pub(super) struct Transform {
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
}

impl Transform {
    /// For blocks of at least `frames`; [`frames`](Self::frames) tells how many it became.
    pub fn new(frames: usize) -> Self {
        let length = frames.next_power_of_two().max(2);
        let mut planner = RealFftPlanner::new();
        Self { forward: planner.plan_fft_forward(length), inverse: planner.plan_fft_inverse(length) }
    }

    pub fn frames(&self) -> usize {
        self.forward.len()
    }

    /// The spectrum of a block, which is filled up with zeros; what is beyond the transform's length is left out.
    pub fn spectrum(&self, block: impl Iterator<Item = f64>) -> Vec<Complex<f64>> {
        let mut input = self.forward.make_input_vec();
        input.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        let mut output = self.forward.make_output_vec();
        if self.forward.process(&mut input, &mut output).is_err() {
            unreachable!("a transform refused vectors it made itself");
        }
        output
    }

    /// The cross-correlation of two blocks: at index `lag` (modulo the length) how well `a` fits `b` taken `lag` later.
    pub fn correlation(&self, a: &[Complex<f64>], b: &[Complex<f64>]) -> Vec<f64> {
        let mut product: Vec<_> = a.iter().zip(b).map(|(a, b)| a.conj() * b).collect();
        // Both ends are real for real blocks; rounding must not say otherwise, or the inverse refuses.
        for end in [0, product.len() - 1] {
            product[end].im = 0.0;
        }
        let mut output = self.inverse.make_output_vec();
        if self.inverse.process(&mut product, &mut output).is_err() {
            unreachable!("a transform refused vectors it made itself");
        }
        output
    }
}

/// The lag within `low..=high` at which `part` fits `whole[start + lag..]` best; `None` when no lag leaves room.
pub(super) fn best_lag(part: &[f32], whole: &[f32], start: isize, low: isize, high: isize) -> Option<isize> {
    let first = (start + low).max(0);
    let last = (start + high).min(whole.len() as isize - part.len() as isize);
    if part.is_empty() || last < first {
        return None;
    }
    let stretch = &whole[first as usize..last as usize + part.len()];
    let transform = Transform::new(stretch.len() + part.len());
    let wide = |samples: &[f32]| transform.spectrum(samples.iter().map(|&s| f64::from(s)));
    let correlation = transform.correlation(&wide(part), &wide(stretch));
    let candidates = &correlation[..=(last - first) as usize];
    let best = candidates.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?.0;
    Some(first + best as isize - start)
}

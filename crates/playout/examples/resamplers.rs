//! What resamplers cost and how well they do, at a ratio as it is between two crystals: the one of this crate, and rubato's.
//!
//! `cargo run --release -p audera-playout --example resamplers`

use std::error::Error;
use std::f64::consts::TAU;
use std::time::Instant;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, PolynomialDegree, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

#[path = "../src/resampler/kernel.rs"]
mod kernel;

use kernel::{Kernel, Stretch, TAPS};

const RATE: f64 = 48_000.0;
/// Frames of the stream per frame of the device: a card that is 80 ppm slow.
const STEP: f64 = 1.0 + 80e-6;
const CHUNK: usize = 256;
const CHUNKS: usize = 400;
/// The first frame that is looked at, when the filters have filled.
const SETTLED: usize = 1_024;

/// Makes chunks of stereo from a stream of stereo.
trait Resampler {
    fn chunk(&mut self, stream: &[f32], out: &mut [f32]) -> Result<(), Box<dyn Error>>;
}

struct Ours {
    kernel: Kernel,
    channels: Vec<f32>,
    next: f64,
}

impl Resampler for Ours {
    fn chunk(&mut self, stream: &[f32], out: &mut [f32]) -> Result<(), Box<dyn Error>> {
        let begin = self.next as usize;
        let length = self.channels.len() / 2;
        let frames = &stream[begin * 2..(begin + length) * 2];
        for (n, channel) in self.channels.chunks_exact_mut(length).enumerate() {
            channel.iter_mut().zip(frames.iter().skip(n).step_by(2)).for_each(|(to, from)| *to = *from);
        }
        let first = self.next - begin as f64;
        self.kernel.apply(Stretch { samples: &self.channels, length, first, step: STEP }, out);
        self.next += CHUNK as f64 * STEP;
        Ok(())
    }
}

struct Rubato {
    inner: Async<f32>,
    next: usize,
}

impl Resampler for Rubato {
    fn chunk(&mut self, stream: &[f32], out: &mut [f32]) -> Result<(), Box<dyn Error>> {
        let needed = self.inner.input_frames_next();
        let input = InterleavedSlice::new(&stream[self.next * 2..(self.next + needed) * 2], 2, needed)?;
        let mut output = InterleavedSlice::new_mut(out, 2, CHUNK)?;
        self.inner.process_into_buffer(&input, &mut output, None)?;
        self.next += needed;
        Ok(())
    }
}

fn sinc(
    sinc_len: usize,
    oversampling_factor: usize,
    interpolation: SincInterpolationType,
) -> Result<Box<dyn Resampler>, Box<dyn Error>> {
    let window = WindowFunction::BlackmanHarris;
    let parameters =
        SincInterpolationParameters { sinc_len, f_cutoff: Some(1.0), oversampling_factor, interpolation, window };
    let inner = Async::new_sinc(1.0 / STEP, 1.02, &parameters, CHUNK, 2, FixedAsync::Output)?;
    Ok(Box::new(Rubato { inner, next: 0 }))
}

type Make = fn() -> Result<Box<dyn Resampler>, Box<dyn Error>>;

/// All of them, with the memory that their tables take by calculation, in KiB.
const ALL: [(&str, usize, Make); 6] = [
    ("Audera, 64 taps, 64 phases, parabolic", 48, || {
        let kernel = Kernel::new();
        Ok(Box::new(Ours { kernel, channels: vec![0.0; 2 * (CHUNK + TAPS + 2)], next: 0.0 }))
    }),
    ("rubato, 128 taps, 512 phases, linear", 256, || sinc(128, 512, SincInterpolationType::Linear)),
    ("rubato, 128 taps, 128 phases, cubic", 64, || sinc(128, 128, SincInterpolationType::Cubic)),
    ("rubato, 64 taps, 512 phases, linear", 128, || sinc(64, 512, SincInterpolationType::Linear)),
    ("rubato, 256 taps, 256 phases, cubic", 256, || sinc(256, 256, SincInterpolationType::Cubic)),
    ("rubato, polynomial of degree 7", 0, || {
        let inner = Async::new_poly(1.0 / STEP, 1.02, PolynomialDegree::Septic, CHUNK, 2, FixedAsync::Output)?;
        Ok(Box::new(Rubato { inner, next: 0 }))
    }),
];

/// A tone's level after resampling, and what is there besides it, both in dB of the tone.
fn tone(make: Make, hertz: f64) -> Result<(f64, f64), Box<dyn Error>> {
    let turns = hertz / RATE;
    let stream: Vec<f32> =
        (0..CHUNK * (CHUNKS + 2)).flat_map(|n| [(TAU * (turns * n as f64).fract()).sin() as f32, 0.0]).collect();
    let mut resampler = make()?;
    let mut played = vec![0.0; 2 * CHUNK * CHUNKS];
    for out in played.chunks_exact_mut(2 * CHUNK) {
        resampler.chunk(&stream, out)?;
    }
    let played: Vec<f64> = played.chunks_exact(2).skip(SETTLED).map(|frame| f64::from(frame[0])).collect();
    // Least squares: whatever delay the resampler has is in the phase.
    let reference = |n: usize| (TAU * (turns * STEP * n as f64).fract()).sin_cos();
    let [mut ss, mut sc, mut cc, mut sy, mut cy] = [0.0; 5];
    for (n, value) in played.iter().enumerate() {
        let (sin, cos) = reference(n);
        (ss, sc, cc) = (ss + sin * sin, sc + sin * cos, cc + cos * cos);
        (sy, cy) = (sy + sin * value, cy + cos * value);
    }
    let det = ss * cc - sc * sc;
    let (a, b) = ((cc * sy - sc * cy) / det, (ss * cy - sc * sy) / det);
    let rest: f64 = played
        .iter()
        .enumerate()
        .map(|(n, value)| {
            let (sin, cos) = reference(n);
            (value - a * sin - b * cos).powi(2)
        })
        .sum();
    let power = (a * a + b * b) / 2.0;
    Ok((10.0 * (2.0 * power).log10(), 10.0 * (rest / played.len() as f64 / power).log10()))
}

/// The median time of a frame of stereo, in ns.
fn cost(make: Make) -> Result<f64, Box<dyn Error>> {
    let stream: Vec<f32> = (0..2 * CHUNK * (CHUNKS + 2)).map(|n| ((n * n) as f32 * 0.001).sin()).collect();
    let mut resampler = make()?;
    let mut out = vec![0.0; 2 * CHUNK];
    let mut times = Vec::with_capacity(CHUNKS);
    for _ in 0..CHUNKS {
        let began = Instant::now();
        resampler.chunk(&stream, &mut out)?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[CHUNKS / 2] / CHUNK as f64 * 1e9)
}

fn main() -> Result<(), Box<dyn Error>> {
    const TONES: [f64; 4] = [1_000.0, 10_000.0, 18_000.0, 20_000.0];
    println!(
        "| resampler | table | ns per stereo frame | of a core at 48 kHz | residual at 1 kHz | 10 kHz | 18 kHz | 20 kHz | flat to 18 kHz | to 20 kHz |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, table, make) in ALL {
        let ns = cost(make)?;
        let mut cells = String::new();
        for hertz in TONES {
            cells += &format!(" {:.0} dB |", tone(make, hertz)?.1);
        }
        let flat = |highest: u32| {
            (1..=highest).try_fold(0.0, |worst, khz| {
                tone(make, f64::from(khz) * 1e3).map(|(level, _)| f64::max(worst, level.abs()))
            })
        };
        let (to_18, to_20) = (flat(18)?, flat(20)?);
        println!(
            "| {name} | {table} KiB | {ns:.1} | {:.3} % |{cells} {to_18:.5} dB | {to_20:.5} dB |",
            ns * RATE / 1e7
        );
    }
    Ok(())
}

//! Transparency of steady playback: what is left when the stream, evaluated where it was played, is taken away.

mod house;

use std::f64::consts::TAU;

use audera_clock::Span;
use audera_playout::{Config, playout};
use house::clocks::Clocks;
use house::pilot::{Noise, WIDTH};

/// A sum of tones whose value is known between frames too.
struct Tones(Vec<(f64, f64)>);

impl Tones {
    /// Tones spread from 40 Hz to `highest` Hz with random phases, as frequency in turns per frame and phase.
    fn new(count: usize, highest: f64, rate: u32) -> Self {
        let mut noise = Noise::new(42);
        let tone = |n: usize| {
            let hz = 40.0 + (highest - 40.0) * n as f64 / (count - 1) as f64;
            (hz / f64::from(rate), noise.between(0.0, 1.0))
        };
        Self((0..count).map(tone).collect())
    }

    fn at(&self, n: f64) -> f64 {
        let sum: f64 = self.0.iter().map(|(turns, phase)| (TAU * ((turns * n).fract() + phase)).sin()).sum();
        sum * 0.5 / (self.0.len() as f64).sqrt()
    }
}

/// Solves the 3x3 normal equations of a least-squares fit by Cramer's rule.
fn solve(a: [[f64; 3]; 3], b: [f64; 3]) -> [f64; 3] {
    let det = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(a);
    std::array::from_fn(|column| {
        let mut m = a;
        for row in 0..3 {
            m[row][column] = b[row];
        }
        det(m) / whole
    })
}

/// Level of the residual against the signal, in dB: `played` is fitted with gain, delay and rate of `tones` near
/// stream frame `start` with `step` stream frames per frame, by Gauss-Newton.
fn residual_db(tones: &Tones, played: &[f64], mut start: f64, mut step: f64) -> f64 {
    let mut gain = 1.0;
    let middle = played.len() as f64 / 2.0;
    for _ in 0..4 {
        let mut a = [[0.0; 3]; 3];
        let mut b = [0.0; 3];
        for (n, value) in played.iter().enumerate() {
            let from_middle = n as f64 - middle;
            let at = start + step * from_middle;
            let slope = (tones.at(at + 1e-4) - tones.at(at - 1e-4)) / 2e-4;
            let row = [tones.at(at), gain * slope, gain * slope * from_middle];
            let left = value - gain * row[0];
            for i in 0..3 {
                for j in 0..3 {
                    a[i][j] += row[i] * row[j];
                }
                b[i] += row[i] * left;
            }
        }
        let change = solve(a, b);
        gain += change[0];
        start += change[1];
        step += change[2];
    }
    let (mut signal, mut residual) = (0.0, 0.0);
    for (n, value) in played.iter().enumerate() {
        let model = gain * tones.at(start + step * (n as f64 - middle));
        signal += model * model;
        residual += (value - model) * (value - model);
    }
    10.0 * (residual / signal).log10()
}

/// What is played and where.
#[derive(Clone, Copy)]
struct Playing {
    rate: u32,
    card_ppm: f64,
    /// Highest tone, Hz.
    highest: f64,
    channels: usize,
    /// Largest error of the device's time, either way, in seconds.
    jitter: f64,
    /// The second whose first quarter is looked at.
    second: usize,
    /// By how much frames last longer than nominal, relative, since the latency glides.
    glide: f64,
}

/// Plays tones for a while and returns the residual of a quarter of a second.
fn played_residual(playing: Playing) -> f64 {
    let Playing { rate, card_ppm, highest, channels, jitter, second, glide } = playing;
    let mut noise = Noise::new(6);
    let clocks = Clocks { card_ppm, ..Clocks::PERFECT };
    let config = Config { rate, channels: channels as u16, capacity: Span::from_secs(1), max_pull: 1_024 };
    let (mut feeder, mut puller) = playout(config).expect("a good configuration");
    feeder.set_clock(clocks.map(0.0));
    let tones = Tones::new(37, highest, rate);
    let card_rate = f64::from(rate) * (1.0 + card_ppm * 1e-6);
    let packet = rate as usize / 100;
    let frame = (1.0 + glide) / f64::from(rate);
    let mut pushed = 0;
    let mut pulled = 0;
    let mut out = vec![0.0; 512 * channels];
    let mut played = Vec::new();
    while pulled < rate as usize * (second + 1) {
        let now = pulled as f64 / card_rate;
        while (pushed as f64) * frame < now + 0.08 {
            let samples: Vec<f32> = (pushed..pushed + packet)
                .flat_map(|n| std::iter::repeat_n(tones.at(n as f64) as f32, channels))
                .collect();
            let longer = Span::from_secs_f64(glide * 0.01);
            feeder.push_gliding(clocks.sender(pushed as f64 * frame), longer, &samples).expect("room");
            pushed += packet;
        }
        puller.pull(clocks.player(now + noise.between(-jitter, jitter)), &mut out);
        if pulled > rate as usize * second && played.len() < rate as usize / 4 {
            played.extend(out.chunks_exact(channels).map(|frame| f64::from(frame[channels - 1])));
        }
        pulled += 512;
    }
    let first = (rate as usize * second / 512 + 1) * 512;
    let middle = (first + played.len() / 2) as f64;
    let step = 1.0 / (frame * card_rate);
    residual_db(&tones, &played, middle * step, step)
}

/// Stereo on a card that is 80 ppm fast and tells its time exactly, when the servo has settled.
const STEADY: Playing =
    Playing { rate: 48_000, card_ppm: 80.0, highest: 18_000.0, channels: WIDTH, jitter: 0.0, second: 15, glide: 0.0 };

#[test]
fn content_below_18_khz_passes_unharmed() {
    for (rate, card_ppm, channels) in
        [(48_000, 80.0, WIDTH), (48_000, -80.0, WIDTH), (44_100, 80.0, WIDTH), (48_000, -80.0, 1)]
    {
        let residual = played_residual(Playing { rate, card_ppm, channels, ..STEADY });
        println!("{rate} Hz, {card_ppm} ppm, {channels} channels, to 18 kHz: residual {residual:.1} dB");
        assert!(residual < -95.0, "{residual}");
    }
    let residual = played_residual(Playing { highest: 20_000.0, ..STEADY });
    println!("48000 Hz, 80 ppm, to 20 kHz: residual {residual:.1} dB");
    assert!(residual < -90.0, "{residual}");
}

#[test]
fn a_glide_is_a_change_of_pitch_and_nothing_else() {
    for (glide, bound) in [(0.005, -95.0), (-0.005, -95.0), (-0.0005, -95.0), (0.02, -90.0)] {
        let residual = played_residual(Playing { glide, ..STEADY });
        println!("glide of {:.2} %: residual {residual:.1} dB", glide * 100.0);
        assert!(residual < bound, "{residual}");
    }
}

#[test]
fn a_device_that_tells_its_time_with_noise_is_not_heard() {
    let rough = Playing { jitter: 50e-6, ..STEADY };
    for second in [1, 2, 3, 5, 10] {
        let residual = played_residual(Playing { second, ..rough });
        println!("50 us of noise, second {second}: residual {residual:.1} dB");
    }
    for second in [20, 25, 30] {
        let residual = played_residual(Playing { second, ..rough });
        println!("50 us of noise, second {second}: residual {residual:.1} dB");
        assert!(residual < -90.0, "{residual}");
    }
}

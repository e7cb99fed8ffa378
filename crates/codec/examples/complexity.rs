//! Cost and fidelity of libopus's complexity settings on this machine, to choose the encoder's by:
//! `cargo run --release -p audera-codec --example complexity -- [FILE.wav ...]` (16 bit, 48 kHz, mono or stereo; else made-up music).

use std::error::Error;
use std::time::{Duration, Instant};

use opusic_c::{Application, Bitrate, Channels, Decoder, Encoder, SampleRate};

const FRAMES: usize = 480;

fn main() -> Result<(), Box<dyn Error>> {
    let mut samples = Vec::new();
    for path in std::env::args().skip(1) {
        samples.extend(stereo_of_wav(&std::fs::read(path)?)?);
    }
    if samples.is_empty() {
        samples = made_up_music(20.0);
    }
    let seconds = samples.len() as f64 / 96_000.0;
    println!("{seconds:.1} s of stereo, packets of 10 ms");
    println!("{:>6} {:>10} {:>14} {:>9}", "kb/s", "complexity", "% of one core", "SNR dB");
    for bitrate in [96_000, 128_000, 256_000] {
        for complexity in [0, 3, 5, 7, 8, 10] {
            // The quickest of three is the one least disturbed.
            let mut best: Option<(Duration, f64)> = None;
            for _ in 0..3 {
                let run = measure(&samples, bitrate, complexity)?;
                best = Some(best.map_or(run, |best| if run.0 < best.0 { run } else { best }));
            }
            let (took, snr) = best.ok_or("nothing was measured")?;
            let load = took.as_secs_f64() / seconds * 100.0;
            println!("{:>6} {complexity:>10} {load:>14.2} {snr:>9.2}", bitrate / 1000);
        }
    }
    Ok(())
}

/// Time spent encoding, and signal over residual after alignment.
fn measure(samples: &[f32], bitrate: u32, complexity: u8) -> Result<(Duration, f64), Box<dyn Error>> {
    let failed = |code: opusic_c::ErrorCode| code.message();
    let mut encoder = Encoder::new(Channels::Stereo, SampleRate::Hz48000, Application::LowDelay).map_err(failed)?;
    encoder.set_bitrate(Bitrate::Value(bitrate)).map_err(failed)?;
    encoder.set_complexity(complexity).map_err(failed)?;
    let lag = encoder.get_look_ahead().map_err(failed)? as usize;
    let mut decoder = Decoder::new(Channels::Stereo, SampleRate::Hz48000).map_err(failed)?;
    let (mut packet, mut out) = (vec![0; 1276], vec![0.0; FRAMES * 2]);
    let (mut took, mut decoded) = (Duration::ZERO, Vec::with_capacity(samples.len()));
    for chunk in samples.chunks_exact(FRAMES * 2) {
        let start = Instant::now();
        let length = encoder.encode_float_to_slice(chunk, &mut packet).map_err(failed)?;
        took += start.elapsed();
        decoder.decode_float_to_slice(&packet[..length], &mut out, false).map_err(failed)?;
        decoded.extend_from_slice(&out);
    }
    let (mut signal, mut residual) = (0.0, 0.0);
    for (&a, &b) in samples.iter().zip(&decoded[lag * 2..]) {
        signal += f64::from(a).powi(2);
        residual += f64::from(a - b).powi(2);
    }
    Ok((took, 10.0 * (signal / residual).log10()))
}

/// Plucked chords over a noise beat: tones, attacks and noise, which are what an encoder has to decide between.
fn made_up_music(seconds: f64) -> Vec<f32> {
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    };
    let chords = [[220.0, 277.2, 329.6], [196.0, 246.9, 293.7], [174.6, 220.0, 261.6], [164.8, 207.7, 246.9]];
    let frame = |index: usize| {
        let t = index as f64 / 48_000.0;
        let (beat, chord) = (t % 0.25, chords[(t / 0.5) as usize % 4]);
        let hit = 0.2 * (-beat * 60.0).exp() * noise();
        let tone = |detune: f64| -> f64 {
            let partials = chord.iter().flat_map(|pitch| (1..=8).map(move |n| (pitch * f64::from(n) * detune, n)));
            let decay = (-(t % 0.5) * 4.0).exp();
            partials.map(|(hz, n)| (std::f64::consts::TAU * hz * t).sin() / f64::from(n)).sum::<f64>() * 0.08 * decay
        };
        [(tone(1.0) + hit) as f32, (tone(1.003) + 0.7 * hit) as f32]
    };
    (0..(seconds * 48_000.0) as usize).flat_map(frame).collect()
}

fn stereo_of_wav(bytes: &[u8]) -> Result<Vec<f32>, Box<dyn Error>> {
    let channels = *bytes.get(22).ok_or("too short for a WAV file")?;
    let format = (bytes.get(24..28), bytes.get(34));
    if format != (Some(&48_000_u32.to_le_bytes()), Some(&16)) || !matches!(channels, 1 | 2) {
        return Err("only 16 bit, 48 kHz, mono or stereo is read".into());
    }
    let samples = bytes[44..].chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0);
    Ok(samples.flat_map(|sample| std::iter::repeat_n(sample, usize::from(3 - channels))).collect())
}

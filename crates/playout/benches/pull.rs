//! What playing costs: stereo at 48 kHz in periods of 256 frames, as a share of one core.
//!
//! `cargo bench -p audera-playout`

use std::time::Instant;

use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
use audera_playout::{Config, playout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const QUANTUM: usize = 256;
    let config = Config { rate: 48_000, channels: 2, capacity: Span::from_secs(2), max_pull: QUANTUM };
    let (mut feeder, mut puller) = playout(config)?;
    // A skew, so that every phase of the resampler has its turn.
    feeder.set_clock(ClockMap::new(SenderTime::from_nanos(0), PlayerTime::from_nanos(0), 80e-6));
    let packet: Vec<f32> = (0..960).map(|n| (n as f32 * 0.1).sin()).collect();
    let mut out = [0.0; 2 * QUANTUM];
    let seconds = 60;
    let (mut pushed, mut pulled) = (0, 0);
    let mut feeding = 0.0;
    // A call that was interrupted says nothing about its cost, and the median of many is not disturbed by it.
    let mut calls = Vec::with_capacity((seconds * 48_000) as usize / QUANTUM + 1);
    while pulled < seconds * 48_000 {
        let began = Instant::now();
        while pushed < pulled + 4_800 {
            feeder.push(SenderTime::from_nanos(0) + Span::from_frames(pushed, 48_000), &packet)?;
            pushed += 480;
        }
        feeding += began.elapsed().as_secs_f64();
        let began = Instant::now();
        puller.pull(PlayerTime::from_nanos(0) + Span::from_frames(pulled, 48_000), &mut out);
        calls.push(began.elapsed().as_secs_f64());
        pulled += QUANTUM as i64;
    }
    calls.sort_by(f64::total_cmp);
    let median = calls[calls.len() / 2];
    let pulling = median * 48_000.0 / QUANTUM as f64;
    println!("pull: {:.3} % of a core, {:.1} us a call", pulling * 100.0, median * 1e6);
    println!("push: {:.3} % of a core", feeding / seconds as f64 * 100.0);
    println!("{:?}", feeder.stats());
    Ok(())
}

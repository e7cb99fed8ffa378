//! Jitter buffer, resampler and servo of a player as one pure `pull(device_time, out)`.
//!
//! [`playout`] makes two halves. The [`Feeder`] belongs to the network thread: it takes decoded packets, each with the
//! sender's time at which its first frame is to be heard, and the map between the hosts' clocks. The [`Puller`]
//! belongs to the audio thread: for every period it is told when the period's first frame leaves the device, and
//! fills the period with what is due then.
//!
//! ```text
//!  packets + stamps ──▶ Feeder ══ring══▶ Source ──▶ Resampler ──▶ Fade ──▶ out
//!  clock maps ────────────┘                  ▲          ▲ rate
//!  device time ──▶ FrameClock ──▶ ClockMap ──┴─ error ─▶ Servo
//! ```
//!
//! - A stream starts at the very frame, and fraction of a frame, at which it is due, and is then held there by a
//!   resampler under a [`Servo`](audera_clock::Servo): no frame is dropped or doubled in steady state.
//! - Where the stamps leave a gap there is silence of that length. Where the buffer runs dry the sound is faded out,
//!   and comes back in its right place. Every passage between sound and silence is a fade, never an edge.
//! - The pull side neither allocates, frees, locks nor blocks. It is told the time; it never asks for it, and so runs
//!   unchanged under a sound card and under a simulated one.
//!
//! ```
//! use audera_clock::{ClockMap, PlayerTime, SenderTime, Span};
//! use audera_playout::{Config, playout};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config { rate: 48_000, channels: 2, capacity: Span::from_secs(2), max_pull: 1024 };
//! let (mut feeder, mut puller) = playout(config)?;
//! feeder.set_clock(ClockMap::identity());
//! feeder.push(SenderTime::from_nanos(5_000_000), &[0.5; 2 * 4_800])?;
//!
//! let mut out = [0.0; 2 * 480];
//! puller.pull(PlayerTime::from_nanos(-10_000_000), &mut out); // nothing is due yet
//! let pulled = puller.pull(PlayerTime::from_nanos(0), &mut out);
//! assert_eq!(pulled.sounding, 240); // silent for 5 ms, then the first frame
//! # Ok(())
//! # }
//! ```

// But for one call, which picks the variant of a loop that suits the processor.
#![deny(unsafe_code)]

mod config;
mod errors;
mod fade;
mod feeder;
mod puller;
mod resampler;
mod shared;
mod source;

pub use config::{Config, ConfigError, playout};
pub use feeder::{Feeder, Full};
pub use puller::{Pulled, Puller};
pub use shared::{State, Stats};

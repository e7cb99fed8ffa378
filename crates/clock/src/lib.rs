//! Timescales as types, the clock filter between two hosts, the frame clock of a sound device and the playback servo.
//!
//! Three clocks meet in Audera: the sender's monotonic clock, the player's monotonic clock, and the sample clocks of
//! the devices. Here live the types that keep them apart and the estimators that relate them:
//!
//! - [`SenderTime`] and [`PlayerTime`] are instants of the two hosts' clocks; [`Span`] is a signed duration.
//! - [`ClockFilter`] turns four-timestamp [`Exchange`]s into a [`ClockMap`] between the hosts.
//! - [`FrameClock`] turns noisy observations of a device into a smooth map of frame index to time.
//! - [`Servo`] turns a playback error into a rate correction.
//!
//! This crate is pure. It reads no clock, does no I/O, starts no thread and allocates nothing after construction;
//! time comes in as an argument, which is why years of drift can be tested in seconds.

#![forbid(unsafe_code)]

mod filter;
mod frame_clock;
mod map;
mod servo;
mod time;

pub use filter::{ClockFilter, Estimate, Verdict};
pub use frame_clock::{FrameClock, Observed};
pub use map::{ClockMap, Exchange};
pub use servo::{Deviation, Servo, ServoConfig};
pub use time::{Player, PlayerTime, Sender, SenderTime, Span, Time};

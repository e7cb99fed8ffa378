//! The house under simulated time: one sender and rooms, each with a host's clock and a card of its own, and what an observer with a
//! perfect clock would hear.
//!
//! There are two ways to live in it. [`room::Room`] knows the clocks: it is for what is heard frame by frame. [`play::Play`] learns
//! them over a network: it is for minutes, and for what happens in homes. Clocks, sound and chance are the same.
#![allow(dead_code, reason = "every test program uses another part of it")]

pub mod clocks;
pub mod figures;
pub mod network;
pub mod pilot;
pub mod play;
pub mod room;
pub mod sender;

//! A house under simulated time: one sender and several rooms, each with a host's clock, a card and a network of its own, and
//! the offset between rooms as an observer with a perfect clock would hear it.
#![allow(dead_code, reason = "every test program uses another part of it")]

pub mod figures;
pub mod network;
pub mod play;
pub mod sender;

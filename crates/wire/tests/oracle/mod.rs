//! Oracles over byte strings, run by the fuzz targets and, over a seeded corpus, by the ordinary tests.
//!
//! Each takes any bytes and panics when the crate breaks a promise.

pub mod datagrams;
pub mod frames;
pub mod honest;
pub mod hostile;
pub mod script;

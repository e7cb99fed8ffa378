//! Fuzzes both sessions with messages, time-outs and calls in any order: `cargo +nightly fuzz run sessions`.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
#[allow(dead_code, reason = "the other target uses the rest of the oracles")]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match bytes.split_first() {
    Some((0..=84, bytes)) => oracle::hostile::sender(bytes),
    Some((85..=169, bytes)) => oracle::hostile::player(bytes),
    Some((_, bytes)) => oracle::honest::pair(bytes),
    None => {}
});

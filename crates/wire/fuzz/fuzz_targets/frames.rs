//! Fuzzes the frame parser and the messages in the frames: `cargo +nightly fuzz run frames`.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
#[allow(dead_code, reason = "the other target uses the rest of the oracles")]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match bytes.split_first() {
    Some((0..=127, bytes)) => oracle::frames::raw(bytes),
    Some((_, bytes)) => oracle::frames::made(bytes),
    None => {}
});

//! Fuzzes the parser of what datagrams carry: `cargo +nightly fuzz run datagrams`.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
#[allow(dead_code, reason = "the other targets use the rest of the oracles")]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| oracle::datagrams::any(bytes));

//! The oracles of the fuzz targets over a seeded corpus, and over what proptest makes of it.

mod oracle;

use oracle::{datagrams, frames, honest, hostile};
use proptest::prelude::*;

/// Byte strings from a seed (xorshift64*): the same on every run and machine.
fn corpus(seed: u64, count: usize, max_len: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    };
    (0..count).map(move |_| {
        let len = random() as usize % max_len;
        (0..len).map(|_| random() as u8).collect()
    })
}

#[test]
fn frames_raw() {
    corpus(1, 3_000, 600).for_each(|bytes| frames::raw(&bytes));
}

#[test]
fn frames_made() {
    corpus(2, 3_000, 400).for_each(|bytes| frames::made(&bytes));
}

#[test]
fn datagrams_raw_and_made() {
    corpus(6, 20_000, 80).for_each(|bytes| datagrams::any(&bytes));
}

#[test]
fn hostile_sender() {
    corpus(3, 5_000, 600).for_each(|bytes| hostile::sender(&bytes));
}

#[test]
fn hostile_player() {
    corpus(4, 5_000, 600).for_each(|bytes| hostile::player(&bytes));
}

#[test]
fn honest_pair() {
    corpus(5, 5_000, 1_500).for_each(|bytes| honest::pair(&bytes));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        frames::raw(&bytes);
        frames::made(&bytes);
        datagrams::any(&bytes);
    }

    #[test]
    fn small_bytes_look_more_like_headers(bytes in prop::collection::vec(prop_oneof![4 => Just(0_u8), 1 => 0..4_u8, 1 => any::<u8>()], 0..400)) {
        frames::raw(&bytes);
    }

    #[test]
    fn any_script_for_the_sessions(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        hostile::sender(&bytes);
        hostile::player(&bytes);
        honest::pair(&bytes);
    }
}

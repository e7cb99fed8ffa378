//! Numbers of lines: what connections to the same peer that follow on each other have in common.

use ring::rand::{SecureRandom, SystemRandom};

/// A number that no other line has, as far as chance can see to it; `None` when the system gives no random bytes. Peers do well without
/// one, but for knowing that a connection takes the place of another.
#[must_use]
pub fn new_line() -> Option<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

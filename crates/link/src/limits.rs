//! The bounds under which strangers may use a listening port.

use std::time::Duration;

/// How much of this host unknown peers can occupy. Every bound holds before a peer has said who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time a peer has from TCP accept to the end of the TLS handshake. Default 5 s: a slow wireless link needs well below one.
    pub handshake_time: Duration,
    /// Handshakes under way at once. Default 64, above `per_address`, so that no single host can hold all places. Further peers wait
    /// in the kernel's queue: after a power cut a whole house dials at once, and refusing would only make it dial again.
    pub handshakes: usize,
    /// Connections at once, handshakes included. Default 256. Further ones are closed and reported.
    pub connections: usize,
    /// Connections at once from one IP address, handshakes included. Default 32: every process that sends from a host has its own.
    pub per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake_time: Duration::from_secs(5), handshakes: 64, connections: 256, per_address: 32 }
    }
}

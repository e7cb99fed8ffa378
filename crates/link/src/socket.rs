//! Options of the TCP sockets: little may wait in the kernel, and a dead peer is noticed.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Bytes in flight, as asked for; the kernel doubles it for its own bookkeeping. It bounds throughput to this per round trip, and
/// 8 channels of 192 kHz s24 (4.6 MB/s) still get through a wireless link with 25 ms of it.
const SEND_BUFFER: usize = 128 * 1024;

/// Bytes that may wait unsent behind those in flight. This is what keeps stale audio out of the kernel: beyond it the socket is not
/// writable, and what comes too late is dropped in the sender's queue, where its age is known.
const UNSENT: u32 = 16 * 1024;

/// Plaintext and ciphertext that rustls may hold for one connection: one full record.
pub(crate) const TLS_BUFFER: usize = 16 * 1024;

/// A peer that has not acknowledged sent data for so long is gone. Sessions have a limit of the same size for silence.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// An idle connection is probed after this time, then every second.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Probes without an answer before an idle connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Sets the options on a connected socket.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(1)).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

//! Options of the TCP sockets: little may wait in the kernel, and a dead peer is noticed.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::repeat;

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
    repeat::soon(stream);
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(1)).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    /// Bytes that the kernel takes from a sender whose peer has a small buffer and does not read.
    async fn bytes_taken(prepare: impl Fn(&TcpStream)) -> usize {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_recv_buffer_size(8 * 1024).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let sender = TcpStream::connect(addr).await.unwrap();
        prepare(&sender);
        let mut taken = 0;
        // The peer's window is shut for good, so a socket that is not writable stays so.
        while let Ok(writable) = tokio::time::timeout(Duration::from_millis(200), sender.writable()).await {
            writable.unwrap();
            match sender.try_write(&[0; 1024]) {
                Ok(count) => taken += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        taken
    }

    #[tokio::test]
    async fn little_waits_in_the_kernel() {
        let plain = bytes_taken(|_| {}).await;
        let prepared = bytes_taken(|stream| prepare(stream).unwrap()).await;
        println!("{plain} bytes without the options, {prepared} with them");
        assert!(prepared < 64 * 1024, "{prepared} bytes may grow stale in the kernel");
        assert!(plain > 4 * prepared, "{plain} bytes without the options: this test would not see them fail");
    }

    #[tokio::test]
    async fn the_options_are_in_force() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER);
    }
}

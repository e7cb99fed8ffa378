//! Whether what was written to a connection gets through, as the kernel knows it.
//!
//! A peer may be heard although it hears nothing: after a gap in the network each direction waits for its own next repetition, and
//! these waits double. What arrives does not shorten them.
#![expect(unsafe_code, reason = "TCP_INFO has no safe interface among the libraries used here")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use crate::repeat;

/// So many repetitions in vain take 1.4 s on a quick network; the next would come 1.6 s later.
const STUCK: u8 = 3;

/// So many take 1 s and more where the kernel repeats sooner, and the next would come after another.
const STUCK_SOON: u8 = 5;

/// Watches over one connection. The socket stays open as long as this is kept.
#[derive(Debug)]
pub struct Pulse {
    socket: Socket,
    /// So many repetitions in vain are too many.
    stuck: u8,
}

impl Pulse {
    pub(crate) fn of(tcp: &TcpStream) -> io::Result<Self> {
        let stuck = if repeat::is_soon(tcp) { STUCK_SOON } else { STUCK };
        SockRef::from(tcp).try_clone().map(|socket| Self { socket, stuck })
    }

    /// Whether data of ours has been repeated in vain, and will be ever more rarely.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        repetitions(&self.socket).is_ok_and(|count| count >= self.stuck)
    }
}

/// How often in a row the kernel has waited in vain for data to be acknowledged.
fn repetitions(socket: &Socket) -> io::Result<u8> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open; the kernel writes no more than `len` bytes, which is the size of the struct, and how many it wrote
    // into `len`.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a struct of integers, for which zeros are valid, and zero where the kernel has not written.
    let info = unsafe { info.assume_init() };
    Ok(info.tcpi_retransmits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_through_which_everything_comes_is_not_stuck() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tcp.try_write(&[0; 100]).unwrap();
        let pulse = Pulse::of(&tcp).unwrap();
        assert_eq!(repetitions(&pulse.socket).unwrap(), 0);
        assert!(!pulse.is_stuck());
    }
}

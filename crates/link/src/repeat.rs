//! How soon the kernel repeats what was lost, where it lets a program say so.
//!
//! Linux waits at least 200 ms for an acknowledgement before it sends again, made for networks of another kind: a packet lost once in a
//! stream with less latency than that is a gap. Since 6.15 a socket may ask for less (`TCP_RTO_MIN_US`, `TCP_DELACK_MAX_US` of
//! linux/tcp.h); the wait is still the round trip and what it varies by on top of this, and doubles with every repetition.
#![expect(unsafe_code, reason = "these options have no safe interface among the libraries used here")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// From linux/tcp.h; newer than the bindings.
const TCP_RTO_MIN_US: libc::c_int = 45;
const TCP_DELACK_MAX_US: libc::c_int = 46;

/// Added to the round trip: loss is told from delay after this time.
const SOONEST: Duration = Duration::from_millis(30);

/// The longest that an acknowledgement may wait for data to travel with. It counts as round trip at the other end.
const ACKNOWLEDGED: Duration = Duration::from_millis(10);

/// Asks for quick repetitions and acknowledgements. A kernel that knows neither keeps its own.
pub(crate) fn soon(socket: impl AsFd) {
    for (option, time) in [(TCP_RTO_MIN_US, SOONEST), (TCP_DELACK_MAX_US, ACKNOWLEDGED)] {
        // What fails is as it was, and nothing depends on it.
        let _ = set(&socket, option, time);
    }
}

/// Whether the kernel repeats soon on this socket. It rounds up to its own ticks.
pub(crate) fn is_soon(socket: impl AsFd) -> bool {
    get(&socket, TCP_RTO_MIN_US).is_ok_and(|least| least < 2 * SOONEST)
}

fn set(socket: &impl AsFd, option: libc::c_int, time: Duration) -> io::Result<()> {
    let micros = time.as_micros() as libc::c_int;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `len` bytes, the size of the integer pointed to.
    let outcome = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const micros).cast(), len)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(socket: &impl AsFd, option: libc::c_int) -> io::Result<Duration> {
    let mut micros: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call; the kernel writes at most `len` bytes, the size of the integer pointed to, and how
    // many into `len`.
    let outcome = unsafe {
        let value = (&raw mut micros).cast();
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, option, value, &raw mut len)
    };
    if outcome == 0 { Ok(Duration::from_micros(micros.unsigned_abs().into())) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_can_repeat_soon_is_asked_to() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        assert!(!is_soon(&socket), "by itself no kernel does");
        soon(&socket);
        match get(&socket, TCP_RTO_MIN_US) {
            Ok(least) => {
                assert!((SOONEST..2 * SOONEST).contains(&least), "{least:?}");
                assert!(is_soon(&socket));
                assert!(
                    get(&socket, TCP_DELACK_MAX_US).unwrap() <= Duration::from_millis(20),
                    "in ticks of the kernel"
                );
            }
            Err(error) => println!("skipped: this kernel does not know the option: {error}"),
        }
    }
}

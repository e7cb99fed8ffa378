//! UDP sockets that know when the kernel received a datagram, and that answer from the address they were asked at.
//!
//! The only unsafe code of this crate: `recvmsg` and `sendmsg` with control messages.
#![expect(unsafe_code, reason = "control messages of sockets have no safe interface among the libraries used here")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A datagram is never taken to be older than this: the wall clock was set meanwhile.
const OLDEST: Duration = Duration::from_secs(1);

/// The two clocks are read again when their readings lie further apart.
const TIGHT: Duration = Duration::from_micros(2);

/// What was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes of the datagram, also of one that did not fit.
    pub(crate) len: usize,
    pub(crate) from: SocketAddr,
    /// When the kernel got it from the network, or when it was read if the kernel does not say so in a credible way.
    pub(crate) arrived: Instant,
}

/// A socket bound to `addr` whose datagrams are stamped by the kernel on arrival.
pub(crate) fn bind(addr: SocketAddr, dual_stack: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    socket.set_nonblocking(true)?;
    // Not having them is no reason to do without the socket: the time of reading is used then.
    let _ = stamp_arrivals(&socket);
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

fn stamp_arrivals(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int of ours, whose address and size are given; the kernel reads it during the call only.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for the next datagram. Cancel safe.
///
/// # Errors
/// The socket's, also about what was sent before (nobody listens there). The socket can be used further.
pub(crate) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    socket.async_io(Interest::READABLE, || receive_now(socket, buffer)).await
}

/// Control messages in a buffer that is aligned for their headers. One stamp or one source address fits, with room to spare.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn receive_now(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is plain data for which zeros (no address, no buffers) are valid. It is not built field by field because
    // some targets have padding fields.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: `storage` has room for any address, and its size is given. The buffers that the message points to are ours,
    // exclusively borrowed, of the sizes given, and outlive the call. The kernel writes no more than these sizes, and the length of
    // the address that it wrote is handed on only when the call has succeeded.
    let (len, from) = unsafe {
        SockAddr::try_init(|storage, storage_len| {
            message.msg_name = storage.cast();
            message.msg_namelen = *storage_len;
            let len = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC | libc::MSG_DONTWAIT);
            let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
            *storage_len = message.msg_namelen;
            Ok(len)
        })?
    };
    // SAFETY: the message was filled by the call above, and `control`, to which it points, is still there.
    let arrived = arrival(unsafe { stamp(&message) });
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Received { len, from, arrived })
}

/// The kernel's stamp among the control messages of a received message, by the wall clock.
///
/// # Safety
/// Control pointer and length of the message are as a recvmsg left them that has succeeded, and the buffer still exists.
unsafe fn stamp(message: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: control pointer and length describe what the kernel has written, by the contract of this function. The macros keep
    // within that length; data is read unaligned, as the headers' macros do not promise more, and only after its length was checked.
    let time = unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        loop {
            let current = header.as_ref()?;
            let wanted = current.cmsg_level == libc::SOL_SOCKET && current.cmsg_type == libc::SCM_TIMESTAMPNS;
            if wanted && current.cmsg_len as usize >= libc::CMSG_LEN(size_of::<libc::timespec>() as _) as usize {
                break libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos.min(999_999_999)))
}

/// Carries a stamp of the wall clock over to the monotonic one.
///
/// The monotonic clock is read last, so that being interrupted between the readings lets a datagram look later than it was, never
/// earlier: that looks like delay in the network, against which whoever compares clocks is armed. A stamp in the future or too long
/// ago is not believed, since the wall clock may be set at any time.
fn arrival(stamp: Option<SystemTime>) -> Instant {
    let mut best: Option<(Duration, Instant, SystemTime)> = None;
    for _ in 0..3 {
        let before = Instant::now();
        let wall = SystemTime::now();
        let now = Instant::now();
        let spread = now - before;
        if best.is_none_or(|(least, ..)| spread < least) {
            best = Some((spread, now, wall));
        }
        if spread <= TIGHT {
            break;
        }
    }
    let Some((_, now, wall)) = best else { return Instant::now() };
    let age = stamp.and_then(|stamp| wall.duration_since(stamp).ok()).filter(|age| *age <= OLDEST);
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// Sends to the peer that the socket is connected to, without waiting.
///
/// # Errors
/// The socket's; the datagram is lost, as any may be.
pub(crate) fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    // Not by tokio's own, which does not try before it has heard that the socket is writable.
    socket2::SockRef::from(socket).send_with_flags(bytes, libc::MSG_DONTWAIT).map(drop)
}

/// Sends to `to` from `source`, an address of this host in the family of the socket, without waiting. A host with several addresses
/// would else answer from any of them, and neither the peer nor a firewall on the way knows what that belongs to.
///
/// # Errors
/// The socket's; the datagram is lost, as any may be.
pub(crate) fn send_from(socket: &UdpSocket, bytes: &[u8], source: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let to = SockAddr::from(to);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: as in `receive_now`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    match (source.ip(), source) {
        (IpAddr::V4(ip), _) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put(&mut message, &mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        (IpAddr::V6(ip), SocketAddr::V6(addr)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                // Addresses that are valid on one interface only name it.
                ipi6_ifindex: addr.scope_id() as _,
            };
            put(&mut message, &mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
        (IpAddr::V6(_), SocketAddr::V4(_)) => {}
    }
    // SAFETY: name, buffer and control of the message point to `to`, `bytes` and `control`, which live until after the call, with
    // their true sizes. The kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `data` the only control message of a message; its buffer is to outlive the message.
fn put<T: Copy>(message: &mut libc::msghdr, control: &mut Control, level: libc::c_int, kind: libc::c_int, data: T) {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: the macro only computes.
    let space = unsafe { libc::CMSG_SPACE(size) } as usize;
    if space > control.0.len() {
        return;
    }
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = space as _;
    // SAFETY: control pointer and length of the message were just set to a buffer which is aligned for a header and, as was checked,
    // has room for one header with this data; so the first header is within it, and its data too.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_datagram_is_stamped_when_it_arrives_and_not_when_it_is_read() {
        let server = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let client = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        client.connect(server.local_addr().unwrap()).await.unwrap();
        let mut buffer = [0; 65];
        // The kernel turns stamps on a little after the first socket has asked for them: until it does so it stamps when it is read.
        for attempt in 0.. {
            let before = Instant::now();
            send(&client, b"when?").unwrap();
            let sent = Instant::now();
            let wait = Duration::from_millis(40);
            std::thread::sleep(wait);
            let received = receive(&server, &mut buffer).await.unwrap();
            assert_eq!((received.len, received.from), (5, client.local_addr().unwrap()));
            assert_eq!(&buffer[..5], b"when?");
            // The wall clock may be slewed by 500 ppm against the monotonic one, and is read in whole nanoseconds.
            let slack = Duration::from_micros(50);
            if received.arrived + slack >= before && received.arrived <= sent + wait / 2 {
                break;
            }
            assert!(attempt < 50, "{:?} after it was sent", received.arrived - sent);
        }
    }

    #[test]
    fn a_stamp_that_cannot_be_true_is_not_believed() {
        let now = SystemTime::now();
        for stamp in [None, Some(now + Duration::from_secs(3_600)), Some(now - Duration::from_secs(3_600))] {
            let before = Instant::now();
            let arrived = arrival(stamp);
            assert!((before..=Instant::now()).contains(&arrived), "{stamp:?}");
        }
        let before = Instant::now();
        let age = Duration::from_millis(500);
        let arrived = arrival(Some(SystemTime::now() - age));
        // However long this thread was held up between the readings.
        assert!(arrived + age >= before && arrived + age <= Instant::now() + Duration::from_millis(1));
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for (listen, asked) in [("0.0.0.0:0", "127.0.0.5"), ("[::]:0", "127.0.0.6"), ("[::]:0", "::1")] {
            let Ok(server) = bind(listen.parse().unwrap(), true) else { continue };
            let asked = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
            // Of the same host, so that the route does not suggest the right source.
            let client = bind(if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }.parse().unwrap(), false);
            let Ok(client) = client else { continue };
            client.connect(asked).await.unwrap();
            send(&client, b"a").unwrap();
            let received = receive(&server, &mut [0; 65]).await.unwrap();
            let source = match (asked, server.local_addr().unwrap()) {
                (SocketAddr::V4(v4), SocketAddr::V6(_)) => (v4.ip().to_ipv6_mapped(), 0).into(),
                (asked, _) => asked,
            };
            send_from(&server, b"b", source, received.from).unwrap();
            // A connected socket hears its peer only.
            let answer = receive(&client, &mut [0; 65]).await.unwrap();
            assert_eq!((answer.len, answer.from), (1, asked));
        }
    }
}

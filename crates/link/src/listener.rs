//! The listening port: handshakes run side by side, within the bounds of [`Limits`], and every failure is one value.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::admission::{Door, Full};
use crate::beside::Switchboard;
use crate::{Connection, Endpoint, HandshakeError, Limits};

/// Connections that may wait in the kernel while all handshakes are taken.
const BACKLOG: i32 = 128;

/// Rest after the system refused to hand over a connection. The connection stays in the kernel's queue, and to ask again at once
/// would only burn the processor that must free the resource.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(250);

/// Sockets on which peers dial in.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    addrs: Vec<SocketAddr>,
    /// The datagrams of each socket's address, where UDP is to be had.
    boards: Vec<Option<Arc<Switchboard>>>,
    /// Why there are none on some address.
    without_datagrams: Option<io::Error>,
    /// Serves the datagrams; ends with the listener.
    _switching: JoinSet<()>,
    /// The socket to ask first, so that a busy one does not starve the others.
    turn: usize,
    endpoint: Endpoint,
    limits: Limits,
    door: Door,
    handshakes: JoinSet<Result<Connection, Failure>>,
    /// Runs while the system is out of descriptors or memory.
    pause: Option<Pin<Box<Sleep>>>,
    /// Exhaustion has been reported and has not ended since.
    exhausted: bool,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The list of addresses is empty.
    #[error("no address to listen on; `[::]:PORT` is every address of this host")]
    NoAddress,
    /// Another program has the port.
    #[error("{addr} is in use; end the other program, or listen on another port (0 takes a free one)")]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The address is not one of this host's.
    #[error("{addr} is not an address of this host; `[::]:{}` is every address of it", .addr.port())]
    NotLocal {
        /// The address.
        addr: SocketAddr,
    },
    /// The system refused for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Io {
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

/// One peer that did not get in; worth one line in a log. It has been disconnected.
#[derive(Debug)]
pub struct Failure {
    /// The peer's address; unknown if the system could not hand the connection over.
    pub addr: Option<SocketAddr>,
    /// Why.
    pub cause: Cause,
}

/// Why a peer did not get in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// [`Limits::connections`] is reached.
    #[error("refused, because there are {limit} connections already")]
    TooManyConnections {
        /// The bound.
        limit: usize,
    },
    /// [`Limits::per_address`] is reached.
    #[error("refused, because there are {limit} connections from this address already")]
    TooManyFromAddress {
        /// The bound.
        limit: usize,
    },
    /// The system has no descriptor or memory left for a connection. Said once; the listener goes on trying and recovers by itself.
    #[error("cannot take further connections for now: {0}; the limit of open files (`ulimit -n`) may be too low")]
    Exhausted(io::Error),
}

impl Failure {
    /// Whether the peer has gone before it completed the handshake: it has found another way meanwhile, or was a scan of the port.
    #[must_use]
    pub fn said_nothing(&self) -> bool {
        matches!(self.cause, Cause::Handshake(HandshakeError::Closed))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => write!(f, "{addr}: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl Listener {
    /// Listens on all of `addrs`. `[::]:PORT` takes IPv4 as well, unless the list holds `0.0.0.0:PORT` too, and becomes `0.0.0.0` on
    /// a host without IPv6. Port 0 takes a free port, a different one for each address.
    ///
    /// The UDP ports of the same numbers are taken for datagrams. One that is not to be had is no reason not to listen: see
    /// [`without_datagrams`](Self::without_datagrams).
    ///
    /// Call it inside a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// When any of the addresses cannot be listened on.
    pub fn bind(addrs: &[SocketAddr], endpoint: &Endpoint, limits: Limits) -> Result<Self, BindError> {
        if addrs.is_empty() {
            return Err(BindError::NoAddress);
        }
        let sockets: Vec<TcpListener> = addrs.iter().map(|&addr| bind_one(addr, addrs)).collect::<Result<_, _>>()?;
        let local = |(socket, &addr): (&TcpListener, &SocketAddr)| {
            socket.local_addr().map_err(|source| BindError::Io { addr, source })
        };
        let bound: Vec<SocketAddr> = sockets.iter().zip(addrs).map(local).collect::<Result<_, _>>()?;
        let (mut switching, mut without_datagrams) = (JoinSet::new(), None);
        let board = |&addr: &SocketAddr| {
            let bound = Switchboard::bind(addr, takes_both_families(addr, &bound), &mut switching);
            bound.map_err(|error| without_datagrams = Some(error)).ok()
        };
        let boards = bound.iter().map(board).collect();
        Ok(Self {
            addrs: bound,
            sockets,
            boards,
            without_datagrams,
            _switching: switching,
            turn: 0,
            endpoint: endpoint.clone(),
            door: Door::new(&limits),
            limits,
            handshakes: JoinSet::new(),
            pause: None,
            exhausted: false,
        })
    }

    /// The first address listened on, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// All addresses listened on, in the order they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Why connections to an address of this listener have no datagrams, if that is so: another program has the UDP port, say.
    pub fn without_datagrams(&self) -> Option<&io::Error> {
        self.without_datagrams.as_ref()
    }

    /// Waits for the next peer that got in, or did not. It never ends, and a failure concerns one peer only: keep calling it.
    ///
    /// Cancel safe. Handshakes go on between calls; only new connections wait for one.
    ///
    /// # Errors
    /// One [`Failure`] for each peer that was turned away.
    pub async fn accept(&mut self) -> Result<Connection, Failure> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Failure>> {
        loop {
            match self.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(outcome))) => return Poll::Ready(outcome),
                Poll::Ready(Some(Err(panicked))) => {
                    let cause = HandshakeError::Io(io::Error::other(panicked)).into();
                    return Poll::Ready(Err(Failure { addr: None, cause }));
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            // Peers beyond the bound stay in the kernel's queue; the end of a handshake wakes this task.
            if self.handshakes.len() >= self.limits.handshakes.max(1) {
                return Poll::Pending;
            }
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.poll_sockets(cx)) {
                Ok((tcp, addr, index)) => {
                    self.exhausted = false;
                    if let Err(failure) = self.start_handshake(tcp, addr, index) {
                        return Poll::Ready(Err(failure));
                    }
                }
                Err(error) if concerns_one_peer(&error) => {}
                Err(error) => {
                    self.pause = Some(Box::pin(sleep(EXHAUSTED_PAUSE)));
                    if !std::mem::replace(&mut self.exhausted, true) {
                        return Poll::Ready(Err(Failure { addr: None, cause: Cause::Exhausted(error) }));
                    }
                }
            }
        }
    }

    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr, usize)>> {
        let count = self.sockets.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if let Poll::Ready(outcome) = self.sockets[index].poll_accept(cx) {
                self.turn = (index + 1) % count;
                return Poll::Ready(outcome.map(|(tcp, addr)| (tcp, addr, index)));
            }
        }
        Poll::Pending
    }

    fn start_handshake(&mut self, tcp: TcpStream, addr: SocketAddr, index: usize) -> Result<(), Failure> {
        // An IPv4 peer of a dual-stack socket is the same host as on an IPv4 socket.
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let place = self.door.admit(addr.ip()).map_err(|full| Failure {
            addr: Some(addr),
            cause: match full {
                Full::Connections => Cause::TooManyConnections { limit: self.limits.connections },
                Full::Address => Cause::TooManyFromAddress { limit: self.limits.per_address },
            },
        })?;
        let (endpoint, limit) = (self.endpoint.clone(), self.limits.handshake_time);
        let board = self.boards.get(index).cloned().flatten();
        self.handshakes.spawn(async move {
            Connection::handshake_as_server(tcp, addr, &endpoint, limit, place, board)
                .await
                .map_err(|error| Failure { addr: Some(addr), cause: error.into() })
        });
        Ok(())
    }
}

/// Whether a socket on `addr` is to take IPv4 as well.
fn takes_both_families(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    addr.ip() == Ipv6Addr::UNSPECIFIED && !all.contains(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())))
}

fn bind_one(addr: SocketAddr, all: &[SocketAddr]) -> Result<TcpListener, BindError> {
    let both = takes_both_families(addr, all);
    let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    let outcome = match listen(addr, both) {
        Err(error) if both && lacks_ipv6(&error) => listen(any_v4, false),
        outcome => outcome,
    };
    outcome.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { addr },
        _ => BindError::Io { addr, source },
    })
}

fn listen(addr: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A restarted player must get its port back while old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT))
}

/// Errors of accept(2) that belong to the connection at the head of the queue, which is gone by now; the next one may be fine.
fn concerns_one_peer(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::PERM
        )
    )
}

//! The way of datagrams beside a connection: a socket of its own at the end that dialled, one for all connections at the end that
//! listens.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::datagram::{Channel, ChannelId, DATAGRAM_LEN, Opener, PAYLOAD_LEN, Sealer, addressed};
use crate::udp::{self, Received};

/// Datagrams that may wait for a connection which has other things to do; more are lost.
const WAITING: usize = 16;

/// Rest after an error of a socket. Most are about datagrams that met nobody; stamps are the kernel's, so nothing is late by it.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Room for a datagram, and a byte to tell a longer one.
type Buffer = [u8; DATAGRAM_LEN + 1];

/// The payload of a datagram of the peer's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    pub(crate) at: Instant,
    pub(crate) payload: [u8; PAYLOAD_LEN],
}

/// The datagrams of one connection.
#[derive(Debug)]
pub(crate) struct Beside {
    sealer: Sealer,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A socket that is connected to the peer's listening port.
    Own { socket: UdpSocket, opener: Box<Opener> },
    /// The listening socket. Where the peer is shows when its first datagram comes.
    Shared { board: Arc<Switchboard>, id: ChannelId, source: SocketAddr, inbox: mpsc::Receiver<Arrived> },
}

impl Beside {
    /// Beside a connection that this end has dialled.
    pub(crate) async fn dialled(tcp: &TcpStream, channel: Channel) -> io::Result<Self> {
        let mut from = tcp.local_addr()?;
        from.set_port(0);
        let socket = udp::bind(from, false)?;
        socket.connect(tcp.peer_addr()?).await?;
        Ok(Self { sealer: channel.sealer, way: Way::Own { socket, opener: Box::new(channel.opener) } })
    }

    /// Beside a connection that was accepted on the address of `board`.
    pub(crate) fn accepted(tcp: &TcpStream, channel: Channel, board: &Arc<Switchboard>) -> io::Result<Self> {
        let source = tcp.local_addr()?;
        let host = tcp.peer_addr()?.ip().to_canonical();
        let Channel { id, sealer, opener } = channel;
        let (letterbox, inbox) = mpsc::channel(WAITING);
        board.lines().insert(id, Line { opener, host, peer: None, inbox: letterbox });
        Ok(Self { sealer, way: Way::Shared { board: Arc::clone(board), id, source, inbox } })
    }

    /// The next payload from the peer. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Arrived {
        match &mut self.way {
            Way::Own { socket, opener } => {
                let mut buffer: Buffer = [0; DATAGRAM_LEN + 1];
                loop {
                    match udp::receive(socket, &mut buffer).await {
                        Ok(Received { len, arrived: at, .. }) => {
                            let opened =
                                buffer.get(..len).and_then(addressed).and_then(|(_, bytes)| opener.open(bytes));
                            if let Some(opened) = opened {
                                return Arrived { at, payload: opened.payload };
                            }
                        }
                        Err(_) => sleep(ERROR_PAUSE).await,
                    }
                }
            }
            Way::Shared { inbox, .. } => match inbox.recv().await {
                Some(arrived) => arrived,
                // The line was given to another connection, which no two honest ends bring about.
                None => std::future::pending().await,
            },
        }
    }

    /// Whether it is known where the peer is.
    pub(crate) fn is_open(&self) -> bool {
        match &self.way {
            Way::Own { .. } => true,
            Way::Shared { board, id, .. } => board.lines().get(id).is_some_and(|line| line.peer.is_some()),
        }
    }

    /// Sends a payload; one that cannot leave at once is lost, as any may be on its way.
    pub(crate) fn send(&mut self, payload: &[u8; PAYLOAD_LEN]) {
        let Ok(datagram) = self.sealer.seal(payload) else { return };
        let _ = match &self.way {
            Way::Own { socket, .. } => udp::send(socket, &datagram),
            Way::Shared { board, id, source, .. } => {
                let Some(peer) = board.lines().get(id).and_then(|line| line.peer) else { return };
                udp::send_from(&board.socket, &datagram, *source, peer)
            }
        };
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Way::Shared { board, id, .. } = &self.way {
            board.lines().remove(id);
        }
    }
}

/// The socket of one listening address, and whose datagrams come there.
#[derive(Debug)]
pub(crate) struct Switchboard {
    socket: UdpSocket,
    lines: Mutex<HashMap<ChannelId, Line>>,
}

/// One connection as its listening socket knows it.
#[derive(Debug)]
struct Line {
    opener: Opener,
    /// Where the connection is from. A datagram that is repeated from elsewhere would draw the answers there.
    host: IpAddr,
    /// Where its newest datagram came from.
    peer: Option<SocketAddr>,
    inbox: mpsc::Sender<Arrived>,
}

impl Switchboard {
    /// Binds the UDP port of a TCP socket that listens at `addr`, and serves it as part of `tasks`.
    pub(crate) fn bind(addr: SocketAddr, dual_stack: bool, tasks: &mut JoinSet<()>) -> io::Result<Arc<Self>> {
        let socket = udp::bind(addr, dual_stack)?;
        let board = Arc::new(Self { socket, lines: Mutex::default() });
        tasks.spawn(Arc::clone(&board).serve());
        Ok(board)
    }

    /// Hands out what comes. What is not from one of the peers is dropped without a word; tokio lets the others run in between,
    /// however much of it comes.
    async fn serve(self: Arc<Self>) {
        let mut buffer: Buffer = [0; DATAGRAM_LEN + 1];
        loop {
            match udp::receive(&self.socket, &mut buffer).await {
                Ok(received) => self.hand_out(&buffer, &received),
                Err(_) => sleep(ERROR_PAUSE).await,
            }
        }
    }

    fn hand_out(&self, buffer: &Buffer, received: &Received) {
        let Some((id, datagram)) = buffer.get(..received.len).and_then(addressed) else { return };
        let mut lines = self.lines();
        let from = received.from.ip().to_canonical();
        let Some(line) = lines.get_mut(&id).filter(|line| line.host == from) else { return };
        let Some(opened) = line.opener.open(datagram) else { return };
        if opened.newest {
            line.peer = Some(received.from);
        }
        // Full when the connection is held up: the oldest are worth no less than the newest, since they are stamped.
        let _ = line.inbox.try_send(Arrived { at: received.arrived, payload: opened.payload });
    }

    /// The lines are consistent whenever the lock is free, so a panic elsewhere does not spoil them.
    fn lines(&self) -> MutexGuard<'_, HashMap<ChannelId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

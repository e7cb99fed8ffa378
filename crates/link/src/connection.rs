//! An encrypted, mutually authenticated byte stream, and the handshake that makes it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{IpAddr, ServerName};
use rustls::{AlertDescription, CommonState, Error as TlsError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::admission::Place;
use crate::beside::{Beside, Switchboard};
use crate::datagram::{Channel, End, LABEL, SECRETS_LEN};
use crate::pulse::Pulse;
use crate::socket::{self, TLS_BUFFER};
use crate::{Endpoint, PeerId, verifier};

/// A connection to a peer that has proved who it is. Dropping it closes the socket at once; see [`Writer::close`] for the polite way.
#[derive(Debug)]
pub struct Connection {
    peer: PeerId,
    addr: SocketAddr,
    stream: TlsStream<TcpStream>,
    place: Option<Arc<Place>>,
    beside: Option<Beside>,
}

/// Why a TCP connection did not become a [`Connection`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer did not finish in time.
    #[error("no complete TLS handshake within {} ms", .limit.as_millis())]
    Timeout {
        /// The time it had.
        limit: Duration,
    },
    /// The peer closed the connection before the handshake was complete.
    #[error("closed by the peer during the TLS handshake")]
    Closed,
    /// The peer sent something that is not TLS.
    #[error("the peer does not speak TLS ({0}); does the port belong to another program?")]
    NotTls(TlsError),
    /// The peer speaks TLS, but not our application protocol.
    #[error("the peer does not speak `{}` over TLS (ALPN); is it another program, or a version too far from this one?", .expected.escape_ascii())]
    Alpn {
        /// The only protocol accepted.
        expected: Vec<u8>,
    },
    /// A certificate is missing, unreadable or not the peer's own, on this side or the other.
    #[error("certificate refused: {0}")]
    Certificate(TlsError),
    /// Any other failure of TLS; among them peers that know no TLS 1.3.
    #[error("TLS 1.3 handshake failed: {0}")]
    Tls(TlsError),
    /// The socket failed.
    #[error("connection lost during the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    fn from_io(error: io::Error, expected: &[u8]) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()).cloned() else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::Closed
                }
                _ => Self::Io(error),
            };
        };
        use AlertDescription as Alert;
        match tls {
            TlsError::NoApplicationProtocol | TlsError::AlertReceived(Alert::NoApplicationProtocol) => {
                Self::Alpn { expected: expected.to_vec() }
            }
            TlsError::InvalidMessage(_) => Self::NotTls(tls),
            TlsError::InvalidCertificate(_)
            | TlsError::NoCertificatesPresented
            | TlsError::AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA,
            ) => Self::Certificate(tls),
            tls => Self::Tls(tls),
        }
    }
}

impl Connection {
    /// Performs the handshake of the end that dialled. `deadline` lies `limit` after the start of whatever the time is counted from.
    pub(crate) async fn handshake_as_client(
        tcp: TcpStream,
        addr: SocketAddr,
        endpoint: &Endpoint,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Self, HandshakeError> {
        socket::prepare(&tcp).map_err(HandshakeError::Io)?;
        // Never sent (SNI is off) nor looked at; rustls wants a name all the same.
        let name = ServerName::IpAddress(IpAddr::from(addr.ip()));
        let handshake = TlsConnector::from(endpoint.client()).connect(name, tcp);
        let mut stream = within(deadline, limit, handshake, endpoint).await?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        let (tcp, tls) = stream.get_ref();
        // A connection without datagrams is as good, but for the precision of clocks.
        let beside = match tls.export_keying_material([0; SECRETS_LEN], LABEL, None) {
            Ok(secrets) => match Channel::new(&secrets, End::Dialler) {
                Ok(channel) => Beside::dialled(tcp, channel).await.ok(),
                Err(_) => None,
            },
            Err(_) => None,
        };
        Ok(Self { beside, ..Self::checked(stream.into(), addr, endpoint, None)? })
    }

    /// Performs the handshake of the end that listens; `board` has the datagrams of its address.
    pub(crate) async fn handshake_as_server(
        tcp: TcpStream,
        addr: SocketAddr,
        endpoint: &Endpoint,
        limit: Duration,
        place: Place,
        board: Option<Arc<Switchboard>>,
    ) -> Result<Self, HandshakeError> {
        let deadline = Instant::now() + limit;
        socket::prepare(&tcp).map_err(HandshakeError::Io)?;
        let handshake = TlsAcceptor::from(endpoint.server()).accept(tcp);
        let mut stream = within(deadline, limit, handshake, endpoint).await?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        let (tcp, tls) = stream.get_ref();
        let beside = board.and_then(|board| {
            let secrets = tls.export_keying_material([0; SECRETS_LEN], LABEL, None).ok()?;
            Beside::accepted(tcp, Channel::new(&secrets, End::Listener).ok()?, &board).ok()
        });
        Ok(Self { beside, ..Self::checked(stream.into(), addr, endpoint, Some(Arc::new(place)))? })
    }

    fn checked(
        stream: TlsStream<TcpStream>,
        addr: SocketAddr,
        endpoint: &Endpoint,
        place: Option<Arc<Place>>,
    ) -> Result<Self, HandshakeError> {
        let (_, state) = stream.get_ref();
        // A peer that offers no protocol at all passes TLS, which judges only offers.
        if state.alpn_protocol() != Some(endpoint.protocol()) {
            return Err(HandshakeError::Alpn { expected: endpoint.protocol().to_vec() });
        }
        let peer = peer_of(state).map_err(HandshakeError::Certificate)?;
        Ok(Self { peer, addr, stream, place, beside: None })
    }

    /// Who the peer is, proved by the handshake.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The peer's address.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether this end can send and receive datagrams beside the connection. Whether they pass is another matter.
    pub const fn has_datagrams(&self) -> bool {
        self.beside.is_some()
    }

    /// By which it is seen whether what is written to the connection gets through; `None` where the system refuses.
    #[must_use]
    pub fn pulse(&self) -> Option<Pulse> {
        Pulse::of(self.stream.get_ref().0).ok()
    }

    /// Takes the datagrams from the connection.
    pub(crate) fn take_beside(&mut self) -> Option<Beside> {
        self.beside.take()
    }

    /// Splits the connection into halves that may be used by different tasks. The socket closes when both are dropped.
    /// Datagrams end with this; [`drive`](crate::drive) keeps them.
    pub fn into_split(self) -> (Reader, Writer) {
        let (read, write) = tokio::io::split(self.stream);
        (Reader { stream: read, _place: self.place.clone() }, Writer { stream: write, _place: self.place })
    }
}

async fn within<S>(
    deadline: Instant,
    limit: Duration,
    handshake: impl Future<Output = io::Result<S>>,
    endpoint: &Endpoint,
) -> Result<S, HandshakeError> {
    match timeout_at(deadline, handshake).await {
        Ok(outcome) => outcome.map_err(|error| HandshakeError::from_io(error, endpoint.protocol())),
        Err(_elapsed) => Err(HandshakeError::Timeout { limit }),
    }
}

fn peer_of(state: &CommonState) -> Result<PeerId, TlsError> {
    let certificate = state.peer_certificates().and_then(<[_]>::first).ok_or(TlsError::NoCertificatesPresented)?;
    verifier::peer_id(certificate)
}

/// The receiving half of a [`Connection`].
///
/// Reading yields end of file only after the peer's `close_notify`; a stream cut off without it is an
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) error.
#[derive(Debug)]
pub struct Reader {
    stream: ReadHalf<TlsStream<TcpStream>>,
    _place: Option<Arc<Place>>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// The sending half of a [`Connection`].
///
/// A write may take a part of the data only, and waits while more than a few records are unsent: what is too old by then can still be
/// dropped by the caller. Call `flush` after the last write of a batch.
#[derive(Debug)]
pub struct Writer {
    stream: WriteHalf<TlsStream<TcpStream>>,
    _place: Option<Arc<Place>>,
}

impl Writer {
    /// Sends what is buffered, says `close_notify` and ends this direction. A peer that does not read gets `limit` to do so.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) after `limit`, or the socket's failure. Either way the connection is at its end: drop
    /// the [`Reader`] as well.
    pub async fn close(mut self, limit: Duration) -> io::Result<()> {
        timeout(limit, self.stream.shutdown()).await.unwrap_or_else(|_elapsed| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the peer did not take the end of the stream within {} ms", limit.as_millis()),
            ))
        })
    }
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! Dialling a peer: from a name or addresses to a [`Connection`], within one time limit.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::{Connection, Endpoint, HandshakeError};

/// Head start of an address before the next one is tried beside it (RFC 8305, section 5, recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// An address that does not answer is tried afresh so often, beside the attempts under way: the kernel repeats its own after 1 s, 3 s and 7 s
/// only, and a way that has just opened is not to wait for that.
const AFRESH: Duration = Duration::from_millis(500);

/// Attempts under way at one address. The oldest is given up for the next, so a round trip of up to two seconds still gets through.
const BESIDE: usize = 4;

/// More addresses than any honest host has.
const MAX_ADDRESSES: usize = 16;

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Addresses of one host, the preferred one first.
    Addresses(Vec<SocketAddr>),
    /// A host name to look up at each attempt.
    Name {
        /// The name, without a port.
        host: String,
        /// The port, 1 to 65535.
        port: u16,
    },
}

/// A text does not say where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address of a peer: accepted are HOST, HOST:PORT, IPV4, IPV4:PORT, IPV6 and [IPV6]:PORT with a port from 1 to 65535"
)]
pub struct TargetError {
    text: String,
}

impl Target {
    /// Reads `HOST`, `HOST:PORT`, an IPv4 or an IPv6 address (in brackets, if a port follows; a scope as in `fe80::1%eth0` may be
    /// part of it). Without a port, `default_port` is taken.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, TargetError> {
        let refused = || TargetError { text: text.to_owned() };
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 { Err(refused()) } else { Ok(addr.into()) };
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, default_port).into());
        }
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or_else(refused)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(refused)?) };
            (host, port)
        } else if text.matches(':').count() > 1 {
            // Only an IPv6 address with a scope has several colons and is not read above.
            (text, None)
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None => default_port,
            Some(digits) => digits.parse().ok().filter(|&port| port != 0).ok_or_else(refused)?,
        };
        let colons_belong = host.contains(':') <= host.contains('%');
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"[]/".contains(c);
        if host.is_empty() || host.len() > 255 || !colons_belong || !host.chars().all(plain) {
            return Err(refused());
        }
        Ok(Self::Name { host: host.to_owned(), port })
    }

    /// The one spelling of what has been read, by which places are compared: lower case, and no port where it is `default_port`. It can be read
    /// again.
    #[must_use]
    pub fn spelling(&self, default_port: u16) -> String {
        let spelled = |host: String, port: u16| match port {
            _ if port == default_port => host,
            _ if host.contains(':') => format!("[{host}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        match self {
            Self::Name { host, port } => {
                // A scope is the name of an interface, in which capitals count.
                let (name, scope) = host.split_at(host.find('%').unwrap_or(host.len()));
                spelled(name.to_ascii_lowercase() + scope, *port)
            }
            Self::Addresses(addrs) => {
                let one = |addr: &SocketAddr| match addr {
                    SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                        spelled(format!("{}%{}", v6.ip(), v6.scope_id()), v6.port())
                    }
                    _ => spelled(addr.ip().to_string(), addr.port()),
                };
                addrs.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::Addresses(vec![addr])
    }
}

impl From<Vec<SocketAddr>> for Target {
    fn from(addrs: Vec<SocketAddr>) -> Self {
        Self::Addresses(addrs)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Addresses(addrs) => {
                for (index, addr) in addrs.iter().enumerate() {
                    write!(f, "{}{addr}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// What a dialling end waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The look-up of a name.
    Lookup,
    /// An answer to TCP.
    Connect,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "the look-up of its name",
            Self::Connect => "an answer from its address",
        })
    }
}

/// A peer could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name is unknown.
    #[error("cannot find `{host}`: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// There is nothing to dial.
    #[error("`{target}` has no address")]
    NoAddress {
        /// What was dialled.
        target: Target,
    },
    /// The host is there, but nothing listens.
    #[error("{addr} refused the connection: nothing listens there, or a firewall forbids it")]
    Refused {
        /// The address.
        addr: SocketAddr,
    },
    /// The network knows no way to the host.
    #[error("cannot reach {addr}: {source}")]
    Unreachable {
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The time was over before the handshake began.
    #[error("`{target}`: {stage} did not come within {} ms", .limit.as_millis())]
    Timeout {
        /// What was dialled.
        target: Target,
        /// What was missing.
        stage: Stage,
        /// The time it had.
        limit: Duration,
    },
    /// Something answered, but is no peer of ours.
    #[error("{addr}: {cause}")]
    Handshake {
        /// The address.
        addr: SocketAddr,
        /// What failed.
        #[source]
        cause: HandshakeError,
    },
}

/// Connects to `target`, all of it within `limit`: look-up, TCP and handshake.
///
/// Addresses are tried in turn with a head start of 250 ms each, IPv6 and IPv4 alternating; the first that answers TCP gets the
/// handshake (after RFC 8305). An address that does not answer is tried afresh every half a second. Cancel safe: dropping the future ends all attempts.
///
/// TLS 1.3 lets the dialling end finish first. A listener that then refuses this end's certificate, or has no place left, shows as an
/// error of the first read.
///
/// # Errors
/// [`DialError`]; of several addresses, the one that came nearest to success is told.
pub async fn dial(endpoint: &Endpoint, target: &Target, limit: Duration) -> Result<Connection, DialError> {
    let deadline = Instant::now() + limit;
    let timed_out = |stage| DialError::Timeout { target: target.clone(), stage, limit };

    let found = match target {
        Target::Addresses(addrs) => addrs.clone(),
        Target::Name { host, port } => timeout_at(deadline, lookup_host((host.as_str(), *port)))
            .await
            .map_err(|_elapsed| timed_out(Stage::Lookup))?
            .map_err(|source| DialError::Lookup { host: host.clone(), source })?
            .collect(),
    };
    let addrs = in_order(found);
    if addrs.is_empty() {
        return Err(DialError::NoAddress { target: target.clone() });
    }
    let (tcp, addr) =
        timeout_at(deadline, connect_first(addrs)).await.map_err(|_elapsed| timed_out(Stage::Connect))??;
    Connection::handshake_as_client(tcp, addr, endpoint, deadline, limit)
        .await
        .map_err(|cause| DialError::Handshake { addr, cause })
}

/// Without repetitions, the families alternating, the family of the first address first.
fn in_order(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut addrs: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for addr in found {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    let Some(first) = addrs.first().map(SocketAddr::is_ipv6) else { return addrs };
    let (mut ours, mut others) = addrs.into_iter().partition::<Vec<_>, _>(|addr| addr.is_ipv6() == first);
    let (mut ours, mut others) = (ours.drain(..), others.drain(..));
    let mut ordered = Vec::new();
    loop {
        let pair = [ours.next(), others.next()];
        if pair == [None, None] || ordered.len() >= MAX_ADDRESSES {
            ordered.truncate(MAX_ADDRESSES);
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// Waits for an answer of `addr`; what the system refuses at once is an answer.
async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut under_way: VecDeque<AbortHandle> = VecDeque::with_capacity(BESIDE);
    loop {
        if under_way.len() == BESIDE {
            if let Some(oldest) = under_way.pop_front() {
                oldest.abort();
            }
        }
        under_way.push_back(attempts.spawn(TcpStream::connect(addr)));
        let answer = async {
            loop {
                match attempts.join_next().await {
                    Some(Ok(answer)) => return answer,
                    // One that was given up.
                    Some(Err(_)) => {}
                    None => pending().await,
                }
            }
        };
        if let Ok(answer) = timeout(AFRESH, answer).await {
            return answer;
        }
    }
}

async fn connect_first(addrs: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut attempts: JoinSet<(SocketAddr, io::Result<TcpStream>)> = JoinSet::new();
    let mut waiting = addrs.into_iter();
    let mut next_start = Instant::now();
    let mut failure: Option<DialError> = None;
    let mut remaining = waiting.next();
    loop {
        tokio::select! {
            biased;
            Some(attempt) = attempts.join_next() => {
                let (addr, error) = match attempt {
                    Ok((addr, Ok(tcp))) => return Ok((tcp, addr)),
                    Ok((addr, Err(error))) => (addr, error),
                    // Attempts neither panic nor are cancelled from outside; were it so, the others still count.
                    Err(_) => continue,
                };
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                failure = match failure {
                    Some(nearer @ DialError::Refused { .. }) => Some(nearer),
                    _ if refused => Some(DialError::Refused { addr }),
                    _ => Some(DialError::Unreachable { addr, source: error }),
                };
                // No reason to wait for the head start of an attempt that has ended.
                next_start = Instant::now();
            }
            () = sleep_until(next_start), if remaining.is_some() => {
                if let Some(addr) = remaining {
                    attempts.spawn(async move { (addr, connect(addr).await) });
                }
                remaining = waiting.next();
                next_start = Instant::now() + HEAD_START;
            }
            else => break,
        }
    }
    Err(failure.unwrap_or(DialError::NoAddress { target: Target::Addresses(Vec::new()) }))
}

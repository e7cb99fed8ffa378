//! The asking end of a connection to a player, for the commands: says hello as a sender does, hands on what is told, and takes leave. It
//! never streams.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_link::{
    Connection, DialError, Endpoint, EndpointError, Identity, IdentityError, PeerId, Protocol, Target, TargetError,
    dial, drive,
};
use audera_wire::{CloseCode, SenderEvent, SenderHello, SenderSession, SessionError};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::cli::exit;
use crate::config::{Config, ConfigError};
use crate::monotonic;
use crate::room::SOFTWARE;

const DIAL_LIMIT: Duration = Duration::from_secs(4);
/// How long the first answer may take once the connection stands.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// How long the player may take for our farewell.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// Why a player has told nothing.
#[derive(Debug, Error)]
pub enum AskError {
    /// The configuration of the player on this machine is wrong, so it is not known where it listens.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host given is none.
    #[error(transparent)]
    Host(#[from] TargetError),
    /// The player on this machine listens on a port that only its log tells.
    #[error(
        "the player on this machine takes any free port (listen = \"{listen}\"): give HOST:PORT, as its log tells it"
    )]
    AnyPort {
        /// As configured.
        listen: SocketAddr,
    },
    /// There is no identity to show to the player.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nothing listens on this machine.
    #[error(
        "no player runs on this machine, or it listens elsewhere than {target}: `systemctl --user start audera-player` starts it"
    )]
    NotRunning {
        /// Where it was looked for.
        target: Target,
    },
    /// The player cannot be reached.
    #[error("{0}")]
    Unreachable(DialError),
    /// The player lets this user and host not in.
    #[error(
        "{target} does not trust this user and host: add its id {id} to the player's trusted.toml and reload the player, or set access = \"open\" there"
    )]
    NotTrusted {
        /// Who was asked.
        target: Target,
        /// The own id.
        id: String,
    },
    /// What answers is a sender.
    #[error("{target} is a source, which sends: only players tell how they fare")]
    NotAPlayer {
        /// Who was asked.
        target: Target,
    },
    /// The player has taken leave, or did not understand the question.
    #[error("{target} has ended the connection: {why}")]
    Ended {
        /// Who was asked.
        target: Target,
        /// What it said.
        why: String,
    },
    /// Nothing came.
    #[error("{target} tells nothing: {} s were not enough, or it is too old to be asked", ANSWER_LIMIT.as_secs())]
    Silent {
        /// Who was asked.
        target: Target,
    },
    /// The system fails.
    #[error("cannot go on: {0}")]
    System(#[from] io::Error),
}

impl AskError {
    /// What the program ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Host(_) | Self::AnyPort { .. } => exit::CONFIG,
            Self::Identity(_) | Self::Endpoint(_) | Self::System(_) => exit::FAILED,
            Self::NotTrusted { .. } => exit::NOT_TRUSTED,
            Self::NotRunning { .. }
            | Self::Unreachable(_)
            | Self::NotAPlayer { .. }
            | Self::Ended { .. }
            | Self::Silent { .. } => exit::UNREACHABLE,
        }
    }
}

/// Whom to ask, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// `host` or `host:port`; `None` for the player on this machine.
    pub(crate) host: Option<&'a str>,
    /// The configuration of this machine's player, whose identity is shown.
    pub(crate) config: &'a Config,
    /// What the player's log calls us.
    pub(crate) name: &'a str,
    /// Whether it goes on until Ctrl-C.
    pub(crate) patient: bool,
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer {
    pub(crate) id: PeerId,
    pub(crate) address: SocketAddr,
}

/// What is to come after what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow<T> {
    /// The answer.
    Wait,
    /// More of the same, whenever it comes.
    GoOn,
    /// Nothing: this is what has come of it.
    Enough(T),
}

impl Question<'_> {
    /// Asks: `hear` is given what the player tells and speaks to the session, until it has had enough. `None` when Ctrl-C came before that.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) fn ask<T>(
        &self,
        hear: impl FnMut(Answerer, &mut SenderSession, SenderEvent) -> Flow<T>,
    ) -> Result<Option<T>, AskError> {
        let target = match self.host {
            Some(host) => Target::parse(host, audera_wire::PORT)?,
            None => local(self.config.listen)?,
        };
        let identity = Identity::load_or_create(&self.config.state_dir)?;
        let endpoint = Endpoint::new(&identity, audera_wire::ALPN)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let connection = dial(&endpoint, &target, DIAL_LIMIT).await.map_err(|error| match error {
                DialError::Refused { .. } if self.host.is_none() => AskError::NotRunning { target: target.clone() },
                other => AskError::Unreachable(other),
            })?;
            let ended = match converse(connection, self.name, self.patient, hear).await {
                Ok(outcome) => return Ok(outcome),
                Err(ended) => ended,
            };
            let target = target.clone();
            Err(match ended {
                Ended::Told(CloseCode::NotPaired, _) => AskError::NotTrusted { target, id: endpoint.id().to_string() },
                Ended::Told(CloseCode::Role, _) => AskError::NotAPlayer { target },
                Ended::Told(code, why) if why.is_empty() => AskError::Ended { target, why: code.to_string() },
                Ended::Told(_, why) | Ended::Broken(why) => AskError::Ended { target, why },
                Ended::Silent => AskError::Silent { target },
            })
        });
        // A look-up of a name cannot be interrupted, and nothing waits for it any more.
        runtime.shutdown_background();
        outcome
    }
}

/// Where the player on this machine is that listens there.
fn local(listen: SocketAddr) -> Result<Target, AskError> {
    let at = |ip: IpAddr| SocketAddr::new(ip, listen.port());
    let loopbacks = [at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())];
    match listen.ip() {
        _ if listen.port() == 0 => Err(AskError::AnyPort { listen }),
        IpAddr::V4(ip) if ip.is_unspecified() => Ok(loopbacks[0].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => Ok(loopbacks.to_vec().into()),
        _ => Ok(listen.into()),
    }
}

/// How it ended before there was enough.
enum Ended {
    /// By the farewell of the other end, or the own one.
    Told(CloseCode, String),
    /// With the connection, and why.
    Broken(String),
    /// Nothing was told in time.
    Silent,
}

async fn converse<T>(
    connection: Connection,
    name: &str,
    patient: bool,
    mut hear: impl FnMut(Answerer, &mut SenderSession, SenderEvent) -> Flow<T>,
) -> Result<Option<T>, Ended> {
    let answerer = Answerer { id: connection.peer(), address: connection.addr() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let session = RefCell::new(SenderSession::new(SenderHello::new(name, SOFTWARE), now()));
    let (peer, wake) = (Peer { session, tell }, Notify::new());
    let driving = drive(connection, &peer, &wake);
    tokio::pin!(driving);
    let deadline = Instant::now() + ANSWER_LIMIT;
    let mut answered = false;
    let outcome = loop {
        tokio::select! {
            biased;
            // What came before the end is heard before it.
            Some(event) = told.recv() => {
                if let SenderEvent::Closed { code, reason } = event {
                    break Err(Ended::Told(code, reason));
                }
                let flow = hear(answerer, &mut peer.session.borrow_mut(), event);
                wake.notify_one();
                match flow {
                    Flow::Wait => {}
                    Flow::GoOn => answered = true,
                    Flow::Enough(outcome) => break Ok(Some(outcome)),
                }
            }
            ended = &mut driving => {
                // The farewell may have come with the last bytes.
                let farewell = std::iter::from_fn(|| told.try_recv().ok()).find_map(|event| match event {
                    SenderEvent::Closed { code, reason } => Some(Ended::Told(code, reason)),
                    _ => None,
                });
                let why = || ended.err().map_or_else(|| "without a farewell".to_owned(), |error| error.to_string());
                return Err(farewell.unwrap_or_else(|| Ended::Broken(why())));
            }
            () = sleep_until(deadline), if !answered => break Err(Ended::Silent),
            _ = tokio::signal::ctrl_c(), if patient => break Ok(None),
        }
    };
    if !peer.session.borrow().is_closed() {
        peer.session.borrow_mut().close(CloseCode::Shutdown, "has seen enough");
        wake.notify_one();
        // Who does not take it will find out by itself.
        let _ = timeout(FAREWELL_LIMIT, driving).await;
    }
    outcome
}

/// A sender that only asks.
struct Peer {
    session: RefCell<SenderSession>,
    tell: mpsc::UnboundedSender<SenderEvent>,
}

/// The host's clock, as a sender is asked for it.
fn now() -> SenderTime {
    SenderTime::from_nanos(monotonic::now().as_nanos())
}

impl Protocol for Peer {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut session = self.session.borrow_mut();
        let received = session.receive(now(), bytes);
        while let Some(event) = session.poll_event() {
            // The receiver lives as long as the connection is driven.
            let _ = self.tell.send(event);
        }
        received
    }

    fn transmit(&self, out: &mut Vec<u8>) {
        self.session.borrow_mut().poll_transmit(now(), out);
    }

    fn next_timeout(&self) -> Option<Duration> {
        let left: Span = self.session.borrow().next_timeout()? - now();
        Some(left.to_duration())
    }

    fn handle_timeout(&self) -> Result<(), SessionError> {
        self.session.borrow_mut().handle_timeout(now())
    }

    fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_player_on_this_machine_is_where_it_listens() {
        let to = |listen: &str| local(listen.parse().unwrap()).map(|target| target.to_string()).ok();
        assert_eq!(to("[::]:6528").as_deref(), Some("127.0.0.1:6528, [::1]:6528"));
        assert_eq!(to("0.0.0.0:7000").as_deref(), Some("127.0.0.1:7000"));
        assert_eq!(to("192.0.2.7:6528").as_deref(), Some("192.0.2.7:6528"));
        assert_eq!(to("[::]:0"), None);
    }
}

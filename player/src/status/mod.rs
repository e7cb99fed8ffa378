//! `audera-player status`: asks a player how it fares, and shows what it tells. It never streams.

mod client;
mod show;

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use audera_link::{DialError, Endpoint, EndpointError, Identity, IdentityError, Target, TargetError, dial};
use thiserror::Error;

use crate::cli::{StatusArgs, exit};
use crate::config::{Config, ConfigError};
use client::{Client, Ended, Flow};
use show::Shown;

const DIAL_LIMIT: Duration = Duration::from_secs(4);

/// Why no status can be told.
#[derive(Debug, Error)]
pub enum StatusError {
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
    #[error("{target} tells nothing: {} s were not enough, or it is too old to be asked", client::ANSWER_LIMIT.as_secs())]
    Silent {
        /// Who was asked.
        target: Target,
    },
    /// The system fails.
    #[error("cannot go on: {0}")]
    System(#[from] io::Error),
}

impl StatusError {
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

/// Asks and shows.
///
/// # Errors
/// See [`StatusError`]. That nobody reads the output any more is none.
pub fn run(args: &StatusArgs) -> Result<(), StatusError> {
    let config = Config::load(&args.as_player())?;
    let target = match &args.host {
        Some(host) => Target::parse(host, audera_wire::PORT)?,
        None => local(config.listen)?,
    };
    let identity = Identity::load_or_create(&config.state_dir)?;
    let endpoint = Endpoint::new(&identity, audera_wire::ALPN)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(ask(args, &target, &endpoint));
    // A look-up of a name cannot be interrupted, and nothing waits for it any more.
    runtime.shutdown_background();
    answer
}

/// Where the player on this machine is that listens there.
fn local(listen: SocketAddr) -> Result<Target, StatusError> {
    let at = |ip: IpAddr| SocketAddr::new(ip, listen.port());
    let loopbacks = [at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())];
    match listen.ip() {
        _ if listen.port() == 0 => Err(StatusError::AnyPort { listen }),
        IpAddr::V4(ip) if ip.is_unspecified() => Ok(loopbacks[0].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => Ok(loopbacks.to_vec().into()),
        _ => Ok(listen.into()),
    }
}

async fn ask(args: &StatusArgs, target: &Target, endpoint: &Endpoint) -> Result<(), StatusError> {
    let connection = dial(endpoint, target, DIAL_LIMIT).await.map_err(|error| match error {
        DialError::Refused { .. } if args.host.is_none() => StatusError::NotRunning { target: target.clone() },
        other => StatusError::Unreachable(other),
    })?;
    let (id, address) = (connection.peer(), connection.addr());
    let mut out = io::stdout();
    let terminal = out.is_terminal();
    let mut drawn = 0;
    let (client, answers) = Client::new(args.watch);
    let ended = client
        .watch(connection, answers, |hello, status| {
            let shown = Shown { address, id, hello, status };
            let text = if args.json {
                shown.json() + "\n"
            } else if args.watch && !terminal {
                shown.line() + "\n"
            } else {
                shown.table()
            };
            let redraw = args.watch && !args.json && terminal;
            let up = if redraw && drawn > 0 { format!("\x1b[{drawn}A\r\x1b[J") } else { String::new() };
            drawn = text.lines().count();
            match out.write_all((up + &text).as_bytes()).and_then(|()| out.flush()) {
                Ok(()) if args.watch => Flow::GoOn,
                // Shown, or there is nobody any more to show it to.
                _ => Flow::Enough,
            }
        })
        .await;
    let target = target.clone();
    match ended {
        Ended::AsWished => Ok(()),
        Ended::NotTrusted => Err(StatusError::NotTrusted { target, id: endpoint.id().to_string() }),
        Ended::NotAPlayer => Err(StatusError::NotAPlayer { target }),
        Ended::By(why) => Err(StatusError::Ended { target, why }),
        Ended::Silent => Err(StatusError::Silent { target }),
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

//! The player's life: set up, wait for signals, take leave.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use audera_link::{Endpoint, Identity, Limits, Listener, TrustStore};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};

use crate::announce::Announced;
use crate::cli::Cli;
use crate::config::Config;
use crate::log::LogControl;
use crate::network::Network;
use crate::notify::ServiceManager;
use crate::output;
use crate::room::Room;
use crate::speaker::Speaker;

/// Runs the player until it is told to end.
///
/// # Errors
/// What keeps it from starting; what happens later is logged and lived with.
pub fn run(cli: &Cli, config: Config, log: &LogControl) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    LocalSet::new().block_on(&runtime, live(cli, config, log))
}

async fn live(cli: &Cli, config: Config, log: &LogControl) -> anyhow::Result<()> {
    // Before anybody is told that the player is ready: a signal without a handler would end it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let manager = ServiceManager::of_this_process();
    let identity = Identity::load_or_create(&config.state_dir)?;
    let endpoint = Endpoint::new(&identity, audera_wire::ALPN)?;
    let trust = TrustStore::open(config.trusted_file())?;
    let listener = Listener::bind(&[config.listen], &endpoint, Limits::default())?;
    let port = listener.local_addr().port();
    let id = endpoint.id();

    let speaker = Speaker::new(output::from_config(&config), config.idle_release);
    let room = Room::new(config.clone(), speaker);
    let network = Network::new(room.clone(), endpoint, trust);
    spawn_local(network.clone().listen(listener));
    for subscription in config.subscribe.clone() {
        spawn_local(network.clone().subscribe(subscription));
    }
    let mut announced = if config.discovery { Some(Announced::new(&config, id, port)?) } else { None };
    spawn_local({
        let manager = manager.clone();
        async move { manager.give_signs_of_life().await }
    });
    spawn_local(tell_state(manager.clone(), room.clone()));
    tracing::info!(room = %config.name, %port, %id, access = %config.access, output = %config.output, "ready");
    manager.ready();

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                manager.reloading();
                announced = reload(cli, &room, &network, log, announced).await;
                manager.ready();
            }
        }
    }
    tracing::info!("ends");
    manager.stopping();
    if let Some(announced) = announced {
        announced.close().await;
    }
    room.close().await;
    network.close().await;
    Ok(())
}

/// Keeps the line that the service manager shows true.
async fn tell_state(manager: ServiceManager, room: Rc<Room>) {
    let mut period = tokio::time::interval(Duration::from_secs(1));
    let mut told = String::new();
    loop {
        period.tick().await;
        let status = room.status();
        let line = match status.codec {
            Some(codec) => format!("{}: {} {codec}", status.room, status.state),
            None => format!("{}: {}", status.room, status.state),
        };
        if line != told {
            manager.status(&line);
            told = line;
        }
    }
}

/// Takes over what can be changed while playing; a wrong configuration leaves the old one in force.
async fn reload(
    cli: &Cli,
    room: &Rc<Room>,
    network: &Network,
    log: &LogControl,
    announced: Option<Announced>,
) -> Option<Announced> {
    if let Err(error) = network.reload_trust() {
        tracing::error!("the list of trusted senders stays as it was: {error}");
    }
    let new = match Config::load(cli) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the configuration stays as it was: {error}");
            return announced;
        }
    };
    let fixed = room.config().needs_restart(&new);
    if !fixed.is_empty() {
        tracing::warn!("changed, but in force only after a restart: {}", fixed.join(", "));
    }
    log.set_level(new.log);
    room.reconfigure(new.clone());
    tracing::info!(room = %new.name, "reloaded");
    match announced {
        None => None,
        Some(announced) => match announced.update(&new).await {
            Ok(announced) => Some(announced),
            Err(error) => {
                tracing::error!("the room is no longer announced: {error}");
                None
            }
        },
    }
}

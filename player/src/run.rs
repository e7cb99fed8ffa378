//! The player's life: set up, wait for signals, take leave.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use audera_link::{Endpoint, Identity, Limits, Listener, TrustStore};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::timeout;

use crate::announce::Announced;
use crate::bus;
use crate::cli::Cli;
use crate::config::Config;
use crate::level::Level;
use crate::log::LogControl;
use crate::mixer::{Mixer, Started, Turned};
use crate::network::Network;
use crate::notify::ServiceManager;
use crate::output;
use crate::room::{Room, RoomStore};
use crate::speaker::Speaker;

/// Time for all farewells to peers together.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// Between two announcements of another name or other groups.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);
/// A device that takes longer to open or close is left to the system.
const DEVICE_LIMIT: Duration = Duration::from_secs(2);

/// Runs the player until it is told to end.
///
/// # Errors
/// What keeps it from starting, or a part of it that has broken down; all else that happens later is logged and lived with.
pub fn run(cli: &Cli, config: Config, log: &LogControl) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    // What a `LocalSet` runs itself is polled whenever any of its tasks is; in here it is only polled when it has been woken.
    let mut life = FuturesUnordered::new();
    life.push(live(cli, config, log));
    let tasks = LocalSet::new();
    let ended = tasks.block_on(&runtime, life.next());
    {
        // What is left of the tasks holds sockets and connections to buses, which look for the runtime when they are dropped.
        let _inside = runtime.enter();
        drop((life, tasks));
    }
    // Look-ups of names and calls into drivers cannot be interrupted, and nothing waits for them any more.
    runtime.shutdown_background();
    ended.unwrap_or(Ok(()))
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
    let address = listener.local_addr();
    let port = address.port();
    let id = endpoint.id();
    if let Some(error) = listener.without_datagrams() {
        tracing::warn!(port, "the UDP port cannot be had ({error}): the clocks of senders are followed less precisely");
    }

    let store = RoomStore::open(&config);
    let (level, mixer) = match config.mixer.clone() {
        None => (Level::new(store.state()), None),
        Some(name) => {
            let Started { mixer, level, turns } = Mixer::start(name, store.state())?;
            (level, Some((mixer, turns)))
        }
    };
    let output = output::from_config(&config, mixer.as_ref().map(|(mixer, _)| mixer.clone()));
    let (speaker, device) = Speaker::new(output, level.clone(), config.idle_release);
    let room = Room::new(config, store, level, speaker);
    let config = room.config();
    let mut renamed = room.announced();
    let network = Network::new(room.clone(), endpoint, trust);
    // Those that bring connections, and those that outlive them. None ever ends by itself.
    let mut outside = JoinSet::new();
    let mut inside = JoinSet::new();
    outside.spawn_local(network.clone().listen(listener));
    for subscription in config.subscribe.clone() {
        outside.spawn_local(network.clone().subscribe(subscription));
    }
    inside.spawn_local(device);
    if let Some((mixer, turns)) = mixer {
        inside.spawn_local(follow_mixer(room.clone(), mixer, turns));
    }
    inside.spawn_local(room.clone().live());
    inside.spawn_local(network.clone().part_from_outdated());
    inside.spawn_local({
        let manager = manager.clone();
        async move { manager.give_signs_of_life().await }
    });
    inside.spawn_local(tell_state(manager.clone(), room.clone()));
    inside.spawn_local(bus::serve(room.clone(), id, address));
    let mut announced = if config.discovery { Some(Announced::new(&config, id, port)?) } else { None };
    tracing::info!(room = %config.name, %port, %id, access = %config.access, output = %config.output, "ready");
    manager.ready();

    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => {
                manager.reloading();
                announced = reload(cli, &room, &network, log, announced).await;
                manager.ready();
            }
            Ok(()) = renamed.changed() => announced = follow_name(&room, &network, &mut renamed, announced).await,
            Some(ended) = outside.join_next() => break Err(broken_down(ended)),
            Some(ended) = inside.join_next() => break Err(broken_down(ended)),
            never = mind_name(&mut announced) => match never {},
        }
    };
    tracing::info!("ends");
    manager.stopping();
    outside.abort_all();
    let withdrawal = async {
        if let Some(announced) = announced {
            announced.close().await;
        }
    };
    let farewell = timeout(FAREWELL_LIMIT, network.close());
    if tokio::join!(withdrawal, farewell).1.is_err() {
        tracing::debug!("some peers have not taken the farewell");
    }
    // With the last peer gone, nothing more can be set.
    room.keep().await;
    if timeout(DEVICE_LIMIT, room.close()).await.is_err() {
        tracing::warn!("the output neither opens nor closes within {} s and is left as it is", DEVICE_LIMIT.as_secs());
    }
    outcome
}

/// A task that was to run for ever has ended: better start anew than stay deaf or mute.
fn broken_down(ended: Result<(), JoinError>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow!("a part of the player has ended before its time; please report this"),
        Err(error) => anyhow!("a part of the player has broken down ({error}); please report this"),
    }
}

async fn mind_name(announced: &mut Option<Announced>) -> Infallible {
    match announced {
        Some(announced) => announced.mind_name().await,
        None => std::future::pending().await,
    }
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

/// Has the room follow hands on the card's mixer, as far as it may. Ends when the thread that speaks with the mixer does.
async fn follow_mixer(room: Rc<Room>, mixer: Arc<Mixer>, mut turns: watch::Receiver<Turned>) {
    while turns.changed().await.is_ok() {
        let turned = *turns.borrow_and_update();
        let state = room.turned(&turned);
        mixer.answer(turned.number, &state);
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
            network.judge_again();
            return announced;
        }
    };
    let old = room.config();
    // What is in force may be another name than the one configured.
    let fixed = old.needs_restart(&new);
    if !fixed.is_empty() {
        tracing::warn!("changed, but in force only after a restart: {}", fixed.join(", "));
    }
    log.set_level(new.log);
    room.reconfigure(new.clone());
    network.judge_again();
    let new = room.config();
    if old.name != new.name {
        network.hello_changed();
    }
    tracing::info!(room = %new.name, "reloaded");
    announce_again(&new, announced).await
}

/// The name or the groups were set: whoever is connected is told by the room itself, all others by its announcement.
async fn follow_name(
    room: &Rc<Room>,
    network: &Network,
    renamed: &mut watch::Receiver<(String, Vec<String>)>,
    announced: Option<Announced>,
) -> Option<Announced> {
    // Announcements go to the whole network: what changes all the time is announced now and then.
    tokio::time::sleep(ANNOUNCE_PAUSE).await;
    renamed.borrow_and_update();
    let config = room.config();
    if announced.as_ref().is_some_and(|announced| announced.name() != config.name.as_str()) {
        network.hello_changed();
    }
    announce_again(&config, announced).await
}

async fn announce_again(config: &Config, announced: Option<Announced>) -> Option<Announced> {
    match announced?.update(config).await {
        Ok(announced) => Some(announced),
        Err(error) => {
            tracing::error!("the room is no longer announced: {error}");
            None
        }
    }
}

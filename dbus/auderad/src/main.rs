//! `auderad`: Audera's rooms and groups on the session bus. It is a sender that never streams.

mod addresses;
mod cli;
mod house;
mod jobs;
mod orders;

use std::future::pending;
use std::process::ExitCode;

use anyhow::Context;
use audera_dbus::manager::Manager;
use audera_dbus::{Bus, Exporter, manager, names};
use audera_sender::{Hub, HubConfig, HubEvent, PlayerKey};
use audera_wire::PlayerStatus;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use zbus::zvariant::OwnedObjectPath;

use crate::addresses::Addresses;
use crate::cli::Cli;
use crate::house::House;
use crate::jobs::{Answered, Jobs};
use crate::orders::Desk;

/// Program and version, as rooms are told.
const SOFTWARE: &str = concat!("auderad ", env!("CARGO_PKG_VERSION"));

/// What the network thread tells.
enum News {
    Hub(HubEvent),
    Status(PlayerKey, Box<PlayerStatus>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).without_time().init();
    let run = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start");
    match run.and_then(|runtime| runtime.block_on(serve(&cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auderad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(cli: &Cli) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let state_dir = cli.state_dir()?;
    let mut exporter = Exporter::connect(Bus::Session).await.context("the session bus cannot be used")?;
    let addresses = Addresses::open(&state_dir);
    let config = HubConfig {
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        software: SOFTWARE.to_owned(),
        state_dir: state_dir.clone(),
        discover: !cli.no_discovery,
        players: addresses.all().to_vec(),
        listen: None,
    };
    let (tell, mut news) = unbounded_channel();
    let log = tracing::dispatcher::get_default(Clone::clone);
    let told = tell.clone();
    // Nobody takes news any more when the program ends.
    let hub = Hub::start(config, log, move |event| drop(told.send(News::Hub(event))))?;
    hub.watch(move |key, status| drop(tell.send(News::Status(key.clone(), Box::new(status)))));
    let (answers, mut answered) = unbounded_channel();
    let mut desk = Desk { hub, house: House::default(), jobs: Jobs::default(), addresses, answers };
    let root = OwnedObjectPath::try_from(names::ROOT)?;
    let shown = |desk: &Desk| Manager {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        id: desk.hub.id().to_string(),
        state_directory: state_dir.display().to_string(),
        addresses: desk.addresses.all().to_vec(),
    };
    exporter.show(&root, &manager::DEFINITION, shown(&desk).values());
    desk.house.show(&mut exporter);
    // Now that it can be answered.
    if !exporter.own(names::AUDERA, false).await? {
        anyhow::bail!("another auderad has the name {} already", names::AUDERA);
    }
    tracing::info!(id = %desk.hub.id(), "ready");
    loop {
        let deadline = desk.jobs.deadline();
        tokio::select! {
            call = exporter.next() => match call {
                Some(call) => desk.take(call),
                None => {
                    tracing::info!("the session bus is gone");
                    return Ok(());
                }
            },
            Some(first) = news.recv() => hear(&mut desk, first, &mut news),
            Some(first) = answered.recv() => take_answers(&mut desk, first, &mut answered),
            () = until(deadline) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
        desk.house.show(&mut exporter);
        exporter.show(&root, &manager::DEFINITION, shown(&desk).values());
        desk.answer();
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Takes all news that there are.
fn hear(desk: &mut Desk, first: News, more: &mut UnboundedReceiver<News>) {
    let mut next = Some(first);
    while let Some(news) = next {
        match news {
            News::Hub(HubEvent::Player(info)) => desk.house.heard_of(info),
            News::Hub(HubEvent::Room { key, state, settled }) => {
                // One that is not settled is older than what was asked for.
                if settled || desk.house.room(&key).is_some_and(|room| room.state.is_none()) {
                    desk.house.told_state(&key, state);
                }
            }
            News::Hub(HubEvent::Renamed { was, now }) => desk.house.renamed(&was, &now),
            News::Hub(HubEvent::Forgotten(key)) => desk.house.forgotten(&key),
            News::Hub(HubEvent::Trouble(trouble)) => tracing::error!("{trouble}"),
            // Whoever has asked is answered, and streams there are none.
            News::Hub(HubEvent::NotSet { .. } | HubEvent::Stream(_)) => {}
            News::Status(key, status) => desk.house.told_status(&key, *status),
        }
        next = more.try_recv().ok();
    }
}

fn take_answers(desk: &mut Desk, first: Answered, more: &mut UnboundedReceiver<Answered>) {
    let mut next = Some(first);
    while let Some(answer) = next {
        desk.answered(answer);
        next = more.try_recv().ok();
    }
}

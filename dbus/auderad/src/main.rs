//! `auderad`: Audera's rooms and groups on the session bus. It is a sender that never streams.

mod cli;
mod files;
mod house;
mod jobs;
mod memory;
mod news;
mod orders;

use std::future::pending;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use audera_dbus::manager::Manager;
use audera_dbus::{Bus, Exporter, manager, names};
use audera_sender::{Hub, HubConfig, HubEvent, Whereabouts};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use zbus::zvariant::OwnedObjectPath;

use crate::cli::Cli;
use crate::files::Files;
use crate::house::House;
use crate::jobs::{Answered, Jobs};
use crate::news::News;
use crate::orders::Desk;

/// Program and version, as rooms are told.
const SOFTWARE: &str = concat!("auderad ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    memory::give_back_large_blocks();
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).without_time().init();
    // One thread beside it, for files: what is to be done with them is done in order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let served = runtime.context("the runtime cannot start").and_then(|runtime| {
        let served = runtime.block_on(serve(&cli));
        // A disk that does not answer is not waited for.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auderad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(cli: &Cli) -> anyhow::Result<()> {
    let state_dir = cli.state_dir()?;
    let mut exporter = Exporter::connect(Bus::Session).await.context("the session bus cannot be used")?;
    let config = HubConfig {
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        software: SOFTWARE.to_owned(),
        state_dir: state_dir.clone(),
        // Once it is known what the user says of it.
        discover: false,
        players: Vec::new(),
        listen: None,
    };
    let news = News::default();
    let log = tracing::dispatcher::get_default(Clone::clone);
    let tell = news.clone();
    let hub = Hub::start(config, log, move |event| tell.tell(event))?;
    // Until here, where files are read on this thread, they end the program by themselves.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tell = news.clone();
    hub.watch(move |key, status| tell.tell_status(key, status));
    let changed = Arc::new(Notify::new());
    let tell = changed.clone();
    hub.follow(move |_| tell.notify_one());
    if !cli.no_discovery {
        hub.discover();
    }
    // Bounded by the calls that wait, and by what files have to do.
    let (answers, mut answered) = unbounded_channel();
    let (tell, mut filed) = unbounded_channel();
    let files = Files::new(state_dir.clone(), tell);
    let (house, jobs) = (House::default(), Jobs::default());
    // As long as it cannot be read, nobody is looked for.
    let whereabouts = Whereabouts { discover: false, addresses: Vec::new() };
    let mut desk = Desk { hub, house, jobs, whereabouts, files, answers };
    // What the properties say from the beginning.
    desk.files.look();
    let read = tokio::select! {
        read = filed.recv() => read,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    desk.filed(read.context("the state folder cannot be read")?);
    let root = OwnedObjectPath::try_from(names::ROOT)?;
    let shown = |desk: &Desk| Manager {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        id: desk.hub.id().to_string(),
        state_directory: state_dir.display().to_string(),
        addresses: desk.whereabouts.addresses.clone(),
        discover: desk.whereabouts.discover,
    };
    exporter.show(&root, &manager::DEFINITION, shown(&desk).values());
    // One of them there always is.
    desk.house.show_groups(&mut exporter);
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
            () = news.rung() => hear(&mut desk, &news),
            // Read once more, behind what is being written: what was read before that would be of yesterday.
            () = changed.notified() => desk.files.look(),
            Some(news) = filed.recv() => desk.filed(news),
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
fn hear(desk: &mut Desk, news: &News) {
    let (events, statuses) = news.take();
    for event in events {
        match event {
            HubEvent::Player(info) => desk.house.heard_of(info),
            HubEvent::Room { key, state, settled } => {
                // One that is not settled is older than what was asked for.
                if settled || desk.house.room(&key).is_some_and(|room| room.state.is_none()) {
                    desk.house.told_state(&key, state);
                }
            }
            HubEvent::Renamed { was, now } => desk.house.renamed(&was, &now),
            HubEvent::Forgotten(key) => desk.house.forgotten(&key),
            HubEvent::Trouble(trouble) => tracing::error!("{trouble}"),
            // Whoever has asked is answered, and streams there are none.
            HubEvent::NotSet { .. } | HubEvent::Stream(_) => {}
        }
    }
    for (key, status) in statuses {
        desk.house.told_status(&key, status);
    }
}

fn take_answers(desk: &mut Desk, first: Answered, more: &mut UnboundedReceiver<Answered>) {
    let mut next = Some(first);
    while let Some(answer) = next {
        desk.answered(answer);
        next = more.try_recv().ok();
    }
}

//! Dials a source again and again, and keeps the conversation with it going.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use audera_link::{
    Absence, Connection, Endpoint, Pause, PinError, Pinned, Target, TrustStore, dial, new_line, successor,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::announced::{Announced, Place};
use crate::conversation::{Conversation, now};
use crate::source::Source;

const DIAL_LIMIT: Duration = Duration::from_secs(4);

/// A conversation under way.
#[derive(Debug)]
pub struct Dialled<C> {
    /// This end's part in it.
    pub conversation: Rc<C>,
    /// Ends with it: tells whether the two came to terms, or why the source has sent us away.
    pub ended: JoinHandle<Result<bool, String>>,
}

/// Who wants to hear a source.
pub trait Subscriber {
    /// Its part in the conversation with the source.
    type Conversation: Conversation;

    /// Begins to speak with the source, in a task of its own: it is to take leave when dialling has been given up. `line` is the number
    /// to be told to the peer, the same in all connections of the subscription.
    fn begin(&self, connection: Connection, line: Option<u64>) -> Dialled<Self::Conversation>;

    /// The source is not reachable, or does not take us, for this reason. Told once for each new reason.
    fn trouble(&self, why: &str);
}

/// Dials `source` for as long as the future lives. Its place comes from `announced`, unless it is an address; without that a name is not
/// found. The ids of sources are kept in the file `met`.
pub async fn subscribe(
    subscriber: &impl Subscriber,
    source: &Source,
    endpoint: &Endpoint,
    met: &Path,
    announced: Option<watch::Receiver<Announced>>,
) {
    let mut places = Places { source, announced };
    let subscription = Subscription { subscriber, source, endpoint, met, line: new_line() };
    let mut pause = Pause::new();
    let mut trouble = String::new();
    loop {
        let place = places.now();
        let outcome = match &place {
            Some(place) => subscription.keep(&place.target).await,
            None => Err("not found on the network yet".to_owned()),
        };
        match outcome {
            Ok(true) => {
                pause = Pause::new();
                trouble.clear();
            }
            Ok(false) => {}
            Err(why) => {
                if why != trouble {
                    subscriber.trouble(&why);
                }
                trouble = why;
            }
        }
        // It may have been withdrawn meanwhile.
        let absence = match places.now().is_none_or(|place| place.withdrawn) {
            true => Absence::Announced,
            false => Absence::Unexplained,
        };
        tokio::select! {
            () = pause.wait(absence) => {}
            () = places.other_than(place.as_ref()) => pause = Pause::new(),
        }
    }
}

/// Where the source is.
struct Places<'a> {
    source: &'a Source,
    announced: Option<watch::Receiver<Announced>>,
}

impl Places<'_> {
    fn now(&mut self) -> Option<Place> {
        match self.source {
            Source::Address { host, port } => {
                let target = Target::Name { host: host.clone(), port: *port };
                Some(Place { target, withdrawn: false })
            }
            Source::Named(name) => self.announced.as_mut()?.borrow_and_update().get(name).cloned(),
        }
    }

    /// Waits until the source is announced anew, or elsewhere. That it is withdrawn is no reason to dial.
    async fn other_than(&mut self, tried: Option<&Place>) {
        let mut before = tried.cloned();
        loop {
            let present = self.now();
            if present != before && present.as_ref().is_some_and(|place| !place.withdrawn) {
                return;
            }
            before = present;
            match &mut self.announced {
                Some(announced) if matches!(self.source, Source::Named(_)) => {
                    if announced.changed().await.is_err() {
                        self.announced = None;
                    }
                }
                _ => std::future::pending().await,
            }
        }
    }
}

struct Subscription<'a, S> {
    subscriber: &'a S,
    source: &'a Source,
    endpoint: &'a Endpoint,
    met: &'a Path,
    line: Option<u64>,
}

impl<S: Subscriber> Subscription<'_, S> {
    /// Keeps a conversation with the source until it ends, over another connection when nothing comes through.
    async fn keep(&self, target: &Target) -> Result<bool, String> {
        let mut connection = self.reach(target).await?;
        loop {
            let pulse = connection.pulse();
            let Dialled { conversation, mut ended } = self.subscriber.begin(connection, self.line);
            let missed_in = || {
                let at = conversation.session().borrow().missed_at()?;
                Some((at - now()).to_duration())
            };
            let next = successor(missed_in, conversation.heard(), pulse, async || self.reach(target).await.ok());
            tokio::select! {
                ended = &mut ended => return ended.map_err(|error| error.to_string())?,
                next = next => {
                    tracing::info!(source = %self.source, "nothing came through: connected anew");
                    ended.abort();
                    connection = next;
                }
            }
        }
    }

    async fn reach(&self, target: &Target) -> Result<Connection, String> {
        let connection = dial(self.endpoint, target, DIAL_LIMIT).await.map_err(|error| error.to_string())?;
        let peer = connection.peer();
        let name = format!("source {}", self.source);
        let met: PathBuf = self.met.to_owned();
        let pin = move || TrustStore::open(met).map_err(PinError::from).and_then(|mut met| met.pin(&name, &peer));
        let pinned =
            spawn_blocking(pin).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        // Whether it takes us is not known yet: one that refuses again and again is not worth a line each time.
        match pinned {
            Pinned::New => tracing::info!(source = %self.source, id = %peer, "reached; {pinned}"),
            Pinned::Known => tracing::debug!(source = %self.source, id = %peer, "reached; {pinned}"),
        }
        Ok(connection)
    }
}

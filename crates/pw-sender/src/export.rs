//! Objects of a module on the session bus: shown from the host's main loop, served on the network thread, called back on the main loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audera_dbus::{Bus, Call, Definition, Exporter, Values, names};
use audera_pw::{Error, ModuleHost, WakeSource, Waker};
use audera_sender::Hub;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use zbus::zvariant::OwnedObjectPath;

/// Between attempts to reach the bus.
const RETRY: Duration = Duration::from_secs(15);
/// Modules of one process that can have names.
const MOST: u32 = 64;

/// The objects of a module. Dropping it takes them away.
#[derive(Debug)]
pub struct Objects {
    news: UnboundedSender<News>,
    _calls: WakeSource,
}

/// What is to be shown of an object; `None` when it is gone.
type News = (OwnedObjectPath, Option<(&'static Definition, Values)>);

/// Calls on their way to the main loop. The exporter bounds their number.
type Calls = Arc<Mutex<VecDeque<Call>>>;

impl Objects {
    /// Begins to serve; `handler` is called on the host's main loop. The name on the bus begins with `kind`.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn start(
        host: &ModuleHost,
        hub: &Hub,
        kind: &'static str,
        mut handler: impl FnMut(Call) + 'static,
    ) -> Result<Self, Error> {
        let calls = Calls::default();
        let (source, waker) = host.main_loop().on_wake({
            let calls = calls.clone();
            move || loop {
                let next = calls.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                match next {
                    Some(call) => handler(call),
                    None => return,
                }
            }
        })?;
        let (news, inbox) = unbounded_channel();
        hub.run(move |_identity| serve(kind, inbox, calls, waker));
        Ok(Objects { news, _calls: source })
    }

    /// Shows an object with one interface as it is now.
    pub fn show(&self, path: OwnedObjectPath, definition: &'static Definition, values: Values) {
        // The network thread ends after all that has objects.
        let _ = self.news.send((path, Some((definition, values))));
    }

    /// Takes an object away.
    pub fn remove(&self, path: OwnedObjectPath) {
        // As in `show`.
        let _ = self.news.send((path, None));
    }
}

/// Serves until the objects are dropped, over bus after bus.
async fn serve(kind: &'static str, mut inbox: UnboundedReceiver<News>, calls: Calls, waker: Waker) {
    let mut objects = BTreeMap::new();
    loop {
        match serve_once(kind, &mut inbox, &mut objects, &calls, &waker).await {
            Ok(()) => return,
            Err(error) => tracing::debug!("not on D-Bus: {error}; tried again every {} s", RETRY.as_secs()),
        }
        // What comes meanwhile is kept, but for what it replaces.
        let again = Instant::now() + RETRY;
        loop {
            tokio::select! {
                news = inbox.recv() => match news {
                    Some(news) => drop(take(&mut objects, news)),
                    None => return,
                },
                () = sleep_until(again) => break,
            }
        }
    }
}

/// All objects by path, with what is shown of them.
type Shown = BTreeMap<String, (OwnedObjectPath, &'static Definition, Values)>;

/// Notes the news; gives the object that they are of.
fn take(objects: &mut Shown, (path, shown): News) -> OwnedObjectPath {
    match shown {
        Some((definition, values)) => objects.insert(path.to_string(), (path.clone(), definition, values)),
        None => objects.remove(path.as_str()),
    };
    path
}

/// Serves on one connection, until the objects are dropped.
async fn serve_once(
    kind: &str,
    inbox: &mut UnboundedReceiver<News>,
    objects: &mut Shown,
    calls: &Calls,
    waker: &Waker,
) -> zbus::Result<()> {
    let mut exporter = Exporter::connect(Bus::Session).await?;
    for (path, definition, values) in objects.values() {
        exporter.show(path, definition, values.clone());
    }
    for number in 1..=MOST {
        let name = names::of_process(kind, number);
        if exporter.own(&name, false).await? {
            tracing::debug!(%name, "on D-Bus");
            break;
        }
    }
    loop {
        tokio::select! {
            call = exporter.next() => match call {
                Some(call) => {
                    calls.lock().unwrap_or_else(PoisonError::into_inner).push_back(call);
                    waker.wake();
                }
                None => return Err(zbus::Error::Failure("the bus is gone".to_owned())),
            },
            news = inbox.recv() => {
                let Some(news) = news else { return Ok(()) };
                let path = take(objects, news);
                match objects.get(path.as_str()) {
                    Some((path, definition, values)) => exporter.show(path, definition, values.clone()),
                    None => exporter.remove(&path),
                }
            }
        }
    }
}

//! Serves objects on a bus: answers what D-Bus itself asks (properties, introspection, the object manager), checks all else against the
//! definitions, and hands it to the owner as a [`Call`].
//!
//! Memory is bounded whatever clients do: calls are taken in one by one and only while answers get away, those that wait for an answer are
//! counted by caller, large ones are refused. Changes are told at most ten times a second for each interface of an object, and so is whether the
//! object is there; of objects that come and go no more than 64 signals a second are made in all.

mod budget;
mod call;
mod dispatch;
mod outbox;
mod tree;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::connection::Builder;
use zbus::message::{Message, Type};
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, MatchRule, MessageStream};

use self::call::Places;
pub use self::call::{Arguments, Call, Reply, Request};
use self::outbox::Outbox;
use self::tree::Tree;
use crate::definition::Definition;
use crate::error::Error;
use crate::values::Values;

/// How long the bus may take to let us in, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that wait to be looked at; the bus keeps the others.
const INBOX: usize = 16;
/// Calls that may come before a name is ours: a bus that has started us for them hands them over first.
const BACKLOG: usize = 256;

/// A bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The user's.
    Session,
    /// The machine's.
    System,
}

/// Objects on a bus.
#[derive(Debug)]
pub struct Exporter {
    connection: Connection,
    calls: MessageStream,
    /// Calls that came while the bus was asked for a name.
    backlog: VecDeque<Message>,
    outbox: Outbox,
    tree: Tree,
    places: Places,
}

impl Exporter {
    /// Connects to a bus. To be called on a tokio runtime.
    ///
    /// # Errors
    /// There is no such bus, or it does not let us in.
    pub async fn connect(bus: Bus) -> zbus::Result<Self> {
        let builder = match bus {
            Bus::Session => Builder::session()?,
            Bus::System => Builder::system()?,
        };
        let connection = timeout(PATIENCE, builder.method_timeout(PATIENCE).build()).await;
        let connection =
            connection.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the bus does not answer"))??;
        let calls = MatchRule::builder().msg_type(Type::MethodCall).build();
        let calls = MessageStream::for_match_rule(calls, &connection, Some(INBOX)).await?;
        let outbox = Outbox::new(connection.clone());
        Ok(Exporter {
            connection,
            calls,
            backlog: VecDeque::new(),
            outbox,
            tree: Tree::default(),
            places: Places::default(),
        })
    }

    /// Asks for a name; whether it is ours now. If it is not and `queue`, it will be when all before us have given it up.
    ///
    /// # Errors
    /// The bus does not give the name to us at all.
    pub async fn own(&mut self, name: &str, queue: bool) -> zbus::Result<bool> {
        const DO_NOT_QUEUE: u32 = 4;
        const OURS: [u32; 2] = [1, 4];
        let flags = if queue { 0 } else { DO_NOT_QUEUE };
        let bus = "org.freedesktop.DBus";
        let connection = self.connection.clone();
        let arguments = (name, flags);
        let request = connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "RequestName", &arguments);
        let mut request = pin!(request);
        // Nothing is read from the connection while its calls are left lying, the bus's answer neither.
        let answer = loop {
            tokio::select! {
                answer = &mut request => break answer?,
                Some(Ok(message)) = self.calls.next() => self.put_off(message),
            }
        };
        Ok(OURS.contains(&answer.body().deserialize::<u32>()?))
    }

    /// Keeps a call for [`next`](Self::next), or says that there are too many.
    fn put_off(&mut self, message: Message) {
        if self.backlog.len() < BACKLOG {
            self.backlog.push_back(message);
        } else {
            let error = Error::Busy("too many calls at once: try again".to_owned());
            self.outbox.answer::<()>(&message, Err(error));
        }
    }

    /// Shows the values of an object's interface, which is there from now on if it is new. All its properties are to be among them.
    pub fn show(&mut self, path: &OwnedObjectPath, definition: &'static Definition, values: Values) {
        self.tree.show(path, definition, values, Instant::now());
        self.tell_arrivals();
    }

    /// Takes an object away.
    pub fn remove(&mut self, path: &OwnedObjectPath) {
        self.tree.remove(path, Instant::now());
        self.tell_arrivals();
    }

    /// Tells of objects that have come or gone, before whoever has made them come is answered; what may not be told yet is told by [`next`](Self::next).
    fn tell_arrivals(&mut self) {
        while let Some(news) = self.outbox.has_room().then(|| self.tree.take_arrival(Instant::now())).flatten() {
            self.outbox.send(news);
        }
    }

    /// The next call; meanwhile what has changed is told. `None` when the bus is gone. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Option<Call> {
        loop {
            self.outbox.room().await;
            if let Some(message) = self.backlog.pop_front() {
                match self.dispatch(message) {
                    Some(call) => return Some(call),
                    None => continue,
                }
            }
            while let Some(news) = self.outbox.has_room().then(|| self.tree.take_news(Instant::now())).flatten() {
                self.outbox.send(news);
            }
            let due = self.tree.due();
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                message = self.calls.next() => match message? {
                    Ok(message) => {
                        if let Some(call) = self.dispatch(message) {
                            return Some(call);
                        }
                    }
                    Err(error) => {
                        tracing::debug!("the connection to the bus has ended: {error}");
                        return None;
                    }
                },
                () = due => {}
            }
        }
    }
}

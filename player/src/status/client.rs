//! The asking end of a connection: says hello as a sender does, asks to watch, and hands on what is told.

use std::cell::RefCell;
use std::time::Duration;

use audera_clock::{SenderTime, Span};
use audera_link::{Connection, Protocol, drive};
use audera_wire::{CloseCode, PlayerHello, PlayerStatus, SenderEvent, SenderHello, SenderSession, SessionError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::monotonic;
use crate::room::SOFTWARE;

/// How long the first status may take once the connection stands.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// How long the player may take for our farewell.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// Whether more is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Enough,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Enough was told, or Ctrl-C came.
    AsWished,
    NotTrusted,
    NotAPlayer,
    /// The player, or the connection, ended it, and why.
    By(String),
    /// Nothing was told in time.
    Silent,
}

/// A peer that only watches.
pub(super) struct Client {
    session: RefCell<SenderSession>,
    tell: mpsc::UnboundedSender<Told>,
    /// The farewell of the other end, or the own one.
    farewell: RefCell<Option<(CloseCode, String)>>,
    /// Whether Ctrl-C is a way to say that it is enough.
    patient: bool,
}

/// What the player has told and nobody has looked at yet.
pub(super) struct Answers(mpsc::UnboundedReceiver<Told>);

enum Told {
    Hello(PlayerHello),
    Status(PlayerStatus),
}

/// The host's clock, as a sender is asked for it.
fn now() -> SenderTime {
    SenderTime::from_nanos(monotonic::now().as_nanos())
}

impl Client {
    /// At the beginning; `patient` when it goes on until Ctrl-C.
    pub fn new(patient: bool) -> (Self, Answers) {
        let hello = SenderHello::new(&host_name(), SOFTWARE);
        let (tell, answers) = mpsc::unbounded_channel();
        let client = Client {
            session: RefCell::new(SenderSession::new(hello, now())),
            tell,
            farewell: RefCell::default(),
            patient,
        };
        (client, Answers(answers))
    }

    /// Watches until `show` has had enough.
    pub async fn watch(
        &self,
        connection: Connection,
        Answers(mut told): Answers,
        mut show: impl FnMut(&PlayerHello, &PlayerStatus) -> Flow,
    ) -> Ended {
        let wake = Notify::new();
        let driving = drive(connection, self, &wake);
        tokio::pin!(driving);
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut hello = None;
        let mut shown = false;
        let outcome = loop {
            tokio::select! {
                biased;
                ended = &mut driving => break self.ended(ended.err().map(|error| error.to_string())),
                Some(told) = told.recv() => match (told, &hello) {
                    (Told::Hello(said), _) => {
                        hello = Some(said);
                        self.session.borrow_mut().watch(true);
                        wake.notify_one();
                    }
                    (Told::Status(status), Some(hello)) => {
                        shown = true;
                        if show(hello, &status) == Flow::Enough {
                            break Ended::AsWished;
                        }
                    }
                    (Told::Status(_), None) => {}
                },
                () = sleep_until(deadline), if !shown => break Ended::Silent,
                _ = tokio::signal::ctrl_c(), if self.patient => break Ended::AsWished,
            }
        };
        if !self.session.borrow().is_closed() {
            self.session.borrow_mut().close(CloseCode::Shutdown, "has seen enough");
            wake.notify_one();
            // Who does not take it will find out by itself.
            let _ = timeout(FAREWELL_LIMIT, driving).await;
        }
        outcome
    }

    /// Why the connection has ended.
    fn ended(&self, broken: Option<String>) -> Ended {
        match self.farewell.take() {
            Some((CloseCode::NotPaired, _)) => Ended::NotTrusted,
            Some((CloseCode::Role, _)) => Ended::NotAPlayer,
            Some((code, reason)) if reason.is_empty() => Ended::By(code.to_string()),
            Some((_, reason)) => Ended::By(reason),
            None => Ended::By(broken.unwrap_or_else(|| "without a farewell".to_owned())),
        }
    }
}

impl Protocol for Client {
    type Error = SessionError;

    fn receive(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let received = self.session.borrow_mut().receive(now(), bytes);
        while let Some(event) = self.session.borrow_mut().poll_event() {
            let told = match event {
                SenderEvent::PlayerReady(hello) => Told::Hello(hello),
                SenderEvent::Status(status) => Told::Status(status),
                SenderEvent::Closed { code, reason } => {
                    self.farewell.replace(Some((code, reason)));
                    continue;
                }
                // Of streams, which there are none of.
                SenderEvent::Accepted(_) | SenderEvent::Refused { .. } | SenderEvent::Preempted { .. } => continue,
                // Others tell that better.
                SenderEvent::Room { .. } | SenderEvent::SetRefused(_) | SenderEvent::SetUnanswered(_) => continue,
            };
            // The receiver lives as long as the connection is driven.
            let _ = self.tell.send(told);
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

/// What this host is called, for the player's log.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "somebody".to_owned() } else { name.to_owned() }
}

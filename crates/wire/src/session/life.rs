//! What both ends share: greeting, deadlines, the queue of control bytes, and the end.

use audera_clock::Time;

use crate::VERSIONS;
use crate::close::{Bye, CloseCode};
use crate::hello::{Hello, common_version};
use crate::limits::{HELLO_LIMIT, IDLE_LIMIT, MAX_QUEUED, MISSED_IDLE, MISSED_STREAMING};
use crate::message::Message;
use crate::session::error::SessionError;

#[derive(Debug)]
enum Phase<S> {
    /// The peer's hello is awaited.
    Greeting { until: Time<S> },
    /// Both hellos are exchanged.
    Ready { version: u16 },
    /// Nothing is accepted or said any more.
    Closed,
}

/// Life of a session on the time scale of its own end.
#[derive(Debug)]
pub(crate) struct Life<S> {
    phase: Phase<S>,
    heard: Time<S>,
    queue: Vec<u8>,
    /// Whether the peer may have learned anything yet.
    transmitted: bool,
}

impl<S> Life<S> {
    /// Begins with the hello in the queue.
    pub(crate) fn new(hello: &Hello, now: Time<S>) -> Self {
        let mut queue = Vec::new();
        hello.encode(&mut queue);
        Self { phase: Phase::Greeting { until: now + HELLO_LIMIT }, heard: now, queue, transmitted: false }
    }

    pub(crate) fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. })
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The version settled by the hellos.
    pub(crate) fn version(&self) -> Option<u16> {
        match self.phase {
            Phase::Ready { version } => Some(version),
            Phase::Greeting { .. } | Phase::Closed => None,
        }
    }

    /// Something came from the peer.
    pub(crate) fn hear(&mut self, now: Time<S>) {
        self.heard = self.heard.max(now);
    }

    /// The peer's hello came.
    pub(crate) fn greet(&mut self, hello: &Hello) -> Result<(), SessionError> {
        let version = common_version(VERSIONS, hello.versions()).ok_or_else(|| {
            SessionError::Message(crate::MessageError::Version { offered: hello.versions().to_vec() })
        })?;
        self.phase = Phase::Ready { version };
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Option<Time<S>> {
        match self.phase {
            Phase::Greeting { until } => Some(until),
            Phase::Ready { .. } => Some(self.heard + IDLE_LIMIT),
            Phase::Closed => None,
        }
    }

    /// When the peer is to have been heard again if all is well; `None` before its hello and after the end.
    pub(crate) fn missed_at(&self, streaming: bool) -> Option<Time<S>> {
        let silence = if streaming { MISSED_STREAMING } else { MISSED_IDLE };
        self.is_ready().then(|| self.heard + silence)
    }

    /// Judges the deadlines.
    pub(crate) fn check(&self, now: Time<S>) -> Result<(), SessionError> {
        match (self.deadline(), self.is_greeting()) {
            (Some(deadline), true) if now >= deadline => Err(SessionError::HelloTimeout),
            (Some(deadline), false) if now >= deadline => Err(SessionError::Idle),
            _ => Ok(()),
        }
    }

    /// Queues a control message; false when the peer has left too much unread.
    #[must_use]
    pub(crate) fn queue(&mut self, message: &Message<'_>) -> bool {
        if !self.is_closed() {
            message.encode(&mut self.queue);
        }
        self.queue.len() <= MAX_QUEUED
    }

    /// Ends the session, with a bye after what is queued unless the peer has said its own. A queue that was too long is
    /// given up, and one of which nothing has left yet: a peer that is not let in learns nothing but that.
    pub(crate) fn close(&mut self, bye: Option<(CloseCode, &str)>) {
        if !self.transmitted || self.queue.len() > MAX_QUEUED {
            self.queue = Vec::new();
        }
        self.phase = Phase::Closed;
        match bye {
            Some((code, reason)) => Bye { code, reason: reason.to_owned() }.encode(&mut self.queue),
            None => self.queue = Vec::new(),
        }
    }

    /// Moves the queue to `out`; whether there was anything.
    pub(crate) fn transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.queue.is_empty();
        self.transmitted |= any;
        out.append(&mut self.queue);
        any
    }

    /// Control bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}

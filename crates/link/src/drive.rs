//! Runs a sans-IO protocol over a connection until either side ends it; knows no messages.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant as TimerInstant, sleep, timeout};

use crate::beside::{Arrived, Beside};
use crate::datagram::PAYLOAD_LEN;
use crate::{Connection, Writer};

/// A peer that takes nothing for this long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// What is left to say (a farewell) after the protocol has ended may take this long.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
const READ_SIZE: usize = 16 * 1024;
/// A timer is not set anew for so little: it tells whole milliseconds.
const TIMER_SLACK: Duration = Duration::from_micros(500);

/// A protocol without I/O of its own, as [`drive`] needs it. Methods take `&self`: the owner speaks to the same protocol
/// meanwhile, on the same thread, and rings [`Notify`] when it has something to say.
pub trait Protocol {
    /// Why the protocol gave up.
    type Error: std::error::Error;

    /// Takes bytes as they arrived.
    ///
    /// # Errors
    /// The peer broke the protocol; what [`transmit`](Self::transmit) still gives (a farewell) is sent before the connection closes.
    fn receive(&self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Appends what is to be sent now; nothing when there is nothing. Called again as long as it appends.
    fn transmit(&self, out: &mut Vec<u8>);

    /// Takes the payload of a datagram of the peer's, each once, in any order, or never. `arrived` is when this host received it.
    fn receive_datagram(&self, arrived: Instant, payload: &[u8; PAYLOAD_LEN]) {
        let _ = (arrived, payload);
    }

    /// A payload to be sent to the peer in a datagram at once, if any. Called again as long as there is one, and only while there is a
    /// way: [`Connection::has_datagrams`], and of an end that was dialled not before the peer has sent one.
    fn transmit_datagram(&self) -> Option<[u8; PAYLOAD_LEN]> {
        None
    }

    /// Time until [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn next_timeout(&self) -> Option<Duration>;

    /// Lets the protocol act on time that has passed.
    ///
    /// # Errors
    /// The peer was silent for too long.
    fn handle_timeout(&self) -> Result<(), Self::Error>;

    /// Whether the protocol has ended: what is left is sent, then the connection is closed.
    fn is_closed(&self) -> bool;
}

/// Why a driven connection ended, when it did not end by the protocol's own will.
#[derive(Debug, thiserror::Error)]
pub enum DriveError<E: std::error::Error> {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The peer closed the connection without a farewell.
    #[error("the peer closed the connection without a farewell")]
    Hangup,
    /// The peer's receive window stayed shut.
    #[error("the peer took nothing for {} s", WRITE_LIMIT.as_secs())]
    Stalled,
    /// The protocol refused what the peer did.
    #[error("{0}")]
    Protocol(E),
}

/// Drives `protocol` over `connection`. Returns when the protocol is closed, the peer is gone, or an error ended it; the
/// connection is closed by then.
///
/// Dropping the future closes the connection at once, without farewell.
///
/// # Errors
/// See [`DriveError`].
pub async fn drive<P: Protocol>(
    mut connection: Connection,
    protocol: &P,
    wake: &Notify,
) -> Result<(), DriveError<P::Error>> {
    let mut beside = connection.take_beside();
    let (mut reader, mut writer) = connection.into_split();
    // Rung by the writer when the owner has spoken: there may be datagrams to send, and the next time-out may be another.
    let spoken = Notify::new();
    // Rung by the reader: there may be answers to write. Not the owner's bell, or audio would wake both sides for each other's sake.
    let heard = Notify::new();
    let reading = async {
        let mut bytes = vec![0; READ_SIZE];
        // Set anew only if it would ring too late. With every packet the next time-out moves away, and that is found out when it rings.
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut set_to: Option<TimerInstant> = None;
        loop {
            if protocol.is_closed() {
                return Ok(());
            }
            send_datagrams(beside.as_mut(), protocol);
            if let Some(after) = protocol.next_timeout() {
                let due = TimerInstant::now() + after;
                if set_to.is_none_or(|set| due + TIMER_SLACK < set) {
                    timer.as_mut().reset(due);
                    set_to = Some(due);
                }
            }
            tokio::select! {
                read = reader.read(&mut bytes) => match read? {
                    0 if protocol.is_closed() => return Ok(()),
                    0 => return Err(DriveError::Hangup),
                    count => protocol.receive(&bytes[..count]).map_err(DriveError::Protocol)?,
                },
                arrived = next_datagram(beside.as_mut()) => {
                    protocol.receive_datagram(arrived.at, &arrived.payload);
                    // Answered at once, and nothing has changed for the writer.
                    continue;
                }
                () = timer.as_mut(), if set_to.is_some() => {
                    set_to = None;
                    if protocol.next_timeout().is_none_or(|after| !after.is_zero()) {
                        continue;
                    }
                    protocol.handle_timeout().map_err(DriveError::Protocol)?;
                }
                () = spoken.notified() => continue,
            }
            heard.notify_one();
        }
    };
    // Whether the peer has part of what was transmitted only: a farewell behind that would be taken for the rest of it.
    let halfway = Cell::new(false);
    let writing = async {
        let mut out = Vec::with_capacity(READ_SIZE);
        let mut by_owner = true;
        loop {
            out.clear();
            protocol.transmit(&mut out);
            if by_owner || !out.is_empty() {
                spoken.notify_one();
            }
            if !out.is_empty() {
                halfway.set(true);
                send(&mut writer, &out, WRITE_LIMIT).await?;
                halfway.set(false);
            } else if protocol.is_closed() {
                return Ok(());
            } else {
                by_owner = tokio::select! {
                    () = wake.notified() => true,
                    () = heard.notified() => false,
                };
            }
        }
    };
    let ended = tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    };
    let mut farewell = Vec::new();
    protocol.transmit(&mut farewell);
    if halfway.get() || matches!(ended, Err(DriveError::Io(_) | DriveError::Stalled)) {
        farewell.clear();
    }
    take_leave(writer, &farewell).await;
    ended
}

async fn next_datagram(beside: Option<&mut Beside>) -> Arrived {
    match beside {
        Some(beside) => beside.receive().await,
        None => std::future::pending().await,
    }
}

fn send_datagrams<P: Protocol>(beside: Option<&mut Beside>, protocol: &P) {
    let Some(beside) = beside.filter(|beside| beside.is_open()) else { return };
    while let Some(payload) = protocol.transmit_datagram() {
        beside.send(&payload);
    }
}

/// Sends last words to a peer with which nothing is to be spoken, and closes the connection. Takes two seconds at most.
pub async fn dismiss(connection: Connection, farewell: &[u8]) {
    let (_reader, writer) = connection.into_split();
    take_leave(writer, farewell).await;
}

/// The connection is over either way: a farewell that cannot be delivered changes nothing.
async fn take_leave(mut writer: Writer, farewell: &[u8]) {
    let _ = send::<Infallible>(&mut writer, farewell, FAREWELL_LIMIT).await;
    let _ = writer.close(FAREWELL_LIMIT).await;
}

async fn send<E: std::error::Error>(
    writer: &mut (impl AsyncWriteExt + Unpin),
    bytes: &[u8],
    limit: Duration,
) -> Result<(), DriveError<E>> {
    let sending = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    match timeout(limit, sending).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(DriveError::Stalled),
    }
}

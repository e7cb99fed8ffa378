//! A new connection in the place of one on which nothing comes through.
//!
//! A TCP connection whose packets are lost tries again ever more rarely: when the way has been shut for some seconds, it is open for
//! as long again before the connection notices. A connection that is made anew does not wait for that. So as soon as a peer is
//! missed it is dialled again and again beside the connection that is there, and whichever comes through first is used.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::Pulse;

/// Between attempts which fail at once, as they do while there is no network.
const REST: Duration = Duration::from_millis(250);

/// Between looks at the kernel's side of a connection.
const LOOK: Duration = Duration::from_millis(500);

/// Resolves to a new connection to a peer that is missed and has answered to it. Until then it does nothing but wait while the peer is heard. Dropping it ends all attempts.
///
/// `missed_in` tells in which time the peer will be missed unless it is heard, zero when it is missed already, `None` while there
/// is nothing to miss; `heard` is rung whenever it is heard, and `pulse` tells whether it may hear us. `attempt` dials once.
pub async fn successor<C>(
    missed_in: impl Fn() -> Option<Duration>,
    heard: &Notify,
    pulse: Option<Pulse>,
    attempt: impl AsyncFn() -> Option<C>,
) -> C {
    let missed_in = || {
        let is_stuck = || pulse.as_ref().is_some_and(Pulse::is_stuck);
        missed_in().map(|time| if is_stuck() { Duration::ZERO } else { time })
    };
    loop {
        match missed_in() {
            None => heard.notified().await,
            Some(Duration::ZERO) => {
                let attempts = async {
                    loop {
                        if let Some(connection) = attempt().await {
                            return connection;
                        }
                        sleep(REST).await;
                    }
                };
                let mut attempts = pin!(attempts);
                while missed_in() == Some(Duration::ZERO) {
                    tokio::select! {
                        // Heard at the same moment: what is there is as good, and nothing is lost with it.
                        biased;
                        () = heard.notified() => {}
                        connection = &mut attempts => return connection,
                    }
                }
            }
            // What is heard meanwhile only makes it longer.
            Some(time) => sleep(time.min(LOOK)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::Instant;

    const MISSED: Duration = Duration::from_secs(2);

    /// A peer that is heard at the times given, and can be reached after so many attempts.
    async fn after(heard_at: &[u64], attempts: u32) -> (Duration, u32) {
        let start = Instant::now();
        let (last, heard, made) = (Cell::new(start), Notify::new(), Cell::new(0));
        let missed_in = || Some((last.get() + MISSED).saturating_duration_since(Instant::now()));
        let attempt = async || {
            sleep(Duration::from_millis(500)).await;
            made.set(made.get() + 1);
            (made.get() == attempts).then_some(())
        };
        let talking = async {
            for millis in heard_at {
                tokio::time::sleep_until(start + Duration::from_millis(*millis)).await;
                last.set(Instant::now());
                heard.notify_one();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = successor(missed_in, &heard, None, attempt) => (start.elapsed(), made.get()),
            () = talking => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_missed_is_dialled_until_it_answers() {
        let (took, made) = after(&[500, 1_000], 4).await;
        let dialled = Duration::from_millis(4 * 500) + 3 * REST;
        // The runtime's timer has milliseconds.
        assert!(took.abs_diff(Duration::from_secs(1) + MISSED + dialled) < Duration::from_millis(20), "{took:?}");
        assert_eq!(made, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_heard_again_is_not_dialled_any_more() {
        // Missed at 2 s; the attempt under way is given up at 2.3 s, and the next begins 2 s later.
        let (took, made) = after(&[2_300], 1).await;
        assert!(took.abs_diff(Duration::from_millis(2_300 + 2_000 + 500)) < Duration::from_millis(20), "{took:?}");
        assert_eq!(made, 1);
    }
}

//! How a running device fares: counters the audio thread may touch, and the signal that the device has died.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use audera_clock::Span;
use tokio::sync::Notify;

use super::DeviceFormat;
use crate::mixer::Mixer;

/// State shared by the audio thread and the handle. Everything but [`Health::fail`] is wait-free.
#[derive(Debug, Default)]
pub struct Health {
    xruns: AtomicU64,
    reanchors: AtomicU64,
    latency_ns: AtomicI64,
    failure: OnceLock<String>,
    died: Notify,
}

impl Health {
    /// The device ran out of data, or too much time went by.
    pub fn count_xrun(&self) {
        self.xruns.fetch_add(1, Ordering::Relaxed);
    }

    /// The device's clock jumped against the monotonic clock.
    pub fn count_reanchor(&self) {
        self.reanchors.fetch_add(1, Ordering::Relaxed);
    }

    /// The time from pulling a frame to hearing it, as last measured.
    pub fn set_latency(&self, latency: Span) {
        self.latency_ns.store(latency.as_nanos(), Ordering::Relaxed);
    }

    /// The device is gone and `why`. Allocates and wakes: call it after the audio has ended. The first reason stays.
    pub fn fail(&self, why: String) {
        if self.failure.set(why).is_ok() {
            self.died.notify_waiters();
        }
    }
}

/// What a back end keeps alive while it plays. Dropping it must stop and join its audio thread and release the device.
pub trait DeviceGuard: Send {}
impl<T: Send> DeviceGuard for T {}

/// A running device; dropping it stops the sound, joins the audio thread and releases the device.
pub struct Playing {
    format: DeviceFormat,
    health: Arc<Health>,
    mixer: Option<Arc<Mixer>>,
    _device: Box<dyn DeviceGuard>,
}

impl Playing {
    /// Binds a running back end to its health.
    pub fn new(format: DeviceFormat, health: Arc<Health>, device: impl DeviceGuard + 'static) -> Self {
        Self { format, health, mixer: None, _device: Box::new(device) }
    }

    /// A device that is of no use without its card's mixer, if it has one that has a part in the volume.
    #[must_use]
    pub fn with(self, mixer: Option<Arc<Mixer>>) -> Self {
        Playing { mixer, ..self }
    }

    /// What the device pulls.
    pub fn format(&self) -> DeviceFormat {
        self.format
    }

    /// How often the device ran dry since it was started.
    pub fn xruns(&self) -> u64 {
        self.health.xruns.load(Ordering::Relaxed)
    }

    /// How often the device's clock jumped against the monotonic clock since it was started.
    pub fn reanchors(&self) -> u64 {
        self.health.reanchors.load(Ordering::Relaxed)
    }

    /// The time from pulling a frame to hearing it, as last measured; zero before the first pull.
    pub fn latency(&self) -> Span {
        Span::from_nanos(self.health.latency_ns.load(Ordering::Relaxed))
    }

    /// Why the device died, if it did. A dead device pulls no more: drop it and open the output again.
    pub fn failed(&self) -> Option<&str> {
        self.health.failure.get().map(String::as_str)
    }

    /// Waits until the device dies, or its card's mixer does, and says why. Cancel-safe.
    pub async fn died(&self) -> String {
        let mixer = async {
            match &self.mixer {
                Some(mixer) => mixer.failed().await.to_string(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            why = self.ended() => why.to_owned(),
            why = mixer => why,
        }
    }

    async fn ended(&self) -> &str {
        loop {
            // Registered before looking, so that a death between the two is not missed.
            let signal = self.health.died.notified();
            tokio::pin!(signal);
            signal.as_mut().enable();
            if let Some(why) = self.failed() {
                return why;
            }
            signal.await;
        }
    }
}

impl std::fmt::Debug for Playing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playing").field("format", &self.format).field("health", &self.health).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playing() -> (Arc<Health>, Playing) {
        let health = Arc::new(Health::default());
        let format = DeviceFormat { rate: 48_000, channels: 2, max_pull: 480, latency: Span::ZERO };
        (health.clone(), Playing::new(format, health, ()))
    }

    #[tokio::test]
    async fn a_death_is_told_to_who_waits_and_to_who_comes_later() {
        let (health, playing) = playing();
        assert_eq!(playing.failed(), None);
        let killer = std::thread::spawn(move || {
            health.fail("unplugged".into());
            health.fail("a consequence".into());
        });
        assert_eq!(playing.died().await, "unplugged");
        killer.join().unwrap();
        assert_eq!(playing.died().await, "unplugged");
        assert_eq!(playing.failed(), Some("unplugged"));
    }
}

//! A hub inside a PipeWire process: its events reach the host's main loop, its log lines the host's log.

use audera_pw::{Error, ModuleHost, WakeSource};
use audera_sender::{Hub, HubConfig, HubError, HubEvent, Mailbox};

use crate::log::to_host;

/// Program and version, as players are told.
pub const SOFTWARE: &str = concat!("audera-pipewire ", env!("CARGO_PKG_VERSION"));

/// A running hub whose events arrive on the host's main loop. Dropping it joins the network thread.
#[derive(Debug)]
pub struct Hosted {
    /// The hub.
    pub hub: Hub,
    _events: WakeSource,
}

impl Hosted {
    /// Starts a hub; `handler` is called on the host's main loop.
    ///
    /// # Errors
    /// The hub cannot start, see [`audera_sender::HubError`].
    pub fn start(
        host: &ModuleHost,
        config: HubConfig,
        mut handler: impl FnMut(HubEvent) + 'static,
    ) -> Result<Self, Error> {
        let mailbox = Mailbox::new();
        let (receiver, waker) = host.main_loop().on_wake({
            let mailbox = mailbox.clone();
            // No more at once than there are players, rooms and streams, whatever comes meanwhile.
            move || mailbox.take().into_iter().for_each(&mut handler)
        })?;
        let log = to_host(host.log());
        let tell = move |event| {
            if mailbox.post(event) {
                waker.wake();
            }
        };
        let state_dir = config.state_dir.display().to_string();
        let hub = Hub::start(config, log, tell).map_err(|error| match error {
            HubError::Identity(_) | HubError::Trust(_) => Error::Argument {
                key: "audera.state.dir".to_owned(),
                value: state_dir,
                expected: format!("a folder whose files can be used: {error}"),
            },
            other => Error::module(other),
        })?;
        Ok(Hosted { hub, _events: receiver })
    }
}

/// The name of this host, as players show it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

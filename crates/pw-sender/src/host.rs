//! A hub inside a PipeWire process: its events reach the host's main loop, its log lines the host's log.

use std::sync::Arc;

use audera_pw::{Error, ModuleHost, Receiver};
use audera_sender::{Hub, HubConfig, HubError, HubEvent};

use crate::log::ToHost;

/// Program and version, as players are told.
pub const SOFTWARE: &str = concat!("audera-pipewire ", env!("CARGO_PKG_VERSION"));

/// A running hub whose events arrive on the host's main loop. Dropping it joins the network thread.
#[derive(Debug)]
pub struct Hosted {
    /// The hub.
    pub hub: Hub,
    _events: Receiver,
}

impl Hosted {
    /// Starts a hub; `handler` is called on the host's main loop.
    ///
    /// # Errors
    /// The hub cannot start, see [`audera_sender::HubError`].
    pub fn start(host: &ModuleHost, config: HubConfig, handler: impl FnMut(HubEvent) + 'static) -> Result<Self, Error> {
        let (receiver, sender) = host.main_loop().channel(handler)?;
        let log = tracing::Dispatch::from(Arc::new(ToHost(host.log())) as Arc<dyn tracing::Subscriber + Send + Sync>);
        // Nobody receives any more when the module is on its way out.
        let tell = move |event| drop(sender.send(event));
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

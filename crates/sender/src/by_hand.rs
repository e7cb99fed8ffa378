//! For tests: a network thread by hand. Its tasks never get to run, as nothing is awaited: nobody is dialled, and no file is written.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use audera_link::PeerId;
use tokio::task::LocalSet;

use crate::core::{Core, Prepared};
use crate::discovery::{self, Announcement};
use crate::types::{HubConfig, HubEvent};

/// Runs something on a thread that can have a network thread's tasks, with a folder of state.
pub(crate) fn by_hand(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { test(folder.path()) });
}

/// All that a network thread knows, when it has begun.
pub(crate) fn core(state_dir: &Path) -> Rc<Core> {
    core_that_tells(state_dir, |_| {})
}

/// The same with an owner who listens.
pub(crate) fn core_that_tells(state_dir: &Path, events: impl FnMut(HubEvent) + Send + 'static) -> Rc<Core> {
    let config = HubConfig {
        name: "sender".to_owned(),
        software: "test".to_owned(),
        state_dir: state_dir.to_owned(),
        discover: false,
        players: Vec::new(),
        listen: None,
    };
    Core::new(Prepared::new(config).unwrap(), Box::new(events))
}

/// An identity.
pub(crate) fn id(number: u8) -> PeerId {
    format!("{number:02x}").repeat(32).parse().unwrap()
}

/// An address with its port.
pub(crate) fn place(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A player is announced with this identity.
pub(crate) fn announce(core: &Rc<Core>, name: &str, at: &str, number: u8) {
    let (addresses, groups) = (vec![place(at)], Vec::new());
    discovery::found(core, Announcement { name: name.to_owned(), addresses, id: Some(id(number)), groups });
}

//! Follows what the user has said of where rooms are, in the file of the state folder that all senders share.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use audera_link::{WHEREABOUTS_FILE, Whereabouts, WhereaboutsError};
use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;

use crate::core::Core;
use crate::hub::Follower;
use crate::types::HubEvent;

/// What is in force.
pub(crate) struct Followed {
    known: Whereabouts,
    told: Follower,
    was_read: bool,
    /// What was wrong with the file when it was read last.
    trouble: Option<String>,
    watch: Option<Watch>,
}

impl Followed {
    /// Nobody is looked for until the file has been read, since it may say just that.
    pub(crate) fn begin(core: &Rc<Core>, told: Follower) -> Self {
        let watch = Watch::new(&core.config.state_dir);
        let watch = watch.inspect_err(|error| tracing::info!("changes of {WHEREABOUTS_FILE} are not noticed: {error}"));
        let nothing = Whereabouts { discover: false, addresses: Vec::new() };
        core.allow_discovery(false);
        Followed { known: nothing, told, was_read: false, trouble: None, watch: watch.ok() }
    }

    /// Reads it, and again whenever it has changed, for as long as the hub runs.
    pub(crate) async fn go_on(mut self, core: Rc<Core>) {
        self.read(&core).await;
        loop {
            let changed = async {
                match &self.watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            let lost = tokio::select! {
                changed = changed => changed.err(),
                () = core.look_again.notified() => None,
            };
            if let Some(error) = lost {
                tracing::warn!("changes of {WHEREABOUTS_FILE} are not noticed any more: {error}");
                self.watch = None;
            }
            self.read(&core).await;
        }
    }

    async fn read(&mut self, core: &Rc<Core>) {
        let dir = core.config.state_dir.clone();
        let read = spawn_blocking(move || Whereabouts::read(&dir, audera_wire::PORT)).await;
        match read.map_err(io::Error::from) {
            Ok(Ok(now)) => {
                (self.trouble, self.was_read) = (None, true);
                self.take(core, now);
            }
            Ok(Err(error)) => self.complain(core, &error),
            // The hub is ending.
            Err(error) => tracing::debug!("{WHEREABOUTS_FILE} was not read: {error}"),
        }
    }

    fn take(&mut self, core: &Rc<Core>, now: Whereabouts) {
        let before = std::mem::replace(&mut self.known, now);
        let now = &self.known;
        now.addresses
            .iter()
            .filter(|address| !before.addresses.contains(address))
            .for_each(|new| core.add_address(new));
        before
            .addresses
            .iter()
            .filter(|address| !now.addresses.contains(address))
            .for_each(|old| core.remove_address(old));
        core.allow_discovery(now.discover);
        (self.told)(now);
    }

    fn complain(&mut self, core: &Core, error: &WhereaboutsError) {
        let consequence = if self.was_read { "rooms are found as before" } else { "rooms are not looked for" };
        let text = format!("{consequence}: {error}");
        if self.trouble.as_ref() != Some(&text) {
            core.tell(HubEvent::Trouble(text.clone()));
            self.trouble = Some(text);
        }
    }
}

/// Sees when the file is written, replaced or removed.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Within the state folder, which is there as the identity is in it.
    fn new(dir: &Path) -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let changes = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE;
        inotify::add_watch(&inotify, dir, changes | inotify::WatchFlags::ONLYDIR)?;
        // SAFETY: `inotify` is moved in, so its descriptor stays open and the same until the `AsyncFd`, which never gives it away, is dropped and takes it
        // off the reactor.
        let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
        Ok(Watch(registered?))
    }

    async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let concerned = self.drain()?;
            ready.clear_ready();
            if concerned {
                return Ok(());
            }
        }
    }

    /// Takes all that there is; whether it is about the file.
    fn drain(&self) -> io::Result<bool> {
        let is_ours = |name: Option<&CStr>| name.is_some_and(|name| name.to_bytes() == WHEREABOUTS_FILE.as_bytes());
        // Room for an event with the longest name there is.
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(self.0.get_ref(), &mut buffer);
        let mut concerned = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let overflown = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    concerned |= overflown || is_ours(event.file_name());
                }
                Err(Errno::WOULDBLOCK) => return Ok(concerned),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::task::LocalSet;

    use super::*;
    use crate::by_hand::core_that_tells;

    /// What the owner was told: troubles, and addresses that are followed.
    type Told = Arc<Mutex<Vec<String>>>;

    /// Runs something with a network thread that follows the file in this folder.
    fn following(text: Option<&str>, test: impl AsyncFnOnce(&Path, &Rc<Core>, &mut Followed, &Told)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let file = folder.path().join(WHEREABOUTS_FILE);
        LocalSet::new().block_on(&runtime, async {
            let told = Told::default();
            let (troubles, said) = (told.clone(), told.clone());
            let core = core_that_tells(folder.path(), move |event| {
                if let HubEvent::Trouble(trouble) = event {
                    troubles.lock().unwrap().push(trouble);
                }
            });
            core.want_discovery(true);
            text.into_iter().for_each(|text| std::fs::write(&file, text).unwrap());
            let follower = move |now: &Whereabouts| said.lock().unwrap().push(now.addresses.join(","));
            let mut followed = Followed::begin(&core, Box::new(follower));
            assert!(!core.discovery.is_searching(), "it may say that nobody is to be looked for");
            followed.read(&core).await;
            test(&file, &core, &mut followed, &told).await;
        });
    }

    fn known(core: &Core) -> Vec<String> {
        core.all_players().iter().map(|player| player.key().to_string()).collect()
    }

    fn take(told: &Told) -> Vec<String> {
        std::mem::take(&mut told.lock().unwrap())
    }

    #[test]
    fn a_file_that_breaks_changes_nothing_until_it_can_be_read_again() {
        following(Some("addresses = [\"kitchen\"]"), async |file, core, followed, told| {
            assert_eq!((known(core), take(told)), (vec!["kitchen".to_owned()], vec!["kitchen".to_owned()]));
            assert!(core.discovery.is_searching());
            for broken in ["addresses = [\"host:port\"]", "discover = ", "\u{0}"] {
                std::fs::write(file, broken).unwrap();
                followed.read(core).await;
                // The same once more is no news.
                followed.read(core).await;
                let told = take(told);
                assert!(told.len() == 1 && told[0].starts_with("rooms are found as before: "), "{told:?}");
                assert_eq!((known(core), core.discovery.is_searching()), (vec!["kitchen".to_owned()], true));
            }
            std::fs::write(file, "discover = false\naddresses = [\"bath\"]").unwrap();
            followed.read(core).await;
            assert_eq!((known(core), take(told)), (vec!["bath".to_owned()], vec!["bath".to_owned()]));
            assert!(!core.discovery.is_searching());
        });
    }

    #[test]
    fn nobody_is_looked_for_until_the_file_has_been_read() {
        following(Some("discover = maybe"), async |file, core, followed, told| {
            let trouble = take(told);
            assert!(trouble.len() == 1 && trouble[0].starts_with("rooms are not looked for: "), "{trouble:?}");
            assert!(!core.discovery.is_searching());
            std::fs::remove_file(file).unwrap();
            followed.read(core).await;
            assert!(core.discovery.is_searching(), "no file says that rooms are looked for");
        });
        following(None, async |_, core, _, _| assert!(core.discovery.is_searching()));
    }
}

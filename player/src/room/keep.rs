//! Keeps a text in its file while it changes: at once, at most so often, and to the last change before the end. Knows not what it says.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Between two writings, while a slider moves.
const PAUSE: Duration = Duration::from_secs(1);
/// Before the next attempt to write where it could not be.
const RETRY: Duration = Duration::from_secs(10);

/// Writes a text into a file, whole or not at all.
type Write = dyn Fn(&str) -> io::Result<()> + Send + Sync;

/// The keeper of one file. Lives on the network thread and writes beside it.
pub(super) struct Keeper {
    write: Arc<Write>,
    /// Rung when there is something to write.
    changed: Notify,
    /// How often there was something to write, and to which of these the file is true.
    wanted: Cell<u64>,
    kept: Cell<u64>,
    /// Held while somebody writes: two at once would be in each other's way, and the later one must be the last.
    turn: Mutex<()>,
}

impl Keeper {
    /// A keeper of the file that `write` writes.
    pub(super) fn new(write: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Keeper {
            write: Arc::new(write),
            changed: Notify::new(),
            wanted: Cell::new(0),
            kept: Cell::new(0),
            turn: Mutex::new(()),
        }
    }

    /// The text has changed.
    pub(super) fn changed(&self) {
        self.wanted.set(self.wanted.get() + 1);
        self.changed.notify_one();
    }

    /// Keeps what `text` says, for as long as it is awaited: at once, but not more often than once a second.
    pub(super) async fn run(&self, file: &Path, text: impl Fn() -> String) {
        let mut trouble = String::new();
        loop {
            self.changed.notified().await;
            match self.keep(&text).await {
                Ok(()) => {
                    trouble.clear();
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    let now = error.to_string();
                    if now != trouble {
                        tracing::error!(
                            "what is set is in force, but would be lost at the next start: {} cannot be written: {now}; tried again every {} s",
                            file.display(),
                            RETRY.as_secs()
                        );
                        trouble = now;
                    }
                    sleep(RETRY).await;
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Waits for what is being written, and writes what has changed since.
    ///
    /// # Errors
    /// What the system says; the file is as it was.
    pub(super) async fn keep(&self, text: impl Fn() -> String) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let wanted = self.wanted.get();
        if wanted == self.kept.get() {
            return Ok(());
        }
        let (write, text) = (self.write.clone(), text());
        spawn_blocking(move || write(&text)).await.unwrap_or_else(|panic| Err(panic.into()))?;
        self.kept.set(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;
    use std::rc::Rc;
    use std::sync::Mutex as SyncMutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures_util::FutureExt;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    /// A disk that writes when it is let to.
    struct Disk {
        keeper: Rc<Keeper>,
        text: Rc<RefCell<String>>,
        let_write: Sender<io::Result<()>>,
        begun: Receiver<String>,
        written: Arc<SyncMutex<Vec<String>>>,
    }

    impl Disk {
        fn new() -> Disk {
            let (let_write, may_write) = channel();
            let (begin, begun) = channel();
            let (may_write, written) = (SyncMutex::new(may_write), Arc::new(SyncMutex::new(Vec::new())));
            let keeper = Keeper::new({
                let written = written.clone();
                move |text| {
                    begin.send(text.to_owned()).unwrap();
                    may_write.lock().unwrap().recv().unwrap()?;
                    written.lock().unwrap().push(text.to_owned());
                    Ok(())
                }
            });
            let (keeper, text) = (Rc::new(keeper), Rc::default());
            Disk { keeper, text, let_write, begun, written }
        }

        fn set(&self, text: &str) {
            self.text.replace(text.to_owned());
            self.keeper.changed();
        }

        async fn begun(&self) -> String {
            loop {
                match self.begun.try_recv() {
                    Ok(text) => return text,
                    Err(_) => yield_now().await,
                }
            }
        }

        fn runs(&self) {
            let (keeper, text) = (self.keeper.clone(), self.text.clone());
            spawn_local(async move { keeper.run(&PathBuf::from("room.toml"), || text.borrow().clone()).await });
        }

        async fn end(&self) -> io::Result<()> {
            self.keeper.keep(|| self.text.borrow().clone()).await
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_being_written_and_writes_the_last() {
        let test = async {
            let disk = Disk::new();
            disk.runs();
            disk.set("first");
            assert_eq!(disk.begun().await, "first");
            // Nothing has changed since: all the same, it is not on the disk yet.
            let mut end = Box::pin(disk.end());
            assert!(end.as_mut().now_or_never().is_none(), "it has ended while the disk wrote");
            disk.set("second");
            disk.let_write.send(Ok(())).unwrap();
            disk.let_write.send(Ok(())).unwrap();
            end.await.unwrap();
            assert_eq!(*disk.written.lock().unwrap(), ["first", "second"]);
            disk.end().await.unwrap();
            assert_eq!(disk.written.lock().unwrap().len(), 2, "what is on the disk is not written again");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_tried_again_and_at_the_end() {
        let test = async {
            let disk = Disk::new();
            disk.runs();
            disk.set("text");
            disk.let_write.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            disk.begun().await;
            disk.let_write.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            assert!(disk.end().await.is_err());
            disk.let_write.send(Ok(())).unwrap();
            disk.end().await.unwrap();
            assert_eq!(*disk.written.lock().unwrap(), ["text"]);
        };
        LocalSet::new().run_until(test).await;
    }
}

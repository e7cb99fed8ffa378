//! The file with added addresses: read and written beside the main loop, one thing after the other, since a disk may take its time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use audera_dbus::Error;
use audera_sender::{Whereabouts, WhereaboutsError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use crate::jobs::JobId;

/// What is in the file now, or why that is not known; the job for which it was written.
pub type Filed = (Option<JobId>, Result<Whereabouts, Error>);

/// A change of what is in the file.
pub type Change = Box<dyn FnOnce(&mut Whereabouts) -> Result<(), Error> + Send>;

/// Changes that a disk may leave undone. Calls are given up after a while, what is to be written for them is not.
const MOST: usize = 32;

/// The way to the file. On it are [`MOST`] changes and one look that has not begun, at most.
#[derive(Debug)]
pub struct Files {
    state_dir: PathBuf,
    /// Takes what has come of it.
    filed: UnboundedSender<Filed>,
    /// Changes that are under way.
    changes: Arc<AtomicUsize>,
    /// Whether a look is under way that has not begun.
    looks: Arc<AtomicBool>,
}

impl Files {
    /// For the file in this folder. The runtime has one thread for it, so what comes of things comes in their order.
    pub fn new(state_dir: PathBuf, filed: UnboundedSender<Filed>) -> Self {
        Files { state_dir, filed, changes: Arc::default(), looks: Arc::default() }
    }

    /// Reads it.
    pub fn look(&self) {
        if self.looks.swap(true, Ordering::SeqCst) {
            return;
        }
        let (dir, filed, looks) = (self.state_dir.clone(), self.filed.clone(), self.looks.clone());
        spawn_blocking(move || {
            // What changes from here on is for another look.
            looks.store(false, Ordering::SeqCst);
            let read = Whereabouts::read(&dir, audera_wire::PORT).map_err(|error| Error::Failed(error.to_string()));
            // Nobody takes it any more when the program ends.
            drop(filed.send((None, read)));
        });
    }

    /// Whether there is a place for one more change.
    ///
    /// # Errors
    /// [`Error::Busy`] if there is none.
    pub fn has_place(&self) -> Result<(), Error> {
        if self.changes.load(Ordering::SeqCst) < MOST {
            return Ok(());
        }
        let dir = self.state_dir.display();
        Err(Error::Busy(format!(
            "{MOST} changes wait to be written to {dir}: see whether that disk answers, then try again"
        )))
    }

    /// Changes it for a job.
    pub fn change(&self, job: JobId, change: Change) {
        let (dir, filed, changes) = (self.state_dir.clone(), self.filed.clone(), self.changes.clone());
        changes.fetch_add(1, Ordering::SeqCst);
        spawn_blocking(move || {
            let mut refusal = None;
            let changed = Whereabouts::change(&dir, audera_wire::PORT, |all| {
                // What is refused changes nothing, and neither does it keep the file from being read.
                let mut changed = all.clone();
                match change(&mut changed) {
                    Ok(()) => *all = changed,
                    Err(error) => refusal = Some(error),
                }
                Ok(())
            });
            let outcome = changed.map(|(all, ())| all).map_err(|error| Error::Failed(error.to_string()));
            drop(filed.send((Some(job), refusal.map_or(outcome, Err))));
            changes.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Adds an address.
pub fn add(address: String) -> Change {
    Box::new(move |all| all.add(&address, audera_wire::PORT).map(drop).map_err(refused))
}

/// Removes one.
pub fn remove(address: String) -> Change {
    Box::new(move |all| match all.remove(&address, audera_wire::PORT) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NotFound(format!("\"{address}\" was not added: see Addresses"))),
        Err(error) => Err(refused(error)),
    })
}

/// Has rooms looked for, or no longer.
pub fn discover(whether: bool) -> Change {
    Box::new(move |all| {
        all.discover = whether;
        Ok(())
    })
}

fn refused(error: WhereaboutsError) -> Error {
    Error::InvalidValue(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_gathers_no_more_than_so_much() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (tell, mut filed) = unbounded_channel();
            let files = Files::new(dir.path().to_owned(), tell);
            // The thread for files is held up.
            let (release, held) = channel::<()>();
            spawn_blocking(move || held.recv());
            (0..100).for_each(|_| files.look());
            let taken = (0..100).take_while(|job| {
                let has_place = files.has_place();
                if has_place.is_ok() {
                    files.change(*job, discover(false));
                }
                has_place.is_ok()
            });
            assert_eq!(taken.count(), MOST);
            assert!(matches!(files.has_place(), Err(Error::Busy(text)) if text.contains("disk")));
            drop(release);
            // The one look, and then the changes.
            let first = filed.recv().await;
            assert!(matches!(first, Some((None, Ok(_)))), "{first:?}");
            for job in 0..MOST as JobId {
                let next = filed.recv().await;
                assert!(matches!(&next, Some((Some(done), Ok(now))) if *done == job && !now.discover), "{next:?}");
            }
            files.look();
            assert!(matches!(filed.recv().await, Some((None, Ok(now))) if !now.discover));
            assert!(files.has_place().is_ok());
        });
    }
}

//! The file with added addresses: read and written beside the main loop, one thing after the other, since a disk may take its time.

use std::path::PathBuf;

use audera_dbus::Error;
use audera_sender::{Whereabouts, WhereaboutsError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use crate::jobs::JobId;

/// What is in the file now, or why that is not known; the job for which it was written.
pub type Filed = (Option<JobId>, Result<Whereabouts, Error>);

/// A change of what is in the file.
pub type Change = Box<dyn FnOnce(&mut Whereabouts) -> Result<(), Error> + Send>;

/// The way to the file. There is no more on it than calls that wait, and one look.
#[derive(Debug)]
pub struct Files {
    state_dir: PathBuf,
    /// Takes what has come of it.
    filed: UnboundedSender<Filed>,
}

impl Files {
    /// For the file in this folder. The runtime has one thread for it, so what comes of things comes in their order.
    pub fn new(state_dir: PathBuf, filed: UnboundedSender<Filed>) -> Self {
        Files { state_dir, filed }
    }

    /// Reads it.
    pub fn look(&self) {
        let (dir, filed) = (self.state_dir.clone(), self.filed.clone());
        spawn_blocking(move || {
            let read = Whereabouts::read(&dir, audera_wire::PORT).map_err(|error| Error::Failed(error.to_string()));
            // Nobody takes it any more when the program ends.
            drop(filed.send((None, read)));
        });
    }

    /// Changes it for a job.
    pub fn change(&self, job: JobId, change: Change) {
        let (dir, filed) = (self.state_dir.clone(), self.filed.clone());
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

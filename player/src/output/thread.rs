//! An audio thread that ends when its handle is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use super::OutputError;

/// A running thread; dropping it asks the thread to end, wakes it should it be parked, and waits until it has ended.
#[derive(Debug)]
pub(super) struct OwnThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl OwnThread {
    /// Starts a thread of `output`, which is to return soon after the flag that it is given has been set.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        output: &str,
        name: &str,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self, OutputError> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = Builder::new().name(name.to_owned()).spawn({
            let stop = stop.clone();
            move || run(&stop)
        });
        let thread = thread.map_err(|error| OutputError::Device {
            output: output.to_owned(),
            action: "starting a thread",
            detail: error.to_string(),
        })?;
        Ok(OwnThread { stop, thread: Some(thread) })
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!("the thread {name} has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_has_ended_when_it_is_dropped_even_if_it_slept() {
        let (tell, told) = mpsc::channel();
        let thread = OwnThread::start("test", "audera-test", move |stop| {
            while !stop.load(Ordering::Acquire) {
                std::thread::park();
            }
            tell.send("ended").unwrap();
        });
        drop(thread.unwrap());
        assert_eq!(told.try_recv(), Ok("ended"));
        drop(OwnThread::start("test", "audera-test", |_| panic!("on purpose")).unwrap());
    }
}

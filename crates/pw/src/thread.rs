//! A thread that runs a PipeWire loop of its own, for programs that are not modules.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::core::Context;
use crate::error::Error;
use crate::main_loop::{MainLoop, Sender};
use crate::properties::Properties;

type Task<S> = Box<dyn FnOnce(&mut S) + Send>;

enum Order<S> {
    Do(Task<S>),
    Stop,
}

/// A thread with a loop, a context and a state `S` that lives on it.
///
/// The state holds what cannot leave the loop (core, streams, timers). Dropping the thread stops and joins it; the
/// state is dropped on it first.
pub struct Thread<S: 'static> {
    orders: Sender<Order<S>>,
    name: String,
    join: Option<JoinHandle<()>>,
}

impl<S: 'static> Thread<S> {
    /// Starts a thread by this name (15 bytes show) and runs `setup` on it, whose result is waited for.
    ///
    /// `properties` are the context's (`application.name`, `log.level` and so on).
    ///
    /// # Errors
    /// What `setup` gave, or that the thread could not be started.
    pub fn spawn(
        name: &str,
        properties: Properties,
        setup: impl FnOnce(&Context) -> Result<S, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let failed = |cause| Error::Thread { name: name.to_owned(), cause };
        let (report, ready) = mpsc::sync_channel(1);
        let join = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&properties, setup, &report))
            .map_err(failed)?;
        match ready.recv() {
            Ok(Ok(orders)) => Ok(Self { orders, name: name.to_owned(), join: Some(join) }),
            Ok(Err(error)) => {
                let _ended = join.join();
                Err(error)
            }
            Err(mpsc::RecvError) => {
                let _ended = join.join();
                Err(failed(io::Error::other("it panicked while starting")))
            }
        }
    }

    /// Has `task` run on the loop, some time soon and in order.
    ///
    /// # Errors
    /// [`Error::Thread`] when the thread has ended.
    pub fn post(&self, task: impl FnOnce(&mut S) + Send + 'static) -> Result<(), Error> {
        self.orders.send(Order::Do(Box::new(task))).map_err(|_| self.ended())
    }

    /// Runs `task` on the loop and waits for its result. Not to be called on the loop itself, nor on an async thread
    /// that must not block.
    ///
    /// # Errors
    /// [`Error::Thread`] when the thread has ended, or the task panicked.
    pub fn run<R: Send + 'static>(&self, task: impl FnOnce(&mut S) -> R + Send + 'static) -> Result<R, Error> {
        let (reply, result) = mpsc::sync_channel(1);
        self.post(move |state| {
            // Nobody waits any more only if the caller's thread is gone.
            let _unread = reply.send(task(state));
        })?;
        result.recv().map_err(|mpsc::RecvError| self.ended())
    }

    fn ended(&self) -> Error {
        Error::Thread { name: self.name.clone(), cause: io::Error::other("it does not answer any more") }
    }
}

impl<S: 'static> Drop for Thread<S> {
    fn drop(&mut self) {
        let _gone = self.orders.send(Order::Stop).is_err();
        if let Some(join) = self.join.take() {
            // A panic of the thread has been printed by the hook; there is nobody to hand it to.
            let _panicked = join.join().is_err();
        }
    }
}

impl<S: 'static> std::fmt::Debug for Thread<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The body of the thread: make everything, run the loop, drop everything.
fn serve<S: 'static>(
    properties: &Properties,
    setup: impl FnOnce(&Context) -> Result<S, Error>,
    report: &mpsc::SyncSender<Result<Sender<Order<S>>, Error>>,
) {
    let prepared = MainLoop::new().and_then(|main_loop| {
        let context = Context::new(&main_loop, properties)?;
        let mut state = setup(&context)?;
        let (receiver, orders) = main_loop.channel({
            let main_loop = main_loop.clone();
            move |order| match order {
                Order::Do(task) => task(&mut state),
                Order::Stop => main_loop.quit(),
            }
        })?;
        Ok((main_loop, context, receiver, orders))
    });
    match prepared {
        Ok((main_loop, context, receiver, orders)) => {
            if report.send(Ok(orders)).is_ok() {
                main_loop.run();
            }
            // The state (inside the receiver's handler) goes before the context, and that before the loop.
            drop(receiver);
            drop(context);
        }
        Err(error) => {
            // The receiving end waits for exactly this.
            let _waiting = report.send(Err(error)).is_ok();
        }
    }
}

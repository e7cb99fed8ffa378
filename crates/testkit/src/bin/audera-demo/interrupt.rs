//! Ctrl-C and its like, as something that ends a pause.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Hears of SIGINT, SIGTERM and SIGHUP, which then end nothing by themselves: what runs is to be taken down in order.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: Receiver<()>,
    came: bool,
}

impl Interrupt {
    pub fn listen() -> Result<Self, Failure> {
        let (heard, signals) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Signals)?;
        let watch = {
            let _inside = runtime.enter();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            kinds.map(|kind| signal(kind).map_err(Failure::Signals))
        };
        let [interrupt, terminate, hangup] = watch;
        let (mut interrupt, mut terminate, mut hangup) = (interrupt?, terminate?, hangup?);
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if heard.send(()).is_err() {
                        return;
                    }
                }
            });
        });
        Ok(Self { signals, came: false })
    }

    /// Whether a signal has come.
    pub fn came(&mut self) -> bool {
        self.came |= self.signals.try_recv().is_ok();
        self.came
    }

    /// Waits, unless a signal comes or has come.
    pub fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        if !self.came {
            // Without the watching thread there is nothing to hear of, and nothing to wait with.
            self.came = !matches!(self.signals.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        }
        self.check()
    }

    /// An error once a signal has come.
    pub fn check(&mut self) -> Result<(), Failure> {
        if self.came() { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

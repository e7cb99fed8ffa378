//! A cable between a simulated host and its network: a thread that takes frames from the network interface at one end and gives
//! them to the other when the cable's model says.
//!
//! The model counts from when a frame is read, and the thread wakes for each; on a machine that is busy with other things it may
//! wake late, and [`Traffic`] tells by how much.

mod tap;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub(crate) use tap::Tap;

use crate::{
    cable::{Cable, Line},
    sim::Path,
};

/// What has passed a cable, and whether it was passed on in time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// From the host.
    pub up: Way,
    /// To the host.
    pub down: Way,
    /// By how much the cable itself was late at worst: what was measured meanwhile is to be doubted by as much.
    pub worst_lateness: Duration,
    /// How many frames it gave on more than a millisecond late.
    pub late: u64,
}

/// What has passed one direction of a cable.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// Ethernet frames that came out.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that were lost.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    near: Tap,
    far: Tap,
    wake: tap::Event,
    stop: AtomicBool,
    up: Counters,
    down: Counters,
    worst_lateness: AtomicU64,
    late: AtomicU64,
}

/// A cable at work. Dropping it ends its thread and takes both interfaces away.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    changes: mpsc::Sender<Cable>,
    thread: Option<JoinHandle<()>>,
}

/// Frames that are read before what is due is looked after again.
const AT_ONCE: usize = 32;

impl Relay {
    /// Starts to carry between the host's interface and the network's.
    pub(crate) fn start(near: Tap, far: Tap, cable: &Cable) -> io::Result<Self> {
        let timer = tap::Timer::new()?;
        let shared = Arc::new(Shared {
            near,
            far,
            wake: tap::Event::new()?,
            stop: AtomicBool::new(false),
            up: Counters::default(),
            down: Counters::default(),
            worst_lateness: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let (changes, inbox) = mpsc::channel();
        let worker = Worker {
            shared: Arc::clone(&shared),
            timer,
            changes: inbox,
            begin: tap::now(),
            up: Path::over(cable.up_line()),
            down: Path::over(cable.down_line()),
            buffer: vec![0; tap::LONGEST_FRAME],
        };
        let thread = thread::Builder::new().name("audera-cable".into()).spawn(move || worker.run())?;
        Ok(Self { shared, changes, thread: Some(thread) })
    }

    /// Goes on with other properties. What is under way comes as it would have.
    pub fn change(&self, cable: &Cable) {
        // Nobody receives any more if the thread has ended, which it does only with this.
        drop(self.changes.send(cable.clone()));
        self.shared.wake.set();
    }

    /// Plugs both ends in or out.
    pub(crate) fn set_carrier(&self, on: bool) -> io::Result<()> {
        self.shared.near.set_carrier(on)?;
        self.shared.far.set_carrier(on)
    }

    /// What has passed so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let way = |counters: &Counters| Way {
            frames: counters.frames.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            lost: counters.lost.load(Relaxed),
        };
        Traffic {
            up: way(&self.shared.up),
            down: way(&self.shared.down),
            worst_lateness: Duration::from_nanos(self.shared.worst_lateness.load(Relaxed)),
            late: self.shared.late.load(Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.shared.wake.set();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it has, there is nothing left to end.
            drop(thread.join());
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    timer: tap::Timer,
    changes: mpsc::Receiver<Cable>,
    /// Nought of the lines' time.
    begin: i64,
    up: Path<Box<[u8]>>,
    down: Path<Box<[u8]>>,
    buffer: Vec<u8>,
}

impl Worker {
    fn run(mut self) {
        tap::go_first();
        while !self.shared.stop.load(Relaxed) {
            // Only the newest change counts.
            if let Some(cable) = self.changes.try_iter().last() {
                self.up.change(self.skipped(cable.up_line()));
                self.down.change(self.skipped(cable.down_line()));
            }
            let shared = &self.shared;
            deliver(&mut self.up, &shared.far, &shared.up, shared, self.begin);
            deliver(&mut self.down, &shared.near, &shared.down, shared, self.begin);
            let next = [self.up.next_arrival(), self.down.next_arrival()].into_iter().flatten().min();
            self.timer.set(next.map(|at| at.saturating_add(self.begin)));
            // Without either there is nothing to carry, and to go on would keep a processor busy at the highest priority.
            let Some(ready) = tap::wait([&shared.near, &shared.far], &self.timer, &shared.wake) else { return };
            if ready[0] {
                take(&shared.near, &mut self.up, &shared.up, &mut self.buffer, self.begin);
            }
            if ready[1] {
                take(&shared.far, &mut self.down, &shared.down, &mut self.buffer, self.begin);
            }
        }
    }

    /// A line whose weather has gone on until now, so that this does not take time later.
    fn skipped(&self, mut line: Line) -> Line {
        line.skip_to(tap::now() - self.begin);
        line
    }
}

/// Reads what has come to one end.
fn take(from: &Tap, path: &mut Path<Box<[u8]>>, counters: &Counters, buffer: &mut [u8], begin: i64) {
    for _ in 0..AT_ONCE {
        let Some(length) = from.read(buffer) else { return };
        let frame = &buffer[..length];
        if path.send(tap::now() - begin, length, frame.into()).is_none() {
            counters.lost.fetch_add(1, Relaxed);
        }
    }
}

/// Writes what is due at the other end.
fn deliver(path: &mut Path<Box<[u8]>>, to: &Tap, counters: &Counters, shared: &Shared, begin: i64) {
    while let Some((due, frame)) = path.receive(tap::now() - begin) {
        // What comes to an interface that is down, or has its cable pulled, is gone.
        if to.write(&frame) {
            counters.frames.fetch_add(1, Relaxed);
            counters.bytes.fetch_add(frame.len() as u64, Relaxed);
        } else {
            counters.lost.fetch_add(1, Relaxed);
        }
        let lateness = u64::try_from(tap::now() - begin - due).unwrap_or(0);
        shared.worst_lateness.fetch_max(lateness, Relaxed);
        if lateness > 1_000_000 {
            shared.late.fetch_add(1, Relaxed);
        }
    }
}

//! What the main loop of the host does for us: wake-ups from other threads, timers, messages, and events put off until
//! the stack is flat.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use libspa_sys as spa;
use pipewire_sys as pw;

use crate::error::{Error, check, last};
use crate::guard::contain_logged;
use crate::sys;
use crate::time::to_timespec;

/// A loop that runs in this thread: the host's (modules) or that of a [`Thread`](crate::Thread). Cheap to clone.
#[derive(Debug, Clone)]
pub struct MainLoop(Rc<LoopInner>);

#[derive(Debug)]
struct LoopInner {
    raw: *mut pw::pw_loop,
    /// Set when the loop is ours to destroy.
    own: Option<*mut pw::pw_main_loop>,
}

impl MainLoop {
    /// The loop of a host.
    ///
    /// # Safety
    /// `raw` is live, outlives all that is made from it, and this is the thread that runs it.
    pub(crate) unsafe fn of_host(raw: *mut pw::pw_loop) -> Self {
        Self(Rc::new(LoopInner { raw, own: None }))
    }

    /// A loop of our own, run by [`run`](Self::run).
    pub(crate) fn new() -> Result<Self, Error> {
        crate::init();
        // SAFETY: the library is initialised; NULL properties are allowed.
        let main = unsafe { pw::pw_main_loop_new(std::ptr::null()) };
        if main.is_null() {
            return Err(last("make a main loop"));
        }
        // SAFETY: `main` was just made.
        let raw = unsafe { pw::pw_main_loop_get_loop(main) };
        Ok(Self(Rc::new(LoopInner { raw, own: Some(main) })))
    }

    /// Runs a loop of our own until [`quit`](Self::quit).
    pub(crate) fn run(&self) {
        if let Some(main) = self.0.own {
            // SAFETY: `main` lives as long as self.0; this is its thread, as MainLoop is not Send.
            unsafe { pw::pw_main_loop_run(main) };
        }
    }

    pub(crate) fn quit(&self) {
        if let Some(main) = self.0.own {
            // SAFETY: as in run().
            unsafe { pw::pw_main_loop_quit(main) };
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut pw::pw_loop {
        self.0.raw
    }

    /// Calls `callback` on this loop some time after each [`Waker::wake`]; several wakes before it runs are one call.
    ///
    /// Dropping the [`WakeSource`] ends it; a waker that is left does nothing then.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn on_wake(&self, callback: impl FnMut() + 'static) -> Result<(WakeSource, Waker), Error> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(last("make an event descriptor"));
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let fd = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let source = Source::new(self, callback, |data| {
            // SAFETY: the loop is live and this is its thread (MainLoop is neither Send nor made elsewhere); `data`
            // stays valid until the source is destroyed, by Source's own order of dropping.
            unsafe { sys::loop_add_io(self.as_ptr(), fd.as_raw_fd(), on_readable, data) }
        })?;
        Ok((WakeSource { _source: source, _fd: Arc::clone(&fd) }, Waker(fd)))
    }

    /// A timer that calls `callback` on this loop; it does nothing until armed.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn timer(&self, callback: impl FnMut() + 'static) -> Result<Timer, Error> {
        let source = Source::new(self, callback, |data| {
            // SAFETY: as in on_wake().
            unsafe { sys::loop_add_timer(self.as_ptr(), on_expired, data) }
        })?;
        Ok(Timer(source))
    }

    /// A channel from any thread to a handler on this loop.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn channel<T: 'static>(&self, mut handler: impl FnMut(T) + 'static) -> Result<(Receiver, Sender<T>), Error> {
        let (sender, receiver) = mpsc::channel();
        let (source, waker) = self.on_wake(move || {
            while let Ok(message) = receiver.try_recv() {
                handler(message);
            }
        })?;
        Ok((Receiver { _source: source }, Sender { sender, waker }))
    }
}

impl Drop for LoopInner {
    fn drop(&mut self) {
        if let Some(main) = self.own {
            // SAFETY: made in MainLoop::new and destroyed once; every source holds a MainLoop, so none is left.
            unsafe { pw::pw_main_loop_destroy(main) };
        }
    }
}

type Callback = RefCell<Box<dyn FnMut()>>;

/// A source on the loop and the callback behind it.
#[derive(Debug)]
struct Source {
    main_loop: MainLoop,
    raw: *mut spa::spa_source,
    /// From `Rc::into_raw`: one strong count is ours, so that the callback outlives the source.
    callback: *const Callback,
}

impl Source {
    fn new(
        main_loop: &MainLoop,
        callback: impl FnMut() + 'static,
        add: impl FnOnce(*mut c_void) -> *mut spa::spa_source,
    ) -> Result<Self, Error> {
        let callback: Rc<Callback> = Rc::new(RefCell::new(Box::new(callback)));
        let callback = Rc::into_raw(callback);
        let raw = add(callback.cast_mut().cast());
        if raw.is_null() {
            let error = last("add a source to the main loop");
            // SAFETY: no source has the pointer; this gives back the count that into_raw left us.
            drop(unsafe { Rc::from_raw(callback) });
            return Err(error);
        }
        Ok(Self { main_loop: main_loop.clone(), raw, callback })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: the source is live and of this loop; Source is not Send, so this is the loop's thread.
        unsafe { sys::loop_destroy_source(self.main_loop.as_ptr(), self.raw) };
        // SAFETY: gives back the count that Rc::into_raw left us; the destroyed source does not call any more. If this
        // happens inside the callback itself, `fire` holds another count.
        drop(unsafe { Rc::from_raw(self.callback) });
    }
}

/// # Safety
/// `data` is the callback of a live source, and this is the loop's thread.
unsafe fn fire(data: *mut c_void) {
    let callback: *const Callback = data.cast_const().cast();
    // SAFETY: the live source owns a count; the one added here keeps the callback while it drops its own source.
    let callback = unsafe {
        Rc::increment_strong_count(callback);
        Rc::from_raw(callback)
    };
    contain_logged("a callback of the main loop", move || {
        // Busy means that the callback runs the loop from inside itself: the outer call will see to it.
        if let Ok(mut callback) = callback.try_borrow_mut() {
            callback();
        }
    });
}

unsafe extern "C" fn on_readable(data: *mut c_void, fd: c_int, _mask: u32) {
    let mut count = 0_u64;
    // SAFETY: `count` is eight writable bytes, as an eventfd gives them; the descriptor is non-blocking and owned by
    // the WakeSource.
    unsafe { libc::read(fd, (&raw mut count).cast(), size_of::<u64>()) };
    // SAFETY: the loop calls sources that are live, on its own thread, with the data they were made with.
    unsafe { fire(data) };
}

unsafe extern "C" fn on_expired(data: *mut c_void, _expirations: u64) {
    // SAFETY: as in on_readable.
    unsafe { fire(data) };
}

/// Keeps the callback of [`MainLoop::on_wake`] in place. Stays on the loop's thread.
#[derive(Debug)]
#[must_use = "dropping it ends the callbacks"]
pub struct WakeSource {
    _source: Source,
    /// After the source, which polls it.
    _fd: Arc<OwnedFd>,
}

/// Wakes the callback of [`MainLoop::on_wake`] from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Has the callback run soon. One system call that neither blocks nor locks, so a real-time thread may use it.
    pub fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight readable bytes, and a descriptor that lives as long as self. It can only fail when the counter
        // is full, and then the callback is due anyway.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }
}

/// Keeps the handler of [`MainLoop::channel`] in place. Stays on the loop's thread.
#[derive(Debug)]
#[must_use = "dropping it ends the channel"]
pub struct Receiver {
    _source: WakeSource,
}

/// Sends messages to a handler on a loop, from any thread but the data loop.
pub struct Sender<T> {
    sender: mpsc::Sender<T>,
    waker: Waker,
}

impl<T> Sender<T> {
    /// Queues `message`; it comes back when the receiver is gone.
    ///
    /// # Errors
    /// The message, when nobody will handle it any more.
    pub fn send(&self, message: T) -> Result<(), T> {
        self.sender.send(message).map_err(|refused| refused.0)?;
        self.waker.wake();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// A timer on the loop (monotonic clock). Stays on the loop's thread; dropping it disarms it.
#[derive(Debug)]
pub struct Timer(Source);

impl Timer {
    /// Fires once, after `delay` from now.
    ///
    /// # Errors
    /// When the system refuses the time.
    pub fn arm(&self, delay: Duration) -> Result<(), Error> {
        self.set(Some(delay), None)
    }

    /// Fires every `period`, first after one.
    ///
    /// # Errors
    /// When the system refuses the time.
    pub fn arm_every(&self, period: Duration) -> Result<(), Error> {
        self.set(Some(period), Some(period))
    }

    /// Fires no more until armed again.
    ///
    /// # Errors
    /// None that is known; kept for the symmetry of the call below.
    pub fn disarm(&self) -> Result<(), Error> {
        self.set(None, None)
    }

    fn set(&self, value: Option<Duration>, interval: Option<Duration>) -> Result<(), Error> {
        // SAFETY: the source is a live timer of this live loop, and Timer is not Send, so this is the loop's thread.
        let result = unsafe {
            sys::loop_update_timer(self.0.main_loop.as_ptr(), self.0.raw, to_timespec(value), to_timespec(interval))
        };
        check("set a timer", result).map(drop)
    }
}

/// Events that wait until the main loop is back at its top.
///
/// libpipewire calls back from inside calls into it. Handlers that are only ever called from the top of the loop may
/// hold what they like in `RefCell`s, call any method, and drop any object, their own emitter included.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    pending: Rc<RefCell<VecDeque<E>>>,
    waker: Waker,
    _source: WakeSource,
}

impl<E: 'static> EventQueue<E> {
    /// `handler` gets what is pushed, and what `poll` gives when it is asked after a wake.
    pub(crate) fn new(
        main_loop: &MainLoop,
        mut poll: impl FnMut() -> Option<E> + 'static,
        mut handler: impl FnMut(E) + 'static,
    ) -> Result<Self, Error> {
        let pending: Rc<RefCell<VecDeque<E>>> = Rc::default();
        let (source, waker) = main_loop.on_wake({
            let pending = Rc::clone(&pending);
            move || {
                pending.borrow_mut().extend(poll());
                loop {
                    // A statement of its own: the borrow must have ended when the handler runs.
                    let next = pending.borrow_mut().pop_front();
                    match next {
                        Some(event) => handler(event),
                        None => break,
                    }
                }
            }
        })?;
        Ok(Self { pending, waker, _source: source })
    }

    pub(crate) fn push(&self, event: E) {
        self.pending.borrow_mut().push_back(event);
        self.waker.wake();
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl<E> Drop for EventQueue<E> {
    fn drop(&mut self) {
        // Dropped by its own handler: nothing more is delivered.
        self.pending.borrow_mut().clear();
    }
}

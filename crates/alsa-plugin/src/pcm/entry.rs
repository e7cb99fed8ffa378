//! A PCM in the memory that alsa-lib knows it by: how it is opened, and how a callback gets at the plugin behind it.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_int, c_uint},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use alsa_sys::snd_pcm_uframes_t;

use super::{
    Io, Pcm, Position, RawConfig, RawPcm, Request, Setup, State, Stream, callbacks, constraints::check, nonblocking,
    progress::Progress, stream_of_alsa,
};
use crate::{
    Errno, OpenError, Options,
    guest::{Guarded, shielded},
    log,
    sys::{self, Ioplug, IoplugCallbacks},
};

/// A delay is told as of the position that was taken just before, as both then belong to the time stamp that
/// `snd_pcm_status` takes in between; as of now when that position is older than this.
pub(super) const FRESH: Duration = Duration::from_millis(1);

/// Opens a PCM of a plugin for alsa-lib, see [`pcm_plugin!`](crate::pcm_plugin).
///
/// # Safety
/// As alsa-lib calls a plugin: `pcm` is a place for the PCM, `name` null or a string, `root` and `definition` null or live nodes.
pub unsafe fn open<P: Pcm>(
    pcm: *mut *mut RawPcm,
    name: *const c_char,
    root: *mut RawConfig,
    definition: *mut RawConfig,
    stream: c_uint,
    mode: c_int,
) -> c_int {
    let opened = shielded(|| {
        // SAFETY: the caller vouches for the arguments.
        let opened = unsafe { create::<P>(name, root, definition, stream, mode) };
        opened.map_err(|error| {
            log::error(&format!("{}: {error}", P::NAME.to_string_lossy()));
            error.errno()
        })
    });
    match opened {
        Some(Ok(created)) => {
            // SAFETY: the caller vouches for the place.
            unsafe { *pcm = created };
            0
        }
        Some(Err(errno)) => errno.negative(),
        None => Errno::IO.negative(),
    }
}

/// The same for a plugin whose two directions are two things.
///
/// # Safety
/// As [`open`].
pub unsafe fn open_either<P: Pcm, C: Pcm>(
    pcm: *mut *mut RawPcm,
    name: *const c_char,
    root: *mut RawConfig,
    definition: *mut RawConfig,
    stream: c_uint,
    mode: c_int,
) -> c_int {
    let open = match stream_of_alsa(stream) {
        Stream::Playback => open::<P>,
        Stream::Capture => open::<C>,
    };
    // SAFETY: the caller vouches for the arguments.
    unsafe { open(pcm, name, root, definition, stream, mode) }
}

/// # Safety
/// As [`open`].
unsafe fn create<P: Pcm>(
    name: *const c_char,
    root: *mut RawConfig,
    definition: *mut RawConfig,
    stream: c_uint,
    mode: c_int,
) -> Result<*mut RawPcm, OpenError> {
    let direction = stream_of_alsa(stream);
    // SAFETY: the caller vouches for name and configuration.
    let (called, options, defaults) = unsafe {
        let called = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
        (called, Options::read(definition), Options::defaults(root, definition)?)
    };
    let mut request = Request { name: called, stream: direction, nonblocking: nonblocking(mode), options, defaults };
    let (opened, constraints) = P::open(&mut request)?;
    std::mem::take(&mut request.options).finish()?;
    let plugin = Box::into_raw(Plugin::new(opened, &request));
    // SAFETY: the plugin lives until alsa-lib closes it. From here on it is reached only through pointers.
    let io = unsafe { (*plugin).io.get() };
    // SAFETY: nobody else knows of it yet.
    unsafe {
        (*io).private_data = plugin.cast();
        (*io).callback = &raw const (*plugin).callbacks;
    }
    let failed = |errno: Errno| OpenError::refused(errno, format!("alsa-lib refuses the plugin: {errno}"));
    // SAFETY: filled in as the header demands; the name is a string or null.
    if let Err(errno) = check(unsafe { sys::snd_pcm_ioplug_create(io, name, stream, mode) }) {
        // SAFETY: alsa-lib has not kept it.
        drop(unsafe { Box::from_raw(plugin) });
        return Err(failed(errno));
    }
    // SAFETY: just created.
    if let Err(errno) = unsafe { constraints.apply(io) } {
        // SAFETY: as above; this calls `close`, which frees the plugin.
        unsafe { sys::snd_pcm_ioplug_delete(io) };
        return Err(failed(errno));
    }
    // SAFETY: filled in by alsa-lib.
    Ok(unsafe { (*io).pcm })
}

/// A PCM in the memory that alsa-lib knows it by.
pub(super) struct Plugin<P> {
    io: UnsafeCell<Ioplug>,
    callbacks: IoplugCallbacks,
    pub(super) inner: Guarded<Inner<P>>,
}

pub(super) struct Inner<P> {
    pub pcm: P,
    pub stream: Stream,
    pub setup: Option<Setup>,
    pub progress: Progress,
    /// When the plugin was last asked for its position.
    pub looked: Option<Instant>,
    /// What it was last told to wake at.
    pub told: Option<u64>,
    /// It was started, and not stopped since.
    pub runs: bool,
    /// Why a drain could not begin.
    pub failed: Option<Errno>,
}

/// What alsa-lib tells of the PCM's state at an entry.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub state: State,
    nonblocking: bool,
    /// The counts of alsa-lib, which hold still only while it holds its lock.
    applied: u64,
    shown: u64,
}

impl View {
    /// # Safety
    /// `io` is a live PCM.
    unsafe fn read(io: *const Ioplug) -> Self {
        // SAFETY: the caller vouches for it. Volatile as in the header: another thread may be in alsa-lib with this PCM.
        unsafe {
            Self {
                state: State::of_alsa((&raw const (*io).state).read_volatile()),
                nonblocking: (&raw const (*io).nonblock).read_volatile() != 0,
                applied: widened((&raw const (*io).appl_ptr).read_volatile()),
                shown: widened((&raw const (*io).hw_ptr).read_volatile()),
            }
        }
    }
}

#[expect(clippy::useless_conversion, reason = "frames are 32 bits wide on some targets")]
pub(super) fn widened(frames: snd_pcm_uframes_t) -> u64 {
    u64::from(frames)
}

/// What a look at the position has shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    At,
    Xrun,
    Suspended,
    Gone,
}

impl Look {
    /// The state in which the PCM is from now on, if it does not go on.
    pub fn state(self) -> Option<State> {
        match self {
            Self::At => None,
            Self::Xrun => Some(State::Xrun),
            Self::Suspended => Some(State::Suspended),
            Self::Gone => Some(State::Disconnected),
        }
    }
}

impl<P: Pcm> Plugin<P> {
    fn new(pcm: P, request: &Request) -> Box<Self> {
        let stream = request.stream;
        let io = Ioplug {
            version: sys::IOPLUG_VERSION,
            name: P::NAME.as_ptr(),
            flags: sys::IOPLUG_FLAG_MONOTONIC | sys::IOPLUG_FLAG_BOUNDARY_WA,
            poll_fd: pcm.descriptor().as_raw_fd(),
            poll_events: c_uint::from(libc::POLLIN.unsigned_abs()),
            mmap_rw: 0,
            callback: std::ptr::null(),
            private_data: std::ptr::null_mut(),
            pcm: std::ptr::null_mut(),
            stream: 0,
            state: 0,
            appl_ptr: 0,
            hw_ptr: 0,
            // alsa-lib sets it only when an application changes its mind, and a drain would wait in one that never did.
            nonblock: request.nonblocking.into(),
            access: 0,
            format: 0,
            channels: 0,
            rate: 0,
            period_size: 0,
            buffer_size: 0,
        };
        let progress = Progress::new(stream);
        let (looked, told, runs, failed) = (None, None, false, None);
        let inner = Inner { pcm, stream, setup: None, progress, looked, told, runs, failed };
        Box::new(Self { io: UnsafeCell::new(io), callbacks: callbacks::all::<P>(), inner: Guarded::new(inner) })
    }
}

impl<P: Pcm> Inner<P> {
    pub fn io(&self, view: View) -> Io {
        self.progress.io(view.state, view.nonblocking)
    }

    pub fn start(&mut self, io: &Io) -> Result<(), Errno> {
        self.pcm.start(io)?;
        self.runs = true;
        Ok(())
    }

    pub fn stop(&mut self, io: &Io) {
        self.runs = false;
        self.pcm.stop(io);
    }

    /// Starts what plays and was only prepared before it was drained: alsa-lib leaves that to a plugin that drains by itself.
    pub fn start_to_drain(&mut self, view: View) -> Result<(), Errno> {
        if self.stream == Stream::Capture || self.runs {
            return Ok(());
        }
        let io = self.io(view);
        self.start(&io).inspect_err(|errno| self.failed = Some(*errno))
    }

    /// Asks the plugin how far it is. One that has run dry is stopped.
    pub fn look(&mut self, view: View) -> Look {
        if !view.state.has_position() {
            return Look::At;
        }
        let io = self.io(view);
        let told = self.pcm.position(&io);
        self.looked = Some(Instant::now());
        let found = match told {
            Position::At(position) => {
                self.progress.move_to(position, view.state);
                if self.progress.has_xrun(view.state) { Look::Xrun } else { Look::At }
            }
            Position::Suspended if P::CAN_RESUME => Look::Suspended,
            // Of a plugin without that, alsa-lib tells an application that it has resumed, in whatever state it is then: it
            // would write and resume by turns for ever. After an xrun it prepares.
            Position::Suspended | Position::Xrun => Look::Xrun,
            Position::Gone => Look::Gone,
        };
        if found != Look::At {
            let io = self.io(view);
            self.stop(&io);
        }
        self.tell(found.state().unwrap_or(view.state));
        found
    }

    /// Tells the plugin when to wake the application, if that has changed.
    pub fn tell(&mut self, state: State) {
        let at = self.progress.wake_at(state);
        if self.told != Some(at) {
            self.told = Some(at);
            self.pcm.wake_at(at);
        }
    }

    /// The same, also if it has not changed: the plugin runs now, or does not any more, or was early.
    pub fn tell_again(&mut self, state: State) {
        self.told = None;
        self.tell(state);
    }
}

/// Calls into the plugin behind `io` from an entry for which alsa-lib does not hold its lock: what it counts may be about
/// to change, and is not asked for.
///
/// # Safety
/// `io` is a live PCM that [`create`] has made for `P`.
pub(super) unsafe fn with<P: Pcm, T>(
    io: *mut Ioplug,
    call: impl FnOnce(&mut Inner<P>, View) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: the caller vouches for it, and it is freed only by `close`.
    let plugin = unsafe { &*(*io).private_data.cast::<Plugin<P>>() };
    let outcome = plugin.inner.call(|inner| {
        // SAFETY: as above.
        let view = unsafe { View::read(io) };
        call(inner, view)
    });
    if matches!(outcome, Err(Errno::NODEV)) {
        // It says so itself, or has panicked, or this process was forked off: it does not come back, in whatever state another thread has
        // put it meanwhile.
        // SAFETY: as above.
        unsafe { set_state(io, State::Disconnected) };
    }
    outcome
}

/// The same from an entry for which alsa-lib holds its lock: first follows what it has counted, and tells the plugin if the
/// application has moved by itself.
///
/// # Safety
/// As [`with`].
pub(super) unsafe fn with_locked<P: Pcm, T>(
    io: *mut Ioplug,
    call: impl FnOnce(&mut Inner<P>, View) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let followed = |inner: &mut Inner<P>, view: View| {
        if inner.progress.follow(view.applied, view.shown) {
            let io = inner.io(view);
            inner.pcm.moved(&io);
            inner.tell(view.state);
        }
        call(inner, view)
    };
    // SAFETY: the caller vouches for it.
    unsafe { with(io, followed) }
}

/// The state as alsa-lib has it now.
///
/// # Safety
/// `io` is a live PCM.
pub(super) unsafe fn state(io: *const Ioplug) -> State {
    // SAFETY: the caller vouches for it. Volatile as in the header: another thread may be in alsa-lib with this PCM.
    State::of_alsa(unsafe { (&raw const (*io).state).read_volatile() })
}

/// # Safety
/// `io` is a live PCM.
pub(super) unsafe fn set_state(io: *mut Ioplug, state: State) {
    // SAFETY: the caller vouches for it; it only stores the state, and always succeeds.
    unsafe { sys::snd_pcm_ioplug_set_state(io, state.to_alsa()) };
}

/// The same for what follows from a state `seen`, from an entry for which alsa-lib does not hold its lock: where another thread has put the
/// PCM into another state since, such as by preparing it, that is the state.
///
/// # Safety
/// As [`set_state`].
pub(super) unsafe fn set_state_after(io: *mut Ioplug, seen: State, state: State) {
    // SAFETY: the caller vouches for it.
    unsafe {
        if self::state(io) == seen {
            set_state(io, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_thread_has_done_since_counts() {
        // SAFETY: numbers and pointers, all of which may be nought.
        let mut io = unsafe { std::mem::zeroed::<Ioplug>() };
        let io = &raw mut io;
        for (seen, found) in [(State::Running, State::Prepared), (State::Prepared, State::Xrun)] {
            // SAFETY: a live PCM, as far as its state goes.
            unsafe {
                set_state(io, State::Prepared);
                set_state_after(io, seen, State::Xrun);
                assert_eq!(State::of_alsa((*io).state), found);
            }
        }
    }
}

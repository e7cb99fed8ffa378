//! From alsa-lib's callbacks to the trait: one function for each, none of which lets a panic through.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, CString, c_char, c_int, c_uint, c_ushort},
    process,
    sync::Mutex,
    time::{Duration, Instant},
};

use alsa_sys::{
    snd_output_t, snd_pcm_channel_area_t, snd_pcm_chmap_query_t, snd_pcm_chmap_t, snd_pcm_hw_params_t,
    snd_pcm_sframes_t, snd_pcm_sw_params_t, snd_pcm_uframes_t,
};
use libc::pollfd;

use super::{
    Io, OpenError, Pcm, Position, RawConfig, RawPcm, Request, Setup, State, Stream, Tuning, chmap, constraints::check,
    nonblocking, progress::Progress, stream_of_alsa,
};
use crate::{
    Errno, Format, Options,
    guest::shielded,
    log,
    sys::{self, Ioplug, IoplugCallbacks},
};

/// A delay is told as of the position that was taken just before, as both then belong to the time stamp that
/// `snd_pcm_status` takes in between; as of now when that position is older than this.
const FRESH: Duration = Duration::from_millis(1);

/// Opens a PCM of a plugin for alsa-lib, see [`pcm_plugin!`](crate::pcm_plugin).
///
/// # Safety
/// As alsa-lib calls a plugin: `pcm` is a place for the PCM, `name` null or a string, `definition` null or a live node.
pub unsafe fn open<P: Pcm>(
    pcm: *mut *mut RawPcm,
    name: *const c_char,
    definition: *mut RawConfig,
    stream: c_uint,
    mode: c_int,
) -> c_int {
    let opened = shielded(|| {
        // SAFETY: the caller vouches for the arguments.
        let opened = unsafe { create::<P>(name, definition, stream, mode) };
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

/// # Safety
/// As [`open`].
unsafe fn create<P: Pcm>(
    name: *const c_char,
    definition: *mut RawConfig,
    stream: c_uint,
    mode: c_int,
) -> Result<*mut RawPcm, OpenError> {
    let direction = stream_of_alsa(stream);
    // SAFETY: the caller vouches for name and definition.
    let (called, options) = unsafe {
        let called = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
        (called, Options::read(definition))
    };
    let mut request = Request { name: called, stream: direction, nonblocking: nonblocking(mode), options };
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
struct Plugin<P> {
    io: UnsafeCell<Ioplug>,
    callbacks: IoplugCallbacks,
    /// Where it was opened. A process forked off has no threads but one, and shares all that is outside of its memory.
    process: u32,
    inner: Mutex<Inner<P>>,
}

struct Inner<P> {
    pcm: P,
    stream: Stream,
    setup: Option<Setup>,
    progress: Progress,
    /// When the plugin was last asked for its position.
    looked: Option<Instant>,
    /// What it was last told to wake at.
    told: Option<u64>,
}

/// What alsa-lib tells of the PCM's state at an entry.
#[derive(Clone, Copy)]
struct View {
    state: State,
    nonblocking: bool,
    applied: u64,
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
            }
        }
    }
}

#[expect(clippy::useless_conversion, reason = "frames are 32 bits wide on some targets")]
fn widened(frames: snd_pcm_uframes_t) -> u64 {
    u64::from(frames)
}

/// What a look at the position has shown.
enum Look {
    At,
    Xrun,
    Suspended,
    Gone,
}

impl<P: Pcm> Plugin<P> {
    fn new(pcm: P, request: &Request) -> Box<Self> {
        let stream = request.stream;
        let io = Ioplug {
            version: sys::IOPLUG_VERSION,
            name: P::NAME.as_ptr(),
            flags: sys::IOPLUG_FLAG_MONOTONIC | sys::IOPLUG_FLAG_BOUNDARY_WA,
            poll_fd: std::os::fd::AsRawFd::as_raw_fd(&pcm.descriptor()),
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
        let callbacks = IoplugCallbacks {
            start: Some(start::<P>),
            stop: Some(stop::<P>),
            pointer: Some(pointer::<P>),
            transfer: Some(transfer::<P>),
            close: Some(close::<P>),
            hw_params: Some(hw_params::<P>),
            hw_free: Some(hw_free::<P>),
            sw_params: Some(sw_params::<P>),
            prepare: Some(prepare::<P>),
            // alsa-lib then waits by polling, as long as the application wants it to.
            drain: None,
            // That there is a callback tells applications that it can be done.
            pause: if P::CAN_PAUSE { Some(pause::<P>) } else { None },
            resume: if P::CAN_RESUME { Some(resume::<P>) } else { None },
            poll_descriptors_count: None,
            poll_descriptors: None,
            poll_revents: Some(poll_revents::<P>),
            dump: Some(dump::<P>),
            delay: Some(delay::<P>),
            query_chmaps: Some(query_chmaps::<P>),
            get_chmap: Some(get_chmap::<P>),
            set_chmap: Some(set_chmap::<P>),
        };
        let progress = Progress::new(stream);
        let inner = Inner { pcm, stream, setup: None, progress, looked: None, told: None };
        Box::new(Self { io: UnsafeCell::new(io), callbacks, process: process::id(), inner: Mutex::new(inner) })
    }
}

impl<P: Pcm> Inner<P> {
    fn io(&self, view: View) -> Io {
        self.progress.io(view.state, view.nonblocking)
    }

    /// Asks the plugin how far it is. One that has run dry is stopped.
    fn look(&mut self, view: View) -> Look {
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
            Position::Xrun => Look::Xrun,
            Position::Suspended => Look::Suspended,
            Position::Gone => Look::Gone,
        };
        let state = match found {
            Look::At => view.state,
            Look::Xrun => State::Xrun,
            Look::Suspended => State::Suspended,
            Look::Gone => State::Disconnected,
        };
        if !matches!(found, Look::At) {
            let io = self.io(view);
            self.pcm.stop(&io);
        }
        self.tell(state, 0);
        found
    }

    /// Tells the plugin when to wake the application, if that has changed.
    fn tell(&mut self, state: State, more: u64) {
        let at = self.progress.wake_at(state, more);
        if self.told != Some(at) {
            self.told = Some(at);
            self.pcm.wake_at(at);
        }
    }

    /// The same, also if it has not changed: the plugin runs now, or does not any more, or was early.
    fn tell_again(&mut self, state: State) {
        self.told = None;
        self.tell(state, 0);
    }
}

/// Calls into the plugin behind `io`.
///
/// # Safety
/// `io` is a live PCM that [`create`] has made for `P`.
unsafe fn with<P: Pcm, T>(
    io: *mut Ioplug,
    call: impl FnOnce(&mut Inner<P>, View) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: the caller vouches for it, and it is freed only by `close`.
    let plugin = unsafe { &*(*io).private_data.cast::<Plugin<P>>() };
    if process::id() != plugin.process {
        // Nothing is done with what belongs to the parent, least of all a lock that one of its threads may have held.
        return Err(Errno::NODEV);
    }
    let outcome = shielded(|| {
        // Poisoned: it has panicked before.
        let mut inner = plugin.inner.lock().map_err(|_| Errno::NODEV)?;
        // SAFETY: as above.
        let view = unsafe { View::read(io) };
        inner.progress.follow(view.applied);
        call(&mut inner, view)
    });
    outcome.unwrap_or_else(|| {
        // SAFETY: as above.
        unsafe { set_state(io, alsa_sys::SND_PCM_STATE_DISCONNECTED) };
        Err(Errno::NODEV)
    })
}

/// # Safety
/// `io` is a live PCM.
unsafe fn set_state(io: *mut Ioplug, state: c_uint) {
    // SAFETY: the caller vouches for it; it only stores the state, and always succeeds.
    unsafe { sys::snd_pcm_ioplug_set_state(io, state) };
}

fn number(outcome: Result<(), Errno>) -> c_int {
    match outcome {
        Ok(()) => 0,
        Err(errno) => errno.negative(),
    }
}

unsafe extern "C" fn start<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: called by alsa-lib with the PCM that this callback was given for; so are all below.
    number(unsafe {
        with::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.pcm.start(&io)?;
            inner.tell_again(State::Running);
            Ok(())
        })
    })
}

unsafe extern "C" fn stop<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.pcm.stop(&io);
            inner.tell_again(State::Setup);
            Ok(())
        })
    })
}

unsafe extern "C" fn pointer<P: Pcm>(io: *mut Ioplug) -> snd_pcm_sframes_t {
    // SAFETY: as in `start`.
    let looked = unsafe { with::<P, _>(io, |inner, view| Ok((inner.look(view), inner.progress.wrapped()))) };
    let state = match looked {
        Ok((Look::At, at)) => return at as snd_pcm_sframes_t,
        Ok((Look::Xrun, _)) => return Errno::PIPE.negative().into(),
        Ok((Look::Suspended, _)) => alsa_sys::SND_PCM_STATE_SUSPENDED,
        Ok((Look::Gone, _)) | Err(_) => alsa_sys::SND_PCM_STATE_DISCONNECTED,
    };
    // SAFETY: as in `start`. A negative number would be an xrun; the position is alsa-lib's own, which so stays as it is.
    unsafe {
        set_state(io, state);
        (*io).hw_ptr as snd_pcm_sframes_t
    }
}

unsafe extern "C" fn transfer<P: Pcm>(
    io: *mut Ioplug,
    areas: *const snd_pcm_channel_area_t,
    offset: snd_pcm_uframes_t,
    frames: snd_pcm_uframes_t,
) -> snd_pcm_sframes_t {
    // SAFETY: as in `start`.
    let outcome = unsafe {
        with::<P, _>(io, |inner, view| {
            let setup = inner.setup.ok_or(Errno::BADFD)?;
            let first = interleaved(areas, &setup).ok_or(Errno::INVAL)?.add(offset as usize * setup.frame_bytes());
            let length = frames as usize * setup.frame_bytes();
            let io = inner.io(view);
            match inner.stream {
                Stream::Playback => {
                    inner.pcm.play(&io, std::slice::from_raw_parts(first, length))?;
                    inner.tell(view.state, widened(frames));
                }
                // Counted when alsa-lib has done so: with mmap the application may take fewer.
                Stream::Capture => inner.pcm.record(&io, std::slice::from_raw_parts_mut(first, length))?,
            }
            Ok(())
        })
    };
    match outcome {
        Ok(()) => frames as snd_pcm_sframes_t,
        Err(errno) => errno.negative().into(),
    }
}

/// Where interleaved areas begin; `None` if they are something else, which was not offered.
///
/// # Safety
/// `areas` holds one area for each channel of the setup.
unsafe fn interleaved(areas: *const snd_pcm_channel_area_t, setup: &Setup) -> Option<*mut u8> {
    // SAFETY: the caller vouches for the areas.
    let areas = unsafe { std::slice::from_raw_parts(areas, setup.channels) };
    let base = areas.first()?.addr;
    let fits = |(n, area): (usize, &snd_pcm_channel_area_t)| {
        area.addr == base
            && area.step as usize == setup.frame_bytes() * 8
            && area.first as usize == n * setup.format.bytes() * 8
    };
    areas.iter().enumerate().all(fits).then(|| base.cast())
}

unsafe extern "C" fn close<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`; alsa-lib does not use it any more after this.
    let plugin = unsafe { (*io).private_data.cast::<Plugin<P>>() };
    // SAFETY: as above.
    if process::id() == unsafe { (*plugin).process } {
        // SAFETY: it came from a box, and this is the only place that takes it back.
        shielded(|| drop(unsafe { Box::from_raw(plugin) }));
    }
    // In a process that was forked off it is left as it is: threads to be joined are not there.
    0
}

unsafe extern "C" fn hw_params<P: Pcm>(io: *mut Ioplug, _params: *mut snd_pcm_hw_params_t) -> c_int {
    // SAFETY: as in `start`; alsa-lib has filled these fields in before it calls, and holds the lock.
    number(unsafe {
        let (format, channels, rate) = ((*io).format, (*io).channels, (*io).rate);
        let (period, buffer) = (widened((*io).period_size), widened((*io).buffer_size));
        with::<P, _>(io, |inner, _| {
            let format = u32::try_from(format).ok().and_then(Format::of_alsa).ok_or(Errno::INVAL)?;
            let setup = Setup { format, channels: channels as usize, rate, period, buffer };
            inner.setup = None;
            inner.pcm.set_up(&setup)?;
            inner.setup = Some(setup);
            inner.progress.set_up(&setup);
            Ok(())
        })
    })
}

unsafe extern "C" fn hw_free<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with::<P, _>(io, |inner, _| {
            if inner.setup.take().is_some() {
                inner.pcm.free();
            }
            Ok(())
        })
    })
}

unsafe extern "C" fn sw_params<P: Pcm>(io: *mut Ioplug, params: *mut snd_pcm_sw_params_t) -> c_int {
    let (mut wake, mut begin, mut end, mut boundary) = (0, 0, 0, 0);
    // SAFETY: as in `start`; alsa-lib gives its parameters, and each call has a place to write to.
    number(unsafe {
        let got = check(alsa_sys::snd_pcm_sw_params_get_avail_min(params, &raw mut wake))
            .and_then(|()| check(alsa_sys::snd_pcm_sw_params_get_start_threshold(params, &raw mut begin)))
            .and_then(|()| check(alsa_sys::snd_pcm_sw_params_get_stop_threshold(params, &raw mut end)))
            .and_then(|()| check(alsa_sys::snd_pcm_sw_params_get_boundary(params, &raw mut boundary)));
        with::<P, _>(io, |inner, view| {
            got?;
            let tuning = Tuning { wake: widened(wake).max(1), start: widened(begin), stop: widened(end).max(1) };
            inner.pcm.tune(&tuning)?;
            inner.progress.tune(tuning, widened(boundary));
            inner.tell_again(view.state);
            Ok(())
        })
    })
}

unsafe extern "C" fn prepare<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with::<P, _>(io, |inner, _| {
            inner.progress.restart();
            inner.looked = None;
            inner.pcm.prepare()?;
            inner.tell_again(State::Prepared);
            Ok(())
        })
    })
}

unsafe extern "C" fn pause<P: Pcm>(io: *mut Ioplug, hold: c_int) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.pcm.pause(&io, hold != 0)?;
            inner.tell_again(if hold != 0 { State::Paused } else { State::Running });
            Ok(())
        })
    })
}

unsafe extern "C" fn resume<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`.
    let resumed = unsafe {
        with::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.pcm.resume(&io)?;
            inner.tell_again(State::Running);
            Ok(())
        })
    };
    if resumed.is_ok() {
        // alsa-lib leaves it to the plugin to say that it runs again.
        // SAFETY: as in `start`.
        unsafe { set_state(io, alsa_sys::SND_PCM_STATE_RUNNING) };
    }
    number(resumed)
}

/// What a poll of the plugin's descriptor means for the application.
unsafe extern "C" fn poll_revents<P: Pcm>(
    io: *mut Ioplug,
    polled: *mut pollfd,
    count: c_uint,
    revents: *mut c_ushort,
) -> c_int {
    // SAFETY: as in `start`; there is one descriptor, as was told, and a place for what it means.
    unsafe {
        if polled.is_null() || count != 1 || revents.is_null() {
            return Errno::INVAL.negative();
        }
        let event = (*polled).revents;
        if event & libc::POLLIN == 0 {
            *revents = event as c_ushort & (libc::POLLERR | libc::POLLNVAL) as c_ushort;
            return 0;
        }
        let meant = with::<P, _>(io, |inner, view| {
            let ready = if inner.stream == Stream::Playback { libc::POLLOUT } else { libc::POLLIN };
            let broken = ready | libc::POLLERR;
            if !view.state.has_position() {
                return Ok((broken, None));
            }
            Ok(match inner.look(view) {
                Look::At if inner.progress.is_due(view.state) => (ready, None),
                Look::At => {
                    // Too early. Told again, a plugin waits again.
                    inner.tell_again(view.state);
                    (0, None)
                }
                // Nobody else would notice before the next transfer, and a waiting application asks for the state.
                Look::Xrun => (broken, Some(alsa_sys::SND_PCM_STATE_XRUN)),
                Look::Suspended => (broken, Some(alsa_sys::SND_PCM_STATE_SUSPENDED)),
                Look::Gone => (broken, Some(alsa_sys::SND_PCM_STATE_DISCONNECTED)),
            })
        });
        let (events, state) = meant.unwrap_or((libc::POLLERR, None));
        if let Some(state) = state {
            set_state(io, state);
        }
        *revents = events as c_ushort;
        0
    }
}

unsafe extern "C" fn dump<P: Pcm>(io: *mut Ioplug, out: *mut snd_output_t) {
    // SAFETY: as in `start`; alsa-lib gives the output to write to.
    unsafe {
        let told = with::<P, _>(io, |inner, _| Ok((inner.pcm.describe(), inner.setup.is_some())));
        let (description, is_set_up) = told.unwrap_or_else(|_| (P::NAME.to_string_lossy().into_owned(), false));
        if let Ok(line) = CString::new(description.replace('\0', " ") + "\n") {
            alsa_sys::snd_output_puts(out, line.as_ptr());
        }
        if is_set_up {
            alsa_sys::snd_output_puts(out, c"Its setup is:\n".as_ptr());
            alsa_sys::snd_pcm_dump_setup((*io).pcm, out);
        }
    }
}

unsafe extern "C" fn delay<P: Pcm>(io: *mut Ioplug, delay: *mut snd_pcm_sframes_t) -> c_int {
    // SAFETY: as in `start`.
    let told = unsafe {
        with::<P, _>(io, |inner, view| {
            if inner.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
                match inner.look(view) {
                    Look::At => {}
                    Look::Xrun => return Err(Errno::PIPE),
                    Look::Suspended | Look::Gone => return Err(Errno::NODEV),
                }
            }
            let (io, stream) = (inner.io(view), inner.stream);
            Ok(inner.pcm.delay(&io, stream))
        })
    };
    match told {
        Ok(frames) => {
            // SAFETY: alsa-lib gives a place for it.
            unsafe { *delay = frames as snd_pcm_sframes_t };
            0
        }
        Err(errno) => errno.negative(),
    }
}

unsafe extern "C" fn query_chmaps<P: Pcm>(io: *mut Ioplug) -> *mut *mut snd_pcm_chmap_query_t {
    // SAFETY: as in `start`.
    let maps = unsafe { with::<P, _>(io, |inner, _| Ok(inner.pcm.channel_maps())) };
    chmap::allocate_all(&maps.unwrap_or_default())
}

unsafe extern "C" fn get_chmap<P: Pcm>(io: *mut Ioplug) -> *mut snd_pcm_chmap_t {
    // SAFETY: as in `start`.
    let map = unsafe { with::<P, _>(io, |inner, _| Ok(inner.pcm.channel_map())) };
    map.ok().flatten().map_or(std::ptr::null_mut(), |positions| chmap::allocate(&positions))
}

unsafe extern "C" fn set_chmap<P: Pcm>(io: *mut Ioplug, map: *const snd_pcm_chmap_t) -> c_int {
    // SAFETY: as in `start`; alsa-lib gives the application's map.
    number(unsafe {
        let wanted = chmap::positions(map);
        with::<P, _>(io, |inner, _| inner.pcm.set_channel_map(&wanted))
    })
}

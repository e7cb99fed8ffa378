//! alsa-lib's callbacks, one function for each method or two of the trait. None lets a panic through.

use std::ffi::{CString, c_int, c_short, c_uint, c_ushort};

use alsa_sys::{
    snd_output_t, snd_pcm_channel_area_t, snd_pcm_chmap_query_t, snd_pcm_chmap_t, snd_pcm_hw_params_t,
    snd_pcm_sframes_t, snd_pcm_sw_params_t, snd_pcm_uframes_t,
};
use libc::pollfd;

use super::{
    Pcm, Setup, State, Stream, Tuning, chmap,
    constraints::check,
    entry::{FRESH, Look, Plugin, set_state, set_state_after, state, widened, with, with_locked},
};
use crate::{
    Errno, Format,
    guest::shielded,
    sys::{Ioplug, IoplugCallbacks},
};

/// All of them, for a plugin.
pub(super) fn all<P: Pcm>() -> IoplugCallbacks {
    IoplugCallbacks {
        start: Some(start::<P>),
        stop: Some(stop::<P>),
        pointer: Some(pointer::<P>),
        transfer: Some(transfer::<P>),
        close: Some(close::<P>),
        hw_params: Some(hw_params::<P>),
        hw_free: Some(hw_free::<P>),
        sw_params: Some(sw_params::<P>),
        prepare: Some(prepare::<P>),
        drain: Some(drain::<P>),
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
    }
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
        with_locked::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.start(&io)?;
            inner.tell_again(State::Running);
            Ok(())
        })
    })
}

unsafe extern "C" fn stop<P: Pcm>(io: *mut Ioplug) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with_locked::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.stop(&io);
            inner.tell_again(State::Setup);
            Ok(())
        })
    })
}

unsafe extern "C" fn pointer<P: Pcm>(io: *mut Ioplug) -> snd_pcm_sframes_t {
    // SAFETY: as in `start`.
    let looked = unsafe {
        with_locked::<P, _>(io, |inner, view| {
            if view.state == State::Draining {
                inner.start_to_drain(view)?;
            }
            let found = inner.look(view);
            Ok((found, if found == Look::At { inner.progress.show() } else { 0 }))
        })
    };
    let state = match looked {
        Ok((Look::At, at)) => return at as snd_pcm_sframes_t,
        Ok((Look::Xrun, _)) => return Errno::PIPE.negative().into(),
        Ok((Look::Suspended, _)) => State::Suspended,
        // A drain that cannot begin: alsa-lib drops what there is.
        Err(errno) if errno != Errno::NODEV => return errno.negative().into(),
        Ok((Look::Gone, _)) | Err(_) => State::Disconnected,
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
        with_locked::<P, _>(io, |inner, view| {
            // alsa-lib asks for the position first, and does not look at the state that comes of it.
            going(view.state)?;
            // As at the begin of a recording through mmap, before it has started.
            if frames == 0 {
                return Ok(());
            }
            let setup = inner.setup.ok_or(Errno::BADFD)?;
            let first = interleaved(areas, &setup).ok_or(Errno::INVAL)?.add(offset as usize * setup.frame_bytes());
            let length = frames as usize * setup.frame_bytes();
            let io = inner.io(view);
            match inner.stream {
                Stream::Playback => {
                    inner.pcm.play(&io, std::slice::from_raw_parts(first, length))?;
                    inner.progress.give(widened(frames));
                    inner.tell(view.state);
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

/// What an application is told of a PCM that does not go on.
fn going(state: State) -> Result<(), Errno> {
    match state {
        State::Xrun => Err(Errno::PIPE),
        State::Suspended => Err(Errno::STRPIPE),
        State::Disconnected => Err(Errno::NODEV),
        _ => Ok(()),
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
    if unsafe { (*plugin).inner.is_at_home() } {
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
            inner.runs = false;
            inner.pcm.prepare()?;
            inner.tell_again(State::Prepared);
            Ok(())
        })
    })
}

unsafe extern "C" fn pause<P: Pcm>(io: *mut Ioplug, hold: c_int) -> c_int {
    // SAFETY: as in `start`.
    number(unsafe {
        with_locked::<P, _>(io, |inner, view| {
            let io = inner.io(view);
            inner.pcm.pause(&io, hold != 0)?;
            inner.tell_again(if hold != 0 { State::Paused } else { State::Running });
            Ok(())
        })
    })
}

unsafe extern "C" fn resume<P: Pcm>(io: *mut Ioplug) -> c_int {
    let mut seen = State::Suspended;
    // SAFETY: as in `start`.
    let resumed = unsafe {
        with::<P, _>(io, |inner, view| {
            seen = view.state;
            let io = inner.io(view);
            inner.pcm.resume(&io)?;
            inner.tell_again(State::Running);
            Ok(())
        })
    };
    // alsa-lib leaves it to the plugin to say that it runs again, and does not tell the application if it does not.
    let state = match resumed {
        Ok(()) => State::Running,
        Err(Errno::AGAIN | Errno::NODEV) => return number(resumed),
        Err(_) => State::Xrun,
    };
    // SAFETY: as in `start`.
    unsafe { set_state_after(io, seen, state) };
    number(resumed)
}

/// How long a drain waits before it looks by itself: another thread that prepares the PCM meanwhile may take the bell's ring away.
const LOOK_AFTER_MS: c_int = 1_000;

/// Waits until all has been played, or the PCM does not drain any more. Entered without alsa-lib's lock, so that others may drop what is left, and
/// with nothing started where the PCM was only prepared. The thread is not cancelled before the end.
///
/// alsa-lib would wait as well, but tell the application that all was played when the device has gone.
unsafe extern "C" fn drain<P: Pcm>(io: *mut Ioplug) -> c_int {
    let waited = shielded(|| {
        loop {
            // SAFETY: as in `start`. Another thread may be in alsa-lib with this PCM, which takes its lock for the second call; in that it asks for the
            // position, and drops the PCM when all has been played.
            let state = unsafe {
                with::<P, _>(io, |inner, _| {
                    inner.told = None;
                    inner.failed = None;
                    Ok(())
                })?;
                alsa_sys::snd_pcm_hwsync((*io).pcm);
                state(io)
            };
            match state {
                State::Draining => {}
                State::Disconnected => return Err(Errno::NODEV),
                State::Suspended => return Err(Errno::STRPIPE),
                // SAFETY: as above.
                _ => return unsafe { with::<P, _>(io, |inner, _| inner.failed.take().map_or(Ok(()), Err)) },
            }
            // SAFETY: as above; the descriptor is open as long as the PCM, and there is a place for what the poll finds.
            unsafe {
                if (&raw const (*io).nonblock).read_volatile() != 0 {
                    return Err(Errno::AGAIN);
                }
                let mut polled = pollfd { fd: (*io).poll_fd, events: (*io).poll_events as c_short, revents: 0 };
                libc::poll(&raw mut polled, 1, LOOK_AFTER_MS);
            }
        }
    });
    number(waited.unwrap_or(Err(Errno::NODEV)))
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
                found => (broken, found.state().map(|state| (view.state, state))),
            })
        });
        let (events, state) = meant.unwrap_or((libc::POLLERR, None));
        if let Some((seen, state)) = state {
            set_state_after(io, seen, state);
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
        with_locked::<P, _>(io, |inner, view| {
            going(view.state)?;
            if matches!(view.state, State::Open | State::Setup) {
                // As a card: nothing is on its way, nor could it be.
                return Err(Errno::BADFD);
            }
            if inner.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
                let found = inner.look(view);
                if found != Look::At {
                    return Ok(Err(found));
                }
            }
            let (io, stream) = (inner.io(view), inner.stream);
            Ok(Ok(inner.pcm.delay(&io, stream)))
        })
    };
    match told {
        Ok(Ok(frames)) => {
            // SAFETY: alsa-lib gives a place for it.
            unsafe { *delay = frames as snd_pcm_sframes_t };
            0
        }
        Ok(Err(found)) => {
            if let Some(state) = found.state() {
                // SAFETY: as in `start`. The plugin is stopped, and an application asks for the state.
                unsafe { set_state(io, state) };
            }
            let errno = match found {
                Look::Suspended => Errno::STRPIPE,
                Look::Gone => Errno::NODEV,
                Look::At | Look::Xrun => Errno::PIPE,
            };
            errno.negative()
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

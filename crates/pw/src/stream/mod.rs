//! Streams: one node of the graph each, with a main-loop half (this file) and a real-time half ([`Process`]).

mod connect;
mod drive;
mod event;
mod process;
mod timing;

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libspa_sys as spa;
use pipewire_sys as pw;

pub use connect::{Connect, Direction};
pub use drive::{Beat, Wanted};
pub use event::{State, StreamEvent};
pub use process::{Cycle, Process};
pub use timing::{Clock, Timing};

use crate::core::Core;
use crate::error::{Error, check, last};
use crate::format::{Format, Latency, MAX_CHANNELS, Param};
use crate::guard::contain_logged;
use crate::log::LAYER;
use crate::main_loop::EventQueue;
use crate::properties::Properties;
use crate::sys::Hook;
use crate::volume::NodeVolume;
use drive::Pacer;
use process::{RealTime, Shared};
use timing::Continuity;

/// A node of the graph. Stays on the main loop; dropping it takes the node away.
///
/// The drop returns when the data loop has let go of the [`Process`], which is dropped here then.
#[derive(Debug)]
pub struct Stream {
    main: Rc<Main>,
}

/// The main-loop half.
#[derive(Debug)]
struct Main {
    hook: Hook,
    rt_hook: Hook,
    raw: Cell<*mut pw::pw_stream>,
    /// From `Box::into_raw`; the data loop's until the stream is destroyed.
    real_time: Cell<*mut RealTime>,
    direction: Direction,
    shared: Arc<Shared>,
    events: EventQueue<StreamEvent>,
    pacer: RefCell<Option<Pacer>>,
    driving: Cell<bool>,
    /// What is reported for this end of the graph.
    latency: Cell<Option<Latency>>,
    /// Channels of a stream whose samples are left as they are.
    unscaled: Cell<Option<usize>>,
    /// The volume of the node as it was set last.
    volume: RefCell<NodeVolume>,
    /// Declared last: the connection outlives the stream.
    core: Core,
}

static EVENTS: pw::pw_stream_events = {
    // SAFETY: a version and optional functions, for which zero is "none".
    let mut events: pw::pw_stream_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_STREAM_EVENTS;
    events.destroy = Some(on_destroy);
    events.state_changed = Some(on_state_changed);
    events.io_changed = Some(on_io_changed);
    events.param_changed = Some(on_param_changed);
    events
};

impl Stream {
    /// Makes a stream that is not connected yet.
    ///
    /// `name` is its `media.name`; `properties` are those of the node (`media.class`, `node.name`, `target.object` and
    /// so on). `handler` runs on the main loop, never from inside a call of this crate.
    ///
    /// # Errors
    /// [`Error::Gone`] when the connection has ended.
    pub fn new(
        core: &Core,
        name: &str,
        direction: Direction,
        properties: &Properties,
        process: impl Process + 'static,
        handler: impl FnMut(StreamEvent) + 'static,
    ) -> Result<Self, Error> {
        let core_raw = core.as_ptr()?;
        let shared = Arc::new(Shared::default());
        let mut panic_told = false;
        let poll = {
            let shared = Arc::clone(&shared);
            move || {
                let news = shared.panicked.load(Ordering::Acquire) && !std::mem::replace(&mut panic_told, true);
                news.then_some(StreamEvent::ProcessPanicked)
            }
        };
        let events = EventQueue::new(core.main_loop(), poll, handler)?;
        let name = CString::new(name.replace('\0', "")).map_err(Error::module)?;
        let properties = properties.to_raw().ok_or_else(|| last("copy the stream's properties"))?;
        // SAFETY: the core is live and this its thread; the call copies the name and takes the properties over.
        let raw = unsafe { pw::pw_stream_new(core_raw, name.as_ptr(), properties.as_ptr()) };
        if raw.is_null() {
            return Err(last("make a stream"));
        }
        let real_time = Box::into_raw(Box::new(RealTime {
            stream: raw,
            direction,
            process: Box::new(process),
            shared: Arc::clone(&shared),
            waker: events.waker(),
            continuity: Continuity::default(),
        }));
        let main = Rc::new(Main {
            hook: Hook::new(),
            rt_hook: Hook::new(),
            raw: Cell::new(raw),
            real_time: Cell::new(real_time),
            direction,
            shared,
            events,
            pacer: RefCell::new(None),
            driving: Cell::new(false),
            latency: Cell::new(None),
            unscaled: Cell::new(None),
            volume: RefCell::default(),
            core: core.clone(),
        });
        let data: *mut c_void = Rc::as_ptr(&main).cast_mut().cast();
        // SAFETY: the stream is live; the hooks and Main live until Main's drop, which destroys the stream first;
        // RealTime is freed after that. Two listeners, so that each half has data of its own.
        unsafe {
            pw::pw_stream_add_listener(raw, main.hook.link(), &raw const EVENTS, data);
            pw::pw_stream_add_listener(raw, main.rt_hook.link(), &raw const process::EVENTS, real_time.cast());
        }
        Ok(Self { main })
    }

    /// Makes the node appear in the graph. After a [`disconnect`](Self::disconnect) it may be connected again.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn connect(&self, connect: &Connect) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        let channels = connect.offer.channels.len();
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(Error::module(format!("{channels} channels offered; 1 to {MAX_CHANNELS} are possible")));
        }
        let params = [
            Param::offer(&connect.offer),
            connect.latency.and_then(|latency| Param::latency(self.main.direction.to_raw(), latency)),
        ];
        let mut pointers: Vec<*const spa::spa_pod> = params.iter().flatten().map(Param::as_ptr).collect();
        let flags = pw::pw_stream_flags_PW_STREAM_FLAG_MAP_BUFFERS
            | pw::pw_stream_flags_PW_STREAM_FLAG_RT_PROCESS
            | if connect.autoconnect { pw::pw_stream_flags_PW_STREAM_FLAG_AUTOCONNECT } else { 0 }
            | if connect.inactive { pw::pw_stream_flags_PW_STREAM_FLAG_INACTIVE } else { 0 }
            | if connect.dont_reconnect { pw::pw_stream_flags_PW_STREAM_FLAG_DONT_RECONNECT } else { 0 }
            | if connect.driver { pw::pw_stream_flags_PW_STREAM_FLAG_DRIVER } else { 0 };
        self.main.latency.set(connect.latency);
        // SAFETY: the stream is live, this its main loop; the pods are valid for the call, which copies them.
        let result = unsafe {
            pw::pw_stream_connect(
                raw,
                self.main.direction.to_raw(),
                pw::PW_ID_ANY,
                flags,
                pointers.as_mut_ptr(),
                u32::try_from(pointers.len()).unwrap_or(0),
            )
        };
        check("connect the stream", result)?;
        if connect.unscaled {
            self.learn_controls(raw)?;
        }
        // What the adapter is set to while it is made is nobody's wish.
        self.main.unscaled.set(connect.unscaled.then_some(channels));
        self.main.volume.take();
        Ok(())
    }

    /// Lets libpipewire look which controls the node has. It does so when the parameters of the node change, and in 0.3.65 not before that.
    fn learn_controls(&self, raw: *mut pw::pw_stream) -> Result<(), Error> {
        let Some(param) = Param::soft_volumes_info() else { return Ok(()) };
        let mut pointer = param.as_ptr();
        // SAFETY: the caller's stream is live and this its main loop; one valid pod, copied by the call.
        check("describe the volume", unsafe { pw::pw_stream_update_params(raw, &raw mut pointer, 1) }).map(drop)
    }

    /// Takes the node out of the graph; the stream and its [`Process`] stay.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn disconnect(&self) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        // SAFETY: as_ptr() gives a live stream; Stream is not Send, so this is its main loop.
        check("disconnect the stream", unsafe { pw::pw_stream_disconnect(raw) }).map(drop)
    }

    /// Lets cycles run, or pauses.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn set_active(&self, active: bool) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        // SAFETY: as in disconnect().
        check("start or pause the stream", unsafe { pw::pw_stream_set_active(raw, active) }).map(drop)
    }

    /// Reports another latency; applications that play here see it at their ports.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn set_latency(&self, latency: Latency) -> Result<(), Error> {
        self.as_ptr()?;
        self.main.latency.set(Some(latency));
        self.main.report_latency()
    }

    /// Shows another volume at the node, of a stream connected with [`Connect::unscaled`]. It takes effect once the node has its controls,
    /// which it has when the stream is paused for the first time.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn set_volume(&self, volume: &NodeVolume) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        let Some(width) = self.main.unscaled.get() else {
            return Err(Error::module("the volume of this stream is the graph's own"));
        };
        // SAFETY: as in disconnect(); a stream that is not connected is refused by the call.
        unsafe { volume.set_unscaled(raw, width) }?;
        self.main.volume.borrow_mut().take_over(volume);
        self.main.ring(width)
    }

    /// The volume of the node as it was set last, from either end; what nobody has set yet is empty. It is what the node says now, while
    /// a [`StreamEvent::Volume`] that waits may be older than what this end has set meanwhile.
    pub fn volume(&self) -> NodeVolume {
        self.main.volume.borrow().clone()
    }

    /// Changes properties of the node.
    ///
    /// # Errors
    /// [`Error::Gone`], or what libpipewire has against it.
    pub fn update_properties(&self, properties: &Properties) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        let dict = properties.lend();
        // SAFETY: as in disconnect(); a valid dictionary, copied by the call.
        check("update the stream's properties", unsafe { pw::pw_stream_update_properties(raw, dict.as_ptr()) })
            .map(drop)
    }

    /// Lets a descriptor pace a stream that was connected with [`Connect::driver`]: an eventfd or a timerfd, not
    /// blocking. Whenever it is readable, the data loop reads its counter and calls [`Process::drive`]. A second
    /// descriptor takes the place of the first.
    ///
    /// # Errors
    /// [`Error::Gone`], or that the process has no memory left.
    pub fn drive_on(&self, descriptor: Arc<OwnedFd>) -> Result<(), Error> {
        let raw = self.as_ptr()?;
        // The one before must have ended: both would call the same real-time half.
        drop(self.main.pacer.take());
        // SAFETY: the stream is live and this its main loop; the real-time half is freed after the pacer, which Main's
        // drop and on_destroy see to.
        let pacer = unsafe { Pacer::new(self.main.core.context(), descriptor, raw, self.main.real_time.get()) }?;
        self.main.pacer.replace(Some(pacer));
        Ok(())
    }

    /// The state as of now; events of changes may still be on their way.
    pub fn state(&self) -> State {
        match self.as_ptr() {
            Err(_) => State::Unconnected,
            // SAFETY: as in disconnect(); no error text is asked for.
            Ok(raw) => State::from_raw(unsafe { pw::pw_stream_get_state(raw, std::ptr::null_mut()) }),
        }
    }

    /// The id of the node in the graph, once it has one.
    pub fn node_id(&self) -> Option<u32> {
        let raw = self.as_ptr().ok()?;
        // SAFETY: as in disconnect().
        let id = unsafe { pw::pw_stream_get_node_id(raw) };
        (id != spa::SPA_ID_INVALID).then_some(id)
    }

    /// The connection this stream is of.
    pub fn core(&self) -> &Core {
        &self.main.core
    }

    fn as_ptr(&self) -> Result<*mut pw::pw_stream, Error> {
        let raw = self.main.raw.get();
        if raw.is_null() { Err(Error::Gone("stream")) } else { Ok(raw) }
    }
}

impl Drop for Main {
    fn drop(&mut self) {
        self.hook.remove();
        // Nobody tells us any more when the areas go.
        self.shared.position.set(std::ptr::null_mut());
        self.shared.clock.set(std::ptr::null_mut());
        drop(self.pacer.take());
        let raw = self.raw.replace(std::ptr::null_mut());
        if !raw.is_null() {
            // SAFETY: live (on_destroy would have cleared it), this is its main loop. It leaves the data loop before
            // it returns, so the real-time half is ours again. Its list of hooks, the real-time one among them, is
            // emptied by it.
            unsafe { pw::pw_stream_destroy(raw) };
            self.rt_hook.forget();
        }
        self.free_real_time();
    }
}

impl Main {
    /// Somebody has set properties of the node; called from inside the callback that tells it, with a valid pod.
    fn volume_set(&self, param: *const spa::spa_pod) {
        let (raw, Some(width)) = (self.raw.get(), self.unscaled.get()) else { return };
        // SAFETY: a valid pod for the length of the call.
        let Some(volume) = (unsafe { NodeVolume::parse(param) }) else { return };
        if raw.is_null() {
            return;
        }
        // SAFETY: not NULL, so live; this is its main loop. What is set from here is not told to us again.
        if let Err(error) = unsafe { volume.set_unscaled(raw, width) } {
            LAYER.warn(format_args!("a volume may be applied twice: {error}"));
        }
        if let Err(error) = self.ring(width) {
            LAYER.warn(format_args!("a volume may not be shown: {error}"));
        }
        self.volume.borrow_mut().take_over(&volume);
        self.events.push(StreamEvent::Volume(volume));
    }

    /// Has the graph read the volume of the node anew. Before PipeWire 1.4.10 it does not when the volume of a stream that has not run yet is set
    /// (`audioconvert.c`). It does when the stream has set properties of its own, be they what they were: those of samples that are left as they are.
    fn ring(&self, width: usize) -> Result<(), Error> {
        let (raw, param) = (self.raw.get(), Param::soft_volumes(width));
        let (false, Some(param)) = (raw.is_null(), param) else { return Ok(()) };
        let mut pointer = param.as_ptr();
        // SAFETY: not NULL, so live; Main is not Send, so this is its main loop; one valid pod, copied by the call.
        check("show the volume", unsafe { pw::pw_stream_update_params(raw, &raw mut pointer, 1) }).map(drop)
    }

    /// Puts the latency of this end, if it has any, among the stream's parameters.
    fn report_latency(&self) -> Result<(), Error> {
        let raw = self.raw.get();
        let param = self.latency.get().and_then(|latency| Param::latency(self.direction.to_raw(), latency));
        let (false, Some(param)) = (raw.is_null(), param) else { return Ok(()) };
        let mut pointer = param.as_ptr();
        // SAFETY: not NULL, so live; Main is not Send, so this is its main loop; one valid pod, copied by the call.
        check("report the latency", unsafe { pw::pw_stream_update_params(raw, &raw mut pointer, 1) }).map(drop)
    }

    /// To be called when the stream is destroyed.
    fn free_real_time(&self) {
        let real_time = self.real_time.replace(std::ptr::null_mut());
        if !real_time.is_null() {
            // SAFETY: from Box::into_raw, taken once; the stream does not call any more.
            let real_time = unsafe { Box::from_raw(real_time) };
            contain_logged("the drop of a stream's real-time half", || drop(real_time));
        }
    }
}

/// # Safety
/// `data` is the Main that the hook was linked with; its drop removes the hook first, so it lives. Called on the main
/// loop.
unsafe fn main_half<'a>(data: *mut c_void) -> &'a Main {
    // SAFETY: by contract.
    unsafe { &*data.cast::<Main>() }
}

unsafe extern "C" fn on_destroy(data: *mut c_void) {
    // SAFETY: called for a linked hook.
    let main = unsafe { main_half(data) };
    contain_logged("a stream's destroy event", || {
        // Somebody else destroys it. The real-time half stays until Main goes, and its hook with the stream, which
        // empties its lists once it has left the data loop: unlinking that hook here would race with a cycle.
        main.hook.remove();
        main.rt_hook.forget();
        drop(main.pacer.take());
        main.raw.set(std::ptr::null_mut());
        main.events.push(StreamEvent::Destroyed);
    });
}

unsafe extern "C" fn on_state_changed(
    data: *mut c_void,
    old: pw::pw_stream_state,
    new: pw::pw_stream_state,
    error: *const c_char,
) {
    // SAFETY: called for a linked hook.
    let main = unsafe { main_half(data) };
    contain_logged("a stream's state event", || {
        let error = if error.is_null() {
            None
        } else {
            // SAFETY: not NULL, so a C string for the length of the call.
            Some(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned())
        };
        main.shared.streaming.store(State::from_raw(new) == State::Streaming, Ordering::Release);
        main.events.push(StreamEvent::State { old: State::from_raw(old), new: State::from_raw(new), error });
    });
}

unsafe extern "C" fn on_io_changed(data: *mut c_void, id: u32, area: *mut c_void, size: u32) {
    // SAFETY: called for a linked hook.
    let main = unsafe { main_half(data) };
    contain_logged("a stream's io event", || {
        if id == spa::SPA_IO_Position {
            let large_enough = size as usize >= size_of::<spa::spa_io_position>();
            main.shared.position.set(if large_enough { area.cast() } else { std::ptr::null_mut() });
        } else if id == spa::SPA_IO_Clock {
            let large_enough = size as usize >= size_of::<spa::spa_io_clock>();
            main.shared.clock.set(if large_enough { area.cast() } else { std::ptr::null_mut() });
        } else {
            return;
        }
        let driving = main.shared.is_driving();
        if main.driving.replace(driving) != driving {
            main.events.push(StreamEvent::Driving(driving));
        }
    });
}

unsafe extern "C" fn on_param_changed(data: *mut c_void, id: u32, param: *const spa::spa_pod) {
    // SAFETY: called for a linked hook.
    let main = unsafe { main_half(data) };
    contain_logged("a stream's param event", || {
        if id == spa::SPA_PARAM_Props && !param.is_null() {
            main.volume_set(param);
            return;
        }
        if id == spa::SPA_PARAM_Latency {
            // The latency of what lies at the other end of the links. In PipeWire 0.3.80 to 1.4 it has just taken the place of our own (`stream.c`;
            // 1.6 keeps both), which applications would not see any more.
            if let Err(error) = main.report_latency() {
                LAYER.warn(format_args!("applications may not know how late they are heard: {error}"));
            }
            return;
        }
        if id != spa::SPA_PARAM_Format {
            return;
        }
        // SAFETY: not NULL, so a valid pod for the length of the call.
        let format = if param.is_null() { None } else { unsafe { Format::parse(param) } };
        main.shared.rate.store(format.map_or(0, |format| format.rate), Ordering::Relaxed);
        main.shared.channels.store(format.map_or(0, |format| format.channels), Ordering::Relaxed);
        main.events.push(StreamEvent::Format(format));
    });
}

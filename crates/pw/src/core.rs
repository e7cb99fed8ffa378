//! The context in a process, and its connection to a PipeWire server.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::rc::Rc;

use pipewire_sys as pw;

use crate::error::{Error, last};
use crate::guard::contain_logged;
use crate::main_loop::{EventQueue, MainLoop};
use crate::properties::Properties;
use crate::sys::{self, Hook};

/// What libpipewire keeps for a process: loops, loaded modules, memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context(Rc<ContextInner>);

#[derive(Debug)]
struct ContextInner {
    raw: *mut pw::pw_context,
    owned: bool,
    /// Declared last: the loop outlives the context.
    main_loop: MainLoop,
}

impl Context {
    /// The context of a host.
    ///
    /// # Safety
    /// `raw` is live and outlives all that is made from it; this is the thread of its main loop.
    pub(crate) unsafe fn of_host(raw: *mut pw::pw_context) -> Self {
        // SAFETY: a live context has a main loop that lives as long as it does.
        let main_loop = unsafe { MainLoop::of_host(pw::pw_context_get_main_loop(raw)) };
        Self(Rc::new(ContextInner { raw, owned: false, main_loop }))
    }

    /// A context of our own on `main_loop`.
    pub(crate) fn new(main_loop: &MainLoop, properties: &Properties) -> Result<Self, Error> {
        let properties = properties.to_raw().ok_or_else(|| last("copy the context's properties"))?;
        // SAFETY: the loop is live and outlives the context; the call takes the properties over.
        let raw = unsafe { pw::pw_context_new(main_loop.as_ptr(), properties.as_ptr(), 0) };
        if raw.is_null() {
            return Err(last("make a context"));
        }
        Ok(Self(Rc::new(ContextInner { raw, owned: true, main_loop: main_loop.clone() })))
    }

    /// The loop on which everything here happens.
    pub fn main_loop(&self) -> &MainLoop {
        &self.0.main_loop
    }

    pub(crate) fn as_ptr(&self) -> *mut pw::pw_context {
        self.0.raw
    }

    /// Connects to the server that `properties` (`remote.name`) or the environment name.
    ///
    /// `handler` is told when the connection is lost; it runs at the top of the main loop. After [`CoreEvent::Lost`]
    /// drop the core and all that was made from it, and connect anew (try once a second or so: there is no notice of a
    /// server's return).
    ///
    /// # Errors
    /// [`Error::NoServer`] when nobody answers.
    pub fn connect(&self, properties: &Properties, handler: impl FnMut(CoreEvent) + 'static) -> Result<Core, Error> {
        let properties = properties.to_raw().ok_or_else(|| last("copy the connection's properties"))?;
        // SAFETY: the context is live, this is its thread; the call takes the properties over.
        let raw = unsafe { pw::pw_context_connect(self.0.raw, properties.as_ptr(), 0) };
        if raw.is_null() {
            return Err(Error::NoServer(io::Error::last_os_error()));
        }
        // SAFETY: just made, and ours to disconnect.
        unsafe { Core::from_raw(self, raw, true, handler) }
    }

    /// The connection that the host shares with its modules, if it has one.
    pub(crate) fn shared_core(&self, handler: impl FnMut(CoreEvent) + 'static) -> Result<Option<Core>, Error> {
        const CORE: &CStr = c"PipeWire:Interface:Core";
        // SAFETY: the context is live and the type's name is a C string; an object of that type is a pw_core.
        let raw: *mut pw::pw_core = unsafe { pw::pw_context_get_object(self.0.raw, CORE.as_ptr()) }.cast();
        if raw.is_null() {
            return Ok(None);
        }
        // SAFETY: live, as the host has registered it; it belongs to the host.
        unsafe { Core::from_raw(self, raw, false, handler) }.map(Some)
    }
}

impl Drop for ContextInner {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: made in Context::new, destroyed once, on its thread; every core holds a Context, so all are
            // disconnected.
            unsafe { pw::pw_context_destroy(self.raw) };
        }
    }
}

/// News of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreEvent {
    /// The server is gone, or has thrown us out. Nothing made from this core works any more.
    Lost,
    /// The server reports an error of one object; the connection stands.
    Error {
        /// The object in this connection.
        id: u32,
        /// Negative errno.
        code: i32,
        /// The server's words.
        message: String,
    },
    /// Everything asked before the [`Core::sync`] that returned this number has been answered.
    Done(i32),
}

/// A connection to a PipeWire server. Cheap to clone; the last clone disconnects.
///
/// Streams and registries hold one, so that they always go before it.
#[derive(Debug, Clone)]
pub struct Core(Rc<CoreInner>);

#[derive(Debug)]
struct CoreInner {
    hook: Hook,
    proxy_hook: Hook,
    raw: Cell<*mut pw::pw_core>,
    owned: bool,
    lost: Cell<bool>,
    events: EventQueue<CoreEvent>,
    context: Context,
}

static CORE_EVENTS: pw::pw_core_events = {
    // SAFETY: a version and optional functions, for which zero is "none"; later versions of libpipewire have more of
    // them than we name.
    let mut events: pw::pw_core_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_CORE_EVENTS;
    events.done = Some(on_done);
    events.error = Some(on_error);
    events
};

static PROXY_EVENTS: pw::pw_proxy_events = {
    // SAFETY: as for CORE_EVENTS.
    let mut events: pw::pw_proxy_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_PROXY_EVENTS;
    events.destroy = Some(on_destroy);
    events
};

impl Core {
    /// # Safety
    /// `raw` is a live core of `context`, and ours to disconnect if `owned`.
    unsafe fn from_raw(
        context: &Context,
        raw: *mut pw::pw_core,
        owned: bool,
        handler: impl FnMut(CoreEvent) + 'static,
    ) -> Result<Self, Error> {
        let events = match EventQueue::new(context.main_loop(), || None, handler) {
            Ok(events) => events,
            Err(error) => {
                if owned {
                    // SAFETY: ours by contract, and nobody has learnt of it.
                    unsafe { pw::pw_core_disconnect(raw) };
                }
                return Err(error);
            }
        };
        let inner = Rc::new(CoreInner {
            hook: Hook::new(),
            proxy_hook: Hook::new(),
            raw: Cell::new(raw),
            owned,
            lost: Cell::new(false),
            events,
            context: context.clone(),
        });
        let data: *mut c_void = Rc::as_ptr(&inner).cast_mut().cast();
        // SAFETY: `raw` is live and this its thread; hooks and `data` live in `inner`, whose drop (or on_destroy)
        // removes the hooks first; a pw_core is a pw_proxy.
        unsafe {
            sys::core_add_listener(raw, inner.hook.link(), &raw const CORE_EVENTS, data);
            pw::pw_proxy_add_listener(raw.cast(), inner.proxy_hook.link(), &raw const PROXY_EVENTS, data);
        }
        Ok(Self(inner))
    }

    /// The context this connection is of.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The loop on which everything here happens.
    pub fn main_loop(&self) -> &MainLoop {
        self.0.context.main_loop()
    }

    /// Whether the connection has ended.
    pub fn is_lost(&self) -> bool {
        self.0.lost.get()
    }

    /// Asks for a [`CoreEvent::Done`] with the number returned here, once all that was asked so far is answered.
    ///
    /// # Errors
    /// [`Error::Gone`] when the connection has ended.
    pub fn sync(&self) -> Result<i32, Error> {
        let raw = self.as_ptr()?;
        // SAFETY: as_ptr() gives a live core, and Core is not Send, so this is its thread.
        crate::error::check("ask the server for an answer", unsafe { sys::core_sync(raw, 0) })
    }

    pub(crate) fn as_ptr(&self) -> Result<*mut pw::pw_core, Error> {
        let raw = self.0.raw.get();
        if raw.is_null() || self.is_lost() { Err(Error::Gone("connection to PipeWire")) } else { Ok(raw) }
    }
}

impl CoreInner {
    fn lose(&self) {
        if !self.lost.replace(true) {
            self.events.push(CoreEvent::Lost);
        }
    }
}

impl Drop for CoreInner {
    fn drop(&mut self) {
        self.hook.remove();
        self.proxy_hook.remove();
        let raw = self.raw.replace(std::ptr::null_mut());
        if self.owned && !raw.is_null() {
            // SAFETY: not destroyed yet (on_destroy would have cleared it), ours, and this is its thread. Nobody holds
            // a Core any more.
            unsafe { pw::pw_core_disconnect(raw) };
        }
    }
}

/// # Safety
/// `data` is the CoreInner that a hook was linked with. Its drop removes the hooks first, so it lives; this is its
/// thread.
unsafe fn inner<'a>(data: *mut c_void) -> &'a CoreInner {
    // SAFETY: by contract.
    unsafe { &*data.cast::<CoreInner>() }
}

unsafe extern "C" fn on_done(data: *mut c_void, id: u32, seq: c_int) {
    // SAFETY: called for a linked hook.
    let inner = unsafe { inner(data) };
    contain_logged("a core's done event", || {
        if id == pw::PW_ID_CORE {
            inner.events.push(CoreEvent::Done(seq));
        }
    });
}

unsafe extern "C" fn on_error(data: *mut c_void, id: u32, _seq: c_int, code: c_int, message: *const std::ffi::c_char) {
    // SAFETY: called for a linked hook.
    let inner = unsafe { inner(data) };
    contain_logged("a core's error event", || {
        if id == pw::PW_ID_CORE && code == -libc::EPIPE {
            inner.lose();
            return;
        }
        let message = if message.is_null() {
            String::new()
        } else {
            // SAFETY: not NULL, so a C string for the length of the call.
            unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
        };
        inner.events.push(CoreEvent::Error { id, code, message });
    });
}

unsafe extern "C" fn on_destroy(data: *mut c_void) {
    // SAFETY: called for a linked hook.
    let inner = unsafe { inner(data) };
    contain_logged("a core's destroy event", || {
        inner.hook.remove();
        inner.proxy_hook.remove();
        inner.raw.set(std::ptr::null_mut());
        inner.lose();
    });
}

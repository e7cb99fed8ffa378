//! A proxy of ours for an object in the server, with its end accounted for.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use pipewire_sys as pw;

use crate::sys::Hook;

/// An owned `pw_proxy`. Main loop only.
///
/// It goes when this is dropped, or when its connection goes before: then the pointer is forgotten.
#[derive(Debug)]
pub(crate) struct Proxy(Box<Inner>);

#[derive(Debug)]
struct Inner {
    raw: Cell<*mut pw::pw_proxy>,
    hook: Hook,
    /// For the listener to the object's own events; the caller links it.
    object_hook: Hook,
    listener: Cell<Option<Listener>>,
}

/// What the owner wants to know of the proxy itself.
///
/// The functions are called with `data` on the main loop, and may drop the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    pub(crate) data: *mut c_void,
    /// The object in the server is gone.
    pub(crate) removed: unsafe fn(*mut c_void),
    /// A [`Proxy::sync`] has been answered.
    pub(crate) done: unsafe fn(*mut c_void, c_int),
}

static EVENTS: pw::pw_proxy_events = {
    // SAFETY: a version and optional functions, for which zero is "none".
    let mut events: pw::pw_proxy_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_PROXY_EVENTS;
    events.destroy = Some(on_destroy);
    events.removed = Some(on_removed);
    events.done = Some(on_done);
    events
};

impl Proxy {
    /// # Safety
    /// `raw` is a live proxy that nobody else destroys but its connection.
    pub(crate) unsafe fn own(raw: *mut pw::pw_proxy) -> Self {
        let inner = Box::new(Inner {
            raw: Cell::new(raw),
            hook: Hook::new(),
            object_hook: Hook::new(),
            listener: Cell::new(None),
        });
        let data: *const Inner = &raw const *inner;
        // SAFETY: the proxy lives; hook and data stay at their address until drop or on_destroy has removed the hook.
        unsafe { pw::pw_proxy_add_listener(raw, inner.hook.link(), &raw const EVENTS, data.cast_mut().cast()) };
        Self(inner)
    }

    /// Sets who is told.
    ///
    /// # Safety
    /// The functions may be called with the data until the proxy is dropped.
    pub(crate) unsafe fn listen(&self, listener: Listener) {
        self.0.listener.set(Some(listener));
    }

    /// Asks for an answer with the number returned here; negative on failure.
    pub(crate) fn sync(&self) -> c_int {
        let raw = self.as_ptr();
        if raw.is_null() {
            return -libc::EPIPE;
        }
        // SAFETY: not NULL, so not destroyed yet; Proxy is not Send, so this is its thread.
        unsafe { pw::pw_proxy_sync(raw, 0) }
    }

    /// NULL when the connection has taken it along.
    pub(crate) fn as_ptr(&self) -> *mut pw::pw_proxy {
        self.0.raw.get()
    }

    /// The hook for the object's own events.
    pub(crate) fn object_hook(&self) -> &Hook {
        &self.0.object_hook
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.hook.remove();
        self.0.object_hook.remove();
        let raw = self.0.raw.replace(std::ptr::null_mut());
        if !raw.is_null() {
            // SAFETY: not destroyed yet (on_destroy would have cleared it); allowed even inside the proxy's own events.
            unsafe { pw::pw_proxy_destroy(raw) };
        }
    }
}

unsafe extern "C" fn on_destroy(data: *mut c_void) {
    // SAFETY: called for a linked hook, whose Inner lives. Nothing in here can panic.
    let inner = unsafe { &*data.cast::<Inner>() };
    inner.hook.remove();
    inner.object_hook.remove();
    inner.raw.set(std::ptr::null_mut());
}

unsafe extern "C" fn on_removed(data: *mut c_void) {
    // SAFETY: as in on_destroy. The listener is a copy: the call may free Inner.
    if let Some(listener) = unsafe { &*data.cast::<Inner>() }.listener.get() {
        // SAFETY: by the contract of listen(). What is called contains its panics.
        unsafe { (listener.removed)(listener.data) };
    }
}

unsafe extern "C" fn on_done(data: *mut c_void, seq: c_int) {
    // SAFETY: as in on_removed.
    if let Some(listener) = unsafe { &*data.cast::<Inner>() }.listener.get() {
        // SAFETY: as in on_removed.
        unsafe { (listener.done)(listener.data, seq) };
    }
}

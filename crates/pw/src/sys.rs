//! The methods of libpipewire that its headers define inline, called through their tables of functions.
//!
//! Everything else comes from `pipewire-sys` and `libspa-sys`, generated from the headers of the installed version.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use libspa_sys as spa;
use pipewire_sys as pw;

/// Calls `$method` of the interface object `$object`, whose table of functions is `$table`; gives `None` where the
/// object lacks it.
///
/// Use inside `unsafe`: the object must be a live one of a type that starts with a `spa_interface` whose table is a
/// `$table`.
macro_rules! call {
    ($object:expr, $table:ty, $method:ident $(, $argument:expr)*) => {{
        let interface = $object.cast::<spa::spa_interface>();
        let callbacks = &raw const (*interface).cb;
        let table = (*callbacks).funcs.cast::<$table>();
        (*table).$method.map(|method| method((*callbacks).data $(, $argument)*))
    }};
}

/// # Safety
/// `main_loop` is a live loop and the caller is on its thread, or it is not running. `func` and `data` stay valid
/// until the source is destroyed.
pub(crate) unsafe fn loop_add_io(
    main_loop: *mut pw::pw_loop,
    fd: c_int,
    func: unsafe extern "C" fn(*mut c_void, c_int, u32),
    data: *mut c_void,
) -> *mut spa::spa_source {
    // SAFETY: a live pw_loop has a live spa_loop_utils, whose table is spa_loop_utils_methods; the rest is this
    // function's contract.
    unsafe {
        call!((*main_loop).utils, spa::spa_loop_utils_methods, add_io, fd, spa::SPA_IO_IN, false, Some(func), data)
    }
    .unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// As [`loop_add_io`].
pub(crate) unsafe fn loop_add_timer(
    main_loop: *mut pw::pw_loop,
    func: unsafe extern "C" fn(*mut c_void, u64),
    data: *mut c_void,
) -> *mut spa::spa_source {
    // SAFETY: as in loop_add_io.
    unsafe { call!((*main_loop).utils, spa::spa_loop_utils_methods, add_timer, Some(func), data) }
        .unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// `main_loop` is a live loop, the caller is on its thread, and `source` is a live timer of it.
pub(crate) unsafe fn loop_update_timer(
    main_loop: *mut pw::pw_loop,
    source: *mut spa::spa_source,
    mut value: spa::timespec,
    mut interval: spa::timespec,
) -> c_int {
    // SAFETY: as in loop_add_io; both times are read during the call only.
    unsafe {
        call!(
            (*main_loop).utils,
            spa::spa_loop_utils_methods,
            update_timer,
            source,
            &raw mut value,
            &raw mut interval,
            false
        )
    }
    .unwrap_or(-libc::ENOTSUP)
}

/// # Safety
/// `main_loop` is a live loop, the caller is on its thread (or it is not running), and `source` is a live source of
/// it, not used again.
pub(crate) unsafe fn loop_destroy_source(main_loop: *mut pw::pw_loop, source: *mut spa::spa_source) {
    // SAFETY: as in loop_add_io.
    unsafe { call!((*main_loop).utils, spa::spa_loop_utils_methods, destroy_source, source) };
}

/// Runs `func` with `data` on the thread of `data_loop` and waits for it.
///
/// # Safety
/// `data_loop` is a live loop that runs in a thread of its own, which does not wait for the caller; `data` is what
/// `func` expects.
pub(crate) unsafe fn loop_invoke(
    data_loop: *mut pw::pw_loop,
    func: unsafe extern "C" fn(*mut spa::spa_loop, bool, u32, *const c_void, usize, *mut c_void) -> c_int,
    data: *mut c_void,
) -> c_int {
    // SAFETY: a live pw_loop has a live spa_loop, whose table is spa_loop_methods; no message is passed along, and the
    // rest is this function's contract.
    unsafe { call!((*data_loop).loop_, spa::spa_loop_methods, invoke, Some(func), 1, std::ptr::null(), 0, true, data) }
        .unwrap_or(-libc::ENOTSUP)
}

/// # Safety
/// `core` is live, the caller on its loop; `hook` is unlinked and it, `events` and `data` stay valid until the hook is
/// removed.
pub(crate) unsafe fn core_add_listener(
    core: *mut pw::pw_core,
    hook: *mut spa::spa_hook,
    events: *const pw::pw_core_events,
    data: *mut c_void,
) {
    // SAFETY: a pw_core is a proxy, which starts with its spa_interface; its table is pw_core_methods.
    unsafe { call!(core, pw::pw_core_methods, add_listener, hook, events, data) };
}

/// # Safety
/// `core` is live and the caller on its loop.
pub(crate) unsafe fn core_sync(core: *mut pw::pw_core, seq: c_int) -> c_int {
    // SAFETY: as in core_add_listener.
    unsafe { call!(core, pw::pw_core_methods, sync, pw::PW_ID_CORE, seq) }.unwrap_or(-libc::ENOTSUP)
}

/// # Safety
/// `core` is live and the caller on its loop.
pub(crate) unsafe fn core_get_registry(core: *mut pw::pw_core) -> *mut pw::pw_registry {
    // SAFETY: as in core_add_listener.
    unsafe { call!(core, pw::pw_core_methods, get_registry, pw::PW_VERSION_REGISTRY, 0) }
        .unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// `registry` is live and the caller on its loop; hook, events and data as in [`core_add_listener`].
pub(crate) unsafe fn registry_add_listener(
    registry: *mut pw::pw_registry,
    hook: *mut spa::spa_hook,
    events: *const pw::pw_registry_events,
    data: *mut c_void,
) {
    // SAFETY: a pw_registry is a proxy too, with pw_registry_methods.
    unsafe { call!(registry, pw::pw_registry_methods, add_listener, hook, events, data) };
}

/// # Safety
/// `registry` is live and the caller on its loop; `kind` is a NUL-terminated interface name.
pub(crate) unsafe fn registry_bind(
    registry: *mut pw::pw_registry,
    id: u32,
    kind: *const std::ffi::c_char,
    version: u32,
) -> *mut pw::pw_proxy {
    // SAFETY: as in registry_add_listener; what bind returns is a proxy of the asked interface.
    unsafe { call!(registry, pw::pw_registry_methods, bind, id, kind, version, 0) }
        .unwrap_or(std::ptr::null_mut())
        .cast()
}

/// # Safety
/// `metadata` is live and the caller on its loop; `key` is a C string, `kind` and `value` are C strings or NULL.
pub(crate) unsafe fn metadata_set_property(
    metadata: *mut pw::pw_metadata,
    subject: u32,
    key: *const std::ffi::c_char,
    kind: *const std::ffi::c_char,
    value: *const std::ffi::c_char,
) -> c_int {
    // SAFETY: a pw_metadata is a proxy too, with pw_metadata_methods; the strings are read during the call only.
    unsafe { call!(metadata, pw::pw_metadata_methods, set_property, subject, key, kind, value) }
        .unwrap_or(-libc::ENOTSUP)
}

/// A `spa_hook` at an address that does not change, removed at the latest when dropped.
///
/// Main loop only. Declare it so that it goes before what its callbacks use.
#[derive(Debug)]
pub(crate) struct Hook {
    raw: *mut spa::spa_hook,
    linked: Cell<bool>,
}

impl Hook {
    pub(crate) fn new() -> Self {
        // SAFETY: spa_hook is a C struct of pointers, for which all zeros is the documented initial value.
        let hook: spa::spa_hook = unsafe { std::mem::zeroed() };
        Self { raw: Box::into_raw(Box::new(hook)), linked: Cell::new(false) }
    }

    /// The hook, for the call that links it.
    pub(crate) fn link(&self) -> *mut spa::spa_hook {
        self.linked.set(true);
        self.raw
    }

    /// Ends the callbacks. Allowed inside one of them.
    pub(crate) fn remove(&self) {
        if self.linked.replace(false) {
            // SAFETY: the hook was linked by the call that got it from link(), and is unlinked once only; lists that
            // are destroyed unlink it in their destroy event, where our callbacks call this.
            unsafe { spa::spa_hook_remove(self.raw) };
        }
    }
}

impl Hook {
    /// The list itself has unlinked the hook, as one does that is destroyed.
    pub(crate) fn forget(&self) {
        self.linked.set(false);
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.remove();
        // SAFETY: made by Box::into_raw in new(), no longer in any list.
        drop(unsafe { Box::from_raw(self.raw) });
    }
}

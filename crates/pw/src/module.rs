//! A PipeWire module: its entry, its life in the host, and the way out.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use pipewire_sys as pw;

use crate::args::Args;
use crate::core::{Context, Core, CoreEvent};
use crate::error::{Error, check};
use crate::guard::contain_logged;
use crate::log::Topic;
use crate::main_loop::MainLoop;
use crate::properties::Properties;
use crate::sys::Hook;

/// What a loaded module keeps. It is dropped on the main loop when the module is unloaded or the host ends.
///
/// Its drop must leave nothing behind: threads joined, streams dropped. The host stays able to run without it.
pub trait Module {}

/// Exports a module's entry point.
///
/// `init` is a `fn(ModuleHost, Args) -> Result<Box<dyn Module>, Error>`, called on the host's main loop. An error
/// refuses the module and goes to the host's log; a panic does too.
///
/// Use it once in a `cdylib`. Have the library linked with `-z nodelete` (in its build script:
/// `println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete")`), as thread-local destructors may run after the host has
/// unloaded it.
///
/// ```ignore
/// audera_pw::module!(topic: c"mod.audera-sink", init: init);
/// ```
#[macro_export]
macro_rules! module {
    (topic: $topic:expr, init: $init:path $(,)?) => {
        /// The entry point that PipeWire calls when it loads this module.
        ///
        /// # Safety
        /// To be called by libpipewire only, with a live module and NULL or a C string.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn pipewire__module_init(
            module: *mut $crate::raw::pw_impl_module,
            args: *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            static TOPIC: $crate::Topic = $crate::Topic::new($topic);
            // SAFETY: handed on from libpipewire as it came.
            unsafe { $crate::enter_module(module, args, &TOPIC, $init) }
        }
    };
}

/// The module's side of its host. Cheap to clone; stays on the main loop.
#[derive(Debug, Clone)]
pub struct ModuleHost(Rc<HostInner>);

#[derive(Debug)]
struct HostInner {
    /// NULL once the module is being destroyed.
    module: Cell<*mut pw::pw_impl_module>,
    unloading: Cell<bool>,
    context: Context,
    topic: &'static Topic,
}

impl ModuleHost {
    /// The host's context.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The host's main loop, on which all of the module runs but its real-time halves and its own threads.
    pub fn main_loop(&self) -> &MainLoop {
        self.0.context.main_loop()
    }

    /// The topic for log lines.
    pub fn log(&self) -> &'static Topic {
        self.0.topic
    }

    /// The connection to the server: the one that the host shares with its modules, or one of our own (inside the
    /// daemon, say).
    ///
    /// When it is lost the module is unloaded by itself; `handler` is told before that.
    ///
    /// # Errors
    /// [`Error::NoServer`] when there is nobody to connect to.
    pub fn core(&self, mut handler: impl FnMut(CoreEvent) + 'static) -> Result<Core, Error> {
        let host = self.clone();
        let handler = Rc::new(std::cell::RefCell::new(move |event: CoreEvent| {
            let lost = event == CoreEvent::Lost;
            handler(event);
            if lost {
                host.schedule_unload();
            }
        }));
        let shared = self.context().shared_core({
            let handler = Rc::clone(&handler);
            move |event| (handler.borrow_mut())(event)
        })?;
        match shared {
            Some(core) => Ok(core),
            None => self.context().connect(&Properties::new(), move |event| (handler.borrow_mut())(event)),
        }
    }

    /// Has the host unload this module from the top of its main loop.
    pub fn schedule_unload(&self) {
        let module = self.0.module.get();
        if !module.is_null() && !self.0.unloading.replace(true) {
            // SAFETY: not NULL, so not destroyed yet; ModuleHost is not Send, so this is the main loop.
            unsafe { pw::pw_impl_module_schedule_destroy(module) };
        }
    }

    /// Sets properties of the module (`module.author`, `module.description`, `module.version`).
    ///
    /// # Errors
    /// [`Error::Gone`] when the module is being unloaded.
    pub fn update_properties(&self, properties: &Properties) -> Result<(), Error> {
        let module = self.0.module.get();
        if module.is_null() {
            return Err(Error::Gone("module"));
        }
        let dict = properties.lend();
        // SAFETY: the module lives (see schedule_unload); the dictionary is valid for the call, which copies it.
        check("update the module's properties", unsafe { pw::pw_impl_module_update_properties(module, dict.as_ptr()) })
            .map(drop)
    }
}

/// A module between its init and its destroy event.
struct Loaded {
    hook: Hook,
    host: ModuleHost,
    module: Box<dyn Module>,
}

static MODULE_EVENTS: pw::pw_impl_module_events = {
    // SAFETY: a version and optional functions, for which zero is "none".
    let mut events: pw::pw_impl_module_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_IMPL_MODULE_EVENTS;
    events.destroy = Some(on_destroy);
    events
};

/// The body of [`module!`](crate::module!).
///
/// # Safety
/// `raw` is a live module whose init function this is called from, on its main loop; `args` is NULL or a C string.
#[doc(hidden)]
pub unsafe fn enter_module(
    raw: *mut pw::pw_impl_module,
    args: *const c_char,
    topic: &'static Topic,
    init: fn(ModuleHost, Args) -> Result<Box<dyn Module>, Error>,
) -> c_int {
    let outcome = contain_logged("a module's init", || {
        let text = if args.is_null() {
            String::new()
        } else {
            // SAFETY: a C string by contract.
            unsafe { CStr::from_ptr(args) }.to_str().map_err(Error::module)?.to_owned()
        };
        // SAFETY: a live module has a context, which outlives it and with it all that the module makes.
        let context = unsafe { Context::of_host(pw::pw_impl_module_get_context(raw)) };
        let host =
            ModuleHost(Rc::new(HostInner { module: Cell::new(raw), unloading: Cell::new(false), context, topic }));
        // A refused module is freed by the host: whoever still holds the host must not reach for it.
        let armed = Disarm(&host);
        let module = init(host.clone(), Args::parse(&text)?)?;
        std::mem::forget(armed);
        let loaded = Box::into_raw(Box::new(Loaded { hook: Hook::new(), host, module }));
        // SAFETY: the module lives; hook, events and data stay until on_destroy takes them back, which every module
        // sees before it goes.
        unsafe { pw::pw_impl_module_add_listener(raw, (*loaded).hook.link(), &raw const MODULE_EVENTS, loaded.cast()) };
        Ok::<(), Error>(())
    });
    match outcome {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            topic.error(format_args!("not loaded: {error}"));
            error.as_negative_errno()
        }
        None => -libc::EFAULT,
    }
}

/// Makes the host's handle a dead one when init fails or panics.
struct Disarm<'a>(&'a ModuleHost);

impl Drop for Disarm<'_> {
    fn drop(&mut self) {
        self.0.0.module.set(std::ptr::null_mut());
    }
}

unsafe extern "C" fn on_destroy(data: *mut c_void) {
    contain_logged("a module's unloading", || {
        // SAFETY: `data` is the Box that enter_module gave away; the hook is removed here, so this happens once.
        let loaded = unsafe { Box::from_raw(data.cast::<Loaded>()) };
        let Loaded { hook, host, module } = *loaded;
        hook.remove();
        host.0.module.set(std::ptr::null_mut());
        // The module's own fields go in their order: streams hold their core, so the core goes last by itself.
        drop(module);
    });
}

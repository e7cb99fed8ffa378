//! The functions of the C library behind those that this library puts in front of them.

use std::{
    ffi::{CStr, c_void},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A function of the C library, looked up once.
pub struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Where it is; null if this C library does not have it.
    pub fn address(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name is NUL-terminated; RTLD_NEXT is allowed in a library that was loaded with the process.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Declares functions of the C library under their own names in a module `next`, and a `prepare` that looks them all up.
/// Where the C library lacks one, calling it gives the value behind `else`.
macro_rules! next {
    ($(fn $name:ident($($arg:ident: $kind:ty),* $(,)?) -> $result:ty, else $missing:expr;)*) => {
        mod next {
            use super::*;
            $(
                /// # Safety
                /// As the C library's function of this name.
                pub unsafe fn $name($($arg: $kind),*) -> $result {
                    let address = addresses::$name.address();
                    if address.is_null() {
                        return $missing;
                    }
                    // SAFETY: the C library's function of this name has this signature.
                    let function = unsafe {
                        std::mem::transmute::<*mut std::ffi::c_void, unsafe extern "C-unwind" fn($($kind),*) -> $result>(address)
                    };
                    // SAFETY: the caller vouches for the arguments.
                    unsafe { function($($arg),*) }
                }
            )*
        }

        #[expect(non_upper_case_globals, reason = "named as what they point to")]
        mod addresses {
            $(
                pub static $name: $crate::next::Next = $crate::next::Next::new(
                    match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => c"",
                    }
                );
            )*
        }

        /// Looks the functions up before anyone is in a hurry.
        pub fn prepare() {
            $( addresses::$name.address(); )*
        }
    };
}

pub(crate) use next;

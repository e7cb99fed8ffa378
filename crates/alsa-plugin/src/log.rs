//! What a user of the host program should read: by way of alsa-lib's error handler, which prints to standard error unless
//! the program has put another in its place.

use std::ffi::CString;

use crate::sys;

/// Tells of an error. Not for audio threads.
pub fn error(message: &str) {
    let Ok(text) = CString::new(message.replace('\0', " ")) else { return };
    // SAFETY: alsa-lib initialises this variable statically and only ever stores handlers in it. That a program could set
    // another at this very moment is a race which alsa-lib's own messages have as well.
    let handler = unsafe { (&raw const sys::snd_lib_error).read_volatile() };
    let Some(handler) = handler else { return };
    // SAFETY: strings that live through the call; the format takes one string, and one is given.
    unsafe { handler(c"audera".as_ptr(), 0, c"plugin".as_ptr(), 0, c"%s".as_ptr(), text.as_ptr()) };
}

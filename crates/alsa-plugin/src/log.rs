//! What a user of the host program should read: by way of alsa-lib's error handler, which prints to standard error unless
//! the program has put another in its place. That one may do anything, such as asking the same PCM how it is: it is called on a thread of the
//! application's, and once no lock of ours is held.

use std::{cell::RefCell, ffi::CString, mem::ManuallyDrop};

use crate::sys;

thread_local! {
    /// What is to be told when the outermost call into a plugin is over; `None` outside of one, so that there is nothing to be dropped when
    /// a thread of the program's ends.
    static HELD: RefCell<ManuallyDrop<Option<Vec<String>>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Tells of an error: at once, or, from a method of a plugin, when the call is over. For threads of the application.
pub fn error(message: &str) {
    let held = HELD.with_borrow_mut(|held| held.as_mut().map(|held| held.push(message.to_owned())).is_some());
    if !held {
        say(message);
    }
}

/// Runs `what`, and returns also what is to be told after it, when no lock is held any more: by [`say`].
pub(crate) fn holding<T>(what: impl FnOnce() -> T) -> (T, Vec<String>) {
    let is_outermost = HELD.with_borrow_mut(|held| held.is_none() && held.replace(Vec::new()).is_none());
    let outcome = what();
    let told = if is_outermost { HELD.with_borrow_mut(|held| held.take()) } else { None };
    (outcome, told.unwrap_or_default())
}

/// Tells it now.
pub(crate) fn say(message: &str) {
    let Ok(text) = CString::new(message.replace('\0', " ")) else { return };
    // SAFETY: alsa-lib initialises this variable statically and only ever stores handlers in it. That a program could set
    // another at this very moment is a race which alsa-lib's own messages have as well.
    let handler = unsafe { (&raw const sys::snd_lib_error).read_volatile() };
    let Some(handler) = handler else { return };
    // SAFETY: strings that live through the call; the format takes one string, and one is given.
    unsafe { handler(c"audera".as_ptr(), 0, c"plugin".as_ptr(), 0, c"%s".as_ptr(), text.as_ptr()) };
}

//! Writing into the host's own log, under a topic of ours.

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString};
use std::fmt::Display;

use libspa_sys as spa;
use pipewire_sys as pw;

/// A name under which log lines appear, such as `mod.audera-sink`. Keep it in a `static`.
///
/// Lines go through `pw_log`, so that the host (daemon or `pipewire -c`) decides where they end and `PIPEWIRE_DEBUG`
/// or `log.level` decides which. Any thread but the data loop may log.
#[derive(Debug)]
pub struct Topic(UnsafeCell<spa::spa_log_topic>);

// SAFETY: the struct is never written after construction: it has no custom level and is not registered with the host,
// which is the one way for somebody else to learn its address for longer than a call. The pointer in it is to a
// 'static string.
unsafe impl Sync for Topic {}

/// The topic of this layer itself.
pub(crate) static LAYER: Topic = Topic::new(c"audera.pw");

impl Topic {
    /// A topic by this name.
    pub const fn new(name: &'static CStr) -> Self {
        Self(UnsafeCell::new(spa::spa_log_topic {
            version: 0,
            topic: name.as_ptr(),
            level: spa::SPA_LOG_LEVEL_NONE,
            has_custom_level: false,
        }))
    }

    /// Something failed and stays failed.
    pub fn error(&'static self, message: impl Display) {
        self.write(spa::SPA_LOG_LEVEL_ERROR, &message);
    }

    /// Something is not as it should be, and we go on.
    pub fn warn(&'static self, message: impl Display) {
        self.write(spa::SPA_LOG_LEVEL_WARN, &message);
    }

    /// Something happened that a user may want to know.
    pub fn info(&'static self, message: impl Display) {
        self.write(spa::SPA_LOG_LEVEL_INFO, &message);
    }

    /// Something for whoever hunts a fault.
    pub fn debug(&'static self, message: impl Display) {
        self.write(spa::SPA_LOG_LEVEL_DEBUG, &message);
    }

    fn write(&'static self, level: spa::spa_log_level, message: &dyn Display) {
        // SAFETY: the level is an aligned word that libpipewire itself reads without a lock from any thread; a stale
        // value loses or gains a line at most.
        if level > unsafe { (&raw const pw::pw_log_level).read_volatile() } {
            return;
        }
        let mut text = message.to_string();
        text.retain(|c| c != '\0');
        let Ok(text) = CString::new(text) else { return };
        // SAFETY: topic, file and function names are 'static; the format takes exactly one string, which outlives the
        // call; pw_log may be called from any thread.
        unsafe {
            pw::pw_log_logt(level, self.0.get(), c"audera".as_ptr(), 0, c"".as_ptr(), c"%s".as_ptr(), text.as_ptr());
        }
    }
}

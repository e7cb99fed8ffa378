//! How this program takes memory from the system.

/// Has the C library's allocator give large blocks back as soon as they are free; to be called before there are threads.
///
/// A client may send a message of up to 128 MiB, which `zbus` reads whole before it can be refused. The allocator would take blocks of that size for usual
/// from then on, and keep them.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 256 * 1024), (libc::M_TRIM_THRESHOLD, 256 * 1024)] {
        // SAFETY: mallopt takes two numbers, and may be called at any time. One that it does not know is refused, and nothing depends on it.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

//! How this program takes memory from the system. Only for the process of its own: guests leave their hosts' allocator alone.

/// Tells the C library's allocator to keep little in reserve; call it before there are threads.
///
/// Audio threads do not allocate, and the others seldom do and never for long: one arena serves them all, and what is large is given back as soon
/// as it is free.
pub fn be_sparing() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 64 * 1024),
        (libc::M_TRIM_THRESHOLD, 64 * 1024),
        (libc::M_TOP_PAD, 16 * 1024),
    ] {
        // SAFETY: mallopt takes two numbers, and may be called at any time. One that it does not know is refused, and nothing depends on it.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back what is free between what is not: after the beginning of something, which takes more than its going on. Only where nothing plays:
/// meanwhile the kernel keeps every thread waiting that touches memory anew.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

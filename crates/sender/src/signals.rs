//! The network thread is a guest: signals of the process are not for it.

/// Blocks all signals in this thread, so that the kernel gives them to the host's own threads.
pub(crate) fn block_all() {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set it is given, and `pthread_sigmask` reads that set and changes nothing but the
    // calling thread's mask; a null pointer for the old mask is allowed.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

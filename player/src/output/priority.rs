//! Asks the kernel to run the calling audio thread before ordinary ones.

/// Priority among real-time threads, 1 to 99: below the interrupt threads of a real-time kernel (50), because the device is
/// served by one of them and must not wait for its own listener.
const PRIORITY: libc::c_int = 45;

/// What came of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduling {
    /// The thread has real-time priority.
    RealTime,
    /// The kernel refused with this errno; the thread shares time with the others.
    Ordinary(i32),
}

/// Tries `SCHED_FIFO` for the calling thread. A refusal is no error: with a generous buffer ordinary scheduling does.
pub(super) fn promote_this_thread() -> Scheduling {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameters` is a valid sched_param for the duration of the call; 0 names the calling thread.
    let refused =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters) } != 0;
    if refused {
        Scheduling::Ordinary(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Scheduling::RealTime
    }
}

impl Scheduling {
    /// One debug line for the log; call it on a thread that may.
    pub(super) fn log(self, output: &str) {
        match self {
            Self::RealTime => tracing::debug!(output, "the audio thread has real-time priority"),
            Self::Ordinary(errno) => tracing::debug!(
                output,
                reason = %std::io::Error::from_raw_os_error(errno),
                "no real-time priority (LimitRTPRIO= in the unit or rtprio in limits.conf would allow it)"
            ),
        }
    }
}

//! A library to be preloaded (`LD_PRELOAD`), under which a process and all it starts see the clock of a simulated host: one that
//! is fast by some parts per million and shows another time. Part of the testkit, which sets it up: `SessionBuilder::clock`.
//!
//! | variable | meaning |
//! |---|---|
//! | `AUDERA_CLOCK_PPM` | by how much the clock is fast, -1000 to 1000 parts per million; 0 if not set |
//! | `AUDERA_CLOCK_OFFSET_NS` | what it shows when the machine's own shows nought, 0 to a year, in nanoseconds; 0 if not set |
//!
//! `CLOCK_MONOTONIC`, `_RAW`, `_COARSE` and `CLOCK_BOOTTIME` are the host's; so are all waits that end at a time on one of them,
//! or after a time: sleeps, timer descriptors, condition variables, locks, semaphores, and the futex by which Rust's standard
//! library and GLib wait.
//!
//! # What is left alone
//! - `CLOCK_REALTIME` is the machine's, and with it the kernel's receive timestamps and the times of files.
//! - Time-outs of `poll`, `select`, `epoll_wait` and of sockets, and `sleep` and `usleep`: without an offset, they are only some
//!   ppm off.
//! - POSIX timers (`timer_settime`), which nothing on a simulated host uses.
//! - Every `syscall()` but the futex. So `syscall(SYS_clock_gettime, CLOCK_MONOTONIC, ..)` is how an instrument that has to live
//!   in such a process reads **true time**; one in a process of its own is simply not preloaded.
//!
//! # What it may do
//! It runs inside audio threads: after it is loaded it neither allocates, nor locks, nor makes a system call that was not asked
//! for. It has no panic, and its entries are `C-unwind` because a thread that is cancelled in a wait unwinds through them.
//! A variable that cannot be read ends the process, since a measurement with a wrong clock would look like a right one.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the shim knows the C library of 64-bit Linux only, where a timespec is two 64-bit numbers");

#[path = "../../src/crystal.rs"]
mod crystal;
mod host;
mod next;
mod read;
mod syscall;
mod timers;
mod waits;

/// Reads the variables and looks up the C library's functions while the process has one thread and may still allocate.
extern "C" fn prepare() {
    host::crystal();
    read::prepare();
    timers::prepare();
    waits::prepare();
    syscall::prepare();
}

#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

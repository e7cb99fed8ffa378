//! Looks at the clock that a program has been given: `clock-probe read COUNT` reads it between two readings of the machine's own,
//! `clock-probe wait MS` waits in every way there is, and tells how long that took by either clock.

use std::{
    env, io, mem, ptr,
    sync::{Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use libc::{c_int, clockid_t, timespec};

// Not in the libc crate.
unsafe extern "C" {
    fn pthread_cond_clockwait(
        cond: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_mutex_clocklock(mutex: *mut libc::pthread_mutex_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn sem_clockwait(semaphore: *mut libc::sem_t, clock: clockid_t, until: *const timespec) -> c_int;
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: clock-probe read COUNT | wait MILLISECONDS");
    let [mode, number] = &arguments[..] else { return Err(usage()) };
    let number: u64 = number.parse().map_err(|_| usage())?;
    match mode.as_str() {
        "read" => read(number),
        "wait" => wait_in_every_way(Duration::from_millis(number))?,
        _ => return Err(usage()),
    }
    Ok(())
}

/// Prints `clock true-before reading true-after` for each of the clocks a host has of its own.
fn read(count: u64) {
    let clocks = [libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_RAW, libc::CLOCK_BOOTTIME];
    for clock in clocks {
        for _ in 0..count {
            let (before, reading, after) = (true_time(clock), host_time(clock), true_time(clock));
            println!("{clock} {before} {reading} {after}");
        }
    }
}

fn nanos(time: timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn host_time(clock: clockid_t) -> i64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of its own.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    nanos(time)
}

/// By a system call, which the preloaded clock leaves alone.
fn true_time(clock: clockid_t) -> i64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of its own.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    nanos(time)
}

fn after(clock: clockid_t, span: Duration) -> timespec {
    split(Duration::from_nanos(host_time(clock).unsigned_abs()) + span)
}

fn split(span: Duration) -> timespec {
    timespec { tv_sec: span.as_secs() as libc::time_t, tv_nsec: span.subsec_nanos().into() }
}

/// Prints `name host-elapsed true-elapsed` of each way to wait, in nanoseconds.
fn wait_in_every_way(span: Duration) -> io::Result<()> {
    let told = |name: &str, wait: &mut dyn FnMut()| {
        let (begin, true_begin) = (Instant::now(), true_time(libc::CLOCK_MONOTONIC));
        wait();
        println!("{name} {} {}", begin.elapsed().as_nanos(), true_time(libc::CLOCK_MONOTONIC) - true_begin);
    };
    told("sleep", &mut || thread::sleep(span));
    told("park", &mut || {
        let begin = Instant::now();
        // It may wake without cause.
        while begin.elapsed() < span {
            thread::park_timeout(span.saturating_sub(begin.elapsed()));
        }
    });
    let (_sender, receiver) = mpsc::channel::<()>();
    told("channel", &mut || assert!(receiver.recv_timeout(span).is_err()));
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    told("condvar", &mut || {
        drop(condition.wait_timeout_while(mutex.lock().unwrap_or_else(|e| e.into_inner()), span, |()| true));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    told("tokio-sleep", &mut || runtime.block_on(async { tokio::time::sleep(span).await }));
    told("tokio-interval", &mut || {
        runtime.block_on(async {
            let mut ticks = tokio::time::interval(span);
            ticks.tick().await;
            ticks.tick().await;
        });
    });
    told("nanosleep", &mut || {
        // SAFETY: the time lives through the call; none is asked for in return.
        unsafe { libc::nanosleep(&split(span), ptr::null_mut()) };
    });
    told("clock-nanosleep", &mut || {
        let until = after(libc::CLOCK_MONOTONIC, span);
        // SAFETY: as above.
        unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &until, ptr::null_mut()) };
    });
    told("timerfd-absolute", &mut || expire(libc::TFD_TIMER_ABSTIME, after(libc::CLOCK_MONOTONIC, span)));
    told("timerfd-relative", &mut || expire(0, split(span)));
    wait_on_condition("cond-timedwait-monotonic", libc::CLOCK_MONOTONIC, span, &told);
    wait_on_condition("cond-timedwait-realtime", libc::CLOCK_REALTIME, span, &told);
    told("cond-clockwait", &mut || {
        let until = after(libc::CLOCK_MONOTONIC, span);
        let (mut condition, mut mutex) = (libc::PTHREAD_COND_INITIALIZER, libc::PTHREAD_MUTEX_INITIALIZER);
        // SAFETY: both are initialised and this thread's own; the mutex is held while the condition is waited for.
        unsafe {
            libc::pthread_mutex_lock(&raw mut mutex);
            while pthread_cond_clockwait(&raw mut condition, &raw mut mutex, libc::CLOCK_MONOTONIC, &until) == 0 {}
        }
    });
    told("mutex-clocklock", &mut || {
        let until = after(libc::CLOCK_MONOTONIC, span);
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        // SAFETY: a normal mutex, which its owner cannot lock twice but may try to until a time.
        unsafe {
            libc::pthread_mutex_lock(&raw mut mutex);
            pthread_mutex_clocklock(&raw mut mutex, libc::CLOCK_MONOTONIC, &until);
        }
    });
    told("sem-clockwait", &mut || {
        let until = after(libc::CLOCK_MONOTONIC, span);
        // SAFETY: the semaphore is initialised before it is waited for, and this thread's own.
        unsafe {
            let mut semaphore: libc::sem_t = mem::zeroed();
            libc::sem_init(&raw mut semaphore, 0, 0);
            sem_clockwait(&raw mut semaphore, libc::CLOCK_MONOTONIC, &until);
        }
    });
    // Neither of these waits: what is left of a timer of 1000 s.
    for (name, flags, until) in [
        ("timerfd-left-absolute", libc::TFD_TIMER_ABSTIME, after(libc::CLOCK_MONOTONIC, Duration::from_secs(1000))),
        ("timerfd-left-relative", 0, split(Duration::from_secs(1000))),
    ] {
        println!("{name} {}", left(flags, until));
    }
    Ok(())
}

fn wait_on_condition(name: &str, clock: clockid_t, span: Duration, told: &dyn Fn(&str, &mut dyn FnMut())) {
    told(name, &mut || {
        let until = after(clock, span);
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        // SAFETY: attributes and condition are initialised before they are used, and this thread's own; the mutex is held while
        // the condition is waited for.
        unsafe {
            let mut attributes: libc::pthread_condattr_t = mem::zeroed();
            libc::pthread_condattr_init(&raw mut attributes);
            libc::pthread_condattr_setclock(&raw mut attributes, clock);
            let mut condition: libc::pthread_cond_t = mem::zeroed();
            libc::pthread_cond_init(&raw mut condition, &raw const attributes);
            libc::pthread_mutex_lock(&raw mut mutex);
            while libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &until) == 0 {}
        }
    });
}

fn timer(flags: c_int, first: timespec) -> c_int {
    let setting = libc::itimerspec { it_interval: timespec { tv_sec: 0, tv_nsec: 0 }, it_value: first };
    // SAFETY: plain numbers, and a setting that lives through the call.
    unsafe {
        let timer = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC);
        libc::timerfd_settime(timer, flags, &raw const setting, ptr::null_mut());
        timer
    }
}

fn expire(flags: c_int, first: timespec) {
    let timer = timer(flags, first);
    let mut count = 0u64;
    // SAFETY: eight bytes are writable there; the descriptor is this function's own.
    unsafe {
        libc::read(timer, ptr::from_mut(&mut count).cast(), mem::size_of::<u64>());
        libc::close(timer);
    }
}

fn left(flags: c_int, first: timespec) -> i64 {
    let timer = timer(flags, first);
    // SAFETY: all-zero bytes are a valid setting, which is written to a place of its own; the descriptor is this function's own.
    unsafe {
        let mut setting: libc::itimerspec = mem::zeroed();
        libc::timerfd_gettime(timer, &raw mut setting);
        libc::close(timer);
        nanos(setting.it_value)
    }
}

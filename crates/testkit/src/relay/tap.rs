//! The kernel's side of a cable: network interfaces whose frames a program reads and writes, and waiting for them. Everything of
//! the relay that needs `unsafe`.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    mem,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    ptr,
};

/// An Ethernet frame with the interfaces' MTU of 1500, and room for tags.
pub(super) const LONGEST_FRAME: usize = 2048;

/// A network interface, as the cable that is plugged into it: what the interface sends is read here.
#[derive(Debug)]
pub(crate) struct Tap(File);

const DEVICE: &std::ffi::CStr = c"/dev/net/tun";

impl Tap {
    /// Makes an interface in the network of a host. `enter` makes a command start there, with the right to change the network.
    pub fn new(name: &str, enter: impl FnOnce(&mut Command)) -> io::Result<Self> {
        // The interface belongs to the network of the process that opens the device, and a user namespace can only be entered by
        // a process with a single thread: so a child opens it between fork and exec, and sends the descriptor.
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new("true");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        enter(&mut command);
        let name = interface_name(name)?;
        let socket = theirs.as_raw_fd();
        let open = move || open_and_send(name, socket);
        // SAFETY: `open_and_send` makes system calls only and allocates nothing, so it may run between fork and exec. Its socket
        // stays open until the command has been spawned.
        unsafe { command.pre_exec(open) };
        let mut child = command.spawn()?;
        drop(theirs);
        let received = receive(&ours);
        child.wait()?;
        received.map(|descriptor| Self(File::from(descriptor)))
    }

    /// The next frame's length; `None` when there is none for now.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        // An interface that is down gives an error: no frame either.
        (&self.0).read(buffer).ok().filter(|length| *length > 0)
    }

    /// Whether the interface has taken the frame.
    pub(super) fn write(&self, frame: &[u8]) -> bool {
        (&self.0).write(frame).is_ok()
    }

    /// Whether the interface finds its cable plugged in.
    pub(super) fn set_carrier(&self, on: bool) -> io::Result<()> {
        let on = libc::c_int::from(on);
        // SAFETY: the request reads one integer, which lives through the call.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETCARRIER, ptr::from_ref(&on)) })
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

type Name = [libc::c_char; libc::IFNAMSIZ];

fn interface_name(text: &str) -> io::Result<Name> {
    let mut name: Name = [0; libc::IFNAMSIZ];
    // One byte less, as a NUL ends the name.
    if text.len() >= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{text} is too long for an interface")));
    }
    for (place, byte) in name.iter_mut().zip(text.bytes()) {
        *place = byte as libc::c_char;
    }
    Ok(name)
}

/// Room for a control message with one descriptor; the type gives it the alignment it needs.
type Control = [libc::cmsghdr; 2];

/// Calls `then` with a message of one byte that has room for a descriptor.
fn with_message<T>(then: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = [0u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: all-zero bytes are a valid control message area and a valid msghdr, which is numbers and pointers.
    let (mut control, mut message): (Control, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: pure arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(mem::size_of::<RawFd>() as u32) } as _;
    then(&mut message)
}

fn open_and_send(name: Name, socket: RawFd) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    let device = unsafe { libc::open(DEVICE.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK) };
    check(device)?;
    // SAFETY: all-zero bytes are a valid ifreq: numbers, and a union of such and of a pointer that is not read.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name = name;
    // Whole Ethernet frames, and nothing before them.
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF takes an ifreq and may write into it.
    check(unsafe { libc::ioctl(device, libc::TUNSETIFF, &raw mut request) })?;
    with_message(|message| {
        // SAFETY: the message has room for one control message with one descriptor, which CMSG_FIRSTHDR and CMSG_DATA stay
        // within; alignment is not asked for.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(mem::size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(device);
            if libc::sendmsg(socket, message, 0) == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
        }
    })
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    with_message(|message| {
        // SAFETY: the message's parts live through the call and the kernel writes no more than their lengths.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) };
        if received == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has filled in the message; CMSG_FIRSTHDR is null if no control message came.
        let header = unsafe { libc::CMSG_FIRSTHDR(message) };
        if header.is_null() {
            return Err(io::Error::other("no network interface came back"));
        }
        // SAFETY: the only control message that this socket's other end sends is one descriptor, which is ours from now on.
        Ok(unsafe { OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()) })
    })
}

/// True time in nanoseconds: `CLOCK_MONOTONIC`.
pub(super) fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of its own; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Lets the calling thread run before all others where this user may: delays are to be the model's.
pub(super) fn go_first() {
    // Above PipeWire's data threads, so that the network does not wait for what it is tried with.
    let priority = libc::sched_param { sched_priority: 90 };
    // SAFETY: the structure lives through the call; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const priority) } == -1 {
        // SAFETY: setpriority with plain numbers. A user who may not do this either, does without.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    }
}

/// An alarm at a time of [`now`].
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: timerfd_create with plain numbers.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        check(descriptor)?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Sets it, also to a time that has passed, or stops it. What has expired before does not count any more.
    pub fn set(&self, at: Option<i64>) {
        // Nought stops it.
        let at = at.map_or(0, |at| at.max(1));
        let setting = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: at / 1_000_000_000, tv_nsec: at % 1_000_000_000 },
        };
        // SAFETY: the setting lives through the call, which cannot fail with a valid descriptor and time.
        unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const setting, ptr::null_mut())
        };
    }
}

/// A call from another thread.
#[derive(Debug)]
pub(super) struct Event(OwnedFd);

impl Event {
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd with plain numbers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        check(descriptor)?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    pub fn set(&self) {
        let one = 1u64;
        // SAFETY: eight bytes are readable there. It fails only when it has been set 2^64 times.
        unsafe { libc::write(self.0.as_raw_fd(), ptr::from_ref(&one).cast(), mem::size_of::<u64>()) };
    }

    fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are writable there. It fails only when it was not set.
        unsafe { libc::read(self.0.as_raw_fd(), ptr::from_mut(&mut count).cast(), mem::size_of::<u64>()) };
    }
}

/// Waits for a frame, the timer or a call, and tells which of the two interfaces has a frame; `None` when one of them is gone.
pub(super) fn wait(taps: [&Tap; 2], timer: &Timer, wake: &Event) -> Option<[bool; 2]> {
    let descriptors = [taps[0].0.as_raw_fd(), taps[1].0.as_raw_fd(), timer.0.as_raw_fd(), wake.0.as_raw_fd()];
    let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: the array is writable for the length given. An interruption is as good as a call.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
    if polled[3].revents != 0 {
        wake.clear();
    }
    let gone = |n: usize| polled[n].revents & !libc::POLLIN != 0;
    (!gone(0) && !gone(1)).then(|| [0, 1].map(|n| polled[n].revents != 0))
}

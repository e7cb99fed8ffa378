//! Namespaces and parent-death signals: everything here that needs `unsafe`, most of it between `fork` and `exec`.

use std::{
    ffi::CStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr,
};

/// Handles on the namespaces of a simulated host.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Only where hosts are made without root.
    pub user: Option<File>,
    pub net: File,
    pub mount: File,
}

impl Namespaces {
    /// Opens those of a process.
    pub fn of(pid: u32, with_user: bool) -> io::Result<Self> {
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}"));
        Ok(Self { user: with_user.then(|| open("user")).transpose()?, net: open("net")?, mount: open("mnt")? })
    }
}

/// Which namespaces a holder makes for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fresh<'a> {
    /// Network and mounts, as root.
    AsRoot,
    /// User, network and mounts; the user keeps its ids inside.
    WithUser,
    /// Network and mounts, in the user namespace of another holder.
    Beside(&'a Namespaces),
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `command` start in new namespaces with an empty `/run`.
pub(crate) fn start_in_fresh(command: &mut Command, fresh: Fresh<'_>) {
    let (join, with_user) = match fresh {
        Fresh::AsRoot => (None, false),
        Fresh::WithUser => (None, true),
        Fresh::Beside(other) => (other.user.as_ref().map(AsRawFd::as_raw_fd), false),
    };
    // SAFETY: getuid and getgid cannot fail and touch no memory of ours.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let uid_map = format!("{uid} {uid} 1");
    let gid_map = format!("{gid} {gid} 1");
    // avahi-daemon wants its folder to belong to the account "avahi". In a user namespace there is one user: make it that one.
    let accounts = (with_user || join.is_some()).then(|| {
        let own = |file: &str, id: u32| rename_account(&fs::read_to_string(file).unwrap_or_default(), "avahi", id, gid);
        (own("/etc/passwd", uid), own("/etc/group", gid))
    });
    let prepare = move || {
        if let Some(user) = join {
            // SAFETY: setns takes plain numbers; the descriptor is checked by the kernel.
            check(unsafe { libc::setns(user, libc::CLONE_NEWUSER) })?;
        }
        let user = if with_user { libc::CLONE_NEWUSER } else { 0 };
        // SAFETY: unshare takes plain numbers; after fork this process has a single thread, as CLONE_NEWUSER demands.
        check(unsafe { libc::unshare(user | libc::CLONE_NEWNET | libc::CLONE_NEWNS) })?;
        if with_user {
            write_file(c"/proc/self/setgroups", 0, b"deny")?;
            write_file(c"/proc/self/uid_map", 0, uid_map.as_bytes())?;
            write_file(c"/proc/self/gid_map", 0, gid_map.as_bytes())?;
        }
        mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)?;
        mount(c"tmpfs", c"/run", c"tmpfs", libc::MS_NOSUID | libc::MS_NODEV)?;
        // SAFETY: the path is a NUL-terminated literal.
        check(unsafe { libc::mkdir(c"/run/avahi-daemon".as_ptr(), 0o755) })?;
        if let Some((passwd, group)) = &accounts {
            write_file(c"/run/passwd", libc::O_CREAT, passwd.as_bytes())?;
            write_file(c"/run/group", libc::O_CREAT, group.as_bytes())?;
            mount(c"/run/passwd", c"/etc/passwd", c"none", libc::MS_BIND)?;
            mount(c"/run/group", c"/etc/group", c"none", libc::MS_BIND)?;
        }
        Ok(())
    };
    // SAFETY: `prepare` makes system calls only and allocates nothing, so it may run between fork and exec. The descriptor in
    // `join` belongs to a `Namespaces` which the caller keeps until the command is spawned.
    unsafe { command.pre_exec(prepare) };
}

/// Makes `command` start inside `namespaces`, with the working directory it would have had.
///
/// `manage` lets it change the network there even if it is not root. The caller keeps `namespaces` until it is spawned.
pub(crate) fn start_inside(command: &mut Command, namespaces: &Namespaces, manage: bool) {
    let user = namespaces.user.as_ref().map(AsRawFd::as_raw_fd);
    let (net, mount) = (namespaces.net.as_raw_fd(), namespaces.mount.as_raw_fd());
    let enter = move || enter(user, net, Some(mount), manage);
    // SAFETY: `enter` makes system calls only and allocates nothing, so it may run between fork and exec. The descriptors are
    // open as long as the caller keeps `namespaces`; a closed one is an error from setns, no more.
    unsafe { command.pre_exec(enter) };
}

/// Makes `command` start on the network of `namespaces`, but with the machine's own files, `/run` among them.
///
/// The caller keeps `namespaces` until it is spawned.
pub(crate) fn start_on_network(command: &mut Command, namespaces: &Namespaces) {
    let user = namespaces.user.as_ref().map(AsRawFd::as_raw_fd);
    let net = namespaces.net.as_raw_fd();
    let enter = move || enter(user, net, None, false);
    // SAFETY: as in `start_inside`.
    unsafe { command.pre_exec(enter) };
}

fn enter(user: Option<RawFd>, net: RawFd, mount: Option<RawFd>, manage: bool) -> io::Result<()> {
    let mut directory = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is writable for the length given.
    if unsafe { libc::getcwd(directory.as_mut_ptr().cast(), directory.len()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    if let Some(user) = user {
        // SAFETY: setns takes plain numbers.
        check(unsafe { libc::setns(user, libc::CLONE_NEWUSER) })?;
    }
    // SAFETY: as above.
    check(unsafe { libc::setns(net, libc::CLONE_NEWNET) })?;
    if let Some(mount) = mount {
        // SAFETY: as above.
        check(unsafe { libc::setns(mount, libc::CLONE_NEWNS) })?;
    }
    // SAFETY: getcwd has left a NUL-terminated path in the buffer.
    check(unsafe { libc::chdir(directory.as_ptr().cast()) })?;
    if manage && user.is_some() {
        keep_net_admin()?;
    }
    Ok(())
}

/// Lets CAP_NET_ADMIN survive the coming exec, which drops the capabilities of a user that is not root.
fn keep_net_admin() -> io::Result<()> {
    const NET_ADMIN: u32 = 12;
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let one = Sets { effective: 1 << NET_ADMIN, permitted: 1 << NET_ADMIN, inheritable: 1 << NET_ADMIN };
    let none = Sets { effective: 0, permitted: 0, inheritable: 0 };
    let sets = [one, none];
    // SAFETY: header and both sets have the layout of capset(2) version 3 and live through the call.
    let set = unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&header), sets.as_ptr()) };
    if set == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, NET_ADMIN, 0, 0) })
}

/// Makes `command` die when the thread that spawns it does, at the latest with this process. To be asked for last: a change of
/// user namespace may undo it.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: getpid cannot fail and touches no memory of ours.
    let parent = unsafe { libc::getpid() };
    let bind = move || {
        // SAFETY: prctl with plain numbers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // The parent may have died before the line above.
        // SAFETY: getppid cannot fail.
        if unsafe { libc::getppid() } != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: `bind` makes two system calls and allocates nothing, so it may run between fork and exec.
    unsafe { command.pre_exec(bind) };
}

/// Gives `command` a process group of its own, by which it can be ended with all it starts, and lets it run before other work
/// of the machine where this user may.
pub(crate) fn lead_and_go_first(command: &mut Command) {
    let lead = || {
        // A session rather than a group: the kernel's scheduler weighs sessions first, and niceness only within one.
        // SAFETY: setsid touches no memory of ours.
        check(unsafe { libc::setsid() })?;
        // A user who may not, does without; so the results are of no use here.
        // SAFETY: setpriority with plain numbers.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -15) };
        drop(write_file(c"/proc/self/autogroup", 0, b"-15"));
        Ok(())
    };
    // SAFETY: `lead` makes system calls only and allocates nothing, so it may run between fork and exec; an error that
    // `write_file` returns is a number.
    unsafe { command.pre_exec(lead) };
}

/// Kills a child that has not been waited for.
pub(crate) fn kill(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: no memory is involved; a process that has ended meanwhile is an error, and as well.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Sends a signal to a process group; whether it still exists does not matter to the caller.
pub(crate) fn signal_group(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: killpg with plain numbers. The group was made by us and its leader has not been waited for, so that the
        // number cannot have passed to someone else.
        unsafe { libc::killpg(pid, signal) };
    }
}

/// Ticks per second of the times in `/proc/PID/stat`.
pub(crate) fn clock_ticks() -> f64 {
    // SAFETY: sysconf with a plain number.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// Keeps the calling thread on one processor, and lets it run before other work where this user may: it notices then when that
/// processor is not to be had. Whether it worked.
pub(crate) fn watch_processor(number: usize) -> bool {
    // SAFETY: a set of processors is plain bits, for which nought is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if number >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: the number lies within the set, which outlives the calls; a thread of number 0 is the calling one.
    unsafe {
        libc::CPU_SET(number, &mut set);
        libc::setpriority(libc::PRIO_PROCESS, 0, -15);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// Has the calling thread run before everything else, real-time threads of others included. Whether this user may.
pub(crate) fn run_first() -> bool {
    // SAFETY: plain numbers go in; a thread of number 0 is the calling one.
    unsafe {
        let priority = libc::sched_param { sched_priority: libc::sched_get_priority_max(libc::SCHED_FIFO) };
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const priority) == 0
    }
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches no memory of ours.
    unsafe { libc::geteuid() == 0 }
}

/// The text of `/etc/passwd` or `/etc/group` with one account's ids replaced.
fn rename_account(text: &str, account: &str, id: u32, group: u32) -> String {
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if fields.len() > 3 && fields[0] == account {
            fields[2] = id.to_string();
            // A group has four fields, of which the last are its members.
            if fields.len() > 4 {
                fields[3] = group.to_string();
            }
        }
        fields.join(":") + "\n"
    };
    text.lines().map(line).collect()
}

fn write_file(path: &CStr, flags: libc::c_int, text: &[u8]) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated, and there is a mode for the case that the file is made.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC | flags, 0o644) };
    check(file)?;
    // SAFETY: the buffer is readable for the length given, the descriptor was opened above and is closed once.
    let (written, error) = unsafe {
        let written = libc::write(file, text.as_ptr().cast(), text.len());
        let error = io::Error::last_os_error();
        libc::close(file);
        (written, error)
    };
    if usize::try_from(written) == Ok(text.len()) { Ok(()) } else { Err(error) }
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: all strings are NUL-terminated, and neither file system takes data.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, ptr::null()) })
}

#[cfg(test)]
mod tests {
    use super::rename_account;

    #[test]
    fn one_account_gets_other_ids() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\navahi:x:108:112:mDNS:/run:/bin/false\n";
        let group = "root:x:0:\navahi:x:112:\nnetdev:x:113:avahi\n";
        assert_eq!(
            rename_account(passwd, "avahi", 1000, 1001),
            "root:x:0:0:root:/root:/bin/sh\navahi:x:1000:1001:mDNS:/run:/bin/false\n"
        );
        assert_eq!(rename_account(group, "avahi", 1001, 1001), "root:x:0:\navahi:x:1001:\nnetdev:x:113:avahi\n");
    }
}

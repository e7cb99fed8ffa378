//! A disk that does not answer keeps nobody from ending `auderad`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use audera_testkit::Process;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, mknodat};

use crate::desk::*;

/// Only catches what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(desk: &Desk, state_dir: &Path) -> Process {
    let mut command = desk.auderad_command();
    command.arg("--no-discovery").arg("--state-dir").arg(state_dir);
    desk.session.spawn(command).unwrap()
}

/// Ends it as systemd does.
fn ends_well(mut auderad: Process) {
    auderad.signal(libc::SIGTERM);
    let ended = auderad.wait(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", auderad.output());
}

#[test]
fn it_ends_while_its_file_cannot_be_read_or_written() {
    let Some(desk) = Desk::start() else { return };
    // A pipe into which nobody writes: it is open once somebody reads.
    let unread = desk.session.dir().join("state/unread");
    fs::create_dir_all(&unread).unwrap();
    let pipe = unread.join("rooms.toml");
    mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut auderad = start(&desk, &unread);
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let open = || OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok();
    let _writes_nothing = auderad.wait_until("somebody reading", open).unwrap();
    ends_well(auderad);

    // The lock of a writer that does not come to an end.
    let unwritten = desk.session.dir().join("state/unwritten");
    let mut auderad = start(&desk, &unwritten);
    let log = auderad.log().to_owned();
    auderad.wait_until("auderad", || fs::read_to_string(&log).ok()?.contains("ready").then_some(())).unwrap();
    let lock = unwritten.join("rooms.toml.lock");
    let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let manager = "org.audera.Manager1";
    desk.busctl_ok(&["--expect-reply=no", "call", AUDERA, ROOT, manager, "AddAddress", "s", "localhost:1"]);
    // Answered behind that call.
    assert_eq!(desk.get("", manager, "Addresses"), "as 0");
    ends_well(auderad);
}

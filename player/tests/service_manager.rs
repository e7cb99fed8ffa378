//! What arrives at the service manager's socket. The surroundings are a process's own, so the player's side runs in a child.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use audera_player::notify::ServiceManager;

#[test]
fn the_service_manager_hears_every_step_and_signs_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // As systemd does, the shell names the process that is watched.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "WATCHDOG_PID=$$ exec \"$0\" --exact a_service --ignored"])
        .arg(std::env::current_exe().unwrap())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000")
        .spawn()
        .unwrap();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "STOPPING=1\n") {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert!(child.wait().unwrap().success());
    let reload = heard.remove(3);
    let time = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reload).trim_end();
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reload}");
    let expected = [
        "READY=1\n",
        "STATUS=Kitchen: plays a  b\n",
        "STATUS=Kitchen: idle\n",
        "READY=1\n",
        "WATCHDOG=1\n",
        "WATCHDOG=1\n",
        "STOPPING=1\n",
    ];
    assert_eq!(heard, expected);
}

#[test]
#[ignore = "run by the_service_manager_hears_every_step_and_signs_of_life, which provides the socket"]
fn a_service() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let manager = ServiceManager::of_this_process();
        assert_eq!(manager.watchdog(), Some(Duration::from_millis(20)));
        manager.ready();
        manager.status("Kitchen: plays a\n\u{7}b");
        manager.status("Kitchen: plays a\n\u{7}b");
        manager.status("Kitchen: idle");
        manager.reloading();
        manager.ready();
        // Under paused time: at once, and once after half of the limit.
        let signs = tokio::time::timeout(Duration::from_millis(15), manager.give_signs_of_life()).await;
        assert!(signs.is_err(), "it never returns");
        manager.stopping();
    });
}

#[tokio::test(start_paused = true)]
async fn without_a_service_manager_nothing_happens() {
    let manager = ServiceManager::of_this_process();
    assert_eq!(manager.watchdog(), None);
    manager.ready();
    manager.status("idle");
    assert!(tokio::time::timeout(Duration::from_secs(3600), manager.give_signs_of_life()).await.is_err());
}

//! A process without a free descriptor: the listener says so once and recovers. Alone in its file, since it starves the process.

use std::fs::File;

use audera_link::{Cause, Endpoint, Identity, Limits, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;

#[tokio::test(start_paused = true)]
async fn the_listener_survives_exhaustion() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(&Identity::load_or_create(dir.path()).unwrap(), b"audera/1").unwrap();
    let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &endpoint, Limits::default()).unwrap();
    // Made while there are descriptors left; it connects when there are none.
    let client = TcpSocket::new_v4().unwrap();

    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let mut client = client.connect(listener.local_addr()).await.unwrap();
    let failure = listener.accept().await.unwrap_err();
    assert!(matches!(&failure.cause, Cause::Exhausted(error) if error.raw_os_error() == Some(24)), "{failure}");
    assert!(failure.to_string().contains("ulimit -n"), "{failure}");

    // Still exhausted for four more attempts: that is not said again.
    let again = tokio::time::timeout(std::time::Duration::from_secs(1), listener.accept()).await;
    assert!(again.is_err(), "{again:?}");

    taken.clear();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"hello").await.unwrap();
    let failure = listener.accept().await.unwrap_err();
    assert_eq!(failure.addr, Some(client.local_addr().unwrap()), "the waiting peer has its turn: {failure}");
}

//! Tasks of the network thread whose panic does not go unnoticed.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Runs `task`, and tells what has become of it should it panic: its handle is not waited for by anybody, so the panic would be lost
/// with it and the rest of the hub go on as if nothing were missing.
pub(crate) async fn watched(what: String, tell: impl FnOnce(String), task: impl Future<Output = ()>) {
    // The task is gone with all it had borrowed; what it shares is in cells that a panic leaves as they were before the last write.
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tell(format!("{what} has stopped because of a defect in Audera; restart this process, and please report it"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_an_end_is_not() {
        let mut told = Vec::new();
        watched("the first".into(), |text| told.push(text), async {}).await;
        watched("the second".into(), |text| told.push(text), async { panic!("on purpose") }).await;
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("the second has stopped"), "{told:?}");
    }
}

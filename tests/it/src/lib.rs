//! What the end-to-end tests need: a hub in its own process, and the real peers it talks to.
//!
//! Waiting is always for a condition with a deadline ([`eventually`]), never for a fixed time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod api;
pub mod database;
pub mod hub;
pub mod loss;
pub mod peers;
pub mod phones;
pub mod postgres;
pub mod proxy;
pub mod raw;
pub mod stories;
pub mod witness;

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a test waits for something that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Asks `probe` until it answers, at most for `patience`.
///
/// # Panics
/// If it does not answer in time.
pub async fn eventually<T, Probe, Asked>(what: &str, patience: Duration, mut probe: Probe) -> T
where
    Probe: FnMut() -> Asked,
    Asked: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < patience, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The folder of recorded data beside the project; `None` (and a line that says so) on a clone without it.
#[must_use]
pub fn recorded_data(test: &str) -> Option<PathBuf> {
    let folder = root().join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {test} needs ../shared/data, which is not there");
    None
}

/// A port of 127.0.0.1 that was free a moment ago, for servers that cannot say which one they took.
///
/// # Panics
/// If the system has none.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).unwrap().port()
}

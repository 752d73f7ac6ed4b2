//! What the integration tests share: a device made of a real MQTT client.

#[allow(dead_code, reason = "not every test uses all of it")]
pub mod device;
#[allow(dead_code, reason = "not every test opens one")]
pub mod door;
#[allow(dead_code, reason = "not every test speaks in bytes")]
pub mod raw;

use std::{future::Future, sync::Arc, time::Duration};

use gateway::Inbound;
use model::{ManualClock, Timestamp};
use tokio::sync::mpsc;

/// Long enough for any machine; only a failing test waits for it.
pub const WATCHDOG: Duration = Duration::from_secs(20);

/// Fails the test if `future` hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WATCHDOG, future).await.unwrap_or_else(|_| panic!("{what} did not happen within {WATCHDOG:?}"))
}

/// A clock that stands at 2026-03-01T08:00:00Z.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_772_352_000_000)))
}

/// The next message for the intake.
pub async fn next(arrived: &mut mpsc::Receiver<Inbound>) -> Inbound {
    soon("a message for the intake", arrived.recv()).await.expect("the link is alive")
}

/// The payload of a message as text.
pub fn text(inbound: &Inbound) -> String {
    String::from_utf8_lossy(&inbound.message.payload).into_owned()
}
